//! The pass over all octets before they are read: whether they are UTF-8, and hold no character that XML cannot carry.
//!
//! Blocks of usual ASCII cost a few vector instructions; whatever else is in a block is looked at where it stands.

use crate::words::{HIGH, WORD, below, place, word_at};

/// Octets looked at in one step.
const BLOCK: usize = 32;

/// What the pass found in octets that may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// There is a carriage return, so that text may have to be normalized.
    pub(crate) carriage_return: bool,
}

/// Why octets may not be read, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// From here on they are not UTF-8.
    Encoding(usize),
    /// Here a character outside `Char` (production [2]) starts; all octets are UTF-8.
    Forbidden(usize),
}

/// Look at all octets.
pub(crate) fn scan(octets: &[u8]) -> Result<Scanned, Unreadable> {
    let mut scanned = Scanned { carriage_return: false };
    let mut at = 0;
    while let Some(rest) = octets.get(at..).filter(|rest| !rest.is_empty()) {
        at = match rest.first_chunk::<BLOCK>() {
            Some(block) if is_usual(block) => at + BLOCK,
            _ => unusual(octets, at, &mut scanned)?,
        };
    }
    Ok(scanned)
}

/// Whether a block is ASCII without control characters but the line feed. No branch in it, so that the compiler vectorizes it:
/// the octets from 0x80 on are the negative numbers.
#[inline]
#[expect(clippy::needless_bitwise_bool, reason = "no branch: the loop over it is vectorized")]
fn is_usual(block: &[u8; BLOCK]) -> bool {
    let is_unusual = |octet: u8| (i8::from_ne_bytes([octet]) < 0x20) & (octet != b'\n');
    block.iter().fold(0, |found, &octet| found | u8::from(is_unusual(octet))) == 0
}

/// Look at a block, or what is left of one; where the next begins.
fn unusual(octets: &[u8], start: usize, scanned: &mut Scanned) -> Result<usize, Unreadable> {
    let end = octets.len().min(start + BLOCK);
    let mut at = start;
    while at < end {
        if let Some(word) = word_at(octets, at) {
            let stops = word & HIGH | below(word, b' ');
            at += if stops == 0 { WORD } else { place(stops) };
            if stops == 0 {
                continue;
            }
        }
        match octets.get(at).copied() {
            Some(0x20..0x80 | b'\t' | b'\n') => at += 1,
            Some(b'\r') => {
                scanned.carriage_return = true;
                at += 1;
            }
            Some(0x80..) => at += character(octets, at)?,
            Some(0..0x20) => return Err(forbidden(octets, at)),
            None => break,
        }
    }
    Ok(at)
}

/// Length of the character beyond ASCII that starts here (Unicode 16, table 3-7).
#[inline]
fn character(octets: &[u8], at: usize) -> Result<usize, Unreadable> {
    match octets.get(at..).unwrap_or_default() {
        [0xC2..=0xDF, 0x80..=0xBF, ..] => Ok(2),
        [0xEF, 0xBF, 0xBE..=0xBF, ..] => Err(forbidden(octets, at)),
        [0xE0, 0xA0..=0xBF, 0x80..=0xBF, ..]
        | [0xE1..=0xEC | 0xEE..=0xEF, 0x80..=0xBF, 0x80..=0xBF, ..]
        | [0xED, 0x80..=0x9F, 0x80..=0xBF, ..] => Ok(3),
        [0xF0, 0x90..=0xBF, 0x80..=0xBF, 0x80..=0xBF, ..]
        | [0xF1..=0xF3, 0x80..=0xBF, 0x80..=0xBF, 0x80..=0xBF, ..]
        | [0xF4, 0x80..=0x8F, 0x80..=0xBF, 0x80..=0xBF, ..] => Ok(4),
        _ => Err(Unreadable::Encoding(at)),
    }
}

/// An octet that is not UTF-8 comes first, wherever it stands.
#[cold]
fn forbidden(octets: &[u8], at: usize) -> Unreadable {
    match std::str::from_utf8(octets.get(at..).unwrap_or_default()) {
        Ok(_) => Unreadable::Forbidden(at),
        Err(error) => Unreadable::Encoding(at + error.valid_up_to()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: Result<Scanned, Unreadable> = Ok(Scanned { carriage_return: false });

    /// What the standard library and production [2] say.
    fn expected(octets: &[u8]) -> Result<Scanned, Unreadable> {
        let text = std::str::from_utf8(octets)
            .map_err(|error| Unreadable::Encoding(error.valid_up_to()))?;
        match text.char_indices().find(|&(_, one)| !crate::characters::is_char(one)) {
            Some((place, _)) => Err(Unreadable::Forbidden(place)),
            None => Ok(Scanned { carriage_return: text.contains('\r') }),
        }
    }

    #[test]
    fn every_start_of_a_character_is_what_the_standard_library_says() {
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                for rest in [&b""[..], b"\x80", b"\xBE", b"\xBF\x80", b"\x80\xBFa", b"\xC2"] {
                    let octets = [b"a", &[first, second][..], rest].concat();
                    assert_eq!(scan(&octets), expected(&octets), "{octets:X?}");
                }
            }
        }
    }

    #[test]
    fn what_is_unusual_is_found_at_every_place() {
        let unusual = ["\r", "\t", "\u{1}", "\u{FFFE}", "\u{FFFF}", "é", "\u{10FFFF}", "\u{85}"];
        for place in 0..100 {
            for (kind, one) in unusual.iter().enumerate() {
                let other = unusual[(place + kind) % unusual.len()];
                let text =
                    ["x".repeat(place), (*one).into(), "y".repeat(40), other.into()].concat();
                assert_eq!(scan(text.as_bytes()), expected(text.as_bytes()), "{text:?}");
                let broken = [text.as_bytes(), b"\xFF", b"z"].concat();
                assert_eq!(scan(&broken), expected(&broken), "{text:?}");
            }
        }
        assert_eq!(scan(b""), FINE);
        assert_eq!(scan("a\nb\u{7F}".repeat(40).as_bytes()), FINE);
    }
}

//! The character classes of XML 1.0, fifth edition, and where the stretches of one end.

use memchr::memchr3;

use crate::scan::{Unreadable, scan};
use crate::words::{ONES, WORD, below, equal, place, word_at};

/// May stand in an `NCName`, a name without its colon.
const NAME: u8 = 1;
/// May start one.
const NAME_START: u8 = 2;
/// Must be looked at in an attribute value.
const VALUE_STOP: u8 = 4;
/// Unreserved or a sub-delimiter in a URI (RFC 3986, 2.2 and 2.3).
const URI: u8 = 8;

/// What each octet may be, in one look.
static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut octet = 0;
    while octet < 128 {
        #[expect(clippy::as_conversions, reason = "a const fn cannot call From; octet < 128")]
        #[expect(clippy::cast_possible_truncation, reason = "octet < 128")]
        let character = octet as u8;
        #[expect(clippy::indexing_slicing, reason = "octet < 128")]
        let class = &mut classes[octet];
        *class = match character {
            b'A'..=b'Z' | b'a'..=b'z' | b'_' => NAME | NAME_START | URI,
            b'0'..=b'9' | b'-' | b'.' => NAME | URI,
            b'\'' | b'&' => VALUE_STOP | URI,
            b'"' | b'<' | 0..=0x1F => VALUE_STOP,
            b'~' | b'!' | b'$' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => URI,
            _ => 0,
        };
        octet += 1;
    }
    classes
}

/// Production [3], `S`.
pub(crate) const fn is_space(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\n' | b'\r')
}

/// Production [2], `Char`.
pub(crate) const fn is_char(character: char) -> bool {
    matches!(character,
        '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

/// Production [4], `NameStartChar`, without the colon.
const fn is_name_start(character: char) -> bool {
    matches!(character,
        'A'..='Z' | 'a'..='z' | '_'
        | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}'
        | '\u{370}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}' | '\u{200C}'..='\u{200D}'
        | '\u{2070}'..='\u{218F}' | '\u{2C00}'..='\u{2FEF}' | '\u{3001}'..='\u{D7FF}'
        | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}' | '\u{10000}'..='\u{EFFFF}')
}

/// Production [4a], `NameChar`, without the colon.
pub(crate) const fn is_name_char(character: char) -> bool {
    is_name_start(character)
        || matches!(character,
            '0'..='9' | '-' | '.' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}')
}

/// Length of the `NCName` at the start of `octets` (valid UTF-8); 0 where none starts.
#[inline]
pub(crate) fn ncname_len(octets: &[u8]) -> usize {
    let len = first(octets, |octet| class(octet) & NAME == 0);
    match (octets.first(), octets.get(len)) {
        (_, Some(0x80..)) => beyond_ascii(octets),
        (Some(&first), _) if class(first) & NAME_START != 0 => len,
        _ => 0,
    }
}

/// Where an attribute value's start ends that needs no second look.
#[inline]
pub(crate) fn ordinary_end(octets: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(word) = word_at(octets, at) {
        let quotes = equal(word, b'"') | equal(word | ONES, b'\''); // the latter & too
        let stops = quotes | equal(word, b'<') | below(word, b' ');
        if stops != 0 {
            return at + place(stops);
        }
        at += WORD;
    }
    let rest = octets.get(at..).unwrap_or_default();
    at + first(rest, |octet| class(octet) & VALUE_STOP != 0)
}

/// The same of a value in double quotes: the first `"`, `&`, `<` or control character from `start` on.
#[inline]
pub(crate) fn quoted_end(octets: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(word) = word_at(octets, at) {
        let quotes = equal(word | (ONES << 2), b'&'); // " too
        let stops = quotes | equal(word, b'<') | below(word, b' ');
        if stops != 0 {
            return at + place(stops);
        }
        at += WORD;
    }
    ordinary_end(octets, at)
}

/// Place of the first `<`, `&` or `>` from `start` on. Most character data ends within a few words; what is longer is worth a call
/// of `memchr3`.
#[inline]
pub(crate) fn markup_place(octets: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    while at - start < 4 * WORD {
        let Some(word) = word_at(octets, at) else { break };
        let stops = equal(word | (ONES << 1), b'>') | equal(word, b'&'); // the former < too
        if stops != 0 {
            return Some(at + place(stops));
        }
        at += WORD;
    }
    memchr3(b'<', b'&', b'>', octets.get(at..)?).map(|place| at + place)
}

/// Length of the start that is unreserved characters and sub-delimiters of a URI.
pub(crate) fn uri_len(octets: &[u8]) -> usize {
    octets.iter().position(|&octet| class(octet) & URI == 0).unwrap_or(octets.len())
}

/// `ncname_len` for names that are not all ASCII.
#[cold]
fn beyond_ascii(octets: &[u8]) -> usize {
    if !decode(octets).is_some_and(is_name_start) {
        return 0;
    }
    let mut len = 0;
    while let Some(next) = octets.get(len..).and_then(decode).filter(|&next| is_name_char(next)) {
        len += next.len_utf8();
    }
    len
}

/// Offset of the first octet that starts a character outside `Char`.
pub(crate) fn first_forbidden(text: &str) -> Option<usize> {
    match scan(text.as_bytes()) {
        Ok(_) => None,
        Err(Unreadable::Encoding(place) | Unreadable::Forbidden(place)) => Some(place),
    }
}

/// Place of the first octet that stops, or the end. Eight at a time, so that the loop around them costs little.
#[inline]
fn first(octets: &[u8], stops: impl Fn(u8) -> bool) -> usize {
    let mut len = 0;
    while let Some(chunk) = octets.get(len..).and_then(|rest| rest.first_chunk::<WORD>()) {
        for (place, &octet) in chunk.iter().enumerate() {
            if stops(octet) {
                return len + place;
            }
        }
        len += WORD;
    }
    let rest = octets.get(len..).unwrap_or_default();
    len + rest.iter().position(|&octet| stops(octet)).unwrap_or(rest.len())
}

#[inline]
fn class(octet: u8) -> u8 {
    #[expect(clippy::indexing_slicing, reason = "an octet is below 256")]
    CLASSES[usize::from(octet)]
}

/// The first character of valid UTF-8.
fn decode(octets: &[u8]) -> Option<char> {
    let head = octets.get(..octets.len().min(4))?;
    match std::str::from_utf8(head) {
        Ok(text) => text.chars().next(),
        Err(error) => {
            let valid = head.get(..error.valid_up_to())?;
            std::str::from_utf8(valid).ok()?.chars().next()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stop_where_the_standard_says() {
        assert_eq!(ncname_len(b"saml2:Assertion"), 5);
        assert_eq!(ncname_len("é1·x y".as_bytes()), "é1·x".len());
        assert_eq!(ncname_len(b"1a"), 0);
        assert_eq!(ncname_len(b"-a"), 0);
        assert_eq!(ncname_len("\u{D7}".as_bytes()), 0);
        assert_eq!(ncname_len(b""), 0);
    }

    #[test]
    fn every_octet_stops_a_scan_or_does_not_at_every_place() {
        for octet in 0..=u8::MAX {
            for place in 0..40 {
                let mut octets = [b'a'; 41];
                octets[place] = octet;
                let stops =
                    |known: &[u8], len: usize| if known.contains(&octet) { place } else { len };
                let markup = markup_place(&octets, 0).unwrap_or(octets.len());
                assert_eq!(markup, stops(b"<&>", 41), "{octet} at {place}");
                let value = if octet < b' ' { place } else { stops(b"\"'&<", 41) };
                assert_eq!(ordinary_end(&octets, 0), value, "{octet} at {place}");
                let quoted = quoted_end(&octets, 0);
                assert!(quoted == value || octet == b'\'', "{octet} at {place}");
                let name = if class(octet) & NAME == 0 { place } else { 41 };
                assert_eq!(first(&octets, |octet| class(octet) & NAME == 0), name);
            }
        }
    }
}

//! From received octets to UTF-8: byte order marks, UTF-16, and the encoding a document declares.
//!
//! Accepted: UTF-8 with or without mark, UTF-16 with mark, and documents that declare US-ASCII or
//! ISO-8859-1 and hold ASCII only, where all three agree. A declaration that contradicts the octets is refused.

use std::borrow::Cow;

use memchr::memmem;

use crate::characters::is_space;
use crate::error::{Error, Limit, Refusal};
use crate::limits::Limits;
use crate::scan::{Scanned, Unreadable, scan};

const UTF8_MARK: &[u8] = b"\xEF\xBB\xBF";

/// How the octets were encoded, known from their first three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    Utf8Marked,
    Utf16 { big_endian: bool },
}

/// A document's octets as UTF-8, every character one that XML may carry.
#[derive(Debug)]
pub(crate) struct Decoded<'a> {
    /// The octets, a UTF-8 byte order mark still in front.
    pub(crate) octets: Cow<'a, [u8]>,
    /// Where the document starts behind the mark.
    pub(crate) start: usize,
    pub(crate) encoding: Encoding,
    pub(crate) scanned: Scanned,
}

impl<'a> Decoded<'a> {
    /// Cost: one pass over UTF-8, a copy of UTF-16.
    pub(crate) fn new(octets: &'a [u8], limits: &Limits) -> Result<Self, Error> {
        let bound = limits.octets.min(Limits::OWN.octets);
        if octets.len() > bound {
            return Err(Error::Limit { limit: Limit::Octets, bound, offset: bound });
        }
        let encoding = Encoding::of(octets);
        let (octets, start) = match encoding {
            Encoding::Utf8 => (Cow::Borrowed(octets), 0),
            Encoding::Utf8Marked => (Cow::Borrowed(octets), UTF8_MARK.len()),
            Encoding::Utf16 { big_endian } => (Cow::Owned(from_utf16(octets, big_endian)?), 0),
        };
        match scan(&octets) {
            Ok(scanned) => Ok(Self { octets, start, encoding, scanned }),
            Err(unreadable) => Err(encoding.located(&octets, unreadable.into())),
        }
    }

    /// Refuse an `encoding="…"` that the octets contradict; `offset` is where the name stands.
    pub(crate) fn check_declaration(&self, name: &[u8], offset: usize) -> Result<(), Refusal> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let agrees = match self.encoding {
            Encoding::Utf8Marked => is("UTF-8"),
            Encoding::Utf16 { .. } => is("UTF-16"),
            Encoding::Utf8 => {
                is("UTF-8") || (is("US-ASCII") || is("ISO-8859-1")) && self.octets.is_ascii()
            }
        };
        if agrees {
            return Ok(());
        }
        Err(Error::malformed(offset, "the declared encoding is not the one of the octets").into())
    }

    /// The refusal with its offset counted in the octets as received.
    pub(crate) fn located(&self, error: Error) -> Error {
        self.encoding.located(&self.octets, error)
    }
}

impl From<Unreadable> for Error {
    fn from(unreadable: Unreadable) -> Self {
        match unreadable {
            Unreadable::Encoding(offset) => Self::malformed(offset, "the octets are not UTF-8"),
            Unreadable::Forbidden(offset) => {
                Self::malformed(offset, "a character that XML 1.0 cannot carry")
            }
        }
    }
}

impl Encoding {
    fn of(octets: &[u8]) -> Self {
        if octets.starts_with(b"\xFE\xFF") {
            Self::Utf16 { big_endian: true }
        } else if octets.starts_with(b"\xFF\xFE") {
            Self::Utf16 { big_endian: false }
        } else if octets.starts_with(UTF8_MARK) {
            Self::Utf8Marked
        } else {
            Self::Utf8
        }
    }

    /// A refusal whose offset counts in `decoded`, with the offset in the octets as received.
    pub(crate) fn located(self, decoded: &[u8], error: Error) -> Error {
        match self {
            Self::Utf8 | Self::Utf8Marked => error,
            Self::Utf16 { .. } => error.relocated(|offset| {
                let before = decoded.get(..offset).unwrap_or(decoded);
                let before = String::from_utf8_lossy(before);
                2 + 2 * before.chars().map(char::len_utf16).sum::<usize>()
            }),
        }
    }
}

/// Whether octets are read as UTF-16.
pub(crate) fn is_utf16(octets: &[u8]) -> bool {
    matches!(Encoding::of(octets), Encoding::Utf16 { .. })
}

/// Whether what an accepted UTF-8 document declares lets it hold other characters than ASCII.
pub(crate) fn can_carry_all(document: &[u8]) -> bool {
    let document = document.strip_prefix(UTF8_MARK).unwrap_or(document);
    let Some(rest) = document
        .strip_prefix(b"<?xml")
        .filter(|rest| rest.first().is_some_and(|&octet| is_space(octet)))
    else {
        return true;
    };
    let declaration = memmem::find(rest, b"?>").and_then(|end| rest.get(..end)).unwrap_or(rest);
    let Some(place) = memmem::find(declaration, b"encoding") else {
        return true;
    };
    let mut quoted =
        declaration.get(place..).unwrap_or_default().split(|octet| b"'\"".contains(octet));
    quoted.nth(1).is_none_or(|name| name.eq_ignore_ascii_case(b"UTF-8"))
}

fn from_utf16(octets: &[u8], big_endian: bool) -> Result<Vec<u8>, Error> {
    let rule = "the octets are not UTF-16";
    let pairs = octets.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(Error::malformed(octets.len(), rule));
    }
    let units = pairs.skip(1).map(|pair| match (pair, big_endian) {
        (&[high, low], true) | (&[low, high], false) => u16::from_be_bytes([high, low]),
        _ => 0,
    });
    let mut text = String::with_capacity(octets.len());
    let mut place = 2;
    for character in char::decode_utf16(units) {
        let character = character.map_err(|_| Error::malformed(place, rule))?;
        place += 2 * character.len_utf16();
        text.push(character);
    }
    Ok(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(octets: &[u8]) -> Result<String, Error> {
        Decoded::new(octets, &Limits::default())
            .map(|decoded| String::from_utf8_lossy(&decoded.octets).into_owned())
    }

    fn utf16(text: &str, big_endian: bool) -> Vec<u8> {
        let to = if big_endian { u16::to_be_bytes } else { u16::to_le_bytes };
        "\u{FEFF}".encode_utf16().chain(text.encode_utf16()).flat_map(to).collect()
    }

    #[test]
    fn utf16_is_read_in_both_orders() {
        assert_eq!(decode(&utf16("<é😀/>", true)).unwrap(), "<é😀/>");
        assert_eq!(decode(&utf16("<é😀/>", false)).unwrap(), "<é😀/>");
    }

    #[test]
    fn only_utf8_by_declaration_or_without_one_carries_all() {
        for carries in [
            "<a encoding='x'/>",
            "\u{FEFF}<?xml version='1.0' encoding='utf-8'?><a/>",
            "<?xml version='1.0'?><a b='encoding' c='x'/>",
            "<?xml-x encoding='us-ascii'?><a/>",
        ] {
            assert!(can_carry_all(carries.as_bytes()), "{carries}");
        }
        assert!(!can_carry_all(b"<?xml version=\"1.0\"\nencoding = 'Us-Ascii' ?><a/>"));
        assert!(!can_carry_all(b"<?xml version='1.0' encoding=\"ISO-8859-1\"?><a/>"));
        assert!(is_utf16(&utf16("<a/>", true)) && !is_utf16(b"<a/>"));
    }

    #[test]
    fn broken_encodings_are_refused_with_the_offset_in_the_input() {
        assert!(matches!(decode(b"<a>\xFF</a>"), Err(Error::Malformed { offset: 3, .. })));
        assert!(matches!(decode(b"\xFE\xFF\x00"), Err(Error::Malformed { offset: 3, .. })));
        let surrogate = b"\xFE\xFF\x00<\xD8\x00\x00<";
        assert!(matches!(decode(surrogate), Err(Error::Malformed { offset: 4, .. })));
        let control = utf16("é\u{1}", true);
        assert!(matches!(decode(&control), Err(Error::Malformed { offset: 4, .. })));
    }

    #[test]
    fn a_declaration_must_agree_with_the_octets() {
        let check = |octets: &[u8], name: &str| {
            Decoded::new(octets, &Limits::default())
                .map_err(Refusal::from)
                .and_then(|decoded| decoded.check_declaration(name.as_bytes(), 0))
        };
        assert!(check(b"<a/>", "utf-8").is_ok());
        assert!(check(b"<a/>", "ISO-8859-1").is_ok());
        assert!(check("<é/>".as_bytes(), "ISO-8859-1").is_err());
        assert!(check(b"<a/>", "UTF-16").is_err());
        assert!(check(&utf16("<a/>", true), "UTF-8").is_err());
        assert!(check(&utf16("<a/>", true), "UTF-16").is_ok());
        assert!(check(b"\xEF\xBB\xBF<a/>", "ISO-8859-1").is_err());
        assert!(check(b"<a/>", "windows-1252").is_err());
    }
}

//! Octets as people write them.

use core::fmt::Write;

/// Reads at least one octet.
pub(crate) fn read_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let octets = text.as_bytes().chunks(2).map(|pair| {
        let pair = core::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    octets.collect::<Option<Vec<u8>>>().filter(|octets| !octets.is_empty())
}

/// Writes octets, in lower case.
pub(crate) fn write_hexadecimal(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

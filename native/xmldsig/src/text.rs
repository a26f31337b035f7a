//! Character data between its written, its normalized and its canonical form.
//!
//! The `read_` functions expand references and normalize line ends in what the reader already found well-formed; the
//! `write_` functions escape a value as Canonical XML 1.0 section 2.3 says.

use memchr::{memchr2, memchr3};

/// The value of raw character data.
pub(crate) fn read_text(mut raw: &[u8], value: &mut Vec<u8>) {
    while let Some(place) = memchr2(b'&', b'\r', raw) {
        let (before, rest) = raw.split_at(place);
        value.extend_from_slice(before);
        raw = if rest.first() == Some(&b'&') {
            read_reference(rest, value)
        } else {
            value.push(b'\n');
            after_line_end(rest)
        };
    }
    value.extend_from_slice(raw);
}

/// The value of what stands in a CDATA section, a comment or a processing instruction.
pub(crate) fn read_cdata(mut raw: &[u8], value: &mut Vec<u8>) {
    while let Some(place) = memchr::memchr(b'\r', raw) {
        let (before, rest) = raw.split_at(place);
        value.extend_from_slice(before);
        value.push(b'\n');
        raw = after_line_end(rest);
    }
    value.extend_from_slice(raw);
}

/// The value of a raw attribute: line ends and white space become spaces (XML 1.0, 3.3.3, CDATA).
pub(crate) fn read_attribute(mut raw: &[u8], value: &mut Vec<u8>) {
    while let Some(place) = raw.iter().position(|octet| b"&\r\n\t".contains(octet)) {
        let (before, rest) = raw.split_at(place);
        value.extend_from_slice(before);
        raw = if rest.first() == Some(&b'&') {
            read_reference(rest, value)
        } else {
            value.push(b' ');
            after_line_end(rest)
        };
    }
    value.extend_from_slice(raw);
}

/// Write a text node's value.
pub(crate) fn write_text(value: &[u8], output: &mut Vec<u8>) {
    escape(value, output, |octet| match octet {
        b'&' => Some(b"&amp;"),
        b'<' => Some(b"&lt;"),
        b'>' => Some(b"&gt;"),
        b'\r' => Some(b"&#xD;"),
        _ => None,
    });
}

/// Write an attribute's value, as it stands between double quotes.
pub(crate) fn write_attribute(value: &[u8], output: &mut Vec<u8>) {
    escape(value, output, |octet| match octet {
        b'&' => Some(b"&amp;"),
        b'<' => Some(b"&lt;"),
        b'"' => Some(b"&quot;"),
        b'\t' => Some(b"&#x9;"),
        b'\n' => Some(b"&#xA;"),
        b'\r' => Some(b"&#xD;"),
        _ => None,
    });
}

/// The character a reference stands for, and the octets after it; None where it is none of XML's own.
pub(crate) fn reference(raw: &[u8]) -> Option<(char, &[u8])> {
    let end = memchr3(b';', b'<', b'&', raw.get(1..)?)? + 1;
    let (name, rest) = (raw.get(1..end)?, raw.get(end + 1..)?);
    if raw.get(end) != Some(&b';') {
        return None;
    }
    let character = match name {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x', digits @ ..] => code_point(digits, 16)?,
        [b'#', digits @ ..] => code_point(digits, 10)?,
        _ => return None,
    };
    Some((character, rest))
}

/// Octets that came from valid UTF-8, cut and joined at ASCII only.
pub(crate) fn into_string(octets: Vec<u8>) -> String {
    String::from_utf8(octets)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Without the white space of XML at both ends.
pub(crate) fn trimmed(value: &str) -> &str {
    value.trim_matches([' ', '\t', '\n', '\r'])
}

fn code_point(digits: &[u8], radix: u32) -> Option<char> {
    if digits.is_empty() {
        return None;
    }
    let code = digits.iter().try_fold(0_u32, |code, &digit| {
        let digit = char::from(digit).to_digit(radix)?;
        code.checked_mul(radix)?.checked_add(digit).filter(|&code| code <= 0x0010_FFFF)
    })?;
    char::from_u32(code).filter(|&character| crate::characters::is_char(character))
}

fn read_reference<'r>(raw: &'r [u8], value: &mut Vec<u8>) -> &'r [u8] {
    let Some((character, rest)) = reference(raw) else {
        return &[];
    };
    value.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    rest
}

/// What follows one line end; CR LF is one.
fn after_line_end(raw: &[u8]) -> &[u8] {
    match raw {
        [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
        [] => raw,
    }
}

fn escape(value: &[u8], output: &mut Vec<u8>, escaped: impl Fn(u8) -> Option<&'static [u8]>) {
    let mut written = 0;
    for (place, &octet) in value.iter().enumerate() {
        if let Some(replacement) = escaped(octet) {
            output.extend_from_slice(value.get(written..place).unwrap_or_default());
            output.extend_from_slice(replacement);
            written = place + 1;
        }
    }
    output.extend_from_slice(value.get(written..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(read: fn(&[u8], &mut Vec<u8>), raw: &str) -> String {
        let mut value = Vec::new();
        read(raw.as_bytes(), &mut value);
        into_string(value)
    }

    #[test]
    fn line_ends_and_references_become_characters() {
        assert_eq!(value(read_text, "a\r\nb\rc&#13;&lt;&#x1F600;\r\r\n"), "a\nb\nc\r<😀\n\n");
        assert_eq!(value(read_cdata, "a&amp;\r\n"), "a&amp;\n");
        assert_eq!(value(read_attribute, "a\r\n\tb&#10;&quot;"), "a  b\n\"");
    }

    #[test]
    fn references_to_nothing_are_none() {
        for raw in [
            "&;",
            "&#;",
            "&#x;",
            "&#0;",
            "&#xD800;",
            "&#xFFFE;",
            "&#x110000;",
            "&nbsp;",
            "&amp",
            "&#X41;",
            "&#+1;",
            "&#99999999999;",
            "& ;",
            "&lt<;",
        ] {
            assert_eq!(reference(raw.as_bytes()), None, "{raw}");
        }
        assert_eq!(reference(b"&#0065;x"), Some(('A', &b"x"[..])));
    }

    #[test]
    fn writing_escapes_what_the_canonical_form_wants() {
        let mut text = Vec::new();
        write_text(b"<a> & \"b\"\r\n\t", &mut text);
        assert_eq!(text, b"&lt;a&gt; &amp; \"b\"&#xD;\n\t");
        let mut attribute = Vec::new();
        write_attribute(b"<a> & \"b\"\r\n\t", &mut attribute);
        assert_eq!(attribute, b"&lt;a> &amp; &quot;b&quot;&#xD;&#xA;&#x9;");
    }
}

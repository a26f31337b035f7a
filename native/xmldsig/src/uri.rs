//! URI references (RFC 3986): what a namespace name must be.

use memchr::memchr;

use crate::characters::uri_len;

/// RFC 3986, 4.1; a port has one to five digits.
pub(crate) fn is_uri_reference(reference: &[u8]) -> bool {
    let (rest, fragment) = split_before(reference, b'#');
    let (hierarchy, query) = split_before(rest, b'?');
    let is_tail = |tail: &[u8]| tail.get(1..).is_none_or(|tail| is_made_of(tail, b":@/?"));
    let (scheme, colon) = split_before(split_before(hierarchy, b'/').0, b':');
    let relative = match colon {
        [] => hierarchy,
        _ if is_scheme(scheme) => hierarchy.get(scheme.len() + 1..).unwrap_or_default(),
        _ => return false,
    };
    let (is_host, path) = match relative {
        [b'/', b'/', rest @ ..] => {
            let (authority, path) = split_before(rest, b'/');
            (is_authority(authority), path)
        }
        path => (true, path),
    };
    is_host && is_made_of(path, b":@/") && is_tail(query) && is_tail(fragment)
}

/// Whether a URI reference is an absolute one, that is, starts with a scheme (RFC 3986, 3.1).
pub(crate) fn is_absolute(reference: &[u8]) -> bool {
    let (scheme, colon) = split_before(reference, b':');
    !colon.is_empty() && is_scheme(scheme)
}

fn is_scheme(octets: &[u8]) -> bool {
    let is_inside = |octet: &u8| octet.is_ascii_alphanumeric() || b"+-.".contains(octet);
    octets.first().is_some_and(u8::is_ascii_alphabetic) && octets.iter().all(is_inside)
}

/// RFC 3986, 3.2.
fn is_authority(authority: &[u8]) -> bool {
    let (user, host) = match split_before(authority, b'@') {
        (user, [_, host @ ..]) => (user, host),
        (host, []) => (&b""[..], host),
    };
    let (is_host, port) = if let [b'[', rest @ ..] = host {
        let (address, end) = split_before(rest, b']');
        (!end.is_empty() && is_made_of(address, b":"), end.get(1..).unwrap_or_default())
    } else {
        let (name, port) = split_before(host, b':');
        (is_made_of(name, b""), port)
    };
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => {
            matches!(digits.len(), 1..=5) && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    is_made_of(user, b":") && is_host && is_port
}

/// Unreserved characters, sub-delimiters, percent-encoded octets, and `others`.
fn is_made_of(octets: &[u8], others: &[u8]) -> bool {
    let mut rest = octets;
    loop {
        rest = match rest.get(uri_len(rest)..).unwrap_or_default() {
            [] => return true,
            [b'%', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                after
            }
            [octet, after @ ..] if others.contains(octet) => after,
            _ => return false,
        };
    }
}

/// The octets before the first `delimiter`, and those from it on.
fn split_before(octets: &[u8], delimiter: u8) -> (&[u8], &[u8]) {
    octets.split_at(memchr(delimiter, octets).unwrap_or(octets.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_means_with_a_scheme() {
        assert!(is_absolute(b"urn:a") && is_absolute(b"http://x/") && is_absolute(b"a+b-1.:"));
        for relative in ["", "a", "./a:b", ":a", "1a:b", "#x"] {
            assert!(!is_absolute(relative.as_bytes()), "{relative}");
        }
    }

    #[test]
    fn references_of_every_shape_are_known() {
        for reference in [
            "",
            "urn:a:b",
            "http://a/b?c:d@e/f?#g?",
            "http://user:%41@host:8440/",
            "http://[::1]:1/x",
            "//host",
            "file:///x",
            "http://",
            "./a:b",
            "a/b:c",
            "?",
            "#",
            "a!$&'()*+,;=~-._b",
            "mailto:a@b",
        ] {
            assert!(is_uri_reference(reference.as_bytes()), "{reference}");
        }
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for wrong in [
            ":a",
            "1a:b",
            "a b",
            "a\tb",
            "urn:\u{e9}",
            "%",
            "%4",
            "%4g",
            "a#b#c",
            "a?[",
            "a[",
            "http://a:",
            "http://a:b",
            "http://a:123456",
            "http://a@b@c",
            "http://[::1",
            "http://[::1]x",
            "http://]",
            "<a>",
            "{a}",
            "a|b",
            "a\\b",
            "a^b",
            "`",
            "\"",
        ] {
            assert!(!is_uri_reference(wrong.as_bytes()), "{wrong}");
        }
    }
}

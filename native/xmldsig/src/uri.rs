//! URI references (RFC 3986): what a namespace name must be, and how one `xml:base` is resolved against another.

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

/// `reference` resolved against `base`, which may be relative too: RFC 3986, 5.2, as Canonical XML 1.1, 2.4, changes it. The
/// fragment is dropped; a trailing `..` of the base is a directory.
pub(crate) fn join(base: &str, reference: &str) -> String {
    let base = Components::of(base);
    let reference = Components::of(reference);
    let directory = if base.path == ".." || base.path.ends_with("/..") { "/" } else { "" };
    let base_path = [base.path, directory].concat();
    let mut joined = String::new();
    let (scheme, authority) = match (reference.scheme, reference.authority) {
        ("", "") => (base.scheme, base.authority),
        ("", authority) => (base.scheme, authority),
        own => own,
    };
    joined.push_str(scheme);
    joined.push_str(authority);
    if !reference.scheme.is_empty() || !reference.authority.is_empty() {
        joined.push_str(&without_dots(reference.path));
    } else if reference.path.is_empty() {
        joined.push_str(&base_path);
        if reference.query.is_empty() {
            joined.push_str(base.query);
        }
    } else if reference.path.starts_with('/') {
        joined.push_str(&without_dots(reference.path));
    } else {
        let root = if base.authority.is_empty() { "" } else { "/" };
        let directory = base_path.rfind('/').map_or(root, |end| base_path.split_at(end + 1).0);
        joined.push_str(&without_dots(&[directory, reference.path].concat()));
    }
    joined.push_str(reference.query);
    joined
}

/// RFC 3986, appendix B; each part with its delimiter, empty where it is undefined.
struct Components<'r> {
    scheme: &'r str,
    authority: &'r str,
    path: &'r str,
    query: &'r str,
}

impl<'r> Components<'r> {
    fn of(reference: &'r str) -> Self {
        let cut =
            |text: &'r str, stops: &[char]| text.split_at(text.find(stops).unwrap_or(text.len()));
        let (rest, _) = cut(reference, &['#']);
        let (rest, query) = cut(rest, &['?']);
        let (name, behind) = cut(rest, &[':', '/']);
        let has_scheme = !name.is_empty() && behind.starts_with(':');
        let (scheme, rest) = rest.split_at(if has_scheme { name.len() + 1 } else { 0 });
        let authority = match rest.strip_prefix("//") {
            Some(behind) => 2 + cut(behind, &['/']).0.len(),
            None => 0,
        };
        let (authority, path) = rest.split_at(authority);
        Self { scheme, authority, path, query }
    }
}

/// RFC 3986, 5.2.4, as Canonical XML 1.1, 2.4, changes it: `..` that lead out of a relative path stay, a final one is a
/// directory, and slashes that follow each other are one.
fn without_dots(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => match kept.last() {
                Some(&last) if last != ".." => drop(kept.pop()),
                _ if is_absolute => {}
                _ => kept.push(".."),
            },
            _ => kept.push(segment),
        }
    }
    let is_directory = matches!(path.rsplit('/').next(), Some("" | "." | ".."));
    let start = if is_absolute { "/" } else { "" };
    let end = if is_directory && !kept.is_empty() { "/" } else { "" };
    [start, &kept.join("/"), end].concat()
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

    #[test]
    fn one_reference_is_resolved_against_another() {
        for (base, reference, joined) in [
            // Canonical XML 1.1, 2.4 and 3.8.
            ("abc/", "../", ""),
            ("../", "../", "../../"),
            ("..", "..", "../../"),
            ("..", "x", "../x"),
            ("..", "../x", "../../x"),
            ("bar/", "foo", "bar/foo"),
            ("something/else", "bar/foo", "something/bar/foo"),
            // RFC 3986, 5.4.1, less the fragments.
            ("http://a/b/c/d;p?q", "g:h", "g:h"),
            ("http://a/b/c/d;p?q", "./g", "http://a/b/c/g"),
            ("http://a/b/c/d;p?q", "/g", "http://a/g"),
            ("http://a/b/c/d;p?q", "//g", "http://g"),
            ("http://a/b/c/d;p?q", "?y", "http://a/b/c/d;p?y"),
            ("http://a/b/c/d;p?q", "g?y#s", "http://a/b/c/g?y"),
            ("http://a/b/c/d;p?q", "#s", "http://a/b/c/d;p?q"),
            ("http://a/b/c/d;p?q", "", "http://a/b/c/d;p?q"),
            ("http://a/b/c/d;p?q", "../../../g", "http://a/g"),
            ("http://a", "g", "http://a/g"),
            ("a//b/", "c", "a/b/c"),
            ("a/b:c", "d", "a/d"),
            ("é/x", "ü", "é/ü"),
        ] {
            assert_eq!(join(base, reference), joined, "{base} {reference}");
        }
    }

    #[test]
    fn dots_are_removed_as_canonical_xml_says() {
        // From its appendix A.
        for (path, left) in [
            ("no/.././/pseudo-netpath/seg/file.ext", "pseudo-netpath/seg/file.ext"),
            ("yes/no//..//.///pseudo-netpath/seg/file.ext", "yes/pseudo-netpath/seg/file.ext"),
            ("no/../yes/no/..", "yes/"),
            ("../../no/../..", "../../../"),
            ("no/../..", "../"),
            ("no/..", ""),
            ("no/../", ""),
            ("/a/b/c/./../../g", "/a/g"),
            ("mid/content=5/../6", "mid/6"),
            ("../../..", "../../../"),
            ("..yes/..no/..no/..no/../../../..yes", "..yes/..yes"),
            ("..yes/..no/../..yes/..no/..no/../..", "..yes/..yes/"),
            ("//no/..", "/"),
            ("/..no/../", "/"),
            ("/././", "/"),
            ("/../../..", "/"),
            ("//..//..//..", "/"),
            ("./.", ""),
            ("..", "../"),
            ("../", "../"),
            ("", ""),
        ] {
            assert_eq!(without_dots(path), left, "{path}");
        }
    }
}

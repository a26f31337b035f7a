use super::*;

fn join(base: &str, reference: &str) -> String {
    joined(&[reference, base])
}

/// From the inside outwards.
fn joined(values: &[&str]) -> String {
    let (first, farther) = values.split_first().unwrap();
    let mut joined = Joined::new(first, values.iter().map(|value| value.len()).sum());
    for base in farther {
        joined.resolve(base);
    }
    joined.finish()
}

fn without_dots(path: &str) -> String {
    let mut path = Path { written: Some(path.into()), ..Path::default() };
    path.walk();
    path.finish()
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

/// What is meant, for two values, on strings.
fn join_two(base: &str, reference: &str) -> String {
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
        joined.push_str(&dots_removed(reference.path));
    } else if reference.path.is_empty() {
        joined.push_str(&base_path);
        if reference.query.is_empty() {
            joined.push_str(base.query);
        }
    } else if reference.path.starts_with('/') {
        joined.push_str(&dots_removed(reference.path));
    } else {
        let root = if base.authority.is_empty() { "" } else { "/" };
        let directory = base_path.rfind('/').map_or(root, |end| base_path.split_at(end + 1).0);
        joined.push_str(&dots_removed(&[directory, reference.path].concat()));
    }
    joined.push_str(reference.query);
    joined
}

fn dots_removed(path: &str) -> String {
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

#[test]
fn many_are_joined_as_two_and_two() {
    let values = [
        "",
        ".",
        "..",
        "a",
        "a/",
        "./a:b",
        "a:b/./c",
        "../..",
        "b/../c",
        "/",
        "/d/..",
        "/d/e",
        "?q",
        "f?r",
        "//h",
        "//h/i/.",
        "s:/j",
        "s://k",
        "l/.//m/..",
    ];
    for one in values {
        for two in values {
            for three in values {
                let inner = join_two(two, one);
                assert_eq!(joined(&[one, two]), inner, "{one} {two}");
                let outer = join_two(three, &inner);
                assert_eq!(joined(&[one, two, three]), outer, "{one} {two} {three}");
                for four in values.into_iter().step_by(3) {
                    let all = [one, two, three, four];
                    assert_eq!(joined(&all), join_two(four, &outer), "{all:?}");
                }
            }
        }
    }
}

use super::*;
use crate::algorithms::Hash;
use crate::digest::digest;
use crate::error::Limit;
use crate::limits::Limits;
use crate::namespaces::XML;
use crate::reader::read;

fn form(document: &str, canonicalization: &Canonicalization, id: Option<&str>) -> String {
    let octets = document.as_bytes();
    let document = read(octets, &Limits::default()).unwrap();
    let form = document.canonicalize(canonicalization, id).unwrap();
    if id.is_none() {
        let hash = canonicalization.digest(Hash::Sha256, octets, &Limits::default());
        assert_eq!(hash.unwrap(), digest(Hash::Sha256, &form));
    }
    String::from_utf8(form).unwrap()
}

fn inclusive(document: &str, id: Option<&str>) -> String {
    form(document, &Canonicalization::new(Method::Inclusive, false), id)
}

fn inclusive11(document: &str, id: Option<&str>) -> String {
    form(document, &Canonicalization::new(Method::Inclusive11, false), id)
}

fn exclusive(document: &str, id: Option<&str>, prefixes: &[&str]) -> String {
    let canonicalization = Canonicalization::new(Method::Exclusive, false);
    let prefixes = prefixes.iter().copied();
    form(document, &canonicalization.with_inclusive_prefixes(prefixes), id)
}

const METHODS: [Method; 3] = [Method::Exclusive, Method::Inclusive, Method::Inclusive11];

#[test]
fn markup_is_rewritten_as_the_standard_says() {
    for (document, canonical) in [
        ("<?xml version='1.0'?>\n<a/>\n", "<a></a>"),
        ("\u{FEFF}<a\n b = '1'\tc=\"2\" ></a >", "<a b=\"1\" c=\"2\"></a>"),
        (
            "<a b='\"&#9;&#xA;&#13;&lt;&gt;&amp;&apos;'/>",
            "<a b=\"&quot;&#x9;&#xA;&#xD;&lt;>&amp;'\"></a>",
        ),
        ("<a b='x\ty\r\nz\rw'/>", "<a b=\"x y z w\"></a>"),
        ("<a>\r\n\r&#13;\"'&gt;></a>", "<a>\n\n&#xD;\"'&gt;&gt;</a>"),
        ("<a><![CDATA[<&>\r\n]]]]><![CDATA[>]]></a>", "<a>&lt;&amp;&gt;\n]]&gt;</a>"),
        ("<a>&#x1F600;&#233;é</a>", "<a>😀éé</a>"),
        ("<a><?p  x  y ?><?q?><?r \n?></a>", "<a><?p x  y ?><?q?><?r?></a>"),
        ("<!--x--><?p?><a/><?q?><!--y-->", "<?p?>\n<a></a>\n<?q?>"),
    ] {
        for method in METHODS {
            let canonicalization = Canonicalization::new(method, false);
            assert_eq!(form(document, &canonicalization, None), canonical, "{method:?}");
            assert_eq!(form(canonical, &canonicalization, None), canonical, "{method:?}");
        }
    }
}

#[test]
fn comments_stay_where_they_are_asked_for() {
    let document = "<!--x\r\n--><a>1<!-- y --><b/></a><!---->";
    for method in METHODS {
        let with = form(document, &Canonicalization::new(method, true), None);
        assert_eq!(with, "<!--x\n-->\n<a>1<!-- y --><b></b></a>\n<!---->");
        let without = form(document, &Canonicalization::new(method, false), None);
        assert_eq!(without, "<a>1<b></b></a>");
    }
}

#[test]
fn attributes_are_sorted_by_namespace_then_name() {
    let document =
        "<a z='1' q:a='2' b='3' p:z='4' p:b='5' xmlns:p='y:' xmlns:q='x:' xml:lang='fr'/>";
    let sorted = "<a xmlns:p=\"y:\" xmlns:q=\"x:\" b=\"3\" z=\"1\" xml:lang=\"fr\" q:a=\"2\" p:b=\"5\" p:z=\"4\"></a>";
    for method in METHODS {
        assert_eq!(form(document, &Canonicalization::new(method, false), None), sorted);
    }
}

#[test]
fn inclusive_forms_keep_every_declaration_once() {
    let document =
        "<a xmlns='x:' xmlns:p='y:'><b xmlns='x:' xmlns:p='z:'><c xmlns='' xmlns:p='z:'/></b></a>";
    let canonical = "<a xmlns=\"x:\" xmlns:p=\"y:\"><b xmlns:p=\"z:\"><c xmlns=\"\"></c></b></a>";
    assert_eq!(inclusive(document, None), canonical);
    assert_eq!(inclusive11(document, None), canonical);
}

#[test]
fn an_undeclared_default_is_written_only_below_a_declared_one() {
    assert_eq!(inclusive("<a xmlns=''><b xmlns=''/></a>", None), "<a><b></b></a>");
    // Where lxml's canonicalizer invents an xmlns="", two levels below the declaration.
    let document = "<a xmlns='x:'><p:b xmlns:p='y:'><p:c><p:d/></p:c></p:b></a>";
    let canonical = "<a xmlns=\"x:\"><p:b xmlns:p=\"y:\"><p:c><p:d></p:d></p:c></p:b></a>";
    assert_eq!(inclusive(document, None), canonical);
    let document = "<a xmlns='x:'><b xmlns=''><c><d xmlns='x:' Id='i'/></c></b></a>";
    let canonical = "<a xmlns=\"x:\"><b xmlns=\"\"><c><d xmlns=\"x:\" Id=\"i\"></d></c></b></a>";
    assert_eq!(inclusive(document, None), canonical);
    assert_eq!(exclusive(document, None, &[]), canonical);
    assert_eq!(
        exclusive("<a xmlns='x:'><p:b xmlns:p='y:'><c/></p:b></a>", None, &[]),
        "<a xmlns=\"x:\"><p:b xmlns:p=\"y:\"><c></c></p:b></a>"
    );
}

#[test]
fn exclusive_forms_write_what_is_visibly_used() {
    let document = "<a xmlns='x:' xmlns:p='y:' xmlns:q='z:'><b q:c='p:d'/><p:b><p:c/></p:b></a>";
    assert_eq!(
        exclusive(document, None, &[]),
        "<a xmlns=\"x:\"><b xmlns:q=\"z:\" q:c=\"p:d\"></b><p:b xmlns:p=\"y:\"><p:c></p:c></p:b></a>"
    );
}

#[test]
fn a_prefix_list_makes_prefixes_inclusive() {
    let document = "<p:a xmlns='x:' xmlns:p='y:' xmlns:q='z:'><p:b Id='i' c='q:d'/></p:a>";
    for (prefixes, canonical) in [
        (&[][..], "<p:b xmlns:p=\"y:\" Id=\"i\" c=\"q:d\"></p:b>"),
        (&["q"], "<p:b xmlns:p=\"y:\" xmlns:q=\"z:\" Id=\"i\" c=\"q:d\"></p:b>"),
        // Which lxml's canonicalizer does not look at.
        (&["#default"], "<p:b xmlns=\"x:\" xmlns:p=\"y:\" Id=\"i\" c=\"q:d\"></p:b>"),
        (&["none", "q", "p"], "<p:b xmlns:p=\"y:\" xmlns:q=\"z:\" Id=\"i\" c=\"q:d\"></p:b>"),
    ] {
        assert_eq!(exclusive(document, Some("i"), prefixes), canonical);
    }
    let undeclared = "<a xmlns='x:'><p:b xmlns:p='y:'><p:c xmlns='' Id='i'><d/></p:c></p:b></a>";
    let canonical = "<p:c xmlns:p=\"y:\" Id=\"i\"><d></d></p:c>";
    assert_eq!(exclusive(undeclared, Some("i"), &["#default"]), canonical);
}

#[test]
fn an_element_alone_keeps_the_namespaces_around_it() {
    let document = "<a xmlns='x:' xmlns:p='y:'><b xmlns:p='z:'><c Id='i'/></b></a>";
    let canonical = "<c xmlns=\"x:\" xmlns:p=\"z:\" Id=\"i\"></c>";
    assert_eq!(inclusive(document, Some("i")), canonical);
    assert_eq!(inclusive11(document, Some("i")), canonical);
    assert_eq!(exclusive(document, Some("i"), &[]), "<c xmlns=\"x:\" Id=\"i\"></c>");
}

#[test]
fn every_kind_of_id_names_an_element_and_only_one() {
    let wsu = crate::namespaces::WSU;
    let document = format!(
        "<a ID='1' xmlns:u='{wsu}'><b Id='2'/><c AssertionID='3'/><d u:Id='4'/><e xml:id='n5'/><f id='6'/><g u:ID='7'/></a>"
    );
    let read = read(document.as_bytes(), &Limits::default()).unwrap();
    let form = Canonicalization::new(Method::Exclusive, false);
    for id in ["1", "2", "3", "4", "n5"] {
        assert!(!read.canonicalize(&form, Some(id)).unwrap().is_empty(), "{id}");
    }
    for id in ["6", "7", "", "8"] {
        let wanted = Err(Error::Argument(format!("no element has the ID {id:?}")));
        assert_eq!(read.canonicalize(&form, Some(id)), wanted);
    }
    let twice = "<a ID='1'><b xml:id='x' AssertionID='1'/></a>";
    let twice = crate::reader::read(twice.as_bytes(), &Limits::default()).unwrap();
    let wanted = Err(Error::Argument("the ID \"1\" stands twice".into()));
    assert_eq!(twice.canonicalize(&form, Some("1")), wanted);
}

#[test]
fn version_1_0_takes_over_every_xml_attribute_it_lacks() {
    // Which lxml's canonicalizer does not do.
    let document = "<a xml:lang='fr' xml:base='u/' xml:id='x' xml:any='1'><b xml:lang='en' xml:space='preserve'>\
                    <c xml:space='default' xml:base='v' z='' Id='i'/></b></a>";
    assert_eq!(
        inclusive(document, Some("i")),
        "<c Id=\"i\" z=\"\" xml:any=\"1\" xml:base=\"v\" xml:id=\"x\" xml:lang=\"en\" xml:space=\"default\"></c>"
    );
    assert_eq!(
        exclusive(document, Some("i"), &[]),
        "<c Id=\"i\" z=\"\" xml:base=\"v\" xml:space=\"default\"></c>"
    );
}

#[test]
fn version_1_1_takes_over_lang_and_space_and_joins_base() {
    let document = "<a xml:lang='fr' xml:base='u/' xml:id='x' xml:any='1'><b xml:lang='en' xml:space='preserve'>\
                    <c xml:space='default' xml:base='v' z='' Id='i' xml:zed=''/></b></a>";
    assert_eq!(
        inclusive11(document, Some("i")),
        "<c Id=\"i\" z=\"\" xml:base=\"u/v\" xml:lang=\"en\" xml:space=\"default\" xml:zed=\"\"></c>"
    );
}

#[test]
fn version_1_1_joins_every_base_from_the_element_outwards() {
    let element = |outer: &str, inner: &str, own: &str| {
        let document = format!("<a{outer}><b{inner}><c{own} Id='i'/></b></a>");
        let form = inclusive11(&document, Some("i"));
        form.replace("<c Id=\"i\"", "").replace("></c>", "")
    };
    // Canonical XML 1.1, 2.4 and 3.8.
    assert_eq!(
        element(" xml:base='..'", " xml:base='..'", " xml:base='x'"),
        " xml:base=\"../../x\""
    );
    assert_eq!(
        element(" xml:base='something/else'", " xml:base='bar/'", " xml:base='foo'"),
        " xml:base=\"something/bar/foo\""
    );
    // Without one of its ancestors' there is nothing to fix, with one alone nothing to join, and an empty one is not written.
    assert_eq!(element("", "", " xml:base='a/../b#c'"), " xml:base=\"a/../b#c\"");
    assert_eq!(element("", " xml:base='a/../b#c'", ""), " xml:base=\"a/../b#c\"");
    assert_eq!(element(" xml:base='abc/'", "", " xml:base='../'"), "");
    assert_eq!(
        element(" xml:base='http://h/a&amp;b/'", "", " xml:base='c'"),
        " xml:base=\"http://h/a&amp;b/c\""
    );
}

#[test]
fn version_1_1_changes_nothing_in_a_whole_document() {
    let document = "<a xml:base='u/' xml:id='x'><b xml:base='v/../w'/></a>";
    assert_eq!(inclusive11(document, None), inclusive(document, None));
    assert_eq!(inclusive11(document, Some("x")), inclusive(document, Some("x")));
}

#[test]
fn a_relative_namespace_has_no_form_and_says_where() {
    for (document, offset) in [
        ("<a xmlns='b'/>", 3),
        ("<a><b xmlns:p='./c'/></a>", 6),
        ("<a xmlns:p='//h/c'><b/></a>", 3),
        ("<a xmlns:p='#c'><p:b/></a>", 3),
    ] {
        let read = read(document.as_bytes(), &Limits::default()).unwrap();
        for method in METHODS {
            let rule = "a relative namespace URI has no canonical form";
            let refused = read.canonicalize(&Canonicalization::new(method, false), None);
            assert_eq!(refused, Err(Error::malformed(offset, rule)), "{document}");
        }
    }
}

#[test]
fn what_was_written_is_taken_back_where_an_element_ends() {
    let document = "<a xmlns:p='x:'><p:b/><p:b/><c xmlns:p='y:'><p:b/></c><p:b/></a>";
    assert_eq!(
        exclusive(document, None, &[]),
        "<a><p:b xmlns:p=\"x:\"></p:b><p:b xmlns:p=\"x:\"></p:b>\
         <c><p:b xmlns:p=\"y:\"></p:b></c><p:b xmlns:p=\"x:\"></p:b></a>"
    );
}

#[test]
fn a_form_that_repeats_a_declaration_too_often_is_refused_where_it_does() {
    let uri = "x".repeat(1000);
    let document = |times: usize| format!("<a xmlns:p='x:{uri}'>{}</a>", "<p:b/>".repeat(times));
    let exclusive = Canonicalization::new(Method::Exclusive, false);
    let read_within = |document: &str, growth: usize| {
        let limits = Limits { growth, ..Limits::default() };
        let read = read(document.as_bytes(), &limits).unwrap();
        read.canonicalize(&exclusive, None).map(|form| form.len())
    };
    // The binding of xml, which every document starts with, counts too.
    let length = document(10).len() + "xml".len() + XML.len();
    let start = document(0).len() - "</a>".len();
    assert_eq!(read_within(&document(10), 10), Ok("<a></a>".len() + 10 * (1000 + 24)));
    let refused =
        Err(Error::Limit { limit: Limit::Growth, bound: 4 * length, offset: start + 4 * 6 });
    assert_eq!(read_within(&document(10), 4), refused);
    let inclusive = Canonicalization::new(Method::Inclusive, false);
    let large = document(10_000);
    let large = read(large.as_bytes(), &Limits::default()).unwrap();
    assert!(matches!(large.canonicalize(&exclusive, None), Err(Error::Limit { .. })));
    assert!(large.canonicalize(&inclusive, None).is_ok());
}

#[test]
fn equal_namespaces_are_known_wherever_they_were_declared() {
    let document = "<p:a xmlns:p='x:'><b xmlns:p='x:'><p:c xmlns:p='y:'><p:d xmlns:p='x:'/></p:c><p:e/></b>\
                    <b xmlns:p='z:'><p:c/></b><b xmlns:p='z:'><p:c/></b></p:a>";
    assert_eq!(
        exclusive(document, None, &[]),
        "<p:a xmlns:p=\"x:\"><b><p:c xmlns:p=\"y:\"><p:d xmlns:p=\"x:\"></p:d></p:c><p:e></p:e></b>\
         <b><p:c xmlns:p=\"z:\"></p:c></b><b><p:c xmlns:p=\"z:\"></p:c></b></p:a>"
    );
}

#[test]
fn offsets_count_in_the_octets_as_received() {
    for (text, growth, place) in [
        ("<é><b xmlns='rel'/></é>", 32, "xmlns"),
        (
            "<é xmlns:a='x:0123456789012345678901234567890123456789'><b/><a:c/><a:c/></é>",
            1,
            "<a:c/></",
        ),
    ] {
        let marked = format!("\u{FEFF}{text}");
        let utf16: Vec<u8> = marked.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let limits = Limits { growth, ..Limits::default() };
        let place = text.find(place).unwrap();
        let place16 = 2 + 2 * text[..place].encode_utf16().count();
        for (octets, place) in [(text.as_bytes(), place), (&utf16, place16)] {
            let form = Canonicalization::new(Method::Exclusive, false);
            match read(octets, &limits).unwrap().canonicalize(&form, None) {
                Err(Error::Malformed { offset, .. } | Error::Limit { offset, .. }) => {
                    assert_eq!(offset, place, "{text}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_declaration_that_returns_says_the_same_as_one_around_it() {
    let record = "<b xmlns:p='x:'><p:c xmlns:p='x:' xmlns:q='x:'><q:d></q:d></p:c></b>";
    let form = inclusive(&format!("<a>{}</a>", record.repeat(3)), None);
    let canonical = r#"<b xmlns:p="x:"><p:c xmlns:q="x:"><q:d></q:d></p:c></b>"#;
    assert_eq!(form, format!("<a>{}</a>", canonical.repeat(3)));
    let used =
        "<p:b xmlns:p='x:'><p:c xmlns:p='x:'><p:d xmlns:p='y:'/><p:d xmlns:p='x:'/></p:c></p:b>";
    let form = exclusive(&format!("<a>{}</a>", used.repeat(3)), None, &[]);
    let canonical = r#"<p:b xmlns:p="x:"><p:c><p:d xmlns:p="y:"></p:d><p:d></p:d></p:c></p:b>"#;
    assert_eq!(form, format!("<a>{}</a>", canonical.repeat(3)));
}

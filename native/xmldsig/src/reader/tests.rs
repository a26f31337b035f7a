use super::*;
use crate::error::Limit;

fn refusal(octets: impl AsRef<[u8]>) -> Error {
    read(octets.as_ref(), &Limits::default()).unwrap_err()
}

fn is_read(document: &str) -> bool {
    read(document.as_bytes(), &Limits::default()).is_ok()
}

/// What passes `limits` at this octet.
fn passed(document: &str, limits: &Limits) -> (Limit, usize, usize) {
    match read(document.as_bytes(), limits).unwrap_err() {
        Error::Limit { limit, bound, offset } => (limit, bound, offset),
        other => panic!("{other}"),
    }
}

/// Every rule with a document that breaks it at the octet marked `|`.
const BROKEN: [(&str, &str); 68] = [
    ("a document starts with an element", "|"),
    ("a document starts with an element", "  |text"),
    ("a document starts with an element", "|&#32;<a/>"),
    ("a name is expected here", "<|!ELEMENT a ANY><a/>"),
    ("a name is expected here", "<|![CDATA[]]><a/>"),
    ("a name is expected here", "<|"),
    ("a name is expected here", "<| a/>"),
    ("a name is expected here", "<|1/>"),
    ("a name is expected here", "<|:a/>"),
    ("a name is expected here", "<a:|/>"),
    ("a name is expected here", "<a |=''/>"),
    ("a name is expected here", "<a |<b/>"),
    ("a name is expected here", "<a b='' |"),
    ("a name has at most one colon", "<a:b|:c/>"),
    ("an attribute has a value", "<a b|/>"),
    ("an attribute has a value", "<a b |c=''/>"),
    ("a value stands in quotes", "<a b=|c/>"),
    ("a value stands in quotes", "<a b= |&#34;&#34;/>"),
    ("a quoted value has no end", "<a b='\"/>|"),
    ("< stands in an attribute value", "<a b='|<'/>"),
    ("white space separates attributes", "<a b=''|c=''/>"),
    ("white space separates attributes", "<a|/ >"),
    ("white space separates attributes", "<a|&/>"),
    ("a reference names no character", "<a b='|&'/>"),
    ("a reference names no character", "<a b='|&c;'/>"),
    ("a reference names no character", "<a>|&c;</a>"),
    ("a reference names no character", "<a>|&amp </a>"),
    ("a reference names no character", "<a>|&#0;</a>"),
    ("a reference names no character", "<a>|&#xFFFF;</a>"),
    ("a reference names no character", "<a>|&#xd800;</a>"),
    ("a reference names no character", "<a>|& b;</a>"),
    ("an attribute stands twice on one element", "<a b='' |b=''/>"),
    ("an attribute stands twice on one element", "<a p:c='' |q:c='' xmlns:p='x:' xmlns:q='x:'/>"),
    ("a prefix is declared twice on one element", "<a xmlns:p='x:' |xmlns:p='x:'/>"),
    ("a prefix is declared twice on one element", "<a xmlns='x:' |xmlns=''/>"),
    ("a prefix is not declared", "<|p:a/>"),
    ("a prefix is not declared", "<a |p:b=''/>"),
    ("a prefix is not declared", "<a><b xmlns:p='x:'/><|p:c/></a>"),
    ("a prefix is not declared", "<|xmlns:a/>"),
    ("a prefix cannot be undeclared", "<a xmlns:p='x:'><b |xmlns:p=''/></a>"),
    ("the prefix xmlns cannot be declared", "<a |xmlns:xmlns='x:'/>"),
    ("the prefix xml cannot be bound to another namespace", "<a |xmlns:xml='x:'/>"),
    (
        "the XML namespace cannot be bound to another prefix",
        "<a |xmlns='http://www.w3.org/XML/1998/namespace'/>",
    ),
    ("the xmlns namespace cannot be declared", "<a |xmlns:p='http://www.w3.org/2000/xmlns/'/>"),
    ("a namespace name is not a URI reference", "<a |xmlns='x: y'/>"),
    ("a namespace name is not a URI reference", "<a |xmlns:p='&lt;'/>"),
    ("the value of xml:id is not a name", "<a xml:id='|1'/>"),
    ("the value of xml:id is not a name", "<a xml:id='|'/>"),
    ("the value of xml:id is not a name", "<a xml:id='| b'/>"),
    ("the value of xml:id stands twice", "<a xml:id='b'><c xml:id=\"|b\"/></a>"),
    ("an end tag does not match its start tag", "<a></|b>"),
    ("an end tag does not match its start tag", "<a></|>"),
    ("an end tag does not match its start tag", "<a></|ab></a>"),
    ("an end tag holds a name and nothing else", "<a></a |b=''>"),
    ("the document ends inside an element", "<a><b/>|"),
    ("the document ends inside an element", "<a>text|"),
    ("]]> stands outside a CDATA section", "<a>]]|></a>"),
    ("no declaration may stand here", "<a>|<!ELEMENT a ANY></a>"),
    ("no declaration may stand here", "<a>|<![cdata[]]></a>"),
    ("no declaration may stand here", "<a>|<!DOCTYPE a></a>"),
    ("a CDATA section has no end", "<a><![CDATA[|]]</a>"),
    ("a comment has no end", "<a><!--| - -></a>"),
    ("-- stands inside a comment", "<a><!-- |--- --></a>"),
    ("an instruction has no legal target", " |<?xml version='1.0'?><a/>"),
    ("an instruction has no legal target", "<a/>|<?XmL b?>"),
    ("an instruction has no legal target", "<a>|<? b?></a>"),
    ("an instruction has no end", "<a><?b |></a>"),
    ("nothing but comments and instructions follow the root", "<a/>|<a/>"),
];

/// Rules of the XML declaration, likewise.
const BROKEN_DECLARATION: [(&str, &str); 12] = [
    ("the XML declaration states no version 1.x", "<?xml| ?><a/>"),
    ("the XML declaration states no version 1.x", "<?xml version='2.0'|?><a/>"),
    ("the XML declaration states no version 1.x", "<?xml version='1.'|?><a/>"),
    ("the XML declaration states no version 1.x", "<?xml| encoding='UTF-8'?><a/>"),
    (
        "the declared encoding is not the one of the octets",
        "<?xml version='1.0' encoding='|no'?><a/>",
    ),
    ("standalone is yes or no", "<?xml version='1.0' standalone='Yes'|?><a/>"),
    (
        "the XML declaration is not as production [23] says",
        "<?xml version='1.0' standalone='no' |encoding='UTF-8'?><a/>",
    ),
    (
        "the XML declaration is not as production [23] says",
        "<?xml version='1.0'|encoding='UTF-8'?><a/>",
    ),
    ("the XML declaration is not as production [23] says", "<?xml version='1.0' |><a/>"),
    ("a quoted value has no end", "<?xml version='|1.0?>"),
    ("an attribute has a value", "<?xml version|?><a/>"),
    ("a value stands in quotes", "<?xml version=|1.0?><a/>"),
];

#[test]
fn every_refusal_names_its_rule_and_its_octet() {
    for (rule, marked) in BROKEN.iter().chain(&BROKEN_DECLARATION) {
        let offset = marked.find('|').unwrap();
        assert_eq!(refusal(marked.replace('|', "")), Error::malformed(offset, rule), "{marked}");
    }
}

#[test]
fn an_instruction_separates_target_and_data() {
    let rule = "white space separates an instruction's target and data";
    assert_eq!(refusal("<a><?b:c?></a>"), Error::malformed(6, rule));
    assert!(is_read("<a><?b?><?b ?><?b c?><?xml-b?></a>"));
}

#[test]
fn octets_that_are_no_characters_are_refused() {
    assert_eq!(refusal(b"<a>\xFF</a>"), Error::malformed(3, "the octets are not UTF-8"));
    assert_eq!(refusal(b"<a>\xC0\xBC</a>"), Error::malformed(3, "the octets are not UTF-8"));
    assert_eq!(refusal(b"<a>\xED\xA0\x80</a>"), Error::malformed(3, "the octets are not UTF-8"));
    assert_eq!(refusal(b"\xFF\xFE<"), Error::malformed(3, "the octets are not UTF-16"));
    let rule = "a character that XML 1.0 cannot carry";
    assert_eq!(refusal(b"<a b='\x00'/>"), Error::malformed(6, rule));
    assert_eq!(refusal("<a>\u{FFFE}</a>"), Error::malformed(3, rule));
    assert_eq!(refusal("<a><!--\u{1}--></a>"), Error::malformed(7, rule));
}

#[test]
fn every_doctype_is_refused_by_name() {
    for document in [
        "<!DOCTYPE a><a/>",
        "<?xml version='1.0'?>\n<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        "<!--c--><?p?><!DOCTYPE a SYSTEM 'http://example.com/a.dtd'><a/>",
        "<a/><!DOCTYPE a>",
    ] {
        let offset = document.find("<!DOCTYPE").unwrap();
        assert_eq!(refusal(document), Error::DtdForbidden { offset });
    }
    let utf16: Vec<u8> =
        "\u{FEFF}<!DOCTYPE a><a/>".encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert_eq!(refusal(utf16), Error::DtdForbidden { offset: 2 });
}

#[test]
fn an_encoding_may_be_declared_where_it_is_the_one() {
    assert!(is_read("<?xml version=\"1.1\" encoding = 'utf-8' standalone=\"no\" ?><a/>"));
    assert!(is_read("\u{FEFF}<?xml version='1.0'?><a/>"));
    let rule = "the declared encoding is not the one of the octets";
    let latin = "<?xml version='1.0' encoding='ISO-8859-1'?><é/>";
    assert_eq!(refusal(latin), Error::malformed(30, rule));
    let marked = "\u{FEFF}<?xml version='1.0' encoding='US-ASCII'?><a/>";
    assert_eq!(refusal(marked), Error::malformed(33, rule));
    let utf16: Vec<u8> = "\u{FEFF}<?xml version='1.0' encoding='UTF-8'?><a/>"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    assert_eq!(refusal(utf16), Error::malformed(62, rule));
}

#[test]
fn offsets_count_the_octets_that_came_in() {
    let document = "\u{FEFF}<é>😀</e>";
    let utf16: Vec<u8> = document.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let rule = "an end tag does not match its start tag";
    assert_eq!(refusal(utf16), Error::malformed(2 + 2 * 7, rule));
    assert_eq!(refusal(document), Error::malformed(3 + 4 + 4 + 2, rule));
}

#[test]
fn what_is_well_formed_is_read() {
    for document in [
        "<a/>",
        " \t\r\n<!--c--><?p d?>\n<a></a >\n<?p?><!---->",
        "<a\n b\t=\r'\"'\n/>",
        "<a>]] ]&gt; ]]&gt; > \"'</a>",
        "<a><![CDATA[<&]]]]><![CDATA[>]]></a>",
        "<a><![CDATA[]]></a>",
        "<a><!-- - <b> & --></a>",
        "<a><?p ??></a>",
        "<a b='>' c=\"'\" d='&#9;&lt;&#x10FFFF;'/>",
        "<p:é·1 xmlns:p='x:' p:ﬀ=''></p:é·1>",
        "<_:-. xmlns:_='x:'/>".replace(":-.", ":a-.").as_str(),
        "<a xmlns:xml='http://www.w3.org/XML/1998/namespace' xml:lang=''/>",
        "<a xmlns='x:'><b xmlns=''/></a>",
        "<a xmlns:p='x:' xmlns:q='y:' p:b='' q:b='' b=''/>",
        "<a xmlns='x:' xmlns:p='x:' p:b='' b=''/>",
        "<a xmlns=''/>",
        "<a xmlns='relative'/>",
        "<a ID='1' xml:id='b'/>",
        "<xmlfoo xmlbar=''/>",
    ] {
        assert!(is_read(document), "{document}: {}", refusal(document));
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| "<a>".repeat(depth) + &"</a>".repeat(depth);
    let limits = Limits { depth: 3, ..Limits::default() };
    assert!(read(nested(3).as_bytes(), &limits).is_ok());
    assert_eq!(passed(&nested(4), &limits), (Limit::Depth, 3, 9));
    assert!(read(nested(100).as_bytes(), &Limits::default()).is_ok());
    assert_eq!(passed(&nested(101), &Limits::default()), (Limit::Depth, 100, 300));
}

#[test]
fn attributes_are_bounded_declarations_included() {
    let limits = Limits { attributes: 2, ..Limits::default() };
    assert!(read(b"<a b='' xmlns='x:'><c d='' e=''/></a>", &limits).is_ok());
    assert_eq!(passed("<a b='' xmlns='x:' c=''/>", &limits), (Limit::Attributes, 2, 19));
}

#[test]
fn namespaces_in_scope_are_bounded() {
    let limits = Limits { namespaces: 2, ..Limits::default() };
    let xml = "xmlns:xml='http://www.w3.org/XML/1998/namespace'";
    let side_by_side =
        format!("<a {xml} xmlns='x:'><b xmlns:p='y:'/><b xmlns:q='y:'/><b xmlns=''/></a>");
    assert!(read(side_by_side.as_bytes(), &limits).is_ok());
    let nested = "<a xmlns='x:'><b xmlns='y:'><c xmlns='z:'/></b></a>";
    assert_eq!(passed(nested, &limits), (Limit::Namespaces, 2, 41));
}

#[test]
fn names_are_bounded_with_their_prefix() {
    let limits = Limits { name: 4, ..Limits::default() };
    assert!(read(b"<abcd efgh=''/>", &limits).is_ok());
    assert_eq!(passed("<abcde/>", &limits), (Limit::Name, 4, 6));
    assert_eq!(passed("<a ab:cd='' />", &limits), (Limit::Name, 4, 8));
}

#[test]
fn values_are_bounded_as_they_are_written() {
    let limits = Limits { value: 5, ..Limits::default() };
    assert!(read(b"<a b='&amp;' xmlns='urn:x'>123456</a>", &limits).is_ok());
    assert_eq!(passed("<a b='&amp;1'/>", &limits), (Limit::Value, 5, 11));
    assert_eq!(passed("<a xmlns='urn:xy'/>", &limits), (Limit::Value, 5, 15));
    let long = |length| format!("<a b='{}'/>", "1".repeat(length));
    assert!(read(long(1 << 20).as_bytes(), &Limits::default()).is_ok());
    assert_eq!(
        passed(&long((1 << 20) + 1), &Limits::default()),
        (Limit::Value, 1 << 20, 6 + (1 << 20))
    );
}

#[test]
fn references_are_bounded_in_text_and_values_together() {
    let limits = Limits { references: 3, ..Limits::default() };
    assert!(read(b"<a b='&lt;&#9;'>&gt;<![CDATA[&amp;]]><!--&amp;--></a>", &limits).is_ok());
    assert_eq!(passed("<a b='&lt;&#9;'>&gt;1&amp;</a>", &limits), (Limit::References, 3, 21));
    assert_eq!(passed("<a b='&lt;&#9;&gt;&amp;'/>", &limits), (Limit::References, 3, 18));
}

#[test]
fn a_limit_is_named_with_its_value_and_its_place() {
    let limits = Limits { octets: 1, ..Limits::default() };
    let refused = read(b"<a/>", &limits).unwrap_err();
    assert_eq!(refused.to_string(), "more than 1 octets (octet 1)");
    let limits = Limits { references: 0, value: 1, ..Limits::default() };
    let refused = read(b"<a>&lt;</a>", &limits).unwrap_err();
    assert_eq!(refused.to_string(), "more than 0 references (octet 3)");
    let refused = read(b"<a b='12'/>", &limits).unwrap_err();
    assert_eq!(refused.to_string(), "more than 1 octets in an attribute value (octet 7)");
}

#[test]
fn octets_are_bounded() {
    let limits = Limits { octets: 4, ..Limits::default() };
    assert!(read(b"<a/>", &limits).is_ok());
    assert_eq!(passed("<a/> ", &limits), (Limit::Octets, 4, 4));
}

#[test]
fn a_cut_out_is_read_in_the_scope_it_came_from() {
    let inherited = [(b"p".to_vec(), b"x:".to_vec()), (b"p".to_vec(), b"y:".to_vec())];
    let cut = read_cut(b"<p:a/>".to_vec(), &inherited, &Limits::default()).unwrap();
    assert!(cut.is_element(Document::ROOT, "y:", "a"));
    let error = read_cut(b"<p:a/>".to_vec(), &[], &Limits::default()).unwrap_err();
    assert_eq!(error, Error::malformed(1, "a prefix is not declared"));
}

#[test]
fn names_resolve_to_the_nearest_declaration() {
    let document = "<a xmlns='x:' xmlns:long-prefix='y:'><b xmlns='' xmlns:long-prefix='z:'>\
                    <long-prefix:c/></b><long-prefix:c/></a>";
    let document = read(document.as_bytes(), &Limits::default()).unwrap();
    let found: Vec<(&str, &str)> = document
        .elements
        .iter()
        .map(|element| {
            let uri = std::str::from_utf8(document.uri(element.name.binding)).unwrap();
            (std::str::from_utf8(element.name.local(&document.source)).unwrap(), uri)
        })
        .collect();
    assert_eq!(found, [("a", "x:"), ("b", ""), ("c", "z:"), ("c", "y:")]);
}

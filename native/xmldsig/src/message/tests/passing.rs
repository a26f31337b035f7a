use crate::message::{PassingMessage, SoapMessage};
use crate::namespaces::{SOAP11, SOAP12};
use crate::{Error, Limits};

/// What a message comes to when it passes in pieces that end at the given places.
fn pass(octets: &[u8], cuts: &[usize], limits: &Limits) -> Result<PassingMessage, Error> {
    let mut passing = PassingMessage::new(limits);
    let mut start = 0;
    for &cut in cuts.iter().chain([&octets.len()]) {
        passing.feed(&octets[start..cut])?;
        start = cut;
    }
    passing.finish()?;
    Ok(passing)
}

fn envelope(body: &str) -> String {
    format!("<s:Envelope xmlns:s=\"{SOAP11}\"><s:Header/><s:Body>{body}</s:Body></s:Envelope>")
}

/// What a Body may hold, right and wrong.
const BODIES: &[&str] = &[
    "",
    "<a/>",
    "<a xmlns='urn:a' b=\"&lt;1&#x41;\"><c/> text &amp; more ]] &#10; </a>",
    "<p:a xmlns:p='urn:p' p:b='>'><p:c d='/'>é€😀</p:c></p:a >",
    "<!-- a comment - with > and < --><a><![CDATA[ ]] > & < ]]]]><?target data?><?t?></a>",
    "<a/><b/>",
    "<a><s:Header/><s:Body/></a>",
    "<a><!-- -- --></a>",
    "<a><!-- --->",
    "<a>]]></a>",
    "<a>]]&gt;]</a>",
    "<a>&unknown;</a>",
    "<a>& b</a>",
    "<a>&#0;</a>",
    "<a b='1' b='2'/>",
    "<a b='<'/>",
    "<a b=1/>",
    "<a b='1'c='2'/>",
    "<p:a/>",
    "<a><b></a></b>",
    "<a></a",
    "<a",
    "<1/>",
    "<a><![CDATA[</a>",
    "<a><!DOCTYPE b></a>",
    "<a><?xml version='1.0'?></a>",
    "<a><?t:u v?></a>",
    "<a><?t?v?></a>",
    "<a>\u{1}</a>",
    "<a>\u{FFFE}</a>",
    "<a:b:c/>",
    "<a xmlns:p=''/>",
    "<a xmlns:q='urn:1' xmlns:q='urn:2'/>",
    "<xml:a/>",
];

/// Everything a message may hold, right and wrong.
fn messages() -> Vec<String> {
    let wholes = [
        String::new(),
        "<a/>".to_owned(),
        "text".to_owned(),
        format!("<s:Envelope xmlns:s=\"{SOAP11}\"/>"),
        format!("<s:Envelope xmlns:s=\"{SOAP11}\"></s:Envelope>"),
        format!("<s:Envelope xmlns:s=\"{SOAP11}\"><s:Body/></s:Envelope>"),
        format!("<Envelope xmlns=\"{SOAP12}\"><Body a='b'/></Envelope>"),
        format!(
            "<Envelope xmlns=\"{SOAP12}\"><Header><h>1</h></Header> <Body> <o/></Body><x/></Envelope>"
        ),
        format!("<s:Envelope xmlns:s=\"{SOAP11}\"><s:Body> </s:Body><x><o/></x></s:Envelope>"),
        format!("<s:Envelope xmlns:s=\"{SOAP11}\"><s:Body/><s:Header/></s:Envelope>"),
        format!("<s:Envelope xmlns:s=\"{SOAP11}\"><s:Body/><s:Body/></s:Envelope>"),
        format!("<s:Envelope xmlns:s=\"{SOAP11}\"><s:Header/><s:Header/><s:Body/></s:Envelope>"),
        format!("<s:Envelope xmlns:s=\"{SOAP11}\"><a/><s:Body/></s:Envelope>"),
        format!(
            "\u{FEFF}<?xml version='1.0' encoding='utf-8'?> <!--c--><?p i?> {} <!--d--><?q?>\n",
            envelope("é")
        ),
        format!("<?xml version='1.0' encoding='us-ascii'?>{}", envelope("e")),
        format!("<?xml version='1.0' encoding='us-ascii'?>{}", envelope("é")),
        format!("<?xml version='2.0'?>{}", envelope("e")),
        format!("<?xml version='1.0' encoding='utf-16'?>{}", envelope("e")),
        format!("<?xml-stylesheet a?>{}", envelope("e")),
        format!("<!DOCTYPE a>{}", envelope("")),
        format!("{}<a/>", envelope("")),
        format!("{}text", envelope("")),
        format!(" <?xml version='1.0'?>{}", envelope("")),
        format!("<?XML version='1.0'?>{}", envelope("")),
    ];
    BODIES.iter().map(|body| envelope(body)).chain(wholes).collect()
}

#[test]
fn a_message_that_passes_is_judged_as_one_that_is_read() {
    let limits = Limits::default();
    for message in messages() {
        let octets = message.as_bytes();
        let read = SoapMessage::read(octets, &limits);
        let every: Vec<usize> = (1..octets.len()).collect();
        let mut cuts: Vec<&[usize]> = every.chunks(1).collect();
        cuts.push(&every);
        cuts.push(&[]);
        for cuts in cuts {
            let passed = pass(octets, cuts, &limits);
            match (&read, &passed) {
                (Ok(read), Ok(passed)) => {
                    assert_eq!(read.is_soap12(), passed.is_soap12());
                    assert_eq!(read.operation().as_ref(), passed.operation());
                }
                (Err(_), Err(_)) => {}
                _ => panic!("{message:?} cut at {cuts:?}: {read:?} {passed:?}"),
            }
        }
    }
}

#[test]
fn what_came_before_the_body_makes_a_message_of_its_own() {
    let limits = Limits::default();
    for message in messages() {
        let Ok(passed) = pass(message.as_bytes(), &[], &limits) else { continue };
        let start = passed.body_start().unwrap();
        let head = [&message.as_bytes()[..start], passed.closing()].concat();
        let read = SoapMessage::read(&head, &limits).unwrap();
        assert_eq!(read.operation(), None);
        assert_eq!(read.is_soap12(), passed.is_soap12());
    }
}

#[test]
fn the_body_is_known_to_start_when_its_first_element_or_its_end_has_come() {
    let message = envelope(" <p:op xmlns:p='urn:p'>1</p:op>");
    let mut passing = PassingMessage::new(&Limits::default());
    let known = message.bytes().position(|octet| {
        passing.feed(&[octet]).unwrap();
        passing.body_start().is_some()
    });
    assert_eq!(known, message.find("1<").map(|place| place - 1));
    assert_eq!(passing.operation(), Some(&("urn:p".to_owned(), "op".to_owned())));
}

#[test]
fn what_is_held_is_bounded() {
    let limits = Limits { value: 100, octets: 10_000_000, ..Limits::default() };
    let long = envelope(&format!("<a>{}</a>", "text ".repeat(100_000)));
    pass(long.as_bytes(), &[], &limits).unwrap();
    let tag = envelope(&format!("<a {}", "b ".repeat(200)));
    assert!(pass(tag.as_bytes(), &[], &limits).is_err());
    let depth = envelope(&"<a>".repeat(200));
    assert!(matches!(
        pass(depth.as_bytes(), &[], &Limits::default()),
        Err(Error::Limit { bound: 100, .. })
    ));
}

#[test]
fn a_bound_counts_wherever_the_pieces_end() {
    let limits = Limits { value: 100, name: 30, ..Limits::default() };
    let long = "x".repeat(40);
    let wholes = [
        envelope(&format!("<a b='{long}' c='{long}' d='{long}'/>")),
        envelope(&format!("<a></a{}>", " ".repeat(100))),
        envelope(&format!("<?{long} data?>")),
        format!("<?xml version='1.0'{} ?>{}", " ".repeat(1024), envelope("")),
    ];
    for message in wholes {
        let octets = message.as_bytes();
        let every: Vec<usize> = (1..octets.len()).collect();
        let default = Limits::default();
        let limits = if message.starts_with("<?") { &default } else { &limits };
        assert!(pass(octets, &[], limits).is_err(), "{message}");
        assert!(pass(octets, &every, limits).is_err(), "{message}");
    }
}

#[test]
fn utf16_is_refused_by_name() {
    let mut passing = PassingMessage::new(&Limits::default());
    assert!(matches!(passing.feed(b"\xFE\xFF\0<"), Err(Error::Message { .. })));
}

//! The header in messages of every shape, and the messages that take none.

use super::super::*;
use super::{body, check, fault, soap, vector, vector_of};
use crate::namespaces::{SOAP11, SOAP12, WSSE, WSU};
use crate::{Error, Limit, Limits, MessageFault, SignedAssertion, Variant};

/// Insert, and check what must hold of every insertion.
fn insert(message: &str, existing: ExistingHeader) -> Result<String, Error> {
    let vector = vector();
    let header = SecurityHeader::new(&vector).with_existing(existing);
    let secured = header.insert(message.as_bytes(), &Limits::default())?;
    check(message.as_bytes(), &secured, &vector);
    Ok(String::from_utf8(secured.octets().to_vec()).unwrap())
}

#[test]
fn a_header_goes_where_readers_look_and_every_octet_stays() {
    let messages = [
        body(""),
        body("\n <s:Header/>\n"),
        body("<s:Header \t/>"),
        body("<s:Header></s:Header >"),
        body("<s:Header\n><x:To xmlns:x='urn:x'>é</x:To></s:Header>"),
        format!(
            "\u{FEFF}<?xml version='1.0'?>\r\n<Envelope xmlns=\"{SOAP12}\"><Body/></Envelope>\n"
        ),
        format!("<Envelope xmlns='{SOAP11}'><Header/><Body/></Envelope><!-- -->"),
        format!(
            "<\u{e9}:Envelope xmlns:\u{e9}='{SOAP12}'><\u{e9}:Header/><\u{e9}:Body/></\u{e9}:Envelope>"
        ),
        soap("<s:Body/><b/>"),
    ];
    for message in messages {
        for existing in [ExistingHeader::Refuse, ExistingHeader::Keep, ExistingHeader::Replace] {
            let secured = insert(&message, existing).unwrap();
            assert!(secured.contains("Header"), "{secured}");
        }
    }
}

#[test]
fn no_default_namespace_reaches_the_parts() {
    let message = format!("<Envelope xmlns='{SOAP11}'><Header/><Body/></Envelope>");
    let secured = insert(&message, ExistingHeader::Refuse).unwrap();
    assert!(secured.contains("<Header><wsse:Security xmlns=\"\" xmlns:wsse="), "{secured}");
    let message = format!("<s:Envelope xmlns:s='{SOAP11}'><s:Body/></s:Envelope>");
    assert!(!insert(&message, ExistingHeader::Refuse).unwrap().contains("xmlns=\"\""));
}

#[test]
fn what_is_no_soap_message_is_refused_by_name() {
    let refused = |message: &str| fault(insert(message, ExistingHeader::Replace));
    assert_eq!(refused("<a/>"), MessageFault::NotSoap);
    for message in [
        soap(""),
        soap("<s:Header/>"),
        soap("<s:Body/><s:Header/>"),
        soap("<s:Header/><s:Header/><s:Body/>"),
        soap("<a/><s:Body/>"),
        soap("<s:Body/><s:Body/>"),
        format!("<s:Envelope xmlns:s='{SOAP11}' xmlns:t='{SOAP12}'><t:Body/></s:Envelope>"),
    ] {
        assert_eq!(refused(&message), MessageFault::EnvelopeInvalid, "{message}");
    }
}

#[test]
fn an_encoding_that_cannot_carry_the_vector_is_refused() {
    let latin = format!("<?xml version='1.0' encoding='ISO-8859-1'?>{}", body(""));
    let insert = |vector: &SignedAssertion, message: &[u8]| {
        let secured = SecurityHeader::new(vector).insert(message, &Limits::default());
        secured.map(|secured| check(message, &secured, vector))
    };
    insert(&vector(), latin.as_bytes()).unwrap();
    let other = vector_of("é", Variant::A);
    let unsupported = |result| matches!(result, Err(Error::Message { fault, .. }) if fault == MessageFault::EncodingUnsupported);
    assert!(unsupported(insert(&other, latin.as_bytes())));
    insert(&other, latin.replace("ISO-8859-1", "UTF-8").as_bytes()).unwrap();
    let utf16: Vec<u8> = "\u{FEFF}"
        .encode_utf16()
        .chain(body("").encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    assert!(unsupported(insert(&vector(), &utf16)));
}

#[test]
fn existing_headers_are_refused_kept_or_replaced() {
    let kept = "<w:Security><w:UsernameToken/></w:Security>";
    let other = "<w:Security s:actor='urn:other'/>";
    let message = body(&format!("<s:Header>{kept}\n{other}</s:Header>"));
    let present = fault(insert(&message, ExistingHeader::Refuse));
    assert_eq!(present, MessageFault::SecurityHeaderPresent);
    let secured = insert(&message, ExistingHeader::Keep).unwrap();
    assert!(secured.contains("<w:Security><saml2:Assertion"), "{secured}");
    assert!(secured.contains("<w:UsernameToken/></w:Security>\n"), "{secured}");
    let secured = insert(&message, ExistingHeader::Replace).unwrap();
    assert!(secured.contains("</wsse:Security>\n<w:Security s:actor"), "{secured}");
    assert!(!secured.contains("UsernameToken"), "{secured}");
    let message = body("<s:Header><w:Security /></s:Header>");
    let secured = insert(&message, ExistingHeader::Keep).unwrap();
    assert!(secured.contains("<w:Security ><saml2:Assertion"), "{secured}");
    let message =
        body("<s:Header><w:Security>1</w:Security> <w:Security>2</w:Security></s:Header>");
    let secured = insert(&message, ExistingHeader::Replace).unwrap();
    assert!(secured.contains("</wsse:Security> </s:Header>"), "{secured}");
}

#[test]
fn a_header_that_leaves_no_place_is_a_conflict() {
    let assertion = "<a:Assertion xmlns:a='urn:oasis:names:tc:SAML:2.0:assertion'/>";
    let other = |inside| format!("<w:Security s:actor='urn:o'>{inside}</w:Security>");
    for (headers, rules) in [
        (format!("<w:Security>{assertion}</w:Security>"), &[ExistingHeader::Keep][..]),
        (other(assertion), &[ExistingHeader::Keep, ExistingHeader::Replace]),
        (other("") + "<w:Security/>", &[ExistingHeader::Keep]),
        ("<w:Security/><w:Security/>".into(), &[ExistingHeader::Keep]),
        (other("") + &other(""), &[ExistingHeader::Keep, ExistingHeader::Replace]),
    ] {
        let message = body(&format!("<s:Header>{headers}</s:Header>"));
        for &rule in rules {
            let conflict = fault(insert(&message, rule));
            assert_eq!(conflict, MessageFault::SecurityHeaderConflict, "{rule:?} {message}");
        }
    }
    let message = body(&format!(
        "<s:Header><w:Security><u:Timestamp xmlns:u='{WSU}'/></w:Security></s:Header>"
    ));
    insert(&message, ExistingHeader::Keep).unwrap();
    let vector = vector();
    let header = SecurityHeader::new(&vector).with_existing(ExistingHeader::Keep);
    let header = header.with_timestamp("1", "2").unwrap();
    let result = header.insert(message.as_bytes(), &Limits::default());
    assert!(matches!(
        result,
        Err(Error::Message { fault: MessageFault::SecurityHeaderConflict, .. })
    ));
}

#[test]
fn the_outcome_is_within_the_limits() {
    let message = body("<s:Header/>");
    let vector = vector();
    let insert = |limits: &Limits| {
        SecurityHeader::new(&vector).insert(message.as_bytes(), limits).map(|_| ())
    };
    let passes = |limits, wanted: Limit| matches!(insert(&limits), Err(Error::Limit { limit, .. }) if limit == wanted);
    let limits = Limits::default();
    assert!(insert(&Limits { depth: 9, namespaces: 6, attributes: 5, ..limits }).is_ok());
    assert!(passes(Limits { depth: 8, ..limits }, Limit::Depth));
    assert!(passes(Limits { namespaces: 5, ..limits }, Limit::Namespaces));
    assert!(passes(Limits { attributes: 4, ..limits }, Limit::Attributes));
    assert!(passes(Limits { octets: message.len() + 10, ..limits }, Limit::Octets));
}

#[test]
fn parts_are_written_as_the_profiles_say() {
    let vector = vector();
    let header = SecurityHeader::new(&vector).with_timestamp("<1>", "2&").unwrap();
    let insert = |header: &SecurityHeader<'_>| {
        let secured = header.insert(body("").as_bytes(), &Limits::default()).unwrap();
        String::from_utf8(secured.octets().to_vec()).unwrap()
    };
    let standard = insert(&header);
    assert!(standard.contains(&format!(
        "<wsse:Security xmlns:wsse=\"{WSSE}\"><wsu:Timestamp xmlns:wsu=\"{WSU}\" wsu:Id=\"TS-a1\"><wsu:Created>&lt;1&gt;\
         </wsu:Created><wsu:Expires>2&amp;</wsu:Expires></wsu:Timestamp><saml2:Assertion "
    )));
    assert!(standard.contains(&format!(
        "</saml2:Assertion><wsse:SecurityTokenReference xmlns:wsse=\"{WSSE}\" xmlns:wsse11=\"{WSSE11}\" xmlns:wsu=\"{WSU}\" \
         wsu:Id=\"STR-a1\" wsse11:TokenType=\"{SAML2_TOKEN}\"><wsse:KeyIdentifier ValueType=\"{SAML_ID}\">a1\
         </wsse:KeyIdentifier></wsse:SecurityTokenReference></wsse:Security>"
    )));
    let historical = insert(&header.with_token_reference(TokenReference::Historical));
    assert!(historical.contains(&format!(
        " wsu:Id=\"token1\" wsse:TokenType=\"{HISTORICAL_SAML2_TOKEN}\"><wsse:KeyIdentifier wsu:Id=\"token1\" \
         ValueType=\"{SAML_ID}\"> a1 </wsse:KeyIdentifier></wsse:SecurityTokenReference></wsse:Security>"
    )));
    let none = insert(&header.with_token_reference(TokenReference::None));
    assert!(none.contains("</saml2:Assertion></wsse:Security>"));
    assert!(matches!(
        SecurityHeader::new(&vector).with_timestamp("\u{0}", ""),
        Err(Error::Argument(_))
    ));
}

//! Insertion into messages of every shape, and message signatures made, read and tampered with.

use std::sync::Arc;

use super::*;
use crate::digest::{KeyRefused, PublicKeyVerifier, SignatureMismatch, sha256};
use crate::namespaces::{SOAP11, SOAP12, WSSE, WSU};
use crate::{
    AssertionContent, Error, Limit, Limits, MessageFault, Policy, PreparedSignature, Profile,
    SignatureAlgorithm, SignatureFault, SignatureProfile, SignedAssertion, Variant, locate,
};

const RSA: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
const SHA256: &str = "http://www.w3.org/2001/04/xmlenc#sha256";

/// Its signature over a digest is the digest.
#[derive(Debug)]
struct Echo;

impl PublicKeyVerifier for Echo {
    fn from_spki(_: &[u8], _: SignatureAlgorithm, _: Profile) -> Result<Self, KeyRefused> {
        Ok(Self)
    }

    fn verify(&self, digest: &[u8], signature: &[u8]) -> Result<(), SignatureMismatch> {
        if digest == signature { Ok(()) } else { Err(SignatureMismatch::new()) }
    }
}

fn profile(variant: Variant) -> Arc<SignatureProfile<Echo>> {
    let certificates = [b"leaf".to_vec(), b"root".to_vec()];
    Arc::new(SignatureProfile::new(RSA, SHA256, &[], &certificates, variant).unwrap())
}

fn vector_of(name_id: &str, variant: Variant) -> SignedAssertion {
    let content = AssertionContent {
        id: "a1".into(),
        issue_instant: "2026-03-01T12:00:00Z".into(),
        issuer: "urn:o".into(),
        name_id: name_id.into(),
        ..AssertionContent::default()
    };
    content.check().unwrap();
    let prepared = PreparedSignature::new(&content, profile(variant));
    let digest = prepared.digest().to_vec();
    prepared.splice(&digest).unwrap()
}

fn vector() -> SignedAssertion {
    vector_of("agent", Variant::A)
}

/// Insert, and check what must hold of every insertion.
fn insert(message: &str, existing: ExistingHeader) -> Result<String, Error> {
    let vector = vector();
    let header = SecurityHeader::new(&vector).with_existing(existing);
    let secured = header.insert(message.as_bytes(), &Limits::default())?;
    check(message.as_bytes(), &secured, &vector);
    Ok(String::from_utf8(secured.octets().to_vec()).unwrap())
}

fn check(message: &[u8], secured: &SecuredMessage, vector: &SignedAssertion) {
    assert_eq!(undone(message, secured), message);
    let located = locate(secured.octets(), &Limits::default()).unwrap();
    let found = located.assertion().expect("the vector is found");
    assert_eq!(found.sha256(), &sha256(vector.octets()));
}

/// The message again: what was put in taken out, what was taken out put back.
fn undone(message: &[u8], secured: &SecuredMessage) -> Vec<u8> {
    let (mut rest, mut original, mut done) = (secured.octets(), Vec::new(), 0);
    for edit in secured.edits() {
        let (kept, behind) = rest.split_at(edit.start - done);
        original.extend_from_slice(kept);
        original.extend_from_slice(&message[edit.start..edit.end]);
        rest = behind.strip_prefix(&edit.octets[..]).expect("an edit stands where it says");
        done = edit.end;
    }
    original.extend_from_slice(rest);
    original
}

fn fault(result: Result<String, Error>) -> MessageFault {
    match result {
        Err(Error::Message { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

fn soap(inside: &str) -> String {
    format!("<s:Envelope xmlns:s='{SOAP11}' xmlns:w='{WSSE}'>{inside}</s:Envelope>")
}

fn body(header: &str) -> String {
    soap(&format!("{header}<s:Body ><a/></s:Body>"))
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

const ALL: [Part; 3] = [Part::Timestamp, Part::Body, Part::Assertion];

/// Sign parts of a message, and check what must hold of every insertion.
fn sign(message: &str, signed: &[Part]) -> Result<String, Error> {
    let vector = vector();
    let header = SecurityHeader::new(&vector).with_existing(ExistingHeader::Keep);
    let header = header.with_timestamp("2026-03-01T12:00:00Z", "2026-03-01T12:05:00Z").unwrap();
    let limits = Limits::default();
    let prepared = header.prepare(message.as_bytes(), signed, profile(Variant::A), &limits)?;
    assert_eq!(prepared.digest(), sha256(prepared.signed_info()));
    let digest = prepared.digest().to_vec();
    let secured = prepared.splice(&digest)?;
    check(message.as_bytes(), &secured, &vector);
    Ok(String::from_utf8(secured.octets().to_vec()).unwrap())
}

fn verify(message: &str) -> Result<VerifiedMessage, Error> {
    let claim = MessageSignatureClaim::read(message.as_bytes(), &Limits::default())?;
    assert_eq!(claim.certificates(), [b"leaf"]);
    claim.admit(Policy::assertion(false))?.verify::<Echo>(&[])
}

/// Why a message is refused; None where it is accepted.
fn refusal(message: &str) -> Option<SignatureFault> {
    match verify(message) {
        Ok(_) => None,
        Err(Error::Signature { fault, .. }) => Some(fault),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn what_is_signed_verifies_and_comes_back_part_by_part() {
    for message in [
        body(""),
        body("<s:Header/>"),
        body("<s:Header><w:Security><w:UsernameToken/></w:Security></s:Header>"),
        soap("<s:Body xmlns:wsu='urn:mine' wsu:x=''/>"),
        soap(&format!("<s:Body xmlns:u='{WSU}' u:Id='mine'/>")),
        soap(&format!("<s:Body xmlns:u='{WSU}'/>")),
        format!("<Envelope xmlns='{SOAP12}'><Body><a xmlns=''/></Body></Envelope>"),
    ] {
        for signed in [&ALL[..], &ALL[1..], &ALL[..1]] {
            let verified = verify(&sign(&message, signed).unwrap()).unwrap();
            let parts: Vec<Part> = verified.parts().map(|(part, _)| part).collect();
            assert_eq!(parts, signed, "{message}");
            let timestamp = verified.timestamp().unwrap();
            assert_eq!(timestamp.is_some(), signed.contains(&Part::Timestamp));
        }
    }
}

#[test]
fn the_octets_of_each_part_are_those_that_were_digested() {
    let message = format!(
        "<s:Envelope xmlns:s='{SOAP11}' xmlns:x='urn:x' xmlns='urn:d'><s:Body><v t='x:q'/></s:Body></s:Envelope>"
    );
    let verified = verify(&sign(&message, &ALL).unwrap()).unwrap();
    let octets = |part| String::from_utf8(verified.octets(part).unwrap().to_vec()).unwrap();
    assert_eq!(
        octets(Part::Body),
        format!(
            "<s:Body xmlns=\"urn:d\" xmlns:s=\"{SOAP11}\" xmlns:wsu=\"{WSU}\" xmlns:x=\"urn:x\" \
             wsu:Id=\"Body-a1\"><v t=\"x:q\"></v></s:Body>"
        )
    );
    assert!(octets(Part::Timestamp).starts_with("<wsu:Timestamp xmlns:wsu="));
    let vector = String::from_utf8(vector().octets().to_vec()).unwrap();
    let dereferenced = vector.replacen(" xmlns:saml2", " xmlns=\"\" xmlns:saml2", 1);
    assert_eq!(octets(Part::Assertion), dereferenced);
    let timestamp = verified.timestamp().unwrap().unwrap();
    assert_eq!(timestamp.created, "2026-03-01T12:00:00Z");
    assert_eq!(timestamp.expires.as_deref(), Some("2026-03-01T12:05:00Z"));
}

#[test]
fn a_changed_part_is_refused() {
    let message = sign(&body(""), &ALL).unwrap();
    for (from, to, fault) in [
        ("<a/>", "<b/>", SignatureFault::DigestMismatch),
        ("12:05", "12:06", SignatureFault::DigestMismatch),
        (">agent<", ">root<", SignatureFault::DigestMismatch),
        ("#TS-a1\"", "#TS-a2\"", SignatureFault::SignatureProfile),
        ("<ds:SignatureValue>", "<ds:SignatureValue>AAAA", SignatureFault::SignatureInvalid),
        ("<ds:SignatureValue>", "<ds:SignatureValue>!", SignatureFault::SignatureInvalid),
        ("#rsa-sha256", "#rsa-sha1", SignatureFault::AlgorithmNotAllowed),
        ("#rsa-sha256", "#hmac-sha256", SignatureFault::AlgorithmNotAllowed),
        ("#X509-a1", "#TS-a1", SignatureFault::CertificateMissing),
        ("X509-a1\">bGVhZg==<", "X509-a1\">bGVhZg=<", SignatureFault::CertificateInvalid),
        ("SAMLID\">a1<", "SAMLID\">TS-a1<", SignatureFault::SignatureProfile),
        ("#STR-Transform", "#STR-Transfor", SignatureFault::SignatureProfile),
        ("<ds:Reference URI=\"#TS", "<ds:Reference URI=\"TS", SignatureFault::SignatureProfile),
    ] {
        // The last occurrence: the message's own signature, where the vector's has the same words.
        let place = message.rfind(from).unwrap();
        let changed = [&message[..place], to, &message[place + from.len()..]].concat();
        assert_eq!(refusal(&changed), Some(fault), "{from} → {to}");
    }
}

#[test]
fn a_part_is_where_the_message_has_it_and_nowhere_else() {
    let message = sign(&body(""), &ALL).unwrap();
    let (start, end) = (message.find("<s:Body").unwrap(), message.find("</s:Envelope>").unwrap());
    let original = &message[start..end];
    let wrapped =
        [&message[..start], "<s:Body><evil/></s:Body><x>", original, "</x>", &message[end..]];
    assert_eq!(refusal(&wrapped.concat()), Some(SignatureFault::SignatureProfile));
    let within = [&message[..start], "<s:Body><evil/>", original, "</s:Body>", &message[end..]];
    assert_eq!(refusal(&within.concat()), Some(SignatureFault::SignatureProfile));
    let twice = message.replace("<a/>", "<a ID='Body-a1'/>");
    assert_eq!(refusal(&twice), Some(SignatureFault::SignatureProfile));
    let (start, end) =
        (message.find("<wsu:Timestamp").unwrap(), message.find("<saml2:Assertion").unwrap());
    let timestamp = &message[start..end];
    let moved = message
        .replace(timestamp, "")
        .replace("<wsse:Security ", &format!("{timestamp}<wsse:Security "));
    assert_eq!(refusal(&moved), Some(SignatureFault::SignatureProfile));
    let fresh = timestamp.replace("TS-a1", "TS-evil");
    let second = message.replace(timestamp, &format!("{fresh}{timestamp}"));
    assert_eq!(refusal(&second), Some(SignatureFault::SignatureProfile));
}

#[test]
fn shapes_outside_the_profile_are_refused() {
    let message = sign(&body(""), &ALL).unwrap();
    let (start, end) =
        (message.rfind("<ds:Signature ").unwrap(), message.rfind("</ds:Signature>").unwrap() + 15);
    let signature = &message[start..end];
    let without = message.replace(signature, "");
    assert_eq!(refusal(&without), Some(SignatureFault::SignatureMissing));
    let two = message.replace(signature, &format!("{signature}{signature}"));
    assert_eq!(refusal(&two), Some(SignatureFault::SeveralSignatures));
    let first = signature.find("<ds:Reference").unwrap();
    let behind = signature.rfind("</ds:SignedInfo>").unwrap();
    let references = &signature[first..behind];
    let one = &references[..references.find("</ds:Reference>").unwrap() + 15];
    for other in [
        String::new(),
        format!("{one}{one}"),
        references.replace("#Body-a1", ""),
        references.replace("#Body-a1", "http://x/"),
        references.replace("#Body-a1", "#a1"),
        format!("{references}{one}"),
        one.replace(
            "</ds:Transforms>",
            &format!(
                "{}</ds:Transforms>",
                &one[one.find("<ds:Transform ").unwrap()..one.find("</ds:Transforms>").unwrap()]
            ),
        ),
    ] {
        let changed = message.replace(references, &other);
        assert_eq!(refusal(&changed), Some(SignatureFault::SignatureProfile), "{other}");
    }
}

#[test]
fn only_what_is_there_can_be_signed() {
    let vector = vector();
    let header = SecurityHeader::new(&vector);
    let limits = Limits::default();
    let prepare = |header: &SecurityHeader<'_>, signed: &[Part]| {
        header.prepare(body("").as_bytes(), signed, profile(Variant::A), &limits).map(|_| ())
    };
    let historical = header.with_token_reference(TokenReference::Historical);
    for (header, signed) in [
        (&header, &[][..]),
        (&header, &[Part::Body, Part::Body]),
        (&header, &[Part::Timestamp]),
        (&historical, &[Part::Assertion]),
    ] {
        assert!(matches!(prepare(header, signed), Err(Error::Argument(_))), "{signed:?}");
    }
    prepare(&historical, &[Part::Body]).unwrap();
}

#[test]
fn ids_and_signatures_in_the_way_are_refused_before_anything_is_signed() {
    let refused = |message: &str, signed: &[Part]| fault(sign(message, signed));
    let id = |value: &str| soap(&format!("<s:Body xmlns:u='{WSU}' u:Id='{value}'/>"));
    assert_eq!(refused(&id(""), &ALL), MessageFault::IdUnusable);
    assert_eq!(refused(&id("a b"), &ALL), MessageFault::IdUnusable);
    for taken in ["Body-a1", "TS-a1", "STR-a1", "X509-a1", "a1"] {
        let message = soap(&format!("<s:Body><a Id='{taken}'/></s:Body>"));
        assert_eq!(refused(&message, &ALL), MessageFault::IdUnusable, "{taken}");
    }
    let signed = "<s:Header><w:Security><d:Signature xmlns:d='http://www.w3.org/2000/09/xmldsig#'/></w:Security></s:Header>";
    assert_eq!(refused(&body(signed), &ALL), MessageFault::SecurityHeaderConflict);
}

#[test]
fn a_wrong_signature_is_not_released() {
    let vector = vector();
    let header = SecurityHeader::new(&vector);
    let limits = Limits::default();
    let prepared =
        header.prepare(body("").as_bytes(), &[Part::Body], profile(Variant::A), &limits).unwrap();
    assert!(matches!(
        prepared.splice(&[0; 32]),
        Err(Error::Signature { fault: SignatureFault::SignatureInvalid, .. })
    ));
}

#[test]
fn a_timestamp_is_created_and_expires() {
    let read = |inside: &str| {
        let octets = format!("<u:Timestamp xmlns:u='{WSU}'>{inside}</u:Timestamp>").into_bytes();
        VerifiedMessage::of_timestamp(octets).timestamp().map(Option::unwrap)
    };
    assert_eq!(read("<u:Created>1</u:Created>").unwrap().expires, None);
    for wrong in [
        "",
        "<u:Expires>1</u:Expires>",
        "<u:Created>1</u:Created><u:Created>1</u:Created>",
        "<u:Created>1</u:Created><u:Expires/><u:Expires/>",
        "<u:Created>1<!-- --></u:Created>",
        "x<u:Created>1</u:Created>",
    ] {
        assert!(matches!(read(wrong), Err(Error::Structure(_))), "{wrong}");
    }
}

#[test]
fn variant_b_is_last_unprefixed_and_over_the_whole_document() {
    let vector = vector_of("agent", Variant::B);
    let text = std::str::from_utf8(vector.octets()).unwrap();
    assert!(text.contains(
        "</saml2:AttributeStatement><Signature xmlns=\"http://www.w3.org/2000/09/xmldsig#\">"
    ));
    assert!(text.contains("<Reference URI=\"\"><Transforms><Transform "));
    assert!(!text.contains("ds:") && text.ends_with("</Signature></saml2:Assertion>"));
    let located = locate(vector.octets(), &Limits::default()).unwrap();
    let claim = located.assertion().unwrap().signature_claim().unwrap();
    assert_eq!(claim.variant(), Variant::B);
    let admitted = claim.admit(Policy::assertion(false).with_variant_b()).unwrap();
    let verified = admitted.verify::<Echo>(&[]).unwrap();
    assert!(!verified.octets().ends_with(b"</Signature></saml2:Assertion>"));
}

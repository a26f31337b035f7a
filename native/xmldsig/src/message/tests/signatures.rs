//! Signatures over parts of a message: what is made verifies, what was done to it does not; and variant B of a vector.

use super::super::*;
use super::{Echo, body, check, fault, profile, soap, vector, vector_of};
use crate::digest::sha256;
use crate::namespaces::{SOAP11, SOAP12, WSU};
use crate::{Error, Limits, MessageFault, Policy, SignatureFault, Variant, locate};

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
        ("#TS-a1\"", "#element(TS-a1)\"", SignatureFault::SignatureProfile),
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
fn no_part_is_digested_for_a_signature_that_does_not_hold() {
    let message = sign(&body(""), &ALL).unwrap().replace("<a/>", "<b/>");
    assert_eq!(refusal(&message), Some(SignatureFault::DigestMismatch));
    let at = message.rfind("<ds:SignatureValue>").unwrap() + "<ds:SignatureValue>".len();
    let unsigned = [&message[..at], "AAAA", &message[at..]].concat();
    assert_eq!(refusal(&unsigned), Some(SignatureFault::SignatureInvalid));
}

#[test]
fn what_has_no_canonical_form_is_neither_signed_nor_verified() {
    let message = sign(&body(""), &ALL).unwrap().replace("<a/>", "<a xmlns:r='relative'/>");
    assert_eq!(refusal(&message), Some(SignatureFault::SignatureProfile));
    let message = soap("<s:Body xmlns:r='relative'/>");
    let Err(Error::Malformed { offset, .. }) = sign(&message, &ALL) else {
        panic!("a relative namespace is signed");
    };
    assert_eq!(Some(offset), message.find("xmlns:r"));
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

//! Signing: arbitrary content is written canonically, verifies, reads back as it was, and not one octet of it can change.

use std::collections::BTreeMap;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use memchr::memmem;
use xmldsig::{AssertionContent, AssertionFields, Canonicalization, Limits, Method, read};

use crate::vectors::issue;
use crate::verify::accept;

/// Check one input: the content of an assertion, then what to do to it.
///
/// # Errors
/// The input is too short to mean anything.
pub fn check(octets: &[u8]) -> Result<()> {
    let mut input = Unstructured::new(octets);
    let content = content(&mut input)?;
    if content.check().is_err() {
        return Ok(());
    }
    let signed = issue(&content).octets().to_vec();
    assert!(
        canonical(&signed).as_ref() == Some(&signed),
        "an assertion is not written canonically"
    );
    let verified = accept(&signed).expect("what was signed verifies");
    match verified.read() {
        Ok(fields) => assert_eq!(fields, expected(&content)),
        Err(error) => {
            assert!(is_blank(&content.issuer) || is_blank(&content.issue_instant), "{error}")
        }
    }
    let place = input.choose_index(signed.len())?;
    let changed = changed(&signed, place, &mut input)?;
    if let Some(accepted) = accept(&changed) {
        assert!(accepted.octets() == verified.octets(), "other content was accepted");
        let is_same = canonical(&changed).as_ref() == Some(&signed);
        assert!(is_same || !is_signed(&signed, place), "what is signed can be changed");
    }
    Ok(())
}

fn content(input: &mut Unstructured<'_>) -> Result<AssertionContent> {
    Ok(AssertionContent {
        id: input.arbitrary()?,
        issue_instant: input.arbitrary()?,
        issuer: input.arbitrary()?,
        name_id: input.arbitrary()?,
        name_id_format: input.arbitrary()?,
        recipient: input.arbitrary()?,
        audience: input.arbitrary()?,
        not_before: input.arbitrary()?,
        not_on_or_after: input.arbitrary()?,
        authn_instant: input.arbitrary()?,
        authn_context: input.arbitrary()?,
        pagms: input.arbitrary()?,
        attributes: input.arbitrary()?,
        ..AssertionContent::default()
    })
}

/// What is read from an assertion with this content.
fn expected(content: &AssertionContent) -> AssertionFields {
    let mut fields = AssertionFields::default();
    fields.version = "2.0";
    let content = content.clone();
    let mut attributes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, values) in content.attributes {
        attributes.entry(name).or_default().extend(values);
    }
    fields.id.clone_from(&content.id);
    fields.issue_instant = content.issue_instant;
    fields.issuer = trimmed(&content.issuer).into();
    fields.name_id = Some(content.name_id);
    fields.name_id_format = Some(content.name_id_format);
    fields.confirmation_methods = vec!["urn:oasis:names:tc:SAML:2.0:cm:bearer".into()];
    fields.confirmation_not_on_or_after = Some(content.not_on_or_after.clone());
    fields.recipient = Some(content.recipient);
    fields.not_before = Some(content.not_before);
    fields.not_on_or_after = Some(content.not_on_or_after);
    fields.audiences = vec![content.audience];
    fields.authn_instant = Some(content.authn_instant);
    fields.session_index = Some(content.id);
    fields.authn_context = Some(trimmed(&content.authn_context).into());
    fields.pagm_attribute_count = 1;
    fields.pagms = content.pagms.iter().map(|pagm| trimmed(pagm).into()).collect();
    fields.attributes = attributes;
    fields
}

/// The octets with one of them flipped, taken out, or put in.
fn changed(octets: &[u8], place: usize, input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut changed = octets.to_vec();
    match input.int_in_range(0..=2)? {
        0 => changed[place] ^= input.int_in_range(1..=255)?,
        1 => drop(changed.remove(place)),
        _ => changed.insert(place, input.arbitrary()?),
    }
    Ok(changed)
}

/// Whether the octet at a place is covered by the signature: all but the Signature around its SignedInfo, where an octet
/// may also be put in before the tag that ends the stretch.
fn is_signed(octets: &[u8], place: usize) -> bool {
    let find = |tag: &str| memmem::find(octets, tag.as_bytes()).expect("a vector has a Signature");
    let before = find("<ds:Signature ")..=find("<ds:SignedInfo>");
    let behind = find("<ds:SignatureValue>")..=find("</ds:Signature>");
    !before.contains(&place) && !behind.contains(&place)
}

fn canonical(octets: &[u8]) -> Option<Vec<u8>> {
    let document = read(octets, &Limits::default()).ok()?;
    document.canonicalize(&Canonicalization::new(Method::Exclusive, false), None).ok()
}

fn trimmed(value: &str) -> &str {
    value.trim_matches([' ', '\t', '\n', '\r'])
}

fn is_blank(value: &str) -> bool {
    trimmed(value).is_empty()
}

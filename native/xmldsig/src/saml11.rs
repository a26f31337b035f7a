//! The SAML 1.1 form of a vector: written, checked and read (DOMAIN 2.3; SAML 1.1 core 2.3 to 2.4).
//!
//! Every statement repeats the Subject, because 1.1 has it so; an assertion whose Subjects differ is refused, since two
//! readers could take it for two people. The Signature is the last child, where the schema has it. There is no Recipient.

use crate::assertion::{AssertionContent, PAGM, Writer, WrittenAssertion};
use crate::document::{Document, ElementId};
use crate::error::Error;
use crate::fields::{AssertionFields, simple};
use crate::namespaces::SAML1;
use crate::text::trimmed;

const PAGM_NAMESPACE: &str = "urn:iops:attributs:pagm";
/// Spelled so.
const OPTIONAL_NAMESPACE: &str = "urn:iops:attributs:optionnal";

/// The statements of SAML 1.1 core that have a Subject.
const STATEMENTS: [&str; 3] =
    ["AuthenticationStatement", "AttributeStatement", "AuthorizationDecisionStatement"];

/// Write the assertion directly in its exclusive canonical form.
pub(crate) fn write(content: &AssertionContent) -> WrittenAssertion {
    let mut writer = Writer::new();
    writer.raw("<saml:Assertion xmlns:saml=\"urn:oasis:names:tc:SAML:1.0:assertion\"");
    writer.attribute("AssertionID", &content.id);
    writer.attribute("IssueInstant", &content.issue_instant);
    writer.attribute("Issuer", &content.issuer);
    writer.raw(" MajorVersion=\"1\" MinorVersion=\"1\"><saml:Conditions");
    writer.attribute("NotBefore", &content.not_before);
    writer.attribute("NotOnOrAfter", &content.not_on_or_after);
    writer.raw("><saml:AudienceRestrictionCondition><saml:Audience>");
    writer.text(&content.audience);
    writer.raw("</saml:Audience></saml:AudienceRestrictionCondition></saml:Conditions>");
    writer.raw("<saml:AuthenticationStatement");
    writer.attribute("AuthenticationInstant", &content.authn_instant);
    writer.attribute("AuthenticationMethod", &content.authn_context);
    writer.raw(">");
    write_subject(content, &mut writer);
    writer.raw("</saml:AuthenticationStatement><saml:AttributeStatement>");
    write_subject(content, &mut writer);
    write_values(PAGM, PAGM_NAMESPACE, &content.pagms, &mut writer);
    for (name, values) in &content.attributes {
        write_values(name, OPTIONAL_NAMESPACE, values, &mut writer);
    }
    writer.raw("</saml:AttributeStatement>");
    // The schema has one place for the Signature, whatever the variant.
    let before_end = writer.octets.len();
    writer.raw("</saml:Assertion>");
    WrittenAssertion { octets: writer.octets, behind_issuer: before_end, before_end }
}

fn write_subject(content: &AssertionContent, writer: &mut Writer) {
    writer.raw("<saml:Subject><saml:NameIdentifier");
    writer.attribute("Format", &content.name_id_format);
    writer.raw(">");
    writer.text(&content.name_id);
    writer.raw("</saml:NameIdentifier><saml:SubjectConfirmation><saml:ConfirmationMethod>");
    writer.raw(content.confirmation.saml11());
    writer.raw("</saml:ConfirmationMethod></saml:SubjectConfirmation></saml:Subject>");
}

fn write_values(name: &str, namespace: &'static str, values: &[String], writer: &mut Writer) {
    writer.raw("<saml:Attribute");
    writer.attribute("AttributeName", name);
    writer.attribute("AttributeNamespace", namespace);
    writer.raw(">");
    for value in values {
        writer.raw("<saml:AttributeValue>");
        writer.text(value);
        writer.raw("</saml:AttributeValue>");
    }
    writer.raw("</saml:Attribute>");
}

/// Check that the mandatory parts of SAML 1.1 core 2.3.2 are there, and those that a vector must not repeat are not.
pub(crate) fn check_structure(document: &Document<'_>) -> Result<(), Error> {
    let root = Document::ROOT;
    let stated = |name| {
        let value = document.attribute(root, name).unwrap_or_default();
        !trimmed(&value).is_empty()
    };
    let version = |name| document.attribute(root, name);
    if version("MajorVersion").as_deref() != Some("1")
        || version("MinorVersion").as_deref() != Some("1")
    {
        return Err(Error::Structure("the version is not 1.1"));
    }
    for (name, rule) in [
        ("AssertionID", "the assertion has no AssertionID"),
        ("IssueInstant", "the assertion has no IssueInstant"),
        ("Issuer", "the assertion has no Issuer, or an empty one"),
    ] {
        if !stated(name) {
            return Err(Error::Structure(rule));
        }
    }
    if document.children_named(root, SAML1, "Conditions").nth(1).is_some() {
        return Err(Error::Structure("the assertion has several Conditions"));
    }
    if document.children_named(root, SAML1, "AuthenticationStatement").nth(1).is_some() {
        return Err(Error::Structure("the assertion has several AuthenticationStatements"));
    }
    let mut statements = statements(document).peekable();
    if statements.peek().is_none() {
        return Err(Error::Structure("the assertion has no statement"));
    }
    for statement in statements {
        let mut subjects = document.children_named(statement, SAML1, "Subject");
        let subject = match (subjects.next(), subjects.next()) {
            (Some(subject), None) if document.children(subject).next().is_some() => subject,
            _ => return Err(Error::Structure("a statement has not one Subject, or an empty one")),
        };
        if document.children_named(subject, SAML1, "NameIdentifier").nth(1).is_some() {
            return Err(Error::Structure("a Subject has several NameIdentifiers"));
        }
    }
    Ok(())
}

/// Read a document whose structure was checked.
pub(crate) fn read(document: &Document<'_>) -> Result<AssertionFields, Error> {
    let root = Document::ROOT;
    let attribute = |name| document.attribute(root, name).unwrap_or_default();
    let mut fields = AssertionFields {
        version: "1.1",
        id: attribute("AssertionID"),
        issue_instant: attribute("IssueInstant"),
        issuer: trimmed(&attribute("Issuer")).to_owned(),
        ..AssertionFields::default()
    };
    read_subjects(document, &mut fields)?;
    read_conditions(document, &mut fields)?;
    if let Some(statement) = document.child(root, SAML1, "AuthenticationStatement") {
        let method = document.attribute(statement, "AuthenticationMethod");
        fields.authn_context = method.map(|method| trimmed(&method).to_owned());
        fields.authn_instant = document.attribute(statement, "AuthenticationInstant");
    }
    for statement in document.children_named(root, SAML1, "AttributeStatement") {
        for attribute in document.children_named(statement, SAML1, "Attribute") {
            let name = document.attribute(attribute, "AttributeName").unwrap_or_default();
            let values = document.children_named(attribute, SAML1, "AttributeValue");
            fields.add_attribute(document, name, values)?;
        }
    }
    Ok(fields)
}

/// Whom a Subject names, and how that is confirmed.
#[derive(Debug, PartialEq, Eq, Default)]
struct Subject {
    name: Option<String>,
    format: Option<String>,
    qualifier: Option<String>,
    methods: Vec<String>,
}

fn read_subjects(document: &Document<'_>, fields: &mut AssertionFields) -> Result<(), Error> {
    let mut first: Option<Subject> = None;
    for statement in statements(document) {
        let Some(subject) = document.child(statement, SAML1, "Subject") else { continue };
        let subject = read_subject(document, subject)?;
        if first.as_ref().is_some_and(|first| *first != subject) {
            return Err(Error::Structure("the statements have different Subjects"));
        }
        first = Some(subject);
    }
    let subject = first.unwrap_or_default();
    fields.name_id = subject.name;
    fields.name_id_format = subject.format;
    fields.confirmation_methods = subject.methods;
    Ok(())
}

fn read_subject(document: &Document<'_>, subject: ElementId) -> Result<Subject, Error> {
    let mut read = Subject::default();
    if let Some(name) = document.child(subject, SAML1, "NameIdentifier") {
        read.name = Some(simple(document, name)?);
        read.format = document.attribute(name, "Format");
        read.qualifier = document.attribute(name, "NameQualifier");
    }
    for confirmation in document.children_named(subject, SAML1, "SubjectConfirmation") {
        for method in document.children_named(confirmation, SAML1, "ConfirmationMethod") {
            read.methods.push(trimmed(&simple(document, method)?).to_owned());
        }
    }
    Ok(read)
}

fn read_conditions(document: &Document<'_>, fields: &mut AssertionFields) -> Result<(), Error> {
    let Some(conditions) = document.child(Document::ROOT, SAML1, "Conditions") else {
        return Ok(());
    };
    fields.not_before = document.attribute(conditions, "NotBefore");
    fields.not_on_or_after = document.attribute(conditions, "NotOnOrAfter");
    for restriction in document.children_named(conditions, SAML1, "AudienceRestrictionCondition") {
        for audience in document.children_named(restriction, SAML1, "Audience") {
            fields.audiences.push(simple(document, audience)?);
        }
    }
    Ok(())
}

fn statements<'d>(document: &'d Document<'_>) -> impl Iterator<Item = ElementId> + 'd {
    document.children(Document::ROOT).filter(|&child| {
        STATEMENTS.iter().any(|statement| document.is_element(child, SAML1, statement))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use crate::reader::read as read_document;

    const SUBJECT: &str = "<s:Subject><s:NameIdentifier Format='f'> a </s:NameIdentifier>\
        <s:SubjectConfirmation><s:ConfirmationMethod>\n m</s:ConfirmationMethod></s:SubjectConfirmation></s:Subject>";

    fn assertion(head: &str, inside: &str) -> String {
        format!(
            "<s:Assertion xmlns:s='urn:oasis:names:tc:SAML:1.0:assertion' {head}>{inside}</s:Assertion>"
        )
    }

    fn refusal(head: &str, inside: &str) -> Option<Error> {
        let text = assertion(head, inside);
        let document = read_document(text.as_bytes(), &Limits::default()).unwrap();
        check_structure(&document).and_then(|()| read(&document)).err()
    }

    const HEAD: &str =
        "MajorVersion='1' MinorVersion='1' AssertionID='_a' IssueInstant='t' Issuer=' i '";

    #[test]
    fn what_is_stated_is_read() {
        let statements = format!(
            "<s:AuthenticationStatement AuthenticationMethod=' m ' AuthenticationInstant='t'>{SUBJECT}</s:AuthenticationStatement>\
             <s:AttributeStatement>{SUBJECT}<s:Attribute AttributeName='PAGM' AttributeNamespace='n'>\
             <s:AttributeValue> P<!-- -->1 </s:AttributeValue></s:Attribute></s:AttributeStatement>"
        );
        let text = assertion(HEAD, &statements);
        let document = read_document(text.as_bytes(), &Limits::default()).unwrap();
        check_structure(&document).unwrap();
        let fields = read(&document).unwrap();
        assert_eq!(
            (fields.version, fields.id.as_str(), fields.issuer.as_str()),
            ("1.1", "_a", "i")
        );
        assert_eq!(fields.name_id.as_deref(), Some(" a "));
        assert_eq!(fields.confirmation_methods, ["m"]);
        assert_eq!(fields.authn_context.as_deref(), Some("m"));
        assert_eq!(
            (fields.pagms.as_slice(), fields.pagm_attribute_count),
            (&["P1".to_owned()][..], 1)
        );
    }

    #[test]
    fn what_two_readers_could_take_differently_is_refused() {
        let statement = format!("<s:AttributeStatement>{SUBJECT}</s:AttributeStatement>");
        let other = statement.replace(" a ", " b ");
        assert_eq!(refusal(HEAD, &statement), None);
        for (head, inside) in [
            (HEAD.to_owned(), String::new()),
            (HEAD.to_owned(), format!("{statement}{other}")),
            (HEAD.to_owned(), statement.replace(SUBJECT, "")),
            (HEAD.to_owned(), statement.replace(SUBJECT, &format!("{SUBJECT}{SUBJECT}"))),
            (
                HEAD.to_owned(),
                statement
                    .replace("<s:SubjectC", "<s:NameIdentifier>b</s:NameIdentifier><s:SubjectC"),
            ),
            (HEAD.to_owned(), format!("<s:Conditions/><s:Conditions/>{statement}")),
            (HEAD.replace("Minor", "Miner"), statement.clone()),
            (HEAD.replace("MinorVersion='1'", "MinorVersion='0'"), statement.clone()),
            (HEAD.replace("_a", " "), statement.clone()),
            (HEAD.replace(" i ", " "), statement.clone()),
            (HEAD.replace("IssueInstant", "Instant"), statement.clone()),
        ] {
            assert!(
                matches!(refusal(&head, &inside), Some(Error::Structure(_))),
                "{head} {inside}"
            );
        }
    }
}

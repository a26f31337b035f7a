//! Reading a verified assertion, from the octets that were digested and from nothing else.

use std::collections::BTreeMap;

use crate::assertion::PAGM;
use crate::document::{Document, ElementId, Node};
use crate::error::Error;
use crate::limits::Limits;
use crate::locate::check_structure;
use crate::namespaces::{SAML1, SAML2};
use crate::reader::read;
use crate::saml11;
use crate::text::trimmed;
use crate::verify::VerifiedOctets;

/// What an assertion states, in the words of SAML 2.0; Issuer, level and PAGM trimmed of white space.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each field is the SAML element or attribute of its name")]
pub struct AssertionFields {
    /// `2.0` or `1.1`.
    pub version: &'static str,
    pub id: String,
    pub issue_instant: String,
    pub issuer: String,
    pub name_id: Option<String>,
    pub name_id_format: Option<String>,
    pub confirmation_methods: Vec<String>,
    pub confirmation_not_before: Option<String>,
    pub confirmation_not_on_or_after: Option<String>,
    pub recipient: Option<String>,
    pub not_before: Option<String>,
    pub not_on_or_after: Option<String>,
    pub audiences: Vec<String>,
    pub authn_instant: Option<String>,
    pub session_index: Option<String>,
    pub authn_context: Option<String>,
    /// How many Attribute elements are named PAGM.
    pub pagm_attribute_count: usize,
    pub pagms: Vec<String>,
    /// The other attributes; values of a name that stands twice follow each other.
    pub attributes: BTreeMap<String, Vec<String>>,
}

impl VerifiedOctets {
    /// Read the assertion. Every text concatenates all its text nodes; a value with markup inside is refused.
    ///
    /// # Errors
    /// [`Error::Structure`].
    pub fn read(&self) -> Result<AssertionFields, Error> {
        let document = read(self.octets(), &Limits::OWN)?;
        check_structure(&document)?;
        if document.is_element(Document::ROOT, SAML1, "Assertion") {
            return saml11::read(&document);
        }
        let mut fields = AssertionFields { version: "2.0", ..AssertionFields::default() };
        fields.read_root(&document)?;
        fields.read_subject(&document)?;
        fields.read_conditions(&document)?;
        fields.read_authentication(&document)?;
        fields.read_attributes(&document)?;
        Ok(fields)
    }
}

impl AssertionFields {
    fn read_root(&mut self, document: &Document<'_>) -> Result<(), Error> {
        let root = Document::ROOT;
        self.id = document.attribute(root, "ID").unwrap_or_default();
        self.issue_instant = document.attribute(root, "IssueInstant").unwrap_or_default();
        if let Some(issuer) = document.child(root, SAML2, "Issuer") {
            trimmed(&simple(document, issuer)?).clone_into(&mut self.issuer);
        }
        Ok(())
    }

    fn read_subject(&mut self, document: &Document<'_>) -> Result<(), Error> {
        let Some(subject) = document.child(Document::ROOT, SAML2, "Subject") else {
            return Ok(());
        };
        if let Some(name_id) = document.child(subject, SAML2, "NameID") {
            self.name_id = Some(simple(document, name_id)?);
            self.name_id_format = document.attribute(name_id, "Format");
        }
        let mut first_data = None;
        for confirmation in document.children_named(subject, SAML2, "SubjectConfirmation") {
            let method = document.attribute(confirmation, "Method");
            self.confirmation_methods.push(method.unwrap_or_default());
            let data = document.child(confirmation, SAML2, "SubjectConfirmationData");
            first_data = first_data.or(data);
        }
        if let Some(data) = first_data {
            self.confirmation_not_before = document.attribute(data, "NotBefore");
            self.confirmation_not_on_or_after = document.attribute(data, "NotOnOrAfter");
            self.recipient = document.attribute(data, "Recipient");
        }
        Ok(())
    }

    fn read_conditions(&mut self, document: &Document<'_>) -> Result<(), Error> {
        let Some(conditions) = document.child(Document::ROOT, SAML2, "Conditions") else {
            return Ok(());
        };
        self.not_before = document.attribute(conditions, "NotBefore");
        self.not_on_or_after = document.attribute(conditions, "NotOnOrAfter");
        for restriction in document.children_named(conditions, SAML2, "AudienceRestriction") {
            for audience in document.children_named(restriction, SAML2, "Audience") {
                self.audiences.push(simple(document, audience)?);
            }
        }
        Ok(())
    }

    fn read_authentication(&mut self, document: &Document<'_>) -> Result<(), Error> {
        let Some(statement) = document.child(Document::ROOT, SAML2, "AuthnStatement") else {
            return Ok(());
        };
        self.authn_instant = document.attribute(statement, "AuthnInstant");
        self.session_index = document.attribute(statement, "SessionIndex");
        let context = document.child(statement, SAML2, "AuthnContext");
        let level = context.and_then(|id| document.child(id, SAML2, "AuthnContextClassRef"));
        if let Some(level) = level {
            self.authn_context = Some(trimmed(&simple(document, level)?).to_owned());
        }
        Ok(())
    }

    fn read_attributes(&mut self, document: &Document<'_>) -> Result<(), Error> {
        for statement in document.children_named(Document::ROOT, SAML2, "AttributeStatement") {
            for attribute in document.children_named(statement, SAML2, "Attribute") {
                self.read_attribute(document, attribute)?;
            }
        }
        Ok(())
    }

    fn read_attribute(
        &mut self,
        document: &Document<'_>,
        attribute: ElementId,
    ) -> Result<(), Error> {
        let name = document.attribute(attribute, "Name").unwrap_or_default();
        let values = document.children_named(attribute, SAML2, "AttributeValue");
        self.add_attribute(document, name, values)
    }

    pub(crate) fn add_attribute(
        &mut self,
        document: &Document<'_>,
        name: String,
        values: impl Iterator<Item = ElementId>,
    ) -> Result<(), Error> {
        if name == PAGM {
            self.pagm_attribute_count += 1;
            for value in values {
                self.pagms.push(trimmed(&simple(document, value)?).to_owned());
            }
            return Ok(());
        }
        let attribute = self.attributes.entry(name).or_default();
        for value in values {
            attribute.push(simple(document, value)?);
        }
        Ok(())
    }
}

/// The text of an element that holds no other element.
pub(crate) fn simple(document: &Document<'_>, element: ElementId) -> Result<String, Error> {
    if document.inside(element).iter().any(|node| matches!(node, Node::Start(_))) {
        return Err(Error::Structure("a simple value of the assertion holds markup"));
    }
    Ok(document.text(element))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an assertion with this Issuer, NameID and PAGM states.
    fn fields(issuer: &str, name_id: &str, pagm: &str) -> Result<AssertionFields, Error> {
        let octets = format!(
            "<Assertion xmlns=\"{SAML2}\" ID=\"i\" IssueInstant=\"2026-03-01T12:00:00Z\" Version=\"2.0\">\
             <Issuer>{issuer}</Issuer><Subject><NameID>{name_id}</NameID></Subject><AttributeStatement>\
             <Attribute Name=\"PAGM\"><AttributeValue>{pagm}</AttributeValue></Attribute></AttributeStatement></Assertion>"
        );
        VerifiedOctets::from_canonical(octets.into_bytes()).read()
    }

    #[test]
    fn a_value_is_all_its_text() {
        let cut = "admin<?p q?>.evil<!-- c --><![CDATA[.example]]>&#46;org";
        let fields = fields(cut, cut, cut).unwrap();
        assert_eq!(fields.issuer, "admin.evil.example.org");
        assert_eq!(fields.name_id.as_deref(), Some("admin.evil.example.org"));
        assert_eq!(fields.pagms, ["admin.evil.example.org"]);
    }

    #[test]
    fn a_value_with_markup_inside_is_refused() {
        let markup = "admin<b/>.evil";
        let refused = Err(Error::Structure("a simple value of the assertion holds markup"));
        assert_eq!(fields(markup, "a", "a"), refused);
        assert_eq!(fields("a", markup, "a"), refused);
        assert_eq!(fields("a", "a", markup), refused);
        // The same of any other attribute.
        let other = "</AttributeValue></Attribute><Attribute Name=\"role\"><AttributeValue>ad<b>evil</b>min";
        assert_eq!(fields("a", "a", other), refused);
    }

    #[test]
    fn what_stands_twice_is_refused() {
        let subject = Err(Error::Structure("the Subject has several NameIDs"));
        assert_eq!(fields("a", "a</NameID><NameID>b", "a"), subject);
        let statement = |inside: &str| {
            let end = "</AttributeValue></Attribute></AttributeStatement>";
            let start = "<AttributeStatement><Attribute Name=\"n\"><AttributeValue>";
            fields("a", "a", &["1", end, inside, start].concat())
        };
        let level = |level: &str| format!("<AuthnContextClassRef>{level}</AuthnContextClassRef>");
        let context = |levels: &str| format!("<AuthnContext>{levels}</AuthnContext>");
        let authn = |contexts: &str| format!("<AuthnStatement>{contexts}</AuthnStatement>");
        let (one, two) = (level("l"), level("m"));
        let read = statement(&authn(&context(&one))).unwrap();
        assert_eq!(read.authn_context.as_deref(), Some("l"));
        for (twice, rule) in [
            (
                [authn(&context(&one)), authn(&context(&two))].concat(),
                "the assertion has several AuthnStatements",
            ),
            (
                authn(&[context(&one), context(&two)].concat()),
                "the AuthnStatement has several AuthnContexts",
            ),
            (
                authn(&context(&[one, two].concat())),
                "the AuthnContext has several AuthnContextClassRefs",
            ),
        ] {
            assert_eq!(statement(&twice), Err(Error::Structure(rule)));
        }
    }
}

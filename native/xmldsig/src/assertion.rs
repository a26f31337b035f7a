//! Writing the assertion of a vector (SAML 2.0 here, 1.1 in `saml11`), directly in its exclusive canonical form (DOMAIN 2.2).
//!
//! Promises: `c14n(written) == written`, for the whole and for the whole without its Signature; every string is escaped,
//! so that none becomes markup. Refuses: characters XML 1.0 cannot carry, IDs that are not names.

use crate::characters::{first_forbidden, is_name_char};
use crate::error::Error;
use crate::saml11;
use crate::text::{write_attribute, write_text};

/// The attribute that carries the PAGMs.
pub const PAGM: &str = "PAGM";

/// The version of SAML a vector is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SamlVersion {
    /// 1.1 (DOMAIN 2.3).
    V11,
    /// 2.0 (DOMAIN 2.2).
    #[default]
    V20,
}

/// How the subject is confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Confirmation {
    /// Whoever bears the assertion.
    #[default]
    Bearer,
    /// The organisation vouches for its user.
    SenderVouches,
}

/// Everything a vector states; instants are xs:dateTime strings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the caller states every field; a new one must be seen there"
)]
pub struct AssertionContent {
    /// The ID attribute: letters, digits, `.`, `-`, `_`; a bare UUID may start with a digit.
    pub id: String,
    /// IssueInstant.
    pub issue_instant: String,
    /// Issuer.
    pub issuer: String,
    /// NameID.
    pub name_id: String,
    /// The Format of NameID.
    pub name_id_format: String,
    /// Recipient of SubjectConfirmationData; SAML 1.1 has no place for it.
    pub recipient: String,
    /// Audience.
    pub audience: String,
    /// NotBefore of Conditions.
    pub not_before: String,
    /// NotOnOrAfter of Conditions and SubjectConfirmationData.
    pub not_on_or_after: String,
    /// AuthnInstant.
    pub authn_instant: String,
    /// AuthnContextClassRef.
    pub authn_context: String,
    /// One AttributeValue each.
    pub pagms: Vec<String>,
    /// The other attributes, in order.
    pub attributes: Vec<(String, Vec<String>)>,
    /// In which form it is written.
    pub saml: SamlVersion,
    /// How the subject is confirmed.
    pub confirmation: Confirmation,
}

/// A written assertion, and the two places where a Signature may go.
#[derive(Debug)]
pub(crate) struct WrittenAssertion {
    pub(crate) octets: Vec<u8>,
    pub(crate) behind_issuer: usize,
    /// Before the end tag.
    pub(crate) before_end: usize,
}

impl SamlVersion {
    /// The version `2.0` or `1.1` names.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "1.1" => Some(Self::V11),
            "2.0" => Some(Self::V20),
            _ => None,
        }
    }
}

impl Confirmation {
    /// The method `bearer` or `sender-vouches` names.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "bearer" => Some(Self::Bearer),
            "sender-vouches" => Some(Self::SenderVouches),
            _ => None,
        }
    }

    const fn saml20(self) -> &'static str {
        match self {
            Self::Bearer => "urn:oasis:names:tc:SAML:2.0:cm:bearer",
            Self::SenderVouches => "urn:oasis:names:tc:SAML:2.0:cm:sender-vouches",
        }
    }

    pub(crate) const fn saml11(self) -> &'static str {
        match self {
            Self::Bearer => "urn:oasis:names:tc:SAML:1.0:cm:bearer",
            Self::SenderVouches => "urn:oasis:names:tc:SAML:1.0:cm:sender-vouches",
        }
    }
}

impl AssertionContent {
    /// # Errors
    /// [`Error::Argument`] names the field.
    pub fn check(&self) -> Result<(), Error> {
        // The Reference is "#" + ID: with these characters no one can read it in two ways.
        if self.id.is_empty() || !self.id.chars().all(is_name_char) {
            return Err(Error::Argument(format!("{:?} is not usable as an ID", self.id)));
        }
        for (field, value) in self.fields() {
            check_characters(field, value)?;
        }
        for pagm in &self.pagms {
            check_characters("pagms", pagm)?;
        }
        for (name, values) in &self.attributes {
            if name == PAGM {
                return Err(Error::Argument("PAGM is not one of the other attributes".into()));
            }
            check_characters("attributes", name)?;
            values.iter().try_for_each(|value| check_characters("attributes", value))?;
        }
        Ok(())
    }

    pub(crate) fn write(&self) -> WrittenAssertion {
        match self.saml {
            SamlVersion::V11 => saml11::write(self),
            SamlVersion::V20 => self.write_saml20(),
        }
    }

    fn write_saml20(&self) -> WrittenAssertion {
        let mut writer = Writer::new();
        writer.raw("<saml2:Assertion xmlns:saml2=\"urn:oasis:names:tc:SAML:2.0:assertion\"");
        writer.attribute("ID", &self.id);
        writer.attribute("IssueInstant", &self.issue_instant);
        writer.raw(" Version=\"2.0\"><saml2:Issuer>");
        writer.text(&self.issuer);
        writer.raw("</saml2:Issuer>");
        let behind_issuer = writer.octets.len();
        self.write_subject(&mut writer);
        self.write_conditions(&mut writer);
        self.write_statements(&mut writer);
        let before_end = writer.octets.len();
        writer.raw("</saml2:Assertion>");
        WrittenAssertion { octets: writer.octets, behind_issuer, before_end }
    }

    fn write_subject(&self, writer: &mut Writer) {
        writer.raw("<saml2:Subject><saml2:NameID");
        writer.attribute("Format", &self.name_id_format);
        writer.raw(">");
        writer.text(&self.name_id);
        writer.raw("</saml2:NameID><saml2:SubjectConfirmation");
        writer.attribute("Method", self.confirmation.saml20());
        writer.raw("><saml2:SubjectConfirmationData");
        writer.attribute("NotOnOrAfter", &self.not_on_or_after);
        writer.attribute("Recipient", &self.recipient);
        writer.raw("></saml2:SubjectConfirmationData></saml2:SubjectConfirmation></saml2:Subject>");
    }

    fn write_conditions(&self, writer: &mut Writer) {
        writer.raw("<saml2:Conditions");
        writer.attribute("NotBefore", &self.not_before);
        writer.attribute("NotOnOrAfter", &self.not_on_or_after);
        writer.raw("><saml2:AudienceRestriction><saml2:Audience>");
        writer.text(&self.audience);
        writer.raw("</saml2:Audience></saml2:AudienceRestriction></saml2:Conditions>");
    }

    fn write_statements(&self, writer: &mut Writer) {
        writer.raw("<saml2:AuthnStatement");
        writer.attribute("AuthnInstant", &self.authn_instant);
        writer.attribute("SessionIndex", &self.id);
        writer.raw("><saml2:AuthnContext><saml2:AuthnContextClassRef>");
        writer.text(&self.authn_context);
        writer.raw("</saml2:AuthnContextClassRef></saml2:AuthnContext></saml2:AuthnStatement>");
        writer.raw("<saml2:AttributeStatement>");
        writer.saml_attribute(PAGM, &self.pagms);
        for (name, values) in &self.attributes {
            writer.saml_attribute(name, values);
        }
        writer.raw("</saml2:AttributeStatement>");
    }

    fn fields(&self) -> [(&'static str, &str); 10] {
        [
            ("issue_instant", &self.issue_instant),
            ("issuer", &self.issuer),
            ("name_id", &self.name_id),
            ("name_id_format", &self.name_id_format),
            ("recipient", &self.recipient),
            ("audience", &self.audience),
            ("not_before", &self.not_before),
            ("not_on_or_after", &self.not_on_or_after),
            ("authn_instant", &self.authn_instant),
            ("authn_context", &self.authn_context),
        ]
    }
}

pub(crate) struct Writer {
    pub(crate) octets: Vec<u8>,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self { octets: Vec::with_capacity(2048) }
    }

    pub(crate) fn raw(&mut self, markup: &'static str) {
        self.octets.extend_from_slice(markup.as_bytes());
    }

    pub(crate) fn text(&mut self, value: &str) {
        write_text(value.as_bytes(), &mut self.octets);
    }

    pub(crate) fn attribute(&mut self, name: &'static str, value: &str) {
        self.raw(" ");
        self.raw(name);
        self.raw("=\"");
        write_attribute(value.as_bytes(), &mut self.octets);
        self.raw("\"");
    }

    fn saml_attribute(&mut self, name: &str, values: &[String]) {
        self.raw("<saml2:Attribute Name=\"");
        write_attribute(name.as_bytes(), &mut self.octets);
        self.raw("\">");
        for value in values {
            self.raw("<saml2:AttributeValue>");
            self.text(value);
            self.raw("</saml2:AttributeValue>");
        }
        self.raw("</saml2:Attribute>");
    }
}

pub(crate) fn check_characters(field: &str, value: &str) -> Result<(), Error> {
    match first_forbidden(value) {
        None => Ok(()),
        Some(_) => Err(Error::Argument(format!("{field} holds a character XML cannot carry"))),
    }
}

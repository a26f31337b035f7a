//! What stands in `wsse:Security`: the vector, and beside it what a convention asks for (DOMAIN 3).
//!
//! Every part declares its own prefixes and is written in its exclusive canonical form, so that it means the same
//! wherever it is put. Every string is escaped; the assertion is one this crate spliced, never a caller's octets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{BASE64, HISTORICAL_SAML2_TOKEN, SAML_ID, SAML2_TOKEN, WSSE11, X509V3};
use crate::assertion::check_characters;
use crate::error::Error;
use crate::namespaces::{WSSE, WSU};
use crate::splice::SignedAssertion;
use crate::text::write_text;

/// The `wsse:SecurityTokenReference` behind the assertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TokenReference {
    /// None.
    None,
    /// As SAML Token Profile 1.1 says.
    #[default]
    Standard,
    /// As production writes it, defects and all: another token type, in another namespace, and one `wsu:Id` twice.
    Historical,
}

/// What happens to `wsse:Security` headers that a message brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ExistingHeader {
    /// A message with any is refused.
    #[default]
    Refuse,
    /// All stay; the one for the final receiver, if any, takes our parts before its own.
    Keep,
    /// Those for the final receiver are taken out; those for others stay.
    Replace,
}

/// The header of one message, to be inserted once.
#[derive(Debug, Clone, Copy)]
pub struct SecurityHeader<'a> {
    pub(super) assertion: &'a SignedAssertion,
    /// Created and Expires.
    pub(super) timestamp: Option<(&'a str, &'a str)>,
    pub(super) token_reference: TokenReference,
    pub(super) existing: ExistingHeader,
}

impl<'a> SecurityHeader<'a> {
    /// The vector alone with the standard reference, for a message without security header.
    #[must_use]
    pub fn new(assertion: &'a SignedAssertion) -> Self {
        Self {
            assertion,
            timestamp: None,
            token_reference: TokenReference::default(),
            existing: ExistingHeader::default(),
        }
    }

    /// With a `wsu:Timestamp`; instants are xs:dateTime strings.
    ///
    /// # Errors
    /// [`Error::Argument`] for characters XML cannot carry.
    pub fn with_timestamp(mut self, created: &'a str, expires: &'a str) -> Result<Self, Error> {
        check_characters("created", created)?;
        check_characters("expires", expires)?;
        self.timestamp = Some((created, expires));
        Ok(self)
    }

    /// With another `wsse:SecurityTokenReference`, or none.
    #[must_use]
    pub const fn with_token_reference(mut self, token_reference: TokenReference) -> Self {
        self.token_reference = token_reference;
        self
    }

    /// With another rule for headers that are there.
    #[must_use]
    pub const fn with_existing(mut self, existing: ExistingHeader) -> Self {
        self.existing = existing;
        self
    }

    /// The `wsu:Id` of one of the header's parts, or of the Body: a name of its own for each vector.
    pub(super) fn id_of(&self, part: &str) -> String {
        format!("{part}-{}", self.assertion.id())
    }

    /// The parts, the signer's certificate first where they are to be signed. The octets stand inside `wsse:Security`.
    pub(super) fn write(&self, certificate: Option<&[u8]>) -> Vec<u8> {
        let mut octets = Vec::with_capacity(2048 + self.assertion.octets().len());
        if let Some(certificate) = certificate {
            self.write_certificate(certificate, &mut octets);
        }
        if let Some((created, expires)) = self.timestamp {
            self.write_timestamp(created, expires, &mut octets);
        }
        octets.extend_from_slice(self.assertion.octets());
        match self.token_reference {
            TokenReference::None => {}
            TokenReference::Standard => self.write_reference(&mut octets),
            TokenReference::Historical => self.write_historical_reference(&mut octets),
        }
        octets
    }

    /// X.509 Token Profile 1.1, 3.3.
    fn write_certificate(&self, certificate: &[u8], octets: &mut Vec<u8>) {
        let (id, value) = (self.id_of("X509"), STANDARD.encode(certificate));
        let element = format!(
            "<wsse:BinarySecurityToken xmlns:wsse=\"{WSSE}\" xmlns:wsu=\"{WSU}\" EncodingType=\"{BASE64}\" \
             ValueType=\"{X509V3}\" wsu:Id=\"{id}\">{value}</wsse:BinarySecurityToken>"
        );
        octets.extend_from_slice(element.as_bytes());
    }

    /// WSS 1.1, 10.
    fn write_timestamp(&self, created: &str, expires: &str, octets: &mut Vec<u8>) {
        let id = self.id_of("TS");
        let start = format!("<wsu:Timestamp xmlns:wsu=\"{WSU}\" wsu:Id=\"{id}\"><wsu:Created>");
        octets.extend_from_slice(start.as_bytes());
        write_text(created.as_bytes(), octets);
        octets.extend_from_slice(b"</wsu:Created><wsu:Expires>");
        write_text(expires.as_bytes(), octets);
        octets.extend_from_slice(b"</wsu:Expires></wsu:Timestamp>");
    }

    /// SAML Token Profile 1.1, 3.4.1.
    fn write_reference(&self, octets: &mut Vec<u8>) {
        let (id, assertion) = (self.id_of("STR"), self.assertion.id());
        let element = format!(
            "<wsse:SecurityTokenReference xmlns:wsse=\"{WSSE}\" xmlns:wsse11=\"{WSSE11}\" xmlns:wsu=\"{WSU}\" \
             wsu:Id=\"{id}\" wsse11:TokenType=\"{SAML2_TOKEN}\"><wsse:KeyIdentifier ValueType=\"{SAML_ID}\">\
             {assertion}</wsse:KeyIdentifier></wsse:SecurityTokenReference>"
        );
        octets.extend_from_slice(element.as_bytes());
    }

    fn write_historical_reference(&self, octets: &mut Vec<u8>) {
        let assertion = self.assertion.id();
        let element = format!(
            "<wsse:SecurityTokenReference xmlns:wsse=\"{WSSE}\" xmlns:wsu=\"{WSU}\" wsu:Id=\"token1\" \
             wsse:TokenType=\"{HISTORICAL_SAML2_TOKEN}\"><wsse:KeyIdentifier wsu:Id=\"token1\" \
             ValueType=\"{SAML_ID}\"> {assertion} </wsse:KeyIdentifier></wsse:SecurityTokenReference>"
        );
        octets.extend_from_slice(element.as_bytes());
    }
}

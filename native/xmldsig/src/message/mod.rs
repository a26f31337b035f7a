//! WS-Security of one SOAP message: the header inserted, parts of the message signed, and such signatures verified.
//!
//! | module | owns |
//! | --- | --- |
//! | `envelope` | the shape a SOAP 1.1 or 1.2 message must have |
//! | `header` | what stands in `wsse:Security`: vector, Timestamp, tokens |
//! | `insert` | where it goes: edits of the octets as they came |
//! | `references` | what the References of a message signature lead to, and their `SignedInfo` |
//! | `prepare` | everything up to the octets the HSM signs, and the splice |
//! | `verify` | such a signature, read strictly and verified |
//! | `passing` | a message checked in pieces as it passes |
//! | `soap` | a message read once, for routing, insertion and location |

mod envelope;
mod header;
mod insert;
mod passing;
mod prepare;
mod references;
mod soap;
mod verify;

#[cfg(test)]
mod tests;

pub use self::header::{ExistingHeader, SecurityHeader, TokenReference};
pub use self::insert::{Edit, SecuredMessage};
pub use self::passing::PassingMessage;
pub use self::prepare::PreparedMessage;
pub use self::references::Part;
pub use self::soap::SoapMessage;
pub use self::verify::{
    AdmittedMessageSignature, MessageSignatureClaim, VerifiedMessage, VerifiedTimestamp,
};

/// The namespace of `TokenType` (WSS 1.1).
const WSSE11: &str = "http://docs.oasis-open.org/wss/oasis-wss-wssecurity-secext-1.1.xsd";
/// The STR Dereference Transform (WSS 1.1, 8.3).
const STR_TRANSFORM: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#STR-Transform";
/// How a `BinarySecurityToken` is encoded.
const BASE64: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary";
/// One certificate, DER.
const X509V3: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3";
/// A SAML 2.0 assertion as token (SAML Token Profile 1.1, 3.3).
const SAML2_TOKEN: &str =
    "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLV2.0";
/// Its ID as the key identifier.
const SAML_ID: &str = "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLID";
/// The token type that production writes, a hyphen short (DOMAIN 3).
const HISTORICAL_SAML2_TOKEN: &str =
    "http://docs.oasis-open.org/wss/oasis-wss-saml-tokenprofile-1.1#SAMLV2.0";

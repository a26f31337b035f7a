//! The Signature of one key's vectors, written once but for the ID, the digest and the value (DOMAIN 2.4).
//!
//! Promises: what is written is its own exclusive canonical form, so that `SignedInfo` is signed as it stands.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::algorithms::{C14N_EXCLUSIVE, ENVELOPED};
use crate::namespaces::DS;
use crate::verify::Variant;

/// The algorithm URIs of one signing key.
#[derive(Debug, Clone)]
pub(crate) struct Methods {
    pub(crate) signature: String,
    pub(crate) digest: String,
}

/// An enveloped Signature of one variant, cut where something differs from vector to vector.
#[derive(Debug)]
pub(crate) struct SignatureTemplate {
    variant: Variant,
    /// The start tags of Signature and `SignedInfo`.
    start: String,
    /// The start tag of `SignedInfo` as it is signed: without the Signature around it, it declares the namespace itself.
    signed_start: String,
    before_uri: String,
    before_digest: String,
    behind_digest: String,
    before_value: String,
    /// Everything behind the value, to the end of Signature.
    pub(crate) behind_value: String,
}

impl SignatureTemplate {
    /// Variant A has its elements prefixed and its Reference to the ID; variant B neither, and one transform only.
    pub(crate) fn new(variant: Variant, methods: &Methods, certificates: &[Vec<u8>]) -> Self {
        let (p, declared) = match variant {
            Variant::A => ("ds:", "xmlns:ds"),
            Variant::B => ("", "xmlns"),
        };
        let algorithm =
            |name: &str, uri: &str| format!("<{p}{name} Algorithm=\"{uri}\"></{p}{name}>");
        let mut transforms = algorithm("Transform", ENVELOPED);
        if variant == Variant::A {
            transforms += &algorithm("Transform", C14N_EXCLUSIVE);
        }
        let written = |octets| {
            [
                format!("<{p}X509Certificate>"),
                STANDARD.encode(octets),
                format!("</{p}X509Certificate>"),
            ]
        };
        let chain: String = certificates.iter().flat_map(written).collect();
        let canonicalization = algorithm("CanonicalizationMethod", C14N_EXCLUSIVE);
        let signature = algorithm("SignatureMethod", &methods.signature);
        let digest = algorithm("DigestMethod", &methods.digest);
        Self {
            variant,
            start: format!("<{p}Signature {declared}=\"{DS}\"><{p}SignedInfo>"),
            signed_start: format!("<{p}SignedInfo {declared}=\"{DS}\">"),
            before_uri: format!("{canonicalization}{signature}<{p}Reference URI=\""),
            before_digest: format!(
                "\"><{p}Transforms>{transforms}</{p}Transforms>{digest}<{p}DigestValue>"
            ),
            behind_digest: format!("</{p}DigestValue></{p}Reference></{p}SignedInfo>"),
            before_value: format!("<{p}SignatureValue>"),
            behind_value: format!(
                "</{p}SignatureValue><{p}KeyInfo><{p}X509Data>{chain}</{p}X509Data></{p}KeyInfo></{p}Signature>"
            ),
        }
    }

    pub(crate) const fn variant(&self) -> Variant {
        self.variant
    }

    /// The canonical `SignedInfo` over the assertion with this ID, as a document of its own.
    pub(crate) fn signed_info(&self, id: &str, digest: &[u8]) -> Vec<u8> {
        let mut octets = Vec::with_capacity(1024);
        let mut raw = |markup: &str| octets.extend_from_slice(markup.as_bytes());
        raw(&self.signed_start);
        raw(&self.before_uri);
        if self.variant == Variant::A {
            raw("#");
            raw(id);
        }
        raw(&self.before_digest);
        raw(&STANDARD.encode(digest));
        raw(&self.behind_digest);
        octets
    }

    /// The Signature up to its value.
    pub(crate) fn write_head(&self, signed_info: &[u8], octets: &mut Vec<u8>) {
        octets.extend_from_slice(self.start.as_bytes());
        let inside = signed_info.get(self.signed_start.len()..).unwrap_or_default();
        octets.extend_from_slice(inside);
        octets.extend_from_slice(self.before_value.as_bytes());
    }
}

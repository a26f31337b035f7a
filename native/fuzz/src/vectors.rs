//! Vectors signed by one key in software, in every shape that is verified; the seeds of `verify` are written from them.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, ParsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use xmldsig::{
    AssertionContent, Canonicalization, ExistingHeader, Hash, KeyRefused, Limits, Part,
    PreparedSignature, Profile, PublicKeyVerifier, Scheme, SecurityHeader, SignatureAlgorithm,
    SignatureMismatch, SignatureProfile, SignedAssertion, Variant, read, sha256,
};

/// The key signs nothing but seeds, so it is as public as they are: the number one, and P-256's generator.
const PRIVATE_KEY: [u8; 32] = {
    let mut number = [0; 32];
    number[31] = 1;
    number
};

/// The public key as DER SubjectPublicKeyInfo.
pub const SPKI: [u8; 91] = *b"\x30\x59\x30\x13\x06\x07\x2A\x86\x48\xCE\x3D\x02\x01\x06\x08\x2A\x86\x48\xCE\x3D\x03\x01\x07\x03\x42\x00\x04\
\x6B\x17\xD1\xF2\xE1\x2C\x42\x47\xF8\xBC\xE6\xE5\x63\xA4\x40\xF2\x77\x03\x7D\x81\x2D\xEB\x33\xA0\xF4\xA1\x39\x45\xD8\x98\xC2\x96\
\x4F\xE3\x42\xE2\xFE\x1A\x7F\x9B\x8E\xE7\xEB\x4A\x7C\x0F\x9E\x16\x2B\xCE\x33\x57\x6B\x31\x5E\xCE\xCB\xB6\x40\x68\x37\xBF\x51\xF5";

const ECDSA: &str = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256";
const DIGEST: &str = "http://www.w3.org/2001/04/xmlenc#sha256";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
/// Where a certificate stands; trust is fixed here, so that any octets will do.
const CERTIFICATE: &[u8] = b"certificate";

/// The public key as the core asks for it.
#[derive(Debug)]
pub struct Key(ParsedPublicKey);

impl PublicKeyVerifier for Key {
    fn from_spki(
        spki: &[u8],
        algorithm: SignatureAlgorithm,
        _: Profile,
    ) -> Result<Self, KeyRefused> {
        if (algorithm.scheme, algorithm.hash) != (Scheme::Ecdsa, Hash::Sha256) {
            return Err(KeyRefused::NotAllowed);
        }
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, spki)
            .map(Self)
            .map_err(|_| KeyRefused::Unreadable)
    }

    fn verify(&self, digest: &[u8], signature: &[u8]) -> Result<(), SignatureMismatch> {
        let mismatch = SignatureMismatch::new();
        let digest = Digest::import_less_safe(digest, &SHA256).map_err(|_| mismatch)?;
        self.0.verify_digest_sig(&digest, signature).map_err(|_| mismatch)
    }
}

/// An ECDSA signature over the SHA-256 of octets.
pub(crate) fn sign(octets: &[u8]) -> Vec<u8> {
    static PAIR: LazyLock<EcdsaKeyPair> = LazyLock::new(|| {
        let (algorithm, public_key) = (&ECDSA_P256_SHA256_FIXED_SIGNING, &SPKI[26..]);
        EcdsaKeyPair::from_private_key_and_public_key(algorithm, &PRIVATE_KEY, public_key)
            .expect("the key is one of P-256")
    });
    PAIR.sign(&SystemRandom::new(), octets).expect("signing needs nothing").as_ref().to_vec()
}

/// How the key signs vectors and messages.
pub(crate) fn profile() -> Arc<SignatureProfile<Key>> {
    static PROFILE: LazyLock<Arc<SignatureProfile<Key>>> = LazyLock::new(|| {
        let certificates = [CERTIFICATE.to_vec()];
        let profile = SignatureProfile::new(ECDSA, DIGEST, &SPKI, &certificates, Variant::A);
        Arc::new(profile.expect("the profile is one to sign with"))
    });
    Arc::clone(&PROFILE)
}

/// Issue one vector as the appliance does.
#[must_use]
pub fn issue(content: &AssertionContent) -> SignedAssertion {
    let prepared = PreparedSignature::new(content, profile());
    let signature = sign(prepared.signed_info());
    prepared.splice(&signature).expect("the key's own signature verifies")
}

/// The known vectors by name.
#[must_use]
pub fn known() -> Vec<(&'static str, Vec<u8>)> {
    let issued = issue(&content()).octets().to_vec();
    let soap = |namespace: &str| {
        let mut message = format!(
            "<?xml version='1.0'?>\n<s:Envelope xmlns:s='{namespace}' xmlns:a='urn:a'>\n<s:Header>\
             <w:Security xmlns:w='http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd'>"
        )
        .into_bytes();
        message.extend_from_slice(&issued);
        message.extend_from_slice(
            b"</w:Security></s:Header><s:Body a:i=''><a:b/></s:Body></s:Envelope>",
        );
        message
    };
    vec![
        ("soap11", soap("http://schemas.xmlsoap.org/soap/envelope/")),
        ("soap12", soap("http://www.w3.org/2003/05/soap-envelope")),
        ("by_id", issued),
        ("whole", ByHand::WHOLE.write()),
        ("prefix_list", ByHand::PREFIX_LIST.write()),
    ]
}

/// Signed messages by name.
#[must_use]
pub fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let empty = "<s:Envelope xmlns:s='http://schemas.xmlsoap.org/soap/envelope/' xmlns:x='urn:x'>\n<s:Body><a t='x:q'/></s:Body></s:Envelope>";
    let bare =
        "<Envelope xmlns='http://www.w3.org/2003/05/soap-envelope'><Header/><Body/></Envelope>";
    let kept = "<s:Envelope xmlns:s='http://www.w3.org/2003/05/soap-envelope' \
        xmlns:w='http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd'><s:Header><w:Security>\
        <w:UsernameToken/></w:Security></s:Header><s:Body><!-- --></s:Body></s:Envelope>";
    let all = [Part::Timestamp, Part::Body, Part::Assertion];
    vec![
        ("all_parts", secure(empty, &all)),
        ("body", secure(bare, &[Part::Body])),
        ("kept_header", secure(kept, &[Part::Body, Part::Assertion])),
    ]
}

fn secure(message: &str, signed: &[Part]) -> Vec<u8> {
    let vector = issue(&content());
    let header = SecurityHeader::new(&vector).with_existing(ExistingHeader::Keep);
    let header = header.with_timestamp("2026-03-01T12:00:00Z", "2026-03-01T12:05:00Z");
    let header = header.expect("instants are text");
    let prepared = header.prepare(message.as_bytes(), signed, profile(), &Limits::default());
    let prepared = prepared.expect("the message takes a header");
    let signature = sign(prepared.signed_info());
    prepared.splice(&signature).expect("the key's own signature verifies").octets().to_vec()
}

/// What the known vectors state.
pub(crate) fn content() -> AssertionContent {
    AssertionContent {
        id: "i".into(),
        issue_instant: "2026-03-01T12:00:00Z".into(),
        issuer: "urn:o".into(),
        name_id: "agent & <co>".into(),
        name_id_format: "urn:f".into(),
        recipient: "urn:r".into(),
        audience: "http://a/".into(),
        not_before: "2026-03-01T11:59:50Z".into(),
        not_on_or_after: "2026-03-01T13:00:00Z".into(),
        authn_instant: "2026-03-01T12:00:00Z".into(),
        authn_context: "urn:l".into(),
        pagms: vec!["P1".into(), "P2".into()],
        attributes: vec![("x".into(), vec!["y\r\n".into()])],
        ..AssertionContent::default()
    }
}

/// A vector as others write it: not canonical, with the other shapes of Reference and transforms.
struct ByHand {
    /// URI of the Reference.
    reference: &'static str,
    /// URI of what canonicalizes SignedInfo.
    method: &'static str,
    /// What stands inside CanonicalizationMethod and the second Transform; None: there is no second Transform.
    prefix_list: Option<&'static str>,
}

impl ByHand {
    /// Variant B of the whole document, everything by Canonical XML 1.0.
    const WHOLE: Self = Self { reference: "", method: xmldsig::C14N_10, prefix_list: None };
    /// Variant A, exclusive with a PrefixList.
    const PREFIX_LIST: Self =
        Self { reference: "#i", method: xmldsig::C14N_EXCLUSIVE, prefix_list: Some("#default a") };

    fn write(&self) -> Vec<u8> {
        let method = Canonicalization::from_uri(self.method).expect("a known method");
        let method =
            method.with_inclusive_prefixes(self.prefix_list.unwrap_or_default().split(' '));
        let digest = sha256(&canonical(&assertion(""), &method, None));
        let unsigned = assertion(&self.signature(&digest, b""));
        let signature = sign(&canonical(&unsigned, &method, Some("s")));
        assertion(&self.signature(&digest, &signature)).into_bytes()
    }

    fn signature(&self, digest: &[u8], signature: &[u8]) -> String {
        let (digest, signature) = (STANDARD.encode(digest), STANDARD.encode(signature));
        let (certificate, method, reference) =
            (STANDARD.encode(CERTIFICATE), self.method, self.reference);
        let list = self.prefix_list.map(|list| {
            format!(
                "<e:InclusiveNamespaces xmlns:e='{}' PrefixList='{list}'/>",
                xmldsig::C14N_EXCLUSIVE
            )
        });
        let second =
            list.as_ref().map(|list| format!("<Transform Algorithm='{method}'>{list}</Transform>"));
        let (list, second) = (list.unwrap_or_default(), second.unwrap_or_default());
        format!(
            "<Signature xmlns='http://www.w3.org/2000/09/xmldsig#'>
             <SignedInfo Id='s'><CanonicalizationMethod Algorithm='{method}'>{list}</CanonicalizationMethod>
             <SignatureMethod Algorithm='{ECDSA}'/><Reference URI='{reference}'>
             <Transforms><Transform Algorithm='{ENVELOPED}'/>{second}</Transforms>
             <DigestMethod Algorithm='{DIGEST}'/><DigestValue>{digest}</DigestValue></Reference></SignedInfo>
             <SignatureValue>{signature}</SignatureValue><KeyInfo><X509Data><X509Certificate>{certificate}
             </X509Certificate></X509Data></KeyInfo></Signature>"
        )
    }
}

/// An assertion with everything that canonicalization changes.
fn assertion(signature: &str) -> String {
    format!(
        "<Assertion xmlns='urn:oasis:names:tc:SAML:2.0:assertion' xmlns:b='urn:b' xmlns:a='urn:a'
          Version = '2.0' ID='i' IssueInstant='2026-03-01T12:00:00Z' ><Issuer a:x='&#10;'>ur<!-- -->n:o&#13;</Issuer>{signature}
         <Subject><NameID><![CDATA[a<b]]></NameID></Subject><?p q?><b:c xmlns='' xml:lang='fr'/></Assertion\n>"
    )
}

fn canonical(text: &str, method: &Canonicalization, id: Option<&str>) -> Vec<u8> {
    let document = read(text.as_bytes(), &Limits::default()).expect("a known vector is a document");
    document.canonicalize(method, id).expect("a known vector has a canonical form")
}

//! Does one thing to a document again and again, for a profiler to count what it costs: `cost STAGE TIMES FILE`.
//!
//! | stage | does |
//! | --- | --- |
//! | `read` | octets → document |
//! | `canonicalize` | and the exclusive canonical form of it |
//! | `digest` | octets → SHA-256 of the exclusive canonical form, which is not kept |
//! | `verify` | all that is done to a received vector, but for the public-key operation |
//! | `issue` | writes, prepares and splices a vector, likewise; FILE is not looked at |
//! | `insert` | puts a vector into the SOAP message of FILE |
//! | `secure` | and signs Body, Timestamp and vector, likewise |

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;

use xmldsig::{
    AssertionContent, Canonicalization, Hash, KeyRefused, Limits, Method, Part, Policy,
    PreparedSignature, Profile, PublicKeyVerifier, SecurityHeader, SignatureAlgorithm,
    SignatureMismatch, SignatureProfile, SignedAssertion, Variant, locate, read,
};

const RSA: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
const SHA256: &str = "http://www.w3.org/2001/04/xmlenc#sha256";

/// In place of a public key: what it would cost is left out.
struct NoKey;

impl PublicKeyVerifier for NoKey {
    fn from_spki(_: &[u8], _: SignatureAlgorithm, _: Profile) -> Result<Self, KeyRefused> {
        Ok(Self)
    }

    fn verify(&self, _: &[u8], _: &[u8]) -> Result<(), SignatureMismatch> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [stage, times, file] = arguments.as_slice() else {
        return Err("cost STAGE TIMES FILE".into());
    };
    let octets = std::fs::read(file)?;
    let profile = Arc::new(SignatureProfile::new(RSA, SHA256, &[], &[vec![0; 900]], Variant::A)?);
    let vector = issue(&profile)?;
    for _ in 0..times.parse::<usize>()? {
        let octets = black_box(octets.as_slice());
        match stage.as_str() {
            "read" => drop(black_box(read(octets, &Limits::default())?)),
            "canonicalize" => drop(black_box(canonicalize(octets)?)),
            "digest" => {
                black_box(form().digest(Hash::Sha256, octets, &Limits::default())?);
            }
            "verify" => verify(octets)?,
            "issue" => {
                black_box(issue(&profile)?.sha256());
            }
            "insert" => {
                black_box(SecurityHeader::new(&vector).insert(octets, &Limits::default())?);
            }
            "secure" => secure(octets, &vector, &profile)?,
            _ => return Err("no such stage".into()),
        }
    }
    Ok(())
}

fn canonicalize(octets: &[u8]) -> Result<Vec<u8>, xmldsig::Error> {
    read(octets, &Limits::default())?.canonicalize(&form(), None)
}

fn form() -> Canonicalization {
    Canonicalization::new(Method::Exclusive, false)
}

fn verify(octets: &[u8]) -> Result<(), Box<dyn Error>> {
    let message = locate(octets, &Limits::default())?;
    let assertion = message.assertion().ok_or("no assertion")?;
    assertion.check_structure()?;
    let claim = assertion.signature_claim()?;
    let verified = claim.admit(Policy::assertion(false))?.verify::<NoKey>(&[])?;
    black_box(verified.read()?);
    Ok(())
}

fn issue(profile: &Arc<SignatureProfile<NoKey>>) -> Result<SignedAssertion, Box<dyn Error>> {
    let content = content();
    content.check()?;
    let prepared = PreparedSignature::new(&content, Arc::clone(profile));
    Ok(prepared.splice(&[0; 256])?)
}

fn secure(
    octets: &[u8],
    vector: &SignedAssertion,
    profile: &Arc<SignatureProfile<NoKey>>,
) -> Result<(), Box<dyn Error>> {
    let header = SecurityHeader::new(vector)
        .with_timestamp("2026-03-01T12:00:00.000Z", "2026-03-01T12:05:00.000Z")?;
    let signed = [Part::Timestamp, Part::Body, Part::Assertion];
    let prepared = header.prepare(octets, &signed, Arc::clone(profile), &Limits::default())?;
    black_box(prepared.splice(&[0; 256])?);
    Ok(())
}

/// What a usual vector states.
fn content() -> AssertionContent {
    AssertionContent {
        id: "_6f9619ff-8b86-d011-b42d-00cf4fc964ff".into(),
        issue_instant: "2026-03-01T12:00:00.000Z".into(),
        issuer: "urn:interops:73282932000074:idp:demo:1".into(),
        name_id: "agent-0042".into(),
        name_id_format: "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified".into(),
        recipient: "urn:interops:sp:73282932000074:demo".into(),
        audience: "http://service.demo.example/droits".into(),
        not_before: "2026-03-01T11:59:50.000Z".into(),
        not_on_or_after: "2026-03-01T13:00:00.000Z".into(),
        authn_instant: "2026-03-01T12:00:00.000Z".into(),
        authn_context: "urn:oasis:names:tc:SAML:2.0:ac:classes:Password".into(),
        pagms: vec!["PAGM_CONSULTATION".into(), "PAGM_GESTION".into()],
        attributes: Vec::new(),
        ..AssertionContent::default()
    }
}

//! Locating, verifying and reading received vectors.

use std::collections::BTreeMap;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use xmldsig::{EnvelopeFault, MessageKind, Policy, Variant};

use crate::error::Failure;
use crate::keys::PublicKey;
use crate::xml::Limits;

/// What was found at the top of received octets; nothing in it is verified.
#[pyclass(frozen, module = "appliance.native._native")]
#[derive(Debug)]
pub(crate) struct ReceivedMessage(xmldsig::ReceivedMessage);

/// The isolated, unverified copy.
#[pyclass(frozen, module = "appliance.native._native")]
#[derive(Debug)]
pub(crate) struct ReceivedAssertion(xmldsig::ReceivedAssertion);

/// A signature of legal shape, not yet verified.
#[pyclass(frozen, module = "appliance.native._native")]
#[derive(Debug)]
pub(crate) struct SignatureClaim(xmldsig::SignatureClaim);

/// The octets the signature covers, and the only source an accepted vector is read from.
#[pyclass(frozen, module = "appliance.native._native")]
#[derive(Debug)]
pub(crate) struct VerifiedOctets(xmldsig::VerifiedOctets);

/// What a verified assertion states.
#[pyclass(frozen, module = "appliance.native._native")]
#[derive(Debug)]
pub(crate) struct AssertionFields(xmldsig::AssertionFields);

/// Read octets and isolate the assertion.
#[pyfunction]
#[pyo3(signature = (octets, limits = None))]
pub(crate) fn locate(
    py: Python<'_>,
    octets: &[u8],
    limits: Option<Limits>,
) -> PyResult<ReceivedMessage> {
    let limits = limits.unwrap_or_default().0;
    let located = py.detach(|| xmldsig::locate(octets, &limits));
    Ok(ReceivedMessage(located.map_err(Failure::from)?))
}

impl From<xmldsig::ReceivedMessage> for ReceivedMessage {
    fn from(message: xmldsig::ReceivedMessage) -> Self {
        Self(message)
    }
}

#[pymethods]
impl ReceivedMessage {
    /// `assertion`, `soap11`, `soap12` or `other`.
    #[getter]
    fn kind(&self) -> &'static str {
        match self.0.kind() {
            MessageKind::Assertion => "assertion",
            MessageKind::Soap11 => "soap11",
            MessageKind::Soap12 => "soap12",
            _ => "other",
        }
    }

    /// Why a SOAP message yields no single assertion; None otherwise.
    #[getter]
    fn fault(&self) -> Option<&'static str> {
        self.0.fault().map(|fault| match fault {
            EnvelopeFault::SecurityHeaderMissing => "security-header-missing",
            EnvelopeFault::SeveralAssertions => "several-assertions",
            EnvelopeFault::SeveralSecurityHeaders => "several-security-headers",
            EnvelopeFault::SoapHeaderMissing => "soap-header-missing",
            _ => "assertion-missing",
        })
    }

    /// The isolated assertion, as a document of its own.
    #[getter]
    fn assertion(&self) -> Option<ReceivedAssertion> {
        self.0.assertion().cloned().map(ReceivedAssertion)
    }
}

#[pymethods]
impl ReceivedAssertion {
    /// Text of Issuer, trimmed; selects candidate conventions, proves nothing.
    #[getter]
    fn claimed_issuer(&self) -> Option<String> {
        self.0.claimed_issuer()
    }

    /// SHA-256 of the assertion's octets as received (of UTF-16, as UTF-8), for the trace.
    #[getter]
    fn sha256<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.sha256())
    }

    /// Check Version, ID, IssueInstant, Issuer and that some content is there.
    fn check_structure(&self, py: Python<'_>) -> PyResult<()> {
        Ok(py.detach(|| self.0.check_structure()).map_err(Failure::from)?)
    }

    /// Find exactly one signature over this assertion, of an allowed shape.
    fn signature_claim(&self, py: Python<'_>) -> PyResult<SignatureClaim> {
        let claim = py.detach(|| self.0.signature_claim());
        Ok(SignatureClaim(claim.map_err(Failure::from)?))
    }
}

#[pymethods]
impl SignatureClaim {
    /// DER certificates of KeyInfo in document order; the first is the signer's.
    #[getter]
    fn certificates<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        self.0.certificates().iter().map(|octets| PyBytes::new(py, octets)).collect()
    }

    /// SignatureMethod URI.
    #[getter]
    fn signature_algorithm(&self) -> &str {
        self.0.signature_algorithm()
    }

    /// DigestMethod URI.
    #[getter]
    fn digest_algorithm(&self) -> &str {
        self.0.digest_algorithm()
    }

    /// `A` (URI is `#ID`) or `B` (URI is empty) of DOMAIN 2.4.
    #[getter]
    fn variant(&self) -> &'static str {
        if self.0.variant() == Variant::A { "A" } else { "B" }
    }

    /// Check algorithms, ask `trust` for the signer's key, check the signature, then the digest.
    #[pyo3(signature = (trust, *, allow_sha1 = false, allow_variant_b = false))]
    fn verify(
        &self,
        py: Python<'_>,
        trust: &Bound<'_, PyAny>,
        allow_sha1: bool,
        allow_variant_b: bool,
    ) -> PyResult<VerifiedOctets> {
        let policy = Policy::assertion(allow_sha1);
        let policy = if allow_variant_b { policy.with_variant_b() } else { policy };
        let admitted = self.0.admit(policy).map_err(Failure::from)?;
        let spki: Vec<u8> = trust.call1((self.certificates(py),))?.extract()?;
        let verified = py.detach(|| admitted.verify::<PublicKey>(&spki));
        Ok(VerifiedOctets(verified.map_err(Failure::from)?))
    }
}

#[pymethods]
impl VerifiedOctets {
    /// Canonical octets, without the Signature.
    #[getter]
    fn octets<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.octets())
    }

    /// Read the assertion.
    fn read(&self, py: Python<'_>) -> PyResult<AssertionFields> {
        Ok(AssertionFields(py.detach(|| self.0.read()).map_err(Failure::from)?))
    }
}

/// One getter per field, of the type the stub states.
macro_rules! getters {
    ($($name:ident: $type:ty,)*) => {
        #[pymethods]
        impl AssertionFields {
            $(
                #[getter]
                fn $name(&self) -> $type {
                    self.0.$name.clone()
                }
            )*
        }
    };
}

getters! {
    version: &'static str,
    id: String,
    issue_instant: String,
    issuer: String,
    name_id: Option<String>,
    name_id_format: Option<String>,
    confirmation_methods: Vec<String>,
    confirmation_not_before: Option<String>,
    confirmation_not_on_or_after: Option<String>,
    recipient: Option<String>,
    not_before: Option<String>,
    not_on_or_after: Option<String>,
    audiences: Vec<String>,
    authn_instant: Option<String>,
    session_index: Option<String>,
    authn_context: Option<String>,
    pagm_attribute_count: usize,
    pagms: Vec<String>,
    attributes: BTreeMap<String, Vec<String>>,
}

//! Securing SOAP messages, and verifying message signatures.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use xmldsig::{ExistingHeader, Part, Policy, TokenReference};

use crate::error::{AlreadySpliced, Failure};
use crate::issue::{SignatureProfile, SignedAssertion};
use crate::keys::PublicKey;
use crate::receive::ReceivedMessage;
use crate::xml::Limits;

/// What a message gets: the vector, and what stands beside it.
#[pyclass(frozen, module = "appliance.native._native")]
#[derive(Debug)]
pub(crate) struct SecurityHeader {
    assertion: Py<SignedAssertion>,
    timestamp: Option<(String, String)>,
    token_reference: TokenReference,
    existing: ExistingHeader,
}

/// A message with its security header.
#[pyclass(frozen, module = "appliance.native._native")]
#[derive(Debug)]
pub(crate) struct SecuredMessage(xmldsig::SecuredMessage);

/// A message with its header, waiting for one signature over parts of it.
#[pyclass(frozen, module = "appliance.native._native")]
#[derive(Debug)]
pub(crate) struct PreparedMessage {
    digest: Py<PyBytes>,
    signed_info: Py<PyBytes>,
    /// None once it is spliced.
    prepared: Mutex<Option<xmldsig::PreparedMessage<PublicKey>>>,
}

/// A message signature of legal shape, not yet verified.
#[pyclass(frozen, module = "appliance.native._native")]
#[derive(Debug)]
pub(crate) struct MessageSignatureClaim(xmldsig::MessageSignatureClaim);

/// A SOAP message read once, for everything that is asked of it on its way through.
#[pyclass(frozen, module = "appliance.native._native")]
#[derive(Debug)]
pub(crate) struct SoapMessage(xmldsig::SoapMessage);

/// A message checked as it passes, in pieces of any size.
#[pyclass(frozen, module = "appliance.native._native")]
#[derive(Debug)]
pub(crate) struct PassingMessage(Mutex<xmldsig::PassingMessage>);

/// The parts of a message that a verified signature covers.
#[pyclass(frozen, module = "appliance.native._native")]
#[derive(Debug)]
pub(crate) struct VerifiedMessage(xmldsig::VerifiedMessage);

#[pymethods]
impl SecurityHeader {
    #[new]
    #[pyo3(signature = (assertion, *, timestamp = None, reference = "standard", existing = "refuse"))]
    fn new(
        assertion: Py<SignedAssertion>,
        timestamp: Option<(String, String)>,
        reference: &str,
        existing: &str,
    ) -> PyResult<Self> {
        let token_reference = match reference {
            "none" => TokenReference::None,
            "standard" => TokenReference::Standard,
            "historical" => TokenReference::Historical,
            _ => {
                return Err(PyValueError::new_err("reference is none, standard or historical"));
            }
        };
        let existing = match existing {
            "refuse" => ExistingHeader::Refuse,
            "keep" => ExistingHeader::Keep,
            "replace" => ExistingHeader::Replace,
            _ => return Err(PyValueError::new_err("existing is refuse, keep or replace")),
        };
        let header = Self { assertion, timestamp, token_reference, existing };
        header.core().map_err(Failure::from)?;
        Ok(header)
    }
}

impl SecurityHeader {
    fn core(&self) -> Result<xmldsig::SecurityHeader<'_>, xmldsig::Error> {
        let header = xmldsig::SecurityHeader::new(&self.assertion.get().signed)
            .with_token_reference(self.token_reference)
            .with_existing(self.existing);
        match &self.timestamp {
            Some((created, expires)) => header.with_timestamp(created, expires),
            None => Ok(header),
        }
    }
}

/// Insert the header; every other octet of the message stays as it came.
#[pyfunction]
#[pyo3(signature = (message, header, limits = None))]
pub(crate) fn insert_header(
    py: Python<'_>,
    message: &[u8],
    header: &SecurityHeader,
    limits: Option<Limits>,
) -> PyResult<SecuredMessage> {
    let limits = limits.unwrap_or_default().0;
    let secured = py.detach(|| header.core()?.insert(message, &limits));
    Ok(SecuredMessage(secured.map_err(Failure::from)?))
}

/// Insert the header and digest parts of the message for one signature.
#[pyfunction]
#[pyo3(signature = (message, header, profile, signed, limits = None))]
#[expect(clippy::needless_pass_by_value, reason = "the interpreter hands arguments over")]
pub(crate) fn prepare_message(
    py: Python<'_>,
    message: &[u8],
    header: &SecurityHeader,
    profile: &SignatureProfile,
    signed: Vec<String>,
    limits: Option<Limits>,
) -> PyResult<PreparedMessage> {
    let signed: Vec<Part> = signed.iter().map(|name| part(name)).collect::<PyResult<_>>()?;
    let (limits, profile) = (limits.unwrap_or_default().0, Arc::clone(&profile.0));
    let prepared = py.detach(|| header.core()?.prepare(message, &signed, profile, &limits));
    Ok(PreparedMessage::new(py, prepared.map_err(Failure::from)?))
}

impl PreparedMessage {
    fn new(py: Python<'_>, prepared: xmldsig::PreparedMessage<PublicKey>) -> Self {
        Self {
            digest: PyBytes::new(py, prepared.digest()).unbind(),
            signed_info: PyBytes::new(py, prepared.signed_info()).unbind(),
            prepared: Mutex::new(Some(prepared)),
        }
    }
}

/// Find exactly one Signature beside the vector of a message, of the allowed shape, and what it covers.
#[pyfunction]
#[pyo3(signature = (message, limits = None))]
pub(crate) fn message_signature(
    py: Python<'_>,
    message: &[u8],
    limits: Option<Limits>,
) -> PyResult<MessageSignatureClaim> {
    let limits = limits.unwrap_or_default().0;
    let claim = py.detach(|| xmldsig::MessageSignatureClaim::read(message, &limits));
    Ok(MessageSignatureClaim(claim.map_err(Failure::from)?))
}

#[pymethods]
impl SoapMessage {
    #[new]
    #[pyo3(signature = (octets, limits = None))]
    fn new(py: Python<'_>, octets: &[u8], limits: Option<Limits>) -> PyResult<Self> {
        let limits = limits.unwrap_or_default().0;
        let read = py.detach(|| xmldsig::SoapMessage::read(octets, &limits));
        Ok(Self(read.map_err(Failure::from)?))
    }

    /// `1.1` or `1.2`.
    #[getter]
    fn version(&self) -> &'static str {
        if self.0.is_soap12() { "1.2" } else { "1.1" }
    }

    /// Namespace and local name of the first element in the Body.
    #[getter]
    fn operation(&self) -> Option<(String, String)> {
        self.0.operation()
    }

    /// Whether there is a `wsse:Security`.
    #[getter]
    fn is_secured(&self) -> bool {
        self.0.is_secured()
    }

    /// Whether there is one element in the Body, and nothing behind that.
    #[getter]
    fn is_bare(&self) -> bool {
        self.0.is_bare()
    }

    /// WS-Addressing properties by local name; None where the Header holds more.
    #[getter]
    fn addressing(&self) -> Option<Vec<(String, String)>> {
        self.0.addressing()
    }

    /// The name in the `UsernameToken` for the final receiver.
    #[getter]
    fn username(&self) -> Option<String> {
        self.0.username()
    }

    /// Whether an `xop:Include` stands in the Body.
    #[getter]
    fn includes(&self) -> bool {
        self.0.includes()
    }

    /// What `locate` finds in it.
    fn received(&self, py: Python<'_>) -> PyResult<ReceivedMessage> {
        let received = py.detach(|| self.0.received());
        Ok(ReceivedMessage::from(received.map_err(Failure::from)?))
    }

    /// The message without the security header that holds the vector.
    fn without_vector(&self, py: Python<'_>) -> SecuredMessage {
        SecuredMessage(py.detach(|| self.0.without_vector()))
    }

    /// As `insert_header`.
    fn insert(&self, py: Python<'_>, header: &SecurityHeader) -> PyResult<SecuredMessage> {
        let secured = py.detach(|| self.0.insert(&header.core()?));
        Ok(SecuredMessage(secured.map_err(Failure::from)?))
    }

    /// As `prepare_message`.
    #[expect(clippy::needless_pass_by_value, reason = "the interpreter hands arguments over")]
    fn prepare(
        &self,
        py: Python<'_>,
        header: &SecurityHeader,
        profile: &SignatureProfile,
        signed: Vec<String>,
    ) -> PyResult<PreparedMessage> {
        let signed: Vec<Part> = signed.iter().map(|name| part(name)).collect::<PyResult<_>>()?;
        let profile = Arc::clone(&profile.0);
        let prepared = py.detach(|| self.0.prepare(&header.core()?, &signed, profile));
        Ok(PreparedMessage::new(py, prepared.map_err(Failure::from)?))
    }
}

#[pymethods]
impl PassingMessage {
    #[new]
    #[pyo3(signature = (limits = None))]
    fn new(limits: Option<Limits>) -> Self {
        Self(Mutex::new(xmldsig::PassingMessage::new(&limits.unwrap_or_default().0)))
    }

    /// Check the next octets.
    fn feed(&self, py: Python<'_>, octets: &[u8]) -> PyResult<()> {
        py.detach(|| self.lock().feed(octets)).map_err(|error| Failure::from(error).into())
    }

    /// Check that nothing is missing.
    fn finish(&self) -> PyResult<()> {
        self.lock().finish().map_err(|error| Failure::from(error).into())
    }

    /// `1.1` or `1.2`.
    #[getter]
    fn version(&self) -> &'static str {
        if self.lock().is_soap12() { "1.2" } else { "1.1" }
    }

    /// Namespace and local name of the first element in the Body, once it has come.
    #[getter]
    fn operation(&self) -> Option<(String, String)> {
        self.lock().operation().cloned()
    }

    /// Offset behind the start tag of the Body.
    #[getter]
    fn body_start(&self) -> Option<usize> {
        self.lock().body_start()
    }

    /// What makes a message of the octets up to `body_start`.
    #[getter]
    fn closing<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.lock().closing())
    }
}

impl PassingMessage {
    fn lock(&self) -> MutexGuard<'_, xmldsig::PassingMessage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl SecuredMessage {
    /// The whole message.
    #[getter]
    fn octets<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.octets())
    }

    /// What was done to the message as it came: (start, end, octets in place of what stood there).
    #[getter]
    fn edits<'py>(&self, py: Python<'py>) -> Vec<(usize, usize, Bound<'py, PyBytes>)> {
        let edits = self.0.edits().iter();
        edits.map(|edit| (edit.start, edit.end, PyBytes::new(py, &edit.octets))).collect()
    }
}

#[pymethods]
impl PreparedMessage {
    /// The hash of the canonical SignedInfo: what the HSM signs.
    #[getter]
    fn digest(&self, py: Python<'_>) -> Py<PyBytes> {
        self.digest.clone_ref(py)
    }

    /// The canonical SignedInfo, for mechanisms that hash in the token.
    #[getter]
    fn signed_info(&self, py: Python<'_>) -> Py<PyBytes> {
        self.signed_info.clone_ref(py)
    }

    /// Check the signature with the profile's public key and put it in place.
    fn splice(&self, py: Python<'_>, signature: &[u8]) -> PyResult<SecuredMessage> {
        let prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(prepared) = prepared else {
            return Err(AlreadySpliced::new_err("this prepared message was spliced before"));
        };
        let secured = py.detach(|| prepared.splice(signature));
        Ok(SecuredMessage(secured.map_err(Failure::from)?))
    }
}

#[pymethods]
impl MessageSignatureClaim {
    /// The signer's certificate, DER; the chain is that of the vector.
    #[getter]
    fn certificates<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        self.0.certificates().iter().map(|octets| PyBytes::new(py, octets)).collect()
    }

    /// SignatureMethod URI.
    #[getter]
    fn signature_algorithm(&self) -> &str {
        self.0.signature_algorithm()
    }

    /// The parts it claims to cover, in the order of its References.
    #[getter]
    fn parts(&self) -> Vec<&'static str> {
        self.0.parts().map(name).collect()
    }

    /// Check algorithms, ask `trust` for the signer's key, check the signature, then the digests.
    #[pyo3(signature = (trust, *, allow_sha1 = false))]
    fn verify(
        &self,
        py: Python<'_>,
        trust: &Bound<'_, PyAny>,
        allow_sha1: bool,
    ) -> PyResult<VerifiedMessage> {
        let admitted = self.0.admit(Policy::assertion(allow_sha1)).map_err(Failure::from)?;
        let spki: Vec<u8> = trust.call1((self.certificates(py),))?.extract()?;
        let verified = py.detach(|| admitted.verify::<PublicKey>(&spki));
        Ok(VerifiedMessage(verified.map_err(Failure::from)?))
    }
}

#[pymethods]
impl VerifiedMessage {
    /// The canonical octets of each part that was digested.
    #[getter]
    fn parts<'py>(&self, py: Python<'py>) -> BTreeMap<&'static str, Bound<'py, PyBytes>> {
        self.0.parts().map(|(part, octets)| (name(part), PyBytes::new(py, octets))).collect()
    }

    /// Created and Expires of the Timestamp, read from its verified octets; None where it is not covered.
    fn timestamp(&self, py: Python<'_>) -> PyResult<Option<(String, Option<String>)>> {
        let timestamp = py.detach(|| self.0.timestamp()).map_err(Failure::from)?;
        Ok(timestamp.map(|timestamp| (timestamp.created, timestamp.expires)))
    }
}

const PARTS: [(&str, Part); 3] =
    [("assertion", Part::Assertion), ("body", Part::Body), ("timestamp", Part::Timestamp)];

fn part(name: &str) -> PyResult<Part> {
    let known = PARTS.iter().find(|(known, _)| *known == name).map(|&(_, part)| part);
    known.ok_or_else(|| PyValueError::new_err("a part is assertion, body or timestamp"))
}

fn name(part: Part) -> &'static str {
    PARTS.iter().find(|(_, known)| *known == part).map_or("", |(name, _)| name)
}

//! Preparing and splicing vectors.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMapping};
use xmldsig::Variant;

use crate::error::{AlreadySpliced, Failure};
use crate::keys::PublicKey;

/// Everything a vector states.
#[pyclass(frozen, module = "appliance.native._native")]
#[derive(Debug)]
pub(crate) struct AssertionContent(Arc<xmldsig::AssertionContent>);

/// How one key signs: made once per key, shared by all its vectors.
#[pyclass(frozen, module = "appliance.native._native")]
#[derive(Debug)]
pub(crate) struct SignatureProfile(
    pub(crate) Arc<xmldsig::SignatureProfile<PublicKey>>,
    /// The signer's own key, DER SubjectPublicKeyInfo.
    Vec<u8>,
);

/// An assertion written, digested, and waiting for one signature.
#[pyclass(frozen, module = "appliance.native._native")]
#[derive(Debug)]
pub(crate) struct PreparedSignature {
    digest: Py<PyBytes>,
    signed_info: Py<PyBytes>,
    /// None once it is spliced.
    prepared: Mutex<Option<xmldsig::PreparedSignature<PublicKey>>>,
}

/// A complete vector. Only `PreparedSignature.splice` makes one.
#[pyclass(frozen, module = "appliance.native._native")]
#[derive(Debug)]
pub(crate) struct SignedAssertion {
    pub(crate) signed: xmldsig::SignedAssertion,
    sha256: [u8; 32],
}

/// The attributes besides PAGM: a mapping of names to lists of values, its order kept.
#[derive(Debug, Default)]
struct OtherAttributes(Vec<(String, Vec<String>)>);

impl<'py> FromPyObject<'_, 'py> for OtherAttributes {
    type Error = PyErr;

    fn extract(attributes: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let items = attributes.cast::<PyMapping>()?.items()?;
        Ok(Self(items.iter().map(|item| item.extract()).collect::<PyResult<_>>()?))
    }
}

#[pymethods]
impl AssertionContent {
    #[new]
    #[pyo3(signature = (
        *, id, issue_instant, issuer, name_id, name_id_format, recipient, audience, not_before, not_on_or_after,
        authn_instant, authn_context, pagms, attributes = OtherAttributes::default(), saml_version = "2.0",
        confirmation = "bearer",
    ))]
    #[expect(
        clippy::too_many_arguments,
        reason = "keyword arguments: each is a part of the vector"
    )]
    fn new(
        id: String,
        issue_instant: String,
        issuer: String,
        name_id: String,
        name_id_format: String,
        recipient: String,
        audience: String,
        not_before: String,
        not_on_or_after: String,
        authn_instant: String,
        authn_context: String,
        pagms: Vec<String>,
        attributes: OtherAttributes,
        saml_version: &str,
        confirmation: &str,
    ) -> PyResult<Self> {
        let unknown = || PyValueError::new_err("unknown SAML version or confirmation method");
        let content = xmldsig::AssertionContent {
            id,
            issue_instant,
            issuer,
            name_id,
            name_id_format,
            recipient,
            audience,
            not_before,
            not_on_or_after,
            authn_instant,
            authn_context,
            pagms,
            attributes: attributes.0,
            saml: xmldsig::SamlVersion::from_name(saml_version).ok_or_else(unknown)?,
            confirmation: xmldsig::Confirmation::from_name(confirmation).ok_or_else(unknown)?,
        };
        content.check().map_err(Failure::from)?;
        Ok(Self(Arc::new(content)))
    }
}

#[pymethods]
impl SignatureProfile {
    #[new]
    #[pyo3(signature = (*, signature_algorithm, digest_algorithm, public_key, certificates, variant = "A"))]
    #[expect(clippy::needless_pass_by_value, reason = "the interpreter hands arguments over")]
    fn new(
        signature_algorithm: &str,
        digest_algorithm: &str,
        public_key: &[u8],
        certificates: Vec<Vec<u8>>,
        variant: &str,
    ) -> PyResult<Self> {
        let variant = match variant {
            "A" => Variant::A,
            "B" => Variant::B,
            _ => return Err(PyValueError::new_err("the variant is A or B")),
        };
        let profile = xmldsig::SignatureProfile::new(
            signature_algorithm,
            digest_algorithm,
            public_key,
            &certificates,
            variant,
        );
        let profile = Arc::new(profile.map_err(Failure::from)?);
        Ok(Self(profile, public_key.to_vec()))
    }

    /// `sha256`, `sha384` or `sha512`: what SignedInfo is hashed with.
    #[getter]
    fn hash_name(&self) -> &'static str {
        self.0.hash().name()
    }
}

#[pymethods]
impl PreparedSignature {
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
    #[pyo3(signature = (signature, *, on_trust = false))]
    fn splice(
        &self,
        py: Python<'_>,
        signature: &[u8],
        on_trust: bool,
    ) -> PyResult<SignedAssertion> {
        let prepared = self.prepared.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(prepared) = prepared else {
            return Err(AlreadySpliced::new_err("this prepared signature was spliced before"));
        };
        let on_trust = on_trust && prepared.may_trust(signature);
        let splice = || {
            let signed = if on_trust {
                prepared.splice_on_trust(signature)?
            } else {
                prepared.splice(signature)?
            };
            let sha256 = signed.sha256();
            Ok::<_, xmldsig::Error>((signed, sha256))
        };
        // Without a verification it takes less time than another thread would to give the interpreter back.
        let spliced = if on_trust { splice() } else { py.detach(splice) };
        let (signed, sha256) = spliced.map_err(Failure::from)?;
        Ok(SignedAssertion { signed, sha256 })
    }
}

#[pymethods]
impl SignedAssertion {
    /// The `saml2:Assertion` element, UTF-8, canonical.
    #[getter]
    fn octets<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.signed.octets())
    }

    /// SHA-256 of `octets`, for the trace.
    #[getter]
    fn sha256<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.sha256)
    }
}

/// Write the assertion in canonical form, digest it, write SignedInfo.
#[pyfunction]
pub(crate) fn prepare(
    py: Python<'_>,
    content: &AssertionContent,
    profile: &SignatureProfile,
) -> PreparedSignature {
    let (content, profile) = (&content.0, &profile.0);
    let prepared = py.detach(|| xmldsig::PreparedSignature::new(content, Arc::clone(profile)));
    into_python(py, prepared)
}

/// Do `prepare` for many in one crossing.
#[pyfunction]
#[expect(clippy::needless_pass_by_value, reason = "the interpreter hands arguments over")]
pub(crate) fn prepare_batch(
    py: Python<'_>,
    contents: Vec<PyRef<'_, AssertionContent>>,
    profile: &SignatureProfile,
) -> Vec<PreparedSignature> {
    let contents: Vec<_> = contents.iter().map(|content| Arc::clone(&content.0)).collect();
    let profile = &profile.0;
    let prepared: Vec<_> = py.detach(|| {
        let one = |content: &Arc<_>| xmldsig::PreparedSignature::new(content, Arc::clone(profile));
        contents.iter().map(one).collect()
    });
    prepared.into_iter().map(|one| into_python(py, one)).collect()
}

/// Take a vector back that was kept outside this process; its signature is verified anew.
#[pyfunction]
pub(crate) fn restore(
    py: Python<'_>,
    octets: &[u8],
    profile: &SignatureProfile,
) -> PyResult<SignedAssertion> {
    let restored = py.detach(|| {
        let signed = xmldsig::SignedAssertion::restore::<PublicKey>(octets, &profile.1)?;
        let sha256 = signed.sha256();
        Ok::<_, xmldsig::Error>((signed, sha256))
    });
    let (signed, sha256) = restored.map_err(Failure::from)?;
    Ok(SignedAssertion { signed, sha256 })
}

fn into_python(
    py: Python<'_>,
    prepared: xmldsig::PreparedSignature<PublicKey>,
) -> PreparedSignature {
    PreparedSignature {
        digest: PyBytes::new(py, prepared.digest()).unbind(),
        signed_info: PyBytes::new(py, prepared.signed_info()).unbind(),
        prepared: Mutex::new(Some(prepared)),
    }
}

//! Verifying any XML signature with a pinned key.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use xmldsig::Policy;

use crate::error::Failure;
use crate::keys::PublicKey;
use crate::xml::Limits;

/// Verify the one signature of a document; the octets it covers.
#[pyfunction]
#[pyo3(signature = (octets, public_key, *, allow_sha1 = false, limits = None))]
pub(crate) fn verify_signature<'py>(
    py: Python<'py>,
    octets: &[u8],
    public_key: &[u8],
    allow_sha1: bool,
    limits: Option<Limits>,
) -> PyResult<Bound<'py, PyBytes>> {
    let (policy, limits) = (Policy::generic(allow_sha1), limits.unwrap_or_default().0);
    let verified =
        py.detach(|| xmldsig::verify_signature::<PublicKey>(octets, public_key, policy, &limits));
    Ok(PyBytes::new(py, &verified.map_err(Failure::from)?))
}

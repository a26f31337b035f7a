//! Reader limits and canonicalization.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use xmldsig::{Canonicalization, Hash};

use crate::error::Failure;

/// Bounds of the XML reader.
#[pyclass(frozen, from_py_object, module = "appliance.native._native")]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits(pub(crate) xmldsig::Limits);

#[pymethods]
impl Limits {
    #[new]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments: each is a bound")]
    #[pyo3(signature = (
        *, octets = 10_485_760, depth = 100, attributes = 256, namespaces = 64, name = 4096, value = 1_048_576,
        references = 1_000_000, growth = 32,
    ))]
    fn new(
        octets: usize,
        depth: usize,
        attributes: usize,
        namespaces: usize,
        name: usize,
        value: usize,
        references: usize,
        growth: usize,
    ) -> Self {
        let mut limits = xmldsig::Limits::default();
        limits.octets = octets;
        limits.depth = depth;
        limits.attributes = attributes;
        limits.namespaces = namespaces;
        limits.name = name;
        limits.value = value;
        limits.references = references;
        limits.growth = growth;
        Self(limits)
    }
}

/// Canonicalize a document, or the one element whose ID is `id`.
#[pyfunction]
#[pyo3(
    signature = (
        octets, algorithm = xmldsig::C14N_EXCLUSIVE, *, inclusive_prefixes = Vec::new(), id = None, limits = None,
    ),
    text_signature = "(octets, algorithm=..., *, inclusive_prefixes=(), id=None, limits=None)"
)]
#[expect(clippy::needless_pass_by_value, reason = "the interpreter hands arguments over")]
pub(crate) fn c14n<'py>(
    py: Python<'py>,
    octets: &[u8],
    algorithm: &str,
    inclusive_prefixes: Vec<String>,
    id: Option<&str>,
    limits: Option<Limits>,
) -> PyResult<Bound<'py, PyBytes>> {
    let canonicalization = canonicalization(algorithm, &inclusive_prefixes)?;
    let limits = limits.unwrap_or_default().0;
    let canonical =
        py.detach(|| xmldsig::read(octets, &limits)?.canonicalize(&canonicalization, id));
    Ok(PyBytes::new(py, &canonical.map_err(Failure::from)?))
}

/// Hash the canonical form of a document, which is read and hashed in one go and never held.
#[pyfunction]
#[pyo3(
    signature = (
        octets, algorithm = xmldsig::C14N_EXCLUSIVE, *, digest_algorithm = xmldsig::SHA256,
        inclusive_prefixes = Vec::new(), limits = None,
    ),
    text_signature = "(octets, algorithm=..., *, digest_algorithm=..., inclusive_prefixes=(), limits=None)"
)]
#[expect(clippy::needless_pass_by_value, reason = "the interpreter hands arguments over")]
pub(crate) fn c14n_digest<'py>(
    py: Python<'py>,
    octets: &[u8],
    algorithm: &str,
    digest_algorithm: &str,
    inclusive_prefixes: Vec<String>,
    limits: Option<Limits>,
) -> PyResult<Bound<'py, PyBytes>> {
    let canonicalization = canonicalization(algorithm, &inclusive_prefixes)?;
    let Some(hash) = Hash::from_uri(digest_algorithm) else {
        return Err(PyValueError::new_err("unknown digest algorithm"));
    };
    let limits = limits.unwrap_or_default().0;
    let digest = py.detach(|| canonicalization.digest(hash, octets, &limits));
    Ok(PyBytes::new(py, &digest.map_err(Failure::from)?))
}

fn canonicalization(algorithm: &str, inclusive_prefixes: &[String]) -> PyResult<Canonicalization> {
    let Some(canonicalization) = Canonicalization::from_uri(algorithm) else {
        return Err(PyValueError::new_err("unknown canonicalization algorithm"));
    };
    let prefixes = inclusive_prefixes.iter().map(String::as_str);
    Ok(canonicalization.with_inclusive_prefixes(prefixes))
}

//! Merkle logs: growth, bundles, proofs.
#![expect(
    clippy::needless_pass_by_value,
    reason = "a sequence from Python is extracted into a value"
)]

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use tlog::{Hash, Resource, TileNodes};

use crate::error::Failure;

/// The right edge of a log of `size` entries.
#[pyclass(frozen, module = "appliance.native._native")]
#[derive(Debug)]
pub(crate) struct LogEdge(tlog::Edge);

#[pymethods]
impl LogEdge {
    #[new]
    fn new(size: u64, tiles: Vec<PyBackedBytes>, bundle: &[u8]) -> Result<Self, Failure> {
        let tiles = tiles.iter().map(|tile| &**tile).collect::<Vec<_>>();
        Ok(Self(tlog::Edge::restore(size, &tiles, bundle)?))
    }

    #[getter]
    fn size(&self) -> u64 {
        self.0.size()
    }

    #[getter]
    fn root<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.root())
    }

    fn grow(&self, py: Python<'_>, entries: Vec<PyBackedBytes>) -> Result<LogGrowth, Failure> {
        let entries = entries.iter().map(|entry| &**entry).collect::<Vec<_>>();
        Ok(LogGrowth(py.detach(|| self.0.grow(&entries))?))
    }
}

/// What a log becomes with some more entries.
#[pyclass(frozen, module = "appliance.native._native")]
#[derive(Debug)]
pub(crate) struct LogGrowth(tlog::Growth);

#[pymethods]
impl LogGrowth {
    fn grow(&self, py: Python<'_>, entries: Vec<PyBackedBytes>) -> Result<Self, Failure> {
        let entries = entries.iter().map(|entry| &**entry).collect::<Vec<_>>();
        Ok(Self(py.detach(|| self.0.grow(&entries))?))
    }

    #[getter]
    fn edge(&self) -> LogEdge {
        LogEdge(self.0.edge().clone())
    }

    #[getter]
    fn leaves<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.leaves().as_flattened())
    }

    #[getter]
    fn files<'py>(&self, py: Python<'py>) -> Vec<(String, Bound<'py, PyBytes>)> {
        let files = self.0.files().iter();
        files.map(|file| (file.resource.to_string(), PyBytes::new(py, &file.octets))).collect()
    }

    fn prove_from<'py>(
        &self,
        py: Python<'py>,
        first: u64,
    ) -> Result<Vec<Bound<'py, PyBytes>>, Failure> {
        let second = self.0.edge().size();
        Ok(listed(py, &py.detach(|| tlog::consistency_proof(first, second, &mut &self.0))?))
    }
}

/// Cut a bundle into its entries, and hash each.
#[pyfunction]
pub(crate) fn read_bundle<'py>(
    py: Python<'py>,
    octets: &[u8],
) -> Result<(Vec<Bound<'py, PyBytes>>, Bound<'py, PyBytes>), Failure> {
    let (entries, leaves) = py.detach(|| -> Result<_, tlog::Error> {
        let entries = tlog::read_bundle(octets)?;
        let leaves = entries.iter().map(|entry| tlog::leaf_hash(entry)).collect::<Vec<_>>();
        Ok((entries, leaves))
    })?;
    let entries = entries.iter().map(|entry| PyBytes::new(py, entry)).collect();
    Ok((entries, PyBytes::new(py, leaves.as_flattened())))
}

/// Cut a bundle into its entries, and return nothing but the hash of each.
#[pyfunction]
pub(crate) fn bundle_leaves(
    py: Python<'_>,
    octets: PyBackedBytes,
) -> Result<Bound<'_, PyBytes>, Failure> {
    let leaves = py.detach(|| -> Result<_, tlog::Error> {
        Ok(tlog::read_bundle(&octets)?.into_iter().map(tlog::leaf_hash).collect::<Vec<_>>())
    })?;
    Ok(PyBytes::new(py, leaves.as_flattened()))
}

/// The Merkle tree hash over hashes that stand one behind the other.
#[pyfunction]
pub(crate) fn merkle_root<'py>(py: Python<'py>, hashes: &[u8]) -> Bound<'py, PyBytes> {
    let hashes = hashes.chunks_exact(32).flat_map(Hash::try_from).collect::<Vec<_>>();
    PyBytes::new(py, &py.detach(|| tlog::merkle_root(&hashes)))
}

/// The path of a hash tile in a log of `size` entries.
#[pyfunction]
pub(crate) fn tile_path(level: u32, index: u64, size: u64) -> Result<String, Failure> {
    Ok(Resource::tile(level, index, size)?.to_string())
}

/// The path of an entry bundle in a log of `size` entries.
#[pyfunction]
pub(crate) fn bundle_path(index: u64, size: u64) -> Result<String, Failure> {
    Ok(Resource::bundle(index, size)?.to_string())
}

/// The root of the tree of `size` entries, from tiles.
#[pyfunction]
pub(crate) fn tree_root<'py>(
    py: Python<'py>,
    size: u64,
    fetch: &Bound<'_, PyAny>,
) -> Result<Bound<'py, PyBytes>, Failure> {
    Ok(PyBytes::new(py, &tlog::tree_root(size, &mut nodes(size, fetch))?))
}

/// Prove that the entry at `index` is in the tree of `size` entries, from tiles.
#[pyfunction]
pub(crate) fn prove_inclusion<'py>(
    py: Python<'py>,
    index: u64,
    size: u64,
    fetch: &Bound<'_, PyAny>,
) -> Result<Vec<Bound<'py, PyBytes>>, Failure> {
    Ok(listed(py, &tlog::inclusion_proof(index, size, &mut nodes(size, fetch))?))
}

/// Prove that the tree of `first` entries is the beginning of the tree of `second`, from tiles.
#[pyfunction]
pub(crate) fn prove_consistency<'py>(
    py: Python<'py>,
    first: u64,
    second: u64,
    fetch: &Bound<'_, PyAny>,
) -> Result<Vec<Bound<'py, PyBytes>>, Failure> {
    Ok(listed(py, &tlog::consistency_proof(first, second, &mut nodes(second, fetch))?))
}

/// Check an inclusion proof.
#[pyfunction]
pub(crate) fn verify_inclusion(
    index: u64,
    size: u64,
    leaf: Hash,
    proof: Vec<Hash>,
    root: Hash,
) -> Result<(), Failure> {
    Ok(tlog::verify_inclusion(index, size, leaf, &proof, &root)?)
}

/// Check a consistency proof.
#[pyfunction]
pub(crate) fn verify_consistency(
    first: u64,
    first_root: Hash,
    second: u64,
    second_root: Hash,
    proof: Vec<Hash>,
) -> Result<(), Failure> {
    Ok(tlog::verify_consistency(first, &first_root, second, &second_root, &proof)?)
}

fn nodes<'a>(
    size: u64,
    fetch: &'a Bound<'_, PyAny>,
) -> TileNodes<impl FnMut(Resource) -> Result<Vec<u8>, Failure> + 'a> {
    TileNodes::new(size, |resource: Resource| {
        Ok(fetch.call1((resource.to_string(),))?.extract::<Vec<u8>>()?)
    })
}

fn listed<'py>(py: Python<'py>, hashes: &[Hash]) -> Vec<Bound<'py, PyBytes>> {
    hashes.iter().map(|hash| PyBytes::new(py, hash)).collect()
}

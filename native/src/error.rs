//! The one place where a refusal of the core becomes a Python exception.

use pyo3::PyTypeInfo;
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyValueError};
use pyo3::prelude::*;

create_exception!(
    appliance.native._native,
    XmlRefused,
    PyException,
    "The octets are not well-formed, carry a DTD, or pass a limit."
);
create_exception!(
    appliance.native._native,
    SignatureRefused,
    PyException,
    "The signature is absent, of a forbidden shape, or wrong."
);
create_exception!(
    appliance.native._native,
    StructureRefused,
    PyException,
    "A mandatory part of the assertion is missing, empty or of another version."
);
create_exception!(
    appliance.native._native,
    MessageRefused,
    PyException,
    "The message cannot take a security header, or not by this rule."
);
create_exception!(
    appliance.native._native,
    TreeRefused,
    PyException,
    "Octets, numbers or a proof that are not part of the log."
);
create_exception!(
    appliance.native._native,
    AlreadySpliced,
    PyException,
    "A prepared signature is spliced once."
);

/// A refusal on its way to Python.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Of the core.
    Refused(xmldsig::Error),
    /// Of the log core.
    Tree(tlog::Error),
    /// Of Python: a callback's exception, unchanged.
    Raised(PyErr),
}

impl From<xmldsig::Error> for Failure {
    fn from(error: xmldsig::Error) -> Self {
        Self::Refused(error)
    }
}

impl From<tlog::Error> for Failure {
    fn from(error: tlog::Error) -> Self {
        Self::Tree(error)
    }
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        use xmldsig::Error;
        let error = match failure {
            Failure::Raised(error) => return error,
            Failure::Tree(error) => return TreeRefused::new_err(error.to_string()),
            Failure::Refused(error) => error,
        };
        let detail = error.to_string();
        match error {
            Error::Malformed { offset, .. } => xml(detail, "malformed-xml", offset),
            Error::DtdForbidden { offset } => xml(detail, "dtd-forbidden", offset),
            Error::Limit { offset, .. } => xml(detail, "xml-limit", offset),
            Error::Structure(_) => with_reason::<StructureRefused>(detail, "structure-invalid"),
            Error::Signature { fault, .. } => {
                with_reason::<SignatureRefused>(detail, fault.reason())
            }
            Error::Message { fault, .. } => with_reason::<MessageRefused>(detail, fault.reason()),
            _ => PyValueError::new_err(detail),
        }
    }
}

fn xml(detail: String, reason: &'static str, offset: usize) -> PyErr {
    let error = with_reason::<XmlRefused>(detail, reason);
    Python::attach(|py| match error.value(py).setattr("offset", offset) {
        Ok(()) => error,
        Err(error) => error,
    })
}

fn with_reason<E: PyTypeInfo>(detail: String, reason: &'static str) -> PyErr {
    let error = PyErr::new::<E, _>(detail);
    Python::attach(|py| match error.value(py).setattr("reason", reason) {
        Ok(()) => error,
        Err(error) => error,
    })
}

//! The binding: converts, releases the interpreter, converts back. No logic and no policy lives here.

mod error;
mod generic;
mod issue;
mod keys;
mod log;
mod message;
mod receive;
mod rsa;
mod xml;

/// `appliance.native._native`; `appliance.native` is its only door.
#[pyo3::pymodule]
mod _native {
    #[pymodule_export]
    use crate::error::{
        AlreadySpliced, MessageRefused, SignatureRefused, StructureRefused, TreeRefused, XmlRefused,
    };
    #[pymodule_export]
    use crate::generic::verify_signature;
    #[pymodule_export]
    use crate::issue::{
        AssertionContent, PreparedSignature, SignatureProfile, SignedAssertion, prepare,
        prepare_batch, restore,
    };
    #[pymodule_export]
    use crate::keys::verify_digest;
    #[pymodule_export]
    use crate::log::{
        LogEdge, LogGrowth, bundle_leaves, bundle_path, merkle_root, prove_consistency,
        prove_inclusion, read_bundle, tile_path, tree_root, verify_consistency, verify_inclusion,
    };
    #[pymodule_export]
    use crate::message::{
        MessageSignatureClaim, PassingMessage, PreparedMessage, SecuredMessage, SecurityHeader,
        SoapMessage, VerifiedMessage, insert_header, message_signature, prepare_message,
    };
    #[pymodule_export]
    use crate::receive::{
        AssertionFields, ReceivedAssertion, ReceivedMessage, SignatureClaim, VerifiedOctets, locate,
    };
    #[pymodule_export]
    use crate::xml::{Limits, c14n, c14n_digest};
    #[pymodule_export]
    const C14N_10: &str = xmldsig::C14N_10;
    #[pymodule_export]
    const C14N_11: &str = xmldsig::C14N_11;
    #[pymodule_export]
    const C14N_EXCLUSIVE: &str = xmldsig::C14N_EXCLUSIVE;
}

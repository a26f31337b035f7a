//! How a key signs: what a mechanism is told, and what it is given.

use core::ffi::c_void;
use core::ptr;

use cryptoki_sys::{
    CK_MECHANISM_TYPE, CK_RSA_PKCS_PSS_PARAMS, CK_ULONG, CKG_MGF1_SHA256, CKM_ECDSA, CKM_RSA_PKCS,
    CKM_RSA_PKCS_PSS, CKM_SHA256,
};

/// Octets of a SHA-256 digest.
const DIGEST_OCTETS: usize = 32;

/// What is signed, over and over.
pub(crate) const DIGEST: [u8; DIGEST_OCTETS] = [0x5a; DIGEST_OCTETS];

/// DER of SHA-256's `DigestInfo` up to the digest (RFC 8017, 9.2, note 1).
const DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

/// A way to sign a SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scheme {
    /// RSASSA-PKCS1-v1_5.
    Pkcs1,
    /// RSASSA-PSS, salt as long as the digest.
    Pss,
    /// ECDSA.
    Ecdsa,
}

impl Scheme {
    /// Finds a scheme by its name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "pkcs1" => Some(Self::Pkcs1),
            "pss" => Some(Self::Pss),
            "ecdsa" => Some(Self::Ecdsa),
            _ => None,
        }
    }

    /// The mechanism that takes a digest.
    pub(crate) const fn mechanism(self) -> CK_MECHANISM_TYPE {
        match self {
            Self::Pkcs1 => CKM_RSA_PKCS,
            Self::Pss => CKM_RSA_PKCS_PSS,
            Self::Ecdsa => CKM_ECDSA,
        }
    }

    /// Its parameters, where it takes some.
    pub(crate) fn parameters(self) -> Option<CK_RSA_PKCS_PSS_PARAMS> {
        let salt = CK_ULONG::try_from(DIGEST_OCTETS).unwrap_or(0);
        (self == Self::Pss).then_some(CK_RSA_PKCS_PSS_PARAMS {
            hashAlg: CKM_SHA256,
            mgf: CKG_MGF1_SHA256,
            sLen: salt,
        })
    }

    /// What `C_Sign` is given.
    pub(crate) fn payload(self, digest: [u8; DIGEST_OCTETS]) -> Vec<u8> {
        match self {
            Self::Pkcs1 => [&DIGEST_INFO[..], &digest].concat(),
            Self::Pss | Self::Ecdsa => digest.to_vec(),
        }
    }
}

/// Where a mechanism finds its parameters, and how long they are; valid as long as they stay where they are.
pub(crate) fn point_to(parameters: Option<&mut CK_RSA_PKCS_PSS_PARAMS>) -> (*mut c_void, CK_ULONG) {
    let length = CK_ULONG::try_from(size_of::<CK_RSA_PKCS_PSS_PARAMS>()).unwrap_or(0);
    parameters.map_or((ptr::null_mut(), 0), |parameters| (ptr::from_mut(parameters).cast(), length))
}

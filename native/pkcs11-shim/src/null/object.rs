//! The objects of the null token: the halves of its key pair under each of its names.

use cryptoki_sys::{
    CK_ATTRIBUTE_TYPE, CK_TRUE, CK_ULONG, CKA_ALWAYS_AUTHENTICATE, CKA_ALWAYS_SENSITIVE, CKA_CLASS,
    CKA_DECRYPT, CKA_DERIVE, CKA_EC_PARAMS, CKA_EC_POINT, CKA_ENCRYPT, CKA_EXTRACTABLE, CKA_ID,
    CKA_KEY_TYPE, CKA_LABEL, CKA_LOCAL, CKA_MODIFIABLE, CKA_NEVER_EXTRACTABLE, CKA_PRIVATE,
    CKA_SENSITIVE, CKA_SIGN, CKA_SIGN_RECOVER, CKA_TOKEN, CKA_UNWRAP, CKA_VALUE, CKA_VERIFY,
    CKA_VERIFY_RECOVER, CKA_WRAP, CKK_EC, CKO_PRIVATE_KEY, CKO_PUBLIC_KEY, CKR_ATTRIBUTE_SENSITIVE,
    CKR_ATTRIBUTE_TYPE_INVALID,
};

use super::ecdsa::PUBLIC_POINT;
use super::token::Answer;
use crate::settings::NullKey;

/// An object: half of a key pair.
#[derive(Clone, Copy)]
pub(super) struct Object<'a> {
    pub(super) key: &'a NullKey,
    pub(super) is_private: bool,
}

/// DER of the object identifier of P-256 (RFC 5480, 2.1.1.1).
const CURVE: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

/// Attributes that are true for a private key; the others of [`PRIVATE_FLAGS`] are false.
const PRIVATE_TRUE: &[CK_ATTRIBUTE_TYPE] = &[
    CKA_TOKEN,
    CKA_PRIVATE,
    CKA_SENSITIVE,
    CKA_ALWAYS_SENSITIVE,
    CKA_NEVER_EXTRACTABLE,
    CKA_LOCAL,
    CKA_SIGN,
];

const PUBLIC_TRUE: &[CK_ATTRIBUTE_TYPE] = &[CKA_TOKEN, CKA_LOCAL, CKA_VERIFY];

const PRIVATE_FLAGS: &[CK_ATTRIBUTE_TYPE] = &[
    CKA_TOKEN,
    CKA_PRIVATE,
    CKA_MODIFIABLE,
    CKA_SENSITIVE,
    CKA_ALWAYS_SENSITIVE,
    CKA_EXTRACTABLE,
    CKA_NEVER_EXTRACTABLE,
    CKA_ALWAYS_AUTHENTICATE,
    CKA_LOCAL,
    CKA_SIGN,
    CKA_SIGN_RECOVER,
    CKA_DECRYPT,
    CKA_UNWRAP,
    CKA_DERIVE,
];

const PUBLIC_FLAGS: &[CK_ATTRIBUTE_TYPE] = &[
    CKA_TOKEN,
    CKA_PRIVATE,
    CKA_MODIFIABLE,
    CKA_LOCAL,
    CKA_VERIFY,
    CKA_VERIFY_RECOVER,
    CKA_ENCRYPT,
    CKA_WRAP,
    CKA_DERIVE,
];

impl Object<'_> {
    /// Reads one attribute.
    pub(super) fn attribute(self, kind: CK_ATTRIBUTE_TYPE) -> Answer<Vec<u8>> {
        let (flags, set) = if self.is_private {
            (PRIVATE_FLAGS, PRIVATE_TRUE)
        } else {
            (PUBLIC_FLAGS, PUBLIC_TRUE)
        };
        if flags.contains(&kind) {
            return Ok(vec![if set.contains(&kind) { CK_TRUE } else { 0 }]);
        }
        let number = |number: CK_ULONG| Ok(number.to_ne_bytes().to_vec());
        match kind {
            CKA_CLASS if self.is_private => number(CKO_PRIVATE_KEY),
            CKA_CLASS => number(CKO_PUBLIC_KEY),
            CKA_KEY_TYPE => number(CKK_EC),
            CKA_LABEL => Ok(self.key.label.clone().into_bytes()),
            CKA_ID => Ok(self.key.id.clone()),
            CKA_EC_PARAMS => Ok(CURVE.to_vec()),
            // PKCS#11 2.40, curves, 2.3.3: the point as a DER OCTET STRING.
            CKA_EC_POINT if !self.is_private => Ok([&[0x04, 65][..], &PUBLIC_POINT].concat()),
            CKA_VALUE if self.is_private => Err(CKR_ATTRIBUTE_SENSITIVE),
            _ => Err(CKR_ATTRIBUTE_TYPE_INVALID),
        }
    }
}

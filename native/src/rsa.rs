//! RSA public keys as they stand in a certificate, and RSASSA-PKCS1-v1_5 where AWS-LC does not offer it: SHA-224, and SHA-384
//! under keys below 2048 bits. Only the generic profile gets here; nothing in it is secret, so time may depend on all of it.

use num_bigint::BigUint;
use xmldsig::Hash;

/// `AlgorithmIdentifier` of `rsaEncryption`, without its tag and length (RFC 8017, A.1).
const RSA_ENCRYPTION: &[u8] = b"\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x01\x01\x05\x00";
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;
/// As long as AWS-LC takes an exponent to be, in octets.
const LONGEST_EXPONENT: usize = 5;

/// The numbers of a public key, without leading zeros.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RsaNumbers<'k> {
    modulus: &'k [u8],
    exponent: &'k [u8],
}

/// A public key that checks signatures of one hash.
#[derive(Debug)]
pub(crate) struct Pkcs1Key {
    modulus: BigUint,
    exponent: BigUint,
    /// Octets of the modulus, and so of every signature.
    width: usize,
    /// DER of `DigestInfo` before the digest (RFC 8017, 9.2, note 1).
    digest_info: &'static [u8],
}

impl<'k> RsaNumbers<'k> {
    /// RFC 5280, 4.1.2.7 around RFC 8017, A.1.1; None where the octets are no RSA key.
    pub(crate) fn from_spki(spki: &'k [u8]) -> Option<Self> {
        let inside = only(spki, SEQUENCE)?;
        let (algorithm, inside) = take(inside, SEQUENCE)?;
        let [0, key @ ..] = only(inside, BIT_STRING)? else { return None };
        let (modulus, rest) = take(only(key, SEQUENCE)?, INTEGER)?;
        let exponent = only(rest, INTEGER)?;
        let positive = |number: &'k [u8]| match number {
            [0, rest @ ..] => Some(rest),
            [0x80..=0xFF, ..] | [] => None,
            _ => Some(number),
        };
        let numbers = Self { modulus: positive(modulus)?, exponent: positive(exponent)? };
        (algorithm == RSA_ENCRYPTION).then_some(numbers)
    }

    /// The size of the key.
    pub(crate) fn bits(self) -> usize {
        let leading = self.modulus.first().map_or(0, |octet| octet.leading_zeros());
        self.modulus.len() * 8 - usize::try_from(leading).unwrap_or_default()
    }
}

impl Pkcs1Key {
    /// None where this module does not have the hash, or where AWS-LC would not take the key either.
    pub(crate) fn new(numbers: RsaNumbers<'_>, hash: Hash) -> Option<Self> {
        let digest_info: &[u8] = match hash {
            Hash::Sha224 => {
                b"\x30\x2D\x30\x0D\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x04\x05\x00\x04\x1C"
            }
            Hash::Sha384 => {
                b"\x30\x41\x30\x0D\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30"
            }
            _ => return None,
        };
        let RsaNumbers { modulus, exponent } = numbers;
        let is_odd = |number: &[u8]| number.last().is_some_and(|octet| octet & 1 == 1);
        if !is_odd(modulus)
            || !is_odd(exponent)
            || exponent == [1]
            || exponent.len() > LONGEST_EXPONENT
        {
            return None;
        }
        Some(Self {
            modulus: BigUint::from_bytes_be(modulus),
            exponent: BigUint::from_bytes_be(exponent),
            width: modulus.len(),
            digest_info,
        })
    }

    /// RFC 8017, 8.2.2: what the signature encodes is compared, never parsed.
    pub(crate) fn verifies(&self, digest: &[u8], signature: &[u8]) -> bool {
        let number = BigUint::from_bytes_be(signature);
        if signature.len() != self.width || number >= self.modulus {
            return false;
        }
        let Some(padding) = self.width.checked_sub(self.digest_info.len() + digest.len() + 3)
        else {
            return false;
        };
        let encoded =
            [b"\x00\x01", vec![0xFF; padding].as_slice(), b"\x00", self.digest_info, digest]
                .concat();
        number.modpow(&self.exponent, &self.modulus) == BigUint::from_bytes_be(&encoded)
    }
}

/// The content of the one element with this tag that octets are.
pub(crate) fn only(der: &[u8], tag: u8) -> Option<&[u8]> {
    take(der, tag).and_then(|(content, rest)| rest.is_empty().then_some(content))
}

/// The content of the element at the start, and what follows it; lengths to 65,535.
fn take(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match *der {
        [found, length @ 0..=0x7F, ref rest @ ..] if found == tag => (usize::from(length), rest),
        [found, 0x81, length @ 0x80..=0xFF, ref rest @ ..] if found == tag => {
            (usize::from(length), rest)
        }
        [found, 0x82, high @ 1..=0xFF, low, ref rest @ ..] if found == tag => {
            (usize::from(high) << 8 | usize::from(low), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

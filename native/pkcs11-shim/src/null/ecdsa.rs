//! ECDSA over P-256 with one key and one nonce, both published.
//!
//! With the nonce k fixed, r = (kG).x is too, and s = k⁻¹(z + r·d) mod n is k⁻¹·z + c: one multiplication and one addition modulo the
//! order, by Montgomery's method. d = SHA-256("pkcs11-shim null mode: key"), k = SHA-256("pkcs11-shim null mode: nonce"), both
//! modulo n.

/// Octets of a digest, and of each half of a signature.
pub(crate) const FIELD_OCTETS: usize = 32;

/// The public key as an uncompressed point (SEC 1, 2.3.3).
pub(crate) const PUBLIC_POINT: [u8; 65] = [
    0x04, //
    0x7f, 0x5c, 0xd6, 0x2a, 0x0d, 0x2a, 0x79, 0xdb, 0xe3, 0x6d, 0x2d, 0x65, 0x1a, 0x00, 0x5a, 0x2e,
    0xf4, 0x03, 0x12, 0x8e, 0x03, 0x79, 0xdd, 0xbb, 0x52, 0x5c, 0xe7, 0x68, 0x62, 0x98, 0xae, 0x15,
    0xf0, 0x3e, 0x58, 0x1a, 0x5c, 0xb2, 0xa5, 0x16, 0xef, 0x95, 0x90, 0x41, 0x97, 0x29, 0x00, 0x04,
    0xfa, 0x1d, 0xae, 0x42, 0xdf, 0xdd, 0xe6, 0x59, 0x8e, 0xbc, 0xaf, 0x58, 0x95, 0xe0, 0x28, 0x54,
];

/// A number of 256 bits, least significant limb first.
type Number = [u64; 4];

/// The order of the curve's group (SEC 2, 2.4.2).
const N: Number =
    [0xf3b9_cac2_fc63_2551, 0xbce6_faad_a717_9e84, 0xffff_ffff_ffff_ffff, 0xffff_ffff_0000_0000];

/// -n⁻¹ modulo 2⁶⁴.
const N_PRIME: u64 = 0xccd1_c8aa_ee00_bc4f;

/// k⁻¹·2²⁵⁶ mod n: multiplied by z in Montgomery's way, k⁻¹·z mod n.
const NONCE_INVERSE: Number =
    [0x71a2_222a_7254_7a78, 0xf203_de65_89a7_abec, 0xaeba_eb34_0d6d_de3b, 0x9aaf_8a32_c6ee_39be];

/// k⁻¹·r·d mod n.
const ADDEND: Number =
    [0xd7b5_9186_ef29_ab2e, 0xc94f_2baa_ab00_951c, 0x236b_8d58_4bff_282c, 0x7651_dbeb_e5ad_9a2e];

const R: [u8; FIELD_OCTETS] = [
    0x9d, 0x4a, 0xf7, 0x1a, 0x72, 0x9c, 0xa0, 0x65, 0xb2, 0x2d, 0x63, 0xf0, 0xf3, 0xc7, 0x8e, 0x27,
    0x9a, 0xca, 0xdf, 0x15, 0x15, 0x72, 0x41, 0x2e, 0x95, 0x5e, 0x8f, 0x09, 0xb6, 0xe9, 0x21, 0x76,
];

/// Signs a digest; the signature is r‖s.
pub(crate) fn sign(digest: [u8; FIELD_OCTETS]) -> [u8; 2 * FIELD_OCTETS] {
    let s = add(multiply(NONCE_INVERSE, read(digest)), ADDEND);
    let mut signature = [0; 2 * FIELD_OCTETS];
    let (first, second) = signature.split_at_mut(FIELD_OCTETS);
    first.copy_from_slice(&R);
    second.copy_from_slice(&write(s));
    signature
}

/// a·b·2⁻²⁵⁶ mod n, for a < n and any b (coarsely integrated operand scanning; Koç, Acar, Kaliski 1996).
fn multiply(a: Number, b: Number) -> Number {
    let (mut t, mut top) = ([0; 4], 0);
    for digit in b {
        let carry = accumulate(&mut t, a, digit);
        let (above, overflow) = overflowing_add(top, carry);
        let multiple = t[0].wrapping_mul(N_PRIME);
        let carry = accumulate(&mut t, N, multiple);
        let (above, second_overflow) = overflowing_add(above, carry);
        t = [t[1], t[2], t[3], above];
        top = overflow + second_overflow;
    }
    reduce(t, top)
}

/// t += a·digit; returns what does not fit.
fn accumulate(t: &mut Number, a: Number, digit: u64) -> u64 {
    let mut carry = 0;
    for (limb, factor) in t.iter_mut().zip(a) {
        let sum = u128::from(factor) * u128::from(digit) + u128::from(*limb) + u128::from(carry);
        (carry, *limb) = split(sum);
    }
    carry
}

/// a + b mod n, for a, b < n.
fn add(a: Number, b: Number) -> Number {
    let (mut sum, mut carry) = (a, 0);
    for (limb, addend) in sum.iter_mut().zip(b) {
        (carry, *limb) = split(u128::from(*limb) + u128::from(addend) + u128::from(carry));
    }
    reduce(sum, carry)
}

/// Takes n away once if the number, with `top` above it, is not below n already.
fn reduce(number: Number, top: u64) -> Number {
    let (mut less, mut borrow) = (number, 0);
    for (limb, order) in less.iter_mut().zip(N) {
        let (first, is_below) = limb.overflowing_sub(order);
        let (second, is_still_below) = first.overflowing_sub(borrow);
        (*limb, borrow) = (second, u64::from(is_below || is_still_below));
    }
    if top >= borrow { less } else { number }
}

fn overflowing_add(a: u64, b: u64) -> (u64, u64) {
    let (sum, is_over) = a.overflowing_add(b);
    (sum, u64::from(is_over))
}

/// The upper and the lower half.
#[expect(clippy::as_conversions, clippy::cast_possible_truncation, reason = "halves are wanted")]
const fn split(number: u128) -> (u64, u64) {
    ((number >> 64) as u64, number as u64)
}

fn read(octets: [u8; FIELD_OCTETS]) -> Number {
    let mut number = [0; 4];
    for (limb, part) in number.iter_mut().rev().zip(octets.chunks_exact(8)) {
        *limb = part.iter().fold(0, |sum, octet| sum << 8 | u64::from(*octet));
    }
    number
}

fn write(number: Number) -> [u8; FIELD_OCTETS] {
    let mut octets = [0; FIELD_OCTETS];
    for (part, limb) in octets.chunks_exact_mut(8).zip(number.iter().rev()) {
        part.copy_from_slice(&limb.to_be_bytes());
    }
    octets
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{Digest, SHA256, digest};
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    fn verifies(digest: [u8; FIELD_OCTETS], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, PUBLIC_POINT);
        let digest = Digest::import_less_safe(&digest, &SHA256).unwrap();
        key.verify_digest(&digest, signature).is_ok()
    }

    #[test]
    fn signatures_verify_whatever_the_digest() {
        let order = write(N);
        let mut below = order;
        below[31] -= 1;
        let mut digests = vec![[0; 32], [0xff; 32], order, below];
        let mut next = [7; 32];
        for _ in 0..1000 {
            next = digest(&SHA256, &next).as_ref().try_into().unwrap();
            digests.push(next);
        }
        for digest in digests {
            assert!(verifies(digest, &sign(digest)), "{digest:02x?}");
        }
    }

    #[test]
    fn another_digest_does_not_verify() {
        let mut digest = [1; 32];
        let signature = sign(digest);
        digest[31] ^= 1;
        assert!(!verifies(digest, &signature));
    }
}

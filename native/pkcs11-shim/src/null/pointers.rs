//! Memory of the caller: read, written and measured in one place, by the standard's conventions.

use core::{ptr, slice};

use cryptoki_sys::{CK_ATTRIBUTE, CK_ULONG, CK_UTF8CHAR, CKR_ARGUMENTS_BAD, CKR_BUFFER_TOO_SMALL};

use super::token::Answer;

/// # Safety
///
/// `to` is null or may be written to.
pub(super) unsafe fn give<T>(to: *mut T, value: T) -> Answer<()> {
    if to.is_null() {
        return Err(CKR_ARGUMENTS_BAD);
    }
    // SAFETY: not null, so the caller says it may be written to.
    unsafe { to.write(value) };
    Ok(())
}

/// Gives a list by the standard's convention: its length alone where `to` is null (PKCS#11 2.40, 5.2).
///
/// # Safety
///
/// `count` is null or may be read and written; `to` is null or may be written `*count` times.
pub(super) unsafe fn give_list(
    list: &[CK_ULONG],
    to: *mut CK_ULONG,
    count: *mut CK_ULONG,
) -> Answer<()> {
    // SAFETY: the caller says so.
    let count = unsafe { count.as_mut() }.ok_or(CKR_ARGUMENTS_BAD)?;
    let room = length(*count)?;
    *count = number(list.len());
    if to.is_null() {
        return Ok(());
    }
    if room < list.len() {
        return Err(CKR_BUFFER_TOO_SMALL);
    }
    // SAFETY: there is room for `room` numbers, and no more are written.
    unsafe { ptr::copy_nonoverlapping(list.as_ptr(), to, list.len()) };
    Ok(())
}

/// # Safety
///
/// `from` is null or points to `count` values that live as long as the answer is used.
pub(super) unsafe fn read_list<'a, T>(from: *const T, count: CK_ULONG) -> Answer<&'a [T]> {
    match length(count)? {
        0 => Ok(&[]),
        _ if from.is_null() => Err(CKR_ARGUMENTS_BAD),
        // SAFETY: the caller says so.
        count => Ok(unsafe { slice::from_raw_parts(from, count) }),
    }
}

/// Writes an attribute's value into the caller's template, or its length where there is no place for the value.
///
/// # Safety
///
/// `pValue` is null or points to `ulValueLen` octets.
pub(super) unsafe fn fill(attribute: &mut CK_ATTRIBUTE, value: &[u8]) -> Answer<()> {
    if !attribute.pValue.is_null() {
        if length(attribute.ulValueLen)? < value.len() {
            return Err(CKR_BUFFER_TOO_SMALL);
        }
        // SAFETY: there is room for the value.
        unsafe { ptr::copy_nonoverlapping(value.as_ptr(), attribute.pValue.cast(), value.len()) };
    }
    attribute.ulValueLen = number(value.len());
    Ok(())
}

pub(super) fn length(number: CK_ULONG) -> Answer<usize> {
    usize::try_from(number).map_err(|_| CKR_ARGUMENTS_BAD)
}

pub(super) fn number(length: usize) -> CK_ULONG {
    CK_ULONG::try_from(length).unwrap_or(CK_ULONG::MAX)
}

/// Pads with spaces, as the standard has it.
pub(super) fn padded<const LENGTH: usize>(text: &str) -> [CK_UTF8CHAR; LENGTH] {
    let mut field = [b' '; LENGTH];
    for (octet, from) in field.iter_mut().zip(text.bytes()) {
        *octet = from;
    }
    field
}

//! The few functions that do more than pass on: what they answer depends on the shim's state, or changes it.

use cryptoki_sys::{
    CK_BBOOL, CK_BYTE, CK_FALSE, CK_FLAGS, CK_FUNCTION_LIST, CK_NOTIFY, CK_RV, CK_SESSION_HANDLE,
    CK_SLOT_ID, CK_SLOT_INFO, CK_ULONG, CKF_TOKEN_PRESENT, CKR_ARGUMENTS_BAD, CKR_OK,
};

use core::ffi::c_void;

use crate::calls::LIST;
use crate::gate::Shim;

/// `C_GetFunctionList`: the shim's list, not that of the module behind.
///
/// # Safety
///
/// As the standard wants of a caller of `C_GetFunctionList`; for the others below of the function they stand in front of.
pub(crate) unsafe fn own_list(
    _: &Shim,
    _: unsafe extern "C" fn(*mut *mut CK_FUNCTION_LIST) -> CK_RV,
    list: *mut *mut CK_FUNCTION_LIST,
) -> CK_RV {
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    // SAFETY: not null, and the caller says it may be written to. Nobody writes through the list: it is constant by contract.
    unsafe { *list = (&raw const LIST).cast_mut() };
    CKR_OK
}

/// `C_GetSlotList`: no slot has a token while the token is gone.
pub(crate) unsafe fn slot_list(
    shim: &Shim,
    function: unsafe extern "C" fn(CK_BBOOL, *mut CK_SLOT_ID, *mut CK_ULONG) -> CK_RV,
    only_present: CK_BBOOL,
    slots: *mut CK_SLOT_ID,
    count: *mut CK_ULONG,
) -> CK_RV {
    if only_present == CK_FALSE || count.is_null() || !shim.is_absent() {
        // SAFETY: the caller's promise is passed on.
        return unsafe { function(only_present, slots, count) };
    }
    // SAFETY: not null, and the caller says it may be written to.
    unsafe { *count = 0 };
    CKR_OK
}

/// `C_GetSlotInfo`: the slot is there, its token may be gone.
pub(crate) unsafe fn slot_info(
    shim: &Shim,
    function: unsafe extern "C" fn(CK_SLOT_ID, *mut CK_SLOT_INFO) -> CK_RV,
    slot: CK_SLOT_ID,
    info: *mut CK_SLOT_INFO,
) -> CK_RV {
    // SAFETY: the caller's promise is passed on.
    let code = unsafe { function(slot, info) };
    if code == CKR_OK && shim.is_absent() {
        // SAFETY: the module has just written to it.
        unsafe { (*info).flags &= !CKF_TOKEN_PRESENT };
    }
    code
}

/// `C_OpenSession`: remembers the slot, whose sessions may be dropped later.
#[expect(clippy::too_many_arguments, reason = "the standard's arguments, and what they go to")]
pub(crate) unsafe fn open_session(
    shim: &Shim,
    function: unsafe extern "C" fn(
        CK_SLOT_ID,
        CK_FLAGS,
        *mut c_void,
        CK_NOTIFY,
        *mut CK_SESSION_HANDLE,
    ) -> CK_RV,
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: *mut c_void,
    notify: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    // SAFETY: the caller's promise is passed on.
    let code = unsafe { function(slot, flags, application, notify, session) };
    if code == CKR_OK {
        shim.sessions().remember(slot);
    }
    code
}

/// Flips one bit of the last octet that a function has put out.
///
/// # Safety
///
/// `length` may be read and `output` written, as many octets as `length` says.
pub(crate) unsafe fn spoil_last(output: *mut CK_BYTE, length: *const CK_ULONG) {
    // SAFETY: the caller says so.
    let length = usize::try_from(unsafe { *length }).unwrap_or(0);
    if let Some(last) = length.checked_sub(1) {
        // SAFETY: the caller says so; `last` is below `length`.
        unsafe { *output.add(last) ^= 1 };
    }
}

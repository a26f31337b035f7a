//! The null token's functions: pointers in, [`Token`] in the middle, pointers out.

use core::ffi::c_void;
use core::ptr;
use std::sync::{MutexGuard, PoisonError};

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BBOOL, CK_BYTE, CK_EFFECTIVELY_INFINITE, CK_FLAGS, CK_FUNCTION_LIST, CK_INFO,
    CK_MECHANISM, CK_MECHANISM_INFO, CK_MECHANISM_TYPE, CK_NOTIFY, CK_OBJECT_HANDLE, CK_RV,
    CK_SESSION_HANDLE, CK_SESSION_INFO, CK_SLOT_ID, CK_SLOT_INFO, CK_TOKEN_INFO, CK_ULONG,
    CK_UNAVAILABLE_INFORMATION, CK_USER_TYPE, CK_UTF8CHAR, CK_VERSION, CKF_EC_F_P,
    CKF_EC_NAMEDCURVE, CKF_EC_UNCOMPRESS, CKF_LOGIN_REQUIRED, CKF_SIGN, CKF_TOKEN_INITIALIZED,
    CKF_TOKEN_PRESENT, CKF_USER_PIN_INITIALIZED, CKM_ECDSA, CKR_ARGUMENTS_BAD,
    CKR_BUFFER_TOO_SMALL, CKR_CRYPTOKI_ALREADY_INITIALIZED, CKR_CRYPTOKI_NOT_INITIALIZED,
    CKR_GENERAL_ERROR, CKR_MECHANISM_INVALID, CKR_OBJECT_HANDLE_INVALID, CKR_OK,
    CKR_SESSION_HANDLE_INVALID, CKR_SLOT_ID_INVALID,
};

use super::TOKEN;
use super::ecdsa::FIELD_OCTETS;
use super::pointers::{fill, give, give_list, length, number, padded, read_list};
use super::token::{Answer, Token};
use crate::calls::EMPTY;

/// The slot's number.
const SLOT: CK_SLOT_ID = 0;

/// What the null token offers; the rest is `CKR_FUNCTION_NOT_SUPPORTED`.
pub(super) static LIST: CK_FUNCTION_LIST = CK_FUNCTION_LIST {
    C_Initialize: Some(initialize),
    C_Finalize: Some(finalize),
    C_GetInfo: Some(info),
    C_GetFunctionList: Some(function_list),
    C_GetSlotList: Some(slot_list),
    C_GetSlotInfo: Some(slot_info),
    C_GetTokenInfo: Some(token_info),
    C_GetMechanismList: Some(mechanism_list),
    C_GetMechanismInfo: Some(mechanism_info),
    C_OpenSession: Some(open_session),
    C_CloseSession: Some(close_session),
    C_CloseAllSessions: Some(close_all_sessions),
    C_GetSessionInfo: Some(session_info),
    C_Login: Some(log_in),
    C_Logout: Some(log_out),
    C_GetAttributeValue: Some(attribute_value),
    C_FindObjectsInit: Some(find_init),
    C_FindObjects: Some(find),
    C_FindObjectsFinal: Some(find_final),
    C_SignInit: Some(sign_init),
    C_Sign: Some(sign),
    ..EMPTY
};

const VERSION: CK_VERSION = CK_VERSION { major: 1, minor: 0 };
const MANUFACTURER: &str = "pkcs11-shim NULL: FORGEABLE";
const MODEL: &str = "NULL FORGEABLE";
const DESCRIPTION: &str = "pkcs11-shim null mode: published key and nonce, FORGEABLE";
const PIN_OCTETS: CK_ULONG = 255;

unsafe extern "C" fn initialize(_: *mut c_void) -> CK_RV {
    code(token().and_then(|mut token| {
        if token.is_initialized {
            return Err(CKR_CRYPTOKI_ALREADY_INITIALIZED);
        }
        token.is_initialized = true;
        Ok(())
    }))
}

unsafe extern "C" fn finalize(_: *mut c_void) -> CK_RV {
    code(initialized().map(|mut token| {
        token.close_all();
        token.is_initialized = false;
    }))
}

unsafe extern "C" fn info(info: *mut CK_INFO) -> CK_RV {
    let value = CK_INFO {
        cryptokiVersion: CK_VERSION { major: 2, minor: 40 },
        manufacturerID: padded(MANUFACTURER),
        flags: 0,
        libraryDescription: padded(MODEL),
        libraryVersion: VERSION,
    };
    // SAFETY: the standard has the caller point `info` to a structure of this type; so for every `give` below.
    code(initialized().and_then(|_| unsafe { give(info, value) }))
}

/// Never called: the shim gives out its own list.
unsafe extern "C" fn function_list(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    // SAFETY: see `info`.
    code(unsafe { give(list, (&raw const LIST).cast_mut()) })
}

unsafe extern "C" fn slot_list(_: CK_BBOOL, slots: *mut CK_SLOT_ID, count: *mut CK_ULONG) -> CK_RV {
    // SAFETY: the standard has the caller point `slots` to `*count` numbers, or to nothing.
    code(initialized().and_then(|_| unsafe { give_list(&[SLOT], slots, count) }))
}

unsafe extern "C" fn slot_info(slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO) -> CK_RV {
    let value = CK_SLOT_INFO {
        slotDescription: padded(DESCRIPTION),
        manufacturerID: padded(MANUFACTURER),
        flags: CKF_TOKEN_PRESENT,
        hardwareVersion: VERSION,
        firmwareVersion: VERSION,
    };
    // SAFETY: see `info`.
    code(in_slot(slot).and_then(|_| unsafe { give(info, value) }))
}

unsafe extern "C" fn token_info(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO) -> CK_RV {
    code(in_slot(slot).and_then(|token| {
        let label = &token.settings().label;
        let value = CK_TOKEN_INFO {
            label: padded(label),
            manufacturerID: padded(MANUFACTURER),
            model: padded(MODEL),
            serialNumber: padded(&serial(label)),
            flags: CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED | CKF_TOKEN_INITIALIZED,
            ulMaxSessionCount: CK_EFFECTIVELY_INFINITE,
            ulSessionCount: token.session_count(),
            ulMaxRwSessionCount: CK_EFFECTIVELY_INFINITE,
            ulRwSessionCount: CK_UNAVAILABLE_INFORMATION,
            ulMaxPinLen: PIN_OCTETS,
            ulMinPinLen: 0,
            ulTotalPublicMemory: CK_UNAVAILABLE_INFORMATION,
            ulFreePublicMemory: CK_UNAVAILABLE_INFORMATION,
            ulTotalPrivateMemory: CK_UNAVAILABLE_INFORMATION,
            ulFreePrivateMemory: CK_UNAVAILABLE_INFORMATION,
            hardwareVersion: VERSION,
            firmwareVersion: VERSION,
            utcTime: padded(""),
        };
        // SAFETY: see `info`.
        unsafe { give(info, value) }
    }))
}

unsafe extern "C" fn mechanism_list(
    slot: CK_SLOT_ID,
    mechanisms: *mut CK_MECHANISM_TYPE,
    count: *mut CK_ULONG,
) -> CK_RV {
    // SAFETY: the standard has the caller point `mechanisms` to `*count` numbers, or to nothing.
    code(in_slot(slot).and_then(|_| unsafe { give_list(&[CKM_ECDSA], mechanisms, count) }))
}

unsafe extern "C" fn mechanism_info(
    slot: CK_SLOT_ID,
    mechanism: CK_MECHANISM_TYPE,
    info: *mut CK_MECHANISM_INFO,
) -> CK_RV {
    let value = CK_MECHANISM_INFO {
        ulMinKeySize: 256,
        ulMaxKeySize: 256,
        flags: CKF_SIGN | CKF_EC_F_P | CKF_EC_NAMEDCURVE | CKF_EC_UNCOMPRESS,
    };
    code(in_slot(slot).and_then(|_| match mechanism {
        // SAFETY: see `info`.
        CKM_ECDSA => unsafe { give(info, value) },
        _ => Err(CKR_MECHANISM_INVALID),
    }))
}

unsafe extern "C" fn open_session(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    _: *mut c_void,
    _: CK_NOTIFY,
    session: *mut CK_SESSION_HANDLE,
) -> CK_RV {
    code(in_slot(slot).and_then(|mut token| {
        let opened = token.open(flags)?;
        // SAFETY: see `info`.
        unsafe { give(session, opened) }
    }))
}

unsafe extern "C" fn close_session(session: CK_SESSION_HANDLE) -> CK_RV {
    code(initialized().and_then(|mut token| token.close(session)))
}

unsafe extern "C" fn close_all_sessions(slot: CK_SLOT_ID) -> CK_RV {
    code(in_slot(slot).map(|mut token| token.close_all()))
}

unsafe extern "C" fn session_info(session: CK_SESSION_HANDLE, info: *mut CK_SESSION_INFO) -> CK_RV {
    code(initialized().and_then(|mut token| {
        let (state, flags) = token.session_info(session)?;
        let value = CK_SESSION_INFO { slotID: SLOT, state, flags, ulDeviceError: 0 };
        // SAFETY: see `info`.
        unsafe { give(info, value) }
    }))
}

unsafe extern "C" fn log_in(
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    _: *mut CK_UTF8CHAR,
    _: CK_ULONG,
) -> CK_RV {
    code(initialized().and_then(|mut token| token.log_in(session, user)))
}

unsafe extern "C" fn log_out(session: CK_SESSION_HANDLE) -> CK_RV {
    code(initialized().and_then(|mut token| token.log_out(session)))
}

unsafe extern "C" fn attribute_value(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    code(initialized().and_then(|mut token| {
        let mut outcome = Ok(());
        for place in 0..length(count)? {
            // SAFETY: the standard has the caller point `template` to `count` attributes.
            let attribute = unsafe { template.add(place).as_mut() }.ok_or(CKR_ARGUMENTS_BAD)?;
            let value = token.attribute(session, object, attribute.type_);
            // SAFETY: … and `pValue` of each to `ulValueLen` octets, or to nothing.
            let filled = value.and_then(|value| unsafe { fill(attribute, &value) });
            if let Err(reason) = filled {
                if matches!(reason, CKR_SESSION_HANDLE_INVALID | CKR_OBJECT_HANDLE_INVALID) {
                    return Err(reason);
                }
                // PKCS#11 2.40, C_GetAttributeValue: the others are still answered.
                attribute.ulValueLen = CK_UNAVAILABLE_INFORMATION;
                outcome = Err(reason);
            }
        }
        outcome
    }))
}

unsafe extern "C" fn find_init(
    session: CK_SESSION_HANDLE,
    template: *mut CK_ATTRIBUTE,
    count: CK_ULONG,
) -> CK_RV {
    code(initialized().and_then(|mut token| {
        // SAFETY: the standard has the caller point `template` to `count` attributes.
        let attributes = unsafe { read_list(template, count)? }.iter();
        let wanted = attributes.map(|attribute| {
            // SAFETY: … and `pValue` of each to `ulValueLen` octets.
            let value = unsafe { read_list(attribute.pValue.cast::<u8>(), attribute.ulValueLen)? };
            Ok((attribute.type_, value.to_vec()))
        });
        token.find_init(session, &wanted.collect::<Answer<Vec<_>>>()?)
    }))
}

unsafe extern "C" fn find(
    session: CK_SESSION_HANDLE,
    objects: *mut CK_OBJECT_HANDLE,
    limit: CK_ULONG,
    count: *mut CK_ULONG,
) -> CK_RV {
    code(initialized().and_then(|mut token| {
        if objects.is_null() || count.is_null() {
            return Err(CKR_ARGUMENTS_BAD);
        }
        let found = token.find(session, length(limit)?)?;
        // SAFETY: neither is null; the standard has the caller point `objects` to `limit` handles, and no more were found.
        unsafe {
            ptr::copy_nonoverlapping(found.as_ptr(), objects, found.len());
            count.write(number(found.len()));
        }
        Ok(())
    }))
}

unsafe extern "C" fn find_final(session: CK_SESSION_HANDLE) -> CK_RV {
    code(initialized().and_then(|mut token| token.find_final(session)))
}

unsafe extern "C" fn sign_init(
    session: CK_SESSION_HANDLE,
    mechanism: *mut CK_MECHANISM,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    code(initialized().and_then(|mut token| {
        // SAFETY: the standard has the caller point `mechanism` to one.
        let mechanism = unsafe { mechanism.as_ref() }.ok_or(CKR_ARGUMENTS_BAD)?;
        token.sign_init(session, mechanism.mechanism, key)
    }))
}

unsafe extern "C" fn sign(
    session: CK_SESSION_HANDLE,
    data: *mut CK_BYTE,
    data_len: CK_ULONG,
    signature: *mut CK_BYTE,
    signature_len: *mut CK_ULONG,
) -> CK_RV {
    code(initialized().and_then(|mut token| {
        token.check_signing(session)?;
        // SAFETY: the standard has the caller point `signature_len` to a number.
        let room = unsafe { signature_len.as_mut() }.ok_or(CKR_ARGUMENTS_BAD)?;
        let is_large_enough = length(*room)? >= 2 * FIELD_OCTETS;
        *room = number(2 * FIELD_OCTETS);
        if signature.is_null() {
            return Ok(());
        }
        if !is_large_enough {
            return Err(CKR_BUFFER_TOO_SMALL);
        }
        // SAFETY: the standard has the caller point `data` to `data_len` octets.
        let made = token.sign(session, unsafe { read_list(data, data_len)? })?;
        // SAFETY: the standard has the caller point `signature` to `*signature_len` octets, which are enough.
        unsafe { ptr::copy_nonoverlapping(made.as_ptr(), signature, made.len()) };
        Ok(())
    }))
}

fn token() -> Answer<MutexGuard<'static, Token>> {
    let token = TOKEN.get().ok_or(CKR_GENERAL_ERROR)?;
    Ok(token.lock().unwrap_or_else(PoisonError::into_inner))
}

fn initialized() -> Answer<MutexGuard<'static, Token>> {
    token().and_then(|token| {
        if token.is_initialized { Ok(token) } else { Err(CKR_CRYPTOKI_NOT_INITIALIZED) }
    })
}

fn in_slot(slot: CK_SLOT_ID) -> Answer<MutexGuard<'static, Token>> {
    if slot == SLOT { initialized() } else { Err(CKR_SLOT_ID_INVALID) }
}

fn code(answer: Answer<()>) -> CK_RV {
    answer.err().unwrap_or(CKR_OK)
}

/// A serial number that follows from the label (FNV-1a): tokens of different labels are different tokens.
fn serial(label: &str) -> String {
    let hash = label.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

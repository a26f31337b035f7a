//! Every function of PKCS#11 2.40, written down once: its name, its arguments, how far it reaches, and the entry through which a
//! caller gets to it.
//!
//! Owns the function list the shim gives out. Promises that a call reaches the module behind with the arguments it came with, or
//! is answered by [`Shim::pass`] instead; refuses nothing itself.

use core::ffi::c_void;

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_BBOOL, CK_BYTE, CK_FLAGS, CK_FUNCTION_LIST, CK_INFO, CK_MECHANISM,
    CK_MECHANISM_INFO, CK_MECHANISM_TYPE, CK_NOTIFY, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE,
    CK_SESSION_INFO, CK_SLOT_ID, CK_SLOT_INFO, CK_TOKEN_INFO, CK_ULONG, CK_USER_TYPE, CK_UTF8CHAR,
    CK_VERSION, CKR_FUNCTION_NOT_SUPPORTED,
};

use crate::gate::{Shim, enter};
use crate::hooks::{open_session, own_list, slot_info, slot_list, spoil_last};

/// What a function needs to be there: decides what it answers while the token is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reach {
    /// The library alone.
    Library,
    /// A token in its slot.
    Slot,
    /// A session with a token.
    Session,
}

/// Runs the module's function, or the hook that stands in front of it.
macro_rules! run {
    ($shim:ident, $function:ident, [], $($arg:ident),*) => { $function($($arg),*) };
    ($shim:ident, $function:ident, [$hook:ident], $($arg:ident),*) => {
        $hook($shim, $function, $($arg),*)
    };
}

/// Tells whether there is something between the brackets.
macro_rules! is_given {
    () => {
        false
    };
    ($($anything:tt)+) => {
        true
    };
}

/// `Reach name(arguments) sizing OUT, LENGTH by HOOK;`: the function puts octets out, and a call with OUT null only asks how many;
/// HOOK runs in front of the module's own function.
macro_rules! functions {
    ($($reach:ident $name:ident($($arg:ident: $kind:ty),*) $(sizing $out:ident, $length:ident)? $(by $hook:ident)?;)*) => {
        /// One function of the interface, by its name in the standard.
        #[expect(non_camel_case_types, reason = "the standard's own names")]
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub(crate) enum Call { $(#[doc = stringify!($name)] $name),* }

        impl Call {
            /// All of them, in the order of the standard.
            pub(crate) const ALL: [Self; COUNT] = [$(Self::$name),*];

            /// The name in the standard.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }

            /// Tells whether it puts octets out.
            pub(crate) const fn has_output(self) -> bool {
                match self { $(Self::$name => is_given!($($out)?)),* }
            }

            /// How far the call reaches.
            pub(crate) const fn reach(self) -> Reach {
                match self { $(Self::$name => Reach::$reach),* }
            }
        }

        /// How many functions there are.
        pub(crate) const COUNT: usize = [$(stringify!($name)),*].len();

        /// What `C_GetFunctionList` gives out.
        pub(crate) static LIST: CK_FUNCTION_LIST = CK_FUNCTION_LIST {
            version: CK_VERSION { major: 2, minor: 40 },
            $($name: Some(entry::$name)),*
        };

        /// A list with no function in it: what a module that is written here starts from.
        pub(crate) const EMPTY: CK_FUNCTION_LIST = CK_FUNCTION_LIST {
            version: CK_VERSION { major: 2, minor: 40 },
            $($name: None),*
        };

        #[expect(non_snake_case, reason = "the standard's own names")]
        mod entry {
            use super::*;

            $(
                pub(super) unsafe extern "C" fn $name($($arg: $kind),*) -> CK_RV {
                    let is_sizing = false $(|| $out.is_null())?;
                    let forward = |shim: &Shim| match shim.functions().$name {
                        // SAFETY: the caller promises to us what the standard wants of it, and the same arguments go to
                        // the function of the same name and type.
                        Some(function) => unsafe { run!(shim, function, [$($hook)?], $($arg),*) },
                        None => CKR_FUNCTION_NOT_SUPPORTED,
                    };
                    // SAFETY: called after the function has put octets out, so both pointers are good.
                    let spoil = || { $(unsafe { spoil_last($out, $length) })? };
                    enter(Call::$name, is_sizing, forward, spoil)
                }
            )*
        }
    };
}

functions! {
    Library C_Initialize(arguments: *mut c_void);
    Library C_Finalize(reserved: *mut c_void);
    Library C_GetInfo(info: *mut CK_INFO);
    Library C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) by own_list;
    Library C_GetSlotList(only_present: CK_BBOOL, slots: *mut CK_SLOT_ID, count: *mut CK_ULONG) by
        slot_list;
    Library C_GetSlotInfo(slot: CK_SLOT_ID, info: *mut CK_SLOT_INFO) by slot_info;
    Slot C_GetTokenInfo(slot: CK_SLOT_ID, info: *mut CK_TOKEN_INFO);
    Slot C_GetMechanismList(slot: CK_SLOT_ID, mechanisms: *mut CK_MECHANISM_TYPE, count: *mut
        CK_ULONG);
    Slot C_GetMechanismInfo(slot: CK_SLOT_ID, mechanism: CK_MECHANISM_TYPE, info: *mut
        CK_MECHANISM_INFO);
    Slot C_InitToken(slot: CK_SLOT_ID, pin: *mut CK_UTF8CHAR, pin_len: CK_ULONG, label: *mut
        CK_UTF8CHAR);
    Session C_InitPIN(session: CK_SESSION_HANDLE, pin: *mut CK_UTF8CHAR, pin_len: CK_ULONG);
    Session C_SetPIN(session: CK_SESSION_HANDLE, old: *mut CK_UTF8CHAR, old_len: CK_ULONG, new: *mut
        CK_UTF8CHAR, new_len: CK_ULONG);
    Slot C_OpenSession(slot: CK_SLOT_ID, flags: CK_FLAGS, application: *mut c_void, notify:
        CK_NOTIFY, session: *mut CK_SESSION_HANDLE) by open_session;
    Session C_CloseSession(session: CK_SESSION_HANDLE);
    Slot C_CloseAllSessions(slot: CK_SLOT_ID);
    Session C_GetSessionInfo(session: CK_SESSION_HANDLE, info: *mut CK_SESSION_INFO);
    Session C_GetOperationState(session: CK_SESSION_HANDLE, state: *mut CK_BYTE, state_len: *mut
        CK_ULONG) sizing state, state_len;
    Session C_SetOperationState(session: CK_SESSION_HANDLE, state: *mut CK_BYTE, state_len:
        CK_ULONG, encryption: CK_OBJECT_HANDLE, authentication: CK_OBJECT_HANDLE);
    Session C_Login(session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: *mut CK_UTF8CHAR, pin_len:
        CK_ULONG);
    Session C_Logout(session: CK_SESSION_HANDLE);
    Session C_CreateObject(session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG,
        object: *mut CK_OBJECT_HANDLE);
    Session C_CopyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut
        CK_ATTRIBUTE, count: CK_ULONG, copy: *mut CK_OBJECT_HANDLE);
    Session C_DestroyObject(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE);
    Session C_GetObjectSize(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, size: *mut
        CK_ULONG);
    Session C_GetAttributeValue(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut
        CK_ATTRIBUTE, count: CK_ULONG);
    Session C_SetAttributeValue(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, template: *mut
        CK_ATTRIBUTE, count: CK_ULONG);
    Session C_FindObjectsInit(session: CK_SESSION_HANDLE, template: *mut CK_ATTRIBUTE, count:
        CK_ULONG);
    Session C_FindObjects(session: CK_SESSION_HANDLE, objects: *mut CK_OBJECT_HANDLE, limit:
        CK_ULONG, count: *mut CK_ULONG);
    Session C_FindObjectsFinal(session: CK_SESSION_HANDLE);
    Session C_EncryptInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key:
        CK_OBJECT_HANDLE);
    Session C_Encrypt(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len: CK_ULONG, output:
        *mut CK_BYTE, output_len: *mut CK_ULONG) sizing output, output_len;
    Session C_EncryptUpdate(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len: CK_ULONG,
        output: *mut CK_BYTE, output_len: *mut CK_ULONG) sizing output, output_len;
    Session C_EncryptFinal(session: CK_SESSION_HANDLE, output: *mut CK_BYTE, output_len: *mut
        CK_ULONG) sizing output, output_len;
    Session C_DecryptInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key:
        CK_OBJECT_HANDLE);
    Session C_Decrypt(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len: CK_ULONG, output:
        *mut CK_BYTE, output_len: *mut CK_ULONG) sizing output, output_len;
    Session C_DecryptUpdate(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len: CK_ULONG,
        output: *mut CK_BYTE, output_len: *mut CK_ULONG) sizing output, output_len;
    Session C_DecryptFinal(session: CK_SESSION_HANDLE, output: *mut CK_BYTE, output_len: *mut
        CK_ULONG) sizing output, output_len;
    Session C_DigestInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM);
    Session C_Digest(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len: CK_ULONG, output:
        *mut CK_BYTE, output_len: *mut CK_ULONG) sizing output, output_len;
    Session C_DigestUpdate(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len: CK_ULONG);
    Session C_DigestKey(session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE);
    Session C_DigestFinal(session: CK_SESSION_HANDLE, output: *mut CK_BYTE, output_len: *mut
        CK_ULONG) sizing output, output_len;
    Session C_SignInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key:
        CK_OBJECT_HANDLE);
    Session C_Sign(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len: CK_ULONG, output: *mut
        CK_BYTE, output_len: *mut CK_ULONG) sizing output, output_len;
    Session C_SignUpdate(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len: CK_ULONG);
    Session C_SignFinal(session: CK_SESSION_HANDLE, output: *mut CK_BYTE, output_len: *mut CK_ULONG)
        sizing output, output_len;
    Session C_SignRecoverInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key:
        CK_OBJECT_HANDLE);
    Session C_SignRecover(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len: CK_ULONG,
        output: *mut CK_BYTE, output_len: *mut CK_ULONG) sizing output, output_len;
    Session C_VerifyInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key:
        CK_OBJECT_HANDLE);
    Session C_Verify(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len: CK_ULONG, signature:
        *mut CK_BYTE, signature_len: CK_ULONG);
    Session C_VerifyUpdate(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len: CK_ULONG);
    Session C_VerifyFinal(session: CK_SESSION_HANDLE, signature: *mut CK_BYTE, signature_len:
        CK_ULONG);
    Session C_VerifyRecoverInit(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, key:
        CK_OBJECT_HANDLE);
    Session C_VerifyRecover(session: CK_SESSION_HANDLE, signature: *mut CK_BYTE, signature_len:
        CK_ULONG, output: *mut CK_BYTE, output_len: *mut CK_ULONG) sizing output, output_len;
    Session C_DigestEncryptUpdate(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len:
        CK_ULONG, output: *mut CK_BYTE, output_len: *mut CK_ULONG) sizing output, output_len;
    Session C_DecryptDigestUpdate(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len:
        CK_ULONG, output: *mut CK_BYTE, output_len: *mut CK_ULONG) sizing output, output_len;
    Session C_SignEncryptUpdate(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len: CK_ULONG,
        output: *mut CK_BYTE, output_len: *mut CK_ULONG) sizing output, output_len;
    Session C_DecryptVerifyUpdate(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len:
        CK_ULONG, output: *mut CK_BYTE, output_len: *mut CK_ULONG) sizing output, output_len;
    Session C_GenerateKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, template: *mut
        CK_ATTRIBUTE, count: CK_ULONG, key: *mut CK_OBJECT_HANDLE);
    Session C_GenerateKeyPair(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, public: *mut
        CK_ATTRIBUTE, public_count: CK_ULONG, private: *mut CK_ATTRIBUTE, private_count: CK_ULONG,
        public_key: *mut CK_OBJECT_HANDLE, private_key: *mut CK_OBJECT_HANDLE);
    Session C_WrapKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, wrapping:
        CK_OBJECT_HANDLE, key: CK_OBJECT_HANDLE, output: *mut CK_BYTE, output_len: *mut CK_ULONG)
        sizing output, output_len;
    Session C_UnwrapKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, unwrapping:
        CK_OBJECT_HANDLE, wrapped: *mut CK_BYTE, wrapped_len: CK_ULONG, template: *mut CK_ATTRIBUTE,
        count: CK_ULONG, key: *mut CK_OBJECT_HANDLE);
    Session C_DeriveKey(session: CK_SESSION_HANDLE, mechanism: *mut CK_MECHANISM, base:
        CK_OBJECT_HANDLE, template: *mut CK_ATTRIBUTE, count: CK_ULONG, key: *mut CK_OBJECT_HANDLE);
    Session C_SeedRandom(session: CK_SESSION_HANDLE, seed: *mut CK_BYTE, seed_len: CK_ULONG);
    Session C_GenerateRandom(session: CK_SESSION_HANDLE, data: *mut CK_BYTE, data_len: CK_ULONG);
    Session C_GetFunctionStatus(session: CK_SESSION_HANDLE);
    Session C_CancelFunction(session: CK_SESSION_HANDLE);
    Library C_WaitForSlotEvent(flags: CK_FLAGS, slot: *mut CK_SLOT_ID, reserved: *mut c_void);
}

impl Call {
    /// Finds a function by its name in the standard.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|call| call.name() == name)
    }

    /// Its place in the function list.
    pub(crate) fn index(self) -> usize {
        usize::from(self.number())
    }

    /// Its place in the function list, as a small number.
    #[expect(clippy::as_conversions, reason = "a fieldless enum that is u8 by declaration")]
    pub(crate) const fn number(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_standards_own_and_lead_back() {
        assert_eq!(COUNT, 68);
        for (at, call) in Call::ALL.into_iter().enumerate() {
            assert_eq!(call.index(), at);
            assert_eq!(Call::named(call.name()), Some(call));
        }
        assert_eq!(Call::named("C_Sign").map(Call::reach), Some(Reach::Session));
        assert_eq!(Call::named("C_SignMessage"), None);
        assert!(Call::C_Sign.has_output() && !Call::C_SignInit.has_output());
    }
}

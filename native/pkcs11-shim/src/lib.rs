//! A PKCS#11 module in front of another one.
//!
//! It forwards every call and, as the shared state file says, delays it, lets only so many through at once, answers it with a
//! code, or keeps it waiting. The state is one file mapped by all processes: what is told once holds for all of them, and what is
//! counted is counted over all of them. `README.md` says how to use it.
//!
//! * [`C_GetFunctionList`] is the only symbol the module exports; everything else is reached through the list it gives out.
//! * [`control`] is the other side: the commands of the `pkcs11-shim` program.
//! * [`ceiling`] is a user of any module, the shim included: the loop of the `pkcs11-ceiling` program.

#![deny(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("pkcs11-shim wants 64-bit Linux: futexes, /proc, and CK_ULONG of 64 bits");

mod call_set;
mod calls;
pub mod ceiling;
mod codes;
pub mod control;
mod effect;
mod gate;
mod hexadecimal;
mod hooks;
mod module;
mod null;
mod permits;
mod profiles;
mod rules;
mod scheme;
mod sessions;
mod settings;
mod state;
mod status;

use cryptoki_sys::{CK_FUNCTION_LIST, CK_RV};

/// Gives out the shim's function list.
///
/// # Safety
///
/// `list` points to where a pointer can be written (PKCS#11 2.40, 5.4).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    match calls::LIST.C_GetFunctionList {
        // SAFETY: the caller's promise is passed on.
        Some(function) => unsafe { function(list) },
        None => cryptoki_sys::CKR_GENERAL_ERROR,
    }
}

//! The module behind the shim.

use std::path::Path;
use std::ptr;

use cryptoki_sys::{CK_FUNCTION_LIST, CK_RV, CKR_OK};
use libloading::Library;

type FunctionListGetter = unsafe extern "C" fn(*mut *mut CK_FUNCTION_LIST) -> CK_RV;

/// Loads a real module and asks it for its functions; it stays loaded for the rest of the process's life.
pub(crate) fn load(path: &Path) -> Result<&'static CK_FUNCTION_LIST, String> {
    let say = |error: libloading::Error| format!("{}: {error}", path.display());
    // SAFETY: loading runs the module's constructors, which is what whoever configured the module asked for.
    let library = Box::leak(Box::new(unsafe { Library::new(path) }.map_err(say)?));
    // SAFETY: PKCS#11 2.40, 5.4: a function of this name has this type in every module.
    let getter =
        unsafe { library.get::<FunctionListGetter>(b"C_GetFunctionList\0") }.map_err(say)?;
    let mut list = ptr::null_mut();
    // SAFETY: the pointer may be written to.
    let code = unsafe { getter(&raw mut list) };
    if code != CKR_OK || list.is_null() {
        return Err(format!("{}: C_GetFunctionList answered {code:#x}", path.display()));
    }
    // SAFETY: the module owns the list and keeps it while it is loaded.
    Ok(unsafe { &*list })
}

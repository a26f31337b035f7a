//! Null mode: a token that signs P-256 at almost no cost, with a key and a nonce that everyone knows.
//!
//! For measuring everything but the token: its signatures are valid, so every probe and check of a program stays on. Anyone can
//! forge them. It says so on standard error, in the token's information and in the slot's description.

mod ecdsa;
mod entry;
mod object;
mod pointers;
mod token;

use std::sync::{Mutex, OnceLock};

use cryptoki_sys::CK_FUNCTION_LIST;

use crate::settings::NullSettings;
#[cfg(test)]
pub(crate) use ecdsa::PUBLIC_POINT;
use token::Token;

/// The one token of this process.
static TOKEN: OnceLock<Mutex<Token>> = OnceLock::new();

const WARNING: &str =
    "NULL MODE: the key and the nonce of every signature are published; anyone can forge them";

/// Makes the token and returns its functions.
pub(crate) fn install(settings: NullSettings) -> &'static CK_FUNCTION_LIST {
    crate::gate::complain(WARNING);
    TOKEN.get_or_init(|| Mutex::new(Token::new(settings)));
    &entry::LIST
}

//! What a state file was created for: the text at its start.
//!
//! Lines of `name=value`, padded with NUL. The first line says which program and layout wrote it; a file of another layout is
//! refused.

use std::path::PathBuf;

/// Octets the text may take, NULs included.
pub(crate) const SETTINGS_OCTETS: usize = 4096;

const FIRST_LINE: &str = "pkcs11-shim=1";

/// What stands behind the shim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Settings {
    /// The real module of this path.
    Module(PathBuf),
}

impl Settings {
    /// Writes the text, padded.
    pub(crate) fn write(&self) -> Result<Vec<u8>, String> {
        let Self::Module(path) = self;
        let mut text = format!("{FIRST_LINE}\nmodule={}\n", path.display()).into_bytes();
        if text.len() > SETTINGS_OCTETS {
            return Err("the path of the module is too long for a state file".to_owned());
        }
        text.resize(SETTINGS_OCTETS, 0);
        Ok(text)
    }

    /// Reads the text back.
    pub(crate) fn read(text: &[u8]) -> Result<Self, String> {
        let text =
            core::str::from_utf8(text).map_err(|_| NOT_OURS.to_owned())?.trim_end_matches('\0');
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return Err(NOT_OURS.to_owned());
        }
        match lines.next().and_then(|line| line.split_once('=')) {
            Some(("module", path)) => Ok(Self::Module(PathBuf::from(path))),
            _ => Err(NOT_OURS.to_owned()),
        }
    }
}

const NOT_OURS: &str = "no state file of this version; make one with `pkcs11-shim STATE create …`";

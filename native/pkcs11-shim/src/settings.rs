//! What a state file was created for: the text at its start.
//!
//! Lines of `name=value`, padded with NUL. The first line says which program and layout wrote it; a file of another layout is
//! refused.

use core::fmt::Write;
use std::path::PathBuf;

use crate::hexadecimal::{read_hexadecimal, write_hexadecimal};

/// Octets the text may take, NULs included.
pub(crate) const SETTINGS_OCTETS: usize = 4096;

const FIRST_LINE: &str = "pkcs11-shim=1";

/// What stands behind the shim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Settings {
    /// The real module of this path.
    Module(PathBuf),
    /// None: null mode.
    Null(NullSettings),
}

/// The token of null mode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NullSettings {
    /// At most 32 octets.
    pub(crate) label: String,
    /// Names of the one key there is.
    pub(crate) keys: Vec<NullKey>,
}

/// A name under which the null token shows its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NullKey {
    pub(crate) label: String,
    pub(crate) id: Vec<u8>,
}

impl NullKey {
    /// Reads `LABEL:ID`, the identifier in hexadecimal.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (label, id) = text.rsplit_once(':')?;
        let id = read_hexadecimal(id)?;
        let is_plain = !label.is_empty() && !label.contains(char::is_control);
        is_plain.then(|| Self { label: label.to_owned(), id })
    }

    fn write(&self) -> String {
        format!("{}:{}", self.label, write_hexadecimal(&self.id))
    }
}

impl Settings {
    /// Writes the text, padded.
    pub(crate) fn write(&self) -> Result<Vec<u8>, String> {
        let mut text = format!("{FIRST_LINE}\n");
        match self {
            Self::Module(path) => {
                let _ = writeln!(text, "module={}", path.display());
            }
            Self::Null(null) => {
                let _ = writeln!(text, "null={}", null.label);
                for key in &null.keys {
                    let _ = writeln!(text, "key={}", key.write());
                }
            }
        }
        let mut text = text.into_bytes();
        if text.len() > SETTINGS_OCTETS {
            return Err(format!(
                "names of more than {SETTINGS_OCTETS} octets do not fit a state file"
            ));
        }
        text.resize(SETTINGS_OCTETS, 0);
        Ok(text)
    }

    /// Reads the text back.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let text = core::str::from_utf8(text).ok()?.trim_end_matches('\0');
        let mut lines = text.strip_prefix(FIRST_LINE)?.trim_start().lines();
        match lines.next()?.split_once('=')? {
            ("module", path) => Some(Self::Module(PathBuf::from(path))),
            ("null", label) => {
                let keys = lines.map(|line| NullKey::read(line.strip_prefix("key=")?));
                let keys = keys.collect::<Option<Vec<_>>>()?;
                Some(Self::Null(NullSettings { label: label.to_owned(), keys }))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_they_were_written() {
        let keys = vec![
            NullKey { label: "signing:2026".to_owned(), id: vec![0x0a, 0xff] },
            NullKey { label: "audit".to_owned(), id: vec![0] },
        ];
        for settings in [
            Settings::Module(PathBuf::from("/usr/lib/a module=b.so")),
            Settings::Null(NullSettings { label: "a = b".to_owned(), keys }),
            Settings::Null(NullSettings { label: "null".to_owned(), keys: vec![] }),
        ] {
            let text = settings.write().unwrap();
            assert_eq!(text.len(), SETTINGS_OCTETS);
            assert_eq!(Settings::read(&text), Some(settings));
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "pkcs11-shim=2\nmodule=a\n", "pkcs11-shim=1\n", "pkcs11-shim=1\nother=a\n"]
        {
            assert_eq!(Settings::read(text.as_bytes()), None);
        }
        assert!(Settings::Module(PathBuf::from("m".repeat(SETTINGS_OCTETS))).write().is_err());
    }

    #[test]
    fn a_key_has_a_label_and_an_identifier() {
        assert!(NullKey::read("signing:01").is_some());
        for text in ["signing", "signing:", ":01", "signing:0", "signing:0g", "sig\nning:01"] {
            assert_eq!(NullKey::read(text), None, "{text:?}");
        }
    }
}

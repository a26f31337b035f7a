//! Writes the seeds of `verify` and `message`: `cargo run --example seeds FOLDER`, the folder of all seeds. Signatures are never the same twice; what they sign is.

use std::io::Result;
use std::path::PathBuf;

use xmldsig_fuzz::vectors;

fn main() -> Result<()> {
    let folder: PathBuf = std::env::args_os().skip(1).collect();
    for (target, known) in [("verify", vectors::known()), ("message", vectors::messages())] {
        for (name, octets) in known {
            std::fs::write(folder.join(target).join(format!("{name}.xml")), octets)?;
        }
    }
    Ok(())
}

//! Writes the seeds of `verify`: `cargo run --example seeds FOLDER`. Signatures are never the same twice; what they sign is.

use std::io::Result;
use std::path::PathBuf;

use xmldsig_fuzz::vectors;

fn main() -> Result<()> {
    let folder: PathBuf = std::env::args_os().skip(1).collect();
    vectors::known()
        .iter()
        .try_for_each(|(name, vector)| std::fs::write(folder.join(format!("{name}.xml")), vector))
}

//! `pkcs11-shim STATE COMMAND …`: the control of the shim, one command a run. Exit status 2 and one sentence when it is refused.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::{env, io};

use pkcs11_shim::control;

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        [] | ["-h" | "--help", ..] | [_] => Ok(control::HELP.trim_end().to_owned()),
        [state, command @ ..] => control::run(Path::new(state), command),
    };
    match outcome {
        Ok(text) if text.is_empty() => ExitCode::SUCCESS,
        Ok(text) => match writeln!(io::stdout(), "{text}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(sentence) => {
            let _ = writeln!(io::stderr(), "pkcs11-shim: {sentence}");
            ExitCode::from(2)
        }
    }
}

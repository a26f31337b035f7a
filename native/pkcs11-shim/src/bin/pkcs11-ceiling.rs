//! `pkcs11-ceiling MODULE TOKEN KEY SCHEME THREADS SECONDS`: how fast a token signs when nothing stands in the way.
//!
//! Exit status 2 when the words or the module are wrong, 3 when the token refuses.

use std::io::Write;
use std::process::ExitCode;
use std::{env, io};

use pkcs11_shim::ceiling::{self, Failure};

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if matches!(words.as_slice(), [] | ["-h" | "--help", ..]) {
        let _ = write!(io::stdout(), "{}", ceiling::HELP);
        return ExitCode::SUCCESS;
    }
    let Err(failure) = ceiling::run(&words, &mut io::stdin().lock(), &mut io::stdout()) else {
        return ExitCode::SUCCESS;
    };
    if let Failure::Token(..) = failure {
        let _ = writeln!(io::stdout(), "{failure}");
        return ExitCode::from(3);
    }
    let _ = writeln!(io::stderr(), "pkcs11-ceiling: {failure}");
    ExitCode::from(2)
}

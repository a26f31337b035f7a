//! How fast a token signs when nothing stands in the way: several threads of one process, locks enabled, two calls a signature.
//!
//! What it measures is the ceiling of any program on that token and machine. The loop allocates nothing, and asks for no size.

use core::fmt;
use core::time::Duration;
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use cryptoki_sys::{
    CK_ATTRIBUTE, CK_C_INITIALIZE_ARGS, CK_FUNCTION_LIST, CK_MECHANISM, CK_OBJECT_HANDLE, CK_RV,
    CK_SESSION_HANDLE, CK_SLOT_ID, CK_TOKEN_INFO, CK_TRUE, CK_ULONG, CKA_CLASS, CKA_ID,
    CKF_OS_LOCKING_OK, CKF_SERIAL_SESSION, CKO_PRIVATE_KEY, CKR_FUNCTION_NOT_SUPPORTED, CKR_OK,
    CKU_USER,
};

use crate::codes::write_code;
use crate::hexadecimal::{read_hexadecimal, write_hexadecimal};
use crate::module;
use crate::scheme::{DIGEST, Scheme, point_to};

/// What `pkcs11-ceiling --help` prints.
pub const HELP: &str = "\
pkcs11-ceiling MODULE TOKEN KEY SCHEME THREADS SECONDS <PIN-FILE

Signs as fast as the token can, with THREADS threads and a session each, for SECONDS. TOKEN is a label, KEY a CKA_ID in hexadecimal,
SCHEME one of pkcs1, pss (both RSA with SHA-256) and ecdsa. The PIN is the first line of standard input. Says `ready` and a first
signature (of 32 octets 5a) in hexadecimal once every thread has its key, waits for one more line, and says `done`, the number of
signatures and the seconds. A module that hangs ends it a minute later than asked. `failed` with the function and its code, and exit status 3, when the token refuses.
";

/// Room for a signature: RSA-4096.
const SIGNATURE_OCTETS: usize = 512;

/// What a module may take beside the signatures before the kernel ends the program: a call that hangs cannot be cancelled.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why nothing was measured.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// Whoever started the program has to change something.
    Usage(String),
    /// A function of the module answered with a code.
    Token(&'static str, CK_RV),
    /// Nobody listens any more.
    Output,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(sentence) => formatter.write_str(sentence),
            Self::Token(function, code) => {
                write!(formatter, "failed {function} {}", write_code(*code))
            }
            Self::Output => formatter.write_str("nobody listens"),
        }
    }
}

/// Measures what `words` ask for.
///
/// # Errors
///
/// The words are no request, the module cannot be loaded, or the token refuses.
pub fn run(
    words: &[&str],
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> Result<(), Failure> {
    let request = Request::read(words)?;
    let pin = read_line(input);
    end_after(request.duration + PATIENCE);
    let functions = module::load(Path::new(request.module)).map_err(Failure::Usage)?;
    let sessions = Client(functions).open(&request, pin.as_bytes())?;
    let signature = sessions.first().map_or(Ok(vec![]), Session::sign_once)?;
    say(output, &format!("ready {}", write_hexadecimal(&signature)))?;
    read_line(input);
    let (signatures, seconds) = measure(&sessions, request.duration)?;
    say(output, &format!("done {signatures} {seconds:.6}"))
}

/// What is asked for.
struct Request<'a> {
    module: &'a str,
    token: &'a str,
    key: Vec<u8>,
    scheme: Scheme,
    threads: u8,
    duration: Duration,
}

impl<'a> Request<'a> {
    fn read(words: &[&'a str]) -> Result<Self, Failure> {
        let usage = |sentence: &str| Failure::Usage(format!("{sentence}; see --help"));
        let [module, token, key, scheme, threads, seconds] = words else {
            return Err(usage("six words are wanted"));
        };
        let seconds = seconds.parse().ok().filter(|seconds| (0.0..=3600.0).contains(seconds));
        let seconds = seconds.ok_or_else(|| usage("SECONDS is a number up to 3600"))?;
        let threads = threads.parse().ok().filter(|threads| *threads > 0);
        Ok(Self {
            module,
            token,
            key: read_hexadecimal(key).ok_or_else(|| usage("KEY is hexadecimal"))?,
            scheme: Scheme::named(scheme).ok_or_else(|| usage("there is no such SCHEME"))?,
            threads: threads.ok_or_else(|| usage("THREADS is from 1 to 255"))?,
            duration: Duration::from_secs_f64(seconds),
        })
    }
}

/// Calls a function of the module and turns any code but `CKR_OK` into a failure that names it.
macro_rules! ask {
    ($list:expr, $function:ident($($argument:expr),*)) => {
        match $list.$function {
            // SAFETY: every pointer among the arguments comes from a reference or slice that outlives the call, and stands with
            // its own length; no function is called that keeps one.
            Some(function) => match unsafe { function($($argument),*) } {
                CKR_OK => Ok(()),
                code => Err(Failure::Token(stringify!($function), code)),
            },
            None => Err(Failure::Token(stringify!($function), CKR_FUNCTION_NOT_SUPPORTED)),
        }
    };
}

/// A user of the module, before it has a session.
struct Client(&'static CK_FUNCTION_LIST);

impl Client {
    /// Initialises the module with locks, logs in, and opens as many sessions as there will be threads, one after the other.
    fn open(&self, request: &Request<'_>, pin: &[u8]) -> Result<Vec<Session>, Failure> {
        let mut arguments =
            CK_C_INITIALIZE_ARGS { flags: CKF_OS_LOCKING_OK, ..CK_C_INITIALIZE_ARGS::default() };
        ask!(self.0, C_Initialize((&raw mut arguments).cast()))?;
        let slot = self.find_slot(request.token)?;
        let mut sessions = Vec::new();
        for thread in 0..request.threads {
            let mut handle = 0;
            ask!(
                self.0,
                C_OpenSession(
                    slot,
                    CKF_SERIAL_SESSION,
                    core::ptr::null_mut(),
                    None,
                    &raw mut handle
                )
            )?;
            if thread == 0 {
                let mut pin = pin.to_vec();
                ask!(self.0, C_Login(handle, CKU_USER, pin.as_mut_ptr(), number(pin.len())))?;
            }
            let key = self.find_key(handle, &request.key)?;
            let (functions, scheme) = (self.0, request.scheme);
            sessions.push(Session { functions, handle, key, scheme });
        }
        Ok(sessions)
    }

    fn find_slot(&self, label: &str) -> Result<CK_SLOT_ID, Failure> {
        let mut slots = [0; 64];
        let mut count = number(slots.len());
        ask!(self.0, C_GetSlotList(CK_TRUE, slots.as_mut_ptr(), &raw mut count))?;
        for slot in slots.into_iter().take(usize::try_from(count).unwrap_or(0)) {
            let mut info = CK_TOKEN_INFO::default();
            ask!(self.0, C_GetTokenInfo(slot, &raw mut info))?;
            if info.label.trim_ascii_end() == label.as_bytes() {
                return Ok(slot);
            }
        }
        Err(Failure::Usage(format!("no slot holds a token labelled `{label}`")))
    }

    fn find_key(&self, session: CK_SESSION_HANDLE, id: &[u8]) -> Result<CK_OBJECT_HANDLE, Failure> {
        let (mut class, mut id) = (CKO_PRIVATE_KEY, id.to_vec());
        let class_len = number(size_of_val(&class));
        let (class, id_len) = ((&raw mut class).cast(), number(id.len()));
        let mut template = [
            CK_ATTRIBUTE { type_: CKA_CLASS, pValue: class, ulValueLen: class_len },
            CK_ATTRIBUTE { type_: CKA_ID, pValue: id.as_mut_ptr().cast(), ulValueLen: id_len },
        ];
        ask!(self.0, C_FindObjectsInit(session, template.as_mut_ptr(), number(template.len())))?;
        let (mut key, mut count) = (0, 0);
        ask!(self.0, C_FindObjects(session, &raw mut key, 1, &raw mut count))?;
        ask!(self.0, C_FindObjectsFinal(session))?;
        match count {
            0 => Err(Failure::Usage("the token has no private key of this CKA_ID".to_owned())),
            _ => Ok(key),
        }
    }
}

/// One thread's session, with its key.
#[derive(Clone, Copy)]
struct Session {
    functions: &'static CK_FUNCTION_LIST,
    handle: CK_SESSION_HANDLE,
    key: CK_OBJECT_HANDLE,
    scheme: Scheme,
}

impl Session {
    fn sign_once(&self) -> Result<Vec<u8>, Failure> {
        let mut signature = None;
        self.sign_until(|made| {
            signature = Some(made.to_vec());
            false
        })?;
        Ok(signature.unwrap_or_default())
    }

    /// Signs while `is_wanted` says so of the last signature; returns how many were made.
    fn sign_until(&self, mut is_wanted: impl FnMut(&[u8]) -> bool) -> Result<u64, Failure> {
        let mut parameters = self.scheme.parameters();
        let (parameter, parameter_len) = point_to(parameters.as_mut());
        let mut mechanism = CK_MECHANISM {
            mechanism: self.scheme.mechanism(),
            pParameter: parameter,
            ulParameterLen: parameter_len,
        };
        let mut payload = self.scheme.payload(DIGEST);
        let mut signature = [0; SIGNATURE_OCTETS];
        let mut signatures = 0;
        loop {
            let mut length = number(signature.len());
            ask!(self.functions, C_SignInit(self.handle, &raw mut mechanism, self.key))?;
            ask!(
                self.functions,
                C_Sign(
                    self.handle,
                    payload.as_mut_ptr(),
                    number(payload.len()),
                    signature.as_mut_ptr(),
                    &raw mut length
                )
            )?;
            signatures += 1;
            let length = usize::try_from(length).unwrap_or(0);
            if !is_wanted(signature.get(..length).unwrap_or_default()) {
                return Ok(signatures);
            }
        }
    }
}

/// Lets every session sign at once for so long; returns the signatures and the seconds they took.
fn measure(sessions: &[Session], duration: Duration) -> Result<(u64, f64), Failure> {
    let barrier = Barrier::new(sessions.len());
    let counts = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for session in sessions {
            scope.spawn(|| {
                barrier.wait();
                let begun = Instant::now();
                let signatures = session.sign_until(|_| begun.elapsed() < duration);
                let count = signatures.map(|signatures| (signatures, begun.elapsed()));
                counts.lock().unwrap_or_else(PoisonError::into_inner).push(count);
            });
        }
    });
    let counts = counts.into_inner().unwrap_or_else(PoisonError::into_inner);
    let counts = counts.into_iter().collect::<Result<Vec<_>, _>>()?;
    let seconds = counts.iter().map(|(_, elapsed)| elapsed.as_secs_f64()).fold(0.0, f64::max);
    Ok((counts.iter().map(|(signatures, _)| signatures).sum(), seconds))
}

/// Has the kernel end the program (SIGALRM) if it still runs then.
fn end_after(duration: Duration) {
    let seconds = u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    // SAFETY: takes a number and changes no memory of ours.
    unsafe { libc::alarm(seconds) };
}

fn number(length: usize) -> CK_ULONG {
    CK_ULONG::try_from(length).unwrap_or(CK_ULONG::MAX)
}

fn read_line(input: &mut impl BufRead) -> String {
    let mut line = String::new();
    // A line that cannot be read is a PIN that is refused, or a start that does not wait.
    let _ = input.read_line(&mut line);
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    line
}

fn say(output: &mut impl Write, line: &str) -> Result<(), Failure> {
    writeln!(output, "{line}").and_then(|()| output.flush()).map_err(|_| Failure::Output)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{Digest, SHA256};
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;
    use crate::null;
    use crate::settings::{NullKey, NullSettings};

    #[test]
    fn every_thread_signs_with_the_key_that_was_named() {
        let keys = vec![
            NullKey { label: "other".to_owned(), id: vec![1] },
            NullKey { label: "signing".to_owned(), id: vec![0x0a] },
        ];
        let functions = null::install(NullSettings { label: "null".to_owned(), keys });
        let words = ["/module.so", "null", "0a", "ecdsa", "3", "0"];
        let sessions = Client(functions).open(&Request::read(&words).unwrap(), b"any").unwrap();
        assert_eq!(sessions.iter().map(|session| session.key).collect::<Vec<_>>(), [3, 3, 3]);
        let signature = sessions[1].sign_once().unwrap();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, null::PUBLIC_POINT);
        let digest = Digest::import_less_safe(&DIGEST, &SHA256).unwrap();
        assert!(key.verify_digest(&digest, &signature).is_ok());
        let (signatures, _) = measure(&sessions, Duration::ZERO).unwrap();
        assert_eq!(signatures, 3);
    }

    #[test]
    fn other_words_are_no_request() {
        let right = ["/module.so", "token", "0a", "pss", "2", "1"];
        assert!(Request::read(&right).is_ok());
        assert!(Request::read(&right[..5]).is_err());
        for (place, wrong) in [(2, "a"), (3, "rsa"), (4, "0"), (4, "256"), (5, "-1"), (5, "nan")] {
            let mut words = right;
            words[place] = wrong;
            assert!(Request::read(&words).is_err(), "{wrong}");
        }
    }
}

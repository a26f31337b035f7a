//! What every call goes through.
//!
//! Owns the order: rules first (hang, then fail), then a permit and the delay, then whether the token is there and the sessions
//! still hold, then the module behind. A call that only asks for a size is neither delayed nor limited: client libraries answer it
//! themselves.

use core::sync::atomic::Ordering::SeqCst;
use core::time::Duration;
use std::io::Write;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::{env, io, thread};

use cryptoki_sys::{
    CK_FUNCTION_LIST, CK_RV, CKR_DEVICE_REMOVED, CKR_GENERAL_ERROR, CKR_OK, CKR_TOKEN_NOT_PRESENT,
};

use crate::calls::{Call, Reach};
use crate::effect::Effect;
use crate::module;
use crate::null;
use crate::sessions::Sessions;
use crate::settings::Settings;
use crate::state::Shared;

/// Names the state file, which says the rest.
pub(crate) const STATE_VARIABLE: &str = "PKCS11_SHIM_STATE";

/// The shim of this process: the shared state and the module behind.
pub(crate) struct Shim {
    shared: &'static Shared,
    functions: &'static CK_FUNCTION_LIST,
    sessions: Sessions,
}

/// What the rules have in store for a call that goes on.
#[derive(Default)]
struct Orders {
    delay: Duration,
    is_spoilt: bool,
}

/// Takes a call through the shim of this process, which is set up by the first one.
pub(crate) fn enter(
    call: Call,
    is_sizing: bool,
    forward: impl FnOnce(&Shim) -> CK_RV,
    spoil: impl FnOnce(),
) -> CK_RV {
    static SHIM: OnceLock<Option<Shim>> = OnceLock::new();
    match SHIM.get_or_init(|| Shim::load().map_err(|error| complain(&error)).ok()) {
        Some(shim) => shim.pass(call, is_sizing, forward, spoil),
        None => CKR_GENERAL_ERROR,
    }
}

impl Shim {
    fn load() -> Result<Self, String> {
        let path = env::var_os(STATE_VARIABLE).map(PathBuf::from).ok_or_else(|| {
            format!("{STATE_VARIABLE} must name a state file made by `pkcs11-shim STATE create …`")
        })?;
        let (settings, shared) = Shared::open(&path)?;
        let functions = match settings {
            Settings::Module(path) => module::load(&path)?,
            Settings::Null(settings) => null::install(settings),
        };
        Ok(Self::new(shared, functions))
    }

    pub(crate) fn new(shared: &'static Shared, functions: &'static CK_FUNCTION_LIST) -> Self {
        Self { shared, functions, sessions: Sessions::new(shared) }
    }

    /// The functions of the module behind.
    pub(crate) fn functions(&self) -> &CK_FUNCTION_LIST {
        self.functions
    }

    /// Tells whether the token is gone.
    pub(crate) fn is_absent(&self) -> bool {
        self.shared.is_absent()
    }

    /// What this process knows of its sessions.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Takes one call through; `forward` is what the module behind does with it, and `spoil` harms what it has put out.
    pub(crate) fn pass(
        &self,
        call: Call,
        is_sizing: bool,
        forward: impl FnOnce(&Self) -> CK_RV,
        spoil: impl FnOnce(),
    ) -> CK_RV {
        let counters = self.shared.counters(call);
        counters.entered.fetch_add(1, SeqCst);
        let answer = self.obey_rules(call, is_sizing).and_then(|orders| {
            let _permit = (!is_sizing).then(|| self.shared.permits.acquire(call));
            if !orders.delay.is_zero() {
                thread::sleep(orders.delay);
            }
            self.check_presence(call)?;
            self.sessions.follow(self.shared, self.functions);
            let code = forward(self);
            if orders.is_spoilt && code == CKR_OK {
                spoil();
            }
            Ok(code)
        });
        match answer {
            Ok(code) => {
                if code == CKR_OK && !is_sizing {
                    counters.done.fetch_add(1, SeqCst);
                }
                code
            }
            Err(code) => {
                counters.injected.fetch_add(1, SeqCst);
                code
            }
        }
    }

    /// Returns what else is to be done with the call, or the code it is answered with.
    fn obey_rules(&self, call: Call, is_sizing: bool) -> Result<Orders, CK_RV> {
        let mut orders = Orders::default();
        for met in self.shared.meet(call, is_sizing) {
            match met.effect {
                Effect::Fail(code) => return Err(code),
                Effect::Hang(duration) => {
                    self.shared.counters(call).hung.fetch_add(1, SeqCst);
                    met.hang(duration);
                }
                Effect::Spoil => orders.is_spoilt = true,
                latency => orders.delay += latency.delay(|| self.shared.draw()),
            }
        }
        Ok(orders)
    }

    fn check_presence(&self, call: Call) -> Result<(), CK_RV> {
        match call.reach() {
            Reach::Slot if self.is_absent() => Err(CKR_TOKEN_NOT_PRESENT),
            Reach::Session if self.is_absent() => Err(CKR_DEVICE_REMOVED),
            _ => Ok(()),
        }
    }
}

/// Says on standard error why nothing works: a module has no other place for it, and a code says nothing.
pub(crate) fn complain(sentence: &str) {
    let _ = writeln!(io::stderr(), "pkcs11-shim: {sentence}");
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;

    use super::*;
    use crate::call_set::CallSet;
    use crate::calls::LIST;
    use crate::rules::{CERTAIN, FOREVER, Rule};
    use crate::state::tests::make_state;

    fn make_shim(name: &str) -> Shim {
        let (path, shared) = make_state(name);
        fs::remove_file(path).unwrap();
        Shim::new(shared, &LIST)
    }

    fn arm(shim: &Shim, effect: Effect) {
        let calls = CallSet::all();
        shim.shared.arm(Rule { calls, effect, times: FOREVER, chance: CERTAIN }).unwrap();
    }

    fn counted(shim: &Shim, call: Call) -> [u64; 4] {
        let counters = shim.shared.counters(call);
        [&counters.entered, &counters.injected, &counters.hung, &counters.done]
            .map(|counter| counter.load(SeqCst))
    }

    #[test]
    fn a_call_reaches_the_module_and_is_counted() {
        let shim = make_shim("reaches");
        for (is_sizing, code) in [(false, CKR_OK), (true, CKR_OK), (false, 0x91)] {
            assert_eq!(shim.pass(Call::C_Sign, is_sizing, |_| code, || ()), code);
        }
        assert_eq!(counted(&shim, Call::C_Sign), [3, 0, 0, 1]);
        assert_eq!(counted(&shim, Call::C_SignInit), [0; 4]);
    }

    #[test]
    fn a_call_that_fails_never_reaches_the_module() {
        let shim = make_shim("fails");
        arm(&shim, Effect::Fail(0x30));
        assert_eq!(shim.pass(Call::C_Initialize, false, |_| unreachable!(), || ()), 0x30);
        assert_eq!(counted(&shim, Call::C_Initialize), [1, 1, 0, 0]);
    }

    #[test]
    fn a_call_may_hang_and_then_fail() {
        let shim = make_shim("hangs");
        arm(&shim, Effect::Hang(Some(Duration::from_millis(1))));
        arm(&shim, Effect::Fail(0x30));
        assert_eq!(shim.pass(Call::C_Sign, true, |_| unreachable!(), || ()), 0x30);
        assert_eq!(counted(&shim, Call::C_Sign), [1, 1, 1, 0]);
    }

    #[test]
    fn only_the_library_answers_while_the_token_is_gone() {
        let shim = make_shim("absent");
        shim.shared.remove();
        for call in Call::ALL {
            let reached = Cell::new(false);
            let reach = |_: &Shim| {
                reached.set(true);
                CKR_OK
            };
            let code = shim.pass(call, false, reach, || ());
            let expected = match call.reach() {
                Reach::Library => CKR_OK,
                Reach::Slot => CKR_TOKEN_NOT_PRESENT,
                Reach::Session => CKR_DEVICE_REMOVED,
            };
            assert_eq!((code, reached.get()), (expected, code == CKR_OK));
        }
        shim.shared.put_back();
        assert_eq!(shim.pass(Call::C_Sign, false, |_| CKR_OK, || ()), CKR_OK);
    }

    #[test]
    fn asking_for_a_size_takes_no_permit() {
        let shim = make_shim("sizes");
        shim.shared.permits.limit(CallSet::all(), 1);
        let ask = |shim: &Shim| {
            assert_eq!(shim.shared.permits.read().1, 1);
            CKR_OK
        };
        let sign = |shim: &Shim| shim.pass(Call::C_Sign, true, ask, || ());
        assert_eq!(shim.pass(Call::C_Sign, false, sign, || ()), CKR_OK);
        assert_eq!(shim.shared.permits.read().1, 0);
    }

    #[test]
    fn only_what_was_put_out_is_spoilt() {
        let shim = make_shim("spoils");
        arm(&shim, Effect::Spoil);
        let spoilt = Cell::new(0);
        for (is_sizing, code) in [(false, CKR_OK), (true, CKR_OK), (false, 0x91)] {
            shim.pass(Call::C_Sign, is_sizing, |_| code, || spoilt.set(spoilt.get() + 1));
        }
        assert_eq!(spoilt.get(), 1);
    }
}

//! Sessions that are dropped from outside.
//!
//! Owns the record of slots on which this process has opened sessions. Promises that after [`Shared::drop_sessions`] the module
//! behind has closed them all, login included, before the process's next call reaches it: so the module itself answers
//! `CKR_SESSION_HANDLE_INVALID` for every handle of before.

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use cryptoki_sys::{CK_FUNCTION_LIST, CK_SLOT_ID};

use crate::state::Shared;

/// What this process knows of its sessions.
pub(crate) struct Sessions {
    /// The epoch up to which they were dropped.
    seen: AtomicU64,
    slots: Mutex<BTreeSet<CK_SLOT_ID>>,
}

impl Sessions {
    /// Sessions are only dropped from now on.
    pub(crate) fn new(shared: &Shared) -> Self {
        Self { seen: AtomicU64::new(shared.epoch.load(SeqCst)), slots: Mutex::default() }
    }

    /// Remembers a slot on which a session was opened.
    pub(crate) fn remember(&self, slot: CK_SLOT_ID) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).insert(slot);
    }

    /// Closes every session if they were dropped since this was last asked.
    pub(crate) fn follow(&self, shared: &Shared, functions: &CK_FUNCTION_LIST) {
        if self.seen.load(SeqCst) == shared.epoch.load(SeqCst) {
            return;
        }
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = shared.epoch.load(SeqCst);
        for slot in core::mem::take(&mut *slots) {
            if let Some(close) = functions.C_CloseAllSessions {
                // SAFETY: the function takes a number. What it answers does not matter: either way no session is left.
                unsafe { close(slot) };
            }
        }
        self.seen.store(epoch, SeqCst);
    }
}

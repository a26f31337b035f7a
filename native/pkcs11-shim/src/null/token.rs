//! The null token itself: sessions, a login, objects that stand for one key. No pointers here; `entry` converts.
//!
//! Promises the manners of a token: private objects are seen and used only after a login, which ends with the last session; one
//! operation at a time per session. Any PIN is right.

use std::collections::BTreeMap;

use cryptoki_sys::{
    CK_ATTRIBUTE_TYPE, CK_FLAGS, CK_MECHANISM_TYPE, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE,
    CK_STATE, CK_ULONG, CK_USER_TYPE, CKF_RW_SESSION, CKF_SERIAL_SESSION, CKM_ECDSA,
    CKR_DATA_LEN_RANGE, CKR_KEY_HANDLE_INVALID, CKR_KEY_TYPE_INCONSISTENT, CKR_MECHANISM_INVALID,
    CKR_OBJECT_HANDLE_INVALID, CKR_OPERATION_ACTIVE, CKR_OPERATION_NOT_INITIALIZED,
    CKR_SESSION_HANDLE_INVALID, CKR_SESSION_PARALLEL_NOT_SUPPORTED, CKR_USER_ALREADY_LOGGED_IN,
    CKR_USER_NOT_LOGGED_IN, CKR_USER_TYPE_INVALID, CKS_RO_PUBLIC_SESSION, CKS_RO_USER_FUNCTIONS,
    CKS_RW_PUBLIC_SESSION, CKS_RW_USER_FUNCTIONS, CKU_USER,
};

use super::ecdsa::{FIELD_OCTETS, sign};
use super::object::Object;
use crate::settings::NullSettings;

/// An outcome, or the code that says why there is none.
pub(super) type Answer<T> = Result<T, CK_RV>;

/// The token.
pub(super) struct Token {
    settings: NullSettings,
    sessions: BTreeMap<CK_SESSION_HANDLE, Session>,
    opened: CK_SESSION_HANDLE,
    is_logged_in: bool,
    /// Between `C_Initialize` and `C_Finalize`.
    pub(super) is_initialized: bool,
}

/// One session and the operations active in it.
struct Session {
    flags: CK_FLAGS,
    found: Option<Vec<CK_OBJECT_HANDLE>>,
    is_signing: bool,
}

impl Token {
    pub(super) const fn new(settings: NullSettings) -> Self {
        Self {
            settings,
            sessions: BTreeMap::new(),
            opened: 0,
            is_logged_in: false,
            is_initialized: false,
        }
    }

    pub(super) const fn settings(&self) -> &NullSettings {
        &self.settings
    }

    pub(super) fn session_count(&self) -> CK_ULONG {
        CK_ULONG::try_from(self.sessions.len()).unwrap_or(CK_ULONG::MAX)
    }

    pub(super) fn open(&mut self, flags: CK_FLAGS) -> Answer<CK_SESSION_HANDLE> {
        if flags & CKF_SERIAL_SESSION == 0 {
            return Err(CKR_SESSION_PARALLEL_NOT_SUPPORTED);
        }
        self.opened += 1;
        let session = Session { flags, found: None, is_signing: false };
        self.sessions.insert(self.opened, session);
        Ok(self.opened)
    }

    pub(super) fn close(&mut self, session: CK_SESSION_HANDLE) -> Answer<()> {
        self.sessions.remove(&session).ok_or(CKR_SESSION_HANDLE_INVALID)?;
        self.is_logged_in &= !self.sessions.is_empty();
        Ok(())
    }

    pub(super) fn close_all(&mut self) {
        self.sessions.clear();
        self.is_logged_in = false;
    }

    /// State and flags of a session.
    pub(super) fn session_info(
        &mut self,
        session: CK_SESSION_HANDLE,
    ) -> Answer<(CK_STATE, CK_FLAGS)> {
        let is_logged_in = self.is_logged_in;
        let flags = self.session(session)?.flags;
        let state = match (flags & CKF_RW_SESSION != 0, is_logged_in) {
            (false, false) => CKS_RO_PUBLIC_SESSION,
            (false, true) => CKS_RO_USER_FUNCTIONS,
            (true, false) => CKS_RW_PUBLIC_SESSION,
            (true, true) => CKS_RW_USER_FUNCTIONS,
        };
        Ok((state, flags))
    }

    pub(super) fn log_in(&mut self, session: CK_SESSION_HANDLE, user: CK_USER_TYPE) -> Answer<()> {
        self.session(session)?;
        if user != CKU_USER {
            return Err(CKR_USER_TYPE_INVALID);
        }
        if self.is_logged_in {
            return Err(CKR_USER_ALREADY_LOGGED_IN);
        }
        self.is_logged_in = true;
        Ok(())
    }

    pub(super) fn log_out(&mut self, session: CK_SESSION_HANDLE) -> Answer<()> {
        self.session(session)?;
        if !self.is_logged_in {
            return Err(CKR_USER_NOT_LOGGED_IN);
        }
        self.is_logged_in = false;
        Ok(())
    }

    /// Starts a search for objects with all these attributes.
    pub(super) fn find_init(
        &mut self,
        session: CK_SESSION_HANDLE,
        template: &[(CK_ATTRIBUTE_TYPE, Vec<u8>)],
    ) -> Answer<()> {
        if self.session(session)?.found.is_some() {
            return Err(CKR_OPERATION_ACTIVE);
        }
        let mut found: Vec<_> = self
            .handles()
            .filter(|handle| {
                self.object(*handle).is_ok_and(|object| {
                    template
                        .iter()
                        .all(|(kind, value)| object.attribute(*kind).is_ok_and(|own| own == *value))
                })
            })
            .collect();
        found.reverse();
        self.session(session)?.found = Some(found);
        Ok(())
    }

    /// Returns at most `limit` objects more.
    pub(super) fn find(
        &mut self,
        session: CK_SESSION_HANDLE,
        limit: usize,
    ) -> Answer<Vec<CK_OBJECT_HANDLE>> {
        let found = self.session(session)?.found.as_mut().ok_or(CKR_OPERATION_NOT_INITIALIZED)?;
        let kept = found.len().saturating_sub(limit);
        Ok(found.drain(kept..).rev().collect())
    }

    pub(super) fn find_final(&mut self, session: CK_SESSION_HANDLE) -> Answer<()> {
        self.session(session)?.found.take().map(drop).ok_or(CKR_OPERATION_NOT_INITIALIZED)
    }

    /// Reads one attribute of an object.
    pub(super) fn attribute(
        &mut self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        kind: CK_ATTRIBUTE_TYPE,
    ) -> Answer<Vec<u8>> {
        self.session(session)?;
        self.object(object)?.attribute(kind)
    }

    pub(super) fn sign_init(
        &mut self,
        session: CK_SESSION_HANDLE,
        mechanism: CK_MECHANISM_TYPE,
        key: CK_OBJECT_HANDLE,
    ) -> Answer<()> {
        if self.session(session)?.is_signing {
            return Err(CKR_OPERATION_ACTIVE);
        }
        if mechanism != CKM_ECDSA {
            return Err(CKR_MECHANISM_INVALID);
        }
        if !self.is_logged_in {
            return Err(CKR_USER_NOT_LOGGED_IN);
        }
        match self.object(key) {
            Ok(object) if object.is_private => self.session(session)?.is_signing = true,
            Ok(_) => return Err(CKR_KEY_TYPE_INCONSISTENT),
            Err(_) => return Err(CKR_KEY_HANDLE_INVALID),
        }
        Ok(())
    }

    /// Tells whether a signature may be asked for.
    pub(super) fn check_signing(&mut self, session: CK_SESSION_HANDLE) -> Answer<()> {
        if self.session(session)?.is_signing { Ok(()) } else { Err(CKR_OPERATION_NOT_INITIALIZED) }
    }

    /// Signs, which ends the operation whatever comes of it.
    pub(super) fn sign(
        &mut self,
        session: CK_SESSION_HANDLE,
        digest: &[u8],
    ) -> Answer<[u8; 2 * FIELD_OCTETS]> {
        self.check_signing(session)?;
        self.session(session)?.is_signing = false;
        let mut field = [0; FIELD_OCTETS];
        let start = FIELD_OCTETS.checked_sub(digest.len()).ok_or(CKR_DATA_LEN_RANGE)?;
        field.get_mut(start..).ok_or(CKR_DATA_LEN_RANGE)?.copy_from_slice(digest);
        Ok(sign(field))
    }

    fn session(&mut self, handle: CK_SESSION_HANDLE) -> Answer<&mut Session> {
        self.sessions.get_mut(&handle).ok_or(CKR_SESSION_HANDLE_INVALID)
    }

    /// Handles of the objects: 1 and 2 are private and public half of the first key, and so on.
    fn handles(&self) -> impl Iterator<Item = CK_OBJECT_HANDLE> + use<> {
        let count = CK_ULONG::try_from(self.settings.keys.len()).unwrap_or(0);
        1..=2 * count
    }

    fn object(&self, handle: CK_OBJECT_HANDLE) -> Answer<Object<'_>> {
        let place = usize::try_from(handle).ok().and_then(|handle| handle.checked_sub(1));
        let place = place.ok_or(CKR_OBJECT_HANDLE_INVALID)?;
        let key = self.settings.keys.get(place / 2).ok_or(CKR_OBJECT_HANDLE_INVALID)?;
        let object = Object { key, is_private: place % 2 == 0 };
        if object.is_private && !self.is_logged_in {
            return Err(CKR_OBJECT_HANDLE_INVALID);
        }
        Ok(object)
    }
}

#[cfg(test)]
mod tests {
    use cryptoki_sys::{
        CKA_CLASS, CKA_EC_POINT, CKA_EXTRACTABLE, CKA_ID, CKA_KEY_TYPE, CKA_LABEL, CKA_SENSITIVE,
        CKA_VALUE, CKA_VERIFY, CKK_EC, CKO_PRIVATE_KEY, CKR_ATTRIBUTE_SENSITIVE,
        CKR_ATTRIBUTE_TYPE_INVALID,
    };

    use super::*;
    use crate::settings::NullKey;

    fn make_token() -> Token {
        let key = |label: &str, id: u8| NullKey { label: label.to_owned(), id: vec![id] };
        Token::new(NullSettings {
            label: "null".to_owned(),
            keys: vec![key("first", 1), key("second", 2)],
        })
    }

    fn number(number: CK_ULONG) -> Vec<u8> {
        number.to_ne_bytes().to_vec()
    }

    #[test]
    fn private_objects_are_there_after_a_login_only() {
        let mut token = make_token();
        let session = token.open(CKF_SERIAL_SESSION).unwrap();
        let count = |token: &mut Token| {
            token.find_init(session, &[]).unwrap();
            let found = token.find(session, 10).unwrap();
            token.find_final(session).unwrap();
            found
        };
        assert_eq!(count(&mut token), [2, 4]);
        assert_eq!(token.sign_init(session, CKM_ECDSA, 1), Err(CKR_USER_NOT_LOGGED_IN));
        token.log_in(session, CKU_USER).unwrap();
        assert_eq!(token.log_in(session, CKU_USER), Err(CKR_USER_ALREADY_LOGGED_IN));
        assert_eq!(count(&mut token), [1, 2, 3, 4]);
        token.close(session).unwrap();
        let session = token.open(CKF_SERIAL_SESSION).unwrap();
        assert_eq!(token.sign_init(session, CKM_ECDSA, 1), Err(CKR_USER_NOT_LOGGED_IN));
    }

    #[test]
    fn objects_are_found_by_their_attributes_in_portions() {
        let mut token = make_token();
        let session = token.open(CKF_SERIAL_SESSION).unwrap();
        token.log_in(session, CKU_USER).unwrap();
        let template = [(CKA_CLASS, number(CKO_PRIVATE_KEY)), (CKA_ID, vec![2])];
        token.find_init(session, &template).unwrap();
        assert_eq!(token.find_init(session, &[]), Err(CKR_OPERATION_ACTIVE));
        assert_eq!(token.find(session, 1), Ok(vec![3]));
        assert_eq!(token.find(session, 1), Ok(vec![]));
        token.find_final(session).unwrap();
        token.find_init(session, &[(CKA_KEY_TYPE, number(CKK_EC))]).unwrap();
        assert_eq!(token.find(session, 3), Ok(vec![1, 2, 3]));
        assert_eq!(token.find(session, 3), Ok(vec![4]));
        token.find_final(session).unwrap();
        assert_eq!(token.find(session, 1), Err(CKR_OPERATION_NOT_INITIALIZED));
        token.find_init(session, &[(CKA_VALUE, vec![])]).unwrap();
        assert_eq!(token.find(session, 1), Ok(vec![]));
    }

    #[test]
    fn a_key_says_what_a_key_in_an_hsm_would() {
        let mut token = make_token();
        let session = token.open(CKF_SERIAL_SESSION).unwrap();
        token.log_in(session, CKU_USER).unwrap();
        let mut read = |object, kind| token.attribute(session, object, kind);
        assert_eq!(read(1, CKA_SENSITIVE), Ok(vec![1]));
        assert_eq!(read(1, CKA_EXTRACTABLE), Ok(vec![0]));
        assert_eq!(read(1, CKA_LABEL), Ok(b"first".to_vec()));
        assert_eq!(read(1, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
        assert_eq!(read(1, CKA_EC_POINT), Err(CKR_ATTRIBUTE_TYPE_INVALID));
        assert_eq!(read(2, CKA_EC_POINT).unwrap().len(), 67);
        assert_eq!(read(2, CKA_VERIFY), Ok(vec![1]));
        assert_eq!(read(5, CKA_ID), Err(CKR_OBJECT_HANDLE_INVALID));
        assert_eq!(read(0, CKA_ID), Err(CKR_OBJECT_HANDLE_INVALID));
    }

    #[test]
    fn a_signature_takes_an_operation_and_a_digest_that_fits() {
        let mut token = make_token();
        let session = token.open(CKF_SERIAL_SESSION).unwrap();
        token.log_in(session, CKU_USER).unwrap();
        assert_eq!(token.sign(session, &[1; 32]), Err(CKR_OPERATION_NOT_INITIALIZED));
        assert_eq!(token.sign_init(session, 1, 1), Err(CKR_MECHANISM_INVALID));
        assert_eq!(token.sign_init(session, CKM_ECDSA, 2), Err(CKR_KEY_TYPE_INCONSISTENT));
        assert_eq!(token.sign_init(session, CKM_ECDSA, 9), Err(CKR_KEY_HANDLE_INVALID));
        token.sign_init(session, CKM_ECDSA, 1).unwrap();
        assert_eq!(token.sign_init(session, CKM_ECDSA, 1), Err(CKR_OPERATION_ACTIVE));
        assert_eq!(token.sign(session, &[1; 33]), Err(CKR_DATA_LEN_RANGE));
        token.sign_init(session, CKM_ECDSA, 3).unwrap();
        let mut padded = [0; 32];
        padded[12..].fill(1);
        assert_eq!(token.sign(session, &[1; 20]), Ok(sign(padded)));
    }

    #[test]
    fn sessions_are_named_once_and_end() {
        let mut token = make_token();
        assert_eq!(token.open(0), Err(CKR_SESSION_PARALLEL_NOT_SUPPORTED));
        let first = token.open(CKF_SERIAL_SESSION).unwrap();
        token.log_in(first, CKU_USER).unwrap();
        assert_eq!(token.log_in(first, 0), Err(CKR_USER_TYPE_INVALID));
        let second = token.open(CKF_SERIAL_SESSION | CKF_RW_SESSION).unwrap();
        let state =
            |token: &mut Token, session| token.session_info(session).map(|(state, _)| state);
        assert_eq!(state(&mut token, first), Ok(CKS_RO_USER_FUNCTIONS));
        assert_eq!(state(&mut token, second), Ok(CKS_RW_USER_FUNCTIONS));
        token.log_out(second).unwrap();
        assert_eq!(token.log_out(second), Err(CKR_USER_NOT_LOGGED_IN));
        assert_eq!(state(&mut token, first), Ok(CKS_RO_PUBLIC_SESSION));
        token.close_all();
        assert_eq!(token.session_count(), 0);
        assert_eq!(token.close(first), Err(CKR_SESSION_HANDLE_INVALID));
        assert!(token.open(CKF_SERIAL_SESSION).unwrap() > second);
    }
}

"""An open token: the session of this process with its proven keys, and how both are had again when the token has lost them.

Owns the order of opening: lock of the home, login, keys, proof. Promises that no key signs a job before it has proven itself in the
session that signs (DESIGN invariant 10), whichever time it is that the session was opened. Refuses to keep a handle across sessions.
"""

from typing import Final

import pkcs11

from hsm.audit import prove_audit_key
from hsm.deadline import call_deadline
from hsm.keys import SigningKey, find_audit_key, find_key
from hsm.module import reset_module
from hsm.probe import prove_key
from hsm.session import become_user, lock_opening, open_session, place, read_serial
from hsm.settings import LaneSettings


class OpenToken:
    """The token of one lane; `open` comes first.

    Attributes:
        keys: every key of the lane, each proven in the present session.
        audit: the key of checkpoints, proven likewise; None where the token holds none.
        serial: serial number of the token found.
        proofs: signatures made to prove keys, per key, since the process began.
    """

    def __init__(self, settings: LaneSettings) -> None:
        self.keys: dict[str, SigningKey] = {}
        self.audit: SigningKey | None = None
        self.serial = ""
        self.proofs: Final = {key.name: 0 for key in settings.keys}
        self._settings: Final = settings
        self._session: pkcs11.Session | None = None

    def open(self) -> None:
        """Log in, find the keys and prove them, while no other lane of this home does.

        It has `open_timeout` for all of it and `call_timeout` for each proof.

        Raises:
            HsmError: the token cannot be opened, or a key is not what it should be.
        """
        become_user(self._settings.token)
        with call_deadline(self._settings.open_timeout):
            self._open(self._settings.open_timeout)

    def reopen(self) -> None:
        """Have the module forget everything and open anew; `call_timeout` for all of it, then a new lane is the better cure.

        Raises:
            HsmError: as `open`; the keys are gone.
        """
        self.keys, self.audit = {}, None
        with call_deadline(self._settings.call_timeout):
            reset_module(self._settings.token)
            self._open(self._settings.call_timeout)

    def find_again(self, name: str) -> SigningKey:
        """Look for one key again in the present session and have it prove itself.

        Raises:
            HsmError: it is not there, or not what it should be.
        """
        if self._session is None:
            raise RuntimeError("the token has not been opened")
        [settings] = [key for key in self._settings.keys if key.name == name]
        with call_deadline(self._settings.call_timeout):
            target = place(self._settings.token, self._session.token)
            self.keys[name] = self._prove(find_key(self._session, settings, target))
        return self.keys[name]

    def _open(self, wait: float) -> None:
        token = self._settings.token
        with lock_opening(token, wait) as guard:
            session = open_session(token, guard)
            target = place(token, session.token)
            found = [find_key(session, key, target) for key in self._settings.keys]
            keys = {key.name: self._prove(key) for key in found}
            audit = self._find_audit_key(session)
        self._session, self.keys, self.audit = session, keys, audit
        self.serial = read_serial(session.token)

    def _find_audit_key(self, session: pkcs11.Session) -> SigningKey | None:
        if self._settings.audit is None:
            return None
        target = place(self._settings.token, session.token)
        key = find_audit_key(session, self._settings.audit, target)
        prove_audit_key(key)
        return key

    def _prove(self, key: SigningKey) -> SigningKey:
        with call_deadline(self._settings.call_timeout):
            prove_key(key)
        self.proofs[key.name] += 1
        return key

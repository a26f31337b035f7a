"""Which ECDSA signatures are verified before their vectors are released, beside the RSA ones, of which the extension verifies each.

Promises (DESIGN 3) that for a certificate every 64th is, the first one among them, so that a certificate which is not the key's is noticed with
its first vector; a lane proves each key whenever it opens it, so that a session that is new is never taken on trust. Once one does not
verify, none is trusted before 1,024 in a row have verified.
"""

from typing import Final

EVERY: Final = 64
_AFTER_A_FAULT: Final = 1024


class ReleaseCheck:
    """What one worker trusts, by the fingerprint of the certificate that is shown."""

    def __init__(self) -> None:
        self._trusted: Final[dict[str, int]] = {}
        """How many signatures may still go unverified; below 0: how many must verify first."""

    def __repr__(self) -> str:
        return f"ReleaseCheck({self._trusted})"

    def may_trust(self, certificate: str) -> bool:
        """Say of the next signature, which the caller has in hand, whether it may be released unverified."""
        left = self._trusted.get(certificate, 0)
        self._trusted[certificate] = left + 1 if left < 0 else (left or EVERY) - 1
        return left > 0

    def note_fault(self, certificate: str) -> None:
        """Trust no more for now: a signature does not verify."""
        self._trusted[certificate] = -_AFTER_A_FAULT

"""The name of one request: the peer's `X-Request-Id` where it is safe to repeat, else one of ours."""

import os
from typing import Final

FIELD: Final = b"x-request-id"
LONGEST: Final = 128

_SAFE: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._:~+/="


def choose_request_id(shown: bytes | None) -> str:
    """Take the id that was shown, or make one: 24 hexadecimal digits from the system's random source."""
    if shown and len(shown) <= LONGEST and not shown.translate(None, _SAFE):
        return shown.decode("ascii")
    return os.urandom(12).hex()

"""The name of one request: the peer's `X-Request-Id` where it is safe to repeat, else one of ours."""

import os
from collections.abc import Iterator
from typing import Final

FIELD: Final = b"x-request-id"
LONGEST: Final = 128

_DIGITS: Final = 24
_AT_ONCE: Final = 256
"""Ids made of one look at the random source, which is a call of the kernel that lets other threads go first."""

_SAFE: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._:~+/="


def choose_request_id(shown: bytes | None) -> str:
    """Take the id that was shown, or make one: 24 hexadecimal digits from the system's random source."""
    if shown and len(shown) <= LONGEST and not shown.translate(None, _SAFE):
        return shown.decode("ascii")
    return next(_made)


def _make_ids() -> Iterator[str]:
    while True:
        digits = os.urandom(_AT_ONCE * _DIGITS // 2).hex()
        for at in range(0, len(digits), _DIGITS):
            yield digits[at : at + _DIGITS]


_made: Final = _make_ids()

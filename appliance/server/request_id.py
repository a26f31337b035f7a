"""The name of one request: the peer's `X-Request-Id` where it is safe to repeat, else one of ours."""

from typing import Final

from appliance.randomness import random_pieces

FIELD: Final = b"x-request-id"
LONGEST: Final = 128

_OCTETS: Final = 12
_SAFE: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._:~+/="
_pieces: Final = random_pieces(_OCTETS)


def choose_request_id(shown: bytes | None) -> str:
    """Take the id that was shown, or make one: 24 hexadecimal digits from the system's random source.

    For the event loop's thread alone, in a process that does not fork.
    """
    if shown and len(shown) <= LONGEST and not shown.translate(None, _SAFE):
        return shown.decode("ascii")
    return next(_pieces).hex()

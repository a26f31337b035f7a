"""`native.c14n`, and with the canonical form of a whole document the digest that is made without it: they must agree."""

import hashlib
from collections.abc import Callable, Sequence

from appliance import native


def c14n(
    octets: bytes,
    algorithm: str = native.C14N_EXCLUSIVE,
    *,
    inclusive_prefixes: Sequence[str] = (),
    id: str | None = None,  # noqa: A002 - the name of the extension
    limits: native.Limits | None = None,
) -> bytes:
    """The canonical form. Of a whole document, the digest made while reading is that of the form, or the same refusal."""
    prefixes = inclusive_prefixes

    def form() -> bytes:
        return native.c14n(octets, algorithm, inclusive_prefixes=prefixes, id=id, limits=limits)

    if id is None:
        digest = outcome(
            lambda: native.c14n_digest(
                octets, algorithm, inclusive_prefixes=prefixes, limits=limits
            )
        )
        expected = outcome(lambda: hashlib.sha256(form()).digest())
        assert digest == expected, octets
    return form()


def outcome(work: Callable[[], bytes]) -> bytes | tuple[str, int | None, str]:
    """What comes of it: octets, or a refusal in all that it says."""
    try:
        return work()
    except native.XmlRefused as exc:
        return exc.reason, exc.offset, str(exc)

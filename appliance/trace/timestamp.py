"""RFC 3161 time-stamps over witness files: asked of an authority, kept as its answer, verified by whoever doubts (`openssl ts -verify`).

Promises that an answer which is kept was granted, for our digest and our nonce. Judges neither the authority's signature nor its certificate:
that takes its roots, and is for the reader of the evidence.
"""

import hashlib
import secrets
import urllib.error
import urllib.request
from typing import Final

from appliance.errors import Reason, ServiceUnreachable

_TIMEOUT: Final = 20.0
_LONGEST: Final = 64 * 1024
_NONCE_OCTETS: Final = 8
_SHA256: Final = bytes.fromhex("300d06096086480165030402010500")
"""DER of AlgorithmIdentifier for SHA-256 (RFC 5754 2.2)."""
_GRANTED: Final = (b"\x02\x01\x00", b"\x02\x01\x01")
"""PKIStatus granted, and granted with modifications."""


def time_stamp(octets: bytes, url: str) -> bytes:
    """Return the authority's TimeStampResp over the SHA-256 of some octets.

    Raises:
        ServiceUnreachable: it does not answer, or does not grant one for what was asked.
    """
    digest, nonce = hashlib.sha256(octets).digest(), _nonce()
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked where the URL is configured
        url, write_query(digest, nonce), {"Content-Type": "application/timestamp-query"}
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310 - same
            reply: bytes = answer.read(_LONGEST)
    except (OSError, urllib.error.URLError) as exc:
        raise _refused(url, str(exc)) from exc
    # TimeStampResp ::= SEQUENCE { status PKIStatusInfo ::= SEQUENCE { status INTEGER, … }, timeStampToken }
    status = _content(_content(reply))
    if not status.startswith(_GRANTED):
        raise _refused(url, "it did not grant the time-stamp")
    if digest not in reply or _integer(nonce) not in reply:
        raise _refused(url, "its answer is to another question")
    return reply


def write_query(digest: bytes, nonce: bytes) -> bytes:
    """Write a TimeStampReq (RFC 3161 2.4.1) that asks for the authority's certificate too."""
    imprint = _sequence(_SHA256 + b"\x04\x20" + digest)
    return _sequence(b"\x02\x01\x01" + imprint + _integer(nonce) + b"\x01\x01\xff")


def _nonce() -> bytes:
    """Make a positive INTEGER's octets, in their one DER form."""
    octets = bytearray(secrets.token_bytes(_NONCE_OCTETS))
    octets[0] = octets[0] & 0x7F | 0x40
    return bytes(octets)


def _integer(octets: bytes) -> bytes:
    return bytes((2, len(octets))) + octets


def _sequence(content: bytes) -> bytes:
    return bytes((0x30, len(content))) + content


def _content(octets: bytes) -> bytes:
    """Return what stands in the SEQUENCE that octets begin with; nothing where they begin with none."""
    if len(octets) < 2 or octets[0] != 0x30:  # noqa: PLR2004 - tag and length
        return b""
    length = octets[1]
    return octets[2 + (length & 0x7F if length & 0x80 else 0) :]


def _refused(url: str, why: str) -> ServiceUnreachable:
    return ServiceUnreachable(
        Reason.SERVICE_UNREACHABLE,
        f"no time-stamp from {url}: {why}; the witness file is written without",
    )

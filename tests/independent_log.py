"""A reader of logs written from `docs/trace-format.md` and the C2SP specifications alone, with nothing of the appliance in it.

Slow and plain on purpose: it recomputes every hash of every level, and stops at the first thing that is not as specified.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key


@dataclass(frozen=True)
class IndependentLog:
    """What a log directory proves: the entries its checkpoint covers, in order."""

    origin: str
    size: int
    root: bytes
    entries: list[bytes]


def read_independently(directory: Path, pem: bytes) -> IndependentLog:
    """Read and verify a whole unpurged log with one audit key."""
    key = load_pem_public_key(pem)
    assert isinstance(key, Ed25519PublicKey)
    note = (directory / "checkpoint").read_text("utf-8")
    text, _, signatures = note.partition("\n\n")
    origin, size_text, root_text = text.split("\n")
    raw = key.public_bytes_raw()
    key_id = hashlib.sha256(origin.encode() + b"\n\x01" + raw).digest()[:4]
    [line] = signatures.splitlines()
    dash, name, encoded = line.split(" ")
    assert (dash, name) == ("—", origin)
    signature = base64.b64decode(encoded)
    assert signature[:4] == key_id
    key.verify(signature[4:], f"{text}\n".encode())
    size, root = int(size_text), base64.b64decode(root_text)
    entries = _entries(directory, size)
    leaves = [hashlib.sha256(b"\0" + entry).digest() for entry in entries]
    assert mth(leaves) == root, "the root is not that of the entries"
    _check_tiles(directory, leaves)
    return IndependentLog(origin, size, root, entries)


def covered_by(directory: Path, pem: bytes) -> list[dict]:
    """The entries of a log, decoded."""
    return [json.loads(entry) for entry in read_independently(directory, pem).entries]


def mth(hashes: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 2.1, over leaf hashes."""
    if not hashes:
        return hashlib.sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return hashlib.sha256(b"\x01" + mth(hashes[:split]) + mth(hashes[split:])).digest()


def path_of(kind: str, index: int, width: int) -> str:
    """The path of a tile or bundle: `tile/<kind>/x001/x234/067`, with `.p/<width>` unless 256 wide."""
    digits = f"{index:03}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    elements = [f"x{group}" for group in groups[:-1]] + groups[-1:]
    return f"tile/{kind}/{'/'.join(elements)}" + ("" if width == 256 else f".p/{width}")


def _entries(directory: Path, size: int) -> list[bytes]:
    entries: list[bytes] = []
    while len(entries) < size:
        index, width = len(entries) // 256, min(256, size - len(entries))
        octets = (directory / path_of("entries", index, width)).read_bytes()
        count = 0
        while octets:
            length = int.from_bytes(octets[:2], "big")
            assert len(octets) >= 2 + length, "a torn bundle"
            entries.append(octets[2 : 2 + length])
            octets = octets[2 + length :]
            count += 1
        assert count == width, "a bundle of another width"
    return entries


def _check_tiles(directory: Path, leaves: Sequence[bytes]) -> None:
    level, hashes = 0, list(leaves)
    while hashes:
        for start in range(0, len(hashes), 256):
            tile = hashes[start : start + 256]
            octets = (directory / path_of(str(level), start // 256, len(tile))).read_bytes()
            assert octets == b"".join(tile), f"a wrong tile of level {level}"
        full = len(hashes) // 256
        hashes = [mth(hashes[256 * at : 256 * at + 256]) for at in range(full)]
        level += 1

"""The CRLs of one directory: any file names but hidden ones, PEM or DER, re-read when a file changes.

Promises to parse only what changed, and never while a vector waits: `current` gives what the last look found, `look` is for a thread
beside the event loop. A file that cannot be read, is no CRL, or names no next update is left out and logged, so the CA it should
speak for fails closed. Fetches nothing: CRL addresses in received certificates are never followed.
"""

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from cryptography import x509

from appliance.log import Log
from appliance.trust.certificates import UNREADABLE, has_sound_hash

_LOG: Final = Log("trust")
LARGEST_CRL: Final = 64 * 1024**2
"""Octets of a file beyond which it is not read."""

_PEM: Final = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)


@dataclass(frozen=True, slots=True, eq=False)
class CrlSet:
    """The usable CRLs at one moment; a changed directory yields another object, so identity tells whether it changed."""

    crls: tuple[x509.CertificateRevocationList, ...] = ()

    def next_update_after(self, at: datetime) -> datetime | None:
        """Return the first instant after `at` at which one of the CRLs runs out."""
        ends = [crl.next_update_utc for crl in self.crls]
        return min((end for end in ends if end is not None and end > at), default=None)

    def within(self, at: datetime, grace: timedelta) -> tuple[x509.CertificateRevocationList, ...]:
        """Return the CRLs that have begun and ended no longer than `grace` ago."""
        return tuple(
            crl
            for crl in self.crls
            if crl.last_update_utc <= at
            and crl.next_update_utc is not None
            and at - crl.next_update_utc < grace
        )

    def ends(self) -> Iterator[tuple[str, datetime]]:
        """Yield each CA (RFC 4514) with the next update of its newest CRL."""
        newest: dict[x509.Name, datetime] = {}
        for crl in self.crls:
            end = crl.next_update_utc
            if end is not None and (crl.issuer not in newest or newest[crl.issuer] < end):
                newest[crl.issuer] = end
        return ((issuer.rfc4514_string(), end) for issuer, end in newest.items())


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What tells one state of a file from the next."""

    inode: int
    size: int
    modified: int


def _stamp_of(status: os.stat_result) -> _Stamp:
    return _Stamp(status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class _CrlFile:
    stamp: _Stamp
    crls: tuple[x509.CertificateRevocationList, ...]


class CrlDirectory:
    """A directory into which somebody puts current CRLs; one owner reads it, any thread may look."""

    def __init__(self, directory: Path, *, allow_sha1: bool) -> None:
        self.directory: Final = directory
        self._allow_sha1: Final = allow_sha1
        self._looking: Final = threading.Lock()
        self._files: dict[str, _CrlFile] = {}
        self._current: CrlSet | None = None

    def __repr__(self) -> str:
        held = "not looked at" if self._current is None else f"{len(self._current.crls)} CRLs"
        return f"CrlDirectory({self.directory}, {held})"

    def current(self) -> CrlSet:
        """Return the CRLs as the last look found them; the first look is made here where nobody made it before."""
        return self._current or self.look()

    def look(self) -> CrlSet:
        """Read what changed since the last look."""
        with self._looking:
            found = self._scan()
            if self._current is None or found != {
                name: file.stamp for name, file in self._files.items()
            }:
                self._files = {
                    name: self._read_changed(name, stamp) for name, stamp in found.items()
                }
                self._current = CrlSet(
                    tuple(crl for _, file in sorted(self._files.items()) for crl in file.crls)
                )
            return self._current

    def _scan(self) -> dict[str, _Stamp]:
        found: dict[str, _Stamp] = {}
        try:
            with os.scandir(self.directory) as entries:
                for entry in entries:
                    if entry.is_file() and not entry.name.startswith("."):
                        # One that is renamed just now has gone from where it was; the others count all the same.
                        with contextlib.suppress(FileNotFoundError):
                            found[entry.name] = _stamp_of(entry.stat())
        except OSError as exc:
            _LOG.warning("crl-directory-unreadable", directory=self.directory, cause=exc.strerror)
            return {}
        return found

    def _read_changed(self, name: str, stamp: _Stamp) -> _CrlFile:
        known = self._files.get(name)
        if known is not None and known.stamp == stamp:
            return known
        return _CrlFile(stamp, self._read(self.directory / name, stamp))

    def _read(self, file: Path, stamp: _Stamp) -> tuple[x509.CertificateRevocationList, ...]:
        try:
            crls = read_crls(file.read_bytes()) if stamp.size <= LARGEST_CRL else ()
        except (OSError, ValueError):
            crls = ()
        usable = tuple(crl for crl in crls if self._is_usable(crl))
        if not usable or len(usable) < len(crls):
            _LOG.warning("crl-left-out", file=file, held=len(crls), usable=len(usable))
        return usable

    def _is_usable(self, crl: x509.CertificateRevocationList) -> bool:
        # RFC 5280 5.1.2.5 wants a next update; without one nothing says when the list has become stale.
        return (
            _is_readable(crl)
            and crl.next_update_utc is not None
            and has_sound_hash(crl, allow_sha1=self._allow_sha1)
        )


def _is_readable(crl: x509.CertificateRevocationList) -> bool:
    """Tell whether every part that is looked at later can be read: they are read when they are first looked at."""
    try:
        _ = crl.issuer, crl.last_update_utc, crl.next_update_utc
    except UNREADABLE:
        return False
    else:
        return True


class CrlDirectories:
    """Every directory in use, one object each, so that conventions and reloads share what was parsed."""

    def __init__(self) -> None:
        self._known: Final[WeakValueDictionary[tuple[Path, bool], CrlDirectory]] = (
            WeakValueDictionary()
        )

    def at(self, directory: Path, *, allow_sha1: bool) -> CrlDirectory:
        """Return the directory, known already or not."""
        key = (directory, allow_sha1)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = CrlDirectory(directory, allow_sha1=allow_sha1)
        return known


def read_crls(octets: bytes) -> tuple[x509.CertificateRevocationList, ...]:
    """Read the CRLs of a PEM file (one or several) or the one of a DER file.

    Raises:
        ValueError: the octets are neither.
    """
    blocks = _PEM.findall(octets)
    try:
        if blocks:
            return tuple(x509.load_pem_x509_crl(block) for block in blocks)
        return (x509.load_der_x509_crl(octets),)
    except UNREADABLE as exc:
        raise ValueError(str(exc)) from exc

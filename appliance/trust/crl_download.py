"""CRLs fetched into their directories, from the addresses that conventions name; one worker does it for all.

Promises that a file in the directory is replaced whole or not at all, and only by CRLs that are current, not older than those they
replace, and signed by their CA where the convention's files hold that CA's certificate (a list that is not counts for nothing when a
path is judged by it, and refuses; what keeps it out is the certificate); that a slow or absent server holds up nobody
(one deadline for the whole of a download, two at once from one server); and that nothing is deleted: without a new CRL the last one serves until its
next update, and the warnings of `watch` come long before that.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from appliance.clock import Clock
from appliance.log import Log
from appliance.trust.certificates import UNREADABLE, has_sound_hash
from appliance.trust.download import DownloadFailed, Limits, download
from appliance.trust.revocation import LARGEST_CRL, read_crls

FETCHED: Final = "fetched-"
"""How the names of files begin that hold what was fetched."""

_LOG: Final = Log("trust")
_LIMITS: Final = Limits(octets=LARGEST_CRL, seconds=30.0)
_AT_ONCE: Final = 16
_OF_ONE_SERVER: Final = 2
_PAUSE: Final = 1.0
_RETRY_AFTER: Final = 60.0
_CLOCKS: Final = timedelta(minutes=5)
_TO_PROVE: Final = (
    "put the CA's certificate into a file of trust.roots: only then is a forged list kept out"
)


@dataclass(frozen=True, slots=True)
class CrlSource:
    """Where a CRL comes from, and where it goes.

    Attributes:
        address: `http://…`; CRLs are signed.
        file: what holds it, where `CrlDirectory` finds it.
        every: seconds from one download to the next.
        allow_sha1: whether a CRL signed with SHA-1 is of any use.
        authorities: certificates of CAs that the convention's files hold.
    """

    address: str
    file: Path
    every: float
    allow_sha1: bool
    authorities: tuple[x509.Certificate, ...]


def file_of(directory: Path, address: str) -> Path:
    """Name the file that holds what came from an address."""
    return directory / f"{FETCHED}{sha256(address.encode()).hexdigest()[:16]}.crl"


@dataclass(frozen=True, slots=True)
class _Asked:
    """When a source was asked last (monotonic), and after how many seconds it is asked again unless its convention says sooner."""

    at: float
    pause: float


class CrlDownloads:
    """Keeps the directories of an appliance current."""

    def __init__(self, sources: Callable[[], Iterable[CrlSource]], clock: Clock) -> None:
        """Fetch from what `sources` returns at the time."""
        self._sources: Final = sources
        self._clock: Final = clock
        self._asked: dict[Path, _Asked] = {}
        self._flights: Final[dict[Path, asyncio.Task[None]]] = {}
        self._gates: Final[WeakValueDictionary[str, asyncio.Semaphore]] = WeakValueDictionary()

    async def run(self) -> None:
        """Fetch what is due, until cancelled; nobody waits for a download that takes its time."""
        try:
            while True:
                self._start_due()
                await asyncio.sleep(_PAUSE)
        finally:
            for flight in self._flights.values():
                flight.cancel()

    async def refresh(self) -> None:
        """Fetch once from every source that is due.

        One is due as often as its convention says; where a list that came ends sooner than twice that, after half of what is left of it,
        for a CA may publish the next as late as that; and what failed is due again in a minute.
        """
        self._start_due()
        await asyncio.gather(*self._flights.values())

    def _start_due(self) -> None:
        sources = {source.file: source for source in self._sources()}
        self._asked = {file: asked for file, asked in self._asked.items() if file in sources}
        now = self._clock.monotonic()
        for file, source in sources.items():
            asked = self._asked.get(file)
            is_due = asked is None or asked.at + min(asked.pause, source.every) <= now
            if is_due and file not in self._flights:
                flight = asyncio.get_running_loop().create_task(self._fetch(source))
                self._flights[file] = flight
                flight.add_done_callback(partial(self._forget, file))

    def _forget(self, file: Path, _flight: asyncio.Task[None]) -> None:
        del self._flights[file]

    async def _fetch(self, source: CrlSource) -> None:
        server = self._gate(urlsplit(source.address).netloc, _OF_ONE_SERVER)
        room = self._gate("", _AT_ONCE)
        try:
            async with server, room:
                octets = await download(source.address, _LIMITS)
            crls = await asyncio.to_thread(_keep, source, octets, self._clock.now())
        except (DownloadFailed, OSError, *UNREADABLE) as exc:
            pause = _RETRY_AFTER
            _LOG.warning(
                "crl-not-fetched",
                address=source.address,
                directory=source.file.parent,
                cause=str(exc),
                next="see trust.crl_addresses; until its next update the CRL at hand serves",
            )
        else:
            pause = max(_RETRY_AFTER, _left(crls, self._clock.now()) / 2)
            _say_unproven(source, crls)
        self._asked[source.file] = _Asked(self._clock.monotonic(), pause)

    def _gate(self, name: str, width: int) -> asyncio.Semaphore:
        """Return what lets so many through at once; it goes when nobody holds it."""
        gate = self._gates.get(name)
        if gate is None:
            gate = self._gates[name] = asyncio.Semaphore(width)
        return gate


def _left(crls: Iterable[x509.CertificateRevocationList], now: datetime) -> float:
    """Return the seconds until the first of them ends."""
    ends = [crl.next_update_utc for crl in crls]
    return min((end - now).total_seconds() for end in ends if end is not None)


def _say_unproven(source: CrlSource, crls: Iterable[x509.CertificateRevocationList]) -> None:
    """Name the CAs whose certificates are not at hand: whether they signed what came is found out when a path is judged by it."""
    known = {authority.subject for authority in source.authorities}
    for crl in crls:
        if crl.issuer not in known:
            name = crl.issuer.rfc4514_string()
            _LOG.info("crl-unproven", address=source.address, ca=name, next=_TO_PROVE)


def _keep(
    source: CrlSource, octets: bytes, now: datetime
) -> tuple[x509.CertificateRevocationList, ...]:
    """Put what came in the place of what came before, and return it.

    Raises:
        ValueError: it is no better.
        OSError: the directory cannot be written.
    """
    crls = _read(octets)
    for crl in crls:
        _check(source, crl, now)
    if _is_older(crls, _held(source), now):
        raise ValueError("older than the CRL at hand")
    # CrlDirectory looks at no hidden file, so half of one is never read; a worker that is just being replaced writes its own.
    new = source.file.with_name(f".{source.file.name}.{os.getpid()}")
    try:
        with new.open("wb") as made:
            made.write(octets)
            made.flush()
            os.fsync(made.fileno())
        new.replace(source.file)
    finally:
        new.unlink(missing_ok=True)
    return crls


def _read(octets: bytes) -> tuple[x509.CertificateRevocationList, ...]:
    try:
        return read_crls(octets)
    except ValueError as exc:
        raise ValueError("what came is no CRL") from exc


def _held(source: CrlSource) -> tuple[x509.CertificateRevocationList, ...]:
    try:
        return read_crls(source.file.read_bytes())
    except (OSError, ValueError):
        return ()


def _check(source: CrlSource, crl: x509.CertificateRevocationList, now: datetime) -> None:
    name = crl.issuer.rfc4514_string()
    if crl.next_update_utc is None or not has_sound_hash(crl, allow_sha1=source.allow_sha1):
        raise ValueError(f"the CRL of {name} names no next update, or is signed with a weak hash")
    if not crl.last_update_utc - _CLOCKS <= now < crl.next_update_utc:
        raise ValueError(f"the CRL of {name} is not of now")
    known = [each for each in source.authorities if each.subject == crl.issuer]
    if known and not any(_has_signed(each, crl) for each in known):
        raise ValueError(f"the CRL of {name} is not signed by the CA of that name")


def _has_signed(authority: x509.Certificate, crl: x509.CertificateRevocationList) -> bool:
    try:
        return crl.is_signature_valid(authority.public_key())  # type: ignore[arg-type]  # another kind is a TypeError
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False


def _is_older(
    new: Sequence[x509.CertificateRevocationList],
    held: Sequence[x509.CertificateRevocationList],
    now: datetime,
) -> bool:
    """Tell whether a CA's list would be lost, or go back; what has ended already cannot be lost."""
    newest = {crl.issuer: crl.last_update_utc for crl in new}
    return any(
        newest.get(crl.issuer) is None or newest[crl.issuer] < crl.last_update_utc
        for crl in held
        if crl.next_update_utc is not None and now < crl.next_update_utc
    )

"""Entries and commits for the tests of the trace: builders with good defaults."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from appliance.trace.disk import Disk
from appliance.trace.reader import read_log
from appliance.trace.record import TraceEntry, write_entry
from appliance.trace.segments import SegmentWriter, write_frame

_ENTRY = TraceEntry(
    event="created",
    time="2026-03-01T10:00:00.000Z",
    request_id="request-1",
    caller="loopback",
    peer="127.0.0.1",
    convention="demo-client",
    assertion_id="_1",
    issuer="urn:interops:73282932000074:idp:demo:1",
    assertion_sha256="a" * 64,
    audience="http://service.demo.example/droits",
    recipient="urn:interops:sp:73282932000074:demo",
    subject="agent-0042",
    name_id="agent-0042",
    pagms=("PAGM_CONSULTATION",),
    level="urn:oasis:names:tc:SAML:2.0:ac:classes:Password",
    issue_instant="2026-03-01T10:00:00.000Z",
    not_before="2026-03-01T09:59:50.000Z",
    not_on_or_after="2026-03-01T11:00:00.000Z",
    key="demo-rsa",
    certificate_sha256="c" * 64,
    algorithm="http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
)


def make_entry(**overrides: object) -> TraceEntry:
    """A created vector's entry, any field overridden."""
    return msgspec.structs.replace(_ENTRY, **overrides)


def make_frame(entry: TraceEntry | bytes) -> bytes:
    """The frame of an entry, or of octets that stand for one."""
    return write_frame(entry if isinstance(entry, bytes) else write_entry(entry))


def write_log(
    log: Path, commits: Sequence[Sequence[TraceEntry | bytes]], segment_octets: int = 1024**2
) -> None:
    """Make a log that holds these commits, and let go of it."""
    writer = SegmentWriter(log, segment_octets, Disk())
    for commit in commits:
        writer.commit([make_frame(entry) for entry in commit])
    writer.close()


def octets_of(log: Path) -> list[bytes]:
    """Every entry of a log as the independent reader sees it, after checking that indices run from 0."""
    stored = list(read_log(log))
    assert [one.index for one in stored] == list(range(len(stored)))
    return [one.octets for one in stored]


def segments_of(log: Path) -> list[Path]:
    """The segment files of a log, oldest first."""
    return sorted(log.glob("*.segment"))

"""The machine's clock against everything that says it cannot be that early: vectors are refused for a minute too much."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509

from appliance.cli.checks.finding import Finding, failed, passed
from appliance.trace.reader import LogDamaged
from appliance.trace.view import LogPlace

_FIRST_RELEASE: Final = datetime(2026, 1, 1, tzinfo=UTC)
_REMEDY: Final = "set the clock and keep it right with NTP (timedatectl set-ntp true)"
_TOLERATED: Final = timedelta(seconds=5)


def check_clock(
    now: datetime, certificates: Sequence[x509.Certificate], place: LogPlace
) -> Iterator[Finding]:
    """Compare the wall clock with our release, our newest certificate, and the last entry of each log."""
    shown = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    findings: list[Finding] = []
    if now < _FIRST_RELEASE:
        findings.append(failed("clock", shown, "is before this software existed", _REMEDY))
    newest = max((each.not_valid_before_utc for each in certificates), default=now)
    if now < newest:
        findings.append(
            failed(
                "clock",
                shown,
                f"is before a certificate was issued ({newest:%Y-%m-%d %H:%M})",
                _REMEDY,
            )
        )
    for log in place.names():
        findings.extend(_check_log(place, log, now, shown))
    yield from findings
    if not findings:
        yield passed("clock", shown, "after every certificate and trace entry")


def _check_log(place: LogPlace, log: str, now: datetime, shown: str) -> Iterator[Finding]:
    try:
        tail = place.view(log, max(0, place.view(log).end() - 1))
        last = [stored.entry.time for stored in tail.read()][-1:]
    except LogDamaged as exc:
        yield failed(
            "trace log", log, exc.detail, "keep a copy of the directory and look at its disk"
        )
        return
    for time in last:
        if now + _TOLERATED < datetime.fromisoformat(time):
            yield failed(
                "clock",
                shown,
                f"is before the last entry of log {log} ({time})",
                _REMEDY,
            )

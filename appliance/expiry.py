"""The end of our certificates, said in time: a metric per key, and a line in the log every day of the last thirty.

Partners refuse a vector whose certificate has ended, so this is an error of ours before it is theirs.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from appliance import log, metrics
from appliance.clock import Clock
from appliance.config import Config
from appliance.errors import ConfigurationError
from appliance.frontchecks import front_certificates
from appliance.signing.keyring import CertifiedKey, Keyring

CERTIFICATE_CHECK_SECONDS: Final = 24 * 3600.0

_LOG: Final = log.Log("keys")
_WARN_BEFORE: Final = timedelta(days=30)


def say_all_expiry(config: Config, clock: Clock) -> None:
    """Say it of every certificate of ours: those of signing keys, and those that we show in TLS."""
    say_expiry(Keyring.load(config.keys).certified().values(), clock)
    try:
        for name, file, not_after in front_certificates(config):
            _say(name, file, not_after, clock.now())
    except ConfigurationError as exc:  # it was readable at the start, and a reload refuses it
        _LOG.error("certificate-unreadable", detail=exc.detail)


def say_expiry(keys: Iterable[CertifiedKey], clock: Clock) -> None:
    """Set the metric of every key, and log those that end within thirty days or have ended."""
    for key in keys:
        if key.not_after is not None:
            _say(key.name, key.file, key.not_after, clock.now())


def _say(name: str, file: Path, not_after: datetime, now: datetime) -> None:
    metrics.CERTIFICATE_EXPIRY.labels(name).set(not_after.timestamp())
    left = not_after - now
    until = f"{not_after:%Y-%m-%dT%H:%M:%SZ}"
    if left <= timedelta():
        _LOG.error("certificate-expired", key=name, until=until, file=str(file))
    elif left <= _WARN_BEFORE:
        _LOG.warning("certificate-expires", key=name, until=until, days=left.days)

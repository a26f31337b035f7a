"""The end of our certificates, said in time: a metric per key, and a line in the log every day of the last thirty.

Partners refuse a vector whose certificate has ended, so this is an error of ours before it is theirs.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from appliance import log, metrics
from appliance.clock import Clock
from appliance.signing.keyring import CertifiedKey

CERTIFICATE_CHECK_SECONDS: Final = 24 * 3600.0

_LOG: Final = log.Log("keys")
_WARN_BEFORE: Final = timedelta(days=30)


def say_expiry(keys: Iterable[CertifiedKey], clock: Clock) -> None:
    """Set the metric of every key, and log those that end within thirty days or have ended."""
    now = clock.now()
    for key in keys:
        if key.not_after is None:
            continue
        metrics.CERTIFICATE_EXPIRY.labels(key.name).set(key.not_after.timestamp())
        left = key.not_after - now
        until = f"{key.not_after:%Y-%m-%dT%H:%M:%SZ}"
        if left <= timedelta():
            _LOG.error("certificate-expired", key=key.name, until=until, file=str(key.file))
        elif left <= _WARN_BEFORE:
            _LOG.warning("certificate-expires", key=key.name, until=until, days=left.days)

"""Who vouches for the trace: is `[audit]` there, can its public keys be read."""

from collections.abc import Iterator

from appliance.cli.checks.finding import Finding, passed, unreadable
from appliance.config import Config
from appliance.errors import ConfigurationError
from appliance.logkeeping import audit_keys, audit_table


def check_audit(config: Config) -> Iterator[Finding]:
    """Look at what the trace needs besides a disk."""
    try:
        audit = audit_table(config)
        keys = audit_keys(audit)
    except ConfigurationError as exc:
        yield unreadable("audit key", exc)
        return
    kind = "Ed25519" if keys[0].kind == 1 else "P-256"
    found = f"{kind}, in token {audit.token}; origin {audit.origin}"
    yield passed("audit key", audit.public_key, found)

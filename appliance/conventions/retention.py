"""What conventions say of traces: the retention class must exist, and every entry falls under one policy."""

from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from appliance.conventions.model import Convention
from appliance.conventions.registry import Registry
from appliance.errors import ConfigurationError
from appliance.trace.policy import DEFAULT_POLICY, TracePolicy, strictest


def retention_class(convention: Convention) -> str:
    """Name the retention class of a convention's traces: so many years."""
    return f"{convention.trace.retention}y"


class TraceSettings(Protocol):
    """What is read of `[trace]`."""

    @property
    def retention(self) -> Collection[str]:
        """The classes there are."""

    @property
    def pseudonym_key_file(self) -> Path:
        """Where the key of pseudonyms is, if there is one."""


def check_all_tracing(registry: Registry, directory: Path, settings: TraceSettings) -> None:
    """Check every convention of a registry; its file is in `directory`.

    Raises:
        ConfigurationError: of the first that does not fit.
    """
    for convention in registry.all():
        file = directory / f"{convention.id}.toml"
        check_tracing(file, convention, settings.retention, settings.pseudonym_key_file)


def check_tracing(
    file: Path, convention: Convention, classes: Collection[str], pseudonym_key: Path
) -> None:
    """Make sure that the convention's retention class is one of those defined, and that there is a key for its pseudonyms.

    Raises:
        ConfigurationError: it is not, or there is none.
    """
    if convention.trace.level == "pseudonymous" and not pseudonym_key.exists():
        made = f"a key of pseudonyms; make one: (umask 077; openssl rand -hex 32 > {pseudonym_key})"
        raise ConfigurationError(str(file), "trace.level", made)
    retention = retention_class(convention)
    if retention not in classes:
        known = ", ".join(sorted(classes))
        raise ConfigurationError(
            str(file),
            "trace.retention",
            f"a class of [trace.retention] in appliance.toml: {known}; got `{retention}`",
        )


def trace_policy(registry: Registry, convention: str | None, issuer: str | None) -> TracePolicy:
    """Return the policy of an entry: its convention's, else, of those with its issuer, the one that keeps least of a person.

    Asked several times for each entry: it takes the same time whether there are ten conventions or ten thousand.
    """
    if convention is None and issuer is None:
        return DEFAULT_POLICY
    if convention is None:
        return strictest(list(map(_policy_of, registry.of_issuer(issuer))))
    known = registry.find(convention)
    return DEFAULT_POLICY if known is None else _policy_of(known)


def _policy_of(convention: Convention) -> TracePolicy:
    return TracePolicy(retention_class(convention), convention.trace.level)

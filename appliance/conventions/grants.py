"""What a client convention grants a request; nothing has been signed yet.

Each check raises `ConventionViolation` for what this convention does not allow and `MalformedRequest` for what none could.
"""

from collections.abc import Mapping
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from cryptography import x509

from appliance.clock import Clock
from appliance.conventions.model import CallerRule, ClientConvention
from appliance.errors import ConventionViolation, MalformedRequest, Reason
from appliance.trust.names import any_matches
from appliance.vectors.characters import is_xml_text, shorten
from appliance.vectors.conditions import is_reached, read_instant
from appliance.vectors.model import RequestContext, VectorRequest

LONGEST_TEXT: Final = 256
"""Characters of a subject or of an attribute's value."""
MOST_VALUES: Final = 64
"""Attribute values in one request."""

_FUTURE_AUTHENTICATION: Final = 60.0  # seconds a caller's clock may be ahead of ours


def check_caller(convention_id: str, context: RequestContext) -> None:
    """Check that the caller may use a convention, which need not exist."""
    allowed = context.caller.conventions
    if allowed is not None and convention_id not in allowed:
        raise ConventionViolation(
            Reason.CALLER_NOT_ALLOWED,
            f"caller `{context.caller.name}` may not use convention `{shorten(convention_id)}`",
        )


def grant_pagms(convention: ClientConvention, context: RequestContext) -> frozenset[str]:
    """Return the PAGMs that the convention's `[[caller]]` rules let this caller ask for; without rules, the catalogue.

    Raises:
        ConventionViolation: no rule lets the caller in.
    """
    if not convention.callers:
        return convention.pagms
    matching = [rule for rule in convention.callers if _lets_in(rule, context)]
    if not matching:
        raise ConventionViolation(
            Reason.CALLER_NOT_ALLOWED,
            f"no [[caller]] of convention `{convention.id}` lets `{context.caller.name}` use it",
        )
    granted = (convention.pagms if rule.pagms is None else rule.pagms for rule in matching)
    return frozenset[str]().union(*granted)


def _lets_in(rule: CallerRule, context: RequestContext) -> bool:
    if context.caller.name in rule.names:
        return True
    if rule.certificates and context.tls_certificate is not None:
        subject = x509.load_der_x509_certificate(context.tls_certificate).subject
        if any_matches(rule.certificates, subject):
            return True
    address = _address(context.peer) if rule.networks else None
    return address is not None and any(address in network for network in rule.networks)


def _address(peer: str) -> IPv4Address | IPv6Address | None:
    """Read where a caller is; None on a unix socket."""
    try:
        return ip_address(peer)
    except ValueError:
        return None


def check_period(convention: ClientConvention, now: datetime) -> None:
    """Check that the convention is in force."""
    if not convention.period.covers(now):
        raise ConventionViolation(
            Reason.CONVENTION_NOT_VALID_NOW,
            f"`{convention.id}` is not in force now: see its valid_from and valid_until",
        )


def choose_pagms(convention: ClientConvention, request: VectorRequest) -> tuple[str, ...]:
    """Return the PAGMs asked for, and those that the local roles stand for, each once, in order."""
    if not request.roles:
        return request.pagms
    pagms = list(request.pagms)
    for role in request.roles:
        mapped = convention.roles.get(role)
        if mapped is None:
            raise ConventionViolation(
                Reason.ROLE_UNKNOWN, f"`{shorten(role)}` is not a role of `{convention.id}`"
            )
        pagms += (pagm for pagm in mapped if pagm not in pagms)
    return tuple(pagms)


def choose_reuse(convention: ClientConvention, wanted: bool | None) -> bool:  # noqa: FBT001 - as the request states it
    """Return whether a vector made before will do; a request may decline what the convention grants, not the reverse."""
    if wanted and not convention.reuse:
        raise ConventionViolation(
            Reason.REUSE_NOT_GRANTED,
            f"`{convention.id}` does not grant reuse: ask for a new vector each time",
        )
    return convention.reuse if wanted is None else wanted


def check_pagms(
    convention: ClientConvention, pagms: tuple[str, ...], granted: frozenset[str]
) -> None:
    """Check that there is one, that the caller may have each, and that none stands twice."""
    if not pagms:
        raise ConventionViolation(
            Reason.PAGM_MISSING, f"name at least one PAGM of `{convention.id}` in `pagms`"
        )
    if len(set(pagms)) < len(pagms):
        twice = next(pagm for at, pagm in enumerate(pagms) if pagm in pagms[:at])
        raise MalformedRequest(
            Reason.PAGM_REPEATED, f"PAGM `{shorten(twice)}` stands twice in `pagms`: name it once"
        )
    for pagm in pagms:
        if pagm not in convention.pagms:
            raise ConventionViolation(
                Reason.PAGM_NOT_GRANTED, f"`{shorten(pagm)}` is not a PAGM of `{convention.id}`"
            )
        if pagm not in granted:
            raise ConventionViolation(
                Reason.PAGM_NOT_GRANTED,
                f"no [[caller]] of convention `{convention.id}` grants this caller `{pagm}`",
            )


def choose_level(convention: ClientConvention, level: str | None) -> str:
    """Return the level asked for, when the convention has it, or the convention's first."""
    if level is None:
        return convention.levels[0]
    if level not in convention.levels:
        raise ConventionViolation(
            Reason.LEVEL_NOT_GRANTED,
            f"`{shorten(level)}` is not a level of `{convention.id}`: {', '.join(convention.levels)}",
        )
    return level


def check_subject(convention: ClientConvention, subject: str) -> None:
    """Check that a user's name can be written, and cannot be taken for the absence of a user."""
    if not subject.strip():
        expected = "leave `subject` out to speak for the application itself; it must not be blank"
    elif len(subject) > LONGEST_TEXT:
        expected = f"`subject` has {len(subject)} characters, at most {LONGEST_TEXT} are taken"
    elif not is_xml_text(subject):
        expected = "`subject` holds a character that XML 1.0 cannot carry"
    elif subject == convention.no_user:
        raise ConventionViolation(
            Reason.SUBJECT_INVALID,
            "this `subject` means that there is no user: leave it out instead",
        )
    else:
        return
    raise MalformedRequest(Reason.SUBJECT_INVALID, expected)


def check_attributes(
    convention: ClientConvention, attributes: Mapping[str, tuple[str, ...]]
) -> None:
    """Check that each attribute is declared, and that its values can be written."""
    if sum(map(len, attributes.values())) > MOST_VALUES:
        raise MalformedRequest(
            Reason.ATTRIBUTE_INVALID, f"`attributes` holds more than {MOST_VALUES} values"
        )
    for name, values in attributes.items():
        if name not in convention.attributes:
            raise _refuse_attribute(f"`{shorten(name)}` is not an attribute of `{convention.id}`")
        if not values:
            raise MalformedRequest(
                Reason.ATTRIBUTE_INVALID, f"attribute `{name}` needs a value, or should be left out"
            )
        if any(len(value) > LONGEST_TEXT or not is_xml_text(value) for value in values):
            raise MalformedRequest(
                Reason.ATTRIBUTE_INVALID,
                f"a value of attribute `{name}` is longer than {LONGEST_TEXT} characters, "
                "or holds one that XML 1.0 cannot carry",
            )


def _refuse_attribute(detail: str) -> ConventionViolation:
    return ConventionViolation(Reason.ATTRIBUTE_NOT_GRANTED, detail)


def read_authn_instant(text: str | None, clock: Clock) -> datetime | None:
    """Read when the user was authenticated; None stays None."""
    if text is None:
        return None
    try:
        instant = read_instant(text)
    except ValueError as exc:
        raise MalformedRequest(
            Reason.AUTHN_INSTANT_INVALID,
            f"`authn_instant` is {exc}: write it like 2026-03-01T12:00:00Z, got `{shorten(text)}`",
        ) from exc
    if not is_reached(instant, clock.now(), _FUTURE_AUTHENTICATION):
        raise ConventionViolation(
            Reason.AUTHN_INSTANT_INVALID, "`authn_instant` lies in the future: check the clocks"
        )
    return instant

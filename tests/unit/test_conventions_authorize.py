"""What a client convention lets a caller state."""

from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest

from appliance.clock import FixedClock
from appliance.conventions.authorize import authorize_issue
from appliance.errors import ConventionViolation, Reason
from appliance.vectors.model import AuthorizedRequest, Caller, RequestContext, VectorRequest
from tests.messages import LEVEL
from tests.partners import CLIENT, CONTEXT, make_registry
from tests.pki import NOW

REGISTRY = make_registry(CLIENT)
REQUEST = VectorRequest(convention="client", subject="agent-0042", pagms=("PAGM_CONSULTATION",))


def authorize(context: RequestContext = CONTEXT, **fields: object) -> AuthorizedRequest:
    """Authorize a request that is right but for `fields`."""
    request = msgspec.structs.replace(REQUEST, **fields)
    return authorize_issue(REGISTRY, request, context, FixedClock(NOW))


def test_facts_are_resolved() -> None:
    """What the request leaves out comes from the convention."""
    authorized = authorize()
    assert authorized.issuer == CLIENT.issuer
    assert (authorized.audience, authorized.recipient) == (CLIENT.audience, CLIENT.recipient)
    assert (authorized.subject, authorized.name_id) == ("agent-0042", "agent-0042")
    assert authorized.level == LEVEL
    assert authorized.authn_instant is None
    assert (authorized.key, authorized.signature_algorithm) == (
        "signer",
        CLIENT.signature_algorithm,
    )
    assert (authorized.lifetime, authorized.back_dating) == (3600.0, 10.0)


def test_without_user_the_literal_is_stated() -> None:
    """A vector for the application itself carries the convention's literal, and no subject."""
    authorized = authorize(subject=None)
    assert authorized.subject is None
    assert authorized.name_id == "NON_RENSEIGNE"


def test_what_the_request_may_choose() -> None:
    """Level, authentication instant (to the minute the caller's clock may be ahead) and declared attributes."""
    authorized = authorize(
        authn_context=CLIENT.levels[1],
        authn_instant="2026-03-02T11:01:00+01:00",
        attributes={"service": ("Droits", "Prestations")},
        pagms=("PAGM_GESTION", "PAGM_CONSULTATION"),
        reuse=False,
    )
    assert authorized.level == CLIENT.levels[1]
    assert authorized.authn_instant == datetime(2026, 3, 2, 10, 1, tzinfo=UTC)
    assert authorized.attributes == {"service": ("Droits", "Prestations")}
    assert authorized.pagms == ("PAGM_GESTION", "PAGM_CONSULTATION")


@pytest.mark.parametrize(
    ("fields", "reason", "said"),
    [
        ({"convention": "nobody"}, Reason.CONVENTION_UNKNOWN, "`nobody`"),
        ({"pagms": ()}, Reason.PAGM_MISSING, "at least one"),
        ({"pagms": ("PAGM_ADMIN",)}, Reason.PAGM_NOT_GRANTED, "`PAGM_ADMIN`"),
        ({"pagms": ("pagm_consultation",)}, Reason.PAGM_NOT_GRANTED, "`pagm_consultation`"),
        ({"pagms": ("PAGM_GESTION", "PAGM_GESTION")}, Reason.PAGM_REPEATED, "stands twice"),
        ({"authn_context": "urn:strong"}, Reason.LEVEL_NOT_GRANTED, "`urn:strong`"),
        ({"authn_context": ""}, Reason.LEVEL_NOT_GRANTED, "``"),
        ({"subject": ""}, Reason.SUBJECT_INVALID, "blank"),
        ({"subject": " \t"}, Reason.SUBJECT_INVALID, "blank"),
        ({"subject": "x" * 257}, Reason.SUBJECT_INVALID, "257 characters"),
        ({"subject": "a\x00b"}, Reason.SUBJECT_INVALID, "XML"),
        ({"subject": "a\ufffe"}, Reason.SUBJECT_INVALID, "XML"),
        ({"subject": "a\ud800"}, Reason.SUBJECT_INVALID, "XML"),
        ({"subject": "NON_RENSEIGNE"}, Reason.SUBJECT_INVALID, "no user"),
        ({"attributes": {"town": ("Lyon",)}}, Reason.ATTRIBUTE_NOT_GRANTED, "`town`"),
        ({"attributes": {"PAGM": ("X",)}}, Reason.ATTRIBUTE_NOT_GRANTED, "`PAGM`"),
        ({"attributes": {"service": ()}}, Reason.ATTRIBUTE_NOT_GRANTED, "needs a value"),
        ({"attributes": {"service": ("x" * 257,)}}, Reason.ATTRIBUTE_NOT_GRANTED, "longer"),
        ({"attributes": {"service": ("\x01",)}}, Reason.ATTRIBUTE_NOT_GRANTED, "XML"),
        ({"attributes": {"service": ("x",) * 65}}, Reason.ATTRIBUTE_NOT_GRANTED, "64 values"),
        ({"authn_instant": "2026-03-02T10:00:00"}, Reason.AUTHN_INSTANT_INVALID, "zone"),
        ({"authn_instant": "hier"}, Reason.AUTHN_INSTANT_INVALID, "zone"),
        ({"authn_instant": "2026-03-02T10:01:00.001Z"}, Reason.AUTHN_INSTANT_INVALID, "future"),
        ({"reuse": True}, Reason.REUSE_NOT_GRANTED, "reuse"),
    ],
)
def test_outside_the_convention(fields: dict[str, object], reason: Reason, said: str) -> None:
    """Each thing that the convention does not grant is refused by name."""
    with pytest.raises(ConventionViolation) as raised:
        authorize(**fields)
    assert raised.value.reason is reason
    assert said in raised.value.detail


def test_caller_is_checked_before_the_convention_is_looked_up() -> None:
    """A caller learns nothing about conventions that it may not use, not even whether they exist."""
    context = replace(CONTEXT, caller=Caller("portal", "key", frozenset({"other"})))
    details = set()
    for convention in ("client", "nobody"):
        with pytest.raises(ConventionViolation) as raised:
            authorize(context, convention=convention)
        assert raised.value.reason is Reason.CALLER_NOT_ALLOWED
        details.add(raised.value.detail.replace(convention, ""))
    assert len(details) == 1


def test_refusals_do_not_repeat_everything() -> None:
    """A refusal repeats at most the beginning of what was sent."""
    with pytest.raises(ConventionViolation) as raised:
        authorize(pagms=("P" * 100_000,))
    assert len(raised.value.detail) < 400

"""What a client convention lets a caller state."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import msgspec
import pytest

from appliance.clock import FixedClock
from appliance.conventions.authorize import authorize_issue
from appliance.conventions.model import CallerRule, ClientConvention, KeyChange, Period
from appliance.errors import ConventionViolation, MalformedRequest, Reason
from appliance.trust.names import NamePattern
from appliance.vectors.model import AuthorizedRequest, Caller, RequestContext, VectorRequest
from tests.messages import LEVEL
from tests.partners import CLIENT, CONTEXT, make_registry
from tests.pki import NOW, make_pki, rsa_key

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
        ({"authn_context": "urn:strong"}, Reason.LEVEL_NOT_GRANTED, "`urn:strong`"),
        ({"authn_context": ""}, Reason.LEVEL_NOT_GRANTED, "``"),
        ({"subject": "NON_RENSEIGNE"}, Reason.SUBJECT_INVALID, "no user"),
        ({"attributes": {"town": ("Lyon",)}}, Reason.ATTRIBUTE_NOT_GRANTED, "`town`"),
        ({"attributes": {"PAGM": ("X",)}}, Reason.ATTRIBUTE_NOT_GRANTED, "`PAGM`"),
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


@pytest.mark.parametrize(
    ("fields", "reason", "said"),
    [
        ({"pagms": ("PAGM_GESTION", "PAGM_GESTION")}, Reason.PAGM_REPEATED, "stands twice"),
        ({"subject": ""}, Reason.SUBJECT_INVALID, "blank"),
        ({"subject": " \t"}, Reason.SUBJECT_INVALID, "blank"),
        ({"subject": "x" * 257}, Reason.SUBJECT_INVALID, "257 characters"),
        ({"subject": "a\x00b"}, Reason.SUBJECT_INVALID, "XML"),
        ({"subject": "a\ufffe"}, Reason.SUBJECT_INVALID, "XML"),
        ({"subject": "a\ud800"}, Reason.SUBJECT_INVALID, "XML"),
        ({"attributes": {"service": ()}}, Reason.ATTRIBUTE_INVALID, "needs a value"),
        ({"attributes": {"service": ("x" * 257,)}}, Reason.ATTRIBUTE_INVALID, "longer"),
        ({"attributes": {"service": ("\x01",)}}, Reason.ATTRIBUTE_INVALID, "XML"),
        ({"attributes": {"service": ("x",) * 65}}, Reason.ATTRIBUTE_INVALID, "64 values"),
        ({"authn_instant": "2026-03-02T10:00:00"}, Reason.AUTHN_INSTANT_INVALID, "zone"),
        ({"authn_instant": "hier"}, Reason.AUTHN_INSTANT_INVALID, "zone"),
    ],
)
def test_beyond_any_convention(fields: dict[str, object], reason: Reason, said: str) -> None:
    """What no convention could allow is a malformed request, said once and with what to send instead."""
    with pytest.raises(MalformedRequest) as raised:
        authorize(**fields)
    assert raised.value.reason is reason
    assert raised.value.detail.count(said) == 1


def test_caller_is_checked_before_the_convention_is_looked_up() -> None:
    """A caller learns nothing about conventions that it may not use, not even whether they exist."""
    context = msgspec.structs.replace(CONTEXT, caller=Caller("portal", "key", frozenset({"other"})))
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


def authorize_under(
    convention: ClientConvention, context: RequestContext = CONTEXT, **fields: object
) -> AuthorizedRequest:
    """Authorize a request under another convention."""
    request = msgspec.structs.replace(REQUEST, **fields)
    return authorize_issue(make_registry(convention), request, context, FixedClock(NOW))


def refusal_under(
    convention: ClientConvention, context: RequestContext = CONTEXT, **fields: object
) -> Reason:
    """The reason for which another convention refuses."""
    with pytest.raises(ConventionViolation) as raised:
        authorize_under(convention, context, **fields)
    return raised.value.reason


def test_roles_stand_for_pagms() -> None:
    """A request may name local roles; what they stand for is stated once, the role itself never leaves."""
    convention = replace(
        CLIENT, roles={"chef": ("PAGM_GESTION", "PAGM_CONSULTATION"), "agent": ("PAGM_GESTION",)}
    )
    roles = authorize_under(convention, pagms=(), roles=("agent", "chef"))
    assert roles.pagms == ("PAGM_GESTION", "PAGM_CONSULTATION")
    both = authorize_under(convention, roles=("chef",))
    assert both.pagms == ("PAGM_CONSULTATION", "PAGM_GESTION")
    assert refusal_under(convention, roles=("directeur",)) is Reason.ROLE_UNKNOWN
    assert refusal_under(CLIENT, roles=("chef",)) is Reason.ROLE_UNKNOWN


def test_callers_are_authorised_by_name_network_or_certificate() -> None:
    """A `[[caller]]` lets in by name, by network or by TLS certificate; what several grant adds up; others are refused."""
    front = make_pki("partner").certify_leaf("front-1", rsa_key("front"))
    convention = replace(
        CLIENT,
        callers=(
            CallerRule(names=frozenset({"portail"}), pagms=frozenset({"PAGM_CONSULTATION"})),
            CallerRule(networks=(ip_network("10.1.0.0/16"),), pagms=frozenset({"PAGM_GESTION"})),
            CallerRule(certificates=(NamePattern.read("CN=front-*,O=Tests,C=FR"),)),
        ),
    )
    portal = RequestContext("r", Caller("portail", "key"), "10.2.0.1")
    near = RequestContext("r", Caller("batch", "key"), "10.1.2.3")
    both = RequestContext("r", Caller("portail", "key"), "10.1.2.3")
    shown = RequestContext("r", Caller("front", "key"), "10.9.0.1", front.certificate)
    nobody = RequestContext(
        "r", Caller("batch", "key"), "10.2.0.1", make_pki("partner").leaf.certificate
    )
    unix = RequestContext("r", Caller("uid:0", "unix"), "uid:0")
    every = ("PAGM_CONSULTATION", "PAGM_GESTION")
    assert authorize_under(convention, portal).pagms == ("PAGM_CONSULTATION",)
    assert authorize_under(convention, near, pagms=("PAGM_GESTION",)).pagms == ("PAGM_GESTION",)
    assert authorize_under(convention, both, pagms=every).pagms == every
    assert authorize_under(convention, shown, pagms=every).pagms == every
    assert refusal_under(convention, portal, pagms=every) is Reason.PAGM_NOT_GRANTED
    assert refusal_under(convention, near) is Reason.PAGM_NOT_GRANTED
    for context in (nobody, unix):
        assert refusal_under(convention, context) is Reason.CALLER_NOT_ALLOWED


def test_convention_out_of_force() -> None:
    """Nothing is issued before a convention begins or once it has ended."""
    for period in (Period(None, NOW), Period(NOW + timedelta(seconds=1), None)):
        convention = replace(CLIENT, period=period)
        assert refusal_under(convention) is Reason.CONVENTION_NOT_VALID_NOW
    assert authorize_under(replace(CLIENT, period=Period(NOW, None))).convention == "client"


def test_key_follows_the_roll_over() -> None:
    """The key that signs is the one whose turn it is."""
    past, future = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)
    convention = replace(CLIENT, rollover=(KeyChange("second", past), KeyChange("third", future)))
    assert authorize_under(convention).key == "second"


def test_reuse_is_granted_or_declined() -> None:
    """A convention that grants reuse is followed, unless the request wants a vector of its own."""
    granting = replace(CLIENT, reuse=True, reuse_margin=30.0)
    assert authorize_under(granting).reuse
    assert authorize_under(granting).reuse_margin == 30.0
    assert authorize_under(granting, reuse=True).reuse
    assert not authorize_under(granting, reuse=False).reuse
    assert not authorize_under(CLIENT).reuse
    assert refusal_under(CLIENT, reuse=True) is Reason.REUSE_NOT_GRANTED

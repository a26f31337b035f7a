"""Which convention a received vector falls under, and which it may not (DESIGN 3)."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.conventions.registry import Registry
from appliance.errors import ConfigurationError, ConventionViolation, Reason, ResourceUnknown
from appliance.operations.judge import Question, judge
from appliance.operations.verify import Verdict, verdict_of
from tests.messages import ISSUER, Signing, make_vector
from tests.partners import CLIENT, make_provider, make_registry
from tests.pki import NOW, Pki, make_pki

OTHER_ISSUER = "urn:interops:other"
OTHER_AUDIENCE = "http://service.example/prestations"


@pytest.fixture(scope="module")
def ours() -> Pki:
    """The PKI of the first partner."""
    return make_pki("partner")


@pytest.fixture(scope="module")
def theirs() -> Pki:
    """The PKI of the second partner."""
    return make_pki("stranger")


@pytest.fixture(scope="module")
def registry(ours: Pki, theirs: Pki, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Two services for the first partner, one for the second, each partner with a PKI of its own."""
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    ours.write(first)
    theirs.write(second)
    return make_registry(
        make_provider(first, id="droits"),
        make_provider(
            first, id="prestations", audience=OTHER_AUDIENCE, levels=frozenset({"urn:x"})
        ),
        make_provider(second, id="autre", issuer=OTHER_ISSUER),
        CLIENT,
    )


def decide(
    registry: Registry, octets: bytes, convention: str | None = None, service: str | None = None
) -> Verdict:
    """Judge a message under a choice of conventions."""
    return verdict_of(judge(Question(octets, convention, service), registry, NOW))


def code(verdict: Verdict) -> tuple[str, str]:
    """The fault and the reason of a refusal."""
    assert verdict.fault is not None
    return verdict.fault.code, verdict.fault.reason.value


def test_issuer_and_audience_fix_the_convention(ours: Pki, theirs: Pki, registry: Registry) -> None:
    """Each vector falls under the one convention of its issuer and audience."""
    for signer, fields, convention in (
        (ours, {}, "droits"),
        (ours, {"audiences": (OTHER_AUDIENCE,), "level": "urn:x"}, "prestations"),
        (theirs, {"issuer": OTHER_ISSUER}, "autre"),
    ):
        accepted = decide(registry, make_vector(Signing(signer.leaf), **fields)).accepted
        assert accepted is not None
        assert accepted.convention == convention


def test_level_of_another_convention_does_not_help(ours: Pki, registry: Registry) -> None:
    """A level that only the issuer's other convention takes is refused."""
    message = make_vector(Signing(ours.leaf), level="urn:x")
    assert code(decide(registry, message)) == ("vi:InvalidAuthLevel", "level-mismatch")


def test_a_partner_cannot_speak_for_another(theirs: Pki, registry: Registry) -> None:
    """A certificate that is valid under another convention says nothing for this issuer."""
    message = make_vector(Signing(theirs.leaf), issuer=ISSUER)
    assert code(decide(registry, message)) == ("wsse:FailedCheck", "certificate-not-trusted")


def test_signer_must_be_trusted_by_the_very_convention(
    ours: Pki, theirs: Pki, tmp_path: Path
) -> None:
    """Where one issuer has two conventions with a PKI each, the signer of one does not serve the other's audience."""
    ours.write(tmp_path / "a")
    theirs.write(tmp_path / "b")
    registry = make_registry(
        make_provider(tmp_path / "a", id="a"),
        make_provider(tmp_path / "b", id="b", audience=OTHER_AUDIENCE),
    )
    message = make_vector(Signing(theirs.leaf))
    verdict = decide(registry, message)
    assert code(verdict) == ("wsse:FailedCheck", "signer-not-of-convention")
    assert verdict.fault is not None
    assert verdict.fault.string.endswith(
        "(le certificat du signataire n'est pas celui de la convention)"
    )
    other = make_vector(Signing(theirs.leaf), audiences=(OTHER_AUDIENCE,))
    assert decide(registry, other).accepted is not None


def test_legacy_of_one_convention_does_not_spread(ours: Pki, tmp_path: Path) -> None:
    """SHA-1 is accepted under the convention that says legacy, not under another of the same issuer."""
    ours.write(tmp_path)
    strict = make_provider(tmp_path, id="strict")
    legacy = replace(strict, id="legacy", audience=OTHER_AUDIENCE, allow_sha1=True)
    registry = make_registry(strict, legacy)
    signing = Signing(ours.leaf, hash_name="sha1")
    assert decide(registry, make_vector(signing, audiences=(OTHER_AUDIENCE,))).accepted is not None
    assert code(decide(registry, make_vector(signing))) == (
        "wsse:FailedCheck",
        "signer-not-of-convention",
    )


def test_unknown_issuer_can_only_be_refused(ours: Pki, registry: Registry) -> None:
    """Earlier rules still name their fault (DOMAIN 7, order pitfalls); when all of them pass, it is the issuer."""
    signing = Signing(ours.leaf)
    wrong_audience = make_vector(signing, issuer="urn:unknown", audiences=("http://x",))
    assert code(decide(registry, wrong_audience)) == ("vi:InvalidService", "audience-mismatch")
    expired = make_vector(signing, issuer="urn:unknown", not_on_or_after="2026-03-02T09:00:00Z")
    assert code(decide(registry, expired)) == ("vi:InvalidVI", "expired")
    right = make_vector(signing, issuer="urn:unknown")
    assert code(decide(registry, right)) == ("vi:InvalidIssuer", "issuer-unknown")


def test_convention_restricts(ours: Pki, registry: Registry) -> None:
    """With `convention` nothing but that convention counts."""
    message = make_vector(Signing(ours.leaf))
    assert decide(registry, message, "droits").accepted is not None
    assert code(decide(registry, message, "prestations"))[0] == "vi:InvalidService"
    assert code(decide(registry, message, "autre"))[1] == "certificate-not-trusted"


def test_service_restricts(ours: Pki, registry: Registry) -> None:
    """With `service` the audience must be that service, whether or not a convention knows it."""
    message = make_vector(Signing(ours.leaf))
    assert decide(registry, message, service="http://service.example/droits").accepted is not None
    for service in (OTHER_AUDIENCE, "http://nobody.example"):
        assert code(decide(registry, message, service=service)) == (
            "vi:InvalidService",
            "audience-mismatch",
        )


def test_conventions_that_differ_in_rules_only(ours: Pki, tmp_path: Path) -> None:
    """Of two conventions with one issuer and audience the first by id that accepts counts; a choice narrows it."""
    ours.write(tmp_path)
    registry = make_registry(
        make_provider(tmp_path, id="a", id_style="uuid"), make_provider(tmp_path, id="b")
    )
    prefixed = make_vector(Signing(ours.leaf), id="_x")
    accepted = decide(registry, prefixed).accepted
    assert accepted is not None
    assert accepted.convention == "b"
    assert code(decide(registry, prefixed, "a")) == ("vi:InvalidVI", "id-style")


def test_no_such_convention(ours: Pki, registry: Registry) -> None:
    """A convention that is not there, or is for issuing, is the caller's mistake and no verdict."""
    message = make_vector(Signing(ours.leaf))
    for convention, reason in (
        ("nobody", Reason.CONVENTION_UNKNOWN),
        ("client", Reason.CONVENTION_ROLE),
    ):
        with pytest.raises(ConventionViolation) as raised:
            decide(registry, message, convention)
        assert raised.value.reason is reason


def test_no_provider_convention_at_all(ours: Pki) -> None:
    """Without any provider convention the answer says so."""
    with pytest.raises(ResourceUnknown, match="no provider convention"):
        decide(make_registry(CLIENT), make_vector(Signing(ours.leaf)))


def test_registry_finds_by_role(registry: Registry) -> None:
    """The registry hands a convention out for its role only."""
    assert registry.client("client") is CLIENT
    assert registry.provider("droits").id == "droits"
    assert [each.id for each in registry.clients()] == ["client"]
    with pytest.raises(ConventionViolation, match="provider convention"):
        registry.client("droits")
    assert repr(registry) == "Registry(1 client, 3 provider)"


def test_equal_trust_is_shared(registry: Registry) -> None:
    """Conventions with the same trust settings share one trust, and so one memory."""
    droits, prestations = registry.provider("droits"), registry.provider("prestations")
    assert registry.trust_of(droits) is registry.trust_of(prestations)
    assert registry.trust_of(droits) is not registry.trust_of(registry.provider("autre"))


def test_missing_root_is_a_configuration_error(tmp_path: Path) -> None:
    """A registry is not made when a root cannot be loaded."""
    with pytest.raises(ConfigurationError, match=r"root\.pem"):
        make_registry(make_provider(tmp_path))


def test_signed_bodies_are_known_before_a_message_comes(ours: Pki, tmp_path: Path) -> None:
    """Whether a message must be held whole is known of a service, of all together, and not asked of each convention anew."""
    ours.write(tmp_path)
    registry = make_registry(
        make_provider(tmp_path, id="plain"),
        make_provider(tmp_path, id="signed", audience="urn:b", soap_signed=frozenset({"body"})),
        make_provider(tmp_path, id="timed", audience="urn:c", soap_signed=frozenset({"timestamp"})),
    )
    wanted = {
        service: registry.providers_of_service(service).wants_body_signed
        for service in (make_provider(tmp_path).audience, "urn:b", "urn:c", None)
    }
    assert list(wanted.values()) == [False, True, False, True]

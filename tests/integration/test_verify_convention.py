"""What each provider convention decides for itself: shapes, names, periods, unknown PAGMs, the TLS peer."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.conventions.model import Period
from appliance.conventions.registry import Registry
from appliance.operations.judge import Question, judge
from appliance.operations.verify import Verdict, verdict_of
from appliance.trust.names import NamePattern
from tests.messages import ISSUER, MORE, UNSPECIFIED, Signing, make_vector
from tests.partners import make_partner, make_provider, make_registry
from tests.pki import NOW, Pki, ec_key, make_pki, rsa_key, write_pem

FAILED_CHECK = "wsse:FailedCheck"
OPEN = {"soap-header", "security-header", "lifetime", "name-id-format", "signer-name", "tls-peer"}
SIGNER = "CN=application,O=Tests,C=FR"
ANCHOR = "CN=partner root,O=Tests,C=FR"


@pytest.fixture(scope="module")
def pki() -> Pki:
    """A partner's PKI."""
    return make_pki("partner")


def names(*texts: str) -> tuple[NamePattern, ...]:
    """Patterns."""
    return tuple(map(NamePattern.read, texts))


def decide(
    registry: Registry,
    octets: bytes,
    at: datetime = NOW,
    certificate: bytes | None = None,
    *,
    by_partner: bool = False,
) -> Verdict:
    """Judge a message, with or without a TLS peer."""
    question = Question(octets, tls_certificate=certificate, by_partner=by_partner)
    return verdict_of(judge(question, registry, at))


def fault(verdict: Verdict) -> tuple[str, str]:
    """Code and reason of a refusal; the checks before the one that failed passed, but for those that nobody asked for."""
    assert verdict.fault is not None, "accepted"
    outcomes = [check.outcome for check in verdict.checks]
    at = outcomes.index("failed")
    for check in verdict.checks[:at]:
        assert check.outcome == "passed" or (check.name in OPEN and check.outcome == "not-run")
    assert set(outcomes[at + 1 :]) <= {"not-run"}
    return verdict.fault.code, verdict.fault.reason.value


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"variants": frozenset({"B"})}, (FAILED_CHECK, "signature-profile")),
        (
            {"signature_algorithms": frozenset({f"{MORE}rsa-sha512"})},
            (FAILED_CHECK, "algorithm-not-allowed"),
        ),
        ({"minimum_rsa_bits": 3072}, (FAILED_CHECK, "certificate-invalid")),
        ({"saml_versions": frozenset({"1.1"})}, ("wsse:InvalidSecurityToken", "saml-version")),
        ({"name_id_formats": frozenset({"urn:autre"})}, ("vi:InvalidVI", "name-id-format")),
        (
            {"confirmations": {"2.0": frozenset({"sender-vouches"})}},
            ("vi:InvalidVI", "confirmation-invalid"),
        ),
        (
            {"period": Period(NOW + timedelta(seconds=1), None)},
            ("vi:InvalidIssuer", "convention-not-in-force"),
        ),
        ({"period": Period(None, NOW)}, ("vi:InvalidIssuer", "convention-not-in-force")),
        (
            {"anchor_names": names(SIGNER)},
            (FAILED_CHECK, "anchor-not-of-convention"),
        ),
        ({"signer_names": names(ANCHOR)}, (FAILED_CHECK, "signer-name")),
        ({"signer_names": names("CN=app,O=Tests,C=FR")}, (FAILED_CHECK, "signer-name")),
    ],
)
def test_convention_refuses(
    pki: Pki, tmp_path: Path, fields: dict[str, object], expected: tuple[str, str]
) -> None:
    """The same vector, under a convention that wants something else."""
    registry = make_partner(tmp_path, pki, **fields)
    assert fault(decide(registry, make_vector(Signing(pki.leaf)))) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"variants": frozenset({"A"})},
        {"signature_algorithms": frozenset({f"{MORE}rsa-sha256"})},
        {"name_id_formats": frozenset({UNSPECIFIED})},
        {"period": Period(NOW, NOW + timedelta(seconds=1))},
        {"anchor_names": names(SIGNER, ANCHOR)},
        {"signer_names": names("CN=appli*,O=Tests,C=FR")},
        {"unknown_pagms": "refuse"},
    ],
)
def test_convention_accepts(pki: Pki, tmp_path: Path, fields: dict[str, object]) -> None:
    """And under one that wants just this."""
    registry = make_partner(tmp_path, pki, **fields)
    assert decide(registry, make_vector(Signing(pki.leaf))).accepted is not None


def test_causes_that_the_partner_is_told(pki: Pki, tmp_path: Path) -> None:
    """Only a wrong PKI and a wrong name are told in parentheses (DOMAIN 7, 13); the rest stays on our side."""
    told = {}
    for field in ("anchor_names", "signer_names"):
        registry = make_partner(tmp_path, pki, **{field: names("CN=autre")})
        found = decide(registry, make_vector(Signing(pki.leaf))).fault
        assert found is not None
        told[field] = found.string
    assert told == {
        "anchor_names": "La signature ou le chiffrement n'est pas valide "
        "(le certificat n'a pas été émis par l'IGC de la convention)",
        "signer_names": "La signature ou le chiffrement n'est pas valide "
        "(le nom du certificat n'est pas celui de la convention)",
    }


def test_unknown_pagms_may_refuse(pki: Pki, tmp_path: Path) -> None:
    """One known PAGM is enough by default; a convention may want all of them known."""
    message = make_vector(Signing(pki.leaf), pagms=("PAGM_GESTION", "INCONNU"))
    assert decide(make_partner(tmp_path, pki), message).accepted is not None
    strict = make_partner(tmp_path, pki, unknown_pagms="refuse")
    assert fault(decide(strict, message)) == ("vi:InvalidPagm", "pagm-unknown")


def test_tls_peer_is_bound_to_the_issuer(pki: Pki, tmp_path: Path) -> None:
    """A certificate that the connection shows must be one of the issuer's; the partner's own connection must show one, a caller of ours need not."""
    registry = make_partner(tmp_path, pki, tls_peers=names("CN=front-*,O=Tests,C=FR"))
    message = make_vector(Signing(pki.leaf))
    front = pki.certify_leaf("front-1", rsa_key("front"))
    other = pki.certify_leaf("autre", rsa_key("front"))
    assert decide(registry, message, certificate=front.certificate).accepted is not None
    assert fault(decide(registry, message, certificate=other.certificate)) == (
        FAILED_CHECK,
        "tls-peer",
    )
    asked = decide(registry, message)
    assert asked.accepted is not None
    assert {check.name: check.outcome for check in asked.checks}["tls-peer"] == "not-run"
    assert fault(decide(registry, message, by_partner=True)) == (FAILED_CHECK, "tls-peer")
    shown = decide(registry, message, certificate=front.certificate, by_partner=True)
    assert shown.accepted is not None
    open_to_all = make_partner(tmp_path, pki)
    assert decide(open_to_all, message, by_partner=True).accepted is not None


def test_no_user_and_declared_attributes(pki: Pki, tmp_path: Path) -> None:
    """The literal for no user is nobody's name, and only declared attributes are passed on."""
    registry = make_partner(tmp_path, pki, attributes=frozenset({"service"}))
    message = make_vector(
        Signing(pki.leaf),
        name_id="NON_RENSEIGNE",
        attributes=(("service", "Droits"), ("secret", "x")),
    )
    accepted = decide(registry, message).accepted
    assert accepted is not None
    assert accepted.subject is None
    assert accepted.attributes == {"service": ("Droits",)}


def test_roll_over_of_the_partners_certificate(pki: Pki, tmp_path: Path) -> None:
    """While the partner changes its certificate, both are pinned; afterwards one."""
    old, new = pki.leaf, pki.certify_leaf("new", ec_key("new"))
    pki.write(tmp_path)
    write_pem(tmp_path / "old.pem", old)
    write_pem(tmp_path / "new.pem", new)
    both = make_registry(
        make_provider(tmp_path, certificates=(tmp_path / "old.pem", tmp_path / "new.pem"))
    )
    only_new = make_registry(make_provider(tmp_path, certificates=(tmp_path / "new.pem",)))
    for holder in (old, new):
        assert decide(both, make_vector(Signing(holder))).accepted is not None
    assert decide(only_new, make_vector(Signing(new))).accepted is not None
    assert fault(decide(only_new, make_vector(Signing(old)))) == (
        FAILED_CHECK,
        "certificate-not-trusted",
    )


def test_markup_inside_a_value_is_refused(pki: Pki, tmp_path: Path) -> None:
    """A signed NameID with an element inside is no name that two readers would read alike."""
    registry = make_partner(tmp_path, pki)
    message = make_vector(Signing(pki.leaf), level="urn:a<x/>b")
    assert fault(decide(registry, message)) == ("wsse:InvalidSecurityToken", "structure-invalid")


def test_ten_thousand_conventions_cost_an_unknown_issuer_nothing(pki: Pki, tmp_path: Path) -> None:
    """However many there are, only trusts that know a CA of the chain are asked about a stranger's signer, and one convention of each kind."""
    pki.write(tmp_path / "ours")
    stranger = make_pki("stranger")
    stranger.write(tmp_path / "theirs")
    registry = make_registry(
        make_provider(tmp_path / "ours", id="ours"),
        *(
            make_provider(tmp_path / "theirs", id=f"c{at}", issuer=f"urn:{at}", crl_grace=float(at))
            for at in range(50)
        ),
    )
    asked = []
    for group in registry.trusts():
        group.trust.check = lambda chain, at, group=group, was=group.trust.check: (  # type: ignore[method-assign]
            asked.append(group),
            was(chain, at),
        )[1]
    verdict = decide(registry, make_vector(Signing(pki.leaf), issuer="urn:unknown"))
    assert fault(verdict) == ("vi:InvalidIssuer", "issuer-unknown")
    assert len(asked) == 1
    assert len(registry.providers().unlike) == 1
    assert registry.providers().of_issuer(ISSUER)[0].id == "ours"


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        ({"id": "pfx-1"}, "issuer-unknown"),
        ({"not_on_or_after": "2026-03-02T09:00:00Z"}, "expired"),
        ({"not_on_or_after": "2026-03-02T09:58:00Z"}, "issuer-unknown"),
        ({"not_on_or_after": "2026-03-03T10:00:00Z"}, "issuer-unknown"),
        ({"audiences": ("urn:none",)}, "audience-mismatch"),
        ({"audiences": ("urn:other",)}, "level-mismatch"),
        ({"recipient": "urn:none"}, "recipient-mismatch"),
        ({"level": "urn:other"}, "level-mismatch"),
    ],
)
def test_unknown_issuer_is_held_against_each_kind(
    pki: Pki, tmp_path: Path, stated: dict[str, object], reason: str
) -> None:
    """Conventions that differ in any rule before the issuer's are different kinds: what one of them passes is refused further on."""
    pki.write(tmp_path)
    differing: tuple[dict[str, object], ...] = (
        {"id_style": "uuid", "name_id_formats": frozenset({UNSPECIFIED}), "skew": 0.0},
        {"maximum_lifetime": 60.0, "confirmations": {"2.0": frozenset(), "1.1": frozenset()}},
        {"audience": "urn:other", "levels": frozenset({"urn:level"})},
        {"skew": 300.0},
        {"saml_versions": frozenset({"1.1"})},
    )
    registry = make_registry(
        *(
            make_provider(tmp_path, id=f"{at}-{again}", issuer=f"urn:{at}:{again}", **fields)
            for again in range(3)
            for at, fields in enumerate(differing)
        )
    )
    assert len(registry.providers().unlike) == len(differing)
    verdict = decide(registry, make_vector(Signing(pki.leaf), issuer="urn:unknown", **stated))
    assert fault(verdict)[1] == reason


def test_instant_of_the_machine_does_not_matter(pki: Pki, tmp_path: Path) -> None:
    """A clock that jumps changes the verdict as far as the vector's own dates do, and back again."""
    registry = make_partner(tmp_path, pki)
    message = make_vector(Signing(pki.leaf))
    for at, accepted in (
        (NOW, True),
        (NOW + timedelta(days=1), False),
        (NOW, True),
        (datetime(2026, 3, 1, tzinfo=UTC), False),
        (NOW, True),
    ):
        assert (decide(registry, message, at).accepted is not None) is accepted

"""How much of a person an entry keeps, as its convention says."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.conventions.model import TraceLevel, TracePolicy as ConventionPolicy
from appliance.conventions.registry import Registry
from appliance.conventions.retention import trace_policy
from appliance.errors import ConfigurationError
from appliance.trace.policy import TracePolicy, strictest
from appliance.trace.privacy import Pseudonyms, make_key, protect
from tests.partners import CLIENT, make_provider, make_registry
from tests.pki import make_pki
from tests.trace_entries import make_entry


def test_levels_keep_what_they_say() -> None:
    """Full keeps names, pseudonymous a keyed hash that is the same each time, minimal nothing; all else stays."""
    entry = make_entry(subject="agent-0042", name_id="agent-0042")
    pseudonyms = Pseudonyms(bytes(32))
    assert protect(entry, "full", pseudonyms) == entry
    hashed = protect(entry, "pseudonymous", pseudonyms)
    assert hashed.personal == "pseudonymous"
    assert hashed.subject == hashed.name_id == pseudonyms.of("agent-0042")
    assert hashed.subject != Pseudonyms(b"x" * 32).of("agent-0042")
    assert hashed.subject is not None
    assert "agent" not in hashed.subject
    minimal = protect(entry, "minimal", pseudonyms)
    assert (minimal.personal, minimal.subject, minimal.name_id) == ("minimal", None, None)
    assert minimal.assertion_id == hashed.assertion_id == entry.assertion_id
    assert protect(entry, "pseudonymous", None) == minimal


def test_key_is_read_from_its_owners_file_only(tmp_path: Path) -> None:
    """64 hexadecimal digits, readable by nobody else; anything else is refused with what to do."""
    file = tmp_path / "pseudonyms"
    file.write_text(make_key())
    file.chmod(0o600)
    assert Pseudonyms.load(file).of("a") == Pseudonyms(bytes.fromhex(file.read_text())).of("a")
    assert "hmac" not in repr(Pseudonyms.load(file))
    file.chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        Pseudonyms.load(file)
    file.chmod(0o600)
    file.write_text("too short")
    with pytest.raises(ConfigurationError, match="64 hexadecimal digits"):
        Pseudonyms.load(file)
    with pytest.raises(ConfigurationError, match="readable key"):
        Pseudonyms.load(tmp_path / "absent")


def test_doubt_keeps_least() -> None:
    """Where several conventions may be meant, the one that keeps least of a person counts."""
    policies = [
        TracePolicy("a", "full"),
        TracePolicy("b", "minimal"),
        TracePolicy("c", "pseudonymous"),
    ]
    assert strictest(policies) == TracePolicy("b", "minimal")
    assert strictest([]) == TracePolicy()


def test_policy_is_found_without_a_look_at_every_convention(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an entry's convention its own, of an issuer alone that of both roles that keeps least; no other convention is looked at."""

    def policy(level: TraceLevel) -> ConventionPolicy:
        return ConventionPolicy(level, 2)

    make_pki("partner").write(tmp_path)
    registry = make_registry(
        replace(CLIENT, id="ours", issuer="urn:a", trace=policy("minimal")),
        make_provider(tmp_path, id="theirs", issuer="urn:b", trace=policy("full")),
        *(replace(CLIENT, id=f"other-{at}", issuer=f"urn:{at}") for at in range(3)),
        replace(CLIENT, id="back", issuer="urn:b", trace=policy("pseudonymous")),
    )
    assert trace_policy(registry, "theirs", "urn:a") == TracePolicy("2y", "full")
    assert trace_policy(registry, None, "urn:b") == TracePolicy("2y", "pseudonymous")
    monkeypatch.setattr(Registry, "all", None)
    assert trace_policy(registry, "ours", "urn:a") == TracePolicy("2y", "minimal")
    assert trace_policy(registry, None, "urn:0") == TracePolicy()
    assert trace_policy(registry, "absent", "urn:a") == TracePolicy()
    assert trace_policy(registry, None, "urn:absent") == TracePolicy()


def test_nobody_is_claimed_by_no_convention() -> None:
    """An entry that no convention and no issuer names falls under the default."""

    class NoRegistry:
        """A registry nobody may ask."""

    assert trace_policy(NoRegistry(), None, None) == TracePolicy()

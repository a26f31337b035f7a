"""The null token of the shim: a token in everything but the worth of its signatures, so that no check has to be switched off."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from hsm.inventory import read_inventory
from hsm.pin import PinFile
from hsm.settings import KeySettings, TokenSettings
from tests.shim import MODULE, NULL_PUBLIC_KEY, Shim
from tests.shim_client import DIGEST, Client, run_client
from tests.softhsm import verifies, write_pin

README = Path(__file__).parents[2] / "native" / "pkcs11-shim" / "README.md"
LABEL = "null token"


@pytest.fixture
def null(tmp_path: Path) -> Shim:
    """A null token with its key under two names."""
    return Shim.null(tmp_path / "state", LABEL, "signing:01", "audit:0a0b")


@pytest.fixture
def client(null: Shim) -> Iterator[Client]:
    """A program that has opened a session with it; any PIN is right."""
    environment = os.environ | null.environment
    with run_client(MODULE, environment, (LABEL, "audit"), "any") as client:
        assert client.ask("open").startswith("ok")
        yield client


def test_every_check_of_ours_accepts_it(
    null: Shim, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Listing, fitness and a hundred probes verified outside the token find nothing wrong; its names say what it is."""
    pin = PinFile(str(write_pin(tmp_path / "pin", "any")))
    token = TokenSettings("null", str(MODULE), LABEL, pin, str(tmp_path), null.environment)
    keys = [
        KeySettings("signing", "signing", "01", NULL_PUBLIC_KEY),
        KeySettings("audit", "audit", "0a0b"),
    ]
    inventory = read_inventory(token, keys, signatures=100)
    assert [(key.label, key.id, key.bits) for key in inventory.stored] == [
        ("signing", "01", 256),
        ("audit", "0a0b", 256),
    ]
    assert [(check.finding, check.signatures) for check in inventory.checks] == [(None, 100)] * 2
    assert null.count("C_Sign") == 200
    assert "FORGEABLE" in inventory.token.manufacturer
    assert "FORGEABLE" in inventory.token.model
    assert "anyone can forge" in capfd.readouterr().err


def test_its_signatures_verify(client: Client) -> None:
    """What it signs verifies with the published key, as `cryptography` sees it."""
    outcome, _, signature = client.ask("sign").partition(" ")
    assert outcome == "ok"
    assert verifies(NULL_PUBLIC_KEY, "sha256", DIGEST, bytes.fromhex(signature))


def test_it_obeys_the_shim(null: Shim, client: Client) -> None:
    """Faults, dropped sessions and absence are those of any token behind the shim."""
    null.fail("C_SignInit", "CKR_DEVICE_ERROR", times=1)
    assert [client.ask("sign"), client.ask("sign")[:2]] == ["DeviceError", "ok"]
    null.drop_sessions()
    assert client.ask("sign") == "SessionHandleInvalid"
    assert client.ask("open").startswith("ok")
    null.remove_token()
    assert [client.ask("sign"), client.ask("tokens")] == ["DeviceRemoved", "ok 0 1"]
    null.return_token()
    assert client.ask("sign") == "SessionHandleInvalid"
    assert client.ask("open").startswith("ok")
    assert client.ask("sign").startswith("ok")


@pytest.mark.parametrize(("profile", "engines"), [("network-5ms-16", 16), ("network-1ms-30", 30)])
def test_it_models_a_network_hsm(null: Shim, client: Client, profile: str, engines: int) -> None:
    """A profile delays each signature once, not the questions around it, and sets how many may be made at once."""
    assert client.ask("sign").startswith("ok")  # python-pkcs11 reads the key's type the first time
    rule = null.profile(profile)
    before = {call: null.count(call, "entered") for call in ("C_SignInit", "C_Sign")}
    assert client.ask("sign").startswith("ok")
    assert null.count("C_SignInit", "entered") - before["C_SignInit"] == 1
    assert null.count("C_Sign", "entered") - before["C_Sign"] == 2
    status = null.status()
    assert (status["limit"], status["peak"], status["held"]) == (engines, 1, 0)
    assert [(met["rule"], met["hits"]) for met in status["rules"]] == [(rule, 1)]


def test_its_key_is_published() -> None:
    """The README has the public key, to make certificates for."""
    _, begin, rest = README.read_text().partition("-----BEGIN PUBLIC KEY-----")
    body, end, _ = rest.partition("-----END PUBLIC KEY-----")
    key = load_pem_public_key(f"{begin}{body}{end}".encode())
    encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert encoded == NULL_PUBLIC_KEY

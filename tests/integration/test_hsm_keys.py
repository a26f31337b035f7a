"""Keys that a lane must not sign with, in a real token: each keeps the lane from starting, by name."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from hsm.errors import HsmError
from hsm.pin import PinFile
from hsm.process import start_lane
from hsm.provision.softhsm import SoftHsmToken, create_softhsm_token
from hsm.settings import KeySettings, LaneSettings
from tests.softhsm import PIN, write_pin

pytestmark = [pytest.mark.hsm, pytest.mark.slow]

# Run in a process of its own, as everything that loads a module; the PIN comes on standard input.
MAKE_KEYS = """
import sys
import pkcs11
from pkcs11 import Attribute, KeyType, MechanismFlag
from pkcs11.util.ec import encode_named_curve_parameters

module, label = sys.argv[1:]
session = pkcs11.lib(module).get_token(token_label=label).open(rw=True, user_pin=sys.stdin.read())
SIGN = MechanismFlag.SIGN | MechanismFlag.VERIFY
KEPT = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}

def rsa(name, capabilities=SIGN, **private):
    template = KEPT | {getattr(Attribute, key.upper()): value for key, value in private.items()}
    identity = bytes.fromhex(name)
    session.generate_keypair(
        KeyType.RSA, 2048, id=identity, label=name, store=True, capabilities=capabilities, private_template=template
    )

def curve(name, kind, parameters):
    domain = session.create_domain_parameters(kind, {Attribute.EC_PARAMS: parameters}, local=True)
    return domain.generate_keypair(
        id=bytes.fromhex(name), label=name, store=True, capabilities=SIGN, private_template=KEPT
    )

rsa("10", extractable=True)
rsa("11", sensitive=False)
rsa("12", capabilities=MechanismFlag.DECRYPT)
rsa("13")
rsa("13")
curve("14", KeyType.EC, encode_named_curve_parameters("secp521r1"))
curve("15", KeyType.EC_EDWARDS, b"\\x13\\x0cedwards25519")
public, _ = curve("16", KeyType.EC, encode_named_curve_parameters("secp256r1"))
public.destroy()
"""


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> SoftHsmToken:
    """A token with one key of each unfit sort."""
    token = create_softhsm_token(tmp_path_factory.mktemp("odd") / "token", "odd", PIN, "so-624180")
    subprocess.run(
        [sys.executable, "-c", MAKE_KEYS, str(token.module), token.label],
        input=PIN.encode(),
        env=token.environment,
        check=True,
        timeout=60,
    )
    return token


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("10", "KEY_EXTRACTABLE", "could leave the token"),
        ("11", "KEY_EXTRACTABLE", "could leave the token"),
        ("12", "KEY_MAY_NOT_SIGN", "CKA_SIGN is false"),
        ("13", "KEY_NOT_UNIQUE", "give the key an id of its own"),
        ("14", "KEY_CURVE_NOT_SUPPORTED", "neither P-256 nor P-384"),
        ("15", "KEY_TYPE_NOT_SUPPORTED", "neither RSA nor EC"),
        ("16", "PUBLIC_KEY_NOT_FOUND", "configure the key's certificate"),
        ("7f", "KEY_NOT_FOUND", "appliance hsm list"),
    ],
)
def test_an_unfit_key_is_named(
    token: SoftHsmToken, short_path: Path, name: str, code: str, said: str
) -> None:
    """What could leave the token, may not sign, stands twice, is of another kind or cannot prove itself: the lane says which."""
    settings = describe_lane(token, short_path, KeySettings("unfit", name, name))
    with pytest.raises(HsmError, match=said) as raised:
        asyncio.run(start_lane(settings))
    assert raised.value.finding.code == code
    assert raised.value.target.key == "unfit"
    assert not Path(settings.socket).exists()


def describe_lane(token: SoftHsmToken, directory: Path, key: KeySettings) -> LaneSettings:
    """Describe a lane with one key."""
    pin_file = write_pin(directory / "pin", PIN)
    return LaneSettings(
        token=token.settings("odd", PinFile(str(pin_file)), directory),
        keys=(key,),
        socket=str(directory / "lane.sock"),
        allowed_uids=(0,),
    )


@pytest.mark.parametrize("name", ["10", "11"])
def test_a_demonstration_takes_a_key_that_could_leave(
    token: SoftHsmToken, short_path: Path, name: str
) -> None:
    """Only where the configuration says `demo` does such a key sign."""
    key = KeySettings("demo", name, name, may_leave=True)

    async def run() -> None:
        lane = await start_lane(describe_lane(token, short_path, key))
        assert [each.name for each in lane.ready.keys] == ["demo"]
        await lane.stop()

    asyncio.run(run())

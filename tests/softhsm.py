"""A throw-away SoftHSM token with keys of each kind, bare or behind the shim, and real lanes on it."""

import dataclasses
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import load_der_public_key

from hsm.pin import PinFile
from hsm.provision.keygen import KeyPlan, generate_keys
from hsm.provision.softhsm import SoftHsmToken, create_softhsm_token
from hsm.report import LaneReady, LaneReport
from hsm.settings import KeySettings, LaneSettings, TokenSettings
from tests.shim import MODULE, Shim

PIN = "624180"
HASHES = {"sha256": SHA256(), "sha384": SHA384(), "sha512": SHA512()}

RSA_PLANS = (
    KeyPlan("rsa-2048", "01", "rsa-2048"),
    KeyPlan("rsa-4096", "02", "rsa-4096"),
    KeyPlan("rsa-3072", "04", "rsa-3072"),
)
EC_PLANS = (KeyPlan("p-256", "03", "p-256"), KeyPlan("p-384", "05", "p-384"))
_START_TIMEOUT = 30.0


@dataclass(frozen=True)
class SoftHsm:
    """The token: `keys` maps a key's name to what a lane is told about it, certified public key included."""

    token: SoftHsmToken
    pin_file: Path
    keys: dict[str, KeySettings]

    def behind(self, shim: Shim) -> "SoftHsm":
        """The same token, reached through the shim."""
        environment = self.token.environment | shim.environment
        token = dataclasses.replace(self.token, module=MODULE, environment=environment)
        return dataclasses.replace(self, token=token)

    def settings(self, state_directory: Path, pin_file: Path | None = None) -> TokenSettings:
        """Describe the token, with the right PIN unless another file is named."""
        pin = PinFile(str(pin_file or self.pin_file))
        return self.token.settings("main", pin, state_directory)

    def lane_settings(self, directory: Path, index: int = 0, **overrides: object) -> LaneSettings:
        """Describe a lane with every key, its socket and its state in `directory`."""
        settings = LaneSettings(
            token=self.settings(directory),
            keys=tuple(self.keys.values()),
            socket=str(directory / f"lane-{index}.sock"),
            allowed_uids=(os.geteuid(),),
            index=index,
        )
        return msgspec.structs.replace(settings, **overrides)


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    """One token for all tests, with a key of each kind."""
    return make_softhsm(tmp_path_factory.mktemp("softhsm"), (*RSA_PLANS, *EC_PLANS))


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory whose path leaves room for a unix socket's name (107 octets)."""
    directory = Path(tempfile.mkdtemp(prefix="lane-"))
    yield directory
    shutil.rmtree(directory)


def make_softhsm(directory: Path, plans: tuple[KeyPlan, ...]) -> SoftHsm:
    """Make a token called `main` and its keys."""
    token = create_softhsm_token(directory / "token", "main", PIN, "so-624180")
    return fill_token(token, directory, plans)


def fill_token(token: SoftHsmToken, directory: Path, plans: tuple[KeyPlan, ...]) -> SoftHsm:
    """Make keys in a token that exists, whoever made it."""
    pin_file = write_pin(directory / "pin", PIN)
    settings = token.settings("main", PinFile(str(pin_file)), directory / "state")
    keys = {
        key.plan.label: KeySettings(key.plan.label, key.plan.label, key.plan.id, key.public_key)
        for key in generate_keys(settings, plans)
    }
    return SoftHsm(token, pin_file, keys)


def write_pin(file: Path, pin: str) -> Path:
    """Write a PIN file as the appliance wants it."""
    file.write_text(f"{pin}\n")
    file.chmod(0o600)
    return file


@dataclass(frozen=True)
class RunningLane:
    """A lane process that has said it is ready."""

    process: "subprocess.Popen[bytes]"
    ready: LaneReady
    socket: Path


@contextmanager
def run_lane(settings: LaneSettings) -> Iterator[RunningLane]:
    """Run a lane until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hsm.lane"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        try:
            process.stdin.write(msgspec.json.encode(settings) + b"\n")
            process.stdin.flush()
            report = msgspec.json.decode(process.stdout.readline(), type=LaneReport)
            assert isinstance(report, LaneReady), report
            yield RunningLane(process, report, Path(settings.socket))
        finally:
            process.kill()


def verifies(public_key: bytes, hash_name: str, digest: bytes, signature: bytes) -> bool:
    """Ask `cryptography` whether a lane's signature is right; raises InvalidSignature when it is not."""
    key, prehashed = load_der_public_key(public_key), Prehashed(HASHES[hash_name])
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, digest, padding.PKCS1v15(), prehashed)
    else:
        half = len(signature) // 2
        assert half * 8 == key.key_size
        r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
        key.verify(encode_dss_signature(r, s), digest, ec.ECDSA(prehashed))
    return True


def wait_for(condition: Callable[[], bool], what: str, timeout: float = 10.0) -> None:
    """Poll until something in another process has happened."""
    deadline = time.monotonic() + timeout
    for _ in itertools.count():
        if condition():
            return
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}"
        time.sleep(0.01)

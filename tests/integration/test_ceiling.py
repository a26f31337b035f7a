"""The token's ceiling: measured with processes through python-pkcs11 and with threads of the native loop, neither at the PIN's expense."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from bench import ceiling
from bench.ceiling import NATIVE_LOOP, measure_native_ceiling
from hsm.errors import Finding, HsmError
from hsm.native_ceiling import NativeRequest
from hsm.settings import KeySettings, TokenSettings
from tests.shim import Shim
from tests.softhsm import PIN, SoftHsm, verifies, wait_for

pytestmark = pytest.mark.hsm

DIGEST = b"\x5a" * 32
KINDS = ("rsa-2048", "rsa-3072", "rsa-4096", "p-256", "p-384")


@pytest.fixture
def token(softhsm: SoftHsm) -> SoftHsm:
    """A token with a key of every kind."""
    assert set(softhsm.keys) == set(KINDS)
    return softhsm


@pytest.fixture
def shim(token: SoftHsm, tmp_path: Path) -> Shim:
    """A shim before it."""
    return Shim.before(token.token.module, tmp_path / "shim")


def run_loop(token: SoftHsm, key: str, scheme: str) -> "subprocess.CompletedProcess[str]":
    """Run the native loop as a person would."""
    return subprocess.run(
        [NATIVE_LOOP, token.token.module, "main", token.keys[key].id, scheme, "2", "0"],
        env=os.environ | token.token.environment,
        input=f"{PIN}\n\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_both_loops_measure_every_mechanism(token: SoftHsm) -> None:
    """`python -m bench ceiling` measures each key with each scheme it has, by 1 … n processes and as many threads."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bench", "ceiling", "--module", token.token.module),
            *("--token-label", "main", "--pin-file", token.pin_file),
            *("--lanes", "1,2", "--seconds", "0.01", "--json"),
        ],
        env=os.environ | token.token.environment,
        capture_output=True,
        check=True,
    )
    results = json.loads(done.stdout)
    schemes = [(kind, s) for kind in KINDS[:3] for s in ("pkcs1", "pss")]
    schemes += [("p-256", "ecdsa"), ("p-384", "ecdsa")]
    assert {(r["mechanism"], r["scheme"], r["loop"], r["lanes"]) for r in results} == {
        (*scheme, loop, lanes)
        for scheme in schemes
        for loop in ("python", "native")
        for lanes in (1, 2)
    }
    assert all(result["rate"] > 0 and result["cpu_seconds"] > 0 for result in results)


@pytest.mark.parametrize("key", KINDS)
def test_the_native_loop_makes_real_signatures(token: SoftHsm, key: str) -> None:
    """Its first signature with each scheme verifies, and each of its threads signs at least once."""
    public_key = token.keys[key].public_key
    for scheme in ("pkcs1", "pss") if key.startswith("rsa") else ("ecdsa",):
        ready, done = run_loop(token, key, scheme).stdout.splitlines()
        signature = bytes.fromhex(ready.removeprefix("ready "))
        if scheme == "pss":
            pss = padding.PSS(padding.MGF1(SHA256()), 32)
            load_der_public_key(public_key).verify(signature, DIGEST, pss, Prehashed(SHA256()))
        else:
            assert verifies(public_key, "sha256", DIGEST, signature)
        assert int(done.split()[1]) >= 2


def test_the_shim_may_be_called_by_threads(token: SoftHsm, shim: Shim) -> None:
    """The loop's two threads and the shim count the same signatures, some of them late."""
    shim.delay("C_Sign", 0.001, chance=0.5)
    done = run_loop(token.behind(shim), "p-256", "ecdsa").stdout.splitlines()[1]
    assert shim.count("C_Sign") == int(done.split()[1]) + 1


def test_the_native_loop_says_what_the_token_refuses(token: SoftHsm, shim: Shim) -> None:
    """A function and its code on standard output, and a status of their own."""
    shim.fail("C_SignInit", "CKR_KEY_FUNCTION_NOT_PERMITTED")
    refused = run_loop(token.behind(shim), "p-256", "ecdsa")
    assert refused.stdout == "failed C_SignInit CKR_KEY_FUNCTION_NOT_PERMITTED\n"
    assert refused.returncode == 3


def test_a_wrong_pin_is_tried_once(token: SoftHsm, shim: Shim, tmp_path: Path) -> None:
    """The native loop logs in through the PIN guard: a refusal is recorded, and the token is not asked again."""
    shim.fail("C_Login", "CKR_PIN_INCORRECT")
    settings = token.behind(shim).settings(tmp_path)
    codes = []
    for _ in range(2):
        with pytest.raises(HsmError) as caught:
            measure_native_ceiling(settings, token.keys["p-256"], 2, 0.01, "ecdsa")
        codes.append(caught.value.finding.code)
    assert codes == ["CKR_PIN_INCORRECT", "PIN_REFUSED_BEFORE"]
    assert shim.count("C_Login", "entered") == 1


def test_the_pin_stands_nowhere(token: SoftHsm, shim: Shim, tmp_path: Path) -> None:
    """While the loop logs in, no process has the PIN on its command line or in its environment."""
    rule = shim.hang("C_Login", times=1)
    settings = token.behind(shim).settings(tmp_path)
    request = NativeRequest(settings, token.keys["p-256"], 0.01, 1, "ecdsa", str(NATIVE_LOOP))
    with subprocess.Popen(
        [sys.executable, "-m", "hsm.native_ceiling"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdin.write(msgspec.json.encode(request) + b"\n\n")
        process.stdin.flush()
        wait_for(lambda: shim.count("C_Login", "hung") == 1, "the loop to log in")
        seen = b"".join(_read_process(place) for place in Path("/proc").glob("[0-9]*"))
        shim.clear(rule)
        assert process.stdout.readline() == b"ready\n"
    assert b"pkcs11-ceiling" in seen
    assert PIN.encode() not in seen


def test_a_loop_that_is_not_there_is_named(token: SoftHsm, tmp_path: Path) -> None:
    """Words the loop does not take end in an error, not in a wait."""
    settings = msgspec.structs.replace(token.settings(tmp_path), label="main")
    key = msgspec.structs.replace(token.keys["p-256"], id="ff")
    with pytest.raises(HsmError, match="native loop ended unasked"):
        measure_native_ceiling(settings, key, 1, 0.01, "ecdsa")


def test_a_token_without_pss_is_measured_without(
    token: SoftHsm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mechanism the token does not offer is left out, not an error of the run."""
    measured = ceiling.measure_ceiling

    def refuse_pss(
        settings: TokenSettings, key: KeySettings, lanes: int, seconds: float
    ) -> ceiling.Ceiling:
        if key.mechanism == "rsa-pss":
            finding = Finding("CKR_MECHANISM_INVALID", "request", "", "")
            raise HsmError(settings.target, finding)
        return measured(settings, key, lanes, seconds)

    monkeypatch.setattr(ceiling, "measure_ceiling", refuse_pss)
    place = (token.settings(tmp_path), token.keys["rsa-2048"])
    results = list(ceiling._measure_place(place, (1,), 0.01))
    assert [(result.scheme, result.loop) for result in results] == [
        ("pkcs1", "python"),
        ("pkcs1", "native"),
    ]


def _read_process(place: Path) -> bytes:
    try:
        return (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
    except OSError:
        return b""  # it has ended, or is not ours to look at


def test_workers_share_the_lanes_they_are_measured_through(token: SoftHsm, shim: Shim) -> None:
    """`python -m bench lanes --workers 2`: what two processes had signed by one lane, verified, beside the ceiling of the same run."""
    settings = token.behind(shim).token
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bench", "lanes", "--json", "--rounds", "1"),
            *("--module", settings.module, "--token-label", "main", "--pin-file", token.pin_file),
            *("--key-label", "p-256", "--seconds", "0.3", "--lanes", "1", "--workers", "2"),
        ],
        env=os.environ | settings.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    [result] = json.loads(done.stdout)
    assert (result["lanes"], result["workers"]) == (1, 2)
    assert 0 < result["rate"] * 0.3 <= shim.count("C_Sign")
    assert 0 < result["raw"] * 0.3 <= shim.count("C_Sign")

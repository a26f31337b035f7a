"""What every signer of checkpoints must do: the audit key of a real lane, of each kind, and the one in software that other tests use."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.errors import CheckpointRefused, HsmUnavailable, Reason
from appliance.native import LogEdge
from appliance.signing.checkpoints import CheckpointClient
from appliance.trace.checkpoint import (
    AuditKey,
    Checkpoint,
    read_audit_key,
    read_checkpoint,
    write_note,
)
from hsm.opened import OpenToken
from hsm.provision.keygen import KeyPlan
from hsm.settings import KeySettings
from hsm.signer import FrameSigner
from hsm.wire import SignFailure, SignFrame, SignJob
from tests.logs import SoftwareSigner
from tests.softhsm import SoftHsm, make_softhsm, run_lane

ORIGIN = "trace.test/a/worker-0.standard.2026"
ENTRIES = [f"entry {number}".encode() for number in range(40)]

pytestmark = pytest.mark.hsm


@pytest.fixture(scope="module")
def audit_token(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    """A token with an audit key of each kind."""
    plans = (KeyPlan("ed", "01", "ed25519"), KeyPlan("p256", "02", "p-256"))
    return make_softhsm(tmp_path_factory.mktemp("audit"), plans)


Signer = tuple[Callable[..., bytes], AuditKey]


@pytest.fixture(params=["ed", "p256", "software"])
def signer(
    request: pytest.FixtureRequest, audit_token: SoftHsm, short_path: Path
) -> Iterator[Signer]:
    """How to have a checkpoint signed, and the key that does it."""
    if request.param == "software":
        software = SoftwareSigner()
        yield software.sign, software.key
        return
    key = audit_token.keys[request.param]
    settings = audit_token.lane_settings(short_path, keys=(), audit=key)
    with run_lane(settings) as lane:
        client = CheckpointClient([lane.socket])
        yield client.sign, read_audit_key(key.public_key)
        client.close()


def edge(size: int) -> LogEdge:
    """The log of the first entries."""
    return LogEdge(0, [], b"").grow(ENTRIES[:size]).edge


def proof(first: int, size: int) -> list[bytes]:
    """The proof that one is the beginning of the other."""
    return edge(first).grow(ENTRIES[first:size]).prove_from(first)


def test_signature_verifies_as_a_note(signer: Signer) -> None:
    """What is signed is the text of the checkpoint, and the note opens with the public key alone."""
    sign, key = signer
    checkpoint = Checkpoint(ORIGIN, 7, edge(7).root)
    note = write_note(checkpoint, key, sign(ORIGIN, 7, checkpoint.root, 0, []))
    assert key.open(read_checkpoint(note)) == checkpoint


def test_only_what_extends_the_last_is_signed(signer: Signer) -> None:
    """Growth with its proof is signed, the same again too; a fork, a step back and a wrong start are refused by name."""
    sign, _ = signer
    sign(ORIGIN, 7, edge(7).root, 0, [])
    sign(ORIGIN, 19, edge(19).root, 7, proof(7, 19))
    sign(ORIGIN, 19, edge(19).root, 19, [])
    forked = LogEdge(0, [], b"").grow([*ENTRIES[:18], b"other", *ENTRIES[19:25]]).edge.root
    for size, root, first, path in (
        (25, forked, 19, proof(19, 25)),
        (25, edge(25).root, 19, proof(19, 25)[:-1]),
        (25, edge(25).root, 19, []),
        (19, forked, 19, []),
    ):
        with pytest.raises(CheckpointRefused) as refused:
            sign(ORIGIN, size, root, first, path)
        assert refused.value.reason is Reason.LOG_DISAGREES
    for first in (0, 7, 18):
        with pytest.raises(CheckpointRefused) as refused:
            sign(ORIGIN, 25, edge(25).root, first, proof(first, 25) if first else [])
        assert refused.value.reason is Reason.CHECKPOINT_NOT_LAST
        assert refused.value.size == 19
    sign(ORIGIN, 25, edge(25).root, 19, proof(19, 25))


def test_every_growth_of_a_small_log_is_signed(signer: Signer) -> None:
    """Whatever the two sizes, the lane's own verification agrees with the proof."""
    sign, _ = signer
    for first in range(1, 14):
        for size in range(first, 14):
            origin = f"{ORIGIN}/{first}/{size}"
            sign(origin, first, edge(first).root, 0, [])
            sign(origin, size, edge(size).root, first, proof(first, size))


def test_origins_do_not_mix(signer: Signer) -> None:
    """Each origin has a last checkpoint of its own."""
    sign, _ = signer
    sign(ORIGIN, 19, edge(19).root, 0, [])
    sign(f"{ORIGIN}-other", 7, edge(7).root, 0, [])


def test_memory_outlives_the_lane(audit_token: SoftHsm, short_path: Path) -> None:
    """A lane that is replaced, or another of the same token, goes on from what was signed."""
    key = audit_token.keys["ed"]
    for index, (first, size) in enumerate(((0, 7), (7, 19))):
        with run_lane(audit_token.lane_settings(short_path, index, keys=(), audit=key)) as lane:
            client = CheckpointClient([lane.socket])
            client.sign(ORIGIN, size, edge(size).root, first, proof(first, size) if first else [])
            with pytest.raises(CheckpointRefused):
                client.sign(ORIGIN, size, edge(3).root, size, [])
            client.close()


def test_unusable_memory_refuses(audit_token: SoftHsm, short_path: Path) -> None:
    """A lane that cannot tell what was signed signs nothing."""
    settings = audit_token.lane_settings(short_path, keys=(), audit=audit_token.keys["ed"])
    with run_lane(settings) as lane:
        client = CheckpointClient([lane.socket])
        client.sign(ORIGIN, 7, edge(7).root, 0, [])
        name = hashlib.sha256(ORIGIN.encode()).hexdigest()
        (short_path / "checkpoints" / f"{name}.json").write_bytes(b"{")
        with pytest.raises(HsmUnavailable, match="cannot be read or kept"):
            client.sign(ORIGIN, 8, edge(8).root, 7, proof(7, 8))
        client.close()


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "a\nb", "x" * 256, "é\u2028"])
def test_malformed_checkpoint_is_refused(
    audit_token: SoftHsm, short_path: Path, origin: str
) -> None:
    """An origin that could change what the text says is never signed."""
    settings = audit_token.lane_settings(short_path, keys=(), audit=audit_token.keys["ed"])
    with run_lane(settings) as lane:
        client = CheckpointClient([lane.socket])
        with pytest.raises(HsmUnavailable, match="no checkpoint has this form"):
            client.sign(origin, 7, edge(7).root, 0, [])
        with pytest.raises(HsmUnavailable, match="no checkpoint has this form"):
            client.sign(ORIGIN, 7, b"short", 0, [])
        client.close()


def test_lane_without_audit_key_is_passed_over(softhsm: SoftHsm, short_path: Path) -> None:
    """The next lane is asked; when none has the key, that is said."""
    with run_lane(softhsm.lane_settings(short_path)) as lane:
        client = CheckpointClient([short_path / "absent.sock", lane.socket])
        with pytest.raises(HsmUnavailable, match="the lane has no audit key"):
            client.sign(ORIGIN, 7, edge(7).root, 0, [])


def test_audit_key_signs_no_digest(audit_token: SoftHsm, short_path: Path) -> None:
    """A signing job that names the audit key is refused: it is no key of the lane's."""
    job = SignJob("ed", "sha256", bytes(32), float("inf"))
    settings = audit_token.lane_settings(short_path, keys=(), audit=audit_token.keys["ed"])
    (result,) = FrameSigner(OpenToken(settings), 1.0).sign(SignFrame(1, [job])).results
    assert isinstance(result, SignFailure)
    assert result.code == "KEY_UNKNOWN"


def test_wrong_public_key_is_not_proven(audit_token: SoftHsm, short_path: Path) -> None:
    """A lane whose audit key is not the configured one does not open."""
    keys = audit_token.keys
    wrong = KeySettings("audit", "ed", "01", keys["p256"].public_key)
    with (
        pytest.raises(AssertionError, match="KEY_MISMATCH"),
        run_lane(audit_token.lane_settings(short_path, keys=(), audit=wrong)),
    ):
        pass

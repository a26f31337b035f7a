"""What a lane promises to whoever speaks its protocol; each test talks to a real lane on a real token over its socket."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key

from hsm.inventory import read_inventory
from hsm.serve import WINDOW_LIMIT
from hsm.wire import (
    FRAME_LIMIT,
    JOB_LIMIT,
    Hello,
    Refused,
    SignFailure,
    SignFrame,
    SignJob,
    write_frame,
)
from tests import kryoptic_token
from tests.groups import leave_out
from tests.lane_peer import TIMEOUT, Peer, make_job
from tests.opencryptoki import NotUsable, run_opencryptoki
from tests.shim import Shim
from tests.softhsm import (
    EC_PLANS,
    HASHES,
    RSA_PLANS,
    RunningLane,
    SoftHsm,
    fill_token,
    run_lane,
    verifies,
)

pytestmark = pytest.mark.hsm


KINDS = {
    "rsa-2048": ("rsa", 2048),
    "rsa-3072": ("rsa", 3072),
    "rsa-4096": ("rsa", 4096),
    "p-256": ("ec", 256),
    "p-384": ("ec", 384),
}


RSA = [plan.label for plan in RSA_PLANS]


@pytest.fixture(scope="module", params=["SoftHSM", "behind the shim", "opencryptoki", "kryoptic"])
def token(
    request: pytest.FixtureRequest, softhsm: SoftHsm, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SoftHsm]:
    """SoftHSM; the same through the module that injects faults, which is not noticed while idle; others."""
    if request.param == "opencryptoki":
        try:
            with run_opencryptoki() as other:
                yield fill_token(other, tmp_path_factory.mktemp("opencryptoki"), RSA_PLANS)
        except NotUsable as reason:
            leave_out("opencryptoki", str(reason))
    elif request.param == "kryoptic":
        if not kryoptic_token.MODULE.exists():
            leave_out("kryoptic", "kryoptic is not built: `make kryoptic` does, in a minute or two")
        directory = tmp_path_factory.mktemp("kryoptic")
        yield fill_token(
            kryoptic_token.make_kryoptic_token(directory), directory, (*RSA_PLANS, *EC_PLANS)
        )
    elif request.param == "SoftHSM":
        yield softhsm
    else:
        yield softhsm.behind(
            Shim.before(softhsm.token.module, tmp_path_factory.mktemp("shim") / "state")
        )


@pytest.fixture(scope="module")
def mechanisms(token: SoftHsm, tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """What the token announces: no more is asked of it."""
    facts = read_inventory(token.settings(tmp_path_factory.mktemp("facts"))).token
    return frozenset(facts.mechanisms)


@pytest.fixture(scope="module")
def lane(token: SoftHsm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLane]:
    """One lane, shared: it must serve every worker, whatever an earlier one did to it."""
    directory = tmp_path_factory.mktemp("l")
    with run_lane(token.lane_settings(directory)) as running:
        yield running


Connect = Callable[[RunningLane], Peer]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes peers, and closes them."""
    with ExitStack() as stack:

        def make(lane: RunningLane) -> Peer:
            peer = Peer(lane.socket)
            stack.callback(peer.channel.close)
            return peer

        yield make


@pytest.fixture
def worker(lane: RunningLane, connect: Connect) -> Peer:
    """A peer that has been greeted."""
    peer = connect(lane)
    assert isinstance(peer.receive(), Hello)
    return peer


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("key", KINDS)
def test_signature_verifies(token: SoftHsm, worker: Peer, key: str, hash_name: str) -> None:
    """Every kind of key the token has signs with every hash, and `cryptography` accepts the signature."""
    if key not in token.keys:
        pytest.skip("the token announces no CKM_ECDSA")
    job = make_job(key, hash_name)
    [signature] = worker.sign(job)
    assert verifies(token.keys[key].public_key, hash_name, job.digest, signature)


@pytest.fixture
def mode(
    request: pytest.FixtureRequest,
    token: SoftHsm,
    mechanisms: frozenset[str],
    connect: Connect,
    short_path: Path,
) -> Iterator[Peer]:
    """A peer of a lane that signs with RSA keys in another way than usual, where the token announces what that needs."""
    name, needed = request.param
    if needed not in mechanisms:
        pytest.skip(f"the token announces no CKM_{needed}")
    keys = [msgspec.structs.replace(token.keys[key], mechanism=name) for key in RSA]
    with run_lane(token.lane_settings(short_path, keys=tuple(keys))) as running:
        peer = connect(running)
        assert isinstance(peer.receive(), Hello)
        yield peer


@pytest.mark.parametrize("mode", [("rsa-pss", "RSA_PKCS_PSS")], indirect=True)
def test_pss_signature_verifies(token: SoftHsm, mode: Peer) -> None:
    """A key configured for RSA-PSS signs so with every hash, its salt as long as the hash."""
    for key, (hash_name, algorithm) in product(RSA, HASHES.items()):
        public_key = load_der_public_key(token.keys[key].public_key)
        job = make_job(key, hash_name)
        [signature] = mode.sign(job)
        pss = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
        public_key.verify(signature, job.digest, pss, Prehashed(algorithm))


@pytest.mark.parametrize("mode", [("rsa-hash-in-token", "SHA256_RSA_PKCS")], indirect=True)
def test_token_that_hashes_itself(token: SoftHsm, mode: Peer) -> None:
    """A key whose token hashes is given the octets with every hash, and only those of the digest."""
    octets = b"<SignedInfo/>"
    for key, hash_name in product(RSA, HASHES):
        digest = hashlib.new(hash_name, octets).digest()
        good = make_job(key, hash_name, digest=digest, octets=octets)
        other = make_job(key, hash_name, octets=octets)
        signature, refused = mode.sign(good, other)
        assert verifies(token.keys[key].public_key, hash_name, digest, signature)
        assert (refused.code, refused.kind) == ("OCTETS_MISMATCH", "request")


def test_lane_introduces_itself(token: SoftHsm, lane: RunningLane, connect: Connect) -> None:
    """The greeting names the token, the process and each proven key."""
    hello = connect(lane).receive()
    assert (hello.token_serial, hello.pid) == (token.token.serial, lane.process.pid)
    assert {key.name: key.public_key for key in hello.keys} == {
        name: key.public_key for name, key in token.keys.items()
    }
    assert {key.name: (key.kind, key.bits) for key in hello.keys} == {
        name: KINDS[name] for name in token.keys
    }


def test_signatures_are_counted_per_key(
    token: SoftHsm, lane: RunningLane, worker: Peer, connect: Connect
) -> None:
    """A signature raises the count of its key by one, and no other."""
    before = {key.name: key.signatures for key in connect(lane).receive().keys}
    worker.sign(make_job("rsa-4096"), make_job("rsa-4096"), make_job(), make_job("absent"))
    after = {key.name: key.signatures for key in connect(lane).receive().keys}
    assert {name: after[name] - before[name] for name in after} == {
        name: {"rsa-4096": 2, "rsa-2048": 1}.get(name, 0) for name in token.keys
    }


def test_answer_says_what_it_took(worker: Peer) -> None:
    """The answer carries, per key, how many signatures were made and how long the module took."""
    worker.send(make_job(), make_job("rsa-4096"), make_job(), batch=7)
    signed = worker.receive()
    assert signed.batch == 7
    assert {key: use.signatures for key, use in signed.uses.items()} == {
        "rsa-2048": 2,
        "rsa-4096": 1,
    }
    assert all(0 < use.seconds < TIMEOUT for use in signed.uses.values())


def test_results_keep_the_order_of_the_jobs(token: SoftHsm, worker: Peer) -> None:
    """Each result belongs to the job at its place, failures included."""
    jobs = [make_job(), make_job("absent"), make_job("rsa-4096"), make_job()]
    results = worker.sign(*jobs)
    assert isinstance(results[1], SignFailure)
    for position in (0, 2, 3):
        job = jobs[position]
        public_key = token.keys[job.key].public_key
        assert verifies(public_key, "sha256", job.digest, results[position])


@pytest.mark.parametrize(
    ("overrides", "code", "kind"),
    [
        ({"key": "absent"}, "KEY_UNKNOWN", "request"),
        ({"hash_name": "md5"}, "HASH_UNKNOWN", "request"),
        ({"hash_name": "sha1", "digest": bytes(20)}, "HASH_UNKNOWN", "request"),
        ({"digest": bytes(31)}, "DIGEST_LENGTH", "request"),
        ({"digest": bytes(51)}, "DIGEST_LENGTH", "request"),
        ({"digest": b""}, "DIGEST_LENGTH", "request"),
        ({"deadline": 0.0}, "DEADLINE_PASSED", "expired"),
    ],
)
def test_job_is_refused_by_name(
    worker: Peer, overrides: dict[str, object], code: str, kind: str
) -> None:
    """A lane is no oracle: it signs digests of known hashes with known keys in time, and says why not otherwise."""
    refused, signed = worker.sign(
        make_job(**({"key": "rsa-2048"} | overrides)), make_job("rsa-2048")
    )
    assert (refused.code, refused.kind) == (code, kind)
    assert isinstance(signed, bytes)


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        ((FRAME_LIMIT + 1).to_bytes(4, "big"), "FRAME_TOO_LARGE"),
        (b"\xff\xff\xff\xff", "FRAME_TOO_LARGE"),
        (b"\0\0\0\1\xc1", "FRAME_MALFORMED"),
        (b"\0\0\0\0", "FRAME_MALFORMED"),
        (b"GET / HTTP/1.1\r\n\r\n", "FRAME_TOO_LARGE"),
        (write_frame(Hello("", [], 1, 0.5)), "FRAME_MALFORMED"),
        (
            write_frame(SignFrame(1, [SignJob("k", "sha256", b"", 0.0)] * (JOB_LIMIT + 1))),
            "TOO_MANY_JOBS",
        ),
        (write_frame(SignFrame(1, [])) * (WINDOW_LIMIT + 1), "TOO_MANY_FRAMES"),
    ],
)
def test_peer_is_refused_by_name(
    lane: RunningLane, worker: Peer, connect: Connect, octets: bytes, code: str
) -> None:
    """A peer that breaks the protocol is told why and cut off; the lane goes on for others."""
    worker.channel.sendall(octets)
    refused = worker.receive()
    assert isinstance(refused, Refused)
    assert refused.code == code
    assert worker.receive() is None
    assert isinstance(connect(lane).receive(), Hello)


def test_foreign_uid_is_refused(token: SoftHsm, short_path: Path, connect: Connect) -> None:
    """A process of another uid is told so and gets no signature."""
    settings = token.lane_settings(short_path, allowed_uids=(os.geteuid() + 1,))
    with run_lane(settings) as lane:
        stranger = connect(lane)
        refused = stranger.receive()
        assert isinstance(refused, Refused)
        assert refused.code == "PEER_NOT_ALLOWED"
        assert stranger.receive() is None


def test_request_in_pieces_is_signed(worker: Peer) -> None:
    """A frame may arrive octet by octet, with others served in between."""
    octets = write_frame(SignFrame(9, [make_job()]))
    for at in range(len(octets)):
        worker.channel.sendall(octets[at : at + 1])
    signed = worker.receive()
    assert signed.batch == 9
    assert isinstance(signed.results[0], bytes)


def test_peer_that_goes_away_harms_nobody(lane: RunningLane, connect: Connect) -> None:
    """A peer that disappears in the middle of a frame, or with answers unread, leaves the lane working."""
    for octets in (b"\0\0\1", write_frame(SignFrame(1, [make_job()] * 200))):
        leaver = connect(lane)
        leaver.channel.sendall(octets)
        leaver.channel.close()
    stayer = connect(lane)
    assert isinstance(stayer.receive(), Hello)
    assert isinstance(stayer.sign(make_job())[0], bytes)


def test_peer_that_does_not_read_delays_only_itself(lane: RunningLane, connect: Connect) -> None:
    """Answers nobody takes are kept for their peer, while other peers are served."""
    idler = connect(lane)
    idler.send(*[make_job("absent" * 1000)] * 100)
    idler.send(make_job())
    other = connect(lane)
    assert isinstance(other.receive(), Hello)
    assert isinstance(other.sign(make_job())[0], bytes)
    assert isinstance(idler.receive(), Hello)
    assert [len(idler.receive().results) for _ in range(2)] == [100, 1]

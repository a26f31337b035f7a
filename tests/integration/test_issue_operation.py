"""The route of a request, with real signatures and a real spool; the HSM alone is replaced by keys in memory."""

import asyncio
import contextlib
import gc
import hashlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from appliance.conventions.model import ClientConvention
from appliance.errors import (
    ApplianceError,
    ConventionViolation,
    HsmUnavailable,
    MalformedRequest,
    QueueFull,
    Reason,
    RequestError,
    RequestTooLarge,
    SpoolUnavailable,
)
from appliance.operations.health import ReadyProbe
from appliance.trace.record import MAX_ENTRY_OCTETS
from appliance.vectors.model import IssuedVector, VectorRequest
from tests.issuing import Room, make_keyring, make_room
from tests.messages import MORE, Signing, make_unsigned, make_vector
from tests.partners import CLIENT, CONTEXT, make_provider
from tests.pki import Pki, ec_key, make_pki

REQUEST = VectorRequest(
    convention="client", subject="agent-0042", pagms=("PAGM_CONSULTATION", "PAGM_GESTION")
)
EC_CLIENT = replace(CLIENT, id="ec", key="ec-signer", signature_algorithm=f"{MORE}ecdsa-sha256")


@pytest.fixture(scope="module")
def pki() -> Pki:
    """The PKI that certifies our signing keys."""
    return make_pki("partner")


def in_room(
    directory: Path,
    pki: Pki,
    scene: Callable[[Room], Awaitable[None]],
    client: ClientConvention = CLIENT,
    ec: ClientConvention = EC_CLIENT,
) -> None:
    """Run a scene with an RSA and an EC client convention, and the provider convention that accepts them."""
    pki.write(directory)
    holders = {"signer": pki.leaf, "ec-signer": pki.certify_leaf("ec", ec_key("signer"))}

    async def run() -> None:
        async with make_room(directory, holders, client, ec, make_provider(directory)) as room:
            await scene(room)

    asyncio.run(run())


def request(**fields: object) -> VectorRequest:
    """A request that is right but for `fields`."""
    return msgspec.structs.replace(REQUEST, **fields)


def test_vector_is_traced_and_accepted(pki: Pki, tmp_path: Path) -> None:
    """A vector is returned with its receipt; the entry states it whole; the partner's rules accept it."""

    async def scene(room: Room) -> None:
        issued = await room.issue.issue(REQUEST, CONTEXT)
        octets = issued.vector.assertion.octets
        [entry] = room.entries()
        assert room.entry_of(issued.receipt) == entry
        assert entry.event == "created"
        assert entry.assertion_id == issued.vector.unsigned.assertion_id
        assert entry.assertion_sha256 == hashlib.sha256(octets).hexdigest()
        assert entry.certificate_sha256 == hashlib.sha256(pki.leaf.certificate).hexdigest()
        assert (entry.issuer, entry.audience) == (CLIENT.issuer, CLIENT.audience)
        assert (entry.subject, entry.pagms) == ("agent-0042", REQUEST.pagms)
        assert (entry.request_id, entry.caller, entry.peer) == (
            "request-1",
            "loopback",
            "127.0.0.1:1",
        )
        verdict = await room.verify.verify(octets, CONTEXT, None, None)
        assert verdict.accepted is not None
        assert verdict.accepted.pagms == REQUEST.pagms
        assert verdict.receipt is not None
        received = room.entry_of(verdict.receipt)
        assert (received.event, received.verdict) == ("received", "accepted")
        assert received.assertion_sha256 == entry.assertion_sha256
        assert received.assertion_id == entry.assertion_id
        assert received.certificate_sha256 == entry.certificate_sha256

    in_room(tmp_path, pki, scene)


def test_refusal_is_traced_before_it_is_raised(pki: Pki, tmp_path: Path) -> None:
    """What the convention forbids is signed by nobody, and the refusal is on the disk when the caller learns it."""

    async def scene(room: Room) -> None:
        with pytest.raises(ConventionViolation) as raised:
            await room.issue.issue(request(pagms=("PAGM_ADMIN",)), CONTEXT)
        assert raised.value.reason is Reason.PAGM_NOT_GRANTED
        [entry] = room.entries()
        assert (entry.event, entry.verdict) == ("request-refused", "refused")
        assert entry.reason == "pagm-not-granted"
        assert (entry.convention, entry.pagms) == ("client", ("PAGM_ADMIN",))
        assert room.signer.calls == []

    in_room(tmp_path, pki, scene)


def test_oversized_words_are_cut_in_the_trace(pki: Pki, tmp_path: Path) -> None:
    """A refused request cannot fill the trace, nor break it with text that is no text."""

    async def scene(room: Room) -> None:
        monstrous = request(
            convention="c" * 100_000,
            subject="\udcff" * 100_000,
            pagms=("\x00" * 100_000,) * 1000,
            authn_context="\\" * 100_000,
        )
        with pytest.raises(ConventionViolation):
            await room.issue.issue(monstrous, CONTEXT)
        [entry] = room.entries()
        assert len(msgspec.json.encode(entry)) < MAX_ENTRY_OCTETS

    in_room(tmp_path, pki, scene)


def test_vector_whose_trace_would_not_fit_is_not_signed(pki: Pki, tmp_path: Path) -> None:
    """When the entry would pass its limit, nothing is signed."""
    many = frozenset(f"PAGM_{at:04}_{'X' * 90}" for at in range(700))

    async def scene(room: Room) -> None:
        with pytest.raises(RequestTooLarge):
            await room.issue.issue(request(pagms=tuple(sorted(many))), CONTEXT)
        assert room.signer.calls == []
        assert [entry.reason for entry in room.entries()] == ["entry-too-large"]

    in_room(tmp_path, pki, scene, replace(CLIENT, pagms=many))


def test_batch_keeps_order_and_harms_nobody(pki: Pki, tmp_path: Path) -> None:
    """Each position of a batch has its own outcome; keys and algorithms may differ; one call signs all of it."""

    async def scene(room: Room) -> None:
        requests = [
            request(),
            request(pagms=()),
            request(convention="ec"),
            request(convention="nobody"),
            request(subject=None),
        ]
        results = await room.issue.issue_batch(requests, CONTEXT)
        assert [_outcome(result) for result in results] == [
            "client",
            "pagm-missing",
            "ec",
            "convention-unknown",
            "client",
        ]
        assert [len(jobs) for jobs in room.signer.calls] == [3]
        entries = room.entries()
        assert [entry.event for entry in entries] == [
            "created",
            "request-refused",
            "created",
            "request-refused",
            "created",
        ]
        for result in results:
            if isinstance(result, IssuedVector):
                entry = room.entry_of(result.receipt)
                assert entry.assertion_id == result.vector.unsigned.assertion_id
                octets = result.vector.assertion.octets
                assert (await room.verify.verify(octets, CONTEXT, None, None)).accepted is not None
        assert entries[4].name_id == "NON_RENSEIGNE"
        assert entries[4].subject is None

    in_room(tmp_path, pki, scene)


def test_empty_batch(pki: Pki, tmp_path: Path) -> None:
    """Nothing asked, nothing done."""

    async def scene(room: Room) -> None:
        assert await room.issue.issue_batch([], CONTEXT) == []
        assert room.signer.calls == []
        assert room.entries() == []

    in_room(tmp_path, pki, scene)


def test_unsigned_vector_is_not_traced_as_created(pki: Pki, tmp_path: Path) -> None:
    """When the token cannot sign, the caller gets its error, and no entry claims a vector."""

    async def scene(room: Room) -> None:
        room.signer.failure = HsmUnavailable(Reason.HSM_UNAVAILABLE, "no lane")
        results = await room.issue.issue_batch([request(), request(pagms=())], CONTEXT)
        assert [_outcome(result) for result in results] == ["hsm-unavailable", "pagm-missing"]
        assert [entry.event for entry in room.entries()] == ["request-refused"]

    in_room(tmp_path, pki, scene)


def test_refusal_for_an_unavailable_token_waits_for_nothing(pki: Pki, tmp_path: Path) -> None:
    """Where the queue refuses at once so does the whole route, in its first step: no trace, no cache and no timer is waited for."""

    async def scene(room: Room) -> None:
        room.signer.failure = HsmUnavailable(Reason.HSM_UNAVAILABLE, "no lane")
        for convention in ("client", "ec"):
            with pytest.raises(HsmUnavailable, match="no lane"):
                room.issue.issue(request(convention=convention), CONTEXT).send(None)

    in_room(tmp_path, pki, scene)


def test_wrong_signature_never_leaves(pki: Pki, tmp_path: Path) -> None:
    """A signature that does not verify is an unavailable HSM; nothing of it is answered or traced, and its key is doubted."""

    async def scene(room: Room) -> None:
        room.signer.is_faulty = True
        for convention in ("client", "ec"):
            with pytest.raises(HsmUnavailable, match="does not verify"):
                await room.issue.issue(request(convention=convention), CONTEXT)
        assert room.entries() == []
        assert len(room.signer.doubted) == 2

    in_room(tmp_path, pki, scene)


def test_ecdsa_signatures_are_sampled_before_release(pki: Pki, tmp_path: Path) -> None:
    """Of an ECDSA key every 64th signature is verified, the first too; once one fails, all that follow are."""

    async def scene(room: Room) -> None:
        asked = request(convention="ec")
        assert isinstance((await room.issue.issue_batch([asked], CONTEXT))[0], IssuedVector)
        room.signer.is_faulty = True
        results = await room.issue.issue_batch([asked] * 70, CONTEXT)
        left = [isinstance(result, IssuedVector) for result in results]
        assert left == [True] * 63 + [False] * 7
        assert room.signer.doubted == ["ec-signer"] * 7
        traced = [entry.event for entry in room.entries()]
        assert traced.count("created") == 64

    in_room(tmp_path, pki, scene)


def test_what_is_given_out_again_is_not_taken_on_trust(pki: Pki, tmp_path: Path) -> None:
    """A vector that many will be given is verified when it is made, in the middle of those that are trusted, too."""
    reusable = replace(EC_CLIENT, reuse=True)

    async def scene(room: Room) -> None:
        asked = request(convention="ec", reuse=False)
        assert all(
            isinstance(one, IssuedVector)
            for one in await room.issue.issue_batch([asked] * 2, CONTEXT)
        )
        room.signer.is_faulty = True
        with pytest.raises(HsmUnavailable, match="does not verify"):
            await room.issue.issue(request(convention="ec"), CONTEXT)

    in_room(tmp_path, pki, scene, ec=reusable)


def test_a_new_certificate_is_not_taken_on_trust(pki: Pki, tmp_path: Path) -> None:
    """A certificate that is not the key's is noticed with its first vector, however many came before under the same name."""

    async def scene(room: Room) -> None:
        asked = request(convention="ec")
        assert isinstance(await room.issue.issue(asked, CONTEXT), IssuedVector)
        other = {"ec-signer": pki.certify_leaf("ec", ec_key("another")), "signer": pki.leaf}
        room.keyring.adopt(make_keyring(tmp_path, other))
        for _ in range(2):
            with pytest.raises(HsmUnavailable, match="does not verify"):
                await room.issue.issue(asked, CONTEXT)

    in_room(tmp_path, pki, scene)


def test_rsa_signatures_are_never_taken_on_trust(pki: Pki, tmp_path: Path) -> None:
    """Behind one that verified, each faulty RSA signature is stopped: one that left could give the key away."""

    async def scene(room: Room) -> None:
        await room.issue.issue(request(), CONTEXT)
        room.signer.is_faulty = True
        results = await room.issue.issue_batch([request()] * 70, CONTEXT)
        assert all(isinstance(result, HsmUnavailable) for result in results)

    in_room(tmp_path, pki, scene)


def test_a_full_queue_is_found_before_anything_is_made(pki: Pki, tmp_path: Path) -> None:
    """Nothing is written, digested or traced for a request that the queue would refuse; what is refused by the convention still is."""

    async def scene(room: Room) -> None:
        room.signer.is_full = True
        full, outside = await room.issue.issue_batch([request(), request(pagms=())], CONTEXT)
        assert isinstance(full, QueueFull)
        assert isinstance(outside, RequestError)
        assert room.signer.calls == []
        assert [entry.event for entry in room.entries()] == ["request-refused"]

    in_room(tmp_path, pki, scene)


@contextlib.contextmanager
def no_garbage() -> Iterator[None]:
    """Make sure that nothing is left in the block for the collector of cycles."""
    gc.collect()
    gc.disable()
    try:
        yield
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_refusals_leave_nothing_to_the_collector(pki: Pki, tmp_path: Path) -> None:
    """Whatever a request is refused for, what it made goes with it: thousands a second would keep the collector busy instead of us."""

    async def refuse(room: Room, asked: VectorRequest) -> None:
        with pytest.raises(ApplianceError) as raised:
            await room.issue.issue(asked, CONTEXT)
        raised.value.__traceback__ = None  # pytest holds this frame
        del raised

    async def scene(room: Room) -> None:
        wrong = make_vector(Signing(pki.leaf), issuer="urn:stranger")
        await refuse(room, request(pagms=()))  # what is made the first time stays
        await room.verify.verify(wrong, CONTEXT, None, None)
        with no_garbage():
            await refuse(room, request(pagms=()))
        with no_garbage():
            assert (await room.verify.verify(wrong, CONTEXT, None, None)).fault is not None
        room.signer.is_full = True
        with no_garbage():
            await refuse(room, request())
        room.signer.is_full = False
        room.signer.failure = HsmUnavailable(Reason.HSM_UNAVAILABLE, "no lane")
        with no_garbage():
            await refuse(room, request())
        room.signer.failure = None
        await room.trace.aclose()
        with no_garbage():
            await refuse(room, request())

    in_room(tmp_path, pki, scene)


def test_without_a_trace_nothing_is_answered(pki: Pki, tmp_path: Path) -> None:
    """When the spool refuses, neither a vector nor a refusal nor a verdict leaves: the spool's error wins."""

    async def scene(room: Room) -> None:
        message = make_vector(Signing(pki.leaf))
        await room.trace.aclose()
        for wanted in (request(), request(pagms=())):
            with pytest.raises(SpoolUnavailable):
                await room.issue.issue(wanted, CONTEXT)
        with pytest.raises(SpoolUnavailable):
            await room.verify.verify(message, CONTEXT, None, None)
        assert room.entries() == []

    in_room(tmp_path, pki, scene)


def test_signature_has_a_deadline(pki: Pki, tmp_path: Path) -> None:
    """Every job says by when it must be signed."""

    async def scene(room: Room) -> None:
        before = room.signer.clock.monotonic()
        await room.issue.issue(REQUEST, CONTEXT)
        [[job]] = room.signer.calls
        assert before + 3.0 <= job.deadline <= room.signer.clock.monotonic() + 3.0
        assert (job.key, job.hash_name) == ("signer", "sha256")

    in_room(tmp_path, pki, scene)


def test_refused_vector_is_traced_with_what_was_verified(pki: Pki, tmp_path: Path) -> None:
    """Of a refused vector the trace repeats what its signature covers; of an unverified one only a digest."""

    async def scene(room: Room) -> None:
        expired = make_vector(Signing(pki.leaf), not_on_or_after="2026-03-02T09:00:00Z")
        forged = make_unsigned(name_id="evil", issuer="urn:evil")
        huge = make_vector(Signing(pki.leaf), name_id="x" * 100_000)
        quoted = make_vector(Signing(pki.leaf), name_id='"' * 20_000)  # twice as long in JSON
        for octets in (expired, forged, b"<other/>", huge, quoted):
            verdict = await room.verify.verify(octets, CONTEXT, None, None)
            assert verdict.accepted is None
        entries = room.entries()
        assert [(entry.verdict, entry.fault, entry.reason) for entry in entries] == [
            ("refused", "vi:InvalidVI", "expired"),
            ("refused", "wsse:FailedCheck", "signature-missing"),
            ("refused", "wsse:InvalidSecurityToken", "not-a-vector"),
            *[("refused", "vi:InvalidVI", "vector-too-large")] * 2,
        ]
        assert entries[0].subject == "agent-0042"
        assert entries[0].not_on_or_after == "2026-03-02T09:00:00Z"
        assert entries[1].assertion_sha256 == hashlib.sha256(forged).hexdigest()
        assert entries[1].issuer is None
        assert entries[1].subject is None
        assert entries[2].assertion_sha256 is None
        assert entries[3].certificate_sha256 is not None
        assert entries[3].subject is None
        longest = make_vector(Signing(pki.leaf), name_id="x" * 23_000, audiences=("é" * 500,))
        await room.verify.verify(longest, CONTEXT, None, "é" * 5000)
        assert room.entries()[-1].subject == "x" * 23_000
        with pytest.raises(MalformedRequest):
            await room.verify.verify(b"<a", CONTEXT, None, None)
        assert len(room.entries()) == 6

    in_room(tmp_path, pki, scene)


def test_reload_takes_effect_on_the_next_request(pki: Pki, tmp_path: Path) -> None:
    """The operations ask the cell each time: another registry counts at once."""

    async def scene(room: Room) -> None:
        await room.issue.issue(REQUEST, CONTEXT)
        room.cell.current = type(room.cell.current)([EC_CLIENT], room.signer.clock)
        with pytest.raises(ConventionViolation) as raised:
            await room.issue.issue(REQUEST, CONTEXT)
        assert raised.value.reason is Reason.CONVENTION_UNKNOWN

    in_room(tmp_path, pki, scene)


def test_readiness_is_a_real_signature(pki: Pki, tmp_path: Path) -> None:
    """Ready means that every key of a client convention has just signed; one that has is not probed again."""

    async def scene(room: Room) -> None:
        probe = ReadyProbe(
            registry=room.cell,
            keys=room.keyring,
            signer=room.signer,
            trace=room.trace,
            clock=room.signer.clock,
            new_uuid=uuid4,
        )
        first, second = await asyncio.gather(probe.check(), probe.check())
        assert first.ready
        assert second is first
        assert sorted(job.key for jobs in room.signer.calls for job in jobs) == [
            "ec-signer",
            "signer",
        ]
        assert (await probe.check()).ready
        assert len(room.signer.calls) == 2
        room.signer.signed_at.clear()
        room.signer.is_faulty = True
        assert (await probe.check()).reasons == (
            "key ec-signer: its signatures do not verify with its certificate",
            "key signer: its signatures do not verify with its certificate",
        )
        room.signer.signed_at.clear()
        room.signer.failure = HsmUnavailable(Reason.HSM_UNAVAILABLE, "no lane is up")
        await room.trace.aclose()
        room.cell.current = type(room.cell.current)([CLIENT], room.signer.clock)
        assert (await probe.check()).reasons == (
            "key signer: no lane is up",
            "the trace spool cannot be written",
        )
        room.cell.current = type(room.cell.current)([], room.signer.clock)
        assert "no convention is loaded" in (await probe.check()).reasons

    in_room(tmp_path, pki, scene)


def _outcome(result: IssuedVector | ApplianceError) -> str:
    if isinstance(result, ApplianceError):
        return result.reason.value
    return result.vector.unsigned.request.convention

import hashlib

import msgspec
import pytest
from hypothesis import given, strategies as st

from hsm.wire import (
    FRAME_LIMIT,
    NONCE_OCTETS,
    READINESS_PROBE,
    FrameReader,
    FrameTooLarge,
    Hello,
    KeyFacts,
    KeyUse,
    Refused,
    SignedFrame,
    SignFailure,
    SignFrame,
    SignJob,
    is_readiness_probe,
    read_reply,
    read_request,
    write_frame,
)

REQUEST = SignFrame(3, [SignJob("demo-rsa", "sha256", bytes(range(32)), 12.5)] * 2)
REPLIES = [
    Hello("serial", [KeyFacts("demo-rsa", "rsa", 2048, b"spki", 1)], 42, 0.5),
    SignedFrame(3, [b"signature", SignFailure("C", "expired", "d")], {"k": KeyUse(1, 0.5)}),
    Refused("PEER_NOT_ALLOWED", "uid 7"),
]


def payload_of(frame: bytes) -> bytes:
    """Cut the length off one whole frame."""
    return frame[4:]


def test_frames_split_at_every_offset_are_read_the_same() -> None:
    """However two frames are cut in two, the same payloads come out, each as soon as it is complete."""
    octets = write_frame(REQUEST) + write_frame(SignFrame(4, []))
    for cut in range(len(octets) + 1):
        reader = FrameReader()
        payloads = reader.feed(octets[:cut]) + reader.feed(octets[cut:])
        assert [read_request(payload) for payload in payloads] == [REQUEST, SignFrame(4, [])]


@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(min_value=1, max_value=9))
def test_frames_in_pieces_of_any_size_are_read_the_same(payloads: list[bytes], size: int) -> None:
    """The reader gives back exactly the payloads that were framed."""
    octets = b"".join(len(payload).to_bytes(4, "big") + payload for payload in payloads)
    reader = FrameReader()
    read = [
        payload
        for at in range(0, len(octets), size)
        for payload in reader.feed(octets[at : at + size])
    ]
    assert read == payloads


def test_frame_beyond_the_limit_is_refused_from_its_length_alone() -> None:
    """Nothing of an oversized frame is kept: its four octets of length are enough to refuse it."""
    reader = FrameReader()
    assert reader.feed(FRAME_LIMIT.to_bytes(4, "big")) == []
    with pytest.raises(FrameTooLarge, match=str(FRAME_LIMIT + 1)):
        FrameReader().feed((FRAME_LIMIT + 1).to_bytes(4, "big"))


@pytest.mark.parametrize("reply", REPLIES)
def test_reply_survives_the_wire(reply: Hello | SignedFrame | Refused) -> None:
    """What a lane says is what a worker reads."""
    assert read_reply(payload_of(write_frame(reply))) == reply


def test_request_is_not_read_as_a_reply() -> None:
    """The two directions do not mix."""
    with pytest.raises(msgspec.DecodeError):
        read_reply(payload_of(write_frame(REQUEST)))
    with pytest.raises(msgspec.DecodeError):
        read_request(payload_of(write_frame(REPLIES[0])))


def test_only_a_readiness_probe_passes_for_one() -> None:
    """The digest has to be that of the octets, and the octets a probe from their first to their last."""
    octets = READINESS_PROBE + bytes(range(NONCE_OCTETS))
    digest = hashlib.sha256(octets).digest()
    assert is_readiness_probe(SignJob("k", "sha256", digest, 0.0, octets))
    for other in (b"", octets + b"<", octets[1:], b"<" + octets[1:]):
        fitting = hashlib.sha256(other).digest()
        assert not is_readiness_probe(SignJob("k", "sha256", digest, 0.0, other))
        assert not is_readiness_probe(SignJob("k", "sha256", fitting, 0.0, other))
    assert not is_readiness_probe(SignJob("k", "sha256", bytes(32), 0.0, octets))

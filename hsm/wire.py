"""What workers and lanes say to each other over a unix stream socket.

Owns the frames: four octets of length (big-endian), then msgpack of one tagged, array-like Struct. Promises bounded frames and
does no input or output itself. The lane speaks first (`Hello`, or `Refused` and closes); then each `SignFrame` has one `SignedFrame`,
in order, each `CheckpointFrame` one `CheckpointSigned` or `CheckpointRefused`, and a `Prove` has no answer. A lane that can sign no longer says why in a last `Refused`.
"""

import hashlib
from typing import Final, Literal

import msgspec

from hsm.errors import Kind

FRAME_LIMIT: Final = 1024 * 1024
"""Octets of one frame's payload; 1024 jobs fit with room to spare."""

JOB_LIMIT: Final = 1024
"""Jobs of one frame."""

FailureKind = Kind | Literal["expired"]
"""Who has to act (`hsm.errors`), or that the job's deadline had passed."""

READINESS_PROBE: Final = b"InterOPS appliance readiness probe\0"
"""What the octets of a readiness probe begin with; no vector does, nor any other XML."""

NONCE_OCTETS: Final = 16
"""What follows it in a readiness probe."""

_HEADER: Final = 4


class SignJob(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One signature wanted.

    Attributes:
        deadline: instant of the machine's monotonic clock, shared by its processes, after which no HSM time may be spent.
        octets: what the digest is of; only for keys whose token hashes itself, and of readiness probes.
    """

    key: str
    hash_name: str
    digest: bytes
    deadline: float
    octets: bytes = b""


class SignFailure(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Why one job has no signature."""

    code: str
    kind: FailureKind
    detail: str


class SignFrame(msgspec.Struct, frozen=True, array_like=True, tag="sign"):
    """Worker to lane: a batch of jobs."""

    batch: int
    jobs: list[SignJob]


class Prove(msgspec.Struct, frozen=True, array_like=True, tag="prove"):
    """Worker to lane: a signature did not verify; open the session anew and prove every key before signing again."""


class CheckpointFrame(msgspec.Struct, frozen=True, array_like=True, tag="checkpoint"):
    """Worker to lane: the checkpoint of a log to be signed with the audit key.

    Attributes:
        first: the size of the log when the lane last signed for this origin, as far as the worker knows; 0 before the first time.
        proof: RFC 9162 consistency proof from `first` to `size`.
    """

    origin: str
    size: int
    root: bytes
    first: int
    proof: list[bytes]


Request = SignFrame | CheckpointFrame | Prove


class CheckpointSigned(msgspec.Struct, frozen=True, array_like=True, tag="checkpoint-signed"):
    """Lane to worker: the signature over the checkpoint's text, as a signed note carries it (Ed25519, or DER of ECDSA)."""

    signature: bytes


class CheckpointRefused(msgspec.Struct, frozen=True, array_like=True, tag="checkpoint-refused"):
    """Lane to worker: why the checkpoint is not signed.

    Attributes:
        kind: as of a `SignFailure`; `request` when the checkpoint does not extend the last.
        size, root: of the last checkpoint signed for the origin; 0 and empty when there was none or it is not the cause.
    """

    code: str
    kind: Kind
    detail: str
    size: int = 0
    root: bytes = b""


class KeyUse(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How many signatures a key has made, and the seconds inside the module they took."""

    signatures: int
    seconds: float


class SignedFrame(msgspec.Struct, frozen=True, array_like=True, tag="signed"):
    """Lane to worker: the results in the order of the jobs.

    Attributes:
        uses: per key, what this frame took.
    """

    batch: int
    results: list[bytes | SignFailure]
    uses: dict[str, KeyUse]


class KeyFacts(msgspec.Struct, frozen=True, array_like=True):
    """A key a lane has proven.

    Attributes:
        public_key: DER SubjectPublicKeyInfo.
        signatures: how many the lane has made with it so far, probes included.
    """

    name: str
    kind: str
    bits: int
    public_key: bytes
    signatures: int


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """Lane to worker, first: who it is and what it can sign with.

    Attributes:
        call_timeout: seconds after which a call into the module has returned, or the lane has ended.
        audit: the key that signs checkpoints and nothing else, where this lane's token holds it.
    """

    token_serial: str
    keys: list[KeyFacts]
    pid: int
    call_timeout: float
    audit: KeyFacts | None = None


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="refused"):
    """Lane to worker, last: why the connection ends.

    Attributes:
        kind: who has to act, when the lane itself can sign no longer; None when it is the peer that is refused.
    """

    code: str
    detail: str
    kind: Kind | None = None


Reply = Hello | SignedFrame | CheckpointSigned | CheckpointRefused | Refused


class FrameTooLarge(Exception):
    """The peer announces a frame beyond the limit; nothing it sends can be understood any more."""


class FrameReader:
    """Cuts a stream of octets into frames, however they arrive."""

    def __init__(self, limit: int = FRAME_LIMIT) -> None:
        self._limit: Final = limit
        self._held = bytearray()

    def feed(self, octets: bytes) -> list[bytes]:
        """Return the payloads that are now complete.

        Raises:
            FrameTooLarge: a length beyond the limit.
        """
        held = self._held
        held += octets
        payloads: list[bytes] = []
        start = 0
        while len(held) - start >= _HEADER:
            length = int.from_bytes(held[start : start + _HEADER], "big")
            if length > self._limit:
                raise FrameTooLarge(f"a frame of {length} octets, at most {self._limit} are taken")
            end = start + _HEADER + length
            if end > len(held):
                break
            payloads.append(bytes(held[start + _HEADER : end]))
            start = end
        del held[:start]
        return payloads


_encoder: Final = msgspec.msgpack.Encoder()
_request_decoder: Final[msgspec.msgpack.Decoder[Request]] = msgspec.msgpack.Decoder(Request)
_reply_decoder: Final[msgspec.msgpack.Decoder[Reply]] = msgspec.msgpack.Decoder(Reply)


def write_frame(message: Request | Reply) -> bytes:
    """Write one message with its length in front."""
    payload = _encoder.encode(message)
    return len(payload).to_bytes(_HEADER, "big") + payload


def read_request(payload: bytes) -> Request:
    """Read what a worker sent.

    Raises:
        msgspec.DecodeError: it is none of the requests.
    """
    return _request_decoder.decode(payload)


def read_reply(payload: bytes) -> Reply:
    """Read what a lane sent.

    Raises:
        msgspec.DecodeError: it is none of the replies.
    """
    return _reply_decoder.decode(payload)


def is_readiness_probe(job: SignJob) -> bool:
    """Tell whether what is to be signed is a readiness probe and can be nothing else, whoever asks for it."""
    octets = job.octets
    return (
        len(octets) == len(READINESS_PROBE) + NONCE_OCTETS
        and octets.startswith(READINESS_PROBE)
        and hashlib.new(job.hash_name, octets).digest() == job.digest
    )

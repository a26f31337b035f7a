"""The signature over parts of a message that a convention asks for beside the vector's own (WSS 1.1).

Promises that it was made by the vector's signer, whose certificate the convention has accepted, that it covers every part that is
asked for, and that a Timestamp among them is of now.
"""

from collections.abc import Set as AbstractSet
from datetime import datetime

import msgspec

from appliance.conventions.model import ProviderConvention
from appliance.conventions.registry import Registry
from appliance.errors import Reason, VectorRefused
from appliance.native import (
    Limits,
    MessageRefused,
    SignatureRefused,
    StructureRefused,
    VerifiedMessage,
    XmlRefused,
    message_signature,
)
from appliance.operations.judge import Judgement, Question
from appliance.trust.paths import TrustedSigner
from appliance.vectors.conditions import is_over, is_reached, read_instant


def judge_parts(
    judgement: Judgement,
    question: Question,
    registry: Registry,
    now: datetime,
    limits: Limits | None = None,
) -> Judgement:
    """Check the signature over parts of the message, where the convention asks for one; needs no owner and may take long."""
    if judgement.accepted is None or judgement.signer is None:
        return judgement
    convention = registry.provider(judgement.accepted.convention)
    if not convention.soap_signed:
        return judgement
    try:
        check_signed_parts(
            question.octets, convention, judgement.signer, now, question.limits or limits
        )
    except VectorRefused as refusal:
        return msgspec.structs.replace(judgement, accepted=None, refusal=refusal.as_value())
    return judgement


def check_signed_parts(
    octets: bytes,
    convention: ProviderConvention,
    signer: TrustedSigner,
    now: datetime,
    limits: Limits | None,
) -> None:
    """Check the message signature of a message whose vector was accepted.

    Args:
        octets: the whole message.
        convention: the one that accepts the vector.
        signer: the vector's, as the convention's trust knows it.
        now: the instant to judge by.
        limits: of the reader.

    Raises:
        VectorRefused: `message-signature`.
    """
    try:
        claim = message_signature(octets, limits)
        if claim.certificates[0] != signer.path[0]:
            raise _refuse("the message is signed by another certificate than the vector")
        _check_covered(convention.soap_signed, set(claim.parts))
        verified = claim.verify(lambda _: signer.public_key, allow_sha1=convention.allow_sha1)
        if "timestamp" in convention.soap_signed:
            _check_timestamp(verified, now, convention.skew)
    except (SignatureRefused, MessageRefused, StructureRefused, XmlRefused) as exc:
        raise _refuse(str(exc)) from exc


def _check_covered(wanted: AbstractSet[str], covered: AbstractSet[str]) -> None:
    missing = sorted(wanted - covered)
    if missing:
        raise _refuse(f"the message signature does not cover {', '.join(missing)}")


def _check_timestamp(verified: VerifiedMessage, now: datetime, skew: float) -> None:
    stated = verified.timestamp()
    if stated is None or stated[1] is None:
        raise _refuse("the Timestamp has no Expires")
    try:
        created, expires = read_instant(stated[0]), read_instant(stated[1])
    except ValueError as exc:
        raise _refuse("the Timestamp has no instants with a time zone") from exc
    if not is_reached(created, now, skew) or is_over(expires, now, skew):
        raise _refuse("the Timestamp is not of now")


def _refuse(detail: str) -> VectorRefused:
    return VectorRefused(Reason.MESSAGE_SIGNATURE, detail)

"""What OCSP responders say of signers: asked where a convention names one, remembered until the answer runs out (RFC 6960).

Judging never waits for the network: it finds an answer in memory, or raises `OcspWanted`, and whoever judges fetches and judges again.
The address comes from the convention, never from a certificate. An answer counts only if the CA that issued the certificate signed it,
or a responder that this CA certified for that; anything else, and silence, is `unknown` and refuses (fail closed), for some seconds.

Promises that a question is under way once, however many vectors wait for its answer, and that a slow responder costs only those who
wait for it: no thread, a few connections of its own, and one deadline from the first wait to the last octet.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal
from weakref import WeakValueDictionary

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from appliance.log import Log
from appliance.trust.certificates import UNREADABLE, has_sound_hash, has_strong_key
from appliance.trust.download import DownloadFailed, Limits, download

Status = Literal["good", "revoked", "unknown"]

_LOG: Final = Log("trust")
_UNUSABLE: Final = (
    DownloadFailed,
    TimeoutError,
    InvalidSignature,
    TypeError,  # a key of a kind that is not taken
    x509.ExtensionNotFound,
    *UNREADABLE,
)
_REMEMBERED: Final = 10_000
_WITHIN: Final = 3.0
_LARGEST: Final = 64 * 1024
_CONNECTIONS: Final = 8
"""To one responder at once; further questions to it wait, within their deadline."""
_RETRY_AFTER: Final = timedelta(seconds=10)
_LONGEST: Final = timedelta(hours=1)
"""How long an answer is believed at most; one without a next update says that newer ones are always there."""
_CLOCKS: Final = timedelta(minutes=1)
_RSA_BITS: Final = 2048


@dataclass(frozen=True, slots=True)
class OcspQuestion:
    """Whether a certificate (DER), issued by another (DER), is revoked, put to the responder at an address."""

    address: str
    certificate: bytes = field(repr=False)
    issuer: bytes = field(repr=False)


class OcspWanted(Exception):
    """No answer is at hand: fetch it, and judge again."""

    def __init__(self, question: OcspQuestion) -> None:
        super().__init__(question.address)
        self.question: Final = question


@dataclass(frozen=True, slots=True)
class _Answer:
    status: Status
    ends: datetime


class OcspMemory:
    """The answers of every responder, and the questions under way; both bounded. One event loop at a time."""

    def __init__(self) -> None:
        self._answers: Final[OrderedDict[OcspQuestion, _Answer]] = OrderedDict()
        self._flights: Final[dict[OcspQuestion, asyncio.Task[None]]] = {}
        self._responders: Final[WeakValueDictionary[str, asyncio.Semaphore]] = WeakValueDictionary()

    def status(self, question: OcspQuestion, now: datetime) -> Status:
        """Return what is known.

        Raises:
            OcspWanted: nothing, or nothing any more.
        """
        answer = self._answers.get(question)
        if answer is None or not answer.ends - _LONGEST - _CLOCKS <= now < answer.ends:
            raise OcspWanted(question)
        return answer.status

    async def fetch(self, question: OcspQuestion, now: datetime) -> None:
        """Ask the responder, or wait with those who have, and remember what it says; within three seconds, and never fails."""
        flight = self._flights.get(question)
        if flight is None:
            flight = asyncio.get_running_loop().create_task(self._fly(question, now))
            self._flights[question] = flight
            flight.add_done_callback(lambda _: self._flights.pop(question, None))
        # Whoever gives up waiting leaves the question to the others.
        await asyncio.shield(flight)

    async def _fly(self, question: OcspQuestion, now: datetime) -> None:
        responder = self._responders.get(question.address)
        if responder is None:
            responder = self._responders[question.address] = asyncio.Semaphore(_CONNECTIONS)
        try:
            async with asyncio.timeout(_WITHIN), responder:
                answer = _read_answer(await _ask(question), question, now)
        except _UNUSABLE as exc:
            cause = str(exc) or type(exc).__name__
            _LOG.warning("ocsp-unknown", address=question.address, cause=cause)
            answer = _Answer("unknown", now + _RETRY_AFTER)
        self._answers[question] = answer
        while len(self._answers) > _REMEMBERED:
            self._answers.popitem(last=False)


async def _ask(question: OcspQuestion) -> bytes:
    """POST the request (RFC 6960, A.1)."""
    certificate, issuer = map(
        x509.load_der_x509_certificate, (question.certificate, question.issuer)
    )
    # SHA-1 names the issuer here and protects nothing; it is what every responder knows (RFC 5019, 2.1.1).
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1())  # noqa: S303 - see above
    body = builder.build().public_bytes(Encoding.DER)
    limits = Limits(_LARGEST, _WITHIN)
    return await download(question.address, limits, body, "application/ocsp-request")


def _read_answer(octets: bytes, question: OcspQuestion, now: datetime) -> _Answer:
    """Read a response and make sure that it is this CA's, about this certificate, and of now.

    Raises:
        One of those that count as no answer: it is not.
    """
    response = ocsp.load_der_ocsp_response(octets)
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise ValueError(f"the responder says {response.response_status.name}")
    certificate, issuer = map(
        x509.load_der_x509_certificate, (question.certificate, question.issuer)
    )
    _check_signature(response, issuer, now)
    asked = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, response.hash_algorithm)
    if _names(asked.build()) != _names(response):
        raise ValueError("the answer is about another certificate")
    until = response.next_update_utc or response.this_update_utc + _LONGEST
    if not response.this_update_utc - _CLOCKS <= now < until:
        raise ValueError("the answer is not of now")
    statuses: dict[ocsp.OCSPCertStatus, Status] = {
        ocsp.OCSPCertStatus.GOOD: "good",
        ocsp.OCSPCertStatus.REVOKED: "revoked",
    }
    status = statuses.get(response.certificate_status, "unknown")
    return _Answer(status, min(until, now + _LONGEST))


def _names(about: ocsp.OCSPRequest | ocsp.OCSPResponse) -> tuple[int, bytes, bytes]:
    return about.serial_number, about.issuer_name_hash, about.issuer_key_hash


def _check_signature(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime) -> None:
    """Check the signature with the CA's key, or with that of a responder it certified (RFC 6960, 4.2.2.2)."""
    signer = issuer
    for delegate in response.certificates:
        if delegate != issuer:
            _check_delegate(delegate, issuer, now)
            signer = delegate
            break
    algorithm, key = response.signature_hash_algorithm, signer.public_key()
    if algorithm is None or algorithm.name == "sha1":
        raise ValueError("the answer is signed with a hash that is refused")
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(response.signature, response.tbs_response_bytes, padding.PKCS1v15(), algorithm)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(algorithm))
    else:
        raise TypeError("the responder's key is neither RSA nor EC")


def _check_delegate(delegate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> None:
    """Check that the CA certified a responder for this, now, soundly; whether it has revoked that certificate nobody is asked."""
    delegate.verify_directly_issued_by(issuer)
    usages = delegate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    if ExtendedKeyUsageOID.OCSP_SIGNING not in usages:
        raise ValueError("the responder's certificate is not for OCSP")
    if not has_strong_key(delegate, rsa_bits=_RSA_BITS):
        raise ValueError("the responder's key is too short, or neither RSA nor EC")
    if not has_sound_hash(delegate, allow_sha1=False):
        raise ValueError("the responder's certificate is signed with a hash that is refused")
    if not delegate.not_valid_before_utc <= now <= delegate.not_valid_after_utc:
        raise ValueError("the responder's certificate is not valid now")

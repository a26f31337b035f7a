"""The route of a SOAP message on its way to a partner: read once, given its vector, and signed where the convention asks.

Promises that every octet outside the security header stays as it came, that nothing is issued for a message that could not take
the header, and that a message signature is traced, durably, before the message leaves.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final, Literal, Protocol

import msgspec

from appliance.clock import Clock, format_instant
from appliance.conventions.model import ClientConvention
from appliance.conventions.registry import RegistryCell
from appliance.errors import ConventionViolation, HsmUnavailable, MalformedRequest, Reason
from appliance.log import Log
from appliance.native import (
    Limits,
    MessageRefused,
    PreparedMessage,
    SecuredMessage,
    SecurityHeader,
    SignatureProfile,
    SignatureRefused,
    SoapMessage,
    XmlRefused,
)
from appliance.operations.entries import message_signed_entry
from appliance.operations.issue import IssueSettings, Signer, SigningKeys
from appliance.operations.tracing import TraceWriter, wait_durable
from appliance.signing.job import SigningJob
from appliance.vectors.model import IssuedVector, RequestContext, VectorRequest

Existing = Literal["refuse", "keep", "replace"]
"""What happens to security headers that a message brings."""

UNASKED: Final = frozenset({Reason.SECURITY_HEADER_PRESENT, Reason.INCLUDE_IN_SIGNED_BODY})
"""Why a message is refused before a vector is asked for, of which the trace would know otherwise."""

_LOG: Final = Log("secure")


class Issuing(Protocol):
    """What securing needs of `operations.issue`."""

    async def issue(self, request: VectorRequest, context: RequestContext) -> IssuedVector:
        """Issue one vector, or give one out again, its trace durable."""


class SecuredSoap(msgspec.Struct, frozen=True):
    """A message with its vector, whose traces are durable: it may leave."""

    message: SecuredMessage
    issued: IssuedVector


def read_soap(octets: bytes, limits: Limits | None = None) -> SoapMessage:
    """Read a message.

    Raises:
        MalformedRequest: not well-formed, with a DTD, over a limit, or no SOAP message; names it.
    """
    try:
        return SoapMessage(octets, limits)
    except (XmlRefused, MessageRefused) as exc:
        raise malformed(exc) from exc


def malformed(exc: XmlRefused | MessageRefused) -> MalformedRequest:
    """Say what the extension refused of a message as the caller's fault."""
    return MalformedRequest(Reason(exc.reason), str(exc))


def _tell_nobody(_issued: IssuedVector) -> None:
    """Stand for nobody who asks."""


class SecureOperation:
    """Puts vectors into messages under the client conventions."""

    def __init__(  # noqa: PLR0913 - wiring passes each part by name
        self,
        *,
        registry: RegistryCell,
        issue: Issuing,
        keys: SigningKeys,
        signer: Signer,
        trace: TraceWriter,
        clock: Clock,
        settings: IssueSettings,
    ) -> None:
        self._registry: Final = registry
        self._issue: Final = issue
        self._keys: Final = keys
        self._signer: Final = signer
        self._trace: Final = trace
        self._clock: Final = clock
        self._settings: Final = settings

    async def secure(
        self,
        message: SoapMessage,
        request: VectorRequest,
        context: RequestContext,
        existing: Existing = "refuse",
        announce: Callable[[IssuedVector], None] = _tell_nobody,
    ) -> SecuredSoap:
        """Issue a vector, or take one that is at hand, and put it into the message.

        Args:
            message: as it came.
            request: for whom the vector is.
            context: who asks.
            existing: what happens to security headers that the message brings.
            announce: told the vector once it is traced, for whoever must say what came of it even if the message cannot take it.

        Raises:
            ApplianceError: as `IssueOperation.issue`.
            MalformedRequest: the message cannot take the header, or not by this rule.
            ConventionViolation: its convention, which signs messages, came into force after the message was read.
            HsmUnavailable: the token made a message signature that does not verify.
        """
        convention = self._find(request.convention)
        if convention is not None:
            _check_message(message, convention, existing)
        issued = await self._issue.issue(request, context)
        announce(issued)
        if convention is None:  # it came into force while the vector was made
            convention = self._registry.current.client(request.convention)
            _check_unsigned(convention)
        header = self._make_header(issued, convention, existing)
        try:
            if not convention.soap_signed:
                return SecuredSoap(message.insert(header), issued)
            profile = self._profile(issued)
            # The Body may be long: the extension digests it without the interpreter, in a thread.
            prepared = await asyncio.to_thread(
                message.prepare, header, profile, convention.soap_signed
            )
        except (XmlRefused, MessageRefused) as exc:
            raise malformed(exc) from exc
        signed = await self._sign(prepared, profile.hash_name, issued, context)
        return SecuredSoap(signed, issued)

    def signs_body(self, convention: str) -> bool:
        """Tell whether messages of a convention must be held whole."""
        found = self._find(convention)
        return found is not None and "body" in found.soap_signed

    def _find(self, convention: str) -> ClientConvention | None:
        """Return the convention, None where issuing will refuse the request by name."""
        found = self._registry.current.find(convention)
        return found if isinstance(found, ClientConvention) else None

    def _make_header(
        self, issued: IssuedVector, convention: ClientConvention, existing: Existing
    ) -> SecurityHeader:
        timestamp = None
        if convention.soap_timestamp is not None:
            now = self._clock.now()
            expires = now + timedelta(seconds=convention.soap_timestamp)
            timestamp = (format_instant(now), format_instant(expires))
        return SecurityHeader(
            issued.vector.assertion,
            timestamp=timestamp,
            reference=convention.soap_reference,
            existing=existing,
        )

    def _profile(self, issued: IssuedVector) -> SignatureProfile:
        stated = issued.vector.unsigned.request
        return self._keys.profile(
            stated.key, stated.signature_algorithm, stated.key_info, stated.variant
        )

    async def _sign(
        self,
        prepared: PreparedMessage,
        hash_name: str,
        issued: IssuedVector,
        context: RequestContext,
    ) -> SecuredMessage:
        """Have the parts of a message signed by the vector's own key, trace it, and put the signature in its place."""
        key = issued.vector.unsigned.request.key
        octets = prepared.signed_info if self._keys.hashes_in_token(key) else b""
        deadline = self._clock.monotonic() + self._settings.sign_within
        before = format_instant(self._clock.now())  # what accounts compare the lanes' count with
        [signature] = await self._signer.sign_many(
            [SigningJob(key, hash_name, prepared.digest, deadline, octets)]
        )
        if not isinstance(signature, bytes):
            try:
                raise signature
            finally:
                del signature  # `ApplianceError.as_value` says why
        entry = message_signed_entry(
            issued.vector.unsigned,
            context,
            self._keys.trace_facts(key),
            prepared.digest,
            before,
        )
        await wait_durable(self._trace.append(self._trace.prepare(entry)))
        try:
            return await asyncio.to_thread(prepared.splice, signature)
        except SignatureRefused as exc:
            _LOG.error("signature-does-not-verify", exc, key=key)
            self._signer.doubt(key)
            raise HsmUnavailable(
                Reason.HSM_UNAVAILABLE,
                f"the token made a signature that key `{key}` does not verify",
            ) from exc


def _check_unsigned(convention: ClientConvention) -> None:
    """Refuse to sign a message that nobody knew was to be signed: it may not have been held whole."""
    if convention.soap_signed:
        raise ConventionViolation(
            Reason.CONVENTION_UNKNOWN,
            f"there was no convention `{convention.id}` yet when the message was read; send it again",
        )


def _check_message(message: SoapMessage, convention: ClientConvention, existing: Existing) -> None:
    """Refuse what no vector could be put into, before one is made."""
    if existing == "refuse" and message.is_secured:
        raise MalformedRequest(
            Reason.SECURITY_HEADER_PRESENT, "the message has a wsse:Security already; send none"
        )
    if "body" in convention.soap_signed and message.includes:
        raise MalformedRequest(
            Reason.INCLUDE_IN_SIGNED_BODY,
            f"`{convention.id}` signs the Body, and an xop:Include in it stands for octets that no signature "
            "would cover; send them inline",
        )

"""The exception tree: one branch per party at fault, one closed `Reason` per exact cause.

Every error that can reach a caller, a metric or the trace carries a `Reason` (machine-readable, stable) and a `detail` (one
sentence that says what to change). The server holds the single table that maps these classes to HTTP; this module knows no wire.
"""

from enum import StrEnum, unique
from typing import Final, Self


@unique
class Reason(StrEnum):
    """The closed list of causes: metric label, `reason` on the wire, and trace field."""

    # RequestError: the caller's fault
    MALFORMED_HTTP = "malformed-http"
    MALFORMED_JSON = "malformed-json"
    MALFORMED_XML = "malformed-xml"
    CALLER_GONE = "caller-gone"
    NOT_SOAP = "not-soap"
    ENVELOPE_INVALID = "envelope-invalid"
    ENCODING_UNSUPPORTED = "encoding-unsupported"
    SECURITY_HEADER_PRESENT = "security-header-present"
    SECURITY_HEADER_CONFLICT = "security-header-conflict"
    ID_UNUSABLE = "id-unusable"
    INCLUDE_IN_SIGNED_BODY = "include-in-signed-body"
    SOAP_HEAD_TOO_LARGE = "soap-head-too-large"
    CONTENT_CODING = "content-coding"
    MULTIPART_INVALID = "multipart-invalid"
    USERNAME_MISSING = "username-missing"
    DTD_FORBIDDEN = "dtd-forbidden"
    XML_LIMIT = "xml-limit"
    BODY_TOO_LARGE = "body-too-large"
    BATCH_TOO_LARGE = "batch-too-large"
    ENTRY_TOO_LARGE = "entry-too-large"
    HEADERS_TOO_LARGE = "headers-too-large"
    REQUEST_TIMEOUT = "request-timeout"
    UNKNOWN_CALLER = "unknown-caller"
    FOREIGN_HOST = "foreign-host"
    FOREIGN_ORIGIN = "foreign-origin"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    CALLER_NOT_ALLOWED = "caller-not-allowed"
    CONVENTION_UNKNOWN = "convention-unknown"
    CONVENTION_ROLE = "convention-role"
    PAGM_MISSING = "pagm-missing"
    PAGM_NOT_GRANTED = "pagm-not-granted"
    PAGM_REPEATED = "pagm-repeated"
    ROLE_UNKNOWN = "role-unknown"
    LEVEL_NOT_GRANTED = "level-not-granted"
    SUBJECT_INVALID = "subject-invalid"
    ATTRIBUTE_INVALID = "attribute-invalid"
    ATTRIBUTE_NOT_GRANTED = "attribute-not-granted"
    AUTHN_INSTANT_INVALID = "authn-instant-invalid"
    REUSE_NOT_GRANTED = "reuse-not-granted"
    CONVENTION_NOT_VALID_NOW = "convention-not-valid-now"
    # VectorRefused: the received vector's fault
    SOAP_HEADER_MISSING = "soap-header-missing"
    SECURITY_HEADER_MISSING = "security-header-missing"
    SEVERAL_SECURITY_HEADERS = "several-security-headers"
    ASSERTION_MISSING = "assertion-missing"
    SEVERAL_ASSERTIONS = "several-assertions"
    NOT_A_VECTOR = "not-a-vector"
    STRUCTURE_INVALID = "structure-invalid"
    SIGNATURE_MISSING = "signature-missing"
    SEVERAL_SIGNATURES = "several-signatures"
    CERTIFICATE_MISSING = "certificate-missing"
    SIGNATURE_PROFILE = "signature-profile"
    ALGORITHM_NOT_ALLOWED = "algorithm-not-allowed"
    CERTIFICATE_INVALID = "certificate-invalid"
    CERTIFICATE_SELF_SIGNED = "certificate-self-signed"
    CERTIFICATE_NOT_TRUSTED = "certificate-not-trusted"
    CERTIFICATE_REVOKED = "certificate-revoked"
    REVOCATION_UNKNOWN = "revocation-unknown"
    DIGEST_MISMATCH = "digest-mismatch"
    SIGNATURE_INVALID = "signature-invalid"
    VECTOR_TOO_LARGE = "vector-too-large"
    SAML_VERSION = "saml-version"
    ID_STYLE = "id-style"
    DATE_INVALID = "date-invalid"
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    LIFETIME_TOO_LONG = "lifetime-too-long"
    CONFIRMATION_INVALID = "confirmation-invalid"
    NAME_ID_FORMAT = "name-id-format"
    AUDIENCE_MISMATCH = "audience-mismatch"
    SEVERAL_AUDIENCES = "several-audiences"
    RECIPIENT_MISMATCH = "recipient-mismatch"
    LEVEL_MISMATCH = "level-mismatch"
    PAGM_ABSENT = "pagm-absent"
    PAGM_DUPLICATED = "pagm-duplicated"
    ISSUER_UNKNOWN = "issuer-unknown"
    CONVENTION_NOT_IN_FORCE = "convention-not-in-force"
    SIGNER_NOT_OF_CONVENTION = "signer-not-of-convention"
    ANCHOR_NOT_OF_CONVENTION = "anchor-not-of-convention"
    SIGNER_NAME = "signer-name"
    TLS_PEER = "tls-peer"
    MESSAGE_SIGNATURE = "message-signature"
    PAGM_UNKNOWN = "pagm-unknown"
    REPLAYED = "replayed"
    # Pushback: we are full
    QUEUE_FULL = "queue-full"
    QUEUE_TIMEOUT = "queue-timeout"
    HSM_BUSY = "hsm-busy"
    SPOOL_FULL = "spool-full"
    CONNECTION_LIMIT = "connection-limit"
    PARTNER_BUSY = "partner-busy"
    SPOOL_OF_MESSAGES_FULL = "spool-of-messages-full"
    DRAINING = "draining"
    REPLAY_GUARD_FULL = "replay-guard-full"
    # Unavailable: a part is down
    HSM_UNAVAILABLE = "hsm-unavailable"
    PIN_REFUSED = "pin-refused"
    SPOOL_UNAVAILABLE = "spool-unavailable"
    REPLAY_GUARD_UNAVAILABLE = "replay-guard-unavailable"
    SERVICE_UNREACHABLE = "service-unreachable"
    PARTNER_UNREACHABLE = "partner-unreachable"
    PARTNER_DISTRUSTED = "partner-distrusted"
    PARTNER_TIMEOUT = "partner-timeout"
    PARTNER_FAILED = "partner-failed"
    # ConfigurationError: the files' fault
    CONFIGURATION_INVALID = "configuration-invalid"
    # LogDamaged, CheckpointInvalid: the trace does not hold what was once acknowledged, or cannot show it
    LOG_DAMAGED = "log-damaged"
    LOG_DISAGREES = "log-disagrees"
    CHECKPOINT_INVALID = "checkpoint-invalid"
    CHECKPOINT_NOT_LAST = "checkpoint-not-last"
    # InternalError: our fault
    INTERNAL = "internal"


class ApplianceError(Exception):
    """Root of the tree.

    Attributes:
        reason: the closed cause.
        detail: one sentence for whoever can mend it; never holds a PIN, a key, or a whole vector.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Final = reason
        self.detail: Final = detail

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reason.value}: {self.detail})"

    def as_value(self) -> Self:
        """Let go of the traceback and the cause, for an error that is kept as a result: their frames lead to whoever keeps it.

        Thousands of refusals a second would otherwise wait for the collector of cycles, each with all that its request had made.
        """
        self.__cause__ = self.__context__ = None
        return self.with_traceback(None)


class RequestError(ApplianceError):
    """The caller's fault: repeating the same request gives the same answer."""


class MalformedRequest(RequestError):
    """The octets are not what the endpoint takes."""


class UnknownCaller(RequestError):
    """The peer has not shown who it is."""


class CallerGone(RequestError):
    """The peer hung up before its request was complete: nobody hears an answer."""


class ForeignRequest(RequestError):
    """A Host that is not ours or an Origin: the shape of a browser attack."""


class ConventionViolation(RequestError):
    """The convention forbids what was asked; nothing has been signed."""


class ResourceUnknown(RequestError):
    """No such path, method or object."""


class RequestTooLarge(RequestError):
    """A stated size or count limit was passed."""


class RequestTooSlow(RequestError):
    """The head or the body did not arrive within its deadline."""


class VectorRefused(ApplianceError):
    """The received vector's fault; `operations.verify` maps the reason to the QName of the InterOPS fault."""


class Pushback(ApplianceError):
    """We are full: try again after `retry_after` seconds."""

    def __init__(self, reason: Reason, detail: str, retry_after: int = 1) -> None:
        super().__init__(reason, detail)
        self.retry_after: Final = retry_after


class QueueFull(Pushback):
    """The signing queue holds as many jobs, or as old ones, as it may, or the token has no room for another."""


class SpoolFull(Pushback):
    """The trace spool holds as many undurable entries as it may."""


class ReplayGuardFull(Pushback):
    """The replay guard cannot remember one vector more, so none that must be unique is accepted."""


class Unavailable(ApplianceError):
    """A part is down; `retry_after` (seconds) is a hint."""

    def __init__(self, reason: Reason, detail: str, retry_after: int = 1) -> None:
        super().__init__(reason, detail)
        self.retry_after: Final = retry_after


class HsmUnavailable(Unavailable):
    """No lane can sign with the key."""


class SpoolUnavailable(Unavailable):
    """The trace cannot be made durable, so nothing may leave."""


class PartnerUnavailable(Unavailable):
    """The other end of a route cannot be reached, is not who it should be, or gives no whole answer."""


class CheckpointRefused(ApplianceError):
    """The lane does not sign: the checkpoint does not start from, or does not extend, the last one it signed for the origin.

    Attributes:
        size: of that one.
    """

    def __init__(self, reason: Reason, detail: str, size: int) -> None:
        super().__init__(reason, detail)
        self.size: Final = size


class ReplayGuardUnavailable(Unavailable):
    """Nobody can tell whether a vector came before, so it is not accepted."""


class ServiceUnreachable(Unavailable):
    """The running service does not answer on its unix socket."""


class ConfigurationError(ApplianceError):
    """A file cannot be used: names the file, the key and what was expected.

    Attributes:
        file: the offending file.
        key: dotted path of the key, empty when the file itself is at fault.
        expected: what would have been right.
    """

    def __init__(self, file: str, key: str, expected: str) -> None:
        where = f"{file}: {key}" if key else file
        super().__init__(Reason.CONFIGURATION_INVALID, f"{where}: expected {expected}")
        self.file: Final = file
        self.key: Final = key
        self.expected: Final = expected


class InternalError(ApplianceError):
    """Our fault; the detail stays in the log."""

    def as_value(self) -> Self:
        """Keep cause and traceback, which the log wants."""
        return self


def internal_error(exc: BaseException) -> InternalError:
    """Turn what nobody foresaw into our error, which carries it as its cause."""
    error = InternalError(Reason.INTERNAL, f"{type(exc).__name__}: {exc}")
    error.__cause__ = exc
    return error

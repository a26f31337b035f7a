"""The fault each refusal becomes: QName, namespace and French faultstring of DOMAIN 7; the one table of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from appliance.errors import Reason, VectorRefused

WSSE_NAMESPACE: Final = (
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
)
VI_NAMESPACE: Final = "urn:iops:vi:faultcodes"


@dataclass(frozen=True, slots=True)
class Fault:
    """What a refused partner is told.

    Attributes:
        code: QName with the usual prefix, `wsse:FailedCheck`.
        namespace: what the prefix stands for.
        reason: our own, finer word.
        string: fixed French sentence; the cause in detail stays on our side.
    """

    code: str
    namespace: str
    reason: Reason
    string: str


def fault_of(refusal: VectorRefused) -> Fault:
    """Return the fault of a refusal."""
    kind = _KINDS[refusal.reason]
    told = _TOLD.get(refusal.reason)
    string = kind.string if told is None else f"{kind.string} ({told})"
    namespace = WSSE_NAMESPACE if kind.code.startswith("wsse:") else VI_NAMESPACE
    return Fault(kind.code, namespace, refusal.reason, string)


class _Kind(Enum):
    """The faults of DOMAIN 7."""

    TOKEN_UNAVAILABLE = (
        "wsse:SecurityTokenUnavailable",
        "La référence au jeton de sécurité est introuvable",
    )
    INVALID_TOKEN = ("wsse:InvalidSecurityToken", "Le jeton de sécurité fourni est invalide")
    FAILED_CHECK = ("wsse:FailedCheck", "La signature ou le chiffrement n'est pas valide")
    INVALID_VECTOR = ("vi:InvalidVI", "Le VI est invalide")
    INVALID_SERVICE = (
        "vi:InvalidService",
        "Le service visé par le VI n'existe pas ou est invalide",
    )
    INVALID_LEVEL = (
        "vi:InvalidAuthLevel",
        "Le niveau d'authentification initial n'est pas conforme au contrat d'interopérabilité",
    )
    INVALID_PAGM = ("vi:InvalidPagm", "Le ou les PAGM présents dans le VI sont invalides")
    INVALID_ISSUER = (
        "vi:InvalidIssuer",
        "L'identifiant de l'organisme client présent dans le VI est invalide ou inconnu",
    )

    def __init__(self, code: str, string: str) -> None:
        self.code: Final = code
        self.string: Final = string


_TOLD: Final = {  # DOMAIN 7, 13a and 13b: the causes that the partner is told
    Reason.SIGNER_NOT_OF_CONVENTION: "le certificat du signataire n'est pas celui de la convention",
    Reason.ANCHOR_NOT_OF_CONVENTION: "le certificat n'a pas été émis par l'IGC de la convention",
    Reason.SIGNER_NAME: "le nom du certificat n'est pas celui de la convention",
}

_KINDS: Final[Mapping[Reason, _Kind]] = {
    Reason.SOAP_HEADER_MISSING: _Kind.TOKEN_UNAVAILABLE,
    Reason.SECURITY_HEADER_MISSING: _Kind.TOKEN_UNAVAILABLE,
    Reason.ASSERTION_MISSING: _Kind.TOKEN_UNAVAILABLE,
    Reason.SEVERAL_SECURITY_HEADERS: _Kind.INVALID_TOKEN,
    Reason.SEVERAL_ASSERTIONS: _Kind.INVALID_TOKEN,
    Reason.NOT_A_VECTOR: _Kind.INVALID_TOKEN,
    Reason.STRUCTURE_INVALID: _Kind.INVALID_TOKEN,
    Reason.SIGNATURE_MISSING: _Kind.FAILED_CHECK,
    Reason.SEVERAL_SIGNATURES: _Kind.FAILED_CHECK,
    Reason.CERTIFICATE_MISSING: _Kind.FAILED_CHECK,
    Reason.SIGNATURE_PROFILE: _Kind.FAILED_CHECK,
    Reason.ALGORITHM_NOT_ALLOWED: _Kind.FAILED_CHECK,
    Reason.CERTIFICATE_INVALID: _Kind.FAILED_CHECK,
    Reason.CERTIFICATE_SELF_SIGNED: _Kind.FAILED_CHECK,
    Reason.CERTIFICATE_NOT_TRUSTED: _Kind.FAILED_CHECK,
    Reason.CERTIFICATE_REVOKED: _Kind.FAILED_CHECK,
    Reason.REVOCATION_UNKNOWN: _Kind.FAILED_CHECK,
    Reason.DIGEST_MISMATCH: _Kind.FAILED_CHECK,
    Reason.SIGNATURE_INVALID: _Kind.FAILED_CHECK,
    Reason.SIGNER_NOT_OF_CONVENTION: _Kind.FAILED_CHECK,
    Reason.ANCHOR_NOT_OF_CONVENTION: _Kind.FAILED_CHECK,
    Reason.SIGNER_NAME: _Kind.FAILED_CHECK,
    Reason.TLS_PEER: _Kind.FAILED_CHECK,
    Reason.MESSAGE_SIGNATURE: _Kind.FAILED_CHECK,
    Reason.SAML_VERSION: _Kind.INVALID_TOKEN,
    Reason.VECTOR_TOO_LARGE: _Kind.INVALID_VECTOR,
    Reason.DATE_INVALID: _Kind.INVALID_VECTOR,
    Reason.ID_STYLE: _Kind.INVALID_VECTOR,
    Reason.NOT_YET_VALID: _Kind.INVALID_VECTOR,
    Reason.EXPIRED: _Kind.INVALID_VECTOR,
    Reason.LIFETIME_TOO_LONG: _Kind.INVALID_VECTOR,
    Reason.CONFIRMATION_INVALID: _Kind.INVALID_VECTOR,
    Reason.NAME_ID_FORMAT: _Kind.INVALID_VECTOR,
    Reason.REPLAYED: _Kind.INVALID_VECTOR,
    Reason.AUDIENCE_MISMATCH: _Kind.INVALID_SERVICE,
    Reason.SEVERAL_AUDIENCES: _Kind.INVALID_SERVICE,
    Reason.RECIPIENT_MISMATCH: _Kind.INVALID_SERVICE,
    Reason.LEVEL_MISMATCH: _Kind.INVALID_LEVEL,
    Reason.PAGM_ABSENT: _Kind.INVALID_PAGM,
    Reason.PAGM_DUPLICATED: _Kind.INVALID_PAGM,
    Reason.PAGM_UNKNOWN: _Kind.INVALID_PAGM,
    Reason.ISSUER_UNKNOWN: _Kind.INVALID_ISSUER,
    Reason.CONVENTION_NOT_IN_FORCE: _Kind.INVALID_ISSUER,
}

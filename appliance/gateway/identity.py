"""The verified identity as an application of ours is told it: in plain header fields, or as a JWS that it can check.

Promises that no such field from outside reaches the application, however it is written; that values are percent-encoded where they
are not plain ASCII; and that a JWS is for one audience, one message and a minute at most (RFC 7515, RFC 7519; ES256 of RFC 7518).
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from appliance.errors import ConfigurationError
from appliance.gateway.fields import plain_name
from appliance.gateway.tables import InboundRouteTable
from appliance.vectors.model import AcceptedVector

_SAFE: Final = "!#$&'()*+/:;=?@[]|~^`{}<> \""
_HALF: Final = 32

HeaderFields = list[tuple[bytes, bytes]]


class JwsSigner:
    """Signs what one appliance says of a message; the key is a file of its own, P-256."""

    def __init__(self, file: Path) -> None:
        """Read the key.

        Raises:
            ConfigurationError: it cannot be read, others can read it too, or it is no P-256 key.
        """
        try:
            if file.stat().st_mode & 0o077:
                raise ConfigurationError(str(file), "", "a file for its owner only: chmod 600")
            key = load_pem_private_key(file.read_bytes(), None)
        except OSError as exc:
            raise ConfigurationError(str(file), "", f"a readable file ({exc.strerror})") from exc
        except (ValueError, TypeError) as exc:
            raise ConfigurationError(str(file), "", "a private key in PEM, unencrypted") from exc
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
            raise ConfigurationError(str(file), "", "a P-256 key: openssl ecparam -name prime256v1")
        self._key: Final = key
        spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        kid = hashlib.sha256(spki).hexdigest()
        self._head: Final = _encode({"alg": "ES256", "typ": "JWT", "kid": kid})

    def sign(self, claims: Mapping[str, object]) -> bytes:
        """Return the compact serialization."""
        signed = self._head + b"." + _encode(claims)
        r, s = decode_dss_signature(self._key.sign(signed, ec.ECDSA(hashes.SHA256())))
        return signed + b"." + _base64(r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big"))


class IdentityWriter:
    """What one route tells its application.

    Attributes:
        states_digest: whether it must know all of a message before any of it goes on.
    """

    def __init__(self, table: InboundRouteTable) -> None:
        """Take the route's words.

        Raises:
            ConfigurationError: the key of its JWS cannot be used.
        """
        self._table: Final = table
        self.states_digest: Final = table.identity == "jwt"
        self._signer: Final = None if table.jwt_key is None else JwsSigner(table.jwt_key)

    def write(
        self, accepted: AcceptedVector, sha256: bytes, *, now: datetime, jti: UUID
    ) -> HeaderFields:
        """Write the fields.

        Args:
            accepted: whom it is about.
            sha256: of all that the application is sent; nobody looks at it where it is not stated.
            now: the instant of issue.
            jti: an identifier of its own.
        """
        table = self._table
        if table.identity == "headers":
            return _plain(table, accepted)
        if table.identity == "none" or self._signer is None:
            return []
        claims = _claims(accepted) | {
            "message_sha256": _base64(sha256).decode("ascii"),
            "aud": table.jwt_audience,
            "iat": int(now.timestamp()),
            "exp": int(now.timestamp() + table.jwt_lifetime),
            "jti": str(jti),
        }
        return [(table.jwt_header.encode("ascii"), self._signer.sign(claims))]


def identity_names(tables: Iterable[InboundRouteTable]) -> frozenset[bytes]:
    """Return the names of all fields that routes may write, whichever they do write, as they are compared."""
    written = (
        name
        for table in tables
        for name in (
            *(table.subject_header, table.pagm_header, table.issuer_header),
            *(table.assertion_header, table.jwt_header),
        )
    )
    return frozenset(plain_name(name.encode("ascii")) for name in written)


def _plain(table: InboundRouteTable, accepted: AcceptedVector) -> HeaderFields:
    vector = accepted.vector
    said = [
        (table.issuer_header, vector.issuer),
        (table.assertion_header, vector.assertion_id),
        *((table.subject_header, each) for each in (accepted.subject,) if each is not None),
        *((table.pagm_header, pagm) for pagm in accepted.pagms),
    ]
    return [
        (name.encode("ascii"), quote(value, safe=_SAFE).encode("ascii")) for name, value in said
    ]


def _claims(accepted: AcceptedVector) -> dict[str, object]:
    vector = accepted.vector
    claims: dict[str, object] = {
        "iss": vector.issuer,
        "assertion_id": vector.assertion_id,
        "convention": accepted.convention,
        "pagms": accepted.pagms,
        "level": vector.level,
        "attributes": accepted.attributes,
    }
    if accepted.subject is not None:
        claims["sub"] = accepted.subject
    return claims


def _encode(value: Mapping[str, object]) -> bytes:
    return _base64(msgspec.json.encode(value))


def _base64(octets: bytes) -> bytes:
    return base64.urlsafe_b64encode(octets).rstrip(b"=")

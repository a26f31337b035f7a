"""Signature algorithms by the names convention files use (RFC 6931, 2.3)."""

from typing import Final

_MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
_MORE_2007: Final = "http://www.w3.org/2007/05/xmldsig-more#"

SIGNATURE_ALGORITHMS: Final = {
    name: f"{_MORE}{name}"
    for name in ("rsa-sha256", "rsa-sha384", "rsa-sha512", "ecdsa-sha256", "ecdsa-sha384")
} | {
    f"rsa-pss-{hash_name}": f"{_MORE_2007}{hash_name}-rsa-MGF1"
    for hash_name in ("sha256", "sha384", "sha512")
}
"""What we sign with."""

RSA_SHA1: Final = "http://www.w3.org/2000/09/xmldsig#rsa-sha1"

ACCEPTED_ALGORITHMS: Final = {
    **SIGNATURE_ALGORITHMS,
    "ecdsa-sha512": f"{_MORE}ecdsa-sha512",
    "rsa-sha1": RSA_SHA1,
}
"""What a provider convention may accept."""

"""What the check of a signature costs before its vector is released: on average over all of a key's signatures."""

import time
import timeit
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.native import verify_digest
from appliance.signing.release import EVERY

_P384: Final = 384
_TIMES: Final = 200
_REPEATS: Final = 5
_DIGEST: Final = bytes(range(32))
_SIGNED_AS: Final = Prehashed(hashes.SHA256())
_ALGORITHM: Final = "http://www.w3.org/2001/04/xmldsig-more#"


def release_check(mechanism: str) -> float:
    """Seconds of the processor for one signature of a key such as `rsa-2048` or `p-256`: the least of a few repeats."""
    kind, _, bits = mechanism.partition("-")
    name, key, signature = _sign_rsa(int(bits)) if kind == "rsa" else _sign_ecdsa(int(bits))
    public_key = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    timer = timeit.Timer(
        lambda: verify_digest(public_key, name, _DIGEST, signature), timer=time.process_time
    )
    seconds = min(timer.repeat(_REPEATS, _TIMES)) / _TIMES
    return seconds if kind == "rsa" else seconds / EVERY


def _sign_rsa(bits: int) -> tuple[str, rsa.RSAPublicKey, bytes]:
    key = rsa.generate_private_key(65537, bits)
    signature = key.sign(_DIGEST, padding.PKCS1v15(), _SIGNED_AS)
    return f"{_ALGORITHM}rsa-sha256", key.public_key(), signature


def _sign_ecdsa(bits: int) -> tuple[str, ec.EllipticCurvePublicKey, bytes]:
    key = ec.generate_private_key(ec.SECP384R1() if bits == _P384 else ec.SECP256R1())
    numbers = decode_dss_signature(key.sign(_DIGEST, ec.ECDSA(_SIGNED_AS)))
    octets = bits // 8
    signature = b"".join(number.to_bytes(octets, "big") for number in numbers)
    return f"{_ALGORITHM}ecdsa-sha256", key.public_key(), signature

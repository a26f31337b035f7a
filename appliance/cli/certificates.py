"""Finding the certificate of a signer by its fingerprint: among those kept beside the logs, and among our own."""

import hashlib
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from appliance.home import Home


def find_certificate(home: Home, sha256: str) -> bytes | None:
    """Return the certificate as PEM; None when it is not here."""
    kept = home.certificates / f"{sha256}.der"
    if kept.is_file():
        return x509.load_der_x509_certificate(kept.read_bytes()).public_bytes(Encoding.PEM)
    for file in sorted((home.root / "pki").glob("**/*.pem")):
        for certificate in _read_certificates(file):
            if hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest() == sha256:
                return certificate.public_bytes(Encoding.PEM)
    return None


def _read_certificates(file: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except ValueError:
        return []  # a key, or a revocation list

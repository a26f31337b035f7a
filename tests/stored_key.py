"""Puts the same private key into several tokens, as a vendor's cloning does: `python -m tests.stored_key`, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pkcs11
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from pkcs11 import Attribute
from pkcs11.util.rsa import decode_rsa_private_key

from hsm.provision.softhsm import SoftHsmToken
from hsm.settings import KeySettings
from tests.softhsm import PIN


def store_key(tokens: list[SoftHsmToken], name: str, key_id: str) -> KeySettings:
    """Make an RSA-2048 key and store it in each token; describe it as a lane wants it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    der = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    for token in tokens:
        order = {"module": str(token.module), "label": token.label, "name": name, "id": key_id}
        subprocess.run(
            [sys.executable, "-m", "tests.stored_key"],
            input=json.dumps(order | {"key": der.hex()}),
            text=True,
            check=True,
            timeout=30,
            env=os.environ | token.environment,
            cwd=Path(__file__).parents[1],
        )
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return KeySettings(name, name, key_id, spki)


def main() -> None:
    """Store one key in one token, sensitive and never to leave again."""
    order = json.load(sys.stdin)
    token = pkcs11.lib(order["module"]).get_token(token_label=order["label"])
    with token.open(rw=True, user_pin=PIN) as session:
        attributes = decode_rsa_private_key(bytes.fromhex(order["key"]))
        session.create_object(
            attributes
            | {
                Attribute.TOKEN: True,
                Attribute.PRIVATE: True,
                Attribute.SENSITIVE: True,
                Attribute.EXTRACTABLE: False,
                Attribute.SIGN: True,
                Attribute.LABEL: order["name"],
                Attribute.ID: bytes.fromhex(order["id"]),
            }
        )


if __name__ == "__main__":
    main()

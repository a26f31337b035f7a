"""Names are matched whole: no attribute more, none less, no star across a comma."""

import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from appliance.trust.names import NamePattern, any_matches
from tests.pki import NOW, rsa_key


def name(text: str) -> x509.Name:
    """Read a name."""
    return x509.Name.from_rfc4514_string(text)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("CN=PNR,O=Organisme,C=FR", "CN=PNR,O=Organisme,C=FR"),
        ("CN=*,O=Organisme,C=FR", "CN=tout ce qu'on veut,O=Organisme,C=FR"),
        ("CN=front-*,C=FR", "CN=front-,C=FR"),
        ("CN=*-front,C=FR", "CN=a-front,C=FR"),
        ("CN=a*b*c,C=FR", "CN=a-b-b-c,C=FR"),
        ("CN=**,C=FR", "CN=x,C=FR"),
        ("CN=a+OU=b,C=FR", "OU=b+CN=a,C=FR"),
        (r"CN=a\,b,C=FR", r"CN=a\,b,C=FR"),
    ],
)
def test_whole_name_fits(pattern: str, text: str) -> None:
    """A pattern takes the name it spells, and any run of characters for a star."""
    assert NamePattern.read(pattern).matches(name(text))


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("CN=PNR,C=FR", "CN=PNR_Evil,C=FR"),
        ("CN=PNR,C=FR", "CN=pnr,C=FR"),
        ("CN=PNR,C=FR", "CN=PNR,O=Evil,C=FR"),
        ("CN=PNR,C=FR", "CN=PNR"),
        ("CN=PNR,C=FR", "C=FR,CN=PNR"),
        ("CN=PNR,C=FR", "OU=PNR,C=FR"),
        ("CN=PNR*,C=FR", r"CN=Evil,OU=PNR,C=FR"),
        ("CN=PNR*,O=A", r"CN=PNR\,O\=A"),
        ("CN=ab*ba,C=FR", "CN=aba,C=FR"),
        ("CN=a*b*c,C=FR", "CN=a-c,C=FR"),
        ("CN=a,C=FR", "CN=a+OU=b,C=FR"),
    ],
)
def test_anything_else_does_not(pattern: str, text: str) -> None:
    """No longer value, no other case, no attribute beside or elsewhere, no star beyond its value."""
    assert not NamePattern.read(pattern).matches(name(text))


def test_matching_is_linear() -> None:
    """Many stars over a long value that does not fit cost no more than few."""
    pattern = NamePattern.read(f"2.5.4.13={'*a' * 200}b")
    assert not pattern.matches(name(f"2.5.4.13={'a' * 20_000}"))


def test_one_of_several() -> None:
    """One pattern that fits is enough, none is none."""
    patterns = [NamePattern.read("CN=a"), NamePattern.read("CN=b")]
    assert any_matches(patterns, name("CN=b"))
    assert not any_matches(patterns, name("CN=c"))
    assert not any_matches([], name("CN=a"))


def test_name_as_openssl_prints_it(tmp_path: Path) -> None:
    """What the documented command prints of a certificate is a pattern for its subject, whatever attributes it has."""
    attributes = [
        *((NameOID.COUNTRY_NAME, "FR"), (NameOID.ORGANIZATION_NAME, "Caisse, d'été")),
        *((NameOID.ORGANIZATION_IDENTIFIER, "NTRFR-180035024"), (NameOID.SERIAL_NUMBER, "S1")),
        *((NameOID.SURNAME, "Martin"), (NameOID.GIVEN_NAME, "Amélie"), (NameOID.TITLE, "Mme")),
        *((NameOID.STREET_ADDRESS, "rue"), (NameOID.POSTAL_CODE, "93000"), (NameOID.USER_ID, "7")),
        *((NameOID.JURISDICTION_COUNTRY_NAME, "FR"), (NameOID.BUSINESS_CATEGORY, "Gov")),
        *((NameOID.PSEUDONYM, "p"), (NameOID.DN_QUALIFIER, "q"), (NameOID.INITIALS, "A.M.")),
        *((NameOID.GENERATION_QUALIFIER, "II"), (NameOID.UNSTRUCTURED_NAME, "u")),
        *((NameOID.JURISDICTION_LOCALITY_NAME, "l"), (NameOID.DOMAIN_COMPONENT, "fr")),
        *((NameOID.JURISDICTION_STATE_OR_PROVINCE_NAME, "s"), (NameOID.COMMON_NAME, "#1 app ")),
        (NameOID.EMAIL_ADDRESS, "cachet@organisme.example"),
    ]
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])
    key = rsa_key("stranger")
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, NOW, NOW)
    file = tmp_path / "signer.pem"
    file.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    command = ["openssl", "x509", "-noout", "-subject", "-nameopt", "RFC2253", "-in", str(file)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    text = printed.removeprefix("subject=").rstrip("\n")
    assert NamePattern.read(text).matches(subject), text
    assert not NamePattern.read(text.replace("93000", "93001")).matches(subject)


def test_names_of_attributes_in_small_letters() -> None:
    """RFC 4514, 4: the case of an attribute's name does not matter, that of its value does."""
    assert NamePattern.read("cn=app,ou=x,c=FR").matches(name("CN=app,OU=x,C=FR"))
    assert not NamePattern.read("cn=APP,ou=x,c=FR").matches(name("CN=app,OU=x,C=FR"))


@pytest.mark.parametrize("text", ["", "PNR", "CN", "XX=a", "CN=a,"])
def test_what_is_no_name(text: str) -> None:
    """A pattern that is no distinguished name is refused."""
    with pytest.raises(ValueError, match=r"RFC 4514|at least one"):
        NamePattern.read(text)

"""Names are matched whole: no attribute more, none less, no star across a comma."""

import pytest
from cryptography import x509

from appliance.trust.names import NamePattern, any_matches


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


@pytest.mark.parametrize("text", ["", "PNR", "CN", "XX=a", "CN=a,"])
def test_what_is_no_name(text: str) -> None:
    """A pattern that is no distinguished name is refused."""
    with pytest.raises(ValueError, match=r"RFC 4514|at least one"):
        NamePattern.read(text)

"""Convention files: what they say, what they may leave out, and how a wrong one is refused."""

from pathlib import Path

import pytest

from appliance.conventions.loader import load_convention, load_conventions
from appliance.conventions.model import NAME_ID_UNSPECIFIED, ClientConvention, ProviderConvention
from appliance.errors import ConfigurationError
from tests.messages import AUDIENCE, ISSUER, LEVEL, MORE, RECIPIENT
from tests.partners import write_provider

CLIENT = {
    "role": '"client"',
    "issuer": f'"{ISSUER}"',
    "audience": f'"{AUDIENCE}"',
    "recipient": f'"{RECIPIENT}"',
    "levels": f'["{LEVEL}"]',
    "pagms": '["PAGM_A"]',
    "key": '"signer"',
}


def write_client(home: Path, **lines: str | None) -> Path:
    """Write the least a client convention needs; `lines` replace values, None leaves one out."""
    file = home / "conventions" / "client.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    values = {key: value for key, value in (CLIENT | lines).items() if value is not None}
    file.write_text("".join(f"{key} = {value}\n" for key, value in values.items()))
    return file


def refusal(file: Path) -> ConfigurationError:
    """Load a file that is wrong."""
    with pytest.raises(ConfigurationError) as raised:
        load_convention(file)
    assert raised.value.file == str(file)
    return raised.value


def test_client_defaults(tmp_path: Path) -> None:
    """A client convention needs seven keys; the rest has documented defaults."""
    assert load_convention(write_client(tmp_path)) == ClientConvention(
        id="client",
        issuer=ISSUER,
        audience=AUDIENCE,
        recipient=RECIPIENT,
        levels=(LEVEL,),
        pagms=frozenset({"PAGM_A"}),
        attributes=frozenset(),
        id_style="xs-id",
        name_id_format=NAME_ID_UNSPECIFIED,
        no_user="NON_RENSEIGNE",
        lifetime=3600.0,
        back_dating=10.0,
        key="signer",
        signature_algorithm=f"{MORE}rsa-sha256",
    )


def test_client_says_everything(tmp_path: Path) -> None:
    """Every key of a client convention is taken."""
    file = write_client(
        tmp_path,
        levels='["urn:b", "urn:a"]',
        attributes='["service"]',
        id_style='"uuid"',
        lifetime='"2h"',
        back_dating='"0s"',
        no_user='"PERSONNE"',
        name_id_format='"urn:format"',
        **{"signature.algorithm": '"ecdsa-sha384"'},
    )
    convention = load_convention(file)
    assert isinstance(convention, ClientConvention)
    assert convention.levels == ("urn:b", "urn:a")
    assert convention.attributes == {"service"}
    assert (convention.id_style, convention.no_user) == ("uuid", "PERSONNE")
    assert (convention.lifetime, convention.back_dating) == (7200.0, 0.0)
    assert convention.name_id_format == "urn:format"
    assert convention.signature_algorithm == f"{MORE}ecdsa-sha384"


def test_provider_with_the_keys_of_the_contract(tmp_path: Path) -> None:
    """The keys that CONTRACT 5 names are enough, without a role; paths start at the home."""
    file = write_provider(tmp_path, "p", "pki/partner", **{"signature.sha1": '"legacy"'})
    assert load_convention(file) == ProviderConvention(
        id="p",
        issuer=ISSUER,
        audience=AUDIENCE,
        recipient=RECIPIENT,
        levels=frozenset({LEVEL}),
        pagms=frozenset({"PAGM_CONSULTATION", "PAGM_GESTION"}),
        id_style="any",
        skew=60.0,
        maximum_lifetime=None,
        roots=(tmp_path / "pki/partner/root.pem",),
        crl_directory=tmp_path / "pki/partner/crl",
        certificates=(),
        allow_sha1=True,
    )


def test_provider_says_everything(tmp_path: Path) -> None:
    """Every further key of a provider convention is taken; an absolute path stays."""
    file = write_provider(
        tmp_path,
        "p",
        "pki",
        role='"provider"',
        skew='"5m"',
        maximum_lifetime='"24h"',
        id_style='"uuid"',
        **{"trust.certificates": '["/etc/signer.pem"]'},
    )
    convention = load_convention(file)
    assert isinstance(convention, ProviderConvention)
    assert (convention.skew, convention.maximum_lifetime) == (300.0, 86400.0)
    assert convention.certificates == (Path("/etc/signer.pem"),)
    assert (convention.id_style, convention.allow_sha1) == ("uuid", False)


@pytest.mark.parametrize(
    ("lines", "key", "expected"),
    [
        ({"isuer": '"x"'}, "", "isuer"),
        ({"key": None}, "", "key"),
        ({"role": '"both"'}, "role", "one of client, provider; got `both`"),
        ({"role": None}, "role", "one of client, provider; got ``"),
        ({"issuer": '""'}, "issuer", "not empty"),
        ({"issuer": '"urn:x "'}, "issuer", "white space"),
        ({"recipient": r'"a\u0001b"'}, "recipient", "text"),
        ({"levels": "[]"}, "levels", "at least one"),
        ({"pagms": "[]"}, "pagms", "at least one"),
        ({"pagms": '["A", "A"]'}, "pagms[1]", "stands twice"),
        ({"pagms": '["A", " "]'}, "pagms[1]", "not empty"),
        ({"pagms": "[1]"}, "pagms[0]", "str"),
        ({"attributes": '["PAGM"]'}, "attributes", "profiles belong in `pagms`"),
        ({"lifetime": '"0s"'}, "lifetime", "more than zero"),
        ({"lifetime": "3600"}, "lifetime", "a string"),
        ({"lifetime": '"1 hour"'}, "lifetime", "a duration such as"),
        ({"id_style": '"any"'}, "id_style", "one of uuid, xs-id; got `any`"),
        ({"signature.algorithm": '"rsa-sha1"'}, "signature.algorithm", "one of rsa-sha256"),
        ({"trust.roots": '["x"]'}, "", "trust"),
    ],
)
def test_wrong_client_file(
    tmp_path: Path, lines: dict[str, str | None], key: str, expected: str
) -> None:
    """A wrong, unknown or contradictory key is refused with file, key and what was expected."""
    error = refusal(write_client(tmp_path, **lines))
    assert error.key == key
    assert expected in error.expected


@pytest.mark.parametrize(
    ("lines", "key", "expected"),
    [
        ({"signature.sha1": '"allow"'}, "signature.sha1", "one of refuse, legacy; got `allow`"),
        ({"id_style": '"prefixed"'}, "id_style", "one of uuid, xs-id, any"),
        ({"trust.roots": "[]"}, "trust.roots", "at least one"),
        ({"trust.pins": "[]"}, "trust", "pins"),
        ({"maximum_lifetime": '"0s"'}, "maximum_lifetime", "more than zero"),
        ({"key": '"signer"'}, "", "key"),
        ({"role": '"client"'}, "", "trust"),
    ],
)
def test_wrong_provider_file(
    tmp_path: Path, lines: dict[str, str], key: str, expected: str
) -> None:
    """The same for a provider convention; keys of the other role are unknown."""
    error = refusal(write_provider(tmp_path, "p", "pki", **lines))
    assert error.key == key
    assert expected in error.expected


def test_file_name_is_the_id(tmp_path: Path) -> None:
    """A file name that cannot be an id is refused."""
    assert "a file name" in refusal(write_provider(tmp_path, "mon partenaire", "pki")).expected


def test_directory_is_read_whole(tmp_path: Path) -> None:
    """Conventions come in the order of their ids; one wrong file refuses all, other files are not looked at."""
    write_client(tmp_path)
    write_provider(tmp_path, "a-provider", "pki")
    (tmp_path / "conventions" / "README").write_text("notes")
    directory = tmp_path / "conventions"
    assert [each.id for each in load_conventions(directory)] == ["a-provider", "client"]
    (directory / "broken.toml").write_text("issuer = ")
    with pytest.raises(ConfigurationError, match=r"broken\.toml: expected valid TOML"):
        load_conventions(directory)
    assert load_conventions(tmp_path / "absent") == ()

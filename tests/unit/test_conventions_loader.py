"""Convention files: what they say, what they may leave out, and how a wrong one is refused."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.conventions.loader import ConventionFiles, load_convention, load_conventions
from appliance.conventions.model import (
    NAME_ID_UNSPECIFIED,
    ClientConvention,
    KeyChange,
    Period,
    ProviderConvention,
    TracePolicy,
)
from appliance.errors import ConfigurationError
from tests.messages import AUDIENCE, ISSUER, LEVEL, MORE, RECIPIENT
from tests.partners import CLIENT as CLIENT_VALUE, write_provider

PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
WRONG_ADDRESSES = (
    *("", "ocsp", "https://ocsp", "http://", "http:///x", "http://a b/", "http://a/b c"),
    *(
        "http://a:x/",
        "http://a:0/",
        "http://a:99999/",
        "http://a:/",
        "http://u@a/",
        "http://u:p@a/",
    ),
    *("http://a/#x", "http://é/", r"http://a/\n", "http://[a/"),
)
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
        lifetime='"2h"',
        back_dating='"0s"',
        no_user='"PERSONNE"',
        name_id_format='"urn:format"',
        environment='"integration"',
        valid_from="2026-01-01T00:00:00+01:00",
        valid_until="2027-01-01T00:00:00Z",
        saml_version='"1.1"',
        replay='"off"',
        rollover="[{key = 'next', valid_from = 2026-06-01T00:00:00Z}]",
        caller="""[
            {names = ["portail"], networks = ["10.0.0.0/8", "fd00::/8"], pagms = ["PAGM_A"]},
            {certificates = ["CN=front-*,O=Nous,C=FR"]},
        ]""",
        **{
            "signature.algorithm": '"ecdsa-sha384"',
            "signature.variant": '"B"',
            "signature.key_info": '"leaf"',
            "soap.reference": '"historical"',
            "roles.gestionnaire": '["PAGM_A"]',
            "reuse.allowed": "true",
            "reuse.margin": '"5m"',
            "trace.level": '"minimal"',
            "trace.retention": '"1y"',
        },
    )
    convention = load_convention(file)
    assert isinstance(convention, ClientConvention)
    assert convention.levels == ("urn:b", "urn:a")
    assert convention.attributes == {"service"}
    assert (convention.id_style, convention.no_user) == ("xs-id", "PERSONNE")
    assert (convention.lifetime, convention.back_dating) == (7200.0, 0.0)
    assert convention.name_id_format == "urn:format"
    assert convention.signature_algorithm == f"{MORE}ecdsa-sha384"
    assert (convention.environment, convention.saml_version) == ("integration", "1.1")
    assert convention.confirmation == "sender-vouches"
    assert (convention.variant, convention.key_info) == ("B", "leaf")
    assert convention.soap_reference == "historical"
    assert (convention.reuse, convention.reuse_margin, convention.replay) == (True, 300.0, "off")
    assert convention.roles == {"gestionnaire": ("PAGM_A",)}
    assert convention.trace == TracePolicy("minimal", 1)
    begins, ends = datetime(2025, 12, 31, 23, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    assert convention.period == Period(begins, ends)
    first, second = convention.callers
    assert (first.names, first.pagms) == ({"portail"}, {"PAGM_A"})
    assert [str(network) for network in first.networks] == ["10.0.0.0/8", "fd00::/8"]
    assert [str(pattern) for pattern in second.certificates] == ["CN=front-*,O=Nous,C=FR"]
    assert convention.keys == ("signer", "next")


def test_client_of_saml_2_0_may_write_bare_uuids(tmp_path: Path) -> None:
    """As some partners need; SAML 1.1 has no place for them."""
    convention = load_convention(write_client(tmp_path, id_style='"uuid"'))
    assert isinstance(convention, ClientConvention)
    assert (convention.id_style, convention.saml_version) == ("uuid", "2.0")


def test_period_and_roll_over_are_half_open() -> None:
    """A convention begins with its first instant and ends before its last; so does a key."""
    begins, ends = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    tick = timedelta(microseconds=1)
    period = Period(begins, ends)
    assert [period.covers(at) for at in (begins - tick, begins, ends - tick, ends)] == [
        *(False, True),
        *(True, False),
    ]
    assert Period().covers(begins)
    changed = replace(CLIENT_VALUE, rollover=(KeyChange("b", begins), KeyChange("c", ends)))
    at = (begins - tick, begins, ends - tick, ends)
    assert [changed.key_at(instant) for instant in at] == ["signer", "b", "b", "c"]


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
        saml_versions='["2.0"]',
        name_id_formats='["urn:f"]',
        confirmations='["bearer"]',
        unknown_pagms='"refuse"',
        replay='"refuse"',
        attributes='["service"]',
        no_user='"PERSONNE"',
        environment='"integration"',
        valid_until="2027-01-01T00:00:00Z",
        **{
            "trust.certificates": '["/etc/signer.pem"]',
            "trust.signer_names": '["CN=app,O=Partenaire,C=FR"]',
            "trust.anchor_names": '["CN=AC*,C=FR"]',
            "trust.tls_peers": '["CN=front,C=FR"]',
            "trust.crl_grace": '"6h"',
            "trust.crl_warning": '"2d"',
            "trust.ocsp": '"http://ocsp.example/"',
            "trust.crl_addresses": '["http://crl.example:8080/a.crl", "http://[::1]/b"]',
            "trust.crl_refresh": '"10m"',
            "signature.algorithms": '["rsa-sha256", "rsa-pss-sha512"]',
            "signature.variants": '["A"]',
            "signature.minimum_rsa_bits": "3072",
            "trace.level": '"pseudonymous"',
        },
    )
    convention = load_convention(file)
    assert isinstance(convention, ProviderConvention)
    assert (convention.skew, convention.maximum_lifetime) == (300.0, 86400.0)
    assert convention.certificates == (Path("/etc/signer.pem"),)
    assert (convention.id_style, convention.allow_sha1) == ("uuid", False)
    assert (convention.saml_versions, convention.variants) == ({"2.0"}, {"A"})
    assert convention.confirmations["1.1"] == {"bearer"}
    assert (convention.unknown_pagms, convention.replay) == ("refuse", "refuse")
    assert (convention.crl_grace, convention.crl_warning) == (21600.0, 172800.0)
    assert (convention.minimum_rsa_bits, convention.ocsp) == (3072, "http://ocsp.example/")
    assert convention.crl_addresses == ("http://crl.example:8080/a.crl", "http://[::1]/b")
    assert convention.crl_refresh == 600.0
    assert len(convention.signature_algorithms) == 2
    assert (convention.attributes, convention.no_user) == ({"service"}, "PERSONNE")
    assert convention.trace == TracePolicy("pseudonymous", 6)


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
        ({"pagms": "[1]"}, "pagms[0]", "a text, got a whole number"),
        ({"pagms": "1"}, "pagms", "a list, got a whole number"),
        ({"reuse": "1"}, "reuse", "a table, got a whole number"),
        ({"reuse.allowed": "1"}, "reuse.allowed", "true or false, got a whole number"),
        ({"attributes": '["PAGM"]'}, "attributes", "profiles belong in `pagms`"),
        ({"levels": "[" * 100_000}, "", "valid TOML"),
        ({"lifetime": '"0s"'}, "lifetime", "more than zero"),
        ({"lifetime": "3600"}, "lifetime", "a text in quotes, got a whole number"),
        ({"lifetime": '"1 hour"'}, "lifetime", "a duration such as"),
        ({"lifetime": f'"{"9" * 400}d"'}, "lifetime", "a duration such as"),
        ({"lifetime": '"9999999999d"'}, "lifetime", "31d at most; got 9999999999 days"),
        ({"back_dating": '"32d"'}, "back_dating", "31d at most"),
        ({"reuse.margin": '"9999999999d"'}, "reuse.margin", "31d at most"),
        ({"id_style": '"any"'}, "id_style", "one of uuid, xs-id; got `any`"),
        ({"signature.algorithm": '"rsa-sha1"'}, "signature.algorithm", "one of rsa-sha256"),
        ({"trust.roots": '["x"]'}, "", "trust"),
        ({"model": '"P"'}, "model", "one of A; got `P`"),
        ({"environment": '"test"'}, "environment", "one of integration, production"),
        ({"valid_from": "2026-01-01T00:00:00"}, "valid_from", "an instant with its time zone"),
        ({"valid_from": '"2026"'}, "valid_from", "an instant with its time zone"),
        ({"valid_from": "1"}, "valid_from", "an instant, got a whole number"),
        ({"valid_from": "2026-01-01"}, "valid_from", "an instant, got a date"),
        ({"issuer": r'"urn:\nx"'}, "issuer", "on one line"),
        ({"levels": r'["urn:\tx"]'}, "levels[0]", "on one line"),
        ({"pagms": r'["A\r\nB"]'}, "pagms[0]", "on one line"),
        ({"no_user": r'"a\nb"'}, "no_user", "on one line"),
        (
            {"saml_version": '"1.1"', "id_style": '"uuid"'},
            "id_style",
            "the AssertionID of SAML 1.1",
        ),
        (
            {"saml_version": '"1.1"', "name_id_format": f'"{PERSISTENT}"'},
            "name_id_format",
            "a Format that SAML 1.1 knows",
        ),
        ({"confirmation": '"sender-vouches"'}, "confirmation", "only SAML 1.1 has"),
        ({"caller": '[{names = ["uid:abc"]}]'}, "caller[0].names[0]", "as in uid:1000"),
        ({"caller": '[{names = ["uid:-1"]}]'}, "caller[0].names[0]", "as in uid:1000"),
        (
            {"rollover": "[{key = 'signer', valid_from = 2027-01-01T00:00:00Z}]"},
            "rollover[0].key",
            "another key than the one before it, `signer`",
        ),
        (
            {
                "valid_until": "2027-01-01T00:00:00Z",
                "rollover": "[{key = 'next', valid_from = 2027-01-01T00:00:00Z}]",
            },
            "rollover[0].valid_from",
            "before `valid_until`",
        ),
        (
            {"valid_from": "2026-01-01T00:00:00Z", "valid_until": "2026-01-01T00:00:00Z"},
            "valid_until",
            "after `valid_from`",
        ),
        ({"saml_version": '"1.0"'}, "saml_version", "one of 1.1, 2.0"),
        ({"confirmation": '"holder-of-key"'}, "confirmation", "one of bearer, sender-vouches"),
        ({"replay": '"deny"'}, "replay", "one of off, log, refuse"),
        ({"roles.chef": '["PAGM_B"]'}, "roles.chef[0]", "a PAGM that `pagms` lists"),
        ({"roles.chef": "[]"}, "roles.chef", "at least one"),
        ({"signature.variant": '"C"'}, "signature.variant", "one of A, B; got `C`"),
        ({"signature.key_info": '"none"'}, "signature.key_info", "one of chain, leaf"),
        ({"soap.reference": '"yes"'}, "soap.reference", "one of standard, historical"),
        ({"trace.level": '"debug"'}, "trace.level", "one of full, pseudonymous, minimal"),
        ({"trace.retention": '"7y"'}, "trace.retention", "1y to 6y"),
        ({"trace.retention": '"90d"'}, "trace.retention", "1y to 6y"),
        (
            {"reuse.allowed": "true", "reuse.margin": '"1h"'},
            "reuse.margin",
            "less than `lifetime` (3600 s)",
        ),
        (
            {"reuse.allowed": "true", "replay": '"refuse"'},
            "reuse.allowed",
            "the partner refuses a vector that comes twice",
        ),
        ({"caller": "[{}]"}, "caller[0]", "at least one of `names`"),
        ({"caller": '[{names = ["a"], pagms = ["B"]}]'}, "caller[0].pagms[0]", "got `B`"),
        ({"caller": '[{networks = ["10.0.0.1/8"]}]'}, "caller[0].networks[0]", "10.1.0.0/16"),
        ({"caller": '[{certificates = ["front"]}]'}, "caller[0].certificates[0]", "a whole name"),
        (
            {
                "rollover": "[{key = 'a', valid_from = 2027-01-01T00:00:00Z}, "
                "{key = 'b', valid_from = 2026-01-01T00:00:00Z}]"
            },
            "rollover[1].valid_from",
            "after that of the step before",
        ),
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
        ({"saml_versions": "[]"}, "saml_versions", "at least one"),
        ({"saml_versions": '["2.1"]'}, "saml_versions[0]", "one of 1.1, 2.0"),
        ({"signature.variants": '["X"]'}, "signature.variants[0]", "one of A, B"),
        ({"signature.algorithms": '["rsa-md5"]'}, "signature.algorithms[0]", "one of rsa-sha256"),
        ({"signature.algorithms": '["rsa-sha1"]'}, "signature.algorithms", "only beside"),
        ({"signature.minimum_rsa_bits": "1024"}, "signature.minimum_rsa_bits", "2048 to 8192"),
        ({"unknown_pagms": '"drop"'}, "unknown_pagms", "one of ignore, refuse"),
        ({"trust.signer_names": '[""]'}, "trust.signer_names[0]", "not empty"),
        ({"trust.tls_peers": '["nobody"]'}, "trust.tls_peers[0]", "a whole name"),
        *(
            ({"trust.ocsp": f'"{address}"'}, "trust.ocsp", "an address such as http://ocsp.example")
            for address in WRONG_ADDRESSES
        ),
        *(
            (
                {"trust.crl_addresses": f'["http://a/", "{address}"]'},
                "trust.crl_addresses[1]",
                "http://",
            )
            for address in WRONG_ADDRESSES
        ),
        ({"trust.crl_refresh": '"0s"'}, "trust.crl_refresh", "more than zero"),
        ({"trust.crl_refresh": '"10m"'}, "trust.crl_refresh", "`trust.crl_addresses` too"),
        ({"saml_versions": '["1.1"]', "id_style": '"uuid"'}, "id_style", "begins with `_`"),
        ({"trust.roots": '[""]'}, "trust.roots[0]", "the path of a file"),
        ({"trust.roots": r'["a\u0000b"]'}, "trust.roots[0]", "the path of a file"),
        ({"trust.certificates": '["x.pem", " "]'}, "trust.certificates[1]", "the path of a file"),
        ({"trust.crl_directory": '""'}, "trust.crl_directory", "the path of a file"),
        ({"maximum_lifetime": "1"}, "maximum_lifetime", "a text in quotes"),
        (
            {"signature.minimum_rsa_bits": '"x"'},
            "signature.minimum_rsa_bits",
            "a whole number, got",
        ),
        (
            {"saml_versions": '["1.1"]', "name_id_formats": f'["urn:x", "{PERSISTENT}"]'},
            "name_id_formats[1]",
            "a Format that SAML 1.1 knows",
        ),
        (
            {"saml_versions": '["2.0"]', "confirmations": '["bearer", "sender-vouches"]'},
            "confirmations",
            "only SAML 1.1 has `sender-vouches`",
        ),
        ({"confirmations": '["sender-vouches"]'}, "confirmations", "`bearer` too"),
        ({"skew": '"2d"'}, "skew", "1d at most"),
        ({"maximum_lifetime": '"9999999999d"'}, "maximum_lifetime", "366d at most"),
        ({"trust.crl_grace": '"9999999999d"'}, "trust.crl_grace", "31d at most"),
        ({"trust.crl_warning": '"32d"'}, "trust.crl_warning", "31d at most"),
        ({"maximum_lifetime": '"1m"'}, "skew", "less than `maximum_lifetime` (60 s)"),
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
    (directory / ".client.toml").write_text("what an editor keeps")
    (directory / ".#client.toml").symlink_to("user@host.1")
    assert [each.id for each in load_conventions(directory)] == ["a-provider", "client"]
    (directory / "broken.toml").write_text("issuer = ")
    with pytest.raises(ConfigurationError, match=r"broken\.toml: expected valid TOML"):
        load_conventions(directory)
    assert load_conventions(tmp_path / "absent") == ()


def test_directory_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path) -> None:
    """A file that cannot be looked at, or no directory in the directory's place, refuses: no convention ends for that."""
    write_client(tmp_path)
    files = ConventionFiles(tmp_path / "conventions")
    assert len(files.load()) == 1
    (tmp_path / "conventions" / "gone.toml").symlink_to(tmp_path / "nowhere")
    for directory in (files.directory, tmp_path / "conventions" / "client.toml"):
        with pytest.raises(ConfigurationError, match="a directory of conventions that can be read"):
            ConventionFiles(directory).load()
    with pytest.raises(ConfigurationError):
        files.load()


def test_only_changed_files_are_read_again(tmp_path: Path) -> None:
    """A reload takes what did not change from memory; what changed, came or went is seen, and a wrong file changes nothing."""
    write_client(tmp_path)
    write_provider(tmp_path, "a-provider", "pki")
    files = ConventionFiles(tmp_path / "conventions")
    provider, client = files.load()
    write_client(tmp_path, lifetime='"2h"')
    again = files.load()
    assert again[0] is provider
    assert again[1] == replace(client, lifetime=7200.0)
    (tmp_path / "conventions" / "broken.toml").write_text("issuer = ")
    with pytest.raises(ConfigurationError):
        files.load()
    (tmp_path / "conventions" / "broken.toml").unlink()
    (tmp_path / "conventions" / "client.toml").unlink()
    assert files.load() == (provider,)

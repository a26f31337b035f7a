"""Conventions for tests, as values and as files, and the registry they make."""

from dataclasses import replace
from pathlib import Path

from appliance.conventions.model import (
    NAME_ID_UNSPECIFIED,
    ClientConvention,
    Convention,
    ProviderConvention,
)
from appliance.conventions.registry import Registry
from appliance.vectors.model import Caller, RequestContext
from tests.messages import AUDIENCE, ISSUER, LEVEL, MORE, RECIPIENT
from tests.pki import Holder, Pki

CONTEXT = RequestContext(
    request_id="request-1", caller=Caller("loopback", "loopback"), peer="127.0.0.1:1"
)
CLIENT = ClientConvention(
    id="client",
    issuer=ISSUER,
    audience=AUDIENCE,
    recipient=RECIPIENT,
    levels=(LEVEL, "urn:oasis:names:tc:SAML:2.0:ac:classes:X509"),
    pagms=frozenset({"PAGM_CONSULTATION", "PAGM_GESTION"}),
    attributes=frozenset({"service"}),
    id_style="xs-id",
    name_id_format=NAME_ID_UNSPECIFIED,
    no_user="NON_RENSEIGNE",
    lifetime=3600.0,
    back_dating=10.0,
    key="signer",
    signature_algorithm=f"{MORE}rsa-sha256",
)


def make_provider(directory: Path, **fields: object) -> ProviderConvention:
    """Make a provider convention whose trust lies in `directory`, as `Pki.write` leaves it there."""
    convention = ProviderConvention(
        id="provider",
        issuer=ISSUER,
        audience=AUDIENCE,
        recipient=RECIPIENT,
        levels=frozenset({LEVEL}),
        pagms=frozenset({"PAGM_CONSULTATION", "PAGM_GESTION"}),
        id_style="any",
        skew=60.0,
        maximum_lifetime=None,
        roots=(directory / "root.pem",),
        crl_directory=directory / "crl",
        certificates=(),
        allow_sha1=False,
    )
    return replace(convention, **fields)  # type: ignore[arg-type]  # overrides of a builder


def make_registry(*conventions: Convention) -> Registry:
    """Put conventions in force."""
    return Registry(conventions)


def make_partner(
    directory: Path, pki: Pki, revoked: tuple[Holder, ...] = (), **fields: object
) -> Registry:
    """Write a partner's trust and put one provider convention with it in force."""
    pki.write(directory, revoked)
    return make_registry(make_provider(directory, **fields))


def write_provider(home: Path, convention: str, trust: str, **lines: str) -> Path:
    """Write the file of a provider convention with the keys that CONTRACT 5 names; `lines` replace values."""
    values = {
        "issuer": f'"{ISSUER}"',
        "audience": f'"{AUDIENCE}"',
        "recipient": f'"{RECIPIENT}"',
        "levels": f'["{LEVEL}"]',
        "pagms": '["PAGM_CONSULTATION", "PAGM_GESTION"]',
        "id_style": '"any"',
        "trust.roots": f'["{trust}/root.pem"]',
        "trust.crl_directory": f'"{trust}/crl"',
        "signature.sha1": '"refuse"',
    } | lines
    file = home / "conventions" / f"{convention}.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{key} = {value}\n" for key, value in values.items()))
    return file

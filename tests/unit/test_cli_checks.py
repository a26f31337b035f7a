"""What the doctor says about files, certificates, CRLs and the clock."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.cli.checks.certificates import check_chain
from appliance.cli.checks.clock import check_clock
from appliance.cli.checks.files import check_home, check_pin_source, check_run, check_spool
from appliance.cli.checks.finding import Finding, Level
from appliance.cli.checks.trust import check_trust
from appliance.config import TokenTable, load_config
from appliance.conventions.model import ProviderConvention
from appliance.home import Home
from appliance.trace.view import LogPlace
from appliance.trust.certificates import load_certificates
from hsm.provision.demo_pki import DemoPki, write_demo_pki

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def levels(findings: Iterable[Finding]) -> list[str]:
    """The levels, in order."""
    return [finding.level.value for finding in findings]


def only_trouble(findings: Iterable[Finding]) -> Finding:
    """The one finding that is not `ok`; it names what, where, and what to do."""
    (trouble,) = [finding for finding in findings if finding.level is not Level.OK]
    assert trouble.found
    assert trouble.where
    assert trouble.remedy
    return trouble


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A bare home with the right modes."""
    home = Home(tmp_path / "home")
    for directory in (home.root, home.conventions, home.spool, home.run):
        directory.mkdir(mode=0o700)
    home.config_file.write_text("")
    home.config_file.chmod(0o600)
    return home


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> DemoPki:
    """A PKI for one EC key, issued at NOW for a year."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    public_key = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return write_demo_pki(tmp_path_factory.mktemp("pki"), {"signer": public_key}, NOW)


@pytest.fixture
def convention(pki: DemoPki) -> ProviderConvention:
    """A provider convention that trusts the PKI."""
    return ProviderConvention(
        id="partner",
        issuer="urn:i",
        audience="urn:a",
        recipient="urn:r",
        levels=frozenset({"urn:l"}),
        pagms=frozenset({"P"}),
        id_style="any",
        skew=60,
        maximum_lifetime=None,
        roots=(pki.root,),
        crl_directory=pki.crl_directory,
        certificates=(),
        allow_sha1=False,
    )


def test_home_that_only_its_owner_enters(home: Home) -> None:
    """A home with the right modes has nothing to say about them."""
    assert levels(check_home(home)) == ["ok"]


def test_home_that_others_read_is_a_warning(home: Home) -> None:
    """Others looking inside is a warning: traces name persons."""
    home.root.chmod(0o755)
    assert "chmod 700" in only_trouble(check_home(home)).remedy


@pytest.mark.parametrize("name", ["", "appliance.toml", "conventions"])
def test_what_others_may_change_is_an_error(home: Home, name: str) -> None:
    """Whoever may write the configuration decides which code is loaded and whom we trust."""
    path = home.root / name
    path.chmod(path.stat().st_mode | 0o020)
    trouble = [f for f in check_home(home) if f.level is Level.ERROR]
    assert [f.where for f in trouble] == [str(path)]
    assert trouble[0].remedy == f"chmod go-w {path}"


def test_home_without_conventions_directory(home: Home) -> None:
    """A missing part of the home is named."""
    home.conventions.rmdir()
    assert only_trouble(check_home(home)).where == str(home.conventions)


def test_pin_sources(tmp_path: Path) -> None:
    """A PIN that is absent, empty, loose, unset or uncredentialed is an error of its own; a good source is not read."""
    token = TokenTable("t", Path("/m.so"), "label", pin_file=tmp_path / "pin")
    assert "cannot be looked at" in only_trouble(check_pin_source(token, {})).found
    token.pin_file.touch(mode=0o600)
    assert "not a file with a PIN" in only_trouble(check_pin_source(token, {})).found
    token.pin_file.write_text("1234")
    assert levels(check_pin_source(token, {})) == ["ok"]
    token.pin_file.chmod(0o640)
    loose = only_trouble(check_pin_source(token, {}))
    assert "0640" in loose.found
    assert loose.remedy == f"chmod 600 {token.pin_file}"
    variable = TokenTable("t", Path("/m.so"), "label", pin_env="HSM_PIN")
    assert "not set" in only_trouble(check_pin_source(variable, {})).found
    assert levels(check_pin_source(variable, {"HSM_PIN": "1234"})) == ["ok"]
    credential = TokenTable("t", Path("/m.so"), "label", pin_credential="pin")
    assert "systemd" in only_trouble(check_pin_source(credential, {})).found
    token.pin_file.chmod(0o400)
    passed = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert levels(check_pin_source(credential, passed)) == ["ok"]


def test_pin_is_in_no_finding(tmp_path: Path) -> None:
    """No finding shows a PIN, whatever is wrong with its file."""
    token = TokenTable("t", Path("/m.so"), "label", pin_file=tmp_path / "pin")
    token.pin_file.write_text("8317-secret")
    for mode in (0o600, 0o644):
        token.pin_file.chmod(mode)
        assert "8317" not in repr(list(check_pin_source(token, {})))


def test_directories_that_cannot_be_written(home: Home) -> None:
    """A spool or run directory that is not there is an error that says who must be able to write it."""
    config = load_config(home.root)
    assert levels(check_spool(config)) in (
        ["ok"],
        ["warning"],
    )  # the warning: little room on this disk
    assert levels(check_run(home)) == ["ok"]
    assert list(home.spool.iterdir()) == []
    home.spool.rmdir()
    home.run.rmdir()
    for trouble in (only_trouble(check_spool(config)), only_trouble(check_run(home))):
        assert trouble.level is Level.ERROR
        assert "cannot be written" in trouble.found
        assert f"uid {os.geteuid()}" in trouble.remedy


def test_spool_without_room(home: Home) -> None:
    """Less room than one segment is an error: nothing can be issued that cannot be traced."""
    home.config_file.write_text('[trace]\nsegment = "4000000GiB"\n')
    assert "less than one segment" in only_trouble(check_spool(load_config(home.root))).found


def test_good_chain(pki: DemoPki) -> None:
    """A chain in order and in its period has one finding, with its end."""
    file = pki.chains["signer"]
    (finding,) = check_chain("k", file, load_certificates(file), NOW)
    assert finding.level is Level.OK
    assert "2027-06-01" in finding.found


@pytest.mark.parametrize(
    ("at", "level", "said"),
    [
        (NOW + 400 * DAY, "error", "expired on 2027-06-01"),
        (NOW + 350 * DAY, "warning", "expires in 15 days"),
        (NOW - DAY, "error", "not yet"),
    ],
)
def test_chain_out_of_its_period(pki: DemoPki, at: datetime, level: str, said: str) -> None:
    """Expired, nearly expired and not yet valid certificates are told apart, one finding for each certificate."""
    file = pki.chains["signer"]
    findings = list(check_chain("k", file, load_certificates(file), at))
    assert levels(findings) == [level, level]
    assert all(said in finding.found and finding.remedy for finding in findings)


def test_chain_in_the_wrong_order(pki: DemoPki) -> None:
    """A chain that does not begin with the signer is refused with the right order."""
    chain = load_certificates(pki.chains["signer"])
    found = list(check_chain("k", pki.chains["signer"], chain[::-1], NOW))
    assert any("did not issue it" in each.found and "signer first" in each.remedy for each in found)
    assert any("partners will refuse" in each.found for each in found)  # the CA stands as signer


def test_self_signed_signer(pki: DemoPki) -> None:
    """A signer's certificate that the partner would refuse is an error here already."""
    trouble = only_trouble(check_chain("k", pki.root, load_certificates(pki.root), NOW))
    assert "self-signed" in trouble.found


def test_good_trust(convention: ProviderConvention) -> None:
    """Roots and CRLs in their period have one finding, which names the CAs whose CRLs were found."""
    [finding] = check_trust(convention, NOW)
    assert finding.level is Level.OK
    assert "CN=Demo Root" in finding.found
    assert "CN=Demo Issuing" in finding.found


def test_missing_crl_of_an_intermediate(
    convention: ProviderConvention, pki: DemoPki, tmp_path: Path
) -> None:
    """An intermediate CA that the convention's files or our own chain under its root name needs a CRL too."""
    only_root = tmp_path / "crls"
    only_root.mkdir()
    (only_root / "root.pem").write_bytes((convention.crl_directory / "root.pem").read_bytes())
    changed = replace(convention, crl_directory=only_root)
    [finding] = check_trust(changed, NOW)
    assert "CN=Demo Issuing" not in finding.found
    chain = load_certificates(pki.chains["signer"])
    of_own = only_trouble(check_trust(changed, NOW, [chain]))
    assert (of_own.level, "CN=Demo Issuing" in of_own.found) == (Level.WARNING, True)
    assert levels(check_trust(convention, NOW, [chain])) == ["ok"]
    issuing = tmp_path / "issuing.pem"
    issuing.write_bytes(chain[1].public_bytes(Encoding.PEM))
    for field in ("roots", "certificates"):
        with_chain = replace(changed, **{field: (*getattr(convention, field), issuing)})
        trouble = only_trouble(check_trust(with_chain, NOW))
        assert trouble.level is Level.ERROR
        assert "no CRL of CN=Demo Issuing" in trouble.found
        fetching = replace(with_chain, crl_addresses=("http://crl.example/issuing.crl",))
        trouble = only_trouble(check_trust(fetching, NOW))
        assert (trouble.level, "start the service" in trouble.remedy) == (Level.WARNING, True)


def test_fetched_crl_that_nothing_speaks_for(
    convention: ProviderConvention, pki: DemoPki, tmp_path: Path
) -> None:
    """A list that was fetched is proven by its CA's certificate beside the root only: without it a warning says what that would keep out."""
    crls = tmp_path / "crls"
    shutil.copytree(convention.crl_directory, crls)
    fetched = (crls / "issuing.pem").rename(crls / "fetched-0123456789abcdef.crl")
    fetching = replace(convention, crl_directory=crls)
    trouble = only_trouble(check_trust(fetching, NOW))
    assert (trouble.level, trouble.where) == (Level.WARNING, str(fetched))
    assert "the CRL of CN=Demo Issuing" in trouble.found
    assert "a file of trust.roots" in trouble.remedy
    issuing = tmp_path / "issuing.pem"
    issuing.write_bytes(load_certificates(pki.chains["signer"])[1].public_bytes(Encoding.PEM))
    proven = replace(fetching, roots=(*convention.roots, issuing))
    assert levels(check_trust(proven, NOW)) == ["ok"]


def test_own_chain_of_another_pki_needs_no_crl_here(
    convention: ProviderConvention, tmp_path: Path
) -> None:
    """Our chain says nothing about a partner under another root."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    elsewhere = write_demo_pki(tmp_path / "elsewhere", {"signer": spki}, NOW)
    only_root = tmp_path / "crls"
    only_root.mkdir()
    (only_root / "root.pem").write_bytes((convention.crl_directory / "root.pem").read_bytes())
    chain = load_certificates(elsewhere.chains["signer"])
    changed = replace(convention, crl_directory=only_root)
    assert levels(check_trust(changed, NOW, [chain])) == ["ok"]


def test_outdated_crls_are_named(convention: ProviderConvention) -> None:
    """Each CRL past its next update is an error, because the vectors of its CA are refused from then on."""
    findings = [each for each in check_trust(convention, NOW + 366 * DAY) if "CRL" in each.found]
    assert levels(findings) == ["error", "error"]
    assert {Path(each.where).name for each in findings} == {"root.pem", "issuing.pem"}
    soon = [each for each in check_trust(convention, NOW + 364.5 * DAY) if "CRL" in each.found]
    assert levels(soon) == ["warning", "warning"]


def test_newest_crl_of_a_ca_counts(convention: ProviderConvention, tmp_path: Path) -> None:
    """An outdated CRL beside its successor is no trouble; a foreign file is a warning."""
    later = write_demo_pki(tmp_path / "later", {}, NOW)
    both = tmp_path / "both"
    both.mkdir()
    for source, name in ((convention.crl_directory, "old"), (later.crl_directory, "new")):
        (both / f"{name}.pem").write_bytes((source / "root.pem").read_bytes())
    (both / "README").write_text("not a CRL")
    changed = replace(convention, crl_directory=both)
    assert "is not a CRL" in only_trouble(check_trust(changed, NOW)).found


def test_trust_without_files(convention: ProviderConvention, tmp_path: Path) -> None:
    """A missing root, a missing CRL directory and a missing CRL are errors of their own."""
    empty = tmp_path / "empty"
    empty.mkdir()
    no_root = replace(convention, roots=(tmp_path / "absent.pem",))
    assert str(tmp_path / "absent.pem") in only_trouble(check_trust(no_root, NOW)).where
    no_directory = replace(convention, crl_directory=tmp_path / "absent")
    assert {each.level for each in check_trust(no_directory, NOW)} == {Level.ERROR}
    no_crl = only_trouble(check_trust(replace(convention, crl_directory=empty), NOW))
    assert "no CRL of CN=Demo Root" in no_crl.found


def test_clock(pki: DemoPki, tmp_path: Path) -> None:
    """A clock before a certificate's issue, or before this software, is an error."""
    certificates: list[x509.Certificate] = list(load_certificates(pki.chains["signer"]))
    assert levels(check_clock(NOW, certificates, LogPlace(tmp_path, tmp_path))) == ["ok"]
    assert (
        "certificate"
        in only_trouble(check_clock(NOW - DAY, certificates, LogPlace(tmp_path, tmp_path))).found
    )
    early = only_trouble(
        check_clock(datetime(2025, 12, 31, tzinfo=UTC), [], LogPlace(tmp_path, tmp_path))
    )
    assert "NTP" in early.remedy

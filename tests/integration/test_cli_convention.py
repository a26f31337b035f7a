"""`appliance convention`: made from nothing, checked, compared, handed over, and of use at once."""

import io
import shutil
import ssl
from hashlib import sha256
from pathlib import Path

import pytest

from appliance.config import load_config
from appliance.errors import ConfigurationError
from appliance.wiring import build_registry
from tests.homes import CommandLine, copy_home, edit

AGREED = (
    *("--issuer", "urn:nous", "--audience", "http://service.partenaire/"),
    *("--recipient", "urn:eux", "--level", "urn:niveau:1", "--level", "urn:niveau:2"),
    *("--pagm", "PAGM_LIRE"),
)


@pytest.fixture
def appliance(capsysbinary: pytest.CaptureFixture[bytes]) -> CommandLine:
    """The command line."""
    return CommandLine(capsysbinary)


@pytest.fixture
def home(demo_home: Path, tmp_path: Path) -> Path:
    """A demo home that a test may change."""
    return copy_home(demo_home, tmp_path)


@pytest.mark.hsm
def test_new_client_issues(appliance: CommandLine, home: Path) -> None:
    """From what was agreed to a vector: `new`, `check`, `issue`; the file keeps the comments that explain the rest."""
    made = appliance(
        *("convention", "new", "--home", home, "--role", "client", "partenaire", *AGREED),
        *("--key", "demo-rsa"),
    )
    assert made.code == 0
    assert b"appliance issue" in made.stdout
    text = (home / "conventions" / "partenaire.toml").read_text()
    assert 'levels = ["urn:niveau:1", "urn:niveau:2"]' in text
    assert "# lifetime =" in text
    assert appliance("convention", "check", "--home", home).code == 0
    issued = appliance(
        *("issue", "--home", home, "--convention", "partenaire", "--pagm", "PAGM_LIRE"),
    )
    assert issued.code == 0
    assert b">http://service.partenaire/<" in issued.stdout


def test_new_asks_for_what_is_missing(
    appliance: CommandLine, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal what is missing is asked for, again until there is an answer; elsewhere it is named."""
    refused = appliance(
        "convention", "new", "--home", home, "--role", "provider", "p", "--issuer", "urn:x"
    )
    assert refused.code == 2
    assert "--audience, --recipient, --level, --pagm, --root, --crl-directory" in refused.stderr
    client = ("convention", "new", "--home", home, "--role", "client", "p", *AGREED)
    assert "--key too (one of demo-rsa, demo-ec)" in appliance(*client).stderr

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    answers = (
        "\nhttp://s\nurn:r\nurn:a urn:b\n , \nPAGM_A, PAGM_B\n"
        "pki/root.pem pki/absent.pem\n\npki/root.pem\npki/crl\n"
    )
    monkeypatch.setattr("sys.stdin", Terminal(answers))
    made = appliance(
        "convention", "new", "--home", home, "--role", "provider", "p", "--issuer", "urn:x"
    )
    assert made.code == 0
    shown = appliance("convention", "show", "--home", home, "p", "--json").lines[0]
    assert (shown["levels"], shown["pagms"]) == (["urn:a", "urn:b"], ["PAGM_A", "PAGM_B"])
    assert shown["trust.crl_directory"].endswith("/pki/crl")
    assert "there is no file" in made.stderr
    assert "pki/absent.pem" in made.stderr
    monkeypatch.setattr("sys.stdin", Terminal("absent\n\ndemo-ec\n"))
    made = appliance("convention", "new", "--home", home, "--role", "client", "q", *AGREED)
    assert made.code == 0
    assert made.stdout.count(b"(demo-rsa, demo-ec)") == 3
    monkeypatch.setattr("sys.stdin", Terminal("urn:nous\n"))
    taken = ("convention", "new", "--home", home, "--role", "client", "q")
    ended = appliance(*taken)
    assert (ended.code, "an id that no convention has yet" in ended.stderr) == (2, True)
    assert ended.stdout == b""  # nobody is asked in vain
    ended = appliance(*taken[:-1], "r")
    assert (ended.code, "--audience, or an answer; nothing was made" in ended.stderr) == (2, True)
    assert not (home / "conventions" / "r.toml").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("demo-client", *AGREED, "--key", "demo-rsa"), "an id that no convention has yet"),
        (("a b", *AGREED, "--key", "demo-rsa"), "letters, digits"),
        (("../x", *AGREED, "--key", "demo-rsa"), "letters, digits"),
        (("x", *AGREED, "--key", "absent"), "demo-rsa, demo-ec"),
        (("x", *AGREED, "--key", "demo-rsa", "--pagm", " "), "pagms[1]"),
        (
            ("x", *AGREED, "--key", "demo-rsa", "--crl-directory", "pki/crl"),
            "--crl-directory: expected no such option for our side as client",
        ),
    ],
)
def test_new_leaves_nothing_wrong_behind(
    appliance: CommandLine, home: Path, arguments: tuple[str, ...], expected: str
) -> None:
    """What cannot be a convention is refused by name, and the directory stays as it was."""
    before = sorted((home / "conventions").iterdir())
    ended = appliance("convention", "new", "--home", home, "--role", "client", *arguments)
    assert ended.code == 2
    assert expected in ended.stderr
    assert sorted((home / "conventions").iterdir()) == before


def test_check_names_what_does_not_fit(appliance: CommandLine, home: Path) -> None:
    """Reuse towards a partner who refuses a vector twice is a contradiction, in one file or between two."""
    provider = home / "conventions" / "demo-provider.toml"
    edit(provider, '# replay = "log"', 'replay = "refuse"')
    assert appliance("convention", "check", "--home", home).code == 0
    client = home / "conventions" / "demo-client.toml"
    edit(client, "# allowed = false", "allowed = true")
    ended = appliance("convention", "check", "--home", home)
    assert ended.code == 1
    assert b"demo-client and demo-provider: reuse.allowed = true" in ended.stdout
    edit(client, '# replay = "log"', 'replay = "refuse"')
    ended = appliance("convention", "check", "--home", home, "--json")
    assert [line["ok"] for line in ended.lines] == [False, True]
    assert "reuse.allowed: expected `false`" in ended.lines[0]["detail"]
    edit(client, "allowed = true", "allowed = false")
    shutil.copy(provider, home / "conventions" / "twice.toml")
    ended = appliance("convention", "check", "--home", home)
    assert b"both are for the same issuer, audience and recipient" in ended.stdout


CLIENT, PROVIDER = "demo-client.toml", "demo-provider.toml"


@pytest.mark.parametrize(
    ("file", "old", "new", "key", "expected"),
    [
        (CLIENT, 'key = "demo-rsa"', 'key = "absent"', "key", "demo-rsa, demo-ec; got `absent`"),
        (
            CLIENT,
            'key = "demo-rsa"',
            'key = "demo-rsa"\nrollover = [{key = "x", valid_from = 2030-01-01T00:00:00Z}]',
            "rollover[0].key",
            "got `x`",
        ),
        (
            CLIENT,
            '# algorithm = "rsa-sha256"',
            'algorithm = "rsa-pss-sha256"',
            "signature.algorithm",
            'what is named needs an RSA key whose [[key]] says mechanism = "rsa-pss"',
        ),
        (
            CLIENT,
            'key = "demo-rsa"',
            'key = "demo-rsa"\ncaller = [{names = ["uid:7", "cli", "CN=front,O=Nous,C=FR", "portal"]}]',
            "caller[0].names",
            "callers there are: cli, loopback, uid:N, or the subject of a TLS certificate; got `portal`",
        ),
        (PROVIDER, '"pki/root.pem"', '"pki/absent.pem"', "trust.roots[0]", "pki/absent.pem"),
        (PROVIDER, '"pki/root.pem"', '"pki/demo-rsa.key"', "trust.roots[0]", "pki/demo-rsa.key"),
        (PROVIDER, '"pki/crl"', '"pki/none"', "trust.crl_directory", "a directory, with a current"),
        (
            PROVIDER,
            "# certificates = []",
            'certificates = ["pki/demo-rsa.pem", "pki/absent.pem"]',
            "trust.certificates[1]",
            "a readable file (No such file",
        ),
        (
            PROVIDER,
            "# certificates = []",
            'certificates = ["appliance.toml"]',
            "trust.certificates[0]",
            "certificates in PEM",
        ),
    ],
)
def test_check_looks_at_what_is_named(  # noqa: PLR0913, PLR0917 - the columns of a table
    appliance: CommandLine, home: Path, file: str, old: str, new: str, key: str, expected: str
) -> None:
    """What the service would not take `check` does not either: the file, the key and what was expected are named, once."""
    edit(home / "conventions" / file, old, new)
    ended = appliance("convention", "check", "--home", home, "--json")
    assert ended.code == 1
    [wrong] = [line for line in ended.lines if not line["ok"]]
    assert wrong["file"] == str(home / "conventions" / file)
    assert wrong["detail"].startswith(f"{wrong['file']}: {key}: expected ")
    assert expected in wrong["detail"]
    if (
        key != "trust.crl_directory"
    ):  # a directory may come later; until then every vector is refused
        config = load_config(home)
        with pytest.raises(ConfigurationError) as raised:
            build_registry(config)
        assert raised.value.detail == wrong["detail"]


def test_root_whose_name_cannot_be_read(appliance: CommandLine, home: Path) -> None:
    """A certificate that is well-formed but for its name is a wrong file of trust anchors, to `check` as to the service and `doctor`."""
    der = ssl.PEM_cert_to_DER_cert((home / "pki" / "root.pem").read_text())
    (home / "pki" / "odd.der").write_bytes(der.replace(b"InterOPS", b"Inter\xffPS"))
    provider = home / "conventions" / PROVIDER
    edit(provider, '"pki/root.pem"', '"pki/odd.der"')
    checked = appliance("convention", "check", "--home", home)
    assert checked.code == 1
    assert b"trust.roots[0]: expected certificates in PEM; got" in checked.stdout
    with pytest.raises(ConfigurationError, match=r"trust\.roots\[0\]"):
        build_registry(load_config(home))


def test_ca_is_no_signer(appliance: CommandLine, home: Path) -> None:
    """A CA's certificate named as the only signer would refuse every vector: `check` says so."""
    provider = home / "conventions" / "demo-provider.toml"
    edit(provider, "# certificates = []", 'certificates = ["pki/root.pem"]')
    checked = appliance("convention", "check", "--home", home)
    assert checked.code == 1
    assert b"trust.certificates[0]: expected the certificate of a signer, not of a CA" in (
        checked.stdout
    )
    edit(provider, 'certificates = ["pki/root.pem"]', 'certificates = ["pki/demo-rsa.pem"]')
    assert appliance("convention", "check", "--home", home).code == 0


def test_callers_that_a_gateway_knows(appliance: CommandLine, home: Path) -> None:
    """A caller may be one that an `[[outbound]]` listener knows by its address, or by its certificate."""
    client = home / "conventions" / CLIENT
    edit(client, "[reuse]", '[[caller]]\nnames = ["portail", "CN=front,C=FR"]\n\n[reuse]')
    ended = appliance("convention", "check", "--home", home)
    assert (ended.code, b"got `portail`" in ended.stdout) == (1, True)
    with (home / "appliance.toml").open("a") as file:
        file.write(
            '\n[[partner]]\nname = "p"\nroots = ["pki/root.pem"]\ncrl_directory = "pki/crl"\n'
            'endpoints = ["https://localhost:1"]\nnames = ["CN=front,C=FR"]\n\n'
            '[[outbound]]\nname = "apps"\nlisten = "127.0.0.1:0"\n'
            'callers_by_address = { "127.0.0.1/32" = "portail" }\n\n'
            '[[outbound.route]]\npath = "/a"\nconvention = "demo-client"\npartner = "p"\n'
            'pagms = ["PAGM_GESTION"]\n'
        )
    ended = appliance("convention", "check", "--home", home)
    assert ended.code == 0, ended


def test_check_wants_the_homes_environment(appliance: CommandLine, home: Path) -> None:
    """A convention of the other world is refused by `check` as by the service."""
    text = (home / "appliance.toml").read_text()
    (home / "appliance.toml").write_text(f'environment = "integration"\n{text}')
    ended = appliance("convention", "check", "--home", home, "--json")
    assert ended.code == 1
    assert all("environment: expected `integration`" in line["detail"] for line in ended.lines)


def test_successive_periods_agree(appliance: CommandLine, home: Path) -> None:
    """A convention and the one that follows it are for the same identities; only those in force together contradict."""
    first, second = home / "conventions" / PROVIDER, home / "conventions" / "after.toml"
    text = first.read_text()
    first.write_text(f"valid_until = 2027-01-01T00:00:00Z\n{text}")
    second.write_text(f"valid_from = 2027-01-01T00:00:00Z\n{text}")
    assert appliance("convention", "check", "--home", home).code == 0
    edit(second, "2027-01-01", "2026-12-31")
    ended = appliance("convention", "check", "--home", home)
    assert ended.code == 1
    assert b"demo-provider and after: both are for the same issuer" in ended.stdout
    edit(second, "2026-12-31", "2027-01-01")
    edit(second, '# replay = "log"', 'replay = "refuse"')
    client = home / "conventions" / CLIENT
    edit(client, "# allowed = false", "allowed = true")
    client.write_text(f"valid_until = 2027-01-01T00:00:00Z\n{client.read_text()}")
    assert appliance("convention", "check", "--home", home).code == 0
    edit(client, "2027-01-01", "2027-01-02")
    ended = appliance("convention", "check", "--home", home)
    assert b"demo-client and after: reuse.allowed = true" in ended.stdout


def test_new_provider_needs_trust_anchors(appliance: CommandLine, home: Path) -> None:
    """Without the file of trust anchors nothing is made, and one sentence says so; the directory of CRLs is made."""
    before = sorted(home.rglob("*"))
    making = (
        *("convention", "new", "--home", home, "--role", "provider", "them", *AGREED),
        *("--crl-directory", "pki/them/crl", "--root"),
    )
    ended = appliance(*making, "pki/them/root.pem")
    assert ended.code == 2
    file = home / "conventions" / "them.toml"
    missing = home / "pki" / "them" / "root.pem"
    assert f"{file}: trust.roots[0]: expected a readable file" in ended.stderr
    assert f"got {missing}" in ended.stderr
    assert sorted(home.rglob("*")) == before
    made = appliance(*making, "pki/root.pem")
    assert (made.code, b"any under those anchors: see trust.signer_names" in made.stdout) == (
        0,
        True,
    )
    assert (home / "pki" / "them" / "crl").is_dir()
    assert appliance("convention", "check", "--home", home).code == 0


@pytest.mark.hsm
@pytest.mark.parametrize(
    ("key", "algorithm"), [("demo-ec", b"#ecdsa-sha256"), ("pss", b"#sha256-rsa-MGF1")]
)
def test_new_client_of_another_key_issues(
    appliance: CommandLine, home: Path, key: str, algorithm: bytes
) -> None:
    """The algorithm is one that the key can do: what `new` makes for an EC key, or for the RSA key once more with PSS, issues too."""
    head, _, tail = (home / "appliance.toml").read_text().partition('[[key]]\nname = "demo-rsa"\n')
    said = tail.partition("\n\n")[0]
    again = f'[[key]]\nname = "pss"\nmechanism = "rsa-pss"\n{said}\n\n'
    edit(home / "appliance.toml", head, f"{head}{again}")
    making = ("convention", "new", "--home", home, "--role", "client", "other", *AGREED)
    assert appliance(*making, "--key", key).code == 0
    issued = appliance("issue", "--home", home, "--convention", "other", "--pagm", "PAGM_LIRE")
    assert issued.code == 0
    assert algorithm in issued.stdout


def test_import_is_all_or_nothing(
    appliance: CommandLine, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trust anchors that cannot be ones, a place that is taken, a disk that fails half-way: the home is as it was."""
    document = tmp_path / "theirs.toml"
    document.write_bytes(appliance("convention", "export", "--home", home, "demo-client").stdout)
    taking = ("convention", "import", "--home", home, document, "--id", "us", "--root")
    before = sorted(home.rglob("*"))
    leaf = tmp_path / "leaf.pem"
    leaf.write_text((home / "pki" / "demo-rsa.pem").read_text().split("-----END")[0])
    leaf.write_text(f"{leaf.read_text()}-----END CERTIFICATE-----\n")
    ended = appliance(*taking, leaf)
    assert ended.code == 2
    assert "trust.roots: expected at least one self-signed root" in ended.stderr
    assert sorted(home.rglob("*")) == before

    def fail(_: Path, __: Path) -> Path:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "rename", fail)
        ended = appliance(*taking, home / "pki" / "root.pem")
    assert ended.code == 2
    assert "conventions/us.toml: expected a place to write to (Input/output error)" in ended.stderr
    assert sorted(home.rglob("*")) == before
    (home / "pki" / "us").mkdir()
    (home / "pki" / "us" / "root.pem").write_text("of somebody else")
    ended = appliance(*taking, home / "pki" / "root.pem")
    assert ended.code == 2
    assert "a free place" in ended.stderr
    assert (home / "pki" / "us" / "root.pem").read_text() == "of somebody else"
    assert not (home / "conventions" / "us.toml").exists()
    (home / "pki" / "us" / "root.pem").unlink()
    assert appliance(*taking, home / "pki" / "root.pem").code == 0


@pytest.mark.hsm
def test_doctor_compares_conventions_too(appliance: CommandLine, home: Path) -> None:
    """What does not fit, and what is not in force, is a warning of `doctor`: the service would start."""
    edit(home / "conventions" / "demo-provider.toml", '# replay = "log"', 'replay = "refuse"')
    edit(home / "conventions" / "demo-client.toml", "# allowed = false", "allowed = true")
    client = home / "conventions" / "demo-client.toml"
    client.write_text(f"valid_until = 2026-01-01T00:00:00Z\n{client.read_text()}")
    ended = appliance("doctor", "--home", home, "--json")
    warnings = [
        line["found"]
        for line in ended.lines
        if line.get("check") == "convention" and line["level"] == "warning"
    ]
    assert len(warnings) == 2
    assert warnings[0].startswith("demo-client and demo-provider: reuse.allowed = true")
    assert warnings[1].startswith("is not in force now")


def test_doctor_says_where_no_tls_peer_is_seen(appliance: CommandLine, home: Path) -> None:
    """A convention that names the partner's TLS peers holds nobody to it in a home to which no partner connects: a warning."""
    provider = home / "conventions" / "demo-provider.toml"
    edit(provider, "# certificates = []", 'tls_peers = ["CN=front,O=Partenaire,C=FR"]')
    lines = appliance("doctor", "--home", home, "--json").lines
    [said] = [line for line in lines if "trust.tls_peers" in line.get("found", "")]
    assert (said["level"], said["where"]) == ("warning", str(provider))
    assert "[[inbound]]" in said["remedy"]


def test_exported_here_imported_there(appliance: CommandLine, home: Path, tmp_path: Path) -> None:
    """What one side exports the other imports as its mirror image; nothing that is only ours goes along."""
    edit(home / "conventions" / "demo-client.toml", "# attributes = []", 'attributes = ["service"]')
    with (home / "conventions" / "demo-client.toml").open("a") as file:
        file.write(
            '\n[[caller]]\nnames = ["portail-interne"]\n\n[roles]\nchef = ["PAGM_GESTION"]\n'
        )
    exported = appliance("convention", "export", "--home", home, "demo-client")
    assert exported.code == 0
    assert b"BEGIN CERTIFICATE" in exported.stdout
    for ours in (b"portail-interne", b"chef", b"demo-rsa"):
        assert ours not in exported.stdout
    document = tmp_path / "theirs.toml"
    document.write_bytes(exported.stdout)
    taking = ("convention", "import", "--home", home, document, "--id", "mirrored")
    refused = appliance(*taking)
    assert (refused.code, "--root" in refused.stderr) == (2, True)
    refused = appliance(*taking, "--key", "demo-rsa")
    assert (refused.code, "--key: expected no such option" in refused.stderr) == (2, True)
    root = home / "pki" / "root.pem"
    taken = appliance(*taking, "--root", root)
    assert taken.code == 0
    shown = sha256(ssl.PEM_cert_to_DER_cert(root.read_text())).hexdigest()
    assert f"CN=Demo Root,O=InterOPS demonstration,C=FR, SHA-256 {shown}" in taken.stdout.decode()
    assert (home / "pki" / "mirrored" / "root.pem").read_text().count("BEGIN") == 2
    shown = appliance("convention", "show", "--home", home, "mirrored", "--json").lines[0]
    assert (shown["role"], shown["attributes"], shown["id_style"]) == (
        "provider",
        ["service"],
        "xs-id",
    )
    document.write_bytes(appliance("convention", "export", "--home", home, "mirrored").stdout)
    back = ("convention", "import", "--home", home, document, "--id", "back", "--key", "demo-rsa")
    assert appliance(*back).code == 0
    differing = appliance("convention", "diff", "--home", home, "demo-client", "back", "--json")
    assert differing.code == 1
    assert [line["key"] for line in differing.lines] == ["caller", "roles"]


def test_what_is_no_export(appliance: CommandLine, home: Path, tmp_path: Path) -> None:
    """A later format, another role, unreadable certificates or a shape we do not emit is refused by name."""
    text = appliance("convention", "export", "--home", home, "demo-client").stdout.decode()
    head, _, _ = text.partition('certificates = """')
    provider = appliance("convention", "export", "--home", home, "demo-provider").stdout.decode()
    for document, expected in (
        (text.replace("format = 2", "format = 3"), "format: expected 1 or 2, got 3"),
        (text.replace('role = "client"', 'role = "both"'), "client or provider"),
        (head + 'certificates = "rubbish"\n', "certificates in PEM"),
        (text.replace("format = 2", "format = 2\nkey = 1"), "key"),
        (text.replace("format = 2", ""), "format: expected what `appliance convention export`"),
        (provider.replace('variants = ["A"]', 'variants = ["X"]'), "variant"),
    ):
        file = tmp_path / "odd.toml"
        file.write_text(document)
        key = ("--key", "demo-rsa") if 'role = "provider"' in document else ()
        ended = appliance("convention", "import", "--home", home, file, "--id", "odd", *key)
        assert ended.code == 2
        assert expected in ended.stderr
    assert not (home / "conventions" / "odd.toml").exists()


def test_diff_of_a_file_and_its_like(appliance: CommandLine, home: Path, tmp_path: Path) -> None:
    """Written differently but meaning the same is no difference; a file may stand for a convention."""
    copy = tmp_path / "conventions" / "demo-client.toml"
    copy.parent.mkdir()
    text = (home / "conventions" / "demo-client.toml").read_text()
    copy.write_text(text.replace('# lifetime = "1h"', 'lifetime = "60m"'))
    same = appliance("convention", "diff", "--home", home, "demo-client", copy)
    assert (same.code, same.stdout) == (0, b"")
    copy.write_text(text.replace('# lifetime = "1h"', 'lifetime = "2h"'))
    other = appliance("convention", "diff", "--home", home, "demo-client", copy)
    assert (other.code, other.stdout) == (1, b"lifetime\n  - 3600 s\n  + 7200 s\n")
    assert appliance("convention", "diff", "--home", home, "absent", copy).code == 2


@pytest.mark.hsm
def test_roles_from_the_command_line(appliance: CommandLine, home: Path) -> None:
    """`issue --role` grants what the convention maps the role to, and states no role."""
    with (home / "conventions" / "demo-client.toml").open("a") as file:
        file.write('\n[roles]\nchef = ["PAGM_GESTION", "PAGM_CONSULTATION"]\n')
    asking = ("issue", "--home", home, "--convention", "demo-client", "--role")
    issued = appliance(*asking, "chef")
    assert issued.code == 0
    assert b">PAGM_GESTION<" in issued.stdout
    assert b"chef" not in issued.stdout
    refused = appliance(*asking, "directeur")
    assert (refused.code, "role-unknown" in refused.stderr) == (1, True)

"""A key's life by the command line: made in the token, requested, certified, taken, and put to work under load."""

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key

from hsm.child import run_child
from hsm.errors import Target
from hsm.provision.softhsm import TokenRequest, find_softhsm
from tests.homes import CommandLine, copy_home, edit
from tests.pki import Pki, make_pki, write_pem
from tests.service import RunningService, serve

pytestmark = [pytest.mark.hsm, pytest.mark.slow]


@pytest.fixture
def appliance(capsysbinary: pytest.CaptureFixture[bytes]) -> CommandLine:
    """The command line."""
    return CommandLine(capsysbinary)


@pytest.fixture(scope="module")
def pki() -> Pki:
    """Who certifies our keys."""
    return make_pki("authority")


def make_key(appliance: CommandLine, home: Path, label: str, kind: str = "rsa-2048") -> list[str]:
    """Make a key; returns the arguments that name it."""
    made = appliance("hsm", "keygen", "--home", home, "--token", "demo", "--label", label,
                     "--type", kind, "--json")  # fmt: skip
    assert made.code == 0, made.stderr
    [key] = made.lines
    assert (key["token"], key["label"], key["type"]) == ("demo", label, kind)
    return ["--token", "demo", "--label", label, "--id", key["id"]]


def add_token(home: Path, name: str) -> None:
    """Make one more token, of the same PIN, in the home's SoftHSM, and name it in the configuration."""
    module, conf = str(find_softhsm()), str(home / "token" / "softhsm2.conf")
    pin, so_pin = ((home / "secrets" / file).read_text().strip() for file in ("pin", "so-pin"))
    request = TokenRequest(module, {"SOFTHSM2_CONF": conf}, name, pin, so_pin)
    run_child("hsm.provision.softhsm", request, str, Target(module, name))
    facts = f'name = "{name}"\nmodule = "{module}"\nlabel = "{name}"\npin_file = "secrets/pin"'
    with (home / "appliance.toml").open("a") as file:
        file.write(f'\n[[token]]\n{facts}\nenvironment = {{ SOFTHSM2_CONF = "{conf}" }}\n')


def certify(
    appliance: CommandLine, home: Path, pki: Pki, named: list[str], directory: Path
) -> Path:
    """Have the key ask for a certificate, and the authority give one; returns the chain's file."""
    asked = appliance("hsm", "csr", "--home", home, *named, "--subject", "CN=signer 2027,C=FR")
    assert asked.code == 0, asked.stderr
    request = x509.load_pem_x509_csr(asked.stdout)
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == "CN=signer 2027,C=FR"
    holder = pki.certify_leaf("signer 2027", request.public_key())
    file = directory / f"{named[3]}.pem"
    write_pem(file, holder)
    return file


@pytest.mark.parametrize("kind", ["rsa-2048", "p-384"])
def test_key_is_made_requested_and_taken(
    appliance: CommandLine, demo_home: Path, tmp_path: Path, pki: Pki, kind: str
) -> None:
    """Each kind of key is made in the token, signs its own request, and is configured by taking its certificate."""
    home = copy_home(demo_home, tmp_path)
    named = make_key(appliance, home, "new", kind)
    chain = certify(appliance, home, pki, named, tmp_path)
    taken = appliance("hsm", "import-certificate", "--home", home, "--key", "new", *named, chain)
    assert taken.code == 0, taken.stderr
    assert (home / "pki" / "new.pem").read_bytes() == chain.read_bytes()
    tested = appliance("hsm", "selftest", "--home", home, "--count", "1", "--json").lines
    assert {each["key"]: each["error"] for each in tested}["new"] == ""
    [token] = appliance("hsm", "list", "--home", home, "--json").lines
    [listed] = [key for key in token["keys"] if key["label"] == "new"]
    assert (listed["name"], listed["extractable"]) == ("new", False)


def test_public_key_is_printed(appliance: CommandLine, demo_home: Path, tmp_path: Path) -> None:
    """What keygen prints is the public key; an id that is taken is refused and nothing is made."""
    home = copy_home(demo_home, tmp_path)
    keygen = ("hsm", "keygen", "--home", home, "--token", "demo", "--label", "again", "--id", "7f")
    [made] = appliance(*keygen, "--json").lines
    assert load_pem_public_key(made["public_key"].encode())
    taken = appliance(*keygen)
    assert taken.code == 2
    assert "--id" in taken.stderr
    assert "KEY_EXISTS" in taken.stderr


def test_certificate_of_another_key_is_refused(
    appliance: CommandLine, demo_home: Path, tmp_path: Path, pki: Pki
) -> None:
    """A certificate that the key does not match changes no file."""
    home = copy_home(demo_home, tmp_path)
    chain = certify(appliance, home, pki, make_key(appliance, home, "other"), tmp_path)
    before = {file: file.read_bytes() for file in (home / "pki").glob("*.pem")}
    refused = appliance("hsm", "import-certificate", "--home", home, "--key", "demo-rsa", chain)
    assert refused.code == 2
    assert "KEY_MISMATCH" in refused.stderr
    assert {file: file.read_bytes() for file in (home / "pki").glob("*.pem")} == before


def test_certificate_is_proven_in_every_token(
    appliance: CommandLine, demo_home: Path, tmp_path: Path, pki: Pki
) -> None:
    """A key of two tokens that are not copies of each other: what one of them signs does not verify, and no file changes."""
    home = copy_home(demo_home, tmp_path)
    add_token(home, "spare")
    keygen = ("hsm", "keygen", "--home", home, "--token", "spare", "--label", "demo-rsa")
    assert appliance(*keygen, "--id", "01").code == 0
    named = ["--token", "demo", "--label", "demo-rsa", "--id", "01"]
    chain = certify(appliance, home, pki, named, tmp_path)
    taking = ("hsm", "import-certificate", "--home", home, "--key", "demo-rsa", chain)
    edit(
        home / "appliance.toml",
        *('"demo-rsa"\ntoken = "demo"', '"demo-rsa"\ntoken = ["demo", "spare"]'),
    )
    before = (home / "pki" / "demo-rsa.pem").read_bytes()
    refused = appliance(*taking)
    assert refused.code == 2
    assert "in spare, KEY_MISMATCH" in refused.stderr
    assert (home / "pki" / "demo-rsa.pem").read_bytes() == before
    edit(home / "appliance.toml", '["demo", "spare"]', '"demo"')
    assert appliance(*taking).code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("csr", "--subject", "CN=x"), "--token, --label and --id"),
        (("csr", "--key", "demo-rsa", "--subject", "no name"), "--subject"),
        (("keygen", "--token", "absent", "--label", "x"), "demo"),
        (("keygen", "--token", "demo", "--label", "x", "--id", "xyz"), "hexadecimal"),
        (("rotate", "--key", "demo-rsa", "--to", "absent"), "absent"),
    ],
)
def test_wrong_usage_is_named(
    appliance: CommandLine, demo_home: Path, arguments: tuple[str, ...], said: str
) -> None:
    """What cannot be meant is wrong usage, and says what to write."""
    action, *rest = arguments
    ended = appliance("hsm", action, "--home", demo_home, *rest)
    assert ended.code == 2
    assert said in ended.stderr


def test_rotation_that_cannot_be_is_undone(
    appliance: CommandLine, demo_home: Path, tmp_path: Path
) -> None:
    """A successor whose kind does not fit the conventions' algorithm leaves every convention as it was."""
    home = copy_home(demo_home, tmp_path)
    before = (home / "conventions" / "demo-client.toml").read_text()
    refused = appliance("hsm", "rotate", "--home", home, "--key", "demo-rsa", "--to", "demo-ec")
    assert refused.code == 2
    assert "signature.algorithm" in refused.stderr
    assert (home / "conventions" / "demo-client.toml").read_text() == before


def test_rotation_reaches_the_roll_over_list(
    appliance: CommandLine, demo_home: Path, tmp_path: Path
) -> None:
    """A key that signs through `[[rollover]]` is rotated there; one that nobody names, and a successor that would follow itself, are refused by name."""
    home = copy_home(demo_home, tmp_path)
    config, client = home / "appliance.toml", home / "conventions" / "demo-client.toml"
    same = config.read_text().partition('name = "demo-rsa"\n')[2].partition("\n\n")[0]
    with config.open("a") as file:
        file.writelines(f'\n[[key]]\nname = "{name}"\n{same}\n' for name in ("second", "third"))
    with client.open("a") as file:
        file.write('\n[[rollover]]\nkey = "second"\nvalid_from = 2026-01-01T00:00:00Z\n')
    rotate = ("hsm", "rotate", "--home", home, "--to", "third", "--key")
    rotated = appliance(*rotate, "second")
    assert (rotated.code, b"demo-client: second" in rotated.stdout) == (0, True), rotated.stderr
    [shown] = appliance("convention", "show", "--home", home, "demo-client", "--json").lines
    assert (shown["key"], [step["key"] for step in shown["rollover"]]) == ("demo-rsa", ["third"])
    before = client.read_text()
    refused = appliance(*rotate, "second")
    assert (refused.code, "none names `second`" in refused.stderr) == (2, True)
    refused = appliance(*rotate, "demo-rsa")
    assert (refused.code, "rollover[0].key: expected another key" in refused.stderr) == (2, True)
    assert client.read_text() == before


def test_rotation_under_load_fails_no_request(
    appliance: CommandLine, demo_home: Path, tmp_path: Path, pki: Pki
) -> None:
    """While clients ask, a successor is made, certified, taken and put to work: every answer is a vector, the last of the new key."""
    home = copy_home(demo_home, tmp_path)
    with serve(home) as running, ThreadPoolExecutor(4) as pool:
        stop = threading.Event()
        clients = [pool.submit(issue_until, running, stop) for _ in range(4)]
        try:
            named = make_key(appliance, home, "successor")
            chain = certify(appliance, home, pki, named, tmp_path)
            taking = ("import-certificate", "--home", home, "--key", "successor", *named, chain)
            assert appliance("hsm", *taking).code == 0
            rotated = appliance(
                "hsm", "rotate", "--home", home, "--key", "demo-rsa", "--to", "successor"
            )
            assert rotated.code == 0, rotated.stderr
            assert b"the service signs with it" in rotated.stdout
            issued = running.issue().json["assertion"]
        finally:
            stop.set()
        statuses = set().union(*(client.result(60) for client in clients))
        metrics = running.request("GET", "/metrics").body.decode()
    assert statuses == {200}
    [certificate] = x509.load_pem_x509_certificates(chain.read_bytes())[:1]
    assert base64_of(certificate) in issued.replace("\n", "")
    assert 'appliance_certificate_expiry_time_seconds{key="successor"}' in metrics


def issue_until(running: RunningService, stop: threading.Event) -> set[int]:
    """Ask for vectors, one after the other; returns the statuses seen."""
    statuses = set()
    while not stop.is_set():
        statuses.add(running.issue().status)
    return statuses


def base64_of(certificate: x509.Certificate) -> str:
    """The certificate as KeyInfo holds it."""
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()

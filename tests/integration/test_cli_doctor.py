"""`appliance doctor` on homes with one thing wrong: each finding names what, where, and what to do."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from appliance.cli.checks.certificates import public_key_of
from appliance.cli.checks.clock import check_clock
from appliance.cli.checks.finding import Level
from appliance.trace.view import LogPlace
from bench.shim import put_behind_shim
from hsm.child import run_child
from hsm.errors import HsmError, Target
from hsm.provision.demo_pki import write_demo_pki
from hsm.provision.softhsm import TokenRequest, find_softhsm
from tests.homes import CommandLine, copy_home, edit
from tests.service import RunningService

pytestmark = [pytest.mark.hsm, pytest.mark.slow]


MAKE_KEY = """
import sys, pkcs11
from pkcs11 import Attribute, KeyType, MechanismFlag
private, capabilities = sys.argv[1:]
token = pkcs11.lib("/usr/lib/softhsm/libsofthsm2.so").get_token(token_label="interops-demo")
template = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
if private:
    template[Attribute[private]] = True
with token.open(rw=True, user_pin=sys.stdin.read()) as session:
    session.generate_keypair(
        KeyType.RSA, 2048, id=b"\\x10", label="odd", store=True,
        capabilities=MechanismFlag[capabilities], private_template=template,
    )
"""


@pytest.fixture
def appliance(capsysbinary: pytest.CaptureFixture[bytes]) -> CommandLine:
    """The command line."""
    return CommandLine(capsysbinary)


@pytest.fixture
def home(demo_home: Path, tmp_path: Path) -> Path:
    """A copy of the demo home, to be spoiled."""
    return copy_home(demo_home, tmp_path)


@dataclass(frozen=True)
class Trouble:
    """A way to spoil a home, and the finding it must lead to (parts of its fields)."""

    spoil: Callable[[Path], object]
    check: str
    where: str
    found: str
    remedy: str
    level: str = "error"


def expire_crls(home: Path) -> None:
    """Put CRLs in place that ran out long ago."""
    old = write_demo_pki(home / "old", {}, datetime(2020, 1, 1, tzinfo=UTC))
    (home / "pki" / "root.pem").write_bytes(old.root.read_bytes())
    for name in ("root.pem", "issuing.pem"):
        (home / "pki" / "crl" / name).write_bytes((old.crl_directory / name).read_bytes())


def swap_ids(home: Path) -> None:
    """Point the RSA KeyRef at the token's EC key."""
    edit(home / "appliance.toml", 'label = "demo-rsa"\nid = "01"', 'label = "demo-ec"\nid = "02"')


def date_certificate(home: Path, now: datetime) -> None:
    """Have the key's certificate be one that was made then."""
    [leaf, *_] = x509.load_pem_x509_certificates((home / "pki" / "demo-rsa.pem").read_bytes())
    other = write_demo_pki(home / "old", {"demo-rsa": public_key_of(leaf)}, now)
    (home / "pki" / "demo-rsa.pem").write_bytes(other.chains["demo-rsa"].read_bytes())


def be_forgeable(home: Path) -> None:
    """Have the token be the shim's null token, which takes any PIN and has the keys that are asked for."""
    put_behind_shim(home).tell("create", "null", "interops-demo", "demo-rsa:01", "demo-ec:02")


def give_key(home: Path, private: str, capabilities: str) -> None:
    """Make a key with attributes of one's own in the token, and have the RSA KeyRef be that."""
    pin = (home / "secrets" / "pin").read_text().strip()
    subprocess.run(
        [sys.executable, "-c", MAKE_KEY, private, capabilities],
        input=pin.encode(),
        env=os.environ | {"SOFTHSM2_CONF": str(home / "token" / "softhsm2.conf")},
        check=True,
        timeout=60,
    )
    edit(home / "appliance.toml", 'label = "demo-rsa"\nid = "01"', 'label = "odd"\nid = "10"')


def make_token(home: Path) -> None:
    """Make one more token of the same label and PINs in the home's SoftHSM."""
    module, environment = str(find_softhsm()), {"SOFTHSM2_CONF": str(home / "token/softhsm2.conf")}
    pin, so_pin = ((home / "secrets" / name).read_text().strip() for name in ("pin", "so-pin"))
    request = TokenRequest(module, environment, "interops-demo", pin, so_pin)
    run_child("hsm.provision.softhsm", request, str, Target(module, "interops-demo"))


def be_vouched_for_by_another(home: Path) -> None:
    """Publish the public half of a key that is not in the token."""
    public = Ed25519PrivateKey.generate().public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (home / "pki" / "audit.pem").write_bytes(pem)


def make_twin(home: Path) -> None:
    """Have two tokens of one label; whoever makes the second is told so too."""
    with pytest.raises(HsmError, match="TOKEN_NOT_UNIQUE"):
        make_token(home)


def initialize_anew(home: Path) -> None:
    """Have a token of the right label and PIN that has lost its keys."""
    shutil.rmtree(home / "token" / "objects")
    (home / "token" / "objects").mkdir()
    make_token(home)


def make_token_say(*command: str) -> Callable[[Path], object]:
    """Put the shim before the token, and have it answer as told."""
    return lambda home: put_behind_shim(home).tell(*command)


TROUBLES = {
    "wrong PIN": Trouble(
        lambda home: (home / "secrets" / "pin").write_text("not the PIN"),
        *("token demo", "interops-demo", "CKR_PIN_INCORRECT", "appliance hsm resume"),
    ),
    "loose PIN": Trouble(
        lambda home: (home / "secrets" / "pin").chmod(0o644),
        *("PIN of token demo", "secrets/pin", "mode 0644", "chmod 600"),
    ),
    "no PIN": Trouble(
        lambda home: (home / "secrets" / "pin").unlink(),
        *("PIN of token demo", "secrets/pin", "No such file", "write the token's user PIN"),
    ),
    "wrong label": Trouble(
        lambda home: edit(home / "appliance.toml", "interops-demo", "production"),
        *(
            "token demo",
            "label `production`",
            "TOKEN_NOT_FOUND: no slot holds a token of this label; slot ",
            "compare the label",
        ),
    ),
    "no module": Trouble(
        lambda home: edit(home / "appliance.toml", "libsofthsm2.so", "libabsent.so"),
        *("token demo", "libabsent.so", "MODULE_NOT_LOADED", "check the path"),
    ),
    "wrong key id": Trouble(
        lambda home: edit(home / "appliance.toml", 'id = "01"', 'id = "77"'),
        *("key demo-rsa", "token demo, slot ", "`demo-rsa` (id 01)", "compare `id` and `label`"),
    ),
    "certificate of another key": Trouble(
        swap_ids, *("key demo-rsa", "token demo", "KEY_", "certificate")
    ),
    "no certificate": Trouble(
        lambda home: (home / "pki" / "demo-rsa.pem").unlink(),
        *("certificates of key demo-rsa", "pki/demo-rsa.pem", "No such file", "correct the file"),
    ),
    "no such key": Trouble(
        lambda home: edit(home / "conventions" / "demo-client.toml", '"demo-rsa"', '"other"'),
        *("convention", "demo-client.toml", "a [[key]] in service: demo-rsa, demo-ec", "correct"),
    ),
    "algorithm of another key": Trouble(
        lambda home: edit(
            home / "conventions" / "demo-client.toml", '# algorithm = "rsa-', 'algorithm = "ecdsa-'
        ),
        *("convention", "demo-client.toml", "what is named needs an EC key", "correct"),
    ),
    "unknown key in a convention": Trouble(
        lambda home: edit(home / "conventions" / "demo-provider.toml", "issuer =", "isuer ="),
        *("convention", "demo-provider.toml", "isuer", "correct the file"),
    ),
    "unknown key in appliance.toml": Trouble(
        lambda home: edit(home / "appliance.toml", "# listen =", "lisen ="),
        *("configuration", "appliance.toml", "no key `lisen` here", "correct the file"),
    ),
    "outdated CRLs": Trouble(
        expire_crls,
        *("trust of convention demo-provider", "pki/crl/root.pem", "out of date", "fetch the current"),
    ),
    "no root": Trouble(
        lambda home: (home / "pki" / "root.pem").unlink(),
        *("trust of convention demo-provider", "pki/root.pem", "No such file", "correct the file"),
    ),
    "spool is gone": Trouble(
        lambda home: (home / "spool").rmdir(), *("spool", "spool", "cannot be written", "mode 700")
    ),
    "open home": Trouble(
        lambda home: home.chmod(0o755), *("permissions", "home", "look inside", "chmod 700", "warning")
    ),
    "PIN variable not set": Trouble(
        lambda home: edit(home / "appliance.toml", 'pin_file = "secrets/pin"', 'pin_env = "ABSENT"'),
        *("PIN of token demo", "ABSENT", "not set", "set ABSENT"),
    ),
    "credential not passed": Trouble(
        lambda home: edit(
            home / "appliance.toml", 'pin_file = "secrets/pin"', 'pin_credential = "hsm-pin"'
        ),
        *("PIN of token demo", "hsm-pin", "no credentials", "from the service's unit"),
    ),
    "module that is none": Trouble(
        lambda home: edit(
            home / "appliance.toml", "/usr/lib/softhsm/libsofthsm2.so", "/etc/hostname"
        ),
        *("token demo", "/etc/hostname", "MODULE_NOT_LOADED", "check the path"),
    ),
    "expired certificate": Trouble(
        lambda home: date_certificate(home, datetime(2020, 1, 1, tzinfo=UTC)),
        *("certificates of key demo-rsa", "pki/demo-rsa.pem", "expired on 20", "issued anew"),
    ),
    "locked token": Trouble(
        make_token_say("fail", "C_Login", "CKR_PIN_LOCKED"),
        *("token demo", "label `interops-demo`, slot ", "CKR_PIN_LOCKED", "as its security officer"),
    ),
    "token without a PIN": Trouble(
        make_token_say("fail", "C_Login", "CKR_USER_PIN_NOT_INITIALIZED"),
        *("token demo", "interops-demo", "no user PIN yet", "initialise it"),
    ),
    "full token": Trouble(
        make_token_say("fail", "C_OpenSession", "CKR_SESSION_COUNT"),
        *("token demo", "interops-demo", "CKR_SESSION_COUNT", "lower `lanes`"),
    ),
    "token that anyone can forge": Trouble(
        be_forgeable, *("token demo", "libpkcs11_shim", "ANYONE CAN FORGE", "a real token")
    ),
    "extractable key": Trouble(
        lambda home: give_key(home, "EXTRACTABLE", "SIGN"),
        *("key demo-rsa", "token demo", "KEY_EXTRACTABLE", "generate"),
    ),
    "key that may not sign": Trouble(
        lambda home: give_key(home, "", "DECRYPT"),
        *("key demo-rsa", "token demo", "KEY_MAY_NOT_SIGN", "generate"),
    ),
    "two tokens of one label": Trouble(
        make_twin, *("token demo", "interops-demo", "TOKEN_NOT_UNIQUE", "a label of its own")
    ),
    "token initialised anew": Trouble(
        initialize_anew,
        *("key demo-rsa", "token demo", "KEY_NOT_FOUND", "compare `id` and `label`"),
    ),
    "clock before a certificate": Trouble(
        lambda home: date_certificate(home, datetime.now(UTC) + timedelta(days=2)),
        *("clock", "UTC", "before a certificate was issued", "set the clock"),
    ),
    "full disk": Trouble(
        lambda home: edit(home / "appliance.toml", '# segment = "64MiB"', 'segment = "900000GiB"'),
        *("spool", "spool", "less than one segment", "free space"),
    ),
    "token taken out": Trouble(
        make_token_say("remove"), *("token demo", "interops-demo", "TOKEN_NOT_FOUND", "compare")
    ),
    "policy that forbids the mechanism": Trouble(
        make_token_say("fail", "C_SignInit", "CKR_KEY_FUNCTION_NOT_PERMITTED"),
        *("key demo-rsa", "token demo", "CKR_KEY_FUNCTION_NOT_PERMITTED", "rsa-hash-in-token"),
    ),
    "no such user": Trouble(
        lambda home: edit(home / "appliance.toml", "# lanes = 2", 'user = "nobody-of-this-name"'),
        *("configuration", "appliance.toml", "nobody-of-this-name", "correct the file"),
    ),
    "worker that cannot be another user": Trouble(
        lambda home: edit(home / "appliance.toml", "[api]\n", '[api]\nuser = "64009"\n'),
        *("user of workers", "appliance.toml", "64009", "mend what it names"),
    ),
    "one user for all": Trouble(
        lambda home: edit(home / "appliance.toml", "[api]\n", f'[api]\nuser = "{os.geteuid()}"\n'),
        *("user of token demo", "appliance.toml", "takes over", "start as root", "warning"),
    ),
    "audit key by a wrong id": Trouble(
        lambda home: edit(home / "appliance.toml", 'id = "03"', 'id = "33"'),
        *("audit key", "token demo", "KEY_NOT_FOUND", "`label` of [audit]"),
    ),
    "audit key by a wrong label": Trouble(
        lambda home: edit(home / "appliance.toml", 'label = "demo-audit"', 'label = "demo-audi"'),
        *("audit key", "token demo", "labelled `demo-audit`", "`label` of [audit]"),
    ),
    "audit key of another kind": Trouble(
        lambda home: edit(
            home / "appliance.toml",
            'label = "demo-audit"\nid = "03"',
            'label = "demo-rsa"\nid = "01"',
        ),
        *("audit key", "token demo", "neither Ed25519 nor P-256", "hsm keygen"),
    ),
    "audit key in a token of another name": Trouble(
        lambda home: edit(
            home / "appliance.toml",
            'token = "demo"\nlabel = "demo-audit"',
            'token = "elsewhere"\nlabel = "demo-audit"',
        ),
        *("configuration", "appliance.toml", "the name of a [[token]], got `elsewhere`", "correct"),
    ),
    "public key of another audit key": Trouble(
        be_vouched_for_by_another,
        *("audit key", "token demo", "KEY_MISMATCH", "public key belong together"),
    ),
    "module told of a file that is not there": Trouble(
        lambda home: edit(home / "appliance.toml", "softhsm2.conf", "absent.conf"),
        *("environment of token demo", "appliance.toml", "absent.conf, which is not there", "SOFTHSM2_CONF"),
    ),
    "no time for a call": Trouble(
        lambda home: edit(
            home / "appliance.toml", '# call_timeout = "500ms"', 'call_timeout = "0s"'
        ),
        *("configuration", "appliance.toml", "a duration of more than nothing", "correct the file"),
    ),
    "no convention": Trouble(
        lambda home: [file.unlink() for file in (home / "conventions").iterdir()],
        *("convention", "conventions", "there is none", "describe one", "warning"),
    ),
}  # fmt: skip


def test_little_room_is_said(
    appliance: CommandLine, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is four fifths full is a warning, as it is for the running service."""
    full = SimpleNamespace(total=2**40, used=0.85 * 2**40, free=0.15 * 2**40)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    ended = appliance("doctor", "--home", home, "--json")
    assert ended.code == 0
    [spool] = [each for each in ended.lines if each["check"] == "spool"]
    assert (spool["level"], spool["remedy"]) == ("warning", "free space or move the spool")


@pytest.mark.usefixtures("roomy_disk")
def test_good_home(appliance: CommandLine, home: Path) -> None:
    """A fresh demo home has no trouble but the one user that a demo is; text for people, with a summary on stderr."""
    ended = appliance("doctor", "--home", home)
    assert ended.code == 0
    assert ended.stderr.rstrip().endswith("findings: 0 error(s), 1 warning(s)")
    assert ended.stdout.decode().count("→") == 1
    for part in (
        "token demo",
        "key demo-rsa",
        "key demo-ec",
        "trust of",
        "clock",
        "spool",
        "service",
    ):
        assert part in ended.stdout.decode()


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
def test_trouble_is_named(appliance: CommandLine, home: Path, trouble: Trouble) -> None:
    """What is wrong is found, with the file or token it is in and what to do; errors fail the command."""
    trouble.spoil(home)
    ended = appliance("doctor", "--home", home, "--json")
    found: list[dict[str, Any]] = [each for each in ended.lines if each["level"] != "ok"]
    assert ended.code == int(any(each["level"] == "error" for each in found))
    matching = [
        each
        for each in found
        if each["level"] == trouble.level
        and each["check"] == trouble.check
        and trouble.where in each["where"]
        and trouble.found in each["found"]
        and trouble.remedy in each["remedy"]
    ]
    assert matching, found
    assert all(each["remedy"] for each in found)


@pytest.mark.parametrize("command", [("doctor",), ("hsm", "list")])
def test_hung_module_is_waited_for_as_long_as_a_lane_may_open(
    appliance: CommandLine, home: Path, command: tuple[str, ...]
) -> None:
    """Whoever looks at a token lets go of it `open_timeout` and the margin later, and says how long that was."""
    edit(home / "appliance.toml", '# open_timeout = "10s"', 'open_timeout = "1s"')
    put_behind_shim(home).tell("hang", "C_Initialize")
    ended = appliance(*command, "--home", home)
    said = ended.stdout.decode() + ended.stderr
    assert ended.code != 0
    assert "CALL_TIMEOUT" in said
    assert "did not answer in 6 s" in said


def test_running_service(appliance: CommandLine, service: RunningService) -> None:
    """Beside a running service the doctor says so, and disturbs neither the service nor its own checks."""
    ended = appliance("doctor", "--home", service.home, "--json")
    assert ended.code == 0
    assert ended.lines[-1]["check"] == "service"
    assert ended.lines[-1]["found"] == "running and ready"
    assert service.issue().status == 200


def test_clock_before_the_last_trace_entry(service: RunningService) -> None:
    """A clock that has gone back behind the trace is an error that names the log."""
    log = service.issue().json["trace"]["log"]
    past = datetime.now(UTC) - timedelta(minutes=1)
    findings = list(check_clock(past, [], LogPlace(service.home / "log", service.home / "spool")))
    assert {finding.level for finding in findings} == {Level.ERROR}
    assert any(f"last entry of log {log}" in finding.found for finding in findings)


def test_wrong_pin_is_tried_once(appliance: CommandLine, home: Path) -> None:
    """The second doctor does not offer a refused PIN again; a corrected file needs no resume, the same one does."""
    pin = home / "secrets" / "pin"
    right = pin.read_text()
    pin.write_text("not the PIN")
    codes = []
    for _ in range(2):
        found = {
            each["check"]: each for each in appliance("doctor", "--home", home, "--json").lines
        }
        codes.append(found["token demo"]["found"].partition(":")[0])
    assert codes == ["CKR_PIN_INCORRECT", "PIN_REFUSED_BEFORE"]
    listed = appliance("hsm", "list", "--home", home)
    assert listed.code == 3
    assert "PIN_REFUSED_BEFORE" in listed.stderr
    assert "not the PIN" not in listed.stderr + listed.stdout.decode()
    resumed = appliance("hsm", "resume", "--home", home, "--token", "demo")
    assert resumed.code == 0
    again = {each["check"]: each for each in appliance("doctor", "--home", home, "--json").lines}
    assert again["token demo"]["found"].startswith("CKR_PIN_INCORRECT")
    pin.write_text(right)
    assert appliance("doctor", "--home", home).code == 0


def test_read_only_spool(appliance: CommandLine, home: Path) -> None:
    """A spool that cannot be written is an error."""
    shutil.rmtree(home / "spool")
    (home / "spool").symlink_to("/proc")  # where even root makes no files
    ended = appliance("doctor", "--home", home, "--json")
    assert ended.code == 1
    assert [each["check"] for each in ended.lines if each["level"] == "error"] == ["spool"]

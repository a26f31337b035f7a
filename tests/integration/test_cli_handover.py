"""A convention handed from one appliance to the other: what one side emits the other takes, and `diff` says where the two part."""

import shutil
from pathlib import Path

import pytest

from appliance.conventions.loader import load_convention
from appliance.conventions.model import ClientConvention, ProviderConvention
from tests.homes import CommandLine, Ended, copy_home, edit


@pytest.fixture
def appliance(capsysbinary: pytest.CaptureFixture[bytes]) -> CommandLine:
    """The command line."""
    return CommandLine(capsysbinary)


@pytest.fixture
def home(demo_home: Path, tmp_path: Path) -> Path:
    """A demo home that a test may change."""
    return copy_home(demo_home, tmp_path)


def hand_over(appliance: CommandLine, home: Path, convention: str, *more: object) -> Ended:
    """Export a convention and import it again, as `mirrored`."""
    document = home / "document.toml"
    document.write_bytes(appliance("convention", "export", "--home", home, convention).stdout)
    ended = appliance(
        *("convention", "import", "--home", home, document, "--id", "mirrored", *more)
    )
    crls = home / "pki" / "mirrored" / "crl"
    for crl in (home / "pki" / "crl").iterdir() if crls.is_dir() else ():
        shutil.copy(crl, crls)
    return ended


def set_keys(file: Path, *lines: str) -> None:
    """Put keys in the place of those that the file comments out."""
    for line in lines:
        name = line.partition(" = ")[0]
        [old] = [each for each in file.read_text().splitlines() if each.startswith(f"# {name} = ")]
        edit(file, old, line)


@pytest.mark.hsm
@pytest.mark.parametrize(
    "lines",
    [
        (),
        ('lifetime = "24h"',),
        ('lifetime = "72h"', 'back_dating = "2h"'),
        ('lifetime = "5s"', 'back_dating = "0s"'),
        ('algorithm = "rsa-sha512"',),
        ('key_info = "leaf"',),
    ],
)
def test_what_a_client_emits_its_mirror_takes(
    appliance: CommandLine, home: Path, lines: tuple[str, ...]
) -> None:
    """However long, signed or shown, a vector of the exported convention is accepted under the imported one, which takes nothing longer."""
    client = home / "conventions" / "demo-client.toml"
    set_keys(client, *lines)
    assert hand_over(appliance, home, "demo-client", "--root", home / "pki" / "root.pem").code == 0
    ours = load_convention(client)
    theirs = load_convention(home / "conventions" / "mirrored.toml")
    assert isinstance(ours, ClientConvention)
    assert isinstance(theirs, ProviderConvention)
    assert theirs.maximum_lifetime == max(ours.lifetime + ours.back_dating, 120.0)
    assert theirs.signature_algorithms == {ours.signature_algorithm}
    assert theirs.confirmations["2.0"] == {ours.confirmation}
    vector = home / "vector.xml"
    issued = appliance(
        *("issue", "--home", home, "--convention", "demo-client", "--pagm", "PAGM_GESTION")
    )
    vector.write_bytes(issued.stdout)
    judged = appliance("verify", "--home", home, "--convention", "mirrored", vector)
    assert judged.code == 0, judged.stdout


@pytest.mark.hsm
@pytest.mark.parametrize("longest", ["30m", "15s", "24h"])
def test_what_a_provider_takes_its_mirror_emits(
    appliance: CommandLine, home: Path, longest: str
) -> None:
    """A vector issued under the imported convention is no longer, and signed no otherwise, than the exported one accepts."""
    provider = home / "conventions" / "demo-provider.toml"
    set_keys(provider, 'skew = "5s"')
    edit(provider, 'maximum_lifetime = "24h"', f'maximum_lifetime = "{longest}"')
    edit(provider, "[signature]", '[signature]\nalgorithms = ["ecdsa-sha384", "rsa-sha384"]')
    assert hand_over(appliance, home, "demo-provider", "--key", "demo-rsa").code == 0
    ours = load_convention(home / "conventions" / "mirrored.toml")
    assert isinstance(ours, ClientConvention)
    assert ours.signature_algorithm.endswith("rsa-sha384")
    vector = home / "vector.xml"
    issued = appliance(
        *("issue", "--home", home, "--convention", "mirrored", "--pagm", "PAGM_GESTION")
    )
    vector.write_bytes(issued.stdout)
    judged = appliance("verify", "--home", home, "--convention", "demo-provider", vector)
    assert b"lifetime-too-long" not in judged.stdout
    assert judged.code == 0, judged.stdout


@pytest.mark.parametrize("signed", [["body"], ["body", "timestamp", "assertion"]])
def test_signed_parts_come_along(appliance: CommandLine, home: Path, signed: list[str]) -> None:
    """What one side signs of a message the other asks for, and the reverse; a Timestamp that must be signed is written."""
    provider = home / "conventions" / "demo-provider.toml"
    with provider.open("a") as file:
        file.write(f"\n[soap]\nsigned = {signed}\n")
    assert hand_over(appliance, home, "demo-provider", "--key", "demo-rsa").code == 0
    mirrored = home / "conventions" / "mirrored.toml"
    ours = load_convention(mirrored)
    assert isinstance(ours, ClientConvention)
    assert set(ours.soap_signed) == set(signed)
    assert (ours.soap_timestamp is not None) == ("timestamp" in signed)
    comparing = ("convention", "diff", "--home", home, "mirrored", home / "document.toml")
    assert appliance(*comparing).stdout == b""
    mirrored.rename(home / "conventions" / "us.toml")
    trusting = ("--root", home / "pki" / "root.pem")
    assert hand_over(appliance, home, "us", *trusting).code == 0
    theirs = load_convention(mirrored)
    assert isinstance(theirs, ProviderConvention)
    assert theirs.soap_signed == set(signed)
    edit(mirrored, f"signed = {sorted(signed)}".replace("'", '"'), "signed = []")
    [line] = appliance(*comparing, "--json").lines
    assert (line["key"], sorted(line["second"])) == ("soap.signed", sorted(signed))


def test_key_that_is_too_short_for_the_partner(appliance: CommandLine, home: Path) -> None:
    """A partner who takes no RSA key as short as ours is heard before anything is made."""
    provider = home / "conventions" / "demo-provider.toml"
    edit(provider, "[signature]", "[signature]\nminimum_rsa_bits = 4096")
    ended = hand_over(appliance, home, "demo-provider", "--key", "demo-rsa")
    assert ended.code == 2
    assert "an RSA key of 4096 bits or more, as the partner accepts it" in ended.stderr
    assert not (home / "conventions" / "mirrored.toml").exists()


def test_no_algorithm_in_common(appliance: CommandLine, home: Path) -> None:
    """A key that cannot sign as the partner accepts it is refused by name, and nothing is made."""
    provider = home / "conventions" / "demo-provider.toml"
    edit(provider, "[signature]", '[signature]\nalgorithms = ["ecdsa-sha384"]')
    ended = hand_over(appliance, home, "demo-provider", "--key", "demo-rsa")
    assert ended.code == 2
    assert "as the partner accepts it, ecdsa-sha384; got `demo-rsa`" in ended.stderr
    assert not (home / "conventions" / "mirrored.toml").exists()


def test_dates_and_cas_come_along(appliance: CommandLine, home: Path) -> None:
    """The period is the same on both sides, and the CAs between root and signer lie beside the root, whose CRLs may be fetched then."""
    client = home / "conventions" / "demo-client.toml"
    client.write_text(f"valid_until = 2100-01-01T00:00:00Z\n{client.read_text()}")
    assert hand_over(appliance, home, "demo-client", "--root", home / "pki" / "root.pem").code == 0
    theirs = load_convention(home / "conventions" / "mirrored.toml")
    assert theirs.period == load_convention(client).period
    assert (home / "pki" / "mirrored" / "root.pem").read_text().count("BEGIN") == 2


def test_export_of_before_is_read(appliance: CommandLine, home: Path, tmp_path: Path) -> None:
    """A document of format 1, which says nothing of durations and algorithms, is imported with our defaults for them."""
    document = tmp_path / "old.toml"
    text = appliance("convention", "export", "--home", home, "demo-client").stdout.decode()
    newer = ("lifetime", "back_dating", "confirmations", "algorithms", "signed")
    kept = [line for line in text.splitlines() if not line.startswith(newer)]
    document.write_text("\n".join(kept).replace("format = 2", "format = 1"))
    taken = appliance(
        *("convention", "import", "--home", home, document, "--id", "mirrored"),
        *("--root", home / "pki" / "root.pem"),
    )
    assert taken.code == 0
    theirs = load_convention(home / "conventions" / "mirrored.toml")
    assert isinstance(theirs, ProviderConvention)
    assert (theirs.maximum_lifetime, theirs.signature_algorithms) == (86400.0, frozenset())


def test_diff_beside_an_export(appliance: CommandLine, home: Path) -> None:
    """`diff` reads what the partner exported, either way round, and names by the documented keys what ours says otherwise."""
    assert hand_over(appliance, home, "demo-client", "--root", home / "pki" / "root.pem").code == 0
    document = home / "document.toml"
    comparing = ("convention", "diff", "--home", home)
    same = appliance(*comparing, "mirrored", document)
    assert (same.code, same.stdout) == (0, b"")
    edit(home / "conventions" / "mirrored.toml", '"rsa-sha256"', '"rsa-sha384"')
    [line] = appliance(*comparing, "mirrored", document, "--json").lines
    assert line == {
        "key": "signature.algorithms",
        "first": ["rsa-sha384"],
        "second": ["rsa-sha256"],
    }
    [line] = appliance(*comparing, document, "mirrored", "--json").lines
    assert (line["first"], line["second"]) == (["rsa-sha256"], ["rsa-sha384"])
    refused = appliance(*comparing, "demo-client", document)
    assert (refused.code, "this is of a client, as we are" in refused.stderr) == (2, True)
    both = appliance(*comparing, document, document)
    assert (both.code, "both are exports" in both.stderr) == (2, True)


def test_the_two_roles_compared(appliance: CommandLine, home: Path) -> None:
    """Equal levels are no difference between the two roles, and every key shown is one that the documentation describes."""
    ended = appliance(
        *("convention", "diff", "--home", home, "demo-client", "demo-provider", "--json")
    )
    keys = {line["key"] for line in ended.lines}
    assert "role" in keys
    assert keys.isdisjoint({"levels", "pagms", "issuer", "audience", "recipient"})
    documented = (Path(__file__).parents[2] / "docs" / "conventions.md").read_text()
    for convention in ("demo-client", "demo-provider"):
        [shown] = appliance("convention", "show", "--home", home, convention, "--json").lines
        keys |= shown.keys()
    for key in keys - {"id"}:
        assert f"| `{key}" in documented, key

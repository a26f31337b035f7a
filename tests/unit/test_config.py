"""`appliance.toml`: what it says, what may be left out, and how a wrong one is refused: with file, key and what was expected."""

from pathlib import Path

import pytest

from appliance.config import load_config, read_listen
from appliance.errors import ConfigurationError
from appliance.tokens import key_settings, token_settings
from appliance.toml import read_duration, read_size
from hsm.pin import PinCredential, PinFile, PinVariable

NOT_NOTHING = "a duration of more than nothing"
TOKEN = '[[token]]\nname = "t"\nmodule = "lib/module.so"\nlabel = "l"\n'  # noqa: S105 - a table of the file
PIN_FILE = 'pin_file = "secrets/pin"\n'
KEY = '[[key]]\nname = "k"\ntoken = "t"\nlabel = "l"\nid = "01"\ncertificates = "pki/k.pem"\n'
CALLER = f'[[caller]]\nname = "c"\nkey_sha256 = "{"0a" * 32}"\n'


def write_home(home: Path, text: str) -> Path:
    """Write a home that holds nothing but its file."""
    (home / "appliance.toml").write_text(text)
    return home


def refusal(home: Path, text: str) -> ConfigurationError:
    """Read a home that cannot work."""
    with pytest.raises(ConfigurationError) as raised:
        load_config(write_home(home, text))
    assert raised.value.file == str(home.resolve() / "appliance.toml")
    assert raised.value.detail.startswith(raised.value.file)
    return raised.value


def test_everything_has_a_default(tmp_path: Path) -> None:
    """An empty file is a home with the limits that the contract states."""
    config = load_config(write_home(tmp_path, ""))
    assert (config.api.listen, config.api.workers) == ("127.0.0.1:8440", 1)
    assert (config.api.body_limit, config.api.header_limit) == (10 * 1024**2, 32 * 1024)
    assert (config.api.head_timeout, config.api.keep_alive) == (10.0, 75.0)
    assert (config.api.connections, config.api.connections_per_peer) == (1000, 100)
    assert (config.queue.jobs, config.queue.age) == (4096, 2.0)
    assert (config.tokens, config.keys, config.callers, config.log_level) == ((), (), (), "info")


def test_paths_are_relative_to_the_home(tmp_path: Path) -> None:
    """What the file names lies in the home, unless it is absolute."""
    config = load_config(write_home(tmp_path, TOKEN + PIN_FILE + KEY))
    root = tmp_path.resolve()
    assert config.tokens[0].module == root / "lib/module.so"
    assert config.tokens[0].pin_file == root / "secrets/pin"
    assert config.keys[0].certificates == root / "pki/k.pem"
    absolute = TOKEN.replace("lib/module.so", "/usr/lib/module.so") + PIN_FILE
    assert load_config(write_home(tmp_path, absolute)).tokens[0].module == Path(
        "/usr/lib/module.so"
    )


@pytest.mark.parametrize(
    ("line", "source"),
    [
        ('pin_env = "PIN"', PinVariable("PIN")),
        ('pin_credential = "pin"', PinCredential("pin")),
        ('pin_file = "/secrets/pin"', PinFile("/secrets/pin")),
    ],
)
def test_a_pin_has_one_source(tmp_path: Path, line: str, source: object) -> None:
    """The lane is told where the PIN is, whichever kind of source it has."""
    config = load_config(write_home(tmp_path, f"{TOKEN}{line}\n"))
    settings = token_settings(config, config.tokens[0])
    assert settings.pin == source
    assert settings.state_directory == str(tmp_path.resolve() / "run")


def test_a_key_is_described_for_its_lane(tmp_path: Path) -> None:
    """KeyRef, label and CKA_ID go to the lane with the certified public key."""
    config = load_config(write_home(tmp_path, TOKEN + PIN_FILE + KEY))
    [key] = config.keys
    settings = key_settings(config, key, b"spki")
    assert (settings.name, settings.label, settings.id) == ("k", "l", "01")
    assert settings.public_key == b"spki"
    assert not settings.may_leave
    demo = load_config(write_home(tmp_path, "demo = true\n" + TOKEN + PIN_FILE + KEY))
    assert key_settings(demo, demo.keys[0], None).may_leave


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("[api]\nlisten = 8440", "api.listen", "a text, got a whole number"),
        ("[api]\nlisten = 'here'", "api.listen", "HOST:PORT, got `here`"),
        ("[api]\nlisten = '127.0.0.1:99999'", "api.listen", "HOST:PORT"),
        ("[api]\nlisten = '0.0.0.0:8440'", "api.listen", "a loopback address"),
        ("[api]\nworkers = 0", "api.workers", ">= 1"),
        ("[api]\nworkers = '2'", "api.workers", "a whole number, got a text"),
        ("[api]\nworkers = true", "api.workers", "a whole number, got true or false"),
        ("[api]\nconnections = 0", "api.connections", ">= 1"),
        ("[api]\nbatch_limit = -1", "api.batch_limit", ">= 1"),
        ("[api]\nheader_fields = 0", "api.header_fields", ">= 1"),
        ("[api]\nbody_limit = 10485760", "api.body_limit", "a text in quotes, got a whole number"),
        ("[api]\nbody_limit = '10MB'", "api.body_limit", "a size such as"),
        ("[api]\nbody_limit = '10s'", "api.body_limit", "a size such as"),
        ("[api]\nkeep_alive = '75'", "api.keep_alive", "a duration such as"),
        ("[api]\nkeep_alive = '1MiB'", "api.keep_alive", "a duration such as"),
        ("[api]\nkeep_alive = '-1s'", "api.keep_alive", "a duration such as"),
        ("[api]\nkeepalive = '75s'", "api", "no key `keepalive` here"),
        ("[api]\nhead_timeout = '0ms'", "api.head_timeout", NOT_NOTHING),
        ("[queue]\nage = '0s'", "queue.age", NOT_NOTHING),
        ("[trace]\ncheckpoint_overdue = '0d'", "trace.checkpoint_overdue", NOT_NOTHING),
        (TOKEN + "call_timeout = '0s'", "token[0].call_timeout", NOT_NOTHING),
        (TOKEN + "open_timeout = '0s'", "token[0].open_timeout", NOT_NOTHING),
        ("[queue]\njobs = 0", "queue.jobs", ">= 1"),
        ("[queue]\nbatch_jobs = 0", "queue.batch_jobs", ">= 1"),
        ("[trace]\npending_entries = 0", "trace.pending_entries", ">= 1"),
        (
            "log_level = 'loud'",
            "log_level",
            "one of `debug`, `error`, `info`, `warning`, got `loud`",
        ),
        ("secrets = 1", "", "no key `secrets` here"),
        ("[api", "", "valid TOML in UTF-8"),
        (TOKEN, "token[0]", "exactly one of pin_file, pin_env, pin_credential"),
        (TOKEN + PIN_FILE + 'pin_env = "P"\n', "token[0]", "exactly one of"),
        (TOKEN + PIN_FILE + "lanes = 0", "token[0].lanes", ">= 1"),
        (TOKEN + PIN_FILE + TOKEN + PIN_FILE, "token[1].name", "`t` stands twice"),
        (TOKEN.replace('"t"', f'"{"t" * 100}"') + PIN_FILE, "token[0].name", "leaves room"),
        (TOKEN.replace('label = "l"\n', "") + PIN_FILE, "token[0]", "a key `label`"),
        (KEY, "key[0].token", "names of [[token]] tables, each once; got `t`"),
        (TOKEN + PIN_FILE + KEY.replace("01", "0x1"), "key[0].id", "hexadecimal CKA_ID"),
        (TOKEN + PIN_FILE + KEY + KEY, "key[1].name", "`k` stands twice"),
        (CALLER + CALLER, "caller[1].name", "`c` stands twice"),
        (CALLER.replace("0a", "0A"), "caller[0].key_sha256", "64 lower-case hexadecimal digits"),
        (CALLER.replace("0a", "0"), "caller[0].key_sha256", "64 lower-case hexadecimal digits"),
        (CALLER + "conventions = 'x'", "caller[0].conventions", "a list, got a text"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, text: str, key: str, expected: str) -> None:
    """File, dotted key, and what would have been right."""
    refused = refusal(tmp_path, text)
    assert refused.key == key
    assert expected in refused.expected


def test_what_is_no_home_is_refused(tmp_path: Path) -> None:
    """A directory without the file, or none at all, says how to make a home."""
    for root in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ConfigurationError, match="appliance init DIR"):
            load_config(root)


def test_octets_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """A file that is not UTF-8 is refused as a whole."""
    (tmp_path / "appliance.toml").write_bytes(b'log_level = "\xff"')
    with pytest.raises(ConfigurationError, match="valid TOML in UTF-8"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("127.0.0.1:8440", ("127.0.0.1", 8440)),
        ("[::1]:0", ("::1", 0)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_addresses_are_read(text: str, read: tuple[str, int]) -> None:
    """HOST:PORT, IPv6 in brackets."""
    assert read_listen("--api", text) == read


@pytest.mark.parametrize(
    "text", ["8440", ":8440", "127.0.0.1:", "127.0.0.1:-1", "[::]:1", "a:b", "²:²"]
)
def test_other_addresses_are_refused(text: str) -> None:
    """Anything but a loopback HOST:PORT names the option it came from."""
    with pytest.raises(ConfigurationError, match=r"--api: api\.listen"):
        read_listen("--api", text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("90s", 90), ("5m", 300), ("2h", 7200), ("6d", 518400)]
)
def test_durations(text: str, seconds: float) -> None:
    """Every duration reads like `90s`."""
    assert read_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "octets"), [("512B", 512), ("32KiB", 32768), ("10MiB", 10485760), ("1GiB", 1 << 30)]
)
def test_sizes(text: str, octets: int) -> None:
    """Every size reads like `10MiB`."""
    assert read_size(text) == octets


@pytest.mark.parametrize("text", ["", "1", "s", "1.5s", "1 s", " 1s", "1S", "1KB", "٣s", "1s\n"])
def test_other_quantities_are_refused(text: str) -> None:
    """No unit, a space, a fraction, another alphabet: nothing is guessed."""
    for read in (read_duration, read_size):
        with pytest.raises(ValueError, match="such as"):
            read(text)

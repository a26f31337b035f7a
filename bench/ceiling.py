"""What the token can do: raw PKCS#11 signatures per second through python-pkcs11, n processes, no appliance involved.

Every rate of the appliance is stated as a ratio to this, measured in the same run on the same machine.
"""

import argparse
import json
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import msgspec

from appliance.config import key_settings, load_config, token_settings
from appliance.errors import ConfigurationError
from hsm.ceiling import CeilingCount, CeilingRequest
from hsm.child import FAILED
from hsm.errors import Finding, HsmError
from hsm.inventory import read_inventory
from hsm.pin import PinFile
from hsm.report import LaneFailed
from hsm.settings import KeySettings, TokenSettings

MECHANISMS: Final = ("rsa-2048", "rsa-3072", "rsa-4096", "p-256", "p-384")

_PATIENCE: Final = 60.0

_Process = subprocess.Popen[bytes]
Place = tuple[TokenSettings, KeySettings]
"""A token and a key in it."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """One measurement.

    Attributes:
        rate: signatures per second of all lanes together.
        cpu_seconds: CPU of the measuring processes per signature.
    """

    key: str
    mechanism: str
    lanes: int
    seconds: float
    rate: float
    cpu_seconds: float


def measure_ceiling(
    token: TokenSettings, key: KeySettings, lanes: int = 2, seconds: float = 2.0
) -> Ceiling:
    """Let `lanes` processes sign with the key for `seconds`, starting together.

    Raises:
        HsmError: the token or the key cannot be used.
    """
    request = msgspec.json.encode(CeilingRequest(token, key, seconds)) + b"\n"
    with ExitStack() as stack:
        # One after the other: several processes opening at once break SoftHSM's file store.
        processes = [stack.enter_context(_start(request, token)) for _ in range(lanes)]
        for process in processes:
            _write(process, b"go\n")
        counts = [
            msgspec.json.decode(_read(process, token, seconds), type=CeilingCount)
            for process in processes
        ]
    rate = sum(count.signatures / count.seconds for count in counts)
    cpu = sum(count.cpu_seconds for count in counts) / sum(count.signatures for count in counts)
    return Ceiling(key.name, counts[0].mechanism, lanes, seconds, rate, cpu)


def measure_home_ceiling(home: Path, key: str, lanes: int = 2, seconds: float = 2.0) -> Ceiling:
    """Measure with a KeyRef of a home, through that home's PIN guard.

    Raises:
        ConfigurationError: no such home or key.
        HsmError: the token or the key cannot be used.
    """
    [(token, settings)] = _keys_of_home(home, key)
    return measure_ceiling(token, settings, lanes, seconds)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `python -m bench ceiling`."""
    add_place_arguments(parser)
    parser.add_argument("--lanes", type=read_lanes, default=(1, 2), help="such as 1,2 (default)")
    parser.add_argument("--seconds", type=float, default=2.0, help="per measurement (default 2)")
    parser.add_argument("--json", action="store_true", help="print a JSON list of results")


def add_place_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where token and keys come from."""
    parser.add_argument("--home", type=Path, help="take token and keys from a home …")
    parser.add_argument("--key", help="… only this [[key]]")
    parser.add_argument("--module", help="or name them: path of the PKCS#11 library")
    parser.add_argument("--token-label")
    parser.add_argument("--pin-file", type=Path, help="readable by its owner only")
    parser.add_argument("--key-label", help="only keys with this label")
    parser.add_argument("--mechanism", choices=MECHANISMS, help="only keys of this kind")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; 1 when no key fits what was asked."""
    with choose_places(arguments) as places:
        results = [
            measure_ceiling(token, key, lanes, arguments.seconds)
            for token, key in places
            for lanes in arguments.lanes
        ]
    if arguments.json:
        print(json.dumps([msgspec.to_builtins(result) for result in results], indent=2))
    else:
        _print_table(results)
    return 0 if results else 1


@contextmanager
def choose_places(arguments: argparse.Namespace) -> Iterator[list[Place]]:
    """Yield the tokens and keys that `add_place_arguments` name.

    Raises:
        ConfigurationError: neither a home nor a whole token is named.
    """
    with ExitStack() as stack:
        yield _choose(arguments, stack)


def _choose(arguments: argparse.Namespace, stack: ExitStack) -> list[Place]:
    if arguments.home is not None:
        places = _keys_of_home(arguments.home, arguments.key)
    elif None in {arguments.module, arguments.token_label, arguments.pin_file}:
        raise ConfigurationError("ceiling", "", "--home, or --module, --token-label and --pin-file")
    else:
        state = stack.enter_context(tempfile.TemporaryDirectory())
        pin = PinFile(str(arguments.pin_file))
        label = arguments.token_label
        token = TokenSettings(label, arguments.module, label, pin, state)
        places = _keys_of_token(token, arguments.key_label)
    if arguments.mechanism is None:
        return places
    return [place for place in places if _read_mechanism(*place) == arguments.mechanism]


def _keys_of_home(home: Path, name: str | None) -> list[Place]:
    config = load_config(home)
    tokens = {token.name: token_settings(config, token) for token in config.tokens}
    keys = [key for key in config.keys if name in {None, key.name}]
    if not keys:
        raise ConfigurationError(str(config.home.config_file), "key", f"a [[key]] named `{name}`")
    return [(tokens[name], key_settings(config, key, None)) for key in keys for name in key.tokens]


def _keys_of_token(token: TokenSettings, label: str | None) -> list[Place]:
    return [
        (token, KeySettings(stored.label, stored.label, stored.id))
        for stored in read_inventory(token).stored
        if stored.bits and label in {None, stored.label}
    ]


def _read_mechanism(token: TokenSettings, key: KeySettings) -> str:
    stored = {stored.id: stored for stored in read_inventory(token).stored}[key.id]
    return f"{'rsa' if stored.kind == 'rsa' else 'p'}-{stored.bits}"


def read_lanes(text: str) -> tuple[int, ...]:
    """Read numbers of lanes, such as `1,2`."""
    lanes = tuple(int(part) for part in text.split(","))
    if min(lanes) < 1:
        raise argparse.ArgumentTypeError("numbers of lanes, such as 1,2")
    return lanes


@contextmanager
def _start(request: bytes, token: TokenSettings) -> Iterator[_Process]:
    """Start one measuring process and wait until it has proven its key."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hsm.ceiling"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        try:
            _write(process, request)
            _read(process, token, 0.0)
            yield process
        finally:
            process.kill()


def _write(process: _Process, line: bytes) -> None:
    stdin = _pipe(process.stdin)
    stdin.write(line)
    stdin.flush()


def _read(process: _Process, token: TokenSettings, seconds: float) -> bytes:
    stdout = _pipe(process.stdout)
    readable, _, _ = select.select([stdout], [], [], seconds + _PATIENCE)
    line = stdout.readline() if readable else b""
    if line and b"failed" not in line:
        return line
    if process.wait(_PATIENCE) == FAILED:
        failed = msgspec.json.decode(line, type=LaneFailed)
        raise HsmError(failed.target, failed.finding)
    cause, next_step = "the measuring process ended unasked", "read its messages above"
    raise HsmError(token.target, Finding("LANE_DIED", "device", cause, next_step))


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise RuntimeError("the process was started without pipes")
    return pipe


def _print_table(results: Sequence[Ceiling]) -> None:
    print(f"{'key':<20} {'mechanism':<10} {'lanes':>5} {'signatures/s':>13}")
    for result in results:
        print(f"{result.key:<20} {result.mechanism:<10} {result.lanes:>5} {result.rate:>13,.0f}")

"""What the token can do: raw PKCS#11 signatures per second, no appliance involved.

Twice: by n processes through python-pkcs11, to which every rate of the appliance is stated as a ratio, measured in the same run on the
same machine; and by n threads of one native process with the module's locks enabled, which is what processes have to reach.
"""

import argparse
import json
import os
import secrets
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Literal

import msgspec

from appliance.config import load_config
from appliance.errors import ConfigurationError
from appliance.tokens import key_settings, token_settings
from bench.arguments import positive, whole
from hsm.ceiling import CeilingCount, CeilingRequest, Scheme
from hsm.child import FAILED
from hsm.errors import Finding, HsmError
from hsm.inventory import read_inventory
from hsm.native_ceiling import NativeRequest
from hsm.pin import PinFile
from hsm.provision.keygen import KeyPlan, KeyProfile, generate_keys
from hsm.provision.softhsm import create_softhsm_token
from hsm.report import LaneFailed
from hsm.settings import KeySettings, Mechanism, TokenSettings

MECHANISMS: Final[tuple[KeyProfile, ...]] = ("rsa-2048", "rsa-3072", "rsa-4096", "p-256", "p-384")

NATIVE_LOOP: Final = Path(__file__).parents[1] / "target" / "release" / "pkcs11-ceiling"
"""Built by `make shim`."""

_OF_RSA: Final[tuple[Mechanism, ...]] = ("", "rsa-pss")
_NOT_OFFERED: Final = frozenset(
    {"CKR_MECHANISM_INVALID", "CKR_MECHANISM_PARAM_INVALID", "CKR_KEY_FUNCTION_NOT_PERMITTED"}
)
_PATIENCE: Final = 60.0
_MOST_LANES: Final = 4
_LABEL: Final = "ceiling"
_PIN_OCTETS: Final = 8

_Process = subprocess.Popen[bytes]
Loop = Literal["python", "native"]
Place = tuple[TokenSettings, KeySettings]
"""A token and a key in it."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """One measurement.

    Attributes:
        scheme: `pkcs1`, `pss`, `hash-in-token` or `ecdsa`.
        loop: `python` (lanes are processes) or `native` (lanes are threads).
        rate: signatures per second of all lanes together.
        cpu_seconds: CPU of the measuring processes per signature.
    """

    key: str
    mechanism: str
    scheme: Scheme
    loop: Loop
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
    request = CeilingRequest(token, key, seconds)
    counts = _measure([request] * lanes, "hsm.ceiling")
    return _sum_up(request, "python", lanes, counts)


def measure_native_ceiling(
    token: TokenSettings, key: KeySettings, threads: int, seconds: float, scheme: Scheme
) -> Ceiling:
    """Let `threads` threads of one native process sign with the key for `seconds`.

    Raises:
        HsmError: the token or the key cannot be used, or the loop is not built.
    """
    request = NativeRequest(token, key, seconds, threads, scheme, str(NATIVE_LOOP))
    return _sum_up(request, "native", threads, _measure([request], "hsm.native_ceiling"))


def measure_home_ceiling(home: Path, key: str, lanes: int = 2, seconds: float = 2.0) -> Ceiling:
    """Measure with a KeyRef of a home, through that home's PIN guard.

    Raises:
        ConfigurationError: no such home or key.
        HsmError: the token or the key cannot be used.
    """
    [(token, settings)] = keys_of_home(home, key)
    return measure_ceiling(token, settings, lanes, seconds)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `python -m bench ceiling`."""
    add_place_arguments(parser)
    most = min(os.cpu_count() or 1, _MOST_LANES)
    parser.add_argument(
        "--lanes",
        type=read_lanes,
        default=tuple(range(1, most + 1)),
        help=f"such as 1,2 (default 1 … {most}, one per core)",
    )
    parser.add_argument("--seconds", type=positive, default=2.0, help="per measurement (default 2)")
    parser.add_argument("--json", action="store_true", help="print a JSON list of results")


def add_place_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where token and keys come from."""
    parser.add_argument("--home", type=Path, help="take token and keys from a home …")
    parser.add_argument("--key", help="… only this [[key]]")
    parser.add_argument(
        "--module",
        help="or name them: path of the PKCS#11 library; without any of these a SoftHSM token is made",
    )
    parser.add_argument("--token-label")
    parser.add_argument("--pin-file", type=Path, help="readable by its owner only")
    parser.add_argument("--key-label", help="only keys with this label")
    parser.add_argument("--mechanism", choices=MECHANISMS, help="only keys of this kind")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; 1 when no key fits what was asked."""
    if not NATIVE_LOOP.exists():
        print("the native loop is not built, and left out: run `make shim`", file=sys.stderr)
    with choose_places(arguments) as places:
        results = [
            result
            for place in places
            for result in _measure_place(place, arguments.lanes, arguments.seconds)
        ]
    if arguments.json:
        print(json.dumps([msgspec.to_builtins(result) for result in results], indent=2))
    else:
        _print_table(results)
    return 0 if results else 1


def _measure_place(place: Place, lanes: Sequence[int], seconds: float) -> Iterator[Ceiling]:
    """Measure a key with its own mechanism and, if it is RSA, with PKCS #1 v1.5 and PSS; the loops take turns."""
    token, key = place
    is_rsa = read_mechanism(token, key).startswith("rsa")
    for mechanism in dict.fromkeys((key.mechanism, *_OF_RSA) if is_rsa else (key.mechanism,)):
        tried = msgspec.structs.replace(key, mechanism=mechanism)
        for count in lanes:
            try:
                ceiling = measure_ceiling(token, tried, count, seconds)
            except HsmError as error:
                if mechanism != key.mechanism and error.finding.code in _NOT_OFFERED:
                    break
                raise
            yield ceiling
            if NATIVE_LOOP.exists() and ceiling.scheme != "hash-in-token":
                yield measure_native_ceiling(token, tried, count, seconds, ceiling.scheme)


@contextmanager
def choose_places(arguments: argparse.Namespace) -> Iterator[list[Place]]:
    """Yield the tokens and keys that `add_place_arguments` name; a throw-away token with a key of every kind when they name none.

    Raises:
        ConfigurationError: a token is named in part.
    """
    with ExitStack() as stack:
        yield _choose(arguments, stack)


def _choose(arguments: argparse.Namespace, stack: ExitStack) -> list[Place]:
    if arguments.home is not None:
        places = keys_of_home(arguments.home, arguments.key)
    elif {arguments.module, arguments.token_label, arguments.pin_file} == {None}:
        places = _make_token(Path(stack.enter_context(tempfile.TemporaryDirectory())))
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
    return [place for place in places if read_mechanism(*place) == arguments.mechanism]


def _make_token(directory: Path) -> list[Place]:
    """Make a SoftHSM token with a key of every kind in a directory that will be removed."""
    pin, so_pin = secrets.token_hex(_PIN_OCTETS), secrets.token_hex(_PIN_OCTETS)
    made = create_softhsm_token(directory / "token", _LABEL, pin, so_pin)
    pin_file = directory / "pin"
    pin_file.touch(mode=0o600)
    pin_file.write_text(pin)
    token = made.settings(_LABEL, PinFile(str(pin_file)), directory)
    plans = [KeyPlan(kind, f"{at + 1:02x}", kind) for at, kind in enumerate(MECHANISMS)]
    return [
        (token, KeySettings(key.plan.label, key.plan.label, key.plan.id))
        for key in generate_keys(token, plans)
    ]


def keys_of_home(home: Path, name: str | None) -> list[Place]:
    """List where a home's keys are, or the one of that name.

    Raises:
        ConfigurationError: no such home or key.
    """
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


def read_mechanism(token: TokenSettings, key: KeySettings) -> str:
    """Ask the token what kind of key it is: `rsa-2048`, `p-256`.

    Raises:
        HsmError: the token cannot be used.
    """
    stored = {stored.id: stored for stored in read_inventory(token).stored}[key.id]
    return f"{'rsa' if stored.kind == 'rsa' else 'p'}-{stored.bits}"


def read_lanes(text: str) -> tuple[int, ...]:
    """Read numbers of lanes, such as `1,2`."""
    return tuple(whole(part) for part in text.split(","))


def _measure(
    requests: Sequence[CeilingRequest | NativeRequest], program: str
) -> list[CeilingCount]:
    """Run one process of a measuring program for each request; all start to sign together."""
    with ExitStack() as stack:
        # One after the other: several processes opening at once break SoftHSM's file store.
        processes = [stack.enter_context(_start(request, program)) for request in requests]
        for process in processes:
            _write(process, b"go\n")
        return [
            msgspec.json.decode(_read(process, request.token, request.seconds), type=CeilingCount)
            for process, request in zip(processes, requests, strict=True)
        ]


def _sum_up(
    request: CeilingRequest | NativeRequest, loop: Loop, lanes: int, counts: Sequence[CeilingCount]
) -> Ceiling:
    rate = sum(count.signatures / count.seconds for count in counts)
    cpu = sum(count.cpu_seconds for count in counts) / sum(count.signatures for count in counts)
    first = counts[0]
    return Ceiling(
        request.key.name, first.mechanism, first.scheme, loop, lanes, request.seconds, rate, cpu
    )


@contextmanager
def _start(request: CeilingRequest | NativeRequest, program: str) -> Iterator[_Process]:
    """Start one measuring process and wait until it has its key."""
    process = subprocess.Popen(
        [sys.executable, "-m", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        try:
            _write(process, msgspec.json.encode(request) + b"\n")
            _read(process, request.token, 0.0)
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
    """Print a Markdown table: a row for each key, scheme and loop, a column for each number of lanes."""
    lanes = sorted({result.lanes for result in results})
    heads = [f"{count} lane{'s' if count > 1 else ''}" for count in lanes]
    print(" | ".join(["| signatures/s", "mechanism", "loop", *heads, "CPU each |"]))
    print("| --- | --- | --- |" + " ---: |" * (len(lanes) + 1))
    rows: dict[tuple[str, ...], dict[int, Ceiling]] = {}
    for result in results:
        row = (result.key, f"{result.mechanism} {result.scheme}", str(result.loop))
        rows.setdefault(row, {})[result.lanes] = result
    for names, found in rows.items():
        rates = [f"{found[count].rate:,.0f}" if count in found else "" for count in lanes]
        cpu = f"{min(each.cpu_seconds for each in found.values()) * 1e6:,.0f} µs"
        print(f"| {' | '.join([*names, *rates, cpu])} |")

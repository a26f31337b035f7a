"""`appliance hsm list|selftest|resume` (and, in `keys`, what changes something): what the tokens hold, whether they sign, and how they get another chance after a wrong PIN.

The PKCS#11 module is loaded in child processes only, which log in through the PIN guard: a refused PIN is not tried again.
"""

import argparse
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509

from appliance.cli import keys
from appliance.cli.checks.certificates import name_of, public_key_of
from appliance.cli.output import Colour, Exit, Output, Progress, printable, write_table
from appliance.config import Config, KeyTable, TokenTable, load_config
from appliance.errors import ConfigurationError
from appliance.tokens import key_settings, look_at, token_settings
from appliance.trust.certificates import load_certificates
from appliance.usage import KeyUsage, read_usage
from hsm.errors import HsmError
from hsm.inventory import KeyCheck, StoredKey, read_inventory
from hsm.memory import forget_refusals
from hsm.settings import KeySettings
from hsm.user import own_directory

_PIECE: Final = 500  # signatures a child makes before it reports, so that a slow token stays within the child's deadline
_MOST: Final = 1_000_000


def add_arguments(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register `hsm` and its subcommands."""
    hsm = commands.add_parser(
        "hsm",
        help="look at the tokens and test them",
        description="Tokens and keys. Example: appliance hsm list --home demo",
    )
    actions = hsm.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list",
        help="tokens and the private keys in them",
        description="List tokens and private keys. Example: appliance hsm list --home demo",
    )
    listing.set_defaults(run=run_list)
    selftest = actions.add_parser(
        "selftest",
        help="sign and verify with every key on every lane",
        description=(
            "Sign with every key on every lane, verify each signature outside the token, and say how fast that was. "
            "Example: appliance hsm selftest --home demo --count 1000"
        ),
    )
    selftest.add_argument(
        "--count", type=_read_count, default=100, metavar="N", help="signatures per key and lane"
    )
    selftest.set_defaults(run=run_selftest)
    resume = actions.add_parser(
        "resume",
        help="allow another login after a refused PIN",
        description=(
            "Forget that a token has refused its PIN, once the PIN is mended: a token locks itself after few wrong ones. "
            "Example: appliance hsm resume --home demo --token demo"
        ),
    )
    resume.add_argument("--token", required=True, metavar="NAME", help="the name of the [[token]]")
    resume.set_defaults(run=run_resume)
    keys.add_arguments(actions)
    for action in (listing, selftest, resume):
        action.add_argument("--home", type=Path, required=True, metavar="DIR", help="the home")
    for action in (listing, selftest):
        action.add_argument("--json", action="store_true", help="one JSON document a line")


class ListedKey(msgspec.Struct, frozen=True):
    """A private key in a token; `name`, the certificate's facts and the count of signatures where a [[key]] names it."""

    label: str
    id: str
    type: str
    bits: int
    extractable: bool
    name: str | None
    subject: str | None
    not_after: str | None
    signatures: int | None


class ListedToken(msgspec.Struct, frozen=True):
    """A configured token with what is in it."""

    token: str
    module: str
    label: str
    serial: str
    manufacturer: str
    model: str
    keys: list[ListedKey]


def run_list(arguments: argparse.Namespace) -> int:
    """Print each token and its private keys; one that cannot be opened does not hide the others."""
    output = Output(as_json=arguments.json)
    config = load_config(arguments.home)
    ended = Exit.DONE
    for token in config.tokens:
        try:
            listed = _look(config, token)
        except HsmError as exc:
            output.say(f"error: {printable(str(exc))}")
            ended = Exit.UNAVAILABLE
        else:
            output.show(listed, _write_token(listed))
    if not config.tokens:
        output.say(f"{config.home.config_file} names no [[token]] yet")
    return ended


class TestedKey(msgspec.Struct, frozen=True):
    """What one lane's worth of signatures with one key came to; `error` is empty when all of them verified."""

    token: str
    lane: int
    key: str
    signatures: int
    seconds: float
    per_second: float
    error: str = ""


def run_selftest(arguments: argparse.Namespace) -> int:
    """Sign and verify, all lanes of a token at the same time, and print one line per key and lane."""
    output = Output(as_json=arguments.json)
    config = load_config(arguments.home)
    ended = Exit.DONE
    for token in config.tokens:
        keys = [key for key in config.keys if token.name in key.tokens]
        steps = token.lanes * len(keys) * arguments.count
        with output.progress(f"signing on {token.name}", steps) as bar:
            tested = _test_lanes(config, token, keys, arguments.count, bar)
        for each in tested:
            output.show(each, _write_tested(output, each))
            if each.error:
                ended = Exit.REFUSED
    return ended


def run_resume(arguments: argparse.Namespace) -> int:
    """Forget the refusal of one token's PIN."""
    config = load_config(arguments.home)
    names = [token.name for token in config.tokens]
    if arguments.token not in names:
        raise ConfigurationError(
            "--token", "", f"the name of a [[token]]: {', '.join(names) or '(there is none yet)'}"
        )
    [token] = [token for token in config.tokens if token.name == arguments.token]
    settings = token_settings(config, token)
    directory = Path(settings.state_directory)
    if settings.user is not None:
        own_directory(directory, settings.user)
    had_refused = forget_refusals(directory, settings.module_id, arguments.token)
    said = (
        "its PIN may be tried again" if had_refused else "it had not refused its PIN; nothing to do"
    )
    Output().show(None, f"token {arguments.token}: {said}")
    return Exit.DONE


def _look(config: Config, token: TokenTable) -> ListedToken:
    inventory = look_at(config, token)
    named = {(key.label, key.id.lower()): key for key in config.keys if token.name in key.tokens}
    found = inventory.token
    usage = read_usage(config.home.key_usage)
    return ListedToken(
        token.name,
        str(token.module),
        found.label,
        found.serial,
        found.manufacturer,
        found.model,
        [_list_key(token, key, named.get((key.label, key.id)), usage) for key in inventory.stored],
    )


def _list_key(
    token: TokenTable, stored: StoredKey, key: KeyTable | None, usage: Mapping[str, KeyUsage]
) -> ListedKey:
    used = None if key is None else usage.get(f"{token.name}/{key.name}", KeyUsage())
    signer = None if key is None else _signer(key)
    return ListedKey(
        stored.label,
        stored.id,
        stored.kind,
        stored.bits,
        stored.is_extractable,
        None if key is None else key.name,
        None if signer is None else name_of(signer),
        None if signer is None else f"{signer.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        None if used is None else used.signatures,
    )


def _signer(key: KeyTable) -> x509.Certificate | None:
    """Read the certificate that speaks for a key; why it cannot be read is the doctor's business."""
    try:
        return load_certificates(key.certificates)[0]
    except ConfigurationError:
        return None


def _write_token(token: ListedToken) -> str:
    head = f"token {token.token}: label `{token.label}`, serial {token.serial}, {token.manufacturer} {token.model}, {token.module}"
    columns = (
        *("label", "id", "type", "bits", "extractable"),
        *("[[key]]", "certificate", "not after", "signatures"),
    )
    rows = [
        (
            *(key.label, key.id, key.type, str(key.bits or "?")),
            "YES" if key.extractable else "no",
            *(key.name or "-", key.subject or "-", key.not_after or "-"),
            "-" if key.signatures is None else f"{key.signatures:,}",
        )
        for key in token.keys
    ]
    return f"{printable(head)}\n{write_table(columns, rows) if rows else 'no private key'}"


def _test_lanes(
    config: Config, token: TokenTable, keys: Sequence[KeyTable], count: int, bar: Progress
) -> list[TestedKey]:
    """Keep as many children signing as the token has lanes.

    Raises:
        HsmError: the token cannot be opened.
    """
    settings = token_settings(config, token)
    pieces = [min(_PIECE, count - done) for done in range(0, count, _PIECE)]
    found: dict[tuple[int, str], list[KeyCheck]] = {}
    with ThreadPoolExecutor(token.lanes) as pool:
        futures = {
            pool.submit(read_inventory, settings, [_with_certificate(config, key)], piece): (
                lane,
                key,
                piece,
            )
            for piece in pieces
            for key in keys
            for lane in range(token.lanes)
        }
        try:
            for future in as_completed(futures):
                lane, key, piece = futures[future]
                found.setdefault((lane, key.name), []).extend(future.result().checks)
                bar.advance(piece)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [_sum_up(token.name, lane, key, checks) for (lane, key), checks in sorted(found.items())]


def _with_certificate(config: Config, key: KeyTable) -> KeySettings:
    signer = _signer(key)
    return key_settings(config, key, None if signer is None else public_key_of(signer))


def _sum_up(token: str, lane: int, key: str, checks: Sequence[KeyCheck]) -> TestedKey:
    signatures = sum(check.signatures for check in checks)
    seconds = sum(check.seconds for check in checks)
    errors = [
        f"{check.finding.code}: {check.finding.cause}; {check.finding.next_step}"
        for check in checks
        if check.finding is not None
    ]
    rate = signatures / seconds if seconds else 0.0
    return TestedKey(
        token, lane, key, signatures, round(seconds, 6), round(rate, 1), "".join(errors[:1])
    )


def _write_tested(output: Output, tested: TestedKey) -> str:
    where = f"token {tested.token} lane {tested.lane} key {tested.key}"
    if tested.error:
        return f"{output.paint(Colour.BAD, 'failed')}  {where}: {printable(tested.error)}"
    label = output.paint(Colour.GOOD, "ok    ")
    return f"{label}  {where}: {tested.signatures} signed and verified, {tested.per_second:,.0f}/s"


def _read_count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= _MOST:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {_MOST}, got `{text}`")
    return int(text)

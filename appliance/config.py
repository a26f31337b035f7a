"""The composed configuration of one home: `appliance.toml` read whole, every path made absolute.

Each package owns the meaning of its settings; this module only reads them together and refuses what cannot work. A home is
one directory: `appliance.toml`, `conventions/`, `secrets/`, `pki/`, `spool/` and `log/` (traces), `run/` (sockets, locks, state).
"""

import os
import pwd
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import msgspec

from appliance.conventions.model import Environment
from appliance.errors import ConfigurationError
from appliance.gateway.checks import GatewayChecks
from appliance.gateway.tables import GatewayTables, InboundTable, OutboundTable, PartnerTable
from appliance.home import Home
from appliance.log import Level
from appliance.toml import Duration, Size, Timeout, read_toml
from appliance.trace.names import CLASS_NAME, ORIGIN
from appliance.trace.policy import STANDARD
from appliance.users import default_lane, default_worker
from hsm.memory import directory_of
from hsm.settings import Mechanism
from hsm.user import User

LEAST_SHARED: Final = 1024**2
_YEAR: Final = 366 * 86400.0  # entries are kept at least so long, leap year or not
SOCKET_PATH_LIMIT: Final = 107  # sockaddr_un.sun_path, less its NUL (unix(7))

Count = Annotated[int, msgspec.Meta(ge=1)]
"""How many of something there may be; with none of it nothing would work."""


class ApiTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[api]`: the HTTP listener and its limits (CONTRACT 4)."""

    listen: str = "127.0.0.1:8440"
    user: str | None = None
    workers: Count = 1
    body_limit: Size = Size(10 * 1024**2)
    header_limit: Size = Size(32 * 1024)
    header_fields: Count = 100
    head_timeout: Timeout = Timeout(10)
    keep_alive: Duration = Duration(75)
    connections: Count = 1000
    connections_per_peer: Count = 100
    batch_limit: Count = 1000
    drain_timeout: Duration = Duration(10)


class QueueTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[queue]`: the signing queue of each worker."""

    jobs: Count = 4096
    age: Timeout = Timeout(2)
    batch_jobs: Count = 64
    batch_age: Duration = Duration(0.001)


class TraceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[trace]`: the logs of each worker, their checkpoints, and how long what is kept."""

    pending_entries: Count = 8192
    pending_age: Duration = Duration(2)
    segment: Size = Size(64 * 1024**2)
    checkpoint_every: Duration = Duration(1)
    checkpoint_entries: int = 8192
    checkpoint_overdue: Timeout = Timeout(10)
    unsigned_entries: int = 1_000_000
    refusals_burst: int = 50
    refusals_per_second: float = 5.0
    pseudonym_key_file: Path = Path("secrets/pseudonyms")
    readers: tuple[str, ...] = ("loopback", "unix")
    time_stamp_url: str = ""
    retention: dict[str, Duration] = msgspec.field(
        default_factory=lambda: {f"{n}y": Duration(n * _YEAR) for n in range(1, 7)}
    )


class AuditTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[audit]`: who vouches for the trace: the origin of this appliance's logs, and the key that signs their checkpoints."""

    origin: str
    token: str
    label: str
    id: str
    public_key: Path
    earlier_keys: tuple[Path, ...] = ()


class ReplayTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[replay]`: the replay guard of all workers."""

    capacity: Annotated[int, msgspec.Meta(ge=1, le=100_000_000)] = 1_000_000


class VectorCacheTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[vector_cache]`: vectors that conventions let be given out again."""

    vectors: Count = 100_000
    memory: Size = Size(256 * 1024**2)
    shared_memory: Size = Size(64 * 1024**2)


class SharedTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[shared]`: a Valkey or Redis server that several appliances share."""

    address: str
    seal_key_file: Path
    password_file: Path | None = None
    within: Timeout = Timeout(0.25)


class TokenTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[token]]`: a PKCS#11 token; exactly one of `pin_file`, `pin_env`, `pin_credential` names the PIN's source."""

    name: str
    module: Path
    label: str
    lanes: Count = 2
    pin_file: Path | None = None
    pin_env: str | None = None
    pin_credential: str | None = None
    environment: dict[str, str] = {}
    user: str | None = None
    call_timeout: Timeout = Timeout(0.5)
    open_timeout: Timeout = Timeout(10)


class KeyTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[key]]`: a KeyRef: where the private key is, and the certificate chain that speaks for it (PEM, leaf first).

    Attributes:
        token: the token that holds it, or the list of those that hold the same key under the same label and CKA_ID.
        mechanism: how an RSA key signs, where it is not PKCS #1 v1.5 over a digest made outside the token.
    """

    name: str
    token: str | tuple[str, ...]
    label: str
    id: str
    certificates: Path
    mechanism: Mechanism = ""

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens that hold it, in the order of the file."""
        return (self.token,) if isinstance(self.token, str) else self.token


class CallerTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[caller]]`: a bearer key, stored as the SHA-256 (hexadecimal) of its text."""

    name: str
    key_sha256: str
    conventions: tuple[str, ...] | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    api: ApiTable = ApiTable()
    queue: QueueTable = QueueTable()
    trace: TraceTable = TraceTable()
    replay: ReplayTable = ReplayTable()
    vector_cache: VectorCacheTable = VectorCacheTable()
    shared: SharedTable | None = None
    log_level: Level = "info"
    demo: bool = False
    environment: Environment | None = None
    token: tuple[TokenTable, ...] = ()
    key: tuple[KeyTable, ...] = ()
    caller: tuple[CallerTable, ...] = ()
    audit: AuditTable | None = None
    partner: tuple[PartnerTable, ...] = ()
    outbound: tuple[OutboundTable, ...] = ()
    inbound: tuple[InboundTable, ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """A home that has been read and can work, as far as files alone can tell."""

    home: Home
    api: ApiTable
    queue: QueueTable
    trace: TraceTable
    replay: ReplayTable
    vector_cache: VectorCacheTable
    shared: SharedTable | None
    log_level: Level
    environment: Environment | None
    tokens: tuple[TokenTable, ...]
    keys: tuple[KeyTable, ...]
    callers: tuple[CallerTable, ...]
    is_demo: bool = False
    audit: AuditTable | None = None
    gateway: GatewayTables = field(default_factory=GatewayTables)


def load_config(root: Path) -> Config:
    """Read the home's `appliance.toml`.

    Raises:
        ConfigurationError: no such home, or a key that cannot work.
    """
    home = Home(root.resolve())
    if not home.config_file.is_file():
        raise ConfigurationError(
            str(home.config_file), "", "a home; make one with `appliance init DIR --demo`"
        )
    read = read_toml(home.config_file, _File)
    tokens = tuple(_check_token(home, token, at) for at, token in enumerate(read.token))
    _check_names(home, "token", [token.name for token in tokens])
    _check_names(home, "key", [key.name for key in read.key])
    _check_names(home, "caller", [caller.name for caller in read.caller])
    keys = tuple(_check_key(home, key, at, tokens) for at, key in enumerate(read.key))
    read_listen(str(home.config_file), read.api.listen)
    if read.vector_cache.shared_memory < LEAST_SHARED:
        raise _refuse(home, "vector_cache.shared_memory", "at least 1MiB")
    _check_callers(home, read.caller)
    trace = _check_trace(home, read.trace)
    audit = None if read.audit is None else _check_audit(home, read.audit, tokens)
    config = Config(
        home=home,
        api=msgspec.structs.replace(read.api, user=read.api.user or default_worker(home.root)),
        queue=read.queue,
        trace=trace,
        replay=read.replay,
        vector_cache=read.vector_cache,
        shared=_check_shared(home, read.shared),
        log_level=read.log_level,
        environment=read.environment,
        tokens=tokens,
        keys=keys,
        callers=read.caller,
        is_demo=read.demo,
        audit=audit,
        gateway=GatewayChecks(home.config_file).check(read.partner, read.outbound, read.inbound),
    )
    _check_users(config)
    return config


def find_user(config: Config, key: str, name: str | None) -> User | None:
    """Look an account up by name, or by number, which need not have a name.

    Raises:
        ConfigurationError: there is none of this name.
    """
    if name is None:
        return None
    try:
        if name.isdecimal():
            return User(int(name), int(name))
        account = pwd.getpwnam(name)
    except KeyError:
        raise _refuse(config.home, key, f"the name or number of an account, got `{name}`") from None
    return User(account.pw_uid, account.pw_gid)


def _check_token(home: Home, token: TokenTable, at: int) -> TokenTable:
    sources = [token.pin_file, token.pin_env, token.pin_credential]
    if sum(source is not None for source in sources) != 1:
        raise _refuse(home, f"token[{at}]", "exactly one of pin_file, pin_env, pin_credential")
    pin_file = token.pin_file and home.root / token.pin_file
    user = token.user or default_lane(pin_file)
    module = home.root / token.module
    return msgspec.structs.replace(token, module=module, pin_file=pin_file, user=user)


def _check_key(home: Home, key: KeyTable, at: int, tokens: tuple[TokenTable, ...]) -> KeyTable:
    unknown = [name for name in key.tokens if name not in {token.name for token in tokens}]
    if unknown or not key.tokens or len(set(key.tokens)) < len(key.tokens):
        got = ", ".join(unknown or key.tokens) or "none"
        raise _refuse(
            home, f"key[{at}].token", f"names of [[token]] tables, each once; got `{got}`"
        )
    try:
        bytes.fromhex(key.id)
    except ValueError:
        raise _refuse(home, f"key[{at}].id", f"hexadecimal CKA_ID, got `{key.id}`") from None
    return msgspec.structs.replace(key, certificates=home.root / key.certificates)


def _check_trace(home: Home, trace: TraceTable) -> TraceTable:
    for name, period in trace.retention.items():
        if CLASS_NAME.fullmatch(name) is None:
            raise _refuse(home, "trace.retention", f"names of a-z, 0-9 and -, got `{name}`")
        if period <= 0:
            raise _refuse(home, f"trace.retention.{name}", "more than zero")
    if STANDARD not in trace.retention:
        raise _refuse(
            home, "trace.retention", f"a class `{STANDARD}`, for what no convention claims"
        )
    if trace.time_stamp_url and not trace.time_stamp_url.startswith(("http://", "https://")):
        raise _refuse(home, "trace.time_stamp_url", "an http or https URL, or nothing")
    for key in ("checkpoint_every", "checkpoint_entries", "unsigned_entries", "refusals_burst"):
        if getattr(trace, key) <= 0:
            raise _refuse(home, f"trace.{key}", "more than zero")
    return msgspec.structs.replace(trace, pseudonym_key_file=home.root / trace.pseudonym_key_file)


def _check_audit(home: Home, audit: AuditTable, tokens: tuple[TokenTable, ...]) -> AuditTable:
    if ORIGIN.fullmatch(audit.origin) is None:
        expected = "a name of this appliance's own, such as trace.example.org/appliance-1"
        raise _refuse(home, "audit.origin", f"{expected}, got `{audit.origin}`")
    if audit.token not in {token.name for token in tokens}:
        raise _refuse(home, "audit.token", f"the name of a [[token]], got `{audit.token}`")
    try:
        bytes.fromhex(audit.id)
    except ValueError:
        raise _refuse(home, "audit.id", f"hexadecimal CKA_ID, got `{audit.id}`") from None
    return msgspec.structs.replace(
        audit,
        public_key=home.root / audit.public_key,
        earlier_keys=tuple(home.root / file for file in audit.earlier_keys),
    )


def _check_users(config: Config) -> None:
    find_user(config, "api.user", config.api.user)
    for at, token in enumerate(config.tokens):
        user = find_user(config, f"token[{at}].user", token.user)
        longest = config.home.lane_socket(token.name, token.lanes)
        if user is not None:
            longest = directory_of(longest.parent, user.uid) / longest.name
        if len(os.fsencode(longest)) > SOCKET_PATH_LIMIT:
            wanted = f"a home whose path leaves room for the socket {longest}"
            raise _refuse(config.home, f"token[{at}].name", wanted)


def _check_shared(home: Home, shared: SharedTable | None) -> SharedTable | None:
    if shared is None:
        return None
    if shared.address.partition("://")[0] not in {"redis", "rediss", "unix"}:
        raise _refuse(
            home, "shared.address", "redis://HOST:PORT, rediss://HOST:PORT or unix:///PATH"
        )
    password = shared.password_file and home.root / shared.password_file
    return msgspec.structs.replace(
        shared, seal_key_file=home.root / shared.seal_key_file, password_file=password
    )


def read_secret(file: Path) -> str:
    """Read a secret from a file that only its owner can read.

    Raises:
        ConfigurationError: it cannot be read, or others can read it too.
    """
    try:
        if file.stat().st_mode & 0o077:
            raise ConfigurationError(str(file), "", "a file for its owner only: chmod 600")
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(str(file), "", f"a readable file ({exc})") from exc


def _check_names(home: Home, table: str, names: list[str]) -> None:
    for at, name in enumerate(names):
        if name in names[:at]:
            raise _refuse(home, f"{table}[{at}].name", f"a name used once, `{name}` stands twice")


def read_listen(file: str, listen: str) -> tuple[str, int]:
    """Read `127.0.0.1:8440` or `[::1]:8440`.

    Raises:
        ConfigurationError: not HOST:PORT, or a host beyond loopback (which needs TLS, CONTRACT 3).
    """
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - the last TCP port
        raise ConfigurationError(file, "api.listen", f"HOST:PORT, got `{listen}`")
    if host not in {"127.0.0.1", "::1", "localhost"}:
        raise ConfigurationError(
            file, "api.listen", f"a loopback address (other listeners need TLS), got `{host}`"
        )
    return host, int(port)


def _check_callers(home: Home, callers: tuple[CallerTable, ...]) -> None:
    for at, caller in enumerate(callers):
        digest = caller.key_sha256
        if len(digest) != 64 or any(c not in "0123456789abcdef" for c in digest):  # noqa: PLR2004 - SHA-256 in hexadecimal
            raise _refuse(home, f"caller[{at}].key_sha256", "64 lower-case hexadecimal digits")


def _refuse(home: Home, key: str, expected: str) -> ConfigurationError:
    return ConfigurationError(str(home.config_file), key, expected)

"""What belongs to whom in a home that root serves: workers and lanes with users of their own reach what is theirs, and no more.

Promises that a worker can read the configuration but not change it, and own what it writes; that neither it nor anybody else can look
into the home, though lanes with a user of their own may pass through it; and that no link is followed, for the worker could have laid one.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.config import Config, TokenTable, find_user
from appliance.conventions.registry import Registry
from appliance.errors import ConfigurationError
from appliance.trace.names import COMMAND_LINE, SYSTEM, read_log_name
from appliance.users import WORKER, find_barrier, may_read
from hsm.user import User

_SHARED_BY_WRITERS: Final = 0o1770
"""Of directories in which workers and root make logs: neither removes what the other has made (chmod(2), sticky bit)."""

_PASSED_BY_GROUP: Final = 0o010
_PASSED_BY_ALL: Final = 0o011


def worker_user(config: Config) -> User | None:
    """Return as whom workers run; None is whoever starts the service.

    Raises:
        ConfigurationError: there is no such account.
    """
    return find_user(config, "api.user", config.api.user)


def check_worker(config: Config) -> None:
    """See that workers can become the user they should be, and get to the home as that.

    Raises:
        ConfigurationError: they cannot; it says what is in the way.
    """
    worker = worker_user(config)
    if worker is None or os.geteuid() == worker.uid:
        return
    file = str(config.home.config_file)
    if os.geteuid() != 0:
        raise ConfigurationError(
            file, "api.user", f"a service started as root, or as uid {worker.uid}"
        )
    barrier = find_barrier(worker, config.home.root)
    if barrier is not None:
        reach = f"a home that uid {worker.uid} can reach"
        raise ConfigurationError(
            file, "api.user", f"{reach}; {barrier} is closed to it (chmod o+x)"
        )


def find_sharing(config: Config, token: TokenTable) -> str | None:
    """Say why whoever takes over a worker has the token's PIN too; None when lanes and workers are different users."""
    lane = find_user(config, f"token `{token.name}`: user", token.user)
    worker = worker_user(config)
    if os.geteuid() == 0 and worker is None:
        barrier = find_barrier(WORKER, config.home.root)
        return f"workers stay root, because {barrier} is closed to uid {WORKER.uid}"
    uids = [os.geteuid() if user is None else user.uid for user in (lane, worker)]
    return f"lanes and workers are both uid {uids[0]}" if uids[0] == uids[1] else None


def share_home(config: Config, registry: Registry) -> None:
    """Give workers and lanes what is theirs; nothing is done unless root serves with workers of another user."""
    worker = worker_user(config)
    if worker is None or os.geteuid() != 0:
        return
    home = config.home
    for directory in (home.root, home.run, home.root / "secrets"):
        if directory.is_dir():
            _let_pass(directory, worker, is_open=any(token.user for token in config.tokens))
    for file in (home.replay_guard, home.shared_vectors, *_worker_secrets(config)):
        give(file, worker)
    for directory in (home.metrics, home.messages, home.certificates):
        directory.mkdir(mode=0o700, exist_ok=True)
        for path in (directory, *directory.iterdir()):
            give(path, worker)
    for directory in (home.spool, home.logs):
        directory.mkdir(mode=0o700, exist_ok=True)
        os.chown(directory, 0, worker.gid)
        directory.chmod(_SHARED_BY_WRITERS)
        _give_logs(directory, worker)
    share_configuration(config, registry)


def share_configuration(config: Config, registry: Registry) -> None:
    """Let workers read what they are configured by; what root has written there since may be closed to them.

    Where conventions have CRLs fetched to they put those, and remove none that somebody else has put there.
    """
    worker = worker_user(config)
    if worker is None or os.geteuid() != 0:
        return
    for path in configuration_files(config):
        _let_read(path, worker)
    for directory in {source.file.parent for source in registry.crl_sources}:
        if directory.is_relative_to(config.home.root):
            os.chown(directory, -1, worker.gid)
            directory.chmod(stat.S_IMODE(directory.stat().st_mode) | _SHARED_BY_WRITERS)


def configuration_files(config: Config) -> Iterator[Path]:
    """Yield what every worker reads: `appliance.toml`, `conventions/`, `pki/`."""
    yield config.home.config_file
    for directory in (config.home.conventions, config.home.root / "pki"):
        if directory.is_dir():
            yield directory
            yield from directory.rglob("*")


def give(path: Path, user: User | None) -> None:
    """Have a path belong to a user; None changes nothing."""
    if user is not None:
        os.chown(path, user.uid, user.gid, follow_symlinks=False)


def _let_read(path: Path, worker: User) -> None:
    status = path.lstat()
    if not stat.S_ISLNK(status.st_mode) and not may_read(status, worker):
        wanted = stat.S_IRGRP | (stat.S_IXGRP if stat.S_ISDIR(status.st_mode) else 0)
        os.chown(path, -1, worker.gid)
        path.chmod(stat.S_IMODE(status.st_mode) | wanted)


def _let_pass(directory: Path, worker: User, *, is_open: bool) -> None:
    """Let the worker through a directory to names it knows, and all others too where a lane is one of them."""
    if directory.stat().st_uid != worker.uid:
        os.chown(directory, -1, worker.gid)
    passed = _PASSED_BY_ALL if is_open else _PASSED_BY_GROUP
    directory.chmod(stat.S_IMODE(directory.stat().st_mode) | passed)


def _worker_secrets(config: Config) -> Iterator[Path]:
    """Yield the files of secrets that workers read, each of which only its owner may: none of them leads to a token."""
    files: list[Path | None] = [config.trace.pseudonym_key_file]
    if config.shared is not None:
        files += [config.shared.seal_key_file, config.shared.password_file]
    files += [partner.client_key for partner in config.gateway.partners]
    files += [listener.private_key for listener in config.gateway.outbound]
    files += [listener.private_key for listener in config.gateway.inbound]
    files += [route.jwt_key for table in config.gateway.inbound for route in table.route]
    yield from (file for file in files if file is not None and file.is_file())


def _give_logs(directory: Path, worker: User) -> None:
    """Give workers the logs that are not theirs yet; each holds too many files to do it at every start.

    Those of the supervisor and of the command line stay root's, for workers to read.
    """
    for each in directory.iterdir():
        name = read_log_name(each.name)
        if name is None:
            continue
        if name.writer in {SYSTEM, COMMAND_LINE}:
            if not may_read(each.lstat(), worker):
                for path in (each, *each.rglob("*")):
                    _let_read(path, worker)
        elif each.lstat().st_uid != worker.uid:
            for path in (each, *each.rglob("*")):
                give(path, worker)

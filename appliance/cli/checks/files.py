"""Files and directories of a home: who may read and write them, room on the disk, sockets."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from appliance.cli.checks.finding import Finding, failed, passed, warned
from appliance.config import Config, TokenTable
from appliance.home import CONVENTION_FILES, Home
from appliance.trace.space import THRESHOLDS

_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_ANYTHING: Final = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_LOOK: Final = stat.S_IRGRP | stat.S_IROTH
_LITTLE_ROOM: Final = 1024**3  # octets; a busy day of vectors fills it


def check_home(home: Home) -> Iterator[Finding]:
    """Look at who may change what the service believes: the home, its configuration, its conventions."""
    for path in (
        home.root,
        home.config_file,
        home.conventions,
        *home.conventions.glob(CONVENTION_FILES),
    ):
        if not path.exists():
            yield failed(
                "permissions", path, "it does not exist", "make a home with `appliance init DIR`"
            )
        elif path.stat().st_mode & _OTHERS_WRITE:
            yield failed(
                "permissions",
                path,
                f"users other than its owner may change it (mode {_mode(path)})",
                f"chmod go-w {path}",
            )
    if home.root.stat().st_mode & _OTHERS_LOOK:
        yield warned(
            "permissions",
            home.root,
            f"other users may look inside (mode {_mode(home.root)}); traces name persons",
            f"chmod 700 {home.root}",
        )
    else:
        yield passed("permissions", home.root, "only its owner can look inside")


def check_pin_source(token: TokenTable, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Look at where the PIN comes from, without reading it."""
    check = f"PIN of token {token.name}"
    if token.pin_env is not None:
        if token.pin_env in environment:
            yield passed(check, token.pin_env, "the environment variable is set")
        else:
            yield failed(
                check,
                token.pin_env,
                "the environment variable is not set",
                f"set {token.pin_env} for the service, or name a pin_file in appliance.toml",
            )
        return
    if token.pin_credential is not None:
        directory = environment.get("CREDENTIALS_DIRECTORY")
        if directory is None:
            yield failed(
                check,
                token.pin_credential,
                "systemd passes no credentials to this process",
                "run doctor from the service's unit, or with `systemd-run -p LoadCredential=…`",
            )
            return
        yield _check_pin_file(check, Path(directory, token.pin_credential))
    elif token.pin_file is not None:
        yield _check_pin_file(check, token.pin_file)


def check_spool(config: Config) -> Iterator[Finding]:
    """Write, sync and remove a file where traces go, and measure the room that is left."""
    spool = config.home.spool
    trouble = _try_writing(spool)
    if trouble is not None:
        yield failed(
            "spool",
            spool,
            trouble,
            f"make the directory writable for uid {os.geteuid()} (mode 700)",
        )
        return
    logs = config.home.logs
    if logs.is_dir() and spool.stat().st_dev != logs.stat().st_dev:
        yield failed(
            "trace log",
            logs,
            f"on another file system than {spool}",
            "move one of them: checkpoints are put in their place by a rename",
        )
    usage = shutil.disk_usage(spool)
    free = usage.free
    room = f"{free / 1024**2:,.0f} MiB free"
    if free < config.trace.segment:
        yield failed(
            "spool",
            spool,
            f"writable, but only {room}: less than one segment",
            "free space; without it no vector can be traced, so none is issued",
        )
    elif free < _LITTLE_ROOM or free < usage.total * THRESHOLDS[0]:
        yield warned("spool", spool, f"writable, {room}", "free space or move the spool")
    else:
        yield passed("spool", spool, f"writable, {room}")


def check_run(home: Home) -> Iterator[Finding]:
    """Look at the directory of sockets and locks; the configuration has checked that socket paths fit."""
    trouble = _try_writing(home.run)
    if trouble is None:
        yield passed("run directory", home.run, "writable; socket paths fit")
    else:
        yield failed(
            "run directory",
            home.run,
            trouble,
            f"make the directory writable for uid {os.geteuid()} (mode 700)",
        )


def _check_pin_file(check: str, file: Path) -> Finding:
    try:
        status = file.stat()
    except OSError as exc:
        return failed(
            check,
            file,
            f"cannot be looked at ({exc.strerror})",
            "write the token's user PIN into it, then chmod 600",
        )
    if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
        return failed(check, file, "not a file with a PIN in it", "write the PIN into it")
    if status.st_mode & _OTHERS_ANYTHING:
        return failed(
            check,
            file,
            f"users other than its owner may use it (mode {_mode(file)})",
            f"chmod 600 {file}",
        )
    if os.geteuid() not in (0, status.st_uid):
        return failed(
            check,
            file,
            f"belongs to uid {status.st_uid}, and this is uid {os.geteuid()}",
            f"chown {os.geteuid()} {file}, or run as its owner",
        )
    return passed(check, file, "readable by its owner only")


def _try_writing(directory: Path) -> str | None:
    """Return what keeps this user from writing durably into `directory`, None when nothing does."""
    try:
        with tempfile.TemporaryFile(dir=directory, prefix=".doctor-") as file:
            file.write(b"doctor")
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        return f"cannot be written ({exc.strerror})"
    return None


def _mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"

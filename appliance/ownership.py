"""What belongs to whom in a home that root serves: workers and lanes with users of their own reach what is theirs."""

import os
from pathlib import Path

from appliance.config import Config, find_user
from hsm.user import User


def worker_user(config: Config) -> User | None:
    """Return as whom workers run; None is whoever starts the service.

    Raises:
        ConfigurationError: there is no such account.
    """
    return find_user(config, "api.user", config.api.user)


def share_home(config: Config) -> None:
    """Let lanes and workers with users of their own reach what is theirs in a home that root serves."""
    worker = worker_user(config)
    if worker is not None:
        config.home.run.chmod(0o711)
        for file in (config.home.replay_guard, config.home.shared_vectors):
            give(file, worker)
        for directory in (config.home.spool, config.home.metrics):
            directory.mkdir(mode=0o700, exist_ok=True)
            for path in (directory, *directory.rglob("*")):
                give(path, worker)
        for directory in (config.home.logs, config.home.certificates):
            directory.mkdir(mode=0o700, exist_ok=True)
            give(directory, worker)
            _give_logs(directory, worker)


def _give_logs(directory: Path, worker: User) -> None:
    """Give away logs that are not the worker's yet; each holds too many files to do it at every start."""
    for each in directory.iterdir():
        if each.stat().st_uid != worker.uid:
            for path in (each, *each.rglob("*")):
                give(path, worker)


def give(path: Path, user: User | None) -> None:
    """Have a path belong to a user; None changes nothing."""
    if user is not None:
        os.chown(path, user.uid, user.gid)

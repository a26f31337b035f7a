"""Copies of the demo home that a test may spoil, and the command line run inside this process."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.cli.main import main


def copy_home(home: Path, directory: Path) -> Path:
    """Copy a demo home that may be in use, owners kept, without what it has traced and counted; what holds its absolute path is made to hold the copy's."""
    copy = directory / "home"
    shutil.copytree(
        home,
        copy,
        ignore=lambda folder, names: names if Path(folder).name in {"run", "spool", "log"} else [],
    )
    for each in (copy, *copy.rglob("*")):
        owner = (home / each.relative_to(copy)).stat()
        os.chown(each, owner.st_uid, owner.st_gid)
    for file in (copy / "appliance.toml", copy / "token" / "softhsm2.conf"):
        edit(file, str(home.resolve()), str(copy.resolve()))
    return copy


def edit(file: Path, old: str, new: str) -> None:
    """Replace a text that stands in a file."""
    text = file.read_text()
    assert old in text, f"{file} holds no {old!r}"
    file.write_text(text.replace(old, new))


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def lines(self) -> list[Any]:
        """The JSON documents on stdout."""
        return [json.loads(line) for line in self.stdout.splitlines()]


class CommandLine:
    """`appliance …` in this process."""

    def __init__(self, capture: pytest.CaptureFixture[bytes]) -> None:
        self._capture = capture

    def __call__(self, *arguments: str | Path) -> Ended:
        self._capture.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:  # argparse, for --help and wrong usage
            code = int(end.code or 0)
        said = self._capture.readouterr()
        return Ended(int(code), said.out, said.err.decode())

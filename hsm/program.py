"""The program's own directories, kept within reach of a process that is about to become somebody else.

Python looks for modules all its life (a codec, when it is first asked for), by paths that lead through directories which may be closed to
the new user, such as root's home. Owns what is opened while they can be reached; promises that a module is found where it would have
been, after everybody else has looked for it. Refuses nothing: a directory that is closed itself stays closed.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Final


class _HeldProgram:
    """Finds modules below directories that are open, whatever lies above them (proc(5), /proc/pid/fd)."""

    def __init__(self) -> None:
        self._held: Final = [
            (str(place), os.open(place, os.O_PATH | os.O_CLOEXEC)) for place in program_places()
        ]

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module as `importlib` asks (PEP 451)."""
        places = [
            f"/proc/self/fd/{descriptor}{place[len(held) :]}"
            for place in (sys.path if path is None else path)
            for held, descriptor in self._held
            if place == held or place.startswith(f"{held}/")
        ]
        return PathFinder.find_spec(name, places, target) if places else None


def program_places() -> Iterator[Path]:
    """Yield the directories that modules are looked for in."""
    yield from (Path(place) for place in sys.path if Path(place).is_dir())


def hold_program() -> None:
    """From here on find modules below today's `sys.path` even where the way to it is closed."""
    sys.meta_path.append(_HeldProgram())

"""What subcommands of one command have in common when they are declared."""

import argparse
from pathlib import Path
from typing import TypeAlias

Actions: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - argparse has no public name for it


def take_home(*actions: argparse.ArgumentParser) -> None:
    """Declare --home, which they cannot do without."""
    for action in actions:
        action.add_argument("--home", type=Path, required=True, metavar="DIR", help="the home")


def take_json(*actions: argparse.ArgumentParser) -> None:
    """Declare --json."""
    for action in actions:
        action.add_argument("--json", action="store_true", help="one JSON document a line")

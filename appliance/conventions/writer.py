"""Writes convention files: a new one from what two organisations agreed, beside the comments that explain the rest.

What is written was read back first: a file that the loader would refuse is never left behind.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from appliance.conventions.loader import is_convention_id, load_convention
from appliance.conventions.model import Convention
from appliance.errors import ConfigurationError

Value = str | Sequence[str] | bool

_PRIVATE: Final = 0o600


def fill_template(template: str, values: Mapping[str, Value]) -> str:
    """Put values in the place of those a model file states, commented or not; keys the model lacks stand at its end.

    Args:
        template: a model file, tables included.
        values: dotted keys; None of them names a table.
    """
    lines, table, missing = template.splitlines(), "", dict(values)
    for at, line in enumerate(lines):
        header = re.fullmatch(r"\[([a-z_.]+)\]", line)
        table = f"{header[1]}." if header else table
        setting = re.fullmatch(r"(?:# )?([a-z0-9_]+) = .*", line)
        key = f"{table}{setting[1]}" if setting else ""
        if key in missing:
            lines[at] = f"{key.removeprefix(table)} = {write_value(missing.pop(key))}"
    for key, value in missing.items():
        head, _, name = key.rpartition(".")
        # A key without a table goes first: behind one it would belong to it.
        place = lines.index(f"[{head}]") + 1 if f"[{head}]" in lines else 0
        lines.insert(place, f"{name if place else key} = {write_value(value)}")
    return "\n".join(lines) + "\n"


def write_value(value: Value) -> str:
    """Write a TOML value; a basic string is a JSON string for the texts that a convention takes (TOML 1.0, String)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return msgspec.json.encode(value).decode()
    return f"[{', '.join(map(write_value, value))}]"


def save_convention(directory: Path, convention_id: str, text: str) -> Convention:
    """Put a new file among the conventions, once the loader takes it.

    Raises:
        ConfigurationError: the id cannot be one, it is taken, or the loader refuses the file.
    """
    file = directory / f"{convention_id}.toml"
    if not is_convention_id(convention_id):
        raise ConfigurationError(str(file), "", "an id of letters, digits, . _ and -")
    if file.exists():
        raise ConfigurationError(str(file), "", "an id that no convention has yet")
    trial = directory / f".{convention_id}.{os.getpid()}"
    trial.mkdir(mode=0o700)
    try:
        draft = trial / file.name
        draft.touch(mode=_PRIVATE)
        draft.write_text(text, encoding="utf-8")
        try:
            load_convention(draft)
        except ConfigurationError as exc:
            raise ConfigurationError(str(file), exc.key, exc.expected) from exc
        draft.rename(file)
    finally:
        for left in trial.iterdir():
            left.unlink()
        trial.rmdir()
    return load_convention(file)

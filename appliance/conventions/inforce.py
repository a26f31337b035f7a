"""The conventions in force, kept by the supervisor for workers that begin later: all serve one set, whatever their files say by then.

What conventions refer to (keys, certificates, roots) is not kept but read as it is. A reload that was refused leaves files that cannot be
used; one that is under way, files that are not in force yet. Promises that the file is replaced whole or not at all. It is a pickle of our
own values, written by the parent of whoever reads it, into a directory of its own, and read by the same version only.
"""

import os
import pickle
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final, cast

from appliance.conventions.model import Convention
from appliance.errors import ConfigurationError

_VERSION: Final = version("interops-appliance")


def keep_in_force(
    file: Path, conventions: Sequence[Convention], reader: tuple[int, int] | None
) -> None:
    """Put the set in the place of the one before.

    Args:
        file: that place.
        conventions: the set.
        reader: uid and gid of whose the file becomes; None is ours.

    Raises:
        ConfigurationError: the disk refuses, and the one before is still there.
    """
    new = file.with_suffix(".new")
    try:
        with new.open("wb") as made:
            os.fchmod(made.fileno(), 0o600)
            if reader is not None:
                os.fchown(made.fileno(), *reader)
            pickle.dump(_VERSION, made)
            pickle.dump(tuple(conventions), made)
        new.replace(file)
    except OSError as exc:
        raise ConfigurationError(str(file), "", f"a place to write to ({exc.strerror})") from exc


def load_in_force(file: Path) -> tuple[Convention, ...]:
    """Load what the supervisor kept.

    Raises:
        ConfigurationError: it has kept nothing, or is of another version, or of other code under the same number, as a checkout has.
    """
    try:
        with file.open("rb") as kept:
            version_of = pickle.load(kept)  # noqa: S301 - our parent's own values, see above
            conventions = pickle.load(kept) if version_of == _VERSION else ()  # noqa: S301 - as above
    except OSError as exc:
        expected = f"the conventions in force, which `appliance serve` keeps there ({exc.strerror})"
        raise ConfigurationError(str(file), "", expected) from exc
    except Exception as exc:
        expected = f"what this code can read, not {type(exc).__name__}: restart the service"
        raise ConfigurationError(str(file), "", expected) from exc
    if version_of != _VERSION:
        expected = f"what version {_VERSION} kept, not {version_of}: restart the service"
        raise ConfigurationError(str(file), "", expected)
    return cast("tuple[Convention, ...]", conventions)

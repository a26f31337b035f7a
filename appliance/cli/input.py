"""What a command reads: a file or standard input, no more of it than a limit."""

import sys
from pathlib import Path

from appliance.errors import ConfigurationError, Reason, RequestTooLarge


def read_input(name: str, limit: int) -> bytes:
    """Read a file, or standard input where the name is `-`.

    Raises:
        ConfigurationError: it cannot be read.
        RequestTooLarge: it has more than `limit` octets; no more than that is read.
    """
    try:
        if name == "-":
            octets = sys.stdin.buffer.read(limit + 1)
        else:
            with Path(name).open("rb") as file:
                octets = file.read(limit + 1)
    except OSError as exc:
        raise ConfigurationError(name, "", f"a readable file ({exc.strerror})") from exc
    if len(octets) > limit:
        raise RequestTooLarge(Reason.BODY_TOO_LARGE, f"{name}: more than {limit} octets")
    return octets

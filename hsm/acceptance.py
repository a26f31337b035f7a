"""That a token has taken a PIN, so that what ails the token afterwards puts the PIN in no doubt.

Owns one small file per token and source. Promises to hold only while the source holds what it held when the token took it, whoever else
offers the token a PIN meanwhile: a variable is another in a command beside the service. A file that is lost or torn costs caution, nothing
else.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from hsm.pin import is_current
from hsm.state import hand_over

_KEPT: Final = 16
"""Most contents of one source that are remembered at a time; more processes do not have a token open side by side."""


class Acceptance:
    """What is known of one PIN from better days."""

    def __init__(self, directory: Path, place: str, content: str | None) -> None:
        """Look for it.

        Args:
            directory: the state directory.
            place: names token and source (`RefusedPin.place`).
            content: names what the source holds now (`identify_content`); None is never vouched for.
        """
        self._directory: Final = directory
        self._file: Final = directory / f"pin-accepted-{place}"
        self._content: Final = content

    def holds(self) -> bool:
        """Whether the token has taken the PIN that the source holds."""
        return self._content in self._taken()

    def note(self) -> None:
        """Remember that the token has taken it."""
        if self._content is None or self.holds():
            return
        others = [each for each in self._taken() if is_current(each)]
        taken = [*others, self._content][-_KEPT:]
        with contextlib.suppress(OSError):  # a full disk must not keep a token closed that is open
            descriptor = os.open(
                self._file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
            )
            with os.fdopen(descriptor, "w") as stream:
                hand_over(descriptor, self._directory)
                stream.write("\n".join(taken))

    def withdraw(self) -> None:
        """Forget it: the token has refused the PIN."""
        with contextlib.suppress(OSError):
            self._file.unlink()

    def _taken(self) -> list[str]:
        try:
            return self._file.read_text().split("\n")
        except (OSError, UnicodeDecodeError):
            return []

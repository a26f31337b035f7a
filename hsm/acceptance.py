"""That a token has taken a PIN, so that what ails the token afterwards puts the PIN in no doubt.

Owns one small file per token and source. Promises to hold only while the source holds what it held when the token took it. A file that
is lost or torn costs caution, nothing else.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from hsm.state import hand_over


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
        try:
            return self._file.read_text() == self._content
        except (OSError, UnicodeDecodeError):
            return False

    def note(self) -> None:
        """Remember that the token has taken it."""
        if self._content is None or self.holds():
            return
        with contextlib.suppress(OSError):  # a full disk must not keep a token closed that is open
            descriptor = os.open(
                self._file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
            )
            with os.fdopen(descriptor, "w") as stream:
                hand_over(descriptor, self._directory)
                stream.write(self._content)

    def withdraw(self) -> None:
        """Forget it: the token has refused the PIN."""
        with contextlib.suppress(OSError):
            self._file.unlink()

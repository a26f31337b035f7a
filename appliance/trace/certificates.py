"""Certificates of the signers that traces speak of, kept beside the logs by fingerprint, so that a proof can be handed over complete.

Only signers whose signature was found good, under a path that a convention trusts, get here: their number is the partners'. A
certificate is durable before the entry that names it. The workers share the directory, and may keep the same certificate at once.
"""

import hashlib
from pathlib import Path
from typing import Final

from appliance.trace.disk import Disk
from appliance.trace.durable import make_directories, replace_file

SUFFIX: Final = ".der"


class CertificateShelf:
    """The certificates kept so far, as one writer adds to them."""

    def __init__(self, directory: Path, writer: str, disk: Disk | None = None) -> None:
        """Take the shelf for a writer, whose name nobody else has at the same time."""
        self._directory: Final = directory
        self._writer: Final = writer
        self._disk: Final = disk or Disk()
        self._kept: set[str] | None = None

    def keep(self, certificate: bytes) -> None:
        """Keep a DER certificate, once.

        Raises:
            OSError: it is not durable.
        """
        fingerprint = hashlib.sha256(certificate).hexdigest()
        if self._kept is None:
            make_directories(self._disk, self._directory)
            self._kept = {file.stem for file in self._directory.glob(f"*{SUFFIX}")}
            self._disk.fsync_directory(self._directory)  # what others have just renamed counts too
        if fingerprint not in self._kept:
            self._write(fingerprint, certificate)
            self._kept.add(fingerprint)

    def _write(self, fingerprint: str, octets: bytes) -> None:
        """Write a file of our own, then give it the name that all writers agree on."""
        beside = self._directory / f"{fingerprint}.{self._writer}.new"
        file = self._directory / f"{fingerprint}{SUFFIX}"
        replace_file(self._disk, file, octets, beside)

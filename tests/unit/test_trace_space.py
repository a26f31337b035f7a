"""Room on the disk is said when a threshold is passed, and once."""

import logging
from pathlib import Path

import pytest

from appliance.trace.certificates import CertificateShelf
from appliance.trace.disk import Disk
from appliance.trace.space import FreeSpace


def test_each_threshold_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """At 20 % and at 10 %, not at every look; again after room was made."""
    shares = iter([0.5, 0.19, 0.15, 0.09, 0.08, 0.11, 0.09, 0.15, 0.09, 0.5, 0.19])
    space = FreeSpace(Path("/"), lambda _: next(shares))
    said: list[int] = []
    with caplog.at_level(logging.WARNING, logger="appliance.trace"):
        for _ in range(11):
            space.look()
            said.append(sum(record.message == "disk-fills" for record in caplog.records))
    assert said == [0, 1, 1, 2, 2, 2, 2, 2, 3, 3, 4]


def test_disk_that_cannot_be_asked_is_said(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """A directory that is gone is a warning, not an end; one that is there is measured."""
    FreeSpace(tmp_path).look()
    assert "disk-not-measured" not in {record.message for record in caplog.records}
    FreeSpace(tmp_path / "absent").look()
    assert caplog.records[-1].message == "disk-not-measured"


def test_certificate_is_kept_once(tmp_path: Path) -> None:
    """One file for each certificate, under its fingerprint, readable by the owner only."""
    shelf = CertificateShelf(tmp_path / "certificates", "worker-0")
    for _ in range(2):
        shelf.keep(b"one")
    CertificateShelf(tmp_path / "certificates", "worker-1").keep(b"two")
    files = sorted((tmp_path / "certificates").iterdir())
    assert sorted(file.read_bytes() for file in files) == [b"one", b"two"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert all(len(file.stem) == 64 for file in files)


@pytest.mark.parametrize("step", ["make_directory", "rename"])
def test_certificate_is_kept_by_two_workers_at_once(tmp_path: Path, step: str) -> None:
    """A worker that is overtaken by another, with the same certificate, at any step, has it on the shelf all the same."""
    directory = tmp_path / "certificates"

    class Overtaken(Disk):
        def _overtake(self, at: str) -> None:
            if at == step:
                CertificateShelf(directory, "worker-1").keep(b"one")

        def make_directory(self, directory: Path) -> None:
            self._overtake("make_directory")
            super().make_directory(directory)

        def rename(self, old: Path, new: Path) -> None:
            self._overtake("rename")
            super().rename(old, new)

    CertificateShelf(directory, "worker-0", Overtaken()).keep(b"one")
    [file] = directory.iterdir()
    assert file.read_bytes() == b"one"

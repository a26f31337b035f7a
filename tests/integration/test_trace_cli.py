"""`appliance trace`: what it prints of real logs, how it ends, and that it works beside a live writer."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.cli.main import main
from appliance.cli.output import Exit
from appliance.trace.record import write_entry
from tests.trace_entries import make_entry, segments_of, write_log

ROOT = Path(__file__).parents[2]
CREATED = make_entry(assertion_id="_c", time="2026-03-01T10:00:00.000Z")
REFUSED = make_entry(
    event="received",
    time="2026-03-01T10:00:01.000Z",
    assertion_id="_r",
    subject="\x1b[2Jevil\nagent",
    name_id="\x1b[2Jevil\nagent",
    verdict="refused",
    fault="vi:InvalidService",
    reason="audience-mismatch",
)
REUSED = make_entry(event="reused", assertion_id="_c", time="2026-03-01T10:00:02.000Z")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose two logs hold three entries that interleave in time."""
    (tmp_path / "appliance.toml").touch()
    logs = tmp_path / "spool"
    write_log(logs / "worker-0", [[write_entry(CREATED)], [write_entry(REUSED)]])
    write_log(logs / "worker-1", [[write_entry(REFUSED)]])
    return tmp_path


class Ended:
    """What a command printed and how it ended."""

    def __init__(self, code: int, results: str, said: str) -> None:
        self.code = code
        self.lines = results.splitlines()
        self.said = said

    def documents(self) -> list[dict]:
        """The results, read as JSON."""
        return [json.loads(line) for line in self.lines]

    def ids(self) -> list[str]:
        """Assertion IDs of the results."""
        return [document["entry"]["assertion_id"] for document in self.documents()]


@pytest.fixture
def trace(home: Path, capsys: pytest.CaptureFixture[str]):
    """Run `appliance trace …` on the home."""

    def run(*words: str) -> Ended:
        code = main(["trace", words[0], "--home", str(home), *words[1:]])
        return Ended(code, *capsys.readouterr())

    return run


def test_tail_merges_logs_by_time(trace) -> None:
    """The last entries of all logs, the latest last, whichever log they stand in."""
    assert trace("tail", "--json").ids() == ["_c", "_r", "_c"]
    assert trace("tail", "--json", "-n", "2").ids() == ["_r", "_c"]
    assert trace("tail", "--json", "-n", "0").lines == []
    assert trace("tail", "--json", "--log", "worker-1").ids() == ["_r"]


def test_json_holds_the_entry_octet_for_octet(trace) -> None:
    """A program gets place, leaf hash and the entry as it was made durable."""
    line = trace("tail", "--json", "-n", "1").lines[0]
    assert write_entry(REUSED).decode() in line
    document = json.loads(line)
    assert (document["log"], document["index"]) == ("worker-0", 1)
    assert len(bytes.fromhex(document["leaf_hash"])) == 32


def test_table_is_readable_and_cannot_steer_a_terminal(trace) -> None:
    """People get a header and a row an entry; controls a partner sent are shown, not obeyed."""
    ended = trace("tail")
    assert ended.lines[0].split()[:4] == ["time", "entry", "event", "outcome"]
    assert len(ended.lines) == 4
    assert "worker-1:0" in ended.lines[2]
    assert "audience-mismatch" in ended.lines[2]
    assert r"\x1b[2Jevil\nagent" in ended.lines[2]
    assert "\x1b" not in "".join(ended.lines)


def test_a_long_name_is_cut_in_the_table_only(trace, home: Path) -> None:
    """A name as long as is taken does not push the rest of its row away; a program gets all of it."""
    name = "x" * 256
    entry = write_entry(make_entry(subject=name, time="2026-03-01T10:00:03.000Z"))
    write_log(home / "spool" / "worker-2", [[entry]])
    row = trace("tail", "--log", "worker-2").lines[1]
    assert (name in row, "xx…  PAGM" in row) == (False, True)
    [document] = trace("tail", "--json", "--log", "worker-2").documents()
    assert document["entry"]["subject"] == name


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--id", "_c"], ["_c", "_c"]),
        (["--event", "reused"], ["_c"]),
        (["--verdict", "refused"], ["_r"]),
        (["--subject", "agent-0042", "--pagm", "PAGM_CONSULTATION"], ["_c", "_c"]),
        (["--issuer", "urn:interops:73282932000074:idp:demo:1"], ["_c", "_r", "_c"]),
        (["--convention", "demo-client", "--log", "worker-1"], ["_r"]),
        (["--since", "2026-03-01T10:00:01Z"], ["_r", "_c"]),
        (["--since", "2026-03-01T11:00:01+01:00", "--until", "2026-03-01T10:00:02"], ["_r"]),
        (["--since", "2026-03-01", "--until", "2026-03-02"], ["_c", "_r", "_c"]),
    ],
)
def test_search_finds_what_every_option_allows(
    trace, words: list[str], expected: list[str]
) -> None:
    """Options narrow the search; instants are read with their zone, UTC when they have none."""
    ended = trace("search", "--json", *words)
    assert ended.code == Exit.DONE
    assert ended.ids() == expected


def test_show_tells_everything_about_a_vector(trace) -> None:
    """All entries about a vector, every field of each."""
    ended = trace("show", "_c")
    assert ended.code == Exit.DONE
    facts = [line.split() for line in ended.lines if line]
    assert [words[1] for words in facts if words[0] == "entry"] == ["worker-0:0", "worker-0:1"]
    assert ["issuer", "urn:interops:73282932000074:idp:demo:1"] in facts


def test_show_finds_one_entry_by_its_place(trace) -> None:
    """A receipt is enough to find the entry."""
    assert trace("show", "worker-1:0", "--json").ids() == ["_r"]


@pytest.mark.parametrize(
    "words",
    [
        ("search", "--id", "_absent"),
        ("show", "_absent"),
        ("show", "worker-0:2"),
        ("show", "worker-9:0"),
        ("tail", "--log", "worker-9"),
    ],
)
def test_nothing_found_is_said_and_ends_with_1(trace, words: tuple[str, ...]) -> None:
    """Nothing on stdout, one sentence that names the logs on stderr."""
    ended = trace(*words)
    assert ended.code == Exit.REFUSED
    assert ended.lines == []
    assert "worker-0, worker-1" in ended.said


def test_empty_trace_is_not_an_error(trace, home: Path) -> None:
    """A home that has traced nothing has an empty tail."""
    for log in (home / "spool").iterdir():
        for file in log.iterdir():
            file.unlink()
        log.rmdir()
    ended = trace("tail")
    assert (ended.code, ended.lines) == (Exit.DONE, [])


def test_damaged_log_is_named(trace, home: Path) -> None:
    """Which log, which entry, which octet of which file; exit 1."""
    segment = segments_of(home / "spool" / "worker-0")[0]
    segment.write_bytes(segment.read_bytes().replace(b"_c", b"_x", 1))
    for words in (("tail",), ("search",), ("show", "_c")):
        ended = trace(*words)
        assert ended.code == Exit.REFUSED
        assert "log worker-0 is damaged at entry 0: octet 16 of 0" in ended.said


def test_directory_that_is_no_home_is_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command says which file makes a home, and ends with 2."""
    code = main(["trace", "tail", "--home", str(tmp_path / "elsewhere")])
    assert code == Exit.USAGE
    assert "elsewhere/appliance.toml" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["tail", "-n", "-1"], ["search", "--since", "yesterday"]])
def test_option_that_cannot_be_read_is_wrong_usage(trace, words: list[str]) -> None:
    """The parser refuses it and ends with 2."""
    with pytest.raises(SystemExit) as ended:
        trace(*words)
    assert ended.value.code == Exit.USAGE


@contextlib.contextmanager
def following(home: Path) -> Iterator[subprocess.Popen[str]]:
    """`appliance trace tail --follow` as a process of its own, which Ctrl-C reaches as in a terminal: a shell's background jobs ignore it."""
    command = [sys.executable, "-m", "appliance", "trace", "tail", "--follow", "--json"]
    with subprocess.Popen(
        [*command, "--home", str(home)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_follow_shows_entries_as_a_live_writer_makes_them(home: Path) -> None:
    """New entries, of a log that is new itself too, come out until the reader interrupts."""
    writer = [sys.executable, "-m", "tests.spool_process", str(home / "spool"), "worker-2", "2"]
    with following(home) as tail:
        assert tail.stdout is not None
        held = [json.loads(tail.stdout.readline())["entry"]["assertion_id"] for _ in range(3)]
        assert held == ["_c", "_r", "_c"]
        with subprocess.Popen(writer, cwd=ROOT, stdout=subprocess.DEVNULL) as live:
            try:
                new = [json.loads(tail.stdout.readline()) for _ in range(50)]
            finally:
                live.kill()
        assert {document["log"] for document in new} == {"worker-2"}
        assert [document["index"] for document in new] == list(range(50))
        tail.send_signal(signal.SIGINT)
        tail.stdout.read()
        assert tail.wait(10) == 128 + signal.SIGINT

"""How the command line prints: streams, colours, tables, bars, exit codes."""

import io
import json

import pytest

from appliance.cli.output import Colour, Exit, Output, exit_for, printable, write_table
from appliance.clock import SystemClock
from appliance.errors import (
    ApplianceError,
    ConfigurationError,
    ConventionViolation,
    HsmUnavailable,
    InternalError,
    MalformedRequest,
    QueueFull,
    Reason,
    ResourceUnknown,
    VectorRefused,
)
from appliance.trace.reader import LogDamaged


class Stream(io.StringIO):
    """A stream that is a terminal, or not."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


class MovedClock(SystemClock):
    """A clock a test moves by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


def make_output(
    *, as_json: bool = False, is_terminal: bool = False
) -> tuple[Output, Stream, Stream]:
    """An output and its two streams."""
    results, said = Stream(is_terminal=is_terminal), Stream(is_terminal=is_terminal)
    return Output(as_json=as_json, results=results, said=said), results, said


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (VectorRefused(Reason.EXPIRED, ""), Exit.REFUSED),
        (ConventionViolation(Reason.PAGM_NOT_GRANTED, ""), Exit.REFUSED),
        (ResourceUnknown(Reason.NOT_FOUND, ""), Exit.REFUSED),
        (LogDamaged("worker-0", 3, ""), Exit.REFUSED),
        (MalformedRequest(Reason.MALFORMED_XML, ""), Exit.USAGE),
        (ConfigurationError("appliance.toml", "api.listen", "HOST:PORT"), Exit.USAGE),
        (HsmUnavailable(Reason.HSM_UNAVAILABLE, ""), Exit.UNAVAILABLE),
        (QueueFull(Reason.QUEUE_FULL, ""), Exit.UNAVAILABLE),
        (InternalError(Reason.INTERNAL, ""), Exit.UNAVAILABLE),
    ],
)
def test_exit_code_says_who_is_at_fault(error: ApplianceError, expected: Exit) -> None:
    """1 is a verdict, 2 the input's fault, 3 ours or the machine's: a defect is never mistaken for a verdict."""
    assert exit_for(error) is expected


def test_result_is_text_or_one_line_of_json() -> None:
    """The same result serves people and programs."""
    output, results, said = make_output()
    output.show({"a": "é"}, "for people")
    assert results.getvalue() == "for people\n"
    output, results, _ = make_output(as_json=True)
    output.show({"a": "é\n"}, "for people")
    assert json.loads(results.getvalue()) == {"a": "é\n"}
    assert results.getvalue().count("\n") == 1
    assert said.getvalue() == ""


def test_error_goes_to_the_other_stream() -> None:
    """A diagnostic never mixes with results, and names its reason."""
    output, results, said = make_output()
    code = output.fail(ResourceUnknown(Reason.NOT_FOUND, "no \x1b[31mlog"))
    assert code is Exit.REFUSED
    assert results.getvalue() == ""
    assert said.getvalue() == "error: no \\x1b[31mlog (not-found)\n"


def test_colours_appear_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe and NO_COLOR both get plain text."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    plain, coloured = make_output()[0], make_output(is_terminal=True)[0]
    assert plain.paint(Colour.GOOD, "done") == "done"
    assert coloured.paint(Colour.GOOD, "done") == "\x1b[32mdone\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured.paint(Colour.GOOD, "done") == "done"


def test_octets_reach_stdout_unchanged(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Canonical bytes and vectors are written as they are, without a line end of ours."""
    Output().write(b"<a>\xc3\xa9\r</a>")
    assert capfdbinary.readouterr().out == b"<a>\xc3\xa9\r</a>"


def test_bar_appears_after_two_seconds_and_makes_way_for_results() -> None:
    """Quick work shows no bar; a result wipes it first; it is gone at the end."""
    output, _, said = make_output(is_terminal=True)
    clock = MovedClock()
    with output.progress("search", 10, clock) as bar:
        bar.advance(4)
        assert said.getvalue() == ""
        clock.seconds = 2.0
        bar.advance()
        assert said.getvalue().endswith("search [###############               ]  50%")
        output.show(None, "found")
        assert said.getvalue().endswith("\r\x1b[K")
        bar.advance()
        clock.seconds = 2.2
        bar.advance(100)
        assert said.getvalue().endswith("100%")
    assert said.getvalue().endswith("\r\x1b[K")


def test_bar_stays_silent_where_nobody_watches() -> None:
    """Without a terminal nothing is drawn, however long it takes."""
    output, _, said = make_output()
    clock = MovedClock()
    with output.progress("search", 0, clock) as bar:
        clock.seconds = 60.0
        bar.advance()
    assert said.getvalue() == ""


def test_table_aligns_and_escapes() -> None:
    """Columns are as wide as their widest cell; no cell breaks a line."""
    table = write_table(("id", "role"), [("demo-client", "client"), ("x\n", "\u202eprovider")])
    assert table.split("\n") == [
        "id           role",
        "demo-client  client",
        "x\\n          \\u202eprovider",
    ]


def test_printable_keeps_what_people_write() -> None:
    """Accents and spaces are text; controls and direction marks are not."""
    assert printable("Élève nº 1") == "Élève nº 1"
    assert printable("a\x9bb\u2066") == "a\\x9bb\\u2066"

"""The structured log: one event a line, no secret, nothing long, and the libraries in the same form."""

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest
from cryptography import x509

from appliance.log import LONGEST_VALUE, Log, configure_log


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Put back what pytest had configured."""
    root, ours = logging.getLogger(), logging.getLogger("appliance")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    logging.captureWarnings(capture=False)


def written(stream: io.StringIO) -> list[dict]:
    """What stands on the stream."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_object() -> None:
    """Time, level, part and event first, then the fields as they are."""
    stream = io.StringIO()
    configure_log("info", stream)
    Log("server").info("request-refused", status=403, late=True, nothing=None, seconds=0.5)
    [line] = written(stream)
    assert list(line)[:4] == ["time", "level", "part", "event"]
    assert line["time"].endswith("Z")
    assert (line["level"], line["part"], line["event"]) == ("info", "server", "request-refused")
    assert (line["status"], line["late"], line["nothing"], line["seconds"]) == (
        403,
        True,
        None,
        0.5,
    )


def test_warning_of_a_library_is_one_json_object_too() -> None:
    """What reading a certificate with an odd name warns about is a line like the others, not one that a reader of the log stumbles over."""
    stream = io.StringIO()
    configure_log("info", stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        x509.NameAttribute(x509.oid.NameOID.COUNTRY_NAME, "FRA", _validate=False)
    [line] = written(stream)
    assert (line["level"], line["event"]) == ("warning", "library")
    assert "must be >= 2 and <= 2" in line["text"]


@pytest.mark.parametrize(
    "name", ["pin", "PIN", "user_pin", "password", "client_secret", "authorization"]
)
def test_a_secret_is_never_written(name: str) -> None:
    """A field whose name speaks of a secret says so instead of its value; one that only sounds like it is written."""
    stream = io.StringIO()
    configure_log("info", stream)
    Log("server").info("event", **{name: "624180", "spinning": "on"})
    [line] = written(stream)
    assert (line[name], line["spinning"]) == ("redacted", "on")
    assert "624180" not in stream.getvalue()


def test_octets_and_long_values_are_cut() -> None:
    """Octets are written as their number, text up to a length, lists up to a few items."""
    stream = io.StringIO()
    configure_log("info", stream)
    Log("server").info("event", octets=b"<assertion>", text="x" * 1000, many=list(range(100)))
    [line] = written(stream)
    assert line["octets"] == "11 octets"
    assert line["text"] == "x" * LONGEST_VALUE + "…"
    assert line["many"] == list(range(20))


def test_nothing_breaks_the_line() -> None:
    """A value with line ends stays on the line of its event."""
    stream = io.StringIO()
    configure_log("info", stream)
    Log("server").info("event", text='a\n{"level": "error"}')
    assert len(written(stream)) == 1


def test_levels_are_obeyed() -> None:
    """What is below the level is neither written nor gathered."""
    stream = io.StringIO()
    log = Log("server")
    configure_log("warning", stream)
    log.debug("one")
    log.info("two")
    log.warning("three")
    assert not log.is_debug()
    assert [line["event"] for line in written(stream)] == ["three"]
    configure_log("debug", stream)
    log.debug("four")
    assert log.is_debug()
    assert [line["level"] for line in written(stream)] == ["warning", "debug"]
    assert repr(log) == "Log(appliance.server)"


def test_an_error_says_where() -> None:
    """An exception adds its class, its text and the functions it went through, and no local value."""
    stream = io.StringIO()
    configure_log("info", stream)

    def fail(local: str) -> None:
        assert local
        raise LookupError("not here")

    try:
        fail("624180")
    except LookupError as exc:
        Log("server").error("request-failed", exc, path="/")
    [line] = written(stream)
    assert (line["exception"], line["exception_text"]) == ("LookupError", "not here")
    assert line["frames"][-1].startswith("test_log.py:")
    assert line["frames"][-1].endswith(" fail")
    assert "624180" not in stream.getvalue()


def test_libraries_come_out_alike() -> None:
    """A library's warning is an event like ours; what it says below that is not written."""
    stream = io.StringIO()
    configure_log("debug", stream)
    logging.getLogger("uvicorn.error").warning("odd %s", "request")
    logging.getLogger("uvicorn.error").info("started")
    [line] = written(stream)
    assert (line["part"], line["event"]) == ("uvicorn.error", "library")
    assert line["text"] == "odd request"


def test_a_terminal_gets_text() -> None:
    """People get one aligned line: time, level, part, event, fields."""
    stream = Terminal()
    configure_log("info", stream)
    Log("signing").info("lane-up", lane="demo/0")
    Log("signing").info("quiet")
    first, second = stream.getvalue().splitlines()
    assert first.split()[1:] == ["info", "signing", "lane-up", "lane=demo/0"]
    assert second.endswith("quiet")

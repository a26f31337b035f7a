"""Structured log: one event a line on stderr, fields instead of sentences.

JSON objects when a program reads (`time`, `level`, `part`, `event`, then the fields), aligned text on a terminal. Promises that a
field whose name speaks of a secret is never written, that a long value is cut, and that octets are written as their length only,
so no PIN, key or whole vector gets out by accident. The libraries' own records (uvicorn, asyncio) come out in the same form.
"""

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Literal, TextIO

import msgspec

Level = Literal["debug", "info", "warning", "error"]

LONGEST_VALUE: Final = 500
"""Characters of one field that are kept."""

_LEVELS: Final[Mapping[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_SECRET_WORDS: Final = frozenset({"pin", "secret", "password", "authorization", "bearer"})
_ROOT: Final = "appliance"


class Log:
    """The log of one part (`Log("server")`); methods take an event name in kebab case and fields."""

    __slots__ = ("_logger",)

    def __init__(self, part: str) -> None:
        self._logger = logging.getLogger(f"{_ROOT}.{part}")

    def __repr__(self) -> str:
        return f"Log({self._logger.name})"

    def is_debug(self) -> bool:
        """Tell whether debug events are written, for hot paths that would gather fields in vain."""
        return self._logger.isEnabledFor(logging.DEBUG)

    def debug(self, event: str, **fields: object) -> None:
        """Note something only a developer looks for, such as one request that went well."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Note something an operator may want to know, such as a refusal."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Note something an operator should look at soon."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, exc: BaseException | None = None, **fields: object) -> None:
        """Note a failure of ours; `exc` adds its class, its text and where it was raised."""
        self._write(logging.ERROR, event, fields, exc)

    def _write(
        self,
        level: int,
        event: str,
        fields: Mapping[str, object],
        exc: BaseException | None = None,
    ) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, extra={"fields": fields}, exc_info=exc)


def configure_log(level: Level, stream: TextIO | None = None) -> None:
    """Send every record of this process to `stream` (stderr), replacing what was configured before.

    Text when the stream is a terminal, JSON otherwise. The libraries speak from warning upwards only, and what they warn about in
    Python's own way (an odd name in a received certificate) is a record too.
    """
    stream = stream or sys.stderr
    sink = logging.StreamHandler(stream)
    sink.setFormatter(TextForm() if stream.isatty() else JsonForm())
    logging.basicConfig(handlers=[sink], level=logging.WARNING, force=True)
    logging.getLogger(_ROOT).setLevel(_LEVELS[level])
    logging.captureWarnings(capture=True)


class JsonForm(logging.Formatter):
    """One JSON object a record."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record on one line."""
        return msgspec.json.encode(dict(_facts_of(record))).decode()


class TextForm(logging.Formatter):
    """One line for people a record."""

    def format(self, record: logging.LogRecord) -> str:
        """Write time, level, part and event, then `name=value` pairs."""
        facts = dict(_facts_of(record))
        time, level, part, event = (str(facts.pop(name)) for name in _HEAD)
        pairs = " ".join(f"{name}={value}" for name, value in facts.items())
        return f"{time[11:23]} {level:<7} {part:<10} {event} {pairs}".rstrip()


_HEAD: Final = ("time", "level", "part", "event")


def _facts_of(record: logging.LogRecord) -> list[tuple[str, object]]:
    written = datetime.fromtimestamp(record.created, UTC)
    facts: list[tuple[str, object]] = [
        ("time", written.isoformat(timespec="milliseconds").replace("+00:00", "Z")),
        ("level", record.levelname.lower()),
    ]
    fields: Mapping[str, object] | None = getattr(record, "fields", None)
    if fields is None:
        text = _show("text", record.getMessage())
        facts += [("part", record.name), ("event", "library"), ("text", text)]
    else:
        facts += [("part", record.name.removeprefix(f"{_ROOT}.")), ("event", record.msg)]
        facts += [(name, _show(name, value)) for name, value in fields.items()]
    return facts + _exception_facts(record)


def _exception_facts(record: logging.LogRecord) -> list[tuple[str, object]]:
    """State what was raised and where: function names and lines, no local values."""
    if record.exc_info is None or record.exc_info[1] is None:
        return []
    exc = record.exc_info[1]
    frames = []
    at = exc.__traceback__
    while at is not None:
        code = at.tb_frame.f_code
        frames.append(f"{code.co_filename.rpartition('/')[2]}:{at.tb_lineno} {code.co_name}")
        at = at.tb_next
    return [
        ("exception", type(exc).__name__),
        ("exception_text", _show("text", str(exc))),
        ("frames", frames[-10:]),
    ]


def _show(name: str, value: object) -> object:
    if not _SECRET_WORDS.isdisjoint(name.lower().split("_")):
        return "redacted"
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value)} octets"
    if isinstance(value, list | tuple | set | frozenset):
        return [_show(name, item) for item in list(value)[:20]]
    text = str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"

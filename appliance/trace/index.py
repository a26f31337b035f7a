"""The search index: an SQLite file beside the logs that can be deleted at any time and is rebuilt from them.

Promises to hold only entries that a checkpoint covers, in the state of the last `update`, and never to touch a writer: readers bring it up
to date. A log that was taken back or replaced (its leaf hash at the place it was read to is another) is indexed anew.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from appliance.errors import ConfigurationError
from appliance.trace.record import TraceEntry
from appliance.trace.search import Selection
from appliance.trace.view import LogPlace

_FILE: Final = "trace.sqlite"
_VERSION: Final = 1
_BATCH: Final = 2048
_PATIENCE: Final = 30.0
_TABLES: Final = """
CREATE TABLE log (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, size INTEGER NOT NULL, leaf BLOB NOT NULL);
CREATE TABLE entry (
    log INTEGER NOT NULL, position INTEGER NOT NULL, time TEXT NOT NULL, event TEXT NOT NULL,
    assertion_id TEXT, issuer TEXT, subject TEXT, name_id TEXT, convention TEXT, partner TEXT, verdict TEXT,
    PRIMARY KEY (log, position)) WITHOUT ROWID;
CREATE TABLE pagm (pagm TEXT NOT NULL, log INTEGER NOT NULL, position INTEGER NOT NULL,
    PRIMARY KEY (pagm, log, position)) WITHOUT ROWID;
CREATE INDEX entry_assertion ON entry (assertion_id);
CREATE INDEX entry_issuer ON entry (issuer, time);
CREATE INDEX entry_subject ON entry (subject);
CREATE INDEX entry_name ON entry (name_id);
CREATE INDEX entry_convention ON entry (convention, time);
CREATE INDEX entry_time ON entry (time);
"""
_INSERT: Final = "INSERT OR REPLACE INTO entry VALUES (?,?,?,?,?,?,?,?,?,?,?)"
_SECRET: Final = 0o077


class SearchIndex:
    """An open index; use it as a context manager."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection: Final = connection

    @classmethod
    @contextlib.contextmanager
    def open(cls, directory: Path) -> Iterator["SearchIndex"]:
        """Open or make the index of a home.

        Raises:
            ConfigurationError: it cannot be written, or is none; the next search rebuilds one that was deleted.
        """
        mask = os.umask(_SECRET)
        try:
            directory.mkdir(exist_ok=True)
            connection = sqlite3.connect(directory / _FILE, timeout=_PATIENCE)
        except (OSError, sqlite3.Error) as exc:
            raise _unusable(directory, exc) from exc
        finally:
            os.umask(mask)
        with contextlib.closing(connection):
            try:
                _prepare(connection)
                yield cls(connection)
            except sqlite3.Error as exc:
                raise _unusable(directory, exc) from exc

    def update(self, place: LogPlace, advance: Callable[[int], None]) -> None:
        """Take in what checkpoints cover by now; `advance` is told how many entries are done.

        Raises:
            LogDamaged: where a log cannot be read; what came before is in.
        """
        for name in place.names():
            view = place.view(name)
            covered = view.covered()
            log, size = self._known(place, name)
            view = place.view(name, size)
            batch: list[tuple[int, bytes, TraceEntry]] = []
            for stored in view.read():
                if stored.index >= covered:
                    break
                batch.append((stored.index, stored.leaf_hash, stored.entry))
                if len(batch) == _BATCH:
                    self._take(log, batch)
                    advance(len(batch))
                    batch.clear()
            self._take(log, batch)
            advance(len(batch))

    def places(self, selection: Selection, subjects: Sequence[str]) -> Iterator[tuple[str, int]]:
        """Yield log and index of the entries that match, by time.

        Args:
            selection: what to look for.
            subjects: under which names the person may stand, where one is looked for.
        """
        wheres, values = _conditions(selection, subjects)
        where = f" WHERE {' AND '.join(wheres)}" if wheres else ""
        query = f"SELECT name, position FROM entry JOIN log ON log.id = entry.log{where} ORDER BY time, name, position"  # noqa: S608 - conditions are ours, values are bound
        yield from self._connection.execute(query, values)

    def sizes(self) -> dict[str, int]:
        """Return how far each log is indexed."""
        return dict(self._connection.execute("SELECT name, size FROM log"))

    def _known(self, place: LogPlace, name: str) -> tuple[int, int]:
        """Return a log's number and how far it is indexed, from nothing where what was indexed is no longer there."""
        self._connection.execute("INSERT OR IGNORE INTO log VALUES (NULL, ?, 0, x'')", (name,))
        query = "SELECT id, size, leaf FROM log WHERE name = ?"
        log, size, leaf = self._connection.execute(query, (name,)).fetchone()
        if size:
            last = next(place.view(name, size - 1).read(), None)
            if last is None or (last.index, last.leaf_hash) != (size - 1, leaf):
                with self._connection:
                    self._connection.execute("DELETE FROM entry WHERE log = ?", (log,))
                    self._connection.execute("DELETE FROM pagm WHERE log = ?", (log,))
                    self._connection.execute("UPDATE log SET size = 0 WHERE id = ?", (log,))
                size = 0
        return log, size

    def _take(self, log: int, batch: Sequence[tuple[int, bytes, TraceEntry]]) -> None:
        if not batch:
            return
        last, leaf, _ = batch[-1]
        with self._connection:
            self._connection.executemany(_INSERT, (_row(log, at, entry) for at, _, entry in batch))
            pagms = ((pagm, log, at) for at, _, entry in batch for pagm in entry.pagms)
            self._connection.executemany("INSERT OR REPLACE INTO pagm VALUES (?,?,?)", pagms)
            update = "UPDATE log SET size = ?, leaf = ? WHERE id = ?"
            self._connection.execute(update, (last + 1, leaf, log))


def _prepare(connection: sqlite3.Connection) -> None:
    [version] = connection.execute("PRAGMA user_version").fetchone()
    if version not in {0, _VERSION}:
        raise sqlite3.DatabaseError(f"an index of version {version}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    if not version:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            [version] = connection.execute("PRAGMA user_version").fetchone()
            if not version:
                for statement in _TABLES.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {_VERSION}")


def _row(log: int, at: int, entry: TraceEntry) -> tuple[object, ...]:
    facts = (entry.assertion_id, entry.issuer, entry.subject, entry.name_id, entry.convention)
    return (log, at, entry.time, entry.event, *facts, entry.recipient, entry.verdict)


def _conditions(selection: Selection, subjects: Sequence[str]) -> tuple[list[str], list[str]]:
    wheres: list[str] = []
    values: list[str] = []
    for column in ("assertion_id", "issuer", "convention", "verdict", "event"):
        wanted: str | None = getattr(selection, column)
        if wanted is not None:
            wheres.append(f"{column} = ?")
            values.append(wanted)
    for condition, instant in (("time >= ?", selection.since), ("time < ?", selection.until)):
        if instant is not None:
            wheres.append(condition)
            values.append(instant)
    if selection.subject is not None:
        marks = ",".join("?" * len(subjects))
        wheres.append(f"(subject IN ({marks}) OR name_id IN ({marks}))")
        values += [*subjects, *subjects]
    if selection.partner is not None:
        wheres.append("(issuer = ? OR partner = ?)")
        values += [selection.partner] * 2
    if selection.pagm is not None:
        wheres.append(
            "EXISTS (SELECT 1 FROM pagm WHERE pagm.pagm = ? AND pagm.log = entry.log "
            "AND pagm.position = entry.position)"
        )
        values.append(selection.pagm)
    return wheres, values


def _unusable(directory: Path, exc: Exception) -> ConfigurationError:
    return ConfigurationError(
        str(directory / _FILE),
        "",
        f"a search index that can be used ({exc}): delete {directory}, and the next search rebuilds it",
    )

"""Which logs an appliance ought to have: by what its log `system` states, and by what its lanes remember to have signed.

A log that verifies says nothing of another that is gone. Names those: a log once stated to be present, one that a lane has signed
a checkpoint of, and the log `system` of a year in which a worker has written. What nobody has had a second to state is not missed.
"""

import contextlib
from collections.abc import Collection, Iterable, Iterator
from typing import Final

from appliance.trace.checkpoint import Checkpoint
from appliance.trace.names import SYSTEM, LogName, read_log_name
from appliance.trace.policy import STANDARD
from appliance.trace.reader import LogDamaged, LogReader
from appliance.trace.view import LogPlace

_NEEDLE: Final = b'"log-present"'


def missing_logs(
    place: LogPlace, present: Collection[str], signed: Iterable[Checkpoint]
) -> dict[str, str]:
    """Name the logs that are gone, each with who knows of it.

    Args:
        place: the home's logs.
        present: names of those that are there, here or where somebody keeps them.
        signed: what the lanes remember.
    """
    known = dict.fromkeys(_stated(place), "the log system knows it")
    for checkpoint in signed:
        name = checkpoint.origin.rpartition("/")[2]
        if not _is_on_its_way(place, name):
            known.setdefault(name, f"a lane has signed for {checkpoint.size} entries of it")
    for name in present:
        parts = read_log_name(name)
        if parts is not None and parts.writer.startswith("worker-"):
            known.setdefault(
                str(LogName(SYSTEM, STANDARD, parts.year)), f"{name} was written beside it"
            )
    return {name: who for name, who in sorted(known.items()) if name not in present}


def _stated(place: LogPlace) -> Iterator[str]:
    for name in place.names():
        parts = read_log_name(name)
        if parts is None or parts.writer != SYSTEM:
            continue
        with contextlib.suppress(LogDamaged):  # which `verify` names
            for stored in place.view(name).read():
                if _NEEDLE in stored.octets and stored.entry.event == "log-present":
                    yield str(stored.entry.log)


def _is_on_its_way(place: LogPlace, name: str) -> bool:
    """Tell whether a log's first checkpoint may be signed and not yet published: its spool still holds all of it."""
    return LogReader(place.spools / name).first_index() == 0

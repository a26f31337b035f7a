"""Which sections there are, in the order of the page, and what each needs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from bench.report.beside import measure_native, measure_peers
from bench.report.ground import Ground, NotGranted
from bench.report.growth import measure_held, measure_scaling, measure_size
from bench.report.inline import measure_gateway, measure_tls
from bench.report.issuing import (
    measure_issue,
    measure_latency,
    measure_mixed,
    measure_reuse,
    measure_verify,
)
from bench.report.model import LeftOut, Section
from bench.report.overload import measure_overload
from bench.report.simulated import measure_network, measure_null
from bench.report.tokens import measure_queue, measure_tokens


class Need(Enum):
    """What a section measures on."""

    HSM = "a token: --home, or --module"
    SERVICE = "a service: --home, or --url"
    MACHINE = "this machine, not a service elsewhere"
    HOMES = "homes of its own: run it without --home, --url and --module"


@dataclass(frozen=True, slots=True)
class Entry:
    """A section that can be asked for."""

    measure: Callable[[Ground], Section]
    need: Need


SECTIONS: Final[Mapping[str, Entry]] = {
    "ceiling": Entry(measure_tokens, Need.HSM),
    "lanes": Entry(measure_queue, Need.HSM),
    "issue": Entry(measure_issue, Need.SERVICE),
    "reuse": Entry(measure_reuse, Need.SERVICE),
    "verify": Entry(measure_verify, Need.SERVICE),
    "mixed": Entry(measure_mixed, Need.SERVICE),
    "latency": Entry(measure_latency, Need.SERVICE),
    "overload": Entry(measure_overload, Need.HOMES),
    "null": Entry(measure_null, Need.HOMES),
    "network": Entry(measure_network, Need.HOMES),
    "tls": Entry(measure_tls, Need.HOMES),
    "gateway": Entry(measure_gateway, Need.HOMES),
    "size": Entry(measure_size, Need.HOMES),
    "scaling": Entry(measure_scaling, Need.HOMES),
    "held": Entry(measure_held, Need.MACHINE),
    "peers": Entry(measure_peers, Need.MACHINE),
    "native": Entry(measure_native, Need.MACHINE),
}


def measure_all(
    names: Sequence[str], ground: Ground, say: Callable[[str], None]
) -> Iterator[Section | LeftOut]:
    """Measure one after the other; one that fails says why and ends nothing. A convention of the user's that does not allow a thing is no failure."""
    for name in names:
        say(name)
        try:
            yield SECTIONS[name].measure(ground)
        except Exception as exc:  # noqa: BLE001 - whatever ends one must not lose the hour of the others
            is_failure = not (ground.is_given and isinstance(exc, NotGranted))
            yield LeftOut(name, f"{type(exc).__name__}: {exc}", is_failure=is_failure)

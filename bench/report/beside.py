"""Sections about what is measured without a service: the XML core beside its peers, and whole vectors by what a user would take instead."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from appliance import native
from bench.machine import cores
from bench.makers import SoftwareKey, make_by_us, spki_of
from bench.native import AROUND, measure_digest, measure_vectors
from bench.peers import race
from bench.report.ground import Ground, NotMeasured
from bench.report.model import Figure, Section, Wanted

_BATCH: Final = 256
_MOST: Final[dict[str, float]] = {"python-xmlsec": 1 / 4, "signxml": 1 / 12}


def measure_native(ground: Ground) -> Section:
    """The XML core beside lxml, python-xmlsec and signxml."""
    pace = ground.pace
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(pace.rounds):
        for one in [*measure_digest("soap-100k", 1), *measure_vectors(1)]:
            times.setdefault((one.work, one.tool), []).append(one.seconds)
    verified = [_verify_batches(pace.seconds) for _ in range(pace.rounds)]
    figures = [
        Figure(f"{work} by {tool}", "µs", tuple(each * 1e6 for each in seconds))
        for (work, tool), seconds in times.items()
    ]
    around = {tool: times["issue", f"{tool}{AROUND}"] for tool in ("ours", *_MOST)}
    micro = {tool: tuple(each * 1e6 for each in seconds) for tool, seconds in around.items()}
    figures += [
        Figure(
            f"issue by ours, around the key operation, beside {tool}",
            "µs",
            micro["ours"],
            micro[tool],
            tool,
            Wanted(most=most, is_share=True),
        )
        for tool, most in _MOST.items()
    ]
    figures.append(
        Figure("signature verified in process, a thread for each core", "vectors/s", tuple(verified), wanted=Wanted(least=30_000.0))
    )  # fmt: skip
    return Section(
        "native",
        "The XML core",
        "The same documents and key for all, tools taking turns. Around the key operation: what a round took, less what the key operation"
        " alone (ours: its check) took in it. In process: the signature and structure of one vector and all that it states, again and again, by a thread for each core.",
        tuple(figures),
    )


def measure_peers(ground: Ground) -> Section:
    """Whole vectors, by us and by what a user would take instead."""
    pace = ground.pace
    place = ground.subjects[0].place if ground.subjects else None
    turns, refused = race(place, ground.jars, pace.seconds, pace.rounds)
    if refused:
        raise NotMeasured(f"libxmlsec does not accept what {refused[0][0]} made")
    figures = [
        Figure(
            f"{tool}, key in {key}", "vectors/s", tuple(one.vectors / one.seconds for one in its)
        )
        for (tool, key), its in turns.items()
    ]
    figures += [
        Figure(
            f"{tool}, key in {key}: processor time of a vector",
            "µs",
            tuple(one.processor / one.vectors * 1e6 for one in its),
        )
        for (tool, key), its in turns.items()
    ]
    return Section(
        "peers",
        "What a user would take instead",
        "The same vector, from content to octets, one process each, started once for all rounds, taking turns; OpenSAML's machine, where it runs,"
        " has 3 s before the first, in which it compiles what is hot. Ours verifies each signature before it lets the vector go, the"
        " others do not. Every contestant's last vector is verified by libxmlsec.",
        tuple(figures),
    )


def _verify_batches(seconds: float) -> float:
    """Vectors verified a second, key operation and all they state included, by a thread for each core."""
    signer = SoftwareKey.generate()
    vector, spki = make_by_us(signer.certificate, signer.sign)(), spki_of(signer.certificate)

    def verify_batch(_: int) -> int:
        for _ in range(_BATCH):
            assertion = native.locate(vector).assertion
            assert assertion is not None
            assertion.check_structure()
            assertion.signature_claim().verify(lambda _: spki).read()
        return _BATCH

    return _count(verify_batch, seconds)


def _count(work: Callable[[int], int], seconds: float) -> float:
    done, begun = 0, time.perf_counter()
    with ThreadPoolExecutor(cores()) as pool:
        while (took := time.perf_counter() - begun) < seconds:
            done += sum(pool.map(work, range(cores())))
    return done / took

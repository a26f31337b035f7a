"""Sections about tokens of the shim's making: one that costs nothing, and models of a network HSM; each on a home of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from bench.ceiling import keys_of_home, measure_ceiling
from bench.homes import RSA, make_null_home
from bench.load.scenario import Wanted as Asked
from bench.machine import cores
from bench.report.ground import (
    BATCH_CONNECTIONS,
    CONNECTIONS,
    Ground,
    Loaded,
    Subject,
    ceilings_of,
    describe_cost,
    load_named,
    measure_subject,
    remarks_of,
    run_service,
)
from bench.report.model import Figure, Section, Wanted

_NULL_WAYS: Final = {
    "single": ("one per request", CONNECTIONS, 14_000.0),
    "batch": ("batches of 64", BATCH_CONNECTIONS, 40_000.0),
}


@dataclass(frozen=True, slots=True)
class _Network:
    """A profile of the shim, how many lanes keep all its engines busy, and what it can give (native/pkcs11-shim, README)."""

    profile: str
    model: str
    lanes: int
    gives: float
    scenario: str
    connections: int


_NETWORKS: Final = (
    _Network("network-5ms-16", "5 ms, 16 parallel", 16, 3_200.0, "single", 64),
    _Network("network-1ms-30", "1 ms, 30 parallel", 30, 30_000.0, "batch", 16),
)


def measure_null(ground: Ground) -> Section:
    """Everything but the token: how many vectors when signatures cost nothing."""
    pace, asked = ground.pace, Asked(convention=RSA)
    home = ground.workshop / "null"
    loaded: dict[str, list[Loaded]] = {way: [] for way in _NULL_WAYS}
    ceilings = []
    make_null_home(home, {"# workers = 1": f"workers = {cores()}"})
    with run_service(home) as service:
        [place] = keys_of_home(home, "demo-ec")
        subject = Subject("null token", asked, place)
        for _ in range(pace.rounds):
            ceilings.append(measure_subject(subject, pace))
            for way, (_, connections, _) in _NULL_WAYS.items():
                loaded[way].append(load_named(service, way, asked, pace, connections))
    figures = tuple(
        Figure(
            name,
            "vectors/s",
            tuple(one.result.rate for one in loaded[way]),
            ceilings_of(ceilings),
            "null token",
            Wanted(least=least),
        )
        for way, (name, _, least) in _NULL_WAYS.items()
    )
    costs = [describe_cost(name, loaded[way]) for way, (name, _, _) in _NULL_WAYS.items()]
    results = [one.result for its in loaded.values() for one in its]
    return Section(
        "null",
        "A token that costs nothing",
        "The shim's null mode (P-256, valid signatures of a published key) in the place of the token: what is left is the service. A"
        f" worker for each core ({cores()}), for what is wanted is of the whole machine; two lanes. A closed loop: {CONNECTIONS} connections one per request,"
        f" as in `scaling`, {BATCH_CONNECTIONS} in batches.",
        figures,
        remarks=(*chain(*costs), *remarks_of(results)),
    )


def measure_network(ground: Ground) -> Section:
    """A network HSM by the shim's models: does the service keep all its engines busy?"""
    pace, asked = ground.pace, Asked(convention=RSA)
    figures: list[Figure] = []
    costs, results = [], []
    for network in _NETWORKS:
        home = ground.workshop / network.profile
        settings = {
            "# lanes = 2": f"lanes = {network.lanes}",
            "# workers = 1": f"workers = {cores()}",
        }
        shim = make_null_home(home, settings)
        loaded, raw = [], []
        with run_service(home) as service:
            shim.tell("profile", network.profile)
            [place] = keys_of_home(home, "demo-ec")
            for _ in range(pace.rounds):
                raw.append(measure_ceiling(*place, network.lanes, pace.seconds).rate)
                loaded.append(
                    load_named(service, network.scenario, asked, pace, network.connections)
                )
        way, _, _ = _NULL_WAYS[network.scenario]
        name = f"{network.model}, {way}"
        figures += _beside_model(network, name, loaded, raw)
        costs.append(describe_cost(name, loaded))
        results += [one.result for one in loaded]
    return Section(
        "network",
        "A simulated network HSM",
        "The shim's models of a network HSM on its null token: a signature is one round trip that keeps one of so many engines busy. As many"
        f" lanes as engines, {cores()} workers. What a model gives is engines over round trip; what as many processes without an appliance get out of"
        " it on these cores is measured in the same rounds.",
        tuple(figures),
        remarks=(*chain(*costs), *remarks_of(results)),
    )


def _beside_model(
    network: _Network, name: str, loaded: Sequence[Loaded], raw: Sequence[float]
) -> Iterator[Figure]:
    """What the raw token and the service get out of a model, each as a part of what it gives."""
    gives, of = (network.gives,) * len(raw), "what the model gives"
    what = f"{network.model}, raw, {network.lanes} processes"
    yield Figure(what, "signatures/s", tuple(raw), gives, of)
    rates = tuple(one.result.rate for one in loaded)
    yield Figure(name, "vectors/s", rates, gives, of, Wanted(least=0.95, is_share=True))

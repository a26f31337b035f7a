"""Sections about tokens of the shim's making: one that costs nothing, and models of a network HSM; each on a home of its own."""

from dataclasses import dataclass
from typing import Final

from bench.ceiling import keys_of_home
from bench.homes import RSA, make_null_home
from bench.load.scenario import Wanted as Asked
from bench.machine import cores
from bench.report.ground import (
    BATCH_CONNECTIONS,
    CONNECTIONS,
    Ground,
    Subject,
    ceilings_of,
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
    what: str
    lanes: int
    gives: float
    scenario: str
    connections: int


_NETWORKS: Final = (
    _Network("network-5ms-16", "5 ms, 16 parallel, one per request", 16, 3_200.0, "single", 64),
    _Network("network-1ms-30", "1 ms, 30 parallel, batches of 64", 30, 30_000.0, "batch", 16),
)


def measure_null(ground: Ground) -> Section:
    """Everything but the token: how many vectors when signatures cost nothing."""
    pace, asked = ground.pace, Asked(convention=RSA)
    home = ground.workshop / "null"
    rates: dict[str, list[float]] = {way: [] for way in _NULL_WAYS}
    ceilings, results = [], []
    make_null_home(home, {"# workers = 1": f"workers = {cores()}"})
    with run_service(home) as service:
        [place] = keys_of_home(home, "demo-ec")
        subject = Subject("null token", asked, place)
        for _ in range(pace.rounds):
            ceilings.append(measure_subject(subject, pace))
            for way, (_, connections, _) in _NULL_WAYS.items():
                result = load_named(service, way, asked, pace, connections).result
                rates[way].append(result.rate)
                results.append(result)
    figures = tuple(
        Figure(
            name,
            "vectors/s",
            tuple(rates[way]),
            ceilings_of(ceilings),
            "null token",
            Wanted(least=least),
        )
        for way, (name, _, least) in _NULL_WAYS.items()
    )
    return Section(
        "null",
        "A token that costs nothing",
        "The shim's null mode (P-256, valid signatures of a published key) in the place of the token: what is left is the service. A"
        f" worker for each core ({cores()}), for what is wanted is of the whole machine; two lanes. A closed loop: {CONNECTIONS} connections one per request,"
        f" as in `scaling`, {BATCH_CONNECTIONS} in batches.",
        figures,
        remarks=remarks_of(results),
    )


def measure_network(ground: Ground) -> Section:
    """A network HSM by the shim's models: does the service keep all its engines busy?"""
    pace, asked = ground.pace, Asked(convention=RSA)
    figures, results = [], []
    for network in _NETWORKS:
        home = ground.workshop / network.profile
        settings = {
            "# lanes = 2": f"lanes = {network.lanes}",
            "# workers = 1": f"workers = {cores()}",
        }
        shim = make_null_home(home, settings)
        with run_service(home) as service:
            shim.tell("profile", network.profile)
            runs = [
                load_named(service, network.scenario, asked, pace, network.connections).result
                for _ in range(pace.rounds)
            ]
        results += runs
        figures.append(
            Figure(
                network.what,
                "vectors/s",
                tuple(each.rate for each in runs),
                (network.gives,) * len(runs),
                "what the model gives",
                Wanted(least=0.95, is_share=True),
            )
        )
    return Section(
        "network",
        "A simulated network HSM",
        "The shim's models of a network HSM on its null token: a signature is one round trip that keeps one of so many engines busy. As many"
        f" lanes as engines, {cores()} workers. What a model gives is engines over round trip.",
        tuple(figures),
        remarks=remarks_of(results),
    )

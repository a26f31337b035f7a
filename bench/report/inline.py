"""Sections about messages in line, and what TLS takes; two organisations' appliances on homes of their own."""

from typing import Final

from bench.gateway import GatewayScene, gateway_scene, message_through
from bench.load import LoadResult
from bench.load.scenario import Target
from bench.report.ground import Ground, Loaded, Service, load, remarks_of
from bench.report.model import Figure, Section, Wanted

_DOCUMENT: Final = "soap-10k"
_CONNECTIONS: Final = 16
_CALM: Final = 50.0
_WAYS: Final = (
    ("straight", "/droits"),
    ("one appliance, vector reused", "/one/reused"),
    ("one appliance, vector fresh", "/one/fresh"),
    ("two appliances, vector reused", "/two/reused"),
    ("two appliances, vector fresh", "/two/fresh"),
)


def measure_gateway(ground: Ground) -> Section:
    """A message straight to its application, through one appliance and through two."""
    pace = ground.pace
    busy: dict[str, list[Loaded]] = {name: [] for name, _ in _WAYS}
    calm: dict[str, list[Loaded]] = {name: [] for name, _ in _WAYS}
    with gateway_scene() as scene:
        for turn in range(pace.rounds):
            for name, path in _WAYS:
                target = _target(scene, name)
                service = Service(target, scene.a.pid)
                scenario = message_through(target, path, _DOCUMENT)
                calm[name].append(load(service, scenario, pace, _CONNECTIONS, _CALM, turn))
                busy[name].append(load(service, scenario, pace, _CONNECTIONS))
    straight = [one.result for one in calm["straight"]]
    figures = []
    for name, _ in _WAYS:
        rates = tuple(one.result.request_rate for one in busy[name])
        figures.append(Figure(name, "messages/s", rates))
        added = (
            (one.result.p50 - bare.p50) * 1000
            for one, bare in zip(calm[name], straight, strict=True)
        )
        if name != "straight":
            figures.append(Figure(f"{name}, added to the median", "ms", tuple(added)))
    return Section(
        "gateway",
        "In line",
        "A SOAP message of 10 KB from an application to another one: straight, through its own organisation's appliance with mutual TLS behind"
        f" it, and through both organisations'. {_CONNECTIONS} connections in a closed loop; what is added, in an open loop of {_CALM:.0f}/s."
        " Everything on the same cores.",
        tuple(figures),
        remarks=remarks_of([one.result for way in (*calm.values(), *busy.values()) for one in way]),
    )


def measure_tls(ground: Ground) -> Section:
    """The same listener plain and with mutual TLS, connections kept."""
    pace = ground.pace
    plain: list[LoadResult] = []
    secured: list[LoadResult] = []
    with gateway_scene() as scene:
        for _ in range(pace.rounds):
            for target, loaded in ((scene.outbound, plain), (scene.secured, secured)):
                scenario = message_through(target, "/one/reused", _DOCUMENT)
                loaded.append(load(Service(target), scenario, pace, _CONNECTIONS).result)
    return Section(
        "tls",
        "Mutual TLS",
        "A SOAP message of 10 KB through one appliance with a vector that is reused: the application's side plain, and over mutual TLS, on"
        f" {_CONNECTIONS} connections that are kept; in turns. Behind it both go on over mutual TLS.",
        (
            Figure("plain", "messages/s", tuple(one.request_rate for one in plain)),
            Figure(
                "mutual TLS, connections kept",
                "messages/s",
                tuple(one.request_rate for one in secured),
                tuple(one.request_rate for one in plain),
                "plain",
                Wanted(least=0.85, is_share=True),
            ),
        ),
        remarks=remarks_of([*plain, *secured]),
    )


def _target(scene: GatewayScene, name: str) -> Target:
    return scene.plain if name == "straight" else scene.outbound

"""Sections of the report about what more of something costs: each says when it costs too much."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bench.load import LoadResult
from bench.load.scenario import Wanted
from bench.report import growth
from bench.report.ground import FULL, Ground, Loaded


def loaded(rate: float, cost: float) -> Loaded:
    """What a load brought, and what a vector took of worker and lane together."""
    result = LoadResult(
        *("batch", 64, 8, 1, 1.0, None, "", 10, rate, rate), *(0.001,) * 6, 0, 0.1,
        *({}, 0, 0.0, 0.0, ""),
    )  # fmt: skip
    return Loaded(result, {"worker": cost / 4, "lane": cost * 3 / 4})


@pytest.mark.parametrize(
    ("alone", "rate", "cost", "is_met"),
    [
        (800e-6, 1850, 800e-6, [True, True]),  # twice what one gives
        (800e-6, 1700, 800e-6, [False, True]),  # less, with room on the cores
        (1250e-6, 1500, 1300e-6, [True, True]),  # all that two cores have time for
        (1250e-6, 1400, 1420e-6, [False, True]),  # full cores, of which some is wasted
        (800e-6, 1850, 1020e-6, [True, False]),  # and a vector that costs more than by one lane
    ],
)
def test_lanes_must_give_in_proportion_until_the_cores_are_full(
    alone: float, rate: float, cost: float, is_met: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many times what one lane gives, or what the cores have time for at its cost of a vector; and that cost must stay what it is."""
    monkeypatch.setattr(growth, "cores", lambda: 2)
    figures = growth._judge(2, [loaded(rate, cost)], [loaded(1000, alone)])
    assert [figure.is_met for figure in figures] == is_met
    assert [figure.name for figure in figures] == [
        "RSA-2048, batches of 64, 2 lanes, beside linear growth",
        "RSA-2048, batches of 64, 2 lanes, processor time of a vector",
    ]
    assert not figures[0].of.startswith(
        "token"
    )  # which the plot of throughput against the token shows


@pytest.mark.parametrize(
    ("seconds", "is_met"),
    [
        ((20, 180, 1800), [True, True]),
        ((360, 650, 4400), [True, True]),
        ((20, 180, 2300), [False, True]),
        ((360, 650, 6000), [True, False]),  # what every message costs hides it from the first
        ((20, 180, 18_000), [False, False]),
    ],
)
def test_the_largest_message_must_cost_in_proportion(
    seconds: Sequence[float], is_met: list[bool]
) -> None:
    """As a whole, and what is added by a KB more."""
    measured = {name: [each] for name, each in zip(growth._DOCUMENTS, seconds, strict=True)}
    figures = growth._sized("digest", measured)
    assert [figure.is_met for figure in figures] == [None] * 3 + is_met
    assert len({figure.name for figure in figures}) == 5


def test_what_is_held_must_not_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the time of one operation is too much, with ten and with a hundred times as many."""

    async def measure(
        _cached: object, vectors: Sequence[int], _conventions: Sequence[int]
    ) -> Mapping[str, Mapping[int, float]]:
        return {"a hit": dict(zip(vectors, (1e-6, 1.9e-6, 2.1e-6), strict=True))}

    monkeypatch.setattr(growth, "measure_growth", measure)
    section = growth.measure_held(Ground(replace(FULL, rounds=1), (), Wanted(), tmp_path))
    assert {figure.name: figure.is_met for figure in section.figures} == {
        "a hit (100,000)": True,
        "a hit (1,000,000)": False,
    }
    assert "it would be 100 times as much" in section.how

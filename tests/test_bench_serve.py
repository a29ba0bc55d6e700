"""Load on a server: when requests arrive, what is told of them, and a run against a real server."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest

from fakes import scripted
from hogwild.bench.load import PLAIN, TEAM, Limits, Load, Outcome, arrivals, body, percentiles, summary
from hogwild.bench.serve import bench_serve, serve_table
from hogwild.errors import OptionError
from serving import served


def test_arrivals_are_by_chance_and_the_same_for_a_seed() -> None:
    load = Load(rate=50, seconds=40, teams=0.25, seed=3)
    found = arrivals(load)
    assert found == arrivals(load)
    assert found != arrivals(Load(rate=50, seconds=40, teams=0.25, seed=4))
    assert abs(len(found) - 2000) < 4 * 2000**0.5
    assert abs(sum(one.kind == TEAM for one in found) / len(found) - 0.25) < 0.05
    assert all(a.at <= b.at for a, b in pairwise(found))
    assert len({one.prompt for one in found}) == len(found)
    gaps = [b.at - a.at for a, b in pairwise(found)]
    mean = sum(gaps) / len(gaps)
    assert abs(sum((gap - mean) ** 2 for gap in gaps) / len(gaps) / mean**2 - 1) < 0.25  # exponential


def test_what_is_asked_for() -> None:
    load = Load(workers=3, tokens=5)
    one = next(arrival for arrival in arrivals(Load(rate=10, teams=1)) if arrival.kind == TEAM)
    assert body(one, load, "m")["model"] == "hogwild-3/m"
    assert body(one, load, "m")["max_tokens"] == 5


@pytest.mark.parametrize("wrong", [{"rate": 0}, {"seconds": -1}, {"teams": 1.5}, {"tokens": 0}])
def test_a_load_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Load(**wrong)


def test_the_figures() -> None:
    outcomes = [
        Outcome(PLAIN, first=0.5, end=1.0, gaps=[0.1, 0.3], tokens=3, status=200),
        Outcome(PLAIN, first=3.0, end=4.0, gaps=[0.1], tokens=2, status=200),  # too late
        Outcome(PLAIN, first=0.5, end=4.0, gaps=[1.0], tokens=2, status=200),  # too slow
        Outcome(PLAIN, end=0.1, status=503, error="503 overloaded"),
    ]
    found = summary(outcomes, Limits(first=2.0, token=0.25), seconds=10.0)
    assert (found["requests"], found["answered"]) == (4, 3)
    assert found["failures"] == {"503 overloaded": 1}
    assert found["goodput_per_second"] == 0.1
    assert found["tokens_per_second"] == 0.7
    assert found["first_token_seconds"]["p50"] == 0.5
    assert found["inter_token_seconds"]["max"] == 1.0
    assert percentiles([]) == {}


def test_against_a_server() -> None:
    engine = scripted()
    engine.hook = lambda: time.sleep(0.002)
    with served(engine, max_open=1000) as server:
        load = Load(rate=20, seconds=1.0, tokens=6, words=4)
        result = bench_serve(server.url, "tiny", load, Limits(), None, lambda line: None)
        everything = result["figures"]["all"]
        assert everything["requests"] == everything["answered"] == len(arrivals(load))
        assert result["figures"][TEAM]["inter_token_seconds"]["p50"] > 0
        assert everything["first_token_seconds"]["max"] <= everything["end_to_end_seconds"]["max"]
        assert serve_table(result).rows[0][:4] == ("all", str(everything["requests"]), str(everything["answered"]), "0")
        gone = bench_serve(server.url, "nothing", Load(rate=20, seconds=0.5), Limits(), None, lambda line: None)
        assert set(gone["figures"]["all"]["failures"]) == {"404 model_not_found"}

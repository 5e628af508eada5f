"""What several jobs found: a run dealt out by connection and put together again is the run itself."""

from __future__ import annotations

import json
from collections import Counter
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from rxtls.run.merge import Found, merged, numbers, why_not
from rxtls.run.replay import Replay
from rxtls.run.summary import in_order, sight

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def run() -> Replay:
    """One with many connections."""
    name = str(EXAMPLES / "many-tls13-aes128gcm")
    replay = Replay([name + ".pcap"], [name + ".keys"])
    for _ in replay.batches():
        pass
    return replay


def dealt(run: Replay, jobs: int, dice: Random) -> list[Found]:
    """As if `jobs` jobs had found it: connections and fates at random, numbered anew in each."""
    whole = json.loads(json.dumps(run.summary()))
    owners = [dice.randrange(jobs) for _ in whole["flows"]]
    starts = [flow.connection.start_frame for flow in in_order(run)]
    fates = [Counter[str]() for _ in range(jobs)]
    for name, n in whole["fates"].items():
        cuts = [0, *sorted(dice.randrange(n + 1) for _ in range(jobs - 1)), n]
        for job, (start, stop) in enumerate(pairwise(cuts)):
            if stop > start:
                fates[job][name] = stop - start
    found, seen = [], [sight(run, flow) for flow in in_order(run)]
    for job in range(jobs):
        mine = [n for n, owner in enumerate(owners) if owner == job]
        entered: Counter[str] = Counter()
        for name, n in fates[job].items():
            entered[name.partition(".")[0]] += n
        summary = deepcopy(whole)
        summary["flows"] = [{**whole["flows"][n], "id": place} for place, n in enumerate(mine)]
        summary["driver"] = {name: n // jobs + (n % jobs if job == 0 else 0) for name, n in whole["driver"].items()}
        summary["hosts"] = [
            {
                "address": host["address"],
                "driver": {name: n // jobs + (n % jobs if job == 0 else 0) for name, n in host["driver"].items()},
            }
            for host in whole["hosts"]
        ]
        if job:  # whose share of bytes it is does not matter: each job's closes
            summary["coverage"] = {"tcp_bytes": 0, "tls_bytes": 0, "opened": 0, "modelled": 0, "rest": {}}
        summary |= {"fates": dict(fates[job]), "wall_seconds": job + 0.5, "balance": 0}
        found.append(
            Found(
                summary,
                [starts[n] for n in mine],
                [seen[n] for n in mine],
                entered,
                b"as one",
                len(mine),
                {"192.0.2.1": 2 * len(mine)},
                3 * len(mine),
            )
        )
    return found


def timeless(summary: dict[str, Any]) -> str:
    """The JSON without what is another one in every run."""
    return json.dumps({**summary, "wall_seconds": None, "jobs": None}, indent=1)


@pytest.mark.parametrize("jobs", [1, 2, 3, 16])
@pytest.mark.parametrize("seed", range(3))
def test_dealt_out_and_put_together_it_is_the_same(run: Replay, jobs: int, seed: int) -> None:
    found = dealt(run, jobs, Random(seed))
    Random(seed).shuffle(found)
    assert why_not(found) is None
    whole = merged(found)
    assert timeless(whole) == timeless(run.summary())
    assert (whole["jobs"], whole["wall_seconds"]) == (jobs, jobs - 0.5)
    assert len(whole["flows"]) > 50


def test_connections_are_numbered_as_one_job_numbers_them(run: Replay) -> None:
    expected = {flow.connection.start_frame: flow.connection.id for flow in run.path.flows.values()}
    assert numbers(dealt(run, 3, Random(1))) == expected


def test_what_disappeared_in_one_job_is_not_made_up_for_by_another(run: Replay) -> None:
    one, other = dealt(run, 2, Random(1))
    one.entered["frame"] += 3
    assert merged([one, other])["balance"] == 3
    other.entered["byte"] -= 2
    assert merged([one, other])["balance"] == 5


def test_what_was_met_is_met(run: Replay) -> None:
    one, other = dealt(run, 2, Random(1))
    other.summary["limits_met"] = {"keys_wait": True, "receive_tags": 0, "hold_run": 1}
    assert merged([one, other])["limits_met"] == {"keys_wait": True, "receive_tags": 0, "hold_run": 1}


@pytest.mark.parametrize(
    ("key", "value"),
    [("frames", 1), ("captured_bytes", 1), ("errors", [{"file": "x", "offset": 1, "cause": "y"}]), ("interfaces", [])],
)
def test_jobs_that_saw_other_captures_have_no_result(run: Replay, key: str, value: object) -> None:
    one, other = dealt(run, 2, Random(1))
    other.summary[key] = value
    assert why_not([one, other]) == "the captures changed while they were read"


def test_jobs_that_shared_otherwise_have_no_result(run: Replay) -> None:
    one, other = dealt(run, 2, Random(1))
    other.partition = b"otherwise"
    assert why_not([one, other]) == "the captures changed while they were read"


@pytest.mark.parametrize(
    ("bound", "attribute", "word"),
    [
        ("max_flows", "most_flows", "connections"),
        ("max_receive_tags", "most_receive_tags", "receive tags"),
        ("hold_run", "most_held", "hold out of order"),
    ],
)
def test_bounds_that_may_have_been_met_together_have_no_result(
    run: Replay, bound: str, attribute: str, word: str
) -> None:
    found = dealt(run, 3, Random(1))
    most = [getattr(each, attribute) for each in found]
    together = sum(sum(each.values()) if isinstance(each, dict) else each for each in most)
    for each in found:
        each.summary["settings"][bound] = together
    assert why_not(found) is None
    for each in found:
        each.summary["settings"][bound] = together - 1
    reason = why_not(found)
    assert reason is not None
    assert word in reason

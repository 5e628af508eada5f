"""Renegotiation read at any pace: one side may be several handshakes ahead of the other."""

from __future__ import annotations

from random import Random

import pytest

import runs
from rxtls.crypto.suites import SUITES, Version
from rxtls.simulation.link import Connection, Impairment, Link
from rxtls.simulation.synth import Session, converse, renegotiate


@pytest.mark.parametrize("profile", ["connectx-6dx", "ideal", "none"])
@pytest.mark.parametrize("budget", ["1", "7", "64", "1000"])
@pytest.mark.parametrize("code", [0xC02F, 0xCCA8, 0xC013])
def test_any_budget_reads_the_same_over_two_renegotiations(code: int, budget: str, profile: str) -> None:
    dice = Random(code)
    talk = converse(Session(SUITES[code], Version.TLS12), dice)
    for _ in range(2):
        talk.request([b"up" * 3000], [b"down" * 4000] * 3)
        renegotiate(talk, dice)
    talk.request([b"last"], [b"word" * 4000])
    talk.close()
    run = Link(3, Impairment(loss=0.02), Impairment(loss=0.02)).run(Connection(), talk.client, talk.server)
    ran = runs.run(run.frames, talk.keylog, profile, {"budget": budget})
    read = {key[2]: [(r.type, r.data) for r in records] for key, records in ran.records.items()}
    for side, sent in (("server", run.client), ("client", run.server)):
        assert [data for kind, data in read[side] if kind == 23] == [data for kind, data in sent.truth if kind == 23]
    flow = ran.path.flows[0]
    assert all(direction.complete() for direction in flow.directions)
    assert not flow.library.handshaking
    if profile == "ideal" and code != 0xC013 and budget != "1000":  # there, several changes may meet one host point
        assert all(direction.epoch == 3 for direction in flow.directions)

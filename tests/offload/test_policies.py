"""What every policy has to hold to, whatever it is: nothing here knows how one of them works."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rxtls.offload.commands import (
    Auth,
    Command,
    Confirm,
    Guess,
    Progress,
    Query,
    Report,
    SetPosition,
    Standing,
    Tracker,
)
from rxtls.offload.policies import POLICIES, Policy
from rxtls.offload.policies.freebsd_table import FreebsdTable
from rxtls.offload.policies.linux_async import LinuxAsync
from rxtls.offload.policies.linux_sync import LinuxSync
from rxtls.offload.policies.look_ahead import LookAhead
from rxtls.offload.policies.next_hint import NextHint
from rxtls.offload.policies.none import NoPolicy

every_policy = pytest.mark.parametrize("name", sorted(POLICIES))


def test_the_list_of_policies() -> None:
    assert {
        "freebsd-table": FreebsdTable,
        "linux-sync": LinuxSync,
        "linux-async": LinuxAsync,
        "next-hint": NextHint,
        "look-ahead": LookAhead,
        "none": NoPolicy,
    } == POLICIES


@every_policy
def test_one_object_for_each_receive_tag(name: str) -> None:
    one, other = POLICIES[name](), POLICIES[name]()
    assert one is not other
    first = one.report(1, Report(1_000, 100, 0))
    assert other.report(1, Report(1_000, 100, 0)) == first  # it has not heard what the first one heard


@every_policy
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_a_policy_says(name: str, data: st.DataObject) -> None:
    """Truthful reports and whatever answers: own epoch, no more queries than were asked for, and numbers of records
    that are: confirmed by a header that was met, announced for one that has not come."""
    policy: Policy = POLICIES[name]()
    seq = data.draw(st.sampled_from([1_000, 2**32 - 700]))
    number = data.draw(st.sampled_from([0, 2**63]))
    truth: dict[int, int] = {}
    outstanding = asked = 0
    for _ in range(data.draw(st.integers(0, 30))):
        said: list[Command]
        match data.draw(st.sampled_from(["report", "report", "skip", "in sync", "answer", "guess", "stand"])):
            case "skip":
                seq = (seq + 100) % 2**32
                number += 1
                continue
            case "report":
                length = data.draw(st.sampled_from([100, 100, 22, 16406]))
                truth[seq] = number
                said = policy.report(3, Report(seq, length, number))
                seq = (seq + length) % 2**32
                number += 1
            case "stand" if policy.listening:
                places = [(seq, number), ((seq + 100) % 2**32, number + 1)]
                truth |= dict(places)
                said = policy.stand(3, Standing(tuple(places), 1, 100, (seq + 100) % 2**32))
            case "in sync" | "stand":
                said = policy.report(3, Report(seq, 0, number - 1))
            case kind:
                anchor = data.draw(st.sampled_from(sorted(truth) or [0])) + data.draw(st.sampled_from([0, 0, 1, 100]))
                tracker, auth = data.draw(st.sampled_from(Tracker)), data.draw(st.sampled_from(Auth))
                if kind == "answer":
                    outstanding = max(0, outstanding - 1)
                    said = policy.answer(Progress(3, seq, anchor % 2**32, tracker, auth, 1))
                else:
                    asked += 1
                    said = policy.answer(Guess(3, anchor % 2**32, anchor % 2**32, 100))
        for command in said:
            assert command.epoch == 3
            if isinstance(command, Query):
                outstanding += 1
            else:
                assert isinstance(command, Confirm | SetPosition)
                assert truth[command.tcp_sn] == command.number
        assert outstanding <= 1 + asked


def test_no_policy_says_nothing() -> None:
    policy = NoPolicy()
    for number in range(10):
        assert policy.report(1, Report(1_000 + 100 * number, 100, number)) == []
    assert policy.answer(Progress(1, 0, 1_000, Tracker.TRACKING, Auth.NO_OFFLOAD, 0)) == []
    assert policy.answer(Guess(1, 1_000, 1_000, 10)) == []

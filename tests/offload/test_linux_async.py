from __future__ import annotations

import pytest

from rxtls.offload.commands import Auth, Command, Confirm, Guess, Progress, Query, Report, Standing, Tracker
from rxtls.offload.policies import linux_async
from rxtls.offload.policies.linux_async import COUNT_MAX, LOG, LinuxAsync

TOP = 2**32 - 150  # the records' places straddle the wrap


def place(n: int) -> int:
    return (TOP + 100 * n) % 2**32


FIRST = 2**40  # the first record's number: whatever a connection has behind it


def report(n: int) -> Report:
    return Report(place(n), 100, FIRST + n)


def exact(n: int, off: int = 0) -> Progress:
    return Progress(1, 0, (place(n) + off) % 2**32, Tracker.TRACKING, Auth.NO_OFFLOAD, 0)


def asked(first: int, count: int) -> LinuxAsync:
    """A request is open for a packet that begins before the header of record `first` and reaches over `count`."""
    policy = LinuxAsync()
    assert policy.answer(Guess(1, place(first), (place(first) - 10) % 2**32, 100 * count)) == [Query(1)]
    assert policy.listening
    return policy


def test_the_numbers_are_linux_s() -> None:
    assert (LOG, COUNT_MAX) == (13, 2**16 - 1)


@pytest.mark.parametrize("meanwhile", range(15))
def test_the_number_is_right_however_many_records_pass_between_request_and_answer(meanwhile: int) -> None:
    """Linux 138559b9f99d: the record number was wrong by the records parsed since."""
    policy = asked(2, 4)
    for n in range(2 + meanwhile):
        assert policy.report(1, report(n)) == []
    assert policy.answer(exact(3)) == []
    at = 2 + meanwhile
    said: list[Command] = []
    while not said and at < 30:
        said = policy.report(1, report(at))
        at += 1
    assert said == [Confirm(1, place(3), FIRST + 3)]
    assert not policy.listening


def test_headers_outside_the_packet_are_not_logged() -> None:
    policy = asked(2, 1)  # [190, 290): the header at 200 alone
    for n in range(6):
        policy.report(1, report(n))
    policy.answer(exact(3))
    assert policy.report(1, report(6)) == []
    assert policy.listening  # record 3 has passed unlogged: nothing will match any more


def test_the_log_is_bounded() -> None:
    policy = asked(0, 40)
    for n in range(20):
        policy.report(1, report(n))
    for n, found in ((LOG, False), (LOG - 1, True)):
        policy.answer(exact(n))
        assert bool(policy.report(1, report(20 + n))) is found
        policy = asked(0, 40)
        for m in range(20):
            policy.report(1, report(m))


def test_the_log_is_searched_once_and_then_each_header_compared() -> None:
    policy = asked(0, 4)
    policy.report(1, report(0))
    policy.answer(exact(5))
    assert policy.report(1, report(1)) == []
    policy.answer(exact(0))  # a second answer to the same request: the log is gone
    assert policy.report(1, report(2)) == []
    policy.answer(exact(5))
    assert policy.report(1, report(5)) == [Confirm(1, place(5), FIRST + 5)]


def test_a_header_is_met_before_its_record_is_whole_and_only_once() -> None:
    policy = asked(1, 2)
    half = Standing(((place(1), FIRST + 1),), 0, 3, place(1) + 3)
    whole = Standing(((place(1), FIRST + 1), (place(2), FIRST + 2)), 1, 50, place(1) + 50)
    assert policy.stand(1, half) == []
    assert policy.stand(1, whole) == []
    assert policy.report(1, report(1)) == []
    policy.answer(exact(1))
    assert policy.report(1, report(2)) == [Confirm(1, place(1), FIRST + 1)]


@pytest.mark.parametrize("tracker", Tracker)
@pytest.mark.parametrize("auth", Auth)
def test_a_device_that_does_not_track_or_is_in_sync_cancels_the_request(tracker: Tracker, auth: Auth) -> None:
    policy = asked(1, 2)
    policy.answer(exact(1)._replace(tracker=tracker, auth=auth))
    waits = (tracker, auth) == (Tracker.TRACKING, Auth.NO_OFFLOAD)
    assert policy.listening is waits
    assert policy.report(1, report(1)) == ([Confirm(1, place(1), FIRST + 1)] if waits else [])


def test_a_count_that_is_used_up_cancels_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linux_async, "COUNT_MAX", 4)
    policy = asked(0, 2)
    for n in range(4):
        policy.report(1, report(n))
    assert policy.listening
    policy.report(1, report(4))
    assert not policy.listening


def test_a_newer_packet_takes_the_request() -> None:
    policy = asked(0, 2)
    policy.report(1, report(0))
    assert policy.answer(Guess(1, place(3), place(3), 90)) == [Query(1)]
    policy.report(1, report(1))
    policy.answer(exact(3))
    assert policy.report(1, report(3)) == [Confirm(1, place(3), FIRST + 3)]

from __future__ import annotations

from rxtls.offload.commands import Auth, Confirm, Guess, Progress, Report, Standing, Tracker
from rxtls.offload.policies.linux_sync import LinuxSync

TOP = 2**32 - 150  # the records' places straddle the wrap


def place(n: int) -> int:
    return (TOP + 100 * n) % 2**32


def report(n: int, length: int = 100) -> Report:
    return Report(place(n), length, n)


def standing(n: int, in_order: int = 1) -> Standing:
    places = tuple((place(n + i), n + i) for i in range(in_order + 1))
    return Standing(places, in_order, 50, place(n) + 50)


def guess(n: int, off: int = 0) -> Guess:
    return Guess(1, (place(n) + off) % 2**32, place(n), 400)


def test_the_guess_is_confirmed_when_its_header_is_met() -> None:
    policy = LinuxSync()
    assert policy.report(1, report(0)) == []
    assert policy.answer(guess(2)) == []
    assert policy.report(1, report(1)) == []
    assert policy.report(1, report(2)) == [Confirm(1, place(2), 2)]
    assert not policy.listening
    assert policy.report(1, report(3)) == []


def test_a_header_is_met_before_its_record_is_whole_and_only_once() -> None:
    policy = LinuxSync()
    policy.answer(guess(2))
    assert policy.stand(1, standing(1)) == []
    assert policy.stand(1, standing(2, 0)) == []  # five bytes of it are not here yet
    assert policy.stand(1, standing(2)) == [Confirm(1, place(2), 2)]
    policy.answer(guess(2))  # the same again: the parser is past it
    assert policy.stand(1, standing(2)) == []
    assert policy.report(1, report(2)) == []
    assert policy.listening


def test_a_newer_guess_takes_the_slot() -> None:
    policy = LinuxSync()
    policy.answer(guess(2))
    policy.answer(guess(3))
    assert policy.report(1, report(2)) == []
    assert policy.report(1, report(3)) == [Confirm(1, place(3), 3)]


def test_there_is_no_negative_answer() -> None:
    policy = LinuxSync()
    policy.answer(guess(1, off=7))
    assert [policy.report(1, report(n)) for n in range(5)] == [[]] * 5
    assert policy.listening


def test_neither_snapshots_nor_the_end_of_a_loss_mean_anything_to_it() -> None:
    policy = LinuxSync()
    assert policy.answer(Progress(1, 0, place(1), Tracker.TRACKING, Auth.NO_OFFLOAD, 0)) == []
    assert not policy.listening
    policy.answer(guess(1))
    assert policy.report(1, Report(place(1), 0, 0)) == []
    assert policy.listening

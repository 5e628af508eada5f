from __future__ import annotations

from rxtls.offload.commands import Confirm, Guess, Report, SetPosition, Standing
from rxtls.offload.policies.look_ahead import MOST_PATIENCE, PATIENCE, LookAhead

TOP = 2**32 - 150  # the records' places straddle the wrap


def place(n: int, off: int = 0) -> int:
    return (TOP + 100 * n + off) % 2**32


def report(n: int) -> Report:
    return Report(place(n), 100, n)


def standing(first: int, last: int, in_order: int = 1, top: int = 0) -> Standing:
    """The headers of records `first` to `last` are known, the last one's place only; all is received up to there."""
    places = tuple((place(n), n) for n in range(first, last + 1))
    return Standing(places, in_order, 50, place(last, top))


def guess(n: int, off: int = 0) -> Guess:
    return Guess(1, place(n, off), place(n), 400)


def test_a_guess_is_confirmed_as_soon_as_the_walk_comes_by_it() -> None:
    policy = LookAhead()
    policy.report(1, report(0))
    policy.answer(guess(5))
    assert policy.stand(1, standing(1, 4)) == []
    assert policy.stand(1, standing(1, 7)) == [Confirm(1, place(5), 5)]  # neither whole nor in order
    assert not policy.listening


def test_a_guess_whose_record_was_whole_in_the_same_host_point() -> None:
    policy = LookAhead()
    policy.answer(guess(1))
    assert policy.report(1, report(0)) == []
    assert policy.report(1, report(1)) == [Confirm(1, place(1), 1)]
    assert not policy.listening


def test_a_false_guess_is_taken_back_by_a_new_position() -> None:
    policy = LookAhead()
    policy.answer(guess(2, off=40))
    assert policy.stand(1, standing(1, 2)) == []  # it may still be a header
    assert policy.stand(1, standing(1, 4, top=-20)) == [SetPosition(1, place(4), 4)]
    assert not policy.listening


def test_a_false_guess_within_a_record_that_is_whole() -> None:
    policy = LookAhead()
    policy.answer(guess(2, off=40))
    assert policy.report(1, report(2)) == []
    assert policy.stand(1, standing(3, 4, top=-1)) == [SetPosition(1, place(4), 4)]


def test_no_position_is_given_that_the_device_has_passed() -> None:
    policy = LookAhead()
    policy.answer(guess(2, off=40))
    assert policy.stand(1, standing(1, 4, top=300)) == []  # held data lies behind a header that is lost
    assert policy.listening
    assert policy.stand(1, standing(4, 8)) == [SetPosition(1, place(8), 8)]


def test_a_guess_in_a_retransmission_is_taken_back() -> None:
    """Its record is done with; but from there on the device may track for good, and the two kernels would let it."""
    policy = LookAhead()
    policy.answer(guess(0))
    assert policy.stand(1, standing(3, 4)) == [SetPosition(1, place(4), 4)]
    assert not policy.listening


def test_patience_ends_and_doubles() -> None:
    """A lost guess, or a lost command: records keep coming up encrypted, and nobody says why."""
    policy = LookAhead()
    given = []
    number = at = 0
    while at < 200 << 20:
        policy.report(1, Report(at % 2**32, 16384, number))
        at, number = at + 16384, number + 1
        if policy.listening:
            assert policy.stand(1, Standing(((at % 2**32, number),), 0, 0, at % 2**32)) == [
                SetPosition(1, at % 2**32, number)
            ]
            given.append(at)
    waits = [b - a for a, b in zip([0, *given], given, strict=False)]
    wanted = [PATIENCE, *(min(PATIENCE << n, MOST_PATIENCE) for n in range(len(waits) - 1))]
    assert all(0 <= got - want <= 2 * 16384 for got, want in zip(waits, wanted, strict=True))
    policy.report(1, Report(at % 2**32, 0, number))
    policy.report(1, Report(at % 2**32, 16384, number))
    assert not policy.listening

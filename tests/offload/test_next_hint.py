from __future__ import annotations

from rxtls.offload.commands import Command, Report, SetPosition, Standing
from rxtls.offload.policies.next_hint import MAX_INTERVAL, START_INTERVAL, NextHint

DRAINED = Standing(((1_000, 7), (1_100, 8)), 1, 50, 1_050)


def encrypted(n: int) -> Report:
    return Report(100 * n, 100, n)


def hints(policy: NextHint, count: int) -> list[int]:
    """After which of `count` wholly encrypted records a hint goes, each being drained."""
    found = []
    for n in range(1, count + 1):
        policy.report(1, encrypted(n))
        if policy.listening:
            assert policy.stand(1, DRAINED) == [SetPosition(1, 1_100, 8)]
            found.append(n)
    return found


def test_the_numbers_are_linux_s() -> None:
    assert (START_INTERVAL, MAX_INTERVAL) == (2, 128)


def test_the_back_off_doubles_to_128_and_then_grows_by_128() -> None:
    assert hints(NextHint(), 600) == [3, 5, 9, 17, 33, 65, 129, 257, 385, 513]


def test_anything_decrypted_resets_it() -> None:
    policy = NextHint()
    assert hints(policy, 40) == [3, 5, 9, 17, 33]
    policy.report(1, Report(0, 100, 50, mixed=True))
    assert hints(policy, 10) == [3, 5, 9]
    policy.report(1, Report(0, 0, 60))
    assert hints(policy, 4) == [3]


def test_it_waits_until_the_queue_is_drained() -> None:
    policy = NextHint()
    for n in range(3):
        policy.report(1, encrypted(n))
    within: list[Command] = policy.stand(1, Standing(((1_000, 7),), 0, 4, 1_004))
    assert within == []  # the data ends within a header
    assert policy.listening
    assert policy.stand(1, Standing(((1_000, 7),), 0, 0, 1_000)) == [SetPosition(1, 1_000, 7)]
    assert not policy.listening


def test_held_data_does_not_count() -> None:
    """What is out of order is not in the socket's queue: the hint may come too late, and Linux would send it too."""
    policy = NextHint()
    for n in range(3):
        policy.report(1, encrypted(n))
    ahead = Standing(((1_000, 7), (1_100, 8), (1_200, 9)), 1, 50, 1_150)
    assert policy.stand(1, ahead) == [SetPosition(1, 1_100, 8)]

from __future__ import annotations

import pytest

from rxtls.offload import receive_tag
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
from rxtls.offload.policies import POLICIES
from rxtls.offload.receive_tag import LIFE, Life, LifeEvent, ReceiveTag

E = LifeEvent

LEGAL: set[tuple[Life, LifeEvent, Life]] = {
    (Life.INIT, E.ALLOC, Life.SETUP),
    (Life.SETUP, E.INSTALLED, Life.READY),
    (Life.SETUP, E.FREE, Life.RELEASE),
    (Life.READY, E.FREE, Life.RELEASE),
    (Life.RELEASE, E.RELEASED, Life.FREED),
}

# The shortest way into each state.
WAY: dict[Life, tuple[LifeEvent, ...]] = {
    Life.INIT: (),
    Life.SETUP: (E.ALLOC,),
    Life.READY: (E.ALLOC, E.INSTALLED),
    Life.RELEASE: (E.ALLOC, E.INSTALLED, E.FREE),
    Life.FREED: (E.ALLOC, E.INSTALLED, E.FREE, E.RELEASED),
}

REPORT = Report(1_000, 122, 5)
PROGRESS = Progress(1, 0, 1_000, Tracker.TRACKING, Auth.NO_OFFLOAD, 0)


class Scripted:
    """A policy that remembers what it heard and says what it is told to say."""

    needs: frozenset[str] = frozenset()
    answers_first = False
    in_softirq = False
    listening = True

    def __init__(self, *says: Command) -> None:
        self.says = list(says)
        self.heard: list[object] = []

    def report(self, epoch: int, report: Report) -> list[Command]:
        self.heard.append((epoch, report))
        return self.says

    def answer(self, answer: Progress | Guess) -> list[Command]:
        self.heard.append(answer)
        return self.says

    def stand(self, epoch: int, standing: Standing) -> list[Command]:
        self.heard.append((epoch, standing))
        return self.says


def tag_in(life: Life, policy: Scripted | None = None, epoch: int = 1) -> ReceiveTag:
    tag = ReceiveTag(epoch, 0, policy or Scripted())
    for event in WAY[life]:
        tag.fire(event)
    assert tag.life is life
    return tag


@pytest.mark.parametrize("event", LifeEvent)
@pytest.mark.parametrize("life", Life)
def test_every_state_takes_or_refuses_every_event(life: Life, event: LifeEvent) -> None:
    tag = tag_in(life)
    after = [to for at, happened, to in LEGAL if (at, happened) == (life, event)]
    if after:
        tag.fire(event)
        assert [tag.life] == after
        return
    with pytest.raises(KeyError):
        tag.fire(event)
    assert tag.life is life


def test_the_table_is_closed() -> None:
    assert set(LIFE) == set(Life)
    reached = {Life.INIT} | {after for row in LIFE.values() for after in row.values()}
    assert reached == set(Life)


def test_every_life_ends() -> None:
    for life in Life:
        ends = {life}
        for _ in Life:
            ends |= {after for state in ends for after in LIFE[state].values()}
        assert Life.FREED in ends
    assert LIFE[Life.FREED] == {}


@pytest.mark.parametrize("life", Life)
def test_reports_and_answers_count_only_while_ready(life: Life) -> None:
    policy = Scripted(Query(1))
    tag = tag_in(life, policy)
    said = tag.report(REPORT), tag.answer(PROGRESS)
    if life is Life.READY:
        assert said == ([Query(1)], [Query(1)])
        assert policy.heard == [(1, REPORT), PROGRESS]
        assert tag.polls == 2
    else:
        assert said == ([], [])
        assert policy.heard == []
        assert tag.polls == 0


@pytest.mark.parametrize("epoch", [0, 2, 4])
def test_answers_of_another_epoch_are_not_heard(epoch: int) -> None:
    policy = Scripted(Query(3))
    tag = tag_in(Life.READY, policy, epoch=3)
    assert tag.answer(PROGRESS._replace(epoch=epoch)) == []
    assert tag.answer(Guess(epoch, 1_000, 990, 100)) == []
    assert policy.heard == []
    assert tag.answer(Guess(3, 1_000, 990, 100)) == [Query(3)]


def test_a_policy_hears_the_tag_s_epoch() -> None:
    policy = Scripted()
    tag_in(Life.READY, policy, epoch=9).report(REPORT)
    assert policy.heard == [(9, REPORT)]


def test_a_right_confirm_leaves_no_slip() -> None:
    tag = tag_in(Life.READY, Scripted(Confirm(1, 1_000, 5)))
    tag.report(REPORT)
    assert tag.slips == set()


def test_commands_are_counted_by_kind() -> None:
    tag = tag_in(Life.READY, Scripted(Query(1), Confirm(1, 1_000, 5), Confirm(1, 2_000, 6), SetPosition(1, 3_000, 7)))
    assert (tag.polls, tag.confirms, tag.positions, tag.outstanding) == (0, 0, 0, 0)
    tag.report(REPORT)
    assert (tag.polls, tag.confirms, tag.positions) == (1, 2, 1)


@pytest.mark.parametrize("command", [Confirm, SetPosition])
@pytest.mark.parametrize(
    ("true", "told", "slip"), [(5, 6, 1), (5, 2, -3), (2**32, 2**32 - 1, -1), (2**64 - 2, 2**64 - 1, 1)]
)
def test_a_wrong_number_is_remembered_as_a_slip(
    command: type[Confirm] | type[SetPosition], true: int, told: int, slip: int
) -> None:
    policy = Scripted()
    tag = tag_in(Life.READY, policy)
    tag.report(Report(1_000, 122, true))
    policy.says = [command(1, 1_000, told)]
    assert tag.answer(PROGRESS) == policy.says  # it is posted all the same: the host undoes what comes of it
    assert tag.slips == {slip}


def test_a_number_for_a_place_that_was_never_reported_is_no_slip() -> None:
    tag = tag_in(Life.READY, Scripted(Confirm(1, 999, 77)))
    tag.report(REPORT)
    assert tag.slips == set()


def test_the_end_of_a_loss_is_no_record() -> None:
    policy = Scripted()
    tag = tag_in(Life.READY, policy)
    tag.report(Report(1_000, 0, 5))
    policy.says = [Confirm(1, 1_000, 6)]
    tag.answer(PROGRESS)
    assert tag.slips == set()


def test_places_that_the_host_stood_before_are_known() -> None:
    policy = Scripted()
    tag = tag_in(Life.READY, policy)
    standing = Standing(((1_000, 5), (1_122, 6)), 1, 122, 1_122)
    assert tag.stand(standing) == []
    assert policy.heard == [(1, standing)]
    policy.says = [SetPosition(1, 1_122, 8)]
    assert tag.answer(PROGRESS) == policy.says
    assert tag.slips == {2}
    assert (tag.polls, tag.confirms, tag.positions) == (0, 0, 1)


@pytest.mark.parametrize("life", Life)
def test_only_a_ready_tag_listens(life: Life) -> None:
    assert tag_in(life).listening is (life is Life.READY)


def test_the_numbers_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive_tag, "NUMBERS_KEPT", 8)
    policy = Scripted()
    tag = tag_in(Life.READY, policy)
    for number in range(20):
        tag.report(Report((2**32 - 500 + 100 * number) % 2**32, 100, number))
    for number in range(20):
        policy.says = [Confirm(1, (2**32 - 500 + 100 * number) % 2**32, number + number)]
        tag.answer(PROGRESS)
    assert tag.slips == set(range(12, 20))


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_every_policy_lives_in_a_tag(name: str) -> None:
    tag = ReceiveTag(1, 0, POLICIES[name]())
    for event in WAY[Life.READY]:
        tag.fire(event)
    posted = tag.report(REPORT)
    assert posted == ([Query(1)] if name == "freebsd-table" else [])
    assert tag.polls == len(posted)

"""A tap stands in one place: what connections say of each other's, and where their votes end."""

from __future__ import annotations

from itertools import permutations
from random import Random
from typing import Any

import pytest

from rxtls.intake.taps import Row, Sight, Taps, settle
from rxtls.intake.vantage import KINDS, LOSS_MAJORITY, Judged, Place

SERVER = "198.51.100.1"
NOTHING = Judged()
AT_CLIENT, AT_SERVER = Judged(Place.AT_A, "loss", 1, 0), Judged(Place.AT_B, "loss", 0, 1)


def sight(a: str = "192.0.2.1", b: str = SERVER, judged: Judged = NOTHING, *interfaces: int) -> Sight:
    return Sight(interfaces or (0,), a, b, 0, judged)


def seen(sights: list[Sight], which: int) -> tuple[str, str | None]:
    """The vantage of what the client sends, and what says so."""
    by_sender, kind = Taps(sights).judge(sights[which])
    return by_sender[0], kind


def client(n: int) -> str:
    return f"192.0.2.{n}"


def test_a_connection_alone_is_what_it_says_itself() -> None:
    for kind in KINDS:
        for place, (forth, back) in ((Place.AT_A, ("sender", "receiver")), (Place.MIDDLE, ("middle", "middle"))):
            taps = Taps([lone := sight(judged=Judged(place, kind, 3, 3 * (place is Place.MIDDLE)))])
            assert taps.judge(lone) == ((forth, back), kind)
    assert seen([sight()], 0) == ("unknown", None)


def test_a_clean_connection_was_captured_where_the_host_s_others_were() -> None:
    at_server = [sight(client(1), judged=AT_SERVER), sight(client(2))]
    assert seen(at_server, 1) == ("receiver", "loss")
    at_client = [sight(b="203.0.113.7", judged=AT_CLIENT), sight()]
    assert seen(at_client, 1) == ("sender", "loss")


def test_what_several_peers_say_holds_for_all_and_what_one_says_for_itself() -> None:
    """One peer may be a host that sees others' packets; several are one place with many addresses."""
    one = [sight(client(1), judged=AT_CLIENT), sight(client(2))]
    assert seen(one, 1) == ("unknown", None)
    two = [*one, sight(client(3), judged=AT_CLIENT)]
    assert seen(two, 1) == ("sender", "loss")


def test_another_interface_is_another_tap() -> None:
    sights = [sight(judged=AT_SERVER), sight(client(2), SERVER, NOTHING, 1), sight(client(3), SERVER, NOTHING, 0, 1)]
    assert seen(sights, 1) == ("unknown", None)
    assert seen(sights, 2) == ("receiver", "loss")  # seen by both


def test_what_two_interfaces_saw_together_says_nothing_of_either() -> None:
    both = sight(client(1), SERVER, AT_SERVER, 0, 1)
    assert seen([both, sight(client(2), SERVER, NOTHING, 0, 1)], 1) == ("receiver", "loss")
    assert seen([both, sight(client(2), SERVER, NOTHING, 0)], 1) == ("unknown", None)
    two_ends = [sight(client(n), SERVER, AT_SERVER if n % 2 else AT_CLIENT, n % 2) for n in range(4)]
    assert seen([*two_ends, sight(client(9), SERVER, NOTHING, 0, 1)], 4) == ("middle", "loss")


def test_a_minority_is_outvoted_and_a_torn_host_is_in_the_middle() -> None:
    many = [sight(client(n), judged=AT_SERVER) for n in range(LOSS_MAJORITY)]
    sights = [*many, sight(client(99), judged=AT_CLIENT)]
    assert {seen(sights, n) for n in range(len(sights))} == {("receiver", "loss")}
    sights += [sight(client(98), judged=AT_CLIENT), sight(client(97))]
    assert seen(sights, len(sights) - 1) == ("middle", "loss")


def test_losses_count_and_not_connections() -> None:
    large = sight(client(1), judged=Judged(Place.AT_B, "loss", 0, 500))
    sights = [large, *(sight(client(n), judged=Judged(Place.MIDDLE, "loss", 1, 1)) for n in range(2, 12))]
    assert seen(sights, 5) == ("receiver", "loss")
    assert Taps(sights).as_json()[0]["votes"] == {"loss": {"here": 510, "peer": 10, "middle": 0}}


def test_the_stronger_kind_decides_and_a_torn_one_leaves_it_to_the_next() -> None:
    timing, checksum = Judged(Place.AT_A, "timing"), Judged(Place.AT_B, "checksum")
    sights = [*(sight(client(n), judged=timing) for n in range(9)), sight(client(10), judged=checksum)]
    assert {seen(sights, n) for n in (0, 9)} == {("receiver", "checksum")}
    torn = [*sights, sight(client(11), judged=Judged(Place.AT_A, "checksum")), sight(client(12))]
    assert seen(torn, 11) == ("sender", "timing")


def test_a_tap_in_the_middle_is_so_for_who_says_nothing() -> None:
    middle = Judged(Place.MIDDLE, "timing")
    sights = [sight(client(1), SERVER, middle), sight("203.0.113.1", "203.0.113.2")]
    assert seen(sights, 1) == ("middle", "tap")
    sights.append(sight("203.0.113.9", judged=AT_CLIENT))  # it is at a host after all
    assert seen(sights, 1) == ("unknown", None)


def test_both_hosts_may_be_the_tap_s_own() -> None:
    assert seen([sight("127.0.0.1", "127.0.0.2")], 0) == ("receiver", "address")
    assert seen([sight("2001:db8::1", "2001:db8::1")], 0) == ("receiver", "address")
    checksum = Judged(Place.AT_A, "checksum")
    sights = [sight(client(n), judged=checksum) for n in (1, 2)]
    assert Taps([*sights, lone := sight(client(1), client(2))]).judge(lone) == (("receiver", "receiver"), "checksum")


def test_what_is_said_is_believed_and_the_evidence_stays_evidence() -> None:
    said = sight(judged=AT_CLIENT)._replace(said=("receiver", "sender"), said_by="option")
    assert seen([said], 0) == ("receiver", "option")
    assert [row["place"] for row in Taps([said]).as_json()] == ["here", "peer"]


def test_the_order_of_connections_changes_nothing() -> None:
    judged = [AT_CLIENT, AT_SERVER, NOTHING, Judged(Place.MIDDLE, "timing"), Judged(Place.AT_A, "size")]
    sights = [sight(client(n % 3), judged=each) for n, each in enumerate(judged)]
    whole = Taps(sights)
    for order in permutations(sights):
        other = Taps(order)
        assert other.as_json() == whole.as_json()
        assert [other.judge(each) for each in sights] == [whole.judge(each) for each in sights]


def test_rows_add_up_in_any_order() -> None:
    dice = Random(1)
    rows = [
        Row(1, {dice.choice(tuple(KINDS)): [dice.randrange(3) for _ in range(3)]}, dice.choice(("x", "y", None)))
        for _ in range(9)
    ]
    first, second = Row(), Row()
    for row, other in zip(rows, reversed(rows), strict=True):
        first.add(row)
        second.add(other)
    assert (first.connections, first.votes, first.several) == (second.connections, second.votes, second.several)
    assert first.several


@pytest.mark.parametrize("client_side", [0, 1])
def test_directions_are_named_by_their_receiver(client_side: int) -> None:
    flow: dict[str, Any] = {"receive": {"server": {}, "client": {}}}
    one = sight(judged=AT_CLIENT)._replace(client_side=client_side)
    settle([flow], [one])
    wanted = ("sender", "receiver") if client_side == 0 else ("receiver", "sender")
    assert tuple(each["vantage"] for each in flow["receive"].values()) == wanted
    assert settle([{"receive": {"server": None, "client": None}}], [one])[0]["host"] == "192.0.2.1"


def test_trial_a2_packets_outweigh_a_comment_that_they_contradict() -> None:
    """mergecap gives what it joins one comment: a receiver's capture beside a simulated one was called the sender's."""
    said, at_server = ("sender", "receiver"), ("receiver", "sender")

    def noted(each: Sight, by: str = "file") -> Sight:
        return each._replace(said=said, said_by=by)

    lossy, clean = sight(client(1), judged=AT_SERVER), sight(client(2))
    elsewhere = sight(client(3), "203.0.113.9")
    taps = Taps([noted(lossy), noted(clean), noted(elsewhere)])
    assert [taps.judge(noted(each)) for each in (lossy, clean, elsewhere)] == [
        (at_server, "loss"), (at_server, "loss"), (said, "file")
    ]  # fmt: skip
    assert taps.judge(noted(lossy, "option")) == (said, "option")
    weak = noted(sight(client(4), "203.0.113.10", Judged(Place.AT_B, "timing")))
    assert Taps([weak]).judge(weak) == (said, "file")

"""Path changes: failover, flapping, VLANs over LAGGs, other ports out than in, detaching, and all of it at a KeyUpdate.

Each scenario says the same three things: the plaintext is that of software alone, resets are counted, and offload is
back on the new leaf. Both engines.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

import traffic
from path_changes import SIZES, check, download, host, moved, replace_interface, run
from rxtls.crypto.suites import SUITES, Version
from rxtls.events import By
from rxtls.host.sysctl import Sysctl
from rxtls.offload.interface import IFCAP2_RXTLS4, Interfaces
from rxtls.path.receive import ReceivePath
from rxtls.simulation.link import Impairment, LinkFrame
from sample_keys import made_up, sample_keys
from socket_bed import Bed, sealed


@pytest.fixture(params=["plain", "compiled"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_one_leaf_is_no_change(engine: str) -> None:
    played = download()
    ran = run(played, played.frames, host(), engine)
    check(ran, played, 0)
    assert set(ran.by()) == {By.DEVICE}


@pytest.mark.parametrize("at", range(10, 16))
def test_lagg_failover_in_the_middle_of_a_record(engine: str, at: int) -> None:
    played = download()
    ran = run(played, moved(played, {at: 1}), host(), engine)
    check(ran, played, 1)
    assert 1 <= len([by for by in ran.by() if by is not By.DEVICE]) <= 6  # what came before the new tag was there


def test_flapping(engine: str) -> None:
    played = download()
    ran = run(played, moved(played, {20: 1, 40: 0, 60: 1, 80: 0, 100: 1}), host(), engine)
    check(ran, played, 5)


def test_flapping_within_one_host_point_is_one_change_or_none(engine: str) -> None:
    played = download()
    there_and_back = run(played, moved(played, {32: 1, 33: 0}), host(), engine, settings={"budget": "64"})
    check(there_and_back, played, 0)


def test_vlan_over_lagg(engine: str) -> None:
    played = download(vlans=(5,))
    ran = run(played, moved(played, {30: 1}), host(out="vlan5"), engine)
    check(ran, played, 1)


def test_receiving_on_one_port_and_transmitting_by_another(engine: str) -> None:
    # The case that the review of D32356 deferred: the first receive tag is where no packet comes by.
    played = download()
    for out, resets in (("em0", 1), ("mlx0", 0), ("lagg0", 0)):
        ran = run(played, played.frames, host(out=out), engine)
        check(ran, played, resets)


def test_a_lagg_that_hashes_may_send_by_another_port_than_it_receives(engine: str) -> None:
    played = download()
    resets = []
    for interface in (0, 1):
        frames = [replace_interface(frame, interface) for frame in played.frames]
        ran = run(played, frames, host("lacp"), engine)
        check(ran, played, ran.direction.tally.receive_tag_resets)
        resets.append(ran.direction.tally.receive_tag_resets)
    assert sorted(resets) == [0, 1]  # the hash names one of the two ports


@pytest.mark.parametrize("update", [24, 25, 26])
def test_a_path_change_meets_a_keyupdate(engine: str, update: int) -> None:
    played = download(updates=frozenset({update}))
    for at in range(70, 82, 3):
        ran = run(played, moved(played, {at: 1}), host(), engine)
        check(ran, played, ran.direction.tally.receive_tag_resets)
        # Should the KeyUpdate be read at the host point that sees the change, then one receive tag is for both.
        assert ran.direction.tally.receive_tag_resets == 1
        assert ran.direction.epoch in (2, 3)


def test_path_changes_under_loss(engine: str) -> None:
    played = download(loss=0.03)
    changes = {n: n // 25 % 2 for n in range(25, 150, 25)}
    ran = run(played, moved(played, changes), host(), engine)
    wanted = run(played, played.frames, None, "plain", nic="none")
    assert ran.data() == wanted.data()
    assert ran.direction.tally.receive_tag_resets >= 3
    assert By.DEVICE in ran.by()


def test_bug_a_change_during_a_reset_is_not_lost(engine: str) -> None:
    # Upstream: the task has sampled the interface, another change comes, and the stored one already equals it.
    played = download()
    ran = run(played, moved(played, {24: 1, 25: 2}), host(), engine, settings={"install": "20"})
    check(ran, played, 1)  # both came before the same host point: the last one counts
    ran = run(played, moved(played, {24: 1, 34: 2}), host(), engine, settings={"install": "20"})
    check(ran, played, 2)
    assert [change.now for change in ran.direction.path_changes] == ["mlx1", "em0"]


def test_trial_a4_a_first_receive_tag_that_is_refused_is_tried_on_the_leaf(engine: str) -> None:
    # Out by a port without RXTLS, in by one that has it. Upstream's mode stays software, with a receive tag [BUG].
    played = download()
    tree = host(out="em0")
    tree.set_capability("em0", IFCAP2_RXTLS4, False)
    ran = run(played, played.frames, tree, engine)
    check(ran, played, 1)
    assert ran.path.stats["refused.no_capability"] == 2  # on each of the two hosts
    assert By.DEVICE in ran.by()
    back = run(played, moved(played, {20: 1, 60: 0}), tree, engine)
    check(back, played, 3)


def test_trial_a4_a_lagg_with_one_incapable_member_hands_over_to_the_others_leaf(engine: str) -> None:
    played = download()
    tree = host("lacp")
    tree.set_capability("mlx1", IFCAP2_RXTLS4, False)
    ran = run(played, played.frames, tree, engine)
    check(ran, played, 1)
    there = run(played, moved(played, {40: 1}), tree, engine)
    assert (there.direction.mode, there.direction.why_software) == ("sw", "no_capability")
    assert there.data() == ran.data()


def test_trial_a4_a_limit_that_is_free_again_is_tried_at_the_next_path_change(engine: str) -> None:
    """The second connection finds no receive tag; the first ends; then the second's packets come by another port."""
    first, second = (traffic.Flow(records=SIZES[:n], seed=n) for n in (10, 60))
    played = traffic.play(traffic.Scenario((first, second)))
    by_port: dict[int, list[LinkFrame]] = {}
    for frame in played.frames:
        ports = int.from_bytes(frame.data[34:36]), int.from_bytes(frame.data[36:38])
        by_port.setdefault(max(ports), []).append(frame)
    one, two = (by_port[port] for port in sorted(by_port))
    frames = [*one[:8], *two[:40], *one[8:], *(frame._replace(interface=1) for frame in two[40:])]
    for tree in (None, host()):
        ran = run(played, frames, tree, engine, settings={"max_receive_tags": "1"})
        direction = ran.path.flows[1].directions[1]
        assert (direction.mode, direction.why_software) == ("ifnet", None)
        assert direction.tally.receive_tag_resets == 1
        assert ran.path.stats["refused.no_receive_tag"] >= 1
        assert [record.by for record in ran.records if record.flow == 1 and record.type == 23][-5:] == [By.DEVICE] * 5


def test_what_the_route_refused_without_an_interface_is_not_tried_again(engine: str) -> None:
    # Upstream: no tls->rx_ifp, so that no path change is ever seen.
    played = download()
    tree = Interfaces()
    tree.port("mlx0", {0})
    tree.port("mlx1", {1})
    ran = run(played, moved(played, {20: 1, 60: 0}), tree, engine)
    assert (ran.direction.mode, ran.direction.why_software) == ("sw", "no_route")
    assert (ran.path.stats["ifnet.reset"], ran.path.stats["ifnet.reset_failed"]) == (0, 0)


def test_trial_a5_a_port_of_two_capture_ids_is_one_port(engine: str) -> None:
    played = download()
    tree = Interfaces()
    tree.port("mlx0", {0, 1})
    tree.route("0.0.0.0/0", "mlx0")
    ran = run(played, moved(played, {20: 1, 40: 0, 60: 1}), tree, engine)
    check(ran, played, 0)
    assert set(ran.by()) == {By.DEVICE}


def test_trial_a6_a_leaf_that_no_interface_has_is_no_change(engine: str) -> None:
    played = download()
    tree = Interfaces()
    tree.port("mlx0", {7})
    tree.route("0.0.0.0/0", "mlx0")
    ran = run(played, played.frames, tree, engine)
    assert (ran.path.stats["ifnet.reset"], ran.path.stats["ifnet.reset_failed"]) == (0, 0)
    assert (ran.direction.mode, set(ran.by())) == ("ifnet", {By.HOST})
    assert ran.path.unknown_leaves == [0]


def test_trial_a7_each_end_of_a_connection_has_a_nic_of_its_own(engine: str) -> None:
    played = traffic.play(traffic.Scenario((traffic.Flow(seed=1), traffic.Flow(seed=2))))
    for tree in (None, host()):
        ran = run(played, played.frames, tree, engine, settings={"max_receive_tags": "2"})
        assert ran.path.stats["refused.no_receive_tag"] == 0
        assert {each.mode for flow in ran.path.flows.values() for each in flow.directions} == {"ifnet"}
        fewer = run(played, played.frames, tree, engine, settings={"max_receive_tags": "1"})
        each = {name: nic.stats for name, nic in fewer.path.hosts.items()}
        assert each.keys() == {"192.0.2.1", "198.51.100.1"}
        for stats in each.values():  # of two connections, one on each host, which asks its port besides
            assert stats["refused.no_receive_tag"] - stats["ifnet.reset_failed"] == 1


def test_trial_a8_a_change_that_comes_as_the_stream_ends_is_no_reset(engine: str) -> None:
    """Out by mlx0, in by mlx1 without RXTLS, and the last frames by mlx0 again."""
    played = download()
    tree = host(out="mlx0")
    tree.set_capability("mlx1", IFCAP2_RXTLS4, False)
    last = sum(len(frame.data) > 1000 for frame in played.frames) - 1
    ran = run(played, moved(played, {30: 1, last: 0}), tree, engine, settings={"budget": "64"})
    assert By.DEVICE in ran.by()
    assert (ran.direction.mode, ran.direction.why_software) == ("sw", "no_capability")
    assert (ran.path.stats["ifnet.reset"], ran.path.stats["ifnet.reset_failed"]) == (0, 1)
    assert ran.path.stats["refused.no_capability"] == 1
    assert [change[2:] for change in ran.direction.path_changes] == [("mlx0", "mlx1", "moved", "no_capability")]


def test_a_reset_that_fails_hurts_nobody_and_the_next_change_tries_again(engine: str) -> None:
    played = download()
    tree = host()
    tree.set_capability("mlx1", IFCAP2_RXTLS4, False)  # the LAGG has it no more, so go out by the port itself
    tree.route("192.0.2.0/24", "mlx0")
    tree.route("198.51.100.0/24", "mlx0")
    ran = run(played, moved(played, {30: 1, 90: 0}), tree, engine)
    assert ran.data() == run(played, played.frames, None, "plain", nic="none").data()
    assert (ran.path.stats["ifnet.reset"], ran.path.stats["ifnet.reset_failed"]) == (1, 1)
    assert (ran.direction.tally.receive_tag_resets, ran.direction.tally.receive_tag_resets_failed) == (1, 1)
    assert ran.path.stats["refused.no_capability"] == 1
    assert ran.direction.mode == "ifnet"
    by = ran.by()
    assert by[0] == by[-1] == By.DEVICE
    assert By.HOST in by


def test_trial_a11_a_path_change_makes_a_receive_tag_where_a_device_had_stopped(engine: str) -> None:
    """Three records in a row whose AEAD tags fail at the NIC: it stops. The next port has a device of its own."""
    keys = sample_keys(SUITES[0x1301], Version.TLS13)
    payloads = [made_up(3000, f"{n}") for n in range(24)]
    bed = Bed("connectx-6dx", engine, settings={"budget": "4"})
    bed.enable(keys)
    bed.send(sealed(keys, payloads[:4]))
    for record in [sealed(keys, [payload], 4 + n) for n, payload in enumerate(payloads[4:8])]:
        bed.send(record[:-1] + bytes([record[-1] ^ 1]))
    direction = bed.path.flows[0].directions[0]
    assert (direction.mode, direction.why_software) == ("sw", "auth_failures")
    bed.interface = 1
    bed.send(sealed(keys, payloads[8:], 8))
    bed.finish()
    assert (direction.mode, direction.why_software) == ("ifnet", None)
    assert direction.tally.receive_tag_resets == 1
    assert [record.by for record in bed.records][-5:] == [By.DEVICE] * 5


def test_trial_a11_what_receives_over_a_lagg_that_is_detached_receives_no_more(engine: str) -> None:
    played = download(vlans=(5,))

    def detach(path: ReceivePath, n: int) -> None:
        if n == 60:
            path.detach("lagg0", n)

    ran = run(played, played.frames, host(out="vlan5"), engine, detach)
    assert 0 < len(ran.data()) < 40
    assert ran.path.ledger.fates["byte.interface_gone"] > 100_000


@pytest.mark.parametrize("serves_another", [False, True])
def test_trial_a11_a_tree_that_was_flapped_before_the_run_is_as_good_as_new(engine: str, serves_another: bool) -> None:
    played = download()
    tree = host()
    if serves_another:
        run(played, played.frames, tree, engine, flapped_at(60))
    else:
        tree.detach("mlx0")
        tree.attach("mlx0")
    check(run(played, played.frames, tree, engine), played, 0)
    check(run(played, played.frames, tree, engine, flapped_at(60)), played, 1)


def flapped_at(frame: int) -> Callable[[ReceivePath, int], None]:
    def flap(path: ReceivePath, n: int) -> None:
        if n == frame:
            path.detach("mlx0", n)
            path.attach("mlx0", n)

    return flap


def test_capabilities_that_are_toggled_concern_later_receive_tags(engine: str) -> None:
    played = download()
    tree = host()

    def toggle(_path: ReceivePath, n: int) -> None:
        if n == 60:
            tree.set_capability("mlx0", IFCAP2_RXTLS4, False)

    ran = run(played, played.frames, tree, engine, toggle)
    check(ran, played, 0)


@pytest.mark.parametrize("at", [50, 51, 52, 53])
def test_detach_with_packets_in_flight(engine: str, at: int) -> None:
    """The port goes while the NIC still holds packets for the host, and the LAGG goes on with the other one."""
    played = download()

    def detach(path: ReceivePath, n: int) -> None:
        if n == at:
            path.detach("mlx0", n)

    frames = [replace_interface(frame, int(n >= at)) for n, frame in enumerate(played.frames)]
    ran = run(played, frames, host(), engine, detach, settings={"budget": "64"})
    check(ran, played, 1)
    assert ran.path.ledger.fates["byte.interface_gone"] == 0  # lagg0 is what they were received on, and it is there


def test_a_keyupdate_between_a_detached_port_and_the_next_packet(engine: str) -> None:
    """The new receive tag is for the port that the connection began on, until a packet says where it is now."""
    keys, later = (sample_keys(SUITES[0x1301], Version.TLS13, label=label) for label in ("", "later"))
    tree = host()
    tree.route("192.0.2.0/24", "lagg0")
    bed = Bed("connectx-6dx", engine, interfaces=tree)
    bed.enable(keys)
    bed.send(sealed(keys, [made_up(3000, "before")]) + sealed(keys, [b"\x18\x00\x00\x01\x00"], 1, 22))
    assert [bed.read().data[:1], bed.read().data[:1]] == [made_up(1, "before"), b"\x18"]
    bed.path.detach("mlx1", bed.frames)
    bed.path.detach("mlx0", bed.frames)
    bed.path.attach("mlx0", bed.frames)
    bed.enable(later)
    tag = bed.path.flows[0].directions[0].receive_tag
    assert tag is not None
    assert tag.leaf == 0
    bed.send(sealed(later, [made_up(3000, "after")] * 3))
    assert bed.everything() == [(23, made_up(3000, "after"))] * 3
    bed.finish()
    assert {record.by for record in bed.records[2:]} == {By.DEVICE}


def test_a_port_that_goes_and_comes_back_is_another_one(engine: str) -> None:
    played = download()
    ran = run(played, played.frames, host(), engine, flapped_at(60))
    check(ran, played, 1)


def test_trial_a8_a_receive_tag_whose_port_is_gone_is_none(engine: str) -> None:
    played = download()

    def detach(path: ReceivePath, n: int) -> None:
        if n == 60:
            path.detach("mlx0", n)

    frames = [frame if n < 60 else replace_interface(frame, 9) for n, frame in enumerate(played.frames)]
    ran = run(played, frames, host(), engine, detach)
    assert (ran.direction.mode, ran.direction.why_software) == ("sw", "device_gone")
    assert (ran.path.stats["ifnet.reset"], ran.path.stats["ifnet.reset_failed"]) == (0, 0)


def test_packets_of_an_interface_that_is_gone_are_dropped_and_their_repair_is_taken(engine: str) -> None:
    keys = sample_keys(SUITES[0x1301], Version.TLS13)
    payloads = [made_up(3000, f"{n}") for n in range(8)]
    wire = sealed(keys, payloads)
    tree = Interfaces()
    tree.port("mlx0", {0})
    bed = Bed("connectx-6dx", engine, interfaces=tree, settings={"budget": "64"})
    tree.route("0.0.0.0/0", "mlx0")
    bed.enable(keys)
    half = len(wire) // 2
    bed.send(wire[:half])
    bed.path.detach("mlx0", bed.frames)
    bed.path.attach("mlx0", bed.frames)
    assert bed.everything() == []  # all that was in flight was the port's own
    assert bed.path.ledger.fates["byte.interface_gone"] == half
    bed.seq = (bed.seq - half) & 0xFFFF_FFFF
    bed.send(wire)
    assert bed.everything() == [(23, payload) for payload in payloads]
    bed.finish()


def test_packets_by_a_port_that_the_tree_does_not_know(engine: str) -> None:
    # They have no leaf, so they say nothing of where to put a receive tag; and no NIC has seen them.
    played = download()
    ran = run(played, moved(played, {30: 9, 60: 0}), host(), engine)
    check(ran, played, 0)
    assert By.HOST in ran.by()


def test_packets_of_a_vlan_that_the_host_has_not_are_dropped(engine: str) -> None:
    played = download(vlans=(6,))
    ran = run(played, played.frames, host(), engine)
    assert ran.records == []
    assert ran.path.ledger.fates["byte.interface_gone"] > 200_000


def test_ifnet_permitted_off_is_software(engine: str) -> None:
    played = download()
    ran = run(played, played.frames, host(), engine, sysctl=Sysctl(ifnet_permitted=False))
    assert (ran.direction.mode, ran.direction.why_software) == ("sw", "not_permitted")
    assert set(ran.by()) == {By.HOST}


def test_no_route_is_software(engine: str) -> None:
    played = download()
    tree = Interfaces()
    tree.port("mlx0", {0})
    ran = run(played, played.frames, tree, engine)
    assert (ran.direction.mode, ran.direction.why_software) == ("sw", "no_route")
    assert ran.path.stats["refused.no_route"] == 2


def two_downloads(loss: float = 0.0) -> traffic.Played:
    """By one client from one server."""
    flows = [traffic.Flow(records=SIZES, seed=seed, impairment=Impairment(loss=loss)) for seed in (5, 6)]
    return traffic.play(traffic.Scenario(tuple(flows)))


@pytest.mark.parametrize(
    ("setting", "code"), [("max_receive_tags", "no_receive_tag"), ("max_flow_rules", "no_flow_rule")]
)
def test_limits_refuse_by_cause(engine: str, setting: str, code: str) -> None:
    played = two_downloads()
    ran = run(played, played.frames, host(), engine, settings={setting: "1"})
    for side in (0, 1):
        each = [flow.directions[side] for flow in ran.path.flows.values()]
        assert {(direction.mode, direction.why_software) for direction in each} == {("ifnet", None), ("sw", code)}
    # The packets of the refused come by a port, and the LAGG was asked: so that port is, once, as upstream has it.
    assert ran.path.stats["ifnet.reset_failed"] >= 1
    assert ran.path.stats[f"refused.{code}"] == 2 + ran.path.stats["ifnet.reset_failed"]


def test_a_full_command_queue_is_asked_again_with_the_next_report(engine: str) -> None:
    played = two_downloads(loss=0.03)
    free = run(played, played.frames, host(), engine)
    full = run(played, played.frames, host(), engine, settings={"command_queue": "1"})
    assert full.data() == free.data()
    assert full.path.stats["rx_resync_err"] + full.path.stats["rx_error"] + full.path.stats["refused.command_queue"] > 0
    assert free.path.stats["rx_resync_err"] == 0
    each = [direction.tally for flow in full.path.flows.values() for direction in flow.directions]
    assert full.path.stats["rx_resync_ok"] == sum(tally.polls for tally in each)

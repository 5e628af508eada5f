"""The interface tree: what may be built, who has which capability, and where a request for a receive tag ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from rxtls.errors import UsageError
from rxtls.offload.interface import (
    BOTH,
    IFCAP2_RXTLS4,
    IFCAP2_RXTLS6,
    Interface,
    Interfaces,
    Stamp,
    bit,
)
from rxtls.offload.interface_file import interfaces
from rxtls.offload.refusals import REFUSALS

DOCUMENT = (Path(__file__).parents[2] / "docs" / "interfaces.md").read_text()
EXAMPLE = DOCUMENT.partition("```toml\n")[2].partition("```")[0]


def tree(lagg: str = "failover", use_flowid: bool = True) -> Interfaces:
    """vlan5 over lagg0 over mlx0, mlx1; and em0 by itself."""
    found = Interfaces()
    found.port("mlx0", {0})
    found.port("mlx1", {1})
    found.port("em0", {2}, 0)
    found.lagg("lagg0", lagg, ("mlx0", "mlx1"), use_flowid)
    found.vlan("vlan5", "lagg0", 5)
    found.route("0.0.0.0/0", "em0")
    found.route("192.0.2.0/24", "vlan5")
    found.route("192.0.2.1/32", "lagg0")
    return found


def test_trap_30_capabilities_are_indices_and_masks_are_made_of_them() -> None:
    assert (IFCAP2_RXTLS4, IFCAP2_RXTLS6) == (0, 1)
    assert (bit(IFCAP2_RXTLS4), bit(IFCAP2_RXTLS6), BOTH) == (1, 2, 3)


@pytest.mark.parametrize("version", [4, 6])
def test_bug_capability_index_used_as_mask(version: int) -> None:
    # Upstream masked with the index: IPv4 never had the capability, and IPv6 had IPv4's.
    found = Interfaces()
    for name, mask in (("four", bit(IFCAP2_RXTLS4)), ("six", bit(IFCAP2_RXTLS6)), ("both", BOTH), ("none", 0)):
        found.port(name, set(), mask)
        able = name == "both" or name == {4: "four", 6: "six"}[version]
        assert (found.choose(found[name], 1, version == 6).port is not None) == able


def test_bug_vlan_interfaces_inherit_rxtls_from_what_they_stand_over() -> None:
    found = tree()
    assert found.enabled(found["vlan5"]) == found.enabled(found["lagg0"]) == BOTH
    found.set_capability("mlx1", IFCAP2_RXTLS6, False)
    assert found.enabled(found["vlan5"]) == bit(IFCAP2_RXTLS4)  # a LAGG has what all of its ports share
    found.set_capability("mlx1", IFCAP2_RXTLS6, True)
    found.set_capability("vlan5", IFCAP2_RXTLS4, False)
    assert found.enabled(found["vlan5"]) == bit(IFCAP2_RXTLS6)
    assert found.enabled(found["lagg0"]) == BOTH


def test_the_longest_route_wins() -> None:
    found = tree()
    names = [found.outbound(peer) for peer in ("192.0.2.1", "192.0.2.2", "198.51.100.1", "2001:db8::1")]
    assert [each and each.name for each in names] == ["lagg0", "vlan5", "em0", None]


def test_a_request_goes_down_to_a_port_and_takes_the_vlan_id_along() -> None:
    found = tree()
    choice = found.choose(found["vlan5"], 7, False)
    assert (choice.port, choice.vlan_id, choice.refusal) == (found["mlx0"], 5, None)
    assert found.choose(found["lagg0"], 7, False).vlan_id == 0


@pytest.mark.parametrize("lagg", ["loadbalance", "lacp"])
def test_trial_a11_hashing_laggs_choose_by_the_upper_half_of_the_flow_hash(lagg: str) -> None:
    # net.link.lagg.default_flowid_shift is 16: the lower half has chosen the port's queue already.
    found = tree(lagg)
    hashes = [0xFFFF, 1 << 16, 2 << 16 | 1, 3 << 16]
    assert [found.choose(found["lagg0"], n, False).port for n in hashes] == [found["mlx0"], found["mlx1"]] * 2
    found.set_link("mlx0", False)
    assert {found.choose(found["lagg0"], n, False).port.name for n in hashes} == {"mlx1"}  # type: ignore[union-attr]
    assert found.choose(found["lagg0"], None, False).refusal == "lagg_protocol"
    without = tree(lagg, use_flowid=False)
    assert without.choose(without["lagg0"], 1, False).refusal == "lagg_protocol"
    unshifted = Interfaces()
    unshifted.port("a")
    unshifted.port("b")
    unshifted.lagg("lagg0", lagg, ("a", "b"), True, 0)
    assert unshifted.choose(unshifted["lagg0"], 1, False).port is unshifted["b"]


def wide(lagg: str) -> Interfaces:
    found = Interfaces()
    for name in "abcd":
        found.port(name)
    found.lagg("lagg0", lagg, ("c", "a", "b", "d"), True)  # if_lagg.c lists them by index; c is the primary one
    return found


def chosen(found: Interfaces, *hashes: int) -> str:
    return "".join(getattr(found.choose(found["lagg0"], n << 16, False).port, "name", "-") for n in hashes)


def test_trial_a11_what_a_port_that_is_down_does_to_the_choice() -> None:
    """lagg_link_active takes the next port if that is up, else the first that is; LACP counts only what is up."""
    balance, lacp, failover = wide("loadbalance"), wide("lacp"), wide("failover")
    assert [chosen(each, 0, 1, 2, 3, 4) for each in (balance, lacp, failover)] == ["abcda", "abcda", "ccccc"]
    for each in (balance, lacp, failover):
        each.set_link("c", False)
    assert [chosen(each, 0, 1, 2, 3, 4) for each in (balance, lacp, failover)] == ["abdda", "abdab", "ddddd"]
    for each in (balance, lacp, failover):
        each.set_link("d", False)
    assert [chosen(each, 0, 1, 2, 3, 4) for each in (balance, lacp, failover)] == ["abaaa", "ababa", "aaaaa"]
    for each in (balance, lacp, failover):
        each.set_link("c", True)
        each.detach("a")  # a port that is gone is no port of the LAGG any more
    assert [chosen(each, 0, 1, 2, 3, 4) for each in (balance, lacp, failover)] == ["bcbbc", "bcbcb", "ccccc"]
    failover.detach("c")
    assert chosen(failover, 0) == "b"


def test_trial_a11_the_flow_hash_is_off_unless_it_is_turned_on() -> None:
    # net.link.lagg.default_use_flowid is 0.
    for lagg in ("loadbalance", "lacp"):
        found = interfaces(f"[interfaces.a]\n[interfaces.l]\nlagg = '{lagg}'\nports = ['a']\n", "x")
        assert found.choose(found["l"], 1, False).refusal == "lagg_protocol"
        found = Interfaces()
        found.port("a")
        found.lagg("l", lagg, ("a",))
        assert found.choose(found["l"], 1, False).refusal == "lagg_protocol"


def test_trial_a11_a_route_can_be_replaced() -> None:
    found = tree()
    found.route("192.0.2.0/24", "em0")
    found.route("0.0.0.0/0", "mlx0")
    names = [found.outbound(peer) for peer in ("192.0.2.2", "198.51.100.1", "192.0.2.1")]
    assert [each and each.name for each in names] == ["em0", "mlx0", "lagg0"]


def test_each_view_of_a_tree_has_interfaces_that_come_and_go_by_themselves() -> None:
    found = tree()
    found.detach("em0")
    view, other = found.view(), found.view()
    view.detach("mlx0")
    assert (view["mlx0"].attached, other["mlx0"].attached, found["mlx0"].attached) == (False, True, True)
    assert not other["em0"].attached
    found.set_link("mlx0", False)
    found.set_capability("vlan5", IFCAP2_RXTLS6, False)
    found.route("192.0.2.9/32", "mlx1")
    out = other.outbound("192.0.2.9")
    assert (out and out.name, other.enabled(other["vlan5"])) == ("mlx1", bit(IFCAP2_RXTLS4))
    assert other.choose(other["lagg0"], None, False).port is other["mlx1"]


def test_failover_takes_the_first_port_that_is_up() -> None:
    found = tree()
    found.set_link("mlx0", False)
    assert found.choose(found["lagg0"], None, False).port is found["mlx1"]
    found.set_link("mlx0", True)
    assert found.choose(found["lagg0"], None, False).port is found["mlx0"]


def refusals() -> dict[str, tuple[Interfaces, str]]:
    down, gone, stacked = tree(), tree(), tree()
    down.set_link("mlx0", False)
    down.set_link("mlx1", False)
    gone.detach("mlx0")
    stacked.vlan("vlan7", "vlan5", 7)
    return {
        "lagg_protocol": (tree("roundrobin"), "lagg0"),
        "lagg_no_port": (down, "vlan5"),
        "device_gone": (gone, "mlx0"),
        "vlan_stacked": (stacked, "vlan7"),
        "no_capability": (tree(), "em0"),
    }


@pytest.mark.parametrize("code", refusals())
def test_refusals_of_the_tree_by_cause(code: str) -> None:
    found, name = refusals()[code]
    choice = found.choose(found[name], 1, False)
    assert (choice.port, choice.refusal) == (None, code)
    assert choice.vlan_id in (0, 5, 7)
    assert REFUSALS[code].errno == "EOPNOTSUPP"


def test_errnos_stand_in_the_document() -> None:
    for code, refusal in REFUSALS.items():
        assert f"| `{code}` | {refusal.errno} |" in DOCUMENT


def test_trial_a10_allocation_fails_with_upstream_s_errnos() -> None:
    """ktls_alloc_rcv_tag and mlx5: what cannot be re-encrypted is ENXIO, every table that is full ENOMEM."""
    named = ("profile", "not_permitted", "no_route", "no_receive_tag", "no_flow_rule", "command_queue")
    assert {code: REFUSALS[code].errno for code in named} == {
        **dict.fromkeys(named[:3], "ENXIO"),
        **dict.fromkeys(named[3:], "ENOMEM"),
    }


def test_packets_are_received_on_what_stands_above() -> None:
    found = tree()
    leaf = found["mlx1"]
    way = [leaf, found["lagg0"], found["vlan5"]]
    assert found.received_on(leaf, (5,)) == way
    assert found.received_on(leaf, ()) == way[:2]
    assert found.received_on(leaf, (6,)) == []
    assert found.received_on(found["em0"], (6,)) == [found["em0"]]  # a tap sees a tag that the host need not know


@pytest.mark.parametrize("vlan_id", [1, 4094])
def test_vlan_ids_at_their_bounds(vlan_id: int) -> None:
    found = Interfaces()
    with pytest.raises(UsageError, match="no interface 'mlx0'; there are none"):
        found.vlan("v", "mlx0", vlan_id)
    found.port("mlx0")
    assert found.vlan("v", "mlx0", vlan_id).vlan_id == vlan_id
    with pytest.raises(UsageError, match=r"no interface 'x'; there are mlx0, v$"):
        found["x"]


def test_an_interface_that_comes_back_is_another_one() -> None:
    found = tree()
    before = found["mlx0"].stamp
    assert found.restore(before) is found["mlx0"]
    found.detach("mlx0")
    assert found.restore(before) is None
    found.attach("mlx0")
    assert found.restore(before) is None
    assert found.restore(Stamp(before.ifindex, before.generation + 1)) is found["mlx0"]
    assert found.attach("mlx0").generation == before.generation + 1  # twice is once
    assert found.restore(Stamp(0xFFFF, 0)) is None


CAPTURE = 'capture is a list of interface numbers, files, or tables such as { file = "a.pcapng", id = 1 }'
SHIFT = "b: flowid_shift is 0 to 31, not 32"
NAMED = "file, id, ifindex, name, section"
NAMES = "mlx0, mlx1, em0, lagg0, vlan5"


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda t: t.port("mlx0"), "two interfaces 'mlx0'"),
        (lambda t: t.port("new", {1}), "capture interface 1 is both mlx1 and new"),
        (lambda t: t.vlan("v", "nobody", 5), f"no interface 'nobody'; there are {NAMES}"),
        (lambda t: t.vlan("v", "mlx0", 0), "v: a VLAN id is 1 to 4094, not 0"),
        (lambda t: t.vlan("v", "mlx0", 4095), "v: a VLAN id is 1 to 4094, not 4095"),
        (
            lambda t: t.lagg("l", "magic", ("em0",)),
            "l: no LAGG protocol 'magic'; there are failover, loadbalance, lacp, roundrobin, broadcast",
        ),
        (lambda t: t.lagg("l", "lacp", ("mlx0",)), "l: mlx0 is not a free port"),
        (lambda t: t.lagg("l", "lacp", ("vlan5",)), "l: vlan5 is not a free port"),
        (lambda t: t.lagg("l", "lacp", ()), "l: a LAGG has ports"),
        (lambda t: t.route("10.0.0.0/99", "em0"), "route: '10.0.0.0/99' does not appear to be an IPv4 or IPv6 network"),
        (lambda t: t.route("10.0.0.0/8", "nobody"), f"no interface 'nobody'; there are {NAMES}"),
    ],
)
def test_what_cannot_be_built(build: object, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(tree())  # type: ignore[operator]
    assert str(caught.value) == why


# The file


def test_the_example_of_the_document() -> None:
    found = interfaces(EXAMPLE, "host.toml")
    out = found.outbound("192.0.2.9")
    assert isinstance(out, Interface)
    assert (out.name, out.vlan_id, out.parent) == ("vlan5", 5, "lagg0")
    assert found.choose(out, None, False).port is found["mlx0"]
    assert found.choose(out, None, True).refusal == "no_capability"
    assert (found.at(0), found.at(1), found.at(2)) == (found["mlx0"], found["mlx1"], None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("routes = 1", "routes is a list of tables: [[routes]]"),
        ("routes = [1]", "a route is a table"),
        ("colour = 'red'", "the file: no 'colour' here; there are interfaces, routes"),
        ("interfaces = 3", "interfaces is a table"),
        ("[interfaces]\na = 3", "a is a table"),
        ("[interfaces.a]\nspeed = 3", "a: no 'speed' here; there are capture, rxtls4, rxtls6"),
        ("[interfaces.a]\ncapture = ['']", f"a: {CAPTURE}"),
        ("[interfaces.a]\ncapture = [-1]", f"a: {CAPTURE}"),
        ("[interfaces.a]\ncapture = [true]", f"a: {CAPTURE}"),
        ("[interfaces.a]\ncapture = [{}]", f"a: {CAPTURE}"),
        ("[interfaces.a]\ncapture = [{id = 'x'}]", "a: capture: id is a int, not 'x'"),
        ("[interfaces.a]\ncapture = [{port = 1}]", f"a: capture: no 'port' here; there are {NAMED}"),
        ("[interfaces.a]\ncapture = 1", "a: capture is a list, not 1"),
        ("[interfaces.a]\nrxtls4 = 1", "a: rxtls4 is a bool, not 1"),
        ("[interfaces.a]\nvlan = true\nparent = 'b'", "a: vlan is a int, not True"),
        ("[interfaces.a]\nvlan = 5", "a: parent is missing"),
        ("[interfaces.a]\nlagg = 'lacp'", "a: ports is missing"),
        ("[interfaces.a]\nlagg = 'lacp'\nports = ['b']", "no interface 'b'; there are none"),
        ("[[routes]]\ninterface = 'a'", "a route: to is missing"),
        ("[[routes]]\nto = 1\ninterface = 'a'", "a route: to is a str, not 1"),
        ("[[routes]]\nto = '0.0.0.0/0'\nvia = 'a'", "a route: no 'via' here; there are interface, to"),
        ("[[routes]]\nto = '0.0.0.0/0'", "a route: interface is missing"),
        ("[interfaces.a]\n" + 2 * "[[routes]]\nto = '0.0.0.0/0'\ninterface = 'a'\n", "two routes to one network"),
        ("[interfaces.a]\n[interfaces.b]\nlagg = 'lacp'\nports = ['a']\nflowid_shift = 32", SHIFT),
    ],
)
def test_a_file_that_is_wrong_is_told_by_name_and_cause(text: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        interfaces(text, "host.toml")
    assert str(caught.value) == f"host.toml: {why}"


def test_a_file_that_is_no_toml_is_told_by_name_and_place() -> None:
    with pytest.raises(UsageError, match=r"^host\.toml: .*at end of document"):
        interfaces("[interfaces", "host.toml")


def test_what_a_file_leaves_out_has_its_default() -> None:
    found = interfaces("[interfaces.a]\n[interfaces.b]\nrxtls4 = false\n[interfaces.c]\nrxtls6 = false\n"
                       "[interfaces.l]\nlagg = 'lacp'\nports = ['a']\n", "host.toml")  # fmt: skip
    assert [found.enabled(found[name]) for name in "abc"] == [BOTH, bit(IFCAP2_RXTLS6), bit(IFCAP2_RXTLS4)]
    assert found.at(0) is None
    assert found.choose(found["l"], 1, False).refusal == "lagg_protocol"
    assert found.outbound("192.0.2.1") is None
    hashed = interfaces("[interfaces.a]\n[interfaces.l]\nlagg = 'lacp'\nports = ['a']\nuse_flowid = true\n", "x")
    assert hashed.choose(hashed["l"], 1, False).port is hashed["a"]
    assert interfaces("", "x").outbound("192.0.2.1") is None

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
def test_hashing_laggs_choose_by_flow(lagg: str) -> None:
    found = tree(lagg)
    assert [found.choose(found["lagg0"], n, False).port for n in range(4)] == [found["mlx0"], found["mlx1"]] * 2
    found.set_link("mlx0", False)
    assert {found.choose(found["lagg0"], n, False).port.name for n in range(4)} == {"mlx1"}  # type: ignore[union-attr]
    assert found.choose(found["lagg0"], None, False).refusal == "lagg_protocol"
    without = tree(lagg, use_flowid=False)
    assert without.choose(without["lagg0"], 1, False).refusal == "lagg_protocol"


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
    assert found.received_on(leaf, (5,)) is found["vlan5"]
    assert found.received_on(leaf, ()) is found["lagg0"]
    assert found.received_on(leaf, (6,)) is None
    assert found.received_on(found["em0"], (6,)) is found["em0"]  # a tap sees a tag that the host need not know
    found.detach("vlan5")
    assert found.received_on(leaf, (5,)) is None


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
        ("[interfaces.a]\ncapture = ['x']", "a: capture is a list of interface ids"),
        ("[interfaces.a]\ncapture = [-1]", "a: capture is a list of interface ids"),
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
    assert found.choose(found["l"], 1, False).port is found["a"]
    assert found.outbound("192.0.2.1") is None
    without = interfaces("[interfaces.a]\n[interfaces.l]\nlagg = 'lacp'\nports = ['a']\nuse_flowid = false\n", "x")
    assert without.choose(without["l"], 1, False).refusal == "lagg_protocol"
    assert interfaces("", "x").outbound("192.0.2.1") is None

"""FLOW: one meaning for every command."""

from __future__ import annotations

from typing import Any

import pytest

from rxtls.errors import UsageError
from rxtls.run.which import find, one, read


def flow(id: int, client: str, server: str = "10.0.0.2:443", sni: str | None = None, app: int = 1) -> dict[str, Any]:  # noqa: A002
    received = {"app_bytes": app, "gaps": {"count": 0}}
    return {"id": id, "client": client, "server": server, "sni": sni, "receive": {"server": received, "client": None}}


FLOWS = [
    flow(0, "10.0.0.1:1000", sni="shop.example"),
    flow(1, "10.0.0.1:1001", sni="Shop.example", app=0),
    flow(2, "[::1]:5", "[::2]:443", "other.example", app=0),
    flow(3, "10.0.0.2:443", "10.0.0.9:1"),
    flow(4, "10.0.0.1:1000"),
]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("0", [0]),
        ("04", [4]),
        ("10.0.0.1:1000", [0, 4]),
        ("10.0.0.2:443", [3]),
        ("10.0.0.9:1", [3]),
        ("[0::1]:5", [2]),
        ("[::2]:443", [2]),
        ("shop.example", [0, 1]),
        ("OTHER.example.", [2]),
        (None, [0, 1, 2, 3, 4]),
    ],
)
def test_a_flow_is_an_id_an_address_and_port_or_a_server_name(text: str | None, ids: list[int]) -> None:
    assert [each["id"] for each in find(FLOWS, text)] == ids


@pytest.mark.parametrize("text", ["7", "10.0.0.1:9", "nowhere.example", "", "1.2.3.4.5:6", "\x1b[2J", "9" * 400])
def test_what_names_none_is_told_with_some_that_there_are(text: str) -> None:
    with pytest.raises(
        UsageError, match=r"^no flow '.*': give an id, ip:port or server name; there are 0 \(10"
    ) as error:
        find(FLOWS, text)
    assert str(error.value).isprintable()


def test_the_only_one_need_not_be_named() -> None:
    assert one(FLOWS[1:4], None)["id"] == 3  # it alone said something
    assert one(FLOWS[1:2], None)["id"] == 1
    with pytest.raises(UsageError, match=r"which flow: give an id; there are 0 .*, 3 .*, 4"):
        one(FLOWS, None)
    with pytest.raises(UsageError, match=r"2 flows are called 'shop[.]example': give an id"):
        one(FLOWS, "shop.example")
    with pytest.raises(UsageError, match="there is no flow"):
        one([], None)


def test_a_number_is_never_a_name() -> None:
    assert read("12").id == 12
    assert read("[::1]:443").end == "[::1]:443"
    assert read("[::1:443").name == "[::1:443"

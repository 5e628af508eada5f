"""What a run did not look at, for a person: a line for each cause, with what to do. Nothing is left out in silence."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from rxtls.counters import FATES
from rxtls.run.coverage import RECORDS
from rxtls.study.verdict import many
from rxtls.wire.link_layer import READ, UNREAD

# Fates of frames that were looked at, or need no word: what is acknowledged or begun.
_LOOKED_AT = frozenset({"frame.segment", "frame.segment_cut", "frame.ack"})

DOUBLED = 0.9  # bytes received again to those received first, from where on it is no loss that explains them

# What to do about a cause. Where nothing can be done, nothing is said.
_INSIDE = "capture where the tunnel has ended, as on its own interface"
_FRAMES: dict[str, str] = {
    "filtered": "--filter says so",
    "fragment": "capture where packets are whole, as on the host itself",
    "link_type": "capture Ethernet or IP: for Wi-Fi not in monitor mode",
    "bad_checksum": "--checksum ignore takes them",
    "bad_ip_checksum": "--checksum ignore takes them",
    "cut_header": "capture with a larger snap length (tcpdump -s 0)",
    "quic": "have the client use TCP: browsers and curl can switch HTTP/3 off",
    "dtls": "only TLS over TCP is read",
    **dict.fromkeys(("gtp", "l2tp", "teredo", "tzsp", "lisp", "capwap", "gue", "macsec", "bridged"), _INSIDE),
    "wireguard": "capture behind the decryption, as on the tunnel's own interface",
    "esp": "capture behind the decryption, as on the tunnel's own interface",
    "vxlan": "if it is another tunnel, please report it",
    "geneve": "if it is another tunnel, please report it",
    "gre": "if it is another tunnel, please report it",
    "mpls": "if it is another tunnel, please report it",
    "tunnel_depth": "please report it, with a capture",
}
_WHOLE = "begin the capture before the connection, and take whole frames (tcpdump -s 0)"
_BYTES: dict[str, str] = {
    "no_keys": "record the session's secrets (SSLKEYLOGFILE) and give them by --keys",
    "server_hello": "begin the capture before the connection",
    "mid_connection": _WHOLE,
    "mid_connection_tls12": _WHOLE,
    "before_start": "begin the capture before the connection",
    "bad_checksum": "--checksum ignore takes them",
    "filtered": "--filter says so",
    "receiver": "--receiver both takes them",
    "keys_wait": "--set keys_wait=BYTES",
    "hold_overflow": "--set hold=BYTES",
    "after_gap": "capture without drops (tcpdump -B, a larger snap length)",
    "after_hole": "capture without drops (tcpdump -B, a larger snap length)",
    "unknown": "capture without drops (tcpdump -B, a larger snap length)",
}


def twice(summary: dict[str, Any]) -> list[str]:
    """A line for traffic that the capture has more than once, and that counts as often."""
    lines = []
    sessions: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for flow in summary["flows"]:
        if flow.get("session"):  # a run of schema 1 has none
            sessions[flow["session"]].add((flow["client"], flow["server"]))
    if again := sum(len(ends) - 1 for ends in sessions.values()):
        lines.append(
            f"{many(again, 'connection')} counted again: the same TLS session is here under other addresses too, "
            "as on both sides of a NAT or a relay (--filter takes one side)"
        )
    duplicate = summary["fates"].get("byte.duplicate", 0)
    first = summary.get("coverage", {}).get("tcp_bytes", 0) - duplicate
    if duplicate >= DOUBLED * first > 0:
        lines.append(
            f"nearly every byte came more than once ({duplicate:,} again, {first:,} first): where a port is mirrored "
            "twice on one interface, the host did not receive them so (editcap -d takes the copies out)"
        )
    return lines


def left_out(summary: dict[str, Any]) -> list[str]:
    """A line for each fate of frames that were not looked at, the largest first."""
    found = [(n, name) for name, n in summary["fates"].items() if name.startswith("frame.") and name not in _LOOKED_AT]
    return [_frames(summary, name, n) for n, name in sorted(found, key=lambda each: (-each[0], each[1]))]


def covered(summary: dict[str, Any]) -> list[str]:
    """How much of the TCP payload was opened, and a line for each cause of the rest, the largest first."""
    whole = summary.get("coverage")
    if not whole or not whole["tcp_bytes"]:
        return []
    total = whole["tcp_bytes"]
    share = 100 * whole["opened"] / total
    lines = [f"opened: {whole['opened']:,} of {total:,} bytes of TCP payload ({share:.1f} %)"]
    rest = sorted(whole["rest"].items(), key=lambda each: (-each[1], each[0]))
    return lines + [
        f"not opened: {n:,} bytes: {_sentence(cause)}{_advice(_BYTES, cause)} [{cause}]" for cause, n in rest
    ]


def _frames(summary: dict[str, Any], name: str, n: int) -> str:
    cause = name.partition(".")[2]
    sentence = FATES[name].rstrip(".")
    if cause == "link_type":
        sentence = f"{_link_types(summary)}: not a link type that is read"
    frames = "1 frame" if n == 1 else f"{n:,} frames"
    return f"left out: {frames}: {sentence}{_advice(_FRAMES, cause)} [{cause}]"


def _link_types(summary: dict[str, Any]) -> str:
    """The link types of the captures that are not read, by name and number."""
    found = sorted({each["link_type"] for each in summary["interfaces"] if "link_type" in each} - READ)
    return ", ".join(f"{UNREAD[each]} ({each})" if each in UNREAD else f"link type {each}" for each in found)


def _sentence(cause: str) -> str:
    return (RECORDS.get(cause) or FATES[f"byte.{cause}"]).rstrip(".")


def _advice(table: dict[str, str], cause: str) -> str:
    return f" ({table[cause]})" if cause in table else ""

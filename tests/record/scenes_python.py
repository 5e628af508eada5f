"""Python ssl at both ends: what needs exact knowledge of the plaintext, or a socket treated in a particular way."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from scene import Recorded, Scene, peers, rewritten
from stage import Stage

# TINY ends with an answer: a reset after it cannot overtake data that the other end has yet to read.
# Record sizes: the smallest, odd ones, and a full record (RFC 8446 5.1); writes above 16384 make several records.
SMALL: list[list[Any]] = [["up", [1, 100, 1000, 0x1000]], ["down", [5, 700, 3000]], ["up", [16384, 333]]]
TINY: list[list[Any]] = [["up", [1, 1000]], ["down", [700]], ["up", [6000, 3]], ["down", [7]]]
BULK: list[list[Any]] = [["up", [100]], ["down", [40]], ["up", [40000, 16384, 1]], ["down", [20000, 999]]]
# The server reads late, so the client's queue fills and leaves in the largest frames there are.
LATE: list[list[Any]] = [["up", [100]], ["down", [40]], ["lag", 0.4], ["up", [140000]], ["down", [30000]]]
REWRITE = str(Path(__file__).resolve().parent / "rewrite.py")
PLAIN = ["tso", "gso", "gro"]


def veth_offload(stage: Stage) -> list[Recorded]:
    """One transfer over a veth with offloads left on, seen at the receiver's and at the sender's side."""
    return _both_sides(stage, "veth-offload", [], LATE, "offloads left on: frames up to 64 KiB, partial checksums")


def veth_plain(stage: Stage) -> list[Recorded]:
    """One transfer over a veth, MTU 1500, segmentation and checksum offloads off, seen at both sides."""
    return _both_sides(stage, "veth-plain", [*PLAIN, "tx"], BULK, "ethtool -K tso off gso off gro off tx off, MTU 1500")


def _both_sides(stage: Stage, name: str, off: list[str], steps: list[list[Any]], what: str) -> list[Recorded]:
    client, server = stage.pair(off=off)
    keys = stage.directory / "keys"
    files = {side: stage.directory / f"{name}-{side}.pcap" for side in ("receiver", "sender")}
    plans: list[dict[str, Any]] = [{"steps": steps, "max": "1.3"}, {"steps": SMALL, "max": "1.2"}]
    with server.sniff(files["receiver"]), client.sniff(files["sender"]):
        flows = peers(stage, client, server, plans, keys)
    how = f"upload over a veth between two namespaces, {what}; captured at the "
    return [
        Recorded(f"{name}-{side}", file, keys, flows, f"{how}{host} end", vantage=f"{host}'s end of the veth")
        for (side, file), host in zip(files.items(), ("server", "client"), strict=True)
    ]


def vlan(stage: Stage) -> list[Recorded]:
    """The receiver's side of a plain veth transfer, rewritten to carry one VLAN tag, and two (QinQ)."""
    client, server = stage.pair(off=[*PLAIN, "tx"])
    keys, file = stage.directory / "keys", stage.directory / "vlan-source.pcap"
    with server.sniff(file):
        flows = peers(stage, client, server, [{"steps": SMALL}, {"steps": SMALL, "max": "1.2"}], keys)
    source = Recorded("veth", file, keys, flows, "", vantage="server's end of the veth")
    made = []
    for name, ids in (("vlan-8021q", [42]), ("vlan-qinq", [100, 7])):
        recorded = rewritten(
            source,
            name,
            f"recorded on a veth without VLANs; rewrite.py then put VLAN ids {ids} (outer first) into every frame",
            [sys.executable, REWRITE, "IN", "OUT", *map(str, ids)],
            notes={"vlan": ids, "rewritten": True},
        )
        made.append(recorded)
    return made


def ipv6_tls13(stage: Stage) -> list[Recorded]:
    """TLS 1.3 over IPv6 on a veth, offloads off, real checksums."""
    return [_ipv6(stage, "ipv6-tls13", "1.3", [*PLAIN, "tx"])]


def ipv6_tls12(stage: Stage) -> list[Recorded]:
    """TLS 1.2 over IPv6 on a veth, offloads left on."""
    return [_ipv6(stage, "ipv6-tls12", "1.2", [])]


def _ipv6(stage: Stage, name: str, version: str, off: list[str]) -> Recorded:
    client, server = stage.pair(ipv6=True, off=off)
    keys, file = stage.directory / "keys", stage.directory / f"{name}.pcap"
    with server.sniff(file):
        flows = peers(stage, client, server, [{"steps": [*SMALL, ["up", [40000]]], "max": version}], keys)
    how = f"TLS {version} over IPv6 on a veth, switched off: {' '.join(off) or 'nothing'}"
    return Recorded(name, file, keys, flows, how, vantage="server's end of the veth")


def any_interface(stage: Stage) -> list[Recorded]:
    """tcpdump -i any on a server reached over a veth: cooked v2 and cooked v1 of the same connections."""
    client, server = stage.pair()
    keys = stage.directory / "keys"
    files = {kind: stage.directory / f"any-{kind}.pcap" for kind in ("sll2", "sll")}
    plans: list[dict[str, Any]] = [{"steps": BULK}, {"steps": SMALL, "max": "1.2"}]
    with (
        server.sniff(files["sll2"], "-y", "LINUX_SLL2", interface="any"),
        server.sniff(files["sll"], "-y", "LINUX_SLL", interface="any"),
    ):
        flows = peers(stage, client, server, plans, keys)
    return [
        Recorded(f"any-{kind}", file, keys, flows, f"tcpdump -i any ({kind}) at the server", vantage="server, any")
        for kind, file in files.items()
    ]


def any_loopback(stage: Stage) -> list[Recorded]:
    """tcpdump -i any where client and server share a host (cooked v2)."""
    host = stage.loopback()
    keys, file = stage.directory / "keys", stage.directory / "any-loopback.pcap"
    with host.sniff(file, interface="any"):
        flows = peers(stage, host, host, [{"steps": SMALL}], keys)
    return [Recorded("any-loopback", file, keys, flows, "tcpdump -i any, client and server on one host")]


def any_bridge(stage: Stage) -> list[Recorded]:
    """tcpdump -i any where the server's address is on a bridge: every frame is seen on the port and on the bridge."""
    client, server = stage.pair()
    for words in (
        ["link", "add", "br0", "type", "bridge"],
        ["address", "flush", "dev", "eth0"],
        ["link", "set", "eth0", "master", "br0"],
        ["address", "add", f"{server.address}/24", "dev", "br0"],
        ["link", "set", "br0", "up"],
    ):
        server.run(["ip", *words])
    keys, file = stage.directory / "keys", stage.directory / "any-bridge.pcap"
    with server.sniff(file, "tcp", interface="any"):
        flows = peers(stage, client, server, [{"steps": TINY}, {"steps": TINY, "max": "1.2"}], keys)
    how = "tcpdump -i any (sll2) at a server whose veth is the port of a bridge: every packet is there twice"
    return [Recorded("any-bridge", file, keys, flows, how, vantage="server, any", notes={"every_packet": 2})]


def suites_tls13(stage: Stage) -> list[Recorded]:
    """Every TLS 1.3 suite."""
    names = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
    names += ["TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"]
    return [_suites(stage, "suites-tls13", [{"suite13": name} for name in names], SMALL)]


def suites_tls12_aead(stage: Stage) -> list[Recorded]:
    """TLS 1.2: AES-GCM, ChaCha20-Poly1305, AES-CCM and CCM-8."""
    names = ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"]
    names += ["ECDHE-ECDSA-AES128-CCM", "ECDHE-ECDSA-AES256-CCM", "ECDHE-ECDSA-AES128-CCM8"]
    names += ["ECDHE-ECDSA-AES256-CCM8", "ECDHE-ECDSA-CHACHA20-POLY1305"]
    return [_suites(stage, "suites-tls12-aead", _tls12(names), SMALL)]


def suites_tls12_cbc(stage: Stage) -> list[Recorded]:
    """TLS 1.2: AES-CBC with every HMAC, encrypt-then-MAC (RFC 7366) and MAC-then-encrypt."""
    names = ["ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA", "ECDHE-RSA-AES128-SHA256", "ECDHE-RSA-AES256-SHA384"]
    late = _suites(stage, "suites-tls12-cbc-mac-then-encrypt", _tls12(names, options=["no_encrypt_then_mac"]), SMALL)
    return [_suites(stage, "suites-tls12-cbc", _tls12(names), SMALL), late]


def suites_tls11(stage: Stage) -> list[Recorded]:
    """TLS 1.1: AES-CBC with HMAC-SHA1, both MAC orders, ECDHE and RSA key exchange."""
    plans = []
    for options in ([], ["no_encrypt_then_mac"]):
        plans += _tls12(["ECDHE-RSA-AES128-SHA", "AES256-SHA"], min="1.1", max="1.1", options=options)
    return [_suites(stage, "suites-tls11", plans, SMALL)]


def rsa_key_exchange(stage: Stage) -> list[Recorded]:
    """TLS 1.2 with RSA key exchange, with and without extended master secret; a key log of RSA lines only beside it."""
    names = ["AES128-GCM-SHA256", "AES256-SHA256"]
    plans = _tls12(names) + _tls12(names, options=["no_extended_master_secret"])
    made = _suites(stage, "rsa-key-exchange", plans, SMALL)
    assert made.keys is not None
    only = stage.directory / "rsa-only.keys"
    lines = made.keys.read_text().splitlines()
    only.write_text("".join(f"{line}\n" for line in lines if line.startswith("RSA ")))
    how = "the same capture; the key log has its RSA lines (encrypted premaster) only"
    return [
        made,
        Recorded("rsa-key-exchange-rsa-lines", made.capture, only, made.flows, how, same="rsa-key-exchange.pcap"),
    ]


def finite_field_key_exchange(stage: Stage) -> list[Recorded]:
    """TLS 1.2 with DHE, with and without extended master secret."""
    names = ["DHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES256-SHA256", "DHE-RSA-CHACHA20-POLY1305"]
    plans = _tls12(names) + _tls12(names[:1], options=["no_extended_master_secret"])
    return [_suites(stage, "finite-field-key-exchange", plans, SMALL[:2], dh=str(stage.dh_parameters()))]


def suites_unsupported(stage: Stage) -> list[Recorded]:
    """TLS 1.2 suites outside the project's table: ARIA, Camellia, and one without encryption."""
    names = ["ECDHE-ARIA128-GCM-SHA256", "ECDHE-RSA-CAMELLIA128-SHA256", "ECDHE-RSA-NULL-SHA"]
    made = _suites(stage, "suites-unsupported", _tls12(names), SMALL[:2])
    made.blind = "not every one of these suites is one tshark decrypts"
    made.notes = {"expect": "byte.suite"}
    return [made]


def _tls12(names: list[str], **more: Any) -> list[dict[str, Any]]:
    return [{"ciphers": f"{name}:@SECLEVEL=0", "max": "1.2"} | more for name in names]


def _suites(stage: Stage, name: str, plans: list[dict[str, Any]], steps: list[list[Any]], **served: Any) -> Recorded:
    host = stage.loopback()
    keys, file = stage.directory / f"{name}.keys", stage.directory / f"{name}.pcap"
    with host.sniff(file):
        flows = peers(stage, host, host, [{"steps": steps} | plan for plan in plans], keys, **served)
    for flow, plan in zip(flows, plans, strict=True):
        if plan.get("options"):
            flow.notes["client_options"] = plan["options"]
    return Recorded(name, file, keys, flows, "one connection per suite, Python ssl at both ends, over loopback")


def reused_4tuple(stage: Stage) -> list[Recorded]:
    """One client port used for four connections: ended by reset, by the server twice, by reset."""
    # Not by the client's FIN: its port would be in TIME_WAIT and refuse the next connection.
    ends = [("rst", "1.3"), ("server", "1.2"), ("server", "1.3"), ("rst", "1.2")]
    plans = [{"bind": 45678, "end": end, "max": version, "steps": TINY} for end, version in ends]
    return [_socket_scene(stage, "reused-4-tuple", plans, "client bound to port 45678 every time")]


def missing_close_notify(stage: Stage) -> list[Recorded]:
    """Connections ended by FIN alone, by a reset (SO_LINGER 0), by the death of the client."""
    plans = [
        {"end": end, "max": version, "steps": TINY} for version in ("1.3", "1.2") for end in ("fin", "rst", "kill")
    ]
    made = _socket_scene(stage, "missing-close-notify", plans, "no close_notify from the client")
    return [made]


def half_close(stage: Stage) -> list[Recorded]:
    """The client ends its direction (FIN alone, and close_notify alone); the server goes on sending, then closes."""
    plans = [
        {"end": end, "max": version, "steps": TINY, "last": [10000, 17]}
        for version in ("1.3", "1.2")
        for end in ("half-fin", "half-notify")
    ]
    return [_socket_scene(stage, "half-close", plans, "half-closed by the client", options=["ignore_unexpected_eof"])]


def post_handshake_auth(stage: Stage) -> list[Recorded]:
    """TLS 1.3 post-handshake authentication: CertificateRequest and the client's answer among application data."""
    cert, key = stage.certificate("rsa", "client.test")
    plan = {
        "post_handshake": True,
        "certificates": [[str(cert), str(key)]],
        "steps": [["up", [100]], ["down", [100]], ["authenticate"], ["down", [5000]], ["up", [7000]], ["down", [9]]],
    }
    what = "the server asks after 100 bytes"
    made = _socket_scene(stage, "post-handshake-auth", [plan], what, trust=str(cert), post_handshake=True)
    made.blind = "it decrypts nothing from the client after its post-handshake Finished"
    return [made]


def client_auth(stage: Stage) -> list[Recorded]:
    """The client authenticates in the handshake, TLS 1.3 and TLS 1.2."""
    cert, key = stage.certificate("rsa", "client.test")
    shared = {"certificates": [[str(cert), str(key)]], "steps": TINY}
    plans = [shared | {"max": version} for version in ("1.3", "1.2")]
    return [_socket_scene(stage, "client-auth", plans, "certificate required by the server", trust=str(cert))]


def fast_open(stage: Stage) -> list[Recorded]:
    """TCP Fast Open: the second connection's ClientHello travels in its SYN."""
    host = stage.loopback()
    host.run(["sysctl", "-w", "net.ipv4.tcp_fastopen=3"])
    keys, file = stage.directory / "keys", stage.directory / "fast-open.pcap"
    plans = [{"steps": TINY, "client_socket": {"fastopen": "connect"}, "max": v} for v in ("1.3", "1.3", "1.2")]
    with host.sniff(file):
        flows = peers(stage, host, host, plans, keys, server_socket={"fastopen": "listen"})
    how = "TCP_FASTOPEN_CONNECT, cookie got by the first connection; data in SYN from the second on"
    return [Recorded("fast-open", file, keys, flows, how)]


def zero_window(stage: Stage) -> list[Recorded]:
    """A receiver that does not read for a second and a half: a closed window, its probes, and keep-alives."""
    client, server = stage.pair(off=[*PLAIN, "tx"])
    keys, file = stage.directory / "keys", stage.directory / "zero-window.pcap"
    steps = [["up", [100]], ["down", [40]], ["lag", 1.5], ["up", [60000]], ["down", [10]], ["pause", 2.5], ["up", [9]]]
    plan = {"steps": steps, "client_socket": {"keepalive": 1}}
    with server.sniff(file):
        flows = peers(stage, client, server, [plan], keys, server_socket={"receive_buffer": 8192})
    how = "server reads late with an 8 KiB receive buffer; then both idle with TCP_KEEPIDLE 1"
    return [Recorded("zero-window", file, keys, flows, how, vantage="server's end of the veth")]


def small_segments(stage: Stage) -> list[Recorded]:
    """MSS 88: record headers, AEAD tags and handshake messages cut over many segments."""
    client, server = stage.pair(off=[*PLAIN, "tx"])
    keys, file = stage.directory / "keys", stage.directory / "small-segments.pcap"
    plans: list[dict[str, Any]] = [
        {"steps": TINY, "max": version, "client_socket": {"mss": 88}} for version in ("1.3", "1.2")
    ]
    with server.sniff(file):
        flows = peers(stage, client, server, plans, keys, server_socket={"mss": 88})
    how = "TCP_MAXSEG 88 at both ends"
    return [Recorded("small-segments", file, keys, flows, how, vantage="server's end of the veth")]


def tls10(stage: Stage) -> list[Recorded]:
    """TLS 1.0, which the project does not support."""
    plans = [{"ciphers": "AES128-SHA:@SECLEVEL=0", "min": "1.0", "max": "1.0", "steps": SMALL[:2]}]
    made = _socket_scene(stage, "tls10", plans, "TLS 1.0 only")
    made.notes = {"expect": "byte.version"}
    return [made]


def _socket_scene(stage: Stage, name: str, plans: list[dict[str, Any]], what: str, **served: Any) -> Recorded:
    host = stage.loopback()
    keys, file = stage.directory / f"{name}.keys", stage.directory / f"{name}.pcap"
    with host.sniff(file):
        flows = peers(stage, host, host, plans, keys, **served)
    for flow, plan in zip(flows, plans, strict=True):
        flow.notes["end"] = plan.get("end", "close")
    return Recorded(name, file, keys, flows, f"Python ssl at both ends over loopback: {what}")


def resumed_by_python(stage: Stage) -> list[Recorded]:
    """Three connections of one client, the later two resumed: TLS 1.3 PSK, TLS 1.2 ticket, TLS 1.2 session id."""
    made = []
    for name, plan, options in (
        ("resumed-tls13-psk", {"max": "1.3"}, []),
        ("resumed-tls12-ticket", {"max": "1.2"}, []),
        ("resumed-tls12-id", {"max": "1.2", "options": ["no_ticket"]}, ["no_ticket"]),
    ):
        host = stage.loopback()
        keys, file = stage.directory / f"{name}.keys", stage.directory / f"{name}.pcap"
        with host.sniff(file):
            flows = peers(stage, host, host, [{"steps": TINY, "sessions": 3} | plan], keys, options=options)
        assert [flow.notes["resumed"] for flow in flows] == [False, True, True]
        made.append(Recorded(name, file, keys, flows, "Python ssl at both ends; the client keeps its session"))
    return made


def concurrent(stage: Stage) -> list[Recorded]:
    """Twelve connections at once, TLS 1.2 and 1.3, frames interleaved."""
    client, server = stage.pair(off=[*PLAIN, "tx"])
    keys, file = stage.directory / "keys", stage.directory / "concurrent.pcap"
    steps = [["up", [1000, 1]], ["down", [500]]] * 3
    plans: list[dict[str, Any]] = [
        {"steps": steps, "max": "1.3" if number % 2 else "1.2", "port": 443} for number in range(12)
    ]
    with server.sniff(file):
        flows = peers(stage, client, server, plans, keys, together=True)
    how = "twelve clients started together against one threaded server"
    return [Recorded("concurrent", file, keys, flows, how, vantage="server's end of the veth", ordered=False)]


SCENES: list[Scene] = [
    veth_offload,
    veth_plain,
    ipv6_tls13,
    ipv6_tls12,
    any_interface,
    any_loopback,
    any_bridge,
    suites_tls13,
    suites_tls12_aead,
    suites_tls12_cbc,
    suites_tls11,
    rsa_key_exchange,
    finite_field_key_exchange,
    suites_unsupported,
    resumed_by_python,
    client_auth,
    post_handshake_auth,
    reused_4tuple,
    missing_close_notify,
    half_close,
    fast_open,
    zero_window,
    small_segments,
    concurrent,
    vlan,
    tls10,
]

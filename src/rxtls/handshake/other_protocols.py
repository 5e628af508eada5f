"""What a stream that is no TLS seems to be, by its first bytes; for people, who else have to open it in Wireshark.

Some protocols have TLS within packets of their own over TCP (OpenVPN), and in some the first bytes may look like a
record's (Modbus, whose transaction numbers count up): these are told before anybody looks for a hello in them.
"""

from __future__ import annotations

import re

_BEGINS: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(begins, re.DOTALL), name)
    for begins, name in (
        (rb"SSH-", "SSH"),
        (
            rb"(?:GET|POST|HEAD|PUT|DELETE|OPTIONS|PATCH|CONNECT|TRACE) [^\r\n]* HTTP/1|HTTP/1\.[01] ",
            "HTTP in plaintext",
        ),
        (rb"PRI \* HTTP/2\.0\r\n", "HTTP/2 in plaintext"),
        (rb"\x13BitTorrent protocol", "BitTorrent"),
        (rb"RFB 00", "VNC"),
        (rb"AMQP[\0-\3]", "AMQP"),
        (rb"\0...[\xff\xfe]SMB", "SMB"),
        (rb"\x03\0..[\x02-\xff][\xe0\xd0]", "RDP without TLS"),
        (rb"\*[0-9]+\r\n\$[0-9]+\r\n", "Redis"),
        (rb"\x10.{1,2}\0\x04MQTT|\x10.{1,2}\0\x06MQIsdp", "MQTT"),
        (rb"(?:220|\* OK|\+OK)[ -]", "a mail or file protocol without TLS"),
        (rb"\0\0\0[\x08-\xff]\0\x03\0\0", "PostgreSQL without TLS"),
    )
)
_MODBUS = re.compile(
    rb"..\0\0\0[\x02-\xfd].[\x01-\x2b\x81-\xab]", re.DOTALL
)  # Modbus/TCP: protocol 0, length, function
_OPENVPN = frozenset((7 << 3, 8 << 3, 10 << 3))  # P_CONTROL_HARD_RESET: the client's, the server's, the client's V3
_OPENVPN_LENGTHS = range(14, 1500)


def never_tls(data: bytes) -> str:
    """The protocol, if it is one in which a hello found further on would mean nothing; else ""."""
    if len(data) >= 14 and data[2] in _OPENVPN and int.from_bytes(data[:2]) in _OPENVPN_LENGTHS:
        return "OpenVPN, which has TLS within its own packets"
    if _MODBUS.match(data) and len(data) >= 6 + data[5]:
        return "Modbus"
    return ""


def seems(data: bytes) -> str:
    """The protocol, if its first bytes tell; else ""."""
    for begins, name in _BEGINS:
        if begins.match(data):
            return name
    return never_tls(data)

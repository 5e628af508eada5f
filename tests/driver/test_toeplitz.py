"""The flow hash against the vectors that Microsoft published with the key ("Verifying the RSS Hash Calculation")."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from rxtls.driver.toeplitz import toeplitz


@pytest.mark.parametrize(
    ("source", "port", "target", "target_port", "hashed"),
    [
        ("66.9.149.187", 2794, "161.142.100.80", 1766, 0x51CCC178),
        ("199.92.111.2", 14230, "65.69.140.83", 4739, 0xC626B0EA),
        ("24.19.198.95", 12898, "12.22.207.184", 38024, 0x5C2B394A),
        ("38.27.205.30", 48228, "209.142.163.6", 2217, 0xAFC7327F),
        ("153.39.163.191", 44251, "202.188.127.2", 1303, 0x10E828A2),
        ("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766, 0x40207D3D),
        ("3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739, 0xDDE51BBF),
        ("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, "fe80::200:f8ff:fe21:67cf", 38024, 0x02D1FEEF),
    ],
)
def test_published_vectors(source: str, port: int, target: str, target_port: int, hashed: int) -> None:
    assert toeplitz(ip_address(source).packed, ip_address(target).packed, port, target_port) == hashed

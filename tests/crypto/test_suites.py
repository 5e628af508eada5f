from __future__ import annotations

import shutil
import subprocess

import pytest

from rxtls.crypto.suites import SUITES, TLS13_SUITES, Family, Version, suite

# code, name, family, key length, PRF hash, MAC: picked by hand from the RFCs that define them.
BY_HAND = [
    (0x002F, "TLS_RSA_WITH_AES_128_CBC_SHA", Family.AES_CBC, 16, "sha256", "sha1"),
    (0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA", Family.AES_CBC, 32, "sha256", "sha1"),
    (0x003C, "TLS_RSA_WITH_AES_128_CBC_SHA256", Family.AES_CBC, 16, "sha256", "sha256"),
    (0x006B, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256", Family.AES_CBC, 32, "sha256", "sha256"),
    (0x009C, "TLS_RSA_WITH_AES_128_GCM_SHA256", Family.AES_GCM, 16, "sha256", None),
    (0x009F, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", Family.AES_GCM, 32, "sha384", None),
    (0x00A9, "TLS_PSK_WITH_AES_256_GCM_SHA384", Family.AES_GCM, 32, "sha384", None),
    (0x00AF, "TLS_PSK_WITH_AES_256_CBC_SHA384", Family.AES_CBC, 32, "sha384", "sha384"),
    (0x1301, "TLS_AES_128_GCM_SHA256", Family.AES_GCM, 16, "sha256", None),
    (0x1302, "TLS_AES_256_GCM_SHA384", Family.AES_GCM, 32, "sha384", None),
    (0x1303, "TLS_CHACHA20_POLY1305_SHA256", Family.CHACHA20_POLY1305, 32, "sha256", None),
    (0x1304, "TLS_AES_128_CCM_SHA256", Family.AES_CCM, 16, "sha256", None),
    (0x1305, "TLS_AES_128_CCM_8_SHA256", Family.AES_CCM8, 16, "sha256", None),
    (0xC01E, "TLS_SRP_SHA_RSA_WITH_AES_128_CBC_SHA", Family.AES_CBC, 16, "sha256", "sha1"),
    (0xC024, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384", Family.AES_CBC, 32, "sha384", "sha384"),
    (0xC02F, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Family.AES_GCM, 16, "sha256", None),
    (0xC030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", Family.AES_GCM, 32, "sha384", None),
    (0xC09D, "TLS_RSA_WITH_AES_256_CCM", Family.AES_CCM, 32, "sha256", None),
    (0xC0AE, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8", Family.AES_CCM8, 16, "sha256", None),
    (0xC0B3, "TLS_ECCPWD_WITH_AES_256_CCM_SHA384", Family.AES_CCM, 32, "sha384", None),
    (0xCCA8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", Family.CHACHA20_POLY1305, 32, "sha256", None),
    (0xD005, "TLS_ECDHE_PSK_WITH_AES_128_CCM_SHA256", Family.AES_CCM, 16, "sha256", None),
]


@pytest.mark.parametrize("row", BY_HAND, ids=lambda row: row[1])
def test_row(row: tuple[int, str, Family, int, str, str | None]) -> None:
    found = suite(row[0])
    assert found is not None
    assert (found.code, found.name, found.family, found.key_length, found.prf_hash, found.mac) == row


def test_the_table_is_complete_and_names_are_unique() -> None:
    assert len(SUITES) == 130
    assert len({s.name for s in SUITES.values()}) == 130
    assert [s.code for s in TLS13_SUITES] == [0x1301, 0x1302, 0x1303, 0x1304, 0x1305]


def test_what_is_not_in_the_table() -> None:
    # RC4, 3DES, Camellia-GCM, the draft ChaCha20, a signalling value, GREASE
    assert [suite(code) for code in (0x0005, 0x000A, 0xC07A, 0xCC13, 0x00FF, 0x0A0A)] == [None] * 6


def test_only_gcm_and_chacha20_stream_and_recrypt() -> None:
    for s in SUITES.values():
        assert s.stream == s.recrypt == (s.family in (Family.AES_GCM, Family.CHACHA20_POLY1305))


def test_versions() -> None:
    for s in SUITES.values():
        if s.code >> 8 == 0x13:
            assert s.versions == (Version.TLS13,)
        elif s.mac == "sha1":
            assert s.versions == (Version.TLS11, Version.TLS12)
        else:
            # RFC 5246 appendix A.5 and RFC 5289 tie SHA-2 MACs to TLS 1.2; RFC 5487 and RFC 5489 do not.
            early = s.mac is not None and "PSK" in s.name
            assert s.versions == ((Version.TLS11, Version.TLS12) if early else (Version.TLS12,))


def test_agrees_with_openssl() -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl program to compare with")
    run = subprocess.run(
        [openssl, "ciphers", "-stdname", "-V", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"], capture_output=True, text=True
    )
    if run.returncode:
        pytest.skip("this openssl program does not list suites by their standard names")
    # 0x00,0x9C - TLS_RSA_WITH_AES_128_GCM_SHA256 - AES128-GCM-SHA256 TLSv1.2 Kx=RSA Au=RSA Enc=AESGCM(128) Mac=AEAD
    enc = {
        Family.AES_GCM: "AESGCM",
        Family.CHACHA20_POLY1305: "CHACHA20/POLY1305",
        Family.AES_CCM: "AESCCM",
        Family.AES_CCM8: "AESCCM8",
        Family.AES_CBC: "AES",
    }
    compared = 0
    for line in run.stdout.splitlines():
        words = line.split()
        code = int(words[0][2:4] + words[0][7:9], 16)
        ours = suite(code)
        if ours is None:
            assert not any(f"Enc={e}(" in line for e in enc.values()), line
            continue
        assert words[2] == ours.name
        assert f"Enc={enc[ours.family]}({ours.key_length * 8})" in words
        assert f"Mac={(ours.mac or 'aead').upper()}" in words
        assert (words[5] == "TLSv1.3") == (Version.TLS13 in ours.versions)
        assert (words[5] in ("SSLv3", "TLSv1")) == (Version.TLS11 in ours.versions)
        compared += 1
    assert compared > 20

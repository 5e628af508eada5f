"""TCP_RXTLS_ENABLE: each check, its errno, and their order."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from rxtls.crypto.keys import Keys
from rxtls.crypto.suites import SUITES, Family, Version
from rxtls.errors import SocketError, UsageError
from rxtls.host.socket.enable import MAX_IV, MAX_KEY, Auth, Cipher, TlsEnable, checked
from rxtls.host.sysctl import Sysctl, sysctl
from sample_keys import ALL_SHAPES, sample_keys

GCM13 = TlsEnable.of(sample_keys(SUITES[0x1301], Version.TLS13), 7)
GCM12 = TlsEnable.of(sample_keys(SUITES[0xC02F], Version.TLS12))
CHACHA = TlsEnable.of(sample_keys(SUITES[0xCCA8], Version.TLS12))
CBC = TlsEnable.of(sample_keys(SUITES[0xC013], Version.TLS12))


def upstream_has(keys: Keys) -> bool:
    """No CCM, no encrypt-then-MAC, and SHA-2 MACs only in TLS 1.2."""
    return (
        keys.suite.family not in (Family.AES_CCM, Family.AES_CCM8)
        and not keys.encrypt_then_mac
        and (keys.version is not Version.TLS11 or keys.suite.mac == "sha1")
    )


@pytest.mark.parametrize("keys", [keys for keys in ALL_SHAPES if upstream_has(keys)])
def test_what_the_application_hands_over_comes_out_as_keys(keys: Keys) -> None:
    found, number = checked(TlsEnable.of(keys, 0x0102_0304_0506_0708), Sysctl())
    assert (found.version, found.suite.family, found.suite.mac) == (keys.version, keys.suite.family, keys.suite.mac)
    assert (found.key, found.iv, found.mac_key) == (keys.key, keys.iv, keys.mac_key)
    assert number == 0x0102_0304_0506_0708


@pytest.mark.parametrize(
    ("enable", "why"),
    [
        (replace(GCM13, tls_vmajor=2), "EINVAL: no version 2.4"),
        (replace(GCM13, tls_vminor=0), "EINVAL: no version 3.0"),
        (replace(GCM13, tls_vminor=5), "EINVAL: no version 3.5"),
        (replace(GCM13, cipher_key=b""), "EINVAL: a key or an IV of a length that none has"),
        (replace(GCM13, cipher_key=bytes(MAX_KEY + 1)), "EINVAL: a key or an IV of a length that none has"),
        (replace(CBC, auth_key=bytes(MAX_KEY + 1)), "EINVAL: a key or an IV of a length that none has"),
        (replace(CBC, iv=bytes(MAX_IV + 1)), "EINVAL: a key or an IV of a length that none has"),
        (replace(GCM13, flags=1), "EINVAL: no flags are defined"),
        (replace(GCM13, rec_seq=bytes(7)), "EINVAL: a record number has 8 bytes"),
        (replace(GCM13, tls_vminor=2), "EINVAL: an AEAD needs TLS 1.2 or 1.3"),
        (replace(GCM13, auth_key=b"x"), "EINVAL: an AEAD has no MAC key"),
        (replace(GCM13, auth_algorithm=Auth.SHA1_HMAC), "EINVAL: an AEAD has no MAC key"),
        (replace(GCM13, iv=bytes(4)), "EINVAL: an IV of 4 bytes"),
        (replace(GCM12, iv=bytes(12)), "EINVAL: an IV of 12 bytes"),
        (replace(GCM13, cipher_key=bytes(24)), "EINVAL: a key of 24 bytes"),
        (replace(CHACHA, tls_vminor=1), "EINVAL: an AEAD needs TLS 1.2 or 1.3"),
        (replace(CHACHA, iv=bytes(4)), "EINVAL: an IV of 4 bytes"),
        (replace(CHACHA, cipher_key=bytes(16)), "EINVAL: a key of 16 bytes"),
        (replace(CBC, tls_vminor=4), "EINVAL: there is no CBC in TLS 1.3"),
        (replace(CBC, auth_key=b""), "EINVAL: CBC needs a MAC and its key"),
        (replace(CBC, auth_algorithm=Auth.NONE), "EINVAL: CBC needs a MAC and its key"),
        (
            replace(CBC, auth_algorithm=Auth.SHA2_256_HMAC, auth_key=bytes(32), tls_vminor=2),
            "EINVAL: SHA-2 MACs came with TLS 1.2",
        ),
        (replace(CBC, auth_key=bytes(19)), "EINVAL: a MAC key of 19 bytes"),
        (replace(CBC, tls_vminor=1, iv=bytes(15)), "EINVAL: CBC in TLS 1.0 takes an IV of 16 bytes"),
        (replace(CBC, tls_vminor=1, iv=bytes(16)), "EPROTONOSUPPORT: TLS 1.0 is not received"),
        (replace(GCM13, cipher_algorithm=4), "EINVAL: no cipher 4"),
    ],
)
def test_what_is_refused(enable: TlsEnable, why: str) -> None:
    with pytest.raises(SocketError) as caught:
        checked(enable, Sysctl())
    assert str(caught.value) == why
    assert caught.value.errno == getattr(errno, why.partition(":")[0])


def tried(enable: TlsEnable) -> Keys | None:
    try:
        return checked(enable, Sysctl())[0]
    except SocketError:
        return None


@pytest.mark.parametrize(("minor", "legal"), [(1, 0), (2, 2 * 4), (3, 2 * 3 * 4 + 3), (4, 3)])
def test_whatever_goes_together_has_a_suite(minor: int, legal: int) -> None:
    """Every combination is refused by a check or can be opened: nothing falls through."""
    macs = {Auth.NONE: 0, Auth.SHA1_HMAC: 20, Auth.SHA2_256_HMAC: 32, Auth.SHA2_384_HMAC: 48}
    enables = [
        TlsEnable(cipher, bytes(key), bytes(iv), minor, auth, bytes(size))
        for cipher in Cipher
        for auth, size in macs.items()
        for key in (16, 32)
        for iv in (0, 4, 12, 16)
    ]
    taken = 0
    for enable in enables:
        keys = tried(enable)
        if keys is not None:
            taken += 1
            assert (keys.key, keys.mac_key, keys.version) == (enable.cipher_key, enable.auth_key, 0x0300 + minor)
    assert taken == legal


def test_lengths_at_their_bounds_are_legal_sizes() -> None:
    # What is too long is EINVAL by size; what is just not too long is EINVAL for another reason.
    with pytest.raises(SocketError, match=f"a key of {MAX_KEY} bytes"):
        checked(replace(GCM13, cipher_key=bytes(MAX_KEY)), Sysctl())
    with pytest.raises(SocketError, match=f"a MAC key of {MAX_KEY} bytes"):
        checked(replace(CBC, auth_key=bytes(MAX_KEY)), Sysctl())
    assert checked(replace(CBC, iv=bytes(MAX_IV)), Sysctl())[0].iv == b""


def test_the_order_of_the_checks() -> None:
    off = Sysctl(cbc_enable=False)
    with pytest.raises(SocketError, match="ENOTSUP"):
        checked(replace(CBC, tls_vmajor=9), off)  # the knob before the version
    with pytest.raises(SocketError, match="EINVAL"):
        checked(replace(CBC, tls_vminor=1, iv=b""), Sysctl())  # the numbers before what the software can do
    assert checked(CBC, Sysctl())[0].suite.mac == "sha1"
    assert checked(GCM13, off)[1] == 7


def test_keys_stay_out_of_the_repr() -> None:
    shown = repr(CBC) + repr(GCM12)
    for secret in (CBC.cipher_key, CBC.auth_key, GCM12.iv, GCM12.cipher_key):
        assert repr(secret)[2:-1] not in shown


def test_sysctls_by_name() -> None:
    assert sysctl({}) == Sysctl(enable=True, rx_enable=True, cbc_enable=True, ifnet_permitted=True)
    assert sysctl({"kern.ipc.tls.ifnet.permitted": "0"}) == Sysctl(ifnet_permitted=False)
    tls = "kern.ipc.tls"
    names = [f"{tls}.enable", f"{tls}.rx_enable", f"{tls}.cbc_enable", f"{tls}.ifnet.permitted"]
    assert sysctl(dict.fromkeys(names, "1")) == Sysctl()
    assert sysctl(dict.fromkeys(names, "0")) == Sysctl(False, False, False, False)
    with pytest.raises(UsageError) as caught:
        sysctl({"kern.ipc.tls.permitted": "1"})
    assert str(caught.value) == f"no sysctl 'kern.ipc.tls.permitted'; there are {', '.join(names)}"
    with pytest.raises(UsageError) as caught:
        sysctl({"kern.ipc.tls.enable": "yes"})
    assert str(caught.value) == "kern.ipc.tls.enable is 0 or 1, not 'yes'"


def test_ciphers_have_cryptodev_s_numbers() -> None:
    assert (Cipher.AES_CBC, Cipher.AES_NIST_GCM_16, Cipher.CHACHA20_POLY1305) == (11, 25, 41)

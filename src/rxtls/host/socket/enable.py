"""TCP_RXTLS_ENABLE: what the application hands over, and every check of it, in upstream's order, each with its errno.

    kern.ipc.tls.enable or rx_enable is 0                           ENOTSUP
    a CBC suite, and kern.ipc.tls.cbc_enable is 0                   ENOTSUP
    numbers and lengths that no session has                         EINVAL
    a key length that the cipher has not                            EINVAL
    what is legal TLS, but not opened here (CBC in TLS 1.0)         EPROTONOSUPPORT

After `checked` there is a `Keys`, which can only be legal, and nobody checks again. Follows uipc_ktls.c
ktls_create_session and ktls_ocf.c ktls_ocf_try; the checks that need the socket (EALREADY and its like) are in
host/socket/socket.py.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Self

from rxtls.crypto.keys import TLS13_IV, Keys
from rxtls.crypto.suites import SUITES, Family, Suite, Version
from rxtls.errors import SocketError
from rxtls.host.sysctl import Sysctl

MAX_KEY = 1024  # TLS_MAX_PARAM_SIZE
MAX_IV = 16  # TLS_CBC_IMPLICIT_IV_LEN
GCM_SALT = 4  # TLS_AEAD_GCM_LEN


class Cipher(IntEnum):
    """Ciphers by their numbers in FreeBSD's opencrypto/cryptodev.h."""

    AES_CBC = 11
    AES_NIST_GCM_16 = 25
    CHACHA20_POLY1305 = 41


class Auth(IntEnum):
    """MACs of CBC suites, likewise; an AEAD has none."""

    NONE = 0
    SHA1_HMAC = 7
    SHA2_256_HMAC = 18
    SHA2_384_HMAC = 19


@dataclass(frozen=True, slots=True)
class TlsEnable:
    """struct tls_enable. `iv` is the 4-byte salt of GCM in TLS 1.2, else 12 bytes, and ignored for CBC.

    `rec_seq` is the number of the first record that is still to come, big-endian, in 8 bytes.
    """

    cipher_algorithm: int
    cipher_key: bytes = field(repr=False)
    iv: bytes = field(default=b"", repr=False)
    tls_vminor: int = 4
    auth_algorithm: int = Auth.NONE
    auth_key: bytes = field(default=b"", repr=False)
    tls_vmajor: int = 3
    flags: int = 0
    rec_seq: bytes = bytes(8)

    @classmethod
    def of(cls, keys: Keys, number: int = 0) -> Self:
        """What an application hands over that has these keys; `number` is that of the next record."""
        auth = next((auth for auth, name in _MACS.items() if name == keys.suite.mac), Auth.NONE)
        cipher = next(cipher for cipher, family in _FAMILIES.items() if family is keys.suite.family)
        return cls(
            cipher, keys.key, keys.iv, keys.version & 0xFF, auth, keys.mac_key, rec_seq=number.to_bytes(8)
        )  # fmt: skip


_FAMILIES = {
    Cipher.AES_CBC: Family.AES_CBC,
    Cipher.AES_NIST_GCM_16: Family.AES_GCM,
    Cipher.CHACHA20_POLY1305: Family.CHACHA20_POLY1305,
}
_MACS = {Auth.SHA1_HMAC: "sha1", Auth.SHA2_256_HMAC: "sha256", Auth.SHA2_384_HMAC: "sha384"}
_MINORS = {2: Version.TLS11, 3: Version.TLS12, 4: Version.TLS13}

# The kernel knows ciphers and not suites, and this pair of them no suite has. The code is of IANA's private range.
_CBC128_SHA384 = Suite(0xFF01, "AES_128_CBC_SHA384", (Version.TLS12,), Family.AES_CBC, 16, "sha384", "sha384")


def checked(enable: TlsEnable, sysctl: Sysctl) -> tuple[Keys, int]:
    """The keys and the first record's number. Raises SocketError with the errno of the first check that fails."""
    if enable.cipher_algorithm == Cipher.AES_CBC and not sysctl.cbc_enable:
        raise SocketError(errno.ENOTSUP, "kern.ipc.tls.cbc_enable is 0")
    _check_sizes(enable)
    _check_suite(enable)
    if enable.tls_vminor not in _MINORS:
        raise SocketError(errno.EPROTONOSUPPORT, "TLS 1.0 is not received")
    version = _MINORS[enable.tls_vminor]
    iv = b"" if enable.cipher_algorithm == Cipher.AES_CBC else enable.iv
    keys = Keys(_suite(enable, version), version, enable.cipher_key, iv, enable.auth_key)
    return keys, int.from_bytes(enable.rec_seq)


def _check_sizes(enable: TlsEnable) -> None:
    if enable.tls_vmajor != 3 or not 1 <= enable.tls_vminor <= 4:
        raise SocketError(errno.EINVAL, f"no version {enable.tls_vmajor}.{enable.tls_vminor}")
    if not 1 <= len(enable.cipher_key) <= MAX_KEY or len(enable.auth_key) > MAX_KEY or len(enable.iv) > MAX_IV:
        raise SocketError(errno.EINVAL, "a key or an IV of a length that none has")
    if enable.flags:
        raise SocketError(errno.EINVAL, "no flags are defined")
    if len(enable.rec_seq) != 8:
        raise SocketError(errno.EINVAL, "a record number has 8 bytes")


def _check_suite(enable: TlsEnable) -> None:
    """Which ciphers, MACs, IVs and versions go together."""
    minor, auth = enable.tls_vminor, enable.auth_algorithm
    match enable.cipher_algorithm:
        case Cipher.AES_NIST_GCM_16 | Cipher.CHACHA20_POLY1305:
            if minor < 3:
                raise SocketError(errno.EINVAL, "an AEAD needs TLS 1.2 or 1.3")
            if enable.auth_key or auth:
                raise SocketError(errno.EINVAL, "an AEAD has no MAC key")
            salted = enable.cipher_algorithm == Cipher.AES_NIST_GCM_16 and minor == 3
            if len(enable.iv) != (GCM_SALT if salted else TLS13_IV):
                raise SocketError(errno.EINVAL, f"an IV of {len(enable.iv)} bytes")
        case Cipher.AES_CBC:
            if minor == 4:
                raise SocketError(errno.EINVAL, "there is no CBC in TLS 1.3")
            if auth not in _MACS or not enable.auth_key:
                raise SocketError(errno.EINVAL, "CBC needs a MAC and its key")
            if auth != Auth.SHA1_HMAC and minor != 3:
                raise SocketError(errno.EINVAL, "SHA-2 MACs came with TLS 1.2")
            if minor == 1 and len(enable.iv) != MAX_IV:
                raise SocketError(errno.EINVAL, "CBC in TLS 1.0 takes an IV of 16 bytes")
        case _:
            raise SocketError(errno.EINVAL, f"no cipher {enable.cipher_algorithm}")
    if len(enable.cipher_key) not in ((32,) if enable.cipher_algorithm == Cipher.CHACHA20_POLY1305 else (16, 32)):
        raise SocketError(errno.EINVAL, f"a key of {len(enable.cipher_key)} bytes")


def _suite(enable: TlsEnable, version: Version) -> Suite:
    """Any suite with this cipher: all of them open records alike."""
    mac = _MACS.get(Auth(enable.auth_algorithm))
    family = _FAMILIES[Cipher(enable.cipher_algorithm)]
    found = next(
        suite
        for suite in (*SUITES.values(), _CBC128_SHA384)
        if (suite.family, suite.mac, suite.key_length) == (family, mac, len(enable.cipher_key))
        and version in suite.versions
    )
    if len(enable.auth_key) != found.mac_length:
        raise SocketError(errno.EINVAL, f"a MAC key of {len(enable.auth_key)} bytes")
    return found

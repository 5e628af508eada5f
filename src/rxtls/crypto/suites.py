"""The one table of cipher suites: everything that is known about a suite is read off its row.

A row is what IANA registers, a code and a name; the name says cipher, key size and hash, and `_CIPHERS` says what those
words mean here. So a suite is added with one line and cannot contradict itself. Listed are all registered suites over
AES-GCM, ChaCha20-Poly1305, AES-CCM, AES-CCM-8 and AES-CBC, whatever their key exchange: we never see it work, the key
log gives us its result. Not listed, and so refused: RC4, 3DES, Camellia, ARIA, SM4, GOST, AEGIS, NULL, the export
suites, and ChaCha20-Poly1305 under its draft codes 0xCC13 to 0xCC15 (another nonce).

The columns `stream` and `recrypt` are about partial decryption. `stream`: the cipher can be run over a record piece by
piece as packets pass, and its AEAD tag be checked at the end, so a device can take it. libcrypto cannot stream CCM (it
wants the length first, and releases plaintext only after the AEAD tag), CBC has a MAC inside the encryption; both are
software only. `recrypt`: the keystream does not depend on the data, so plaintext can be turned back into wire bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Literal, NamedTuple

Hash = Literal["sha1", "sha256", "sha384"]


class Version(IntEnum):
    """Protocol versions that are opened here, by their code in the handshake."""

    TLS11 = 0x0302
    TLS12 = 0x0303
    TLS13 = 0x0304

    @property
    def wire(self) -> int:
        """The version that record headers carry (RFC 8446, RFC 9846 section 5.1: legacy_record_version)."""
        return min(self, 0x0303)


class Family(Enum):
    """Ciphers by how they are run."""

    AES_GCM = "AES-GCM"
    CHACHA20_POLY1305 = "ChaCha20-Poly1305"
    AES_CCM = "AES-CCM"
    AES_CCM8 = "AES-CCM-8"
    AES_CBC = "AES-CBC"


class Traits(NamedTuple):
    """What follows from the family alone. Lengths in bytes."""

    aead_tag_length: int
    explicit_nonce_length: int  # in TLS 1.2; the block that precedes the ciphertext in a record
    salt_length: int  # of the IV in the TLS 1.2 key block
    stream: bool
    recrypt: bool


TRAITS: dict[Family, Traits] = {
    Family.AES_GCM: Traits(16, 8, 4, stream=True, recrypt=True),  # RFC 5288
    Family.CHACHA20_POLY1305: Traits(16, 0, 12, stream=True, recrypt=True),  # RFC 7905
    Family.AES_CCM: Traits(16, 8, 4, stream=False, recrypt=False),  # RFC 6655
    Family.AES_CCM8: Traits(8, 8, 4, stream=False, recrypt=False),  # RFC 6655
    Family.AES_CBC: Traits(0, 16, 0, stream=False, recrypt=False),  # RFC 5246 section 6.2.3.2, RFC 4346 for TLS 1.1
}

MAC_LENGTH: dict[Hash, int] = {"sha1": 20, "sha256": 32, "sha384": 48}


@dataclass(frozen=True, slots=True)
class Suite:
    """One cipher suite.

    `code` and `name` are IANA's. `key_length` is in bytes. `prf_hash` is the hash of the TLS 1.2 PRF and of the TLS 1.3
    key schedule (TLS 1.1 has one PRF for all). `mac` is the HMAC's hash in a CBC suite, None in an AEAD suite.
    """

    code: int
    name: str
    versions: tuple[Version, ...]
    family: Family
    key_length: int
    prf_hash: Literal["sha256", "sha384"]
    mac: Hash | None

    def __hash__(self) -> int:
        return self.code  # it names the row; hashing all seven fields would cost more than any table looked up by it

    @property
    def aead_tag_length(self) -> int:
        """Bytes of AEAD tag at the end of a record; 0 in a CBC suite."""
        return TRAITS[self.family].aead_tag_length

    @property
    def mac_length(self) -> int:
        """Bytes of HMAC in a record of a CBC suite; 0 in an AEAD suite."""
        return MAC_LENGTH[self.mac] if self.mac else 0

    @property
    def stream(self) -> bool:
        """True when a device can take the suite: it can be run over a record piece by piece."""
        return TRAITS[self.family].stream

    @property
    def recrypt(self) -> bool:
        """True when plaintext can be turned back into wire bytes without knowing the rest of the record."""
        return TRAITS[self.family].recrypt


def suite(code: int) -> Suite | None:
    """The suite with IANA's `code` (0x1301, 0xC02F, ...), or None when it is not in the table."""
    return SUITES.get(code)


# What the end of a name means: family, key length, MAC. A suite named without a hash uses SHA-256 (RFC 5246 section 5,
# RFC 6655 section 3); in the CBC suites before TLS 1.2 the name's SHA is the MAC.
_CIPHERS: dict[str, tuple[Family, int, Hash | None]] = {
    "AES_128_GCM_SHA256": (Family.AES_GCM, 16, None),
    "AES_256_GCM_SHA384": (Family.AES_GCM, 32, None),
    "CHACHA20_POLY1305_SHA256": (Family.CHACHA20_POLY1305, 32, None),
    "AES_128_CCM": (Family.AES_CCM, 16, None),
    "AES_256_CCM": (Family.AES_CCM, 32, None),
    "AES_128_CCM_SHA256": (Family.AES_CCM, 16, None),
    "AES_256_CCM_SHA384": (Family.AES_CCM, 32, None),
    "AES_128_CCM_8": (Family.AES_CCM8, 16, None),
    "AES_256_CCM_8": (Family.AES_CCM8, 32, None),
    "AES_128_CCM_8_SHA256": (Family.AES_CCM8, 16, None),
    "AES_128_CBC_SHA": (Family.AES_CBC, 16, "sha1"),
    "AES_256_CBC_SHA": (Family.AES_CBC, 32, "sha1"),
    "AES_128_CBC_SHA256": (Family.AES_CBC, 16, "sha256"),
    "AES_256_CBC_SHA256": (Family.AES_CBC, 32, "sha256"),
    "AES_256_CBC_SHA384": (Family.AES_CBC, 32, "sha384"),
}

# https://www.iana.org/assignments/tls-parameters, "TLS Cipher Suites".
_REGISTERED: tuple[tuple[int, str], ...] = (
    (0x002F, "TLS_RSA_WITH_AES_128_CBC_SHA"),
    (0x0030, "TLS_DH_DSS_WITH_AES_128_CBC_SHA"),
    (0x0031, "TLS_DH_RSA_WITH_AES_128_CBC_SHA"),
    (0x0032, "TLS_DHE_DSS_WITH_AES_128_CBC_SHA"),
    (0x0033, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA"),
    (0x0034, "TLS_DH_anon_WITH_AES_128_CBC_SHA"),
    (0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA"),
    (0x0036, "TLS_DH_DSS_WITH_AES_256_CBC_SHA"),
    (0x0037, "TLS_DH_RSA_WITH_AES_256_CBC_SHA"),
    (0x0038, "TLS_DHE_DSS_WITH_AES_256_CBC_SHA"),
    (0x0039, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA"),
    (0x003A, "TLS_DH_anon_WITH_AES_256_CBC_SHA"),
    (0x003C, "TLS_RSA_WITH_AES_128_CBC_SHA256"),
    (0x003D, "TLS_RSA_WITH_AES_256_CBC_SHA256"),
    (0x003E, "TLS_DH_DSS_WITH_AES_128_CBC_SHA256"),
    (0x003F, "TLS_DH_RSA_WITH_AES_128_CBC_SHA256"),
    (0x0040, "TLS_DHE_DSS_WITH_AES_128_CBC_SHA256"),
    (0x0067, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256"),
    (0x0068, "TLS_DH_DSS_WITH_AES_256_CBC_SHA256"),
    (0x0069, "TLS_DH_RSA_WITH_AES_256_CBC_SHA256"),
    (0x006A, "TLS_DHE_DSS_WITH_AES_256_CBC_SHA256"),
    (0x006B, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256"),
    (0x006C, "TLS_DH_anon_WITH_AES_128_CBC_SHA256"),
    (0x006D, "TLS_DH_anon_WITH_AES_256_CBC_SHA256"),
    (0x008C, "TLS_PSK_WITH_AES_128_CBC_SHA"),
    (0x008D, "TLS_PSK_WITH_AES_256_CBC_SHA"),
    (0x0090, "TLS_DHE_PSK_WITH_AES_128_CBC_SHA"),
    (0x0091, "TLS_DHE_PSK_WITH_AES_256_CBC_SHA"),
    (0x0094, "TLS_RSA_PSK_WITH_AES_128_CBC_SHA"),
    (0x0095, "TLS_RSA_PSK_WITH_AES_256_CBC_SHA"),
    (0x009C, "TLS_RSA_WITH_AES_128_GCM_SHA256"),
    (0x009D, "TLS_RSA_WITH_AES_256_GCM_SHA384"),
    (0x009E, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0x009F, "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384"),
    (0x00A0, "TLS_DH_RSA_WITH_AES_128_GCM_SHA256"),
    (0x00A1, "TLS_DH_RSA_WITH_AES_256_GCM_SHA384"),
    (0x00A2, "TLS_DHE_DSS_WITH_AES_128_GCM_SHA256"),
    (0x00A3, "TLS_DHE_DSS_WITH_AES_256_GCM_SHA384"),
    (0x00A4, "TLS_DH_DSS_WITH_AES_128_GCM_SHA256"),
    (0x00A5, "TLS_DH_DSS_WITH_AES_256_GCM_SHA384"),
    (0x00A6, "TLS_DH_anon_WITH_AES_128_GCM_SHA256"),
    (0x00A7, "TLS_DH_anon_WITH_AES_256_GCM_SHA384"),
    (0x00A8, "TLS_PSK_WITH_AES_128_GCM_SHA256"),
    (0x00A9, "TLS_PSK_WITH_AES_256_GCM_SHA384"),
    (0x00AA, "TLS_DHE_PSK_WITH_AES_128_GCM_SHA256"),
    (0x00AB, "TLS_DHE_PSK_WITH_AES_256_GCM_SHA384"),
    (0x00AC, "TLS_RSA_PSK_WITH_AES_128_GCM_SHA256"),
    (0x00AD, "TLS_RSA_PSK_WITH_AES_256_GCM_SHA384"),
    (0x00AE, "TLS_PSK_WITH_AES_128_CBC_SHA256"),
    (0x00AF, "TLS_PSK_WITH_AES_256_CBC_SHA384"),
    (0x00B2, "TLS_DHE_PSK_WITH_AES_128_CBC_SHA256"),
    (0x00B3, "TLS_DHE_PSK_WITH_AES_256_CBC_SHA384"),
    (0x00B6, "TLS_RSA_PSK_WITH_AES_128_CBC_SHA256"),
    (0x00B7, "TLS_RSA_PSK_WITH_AES_256_CBC_SHA384"),
    (0x1301, "TLS_AES_128_GCM_SHA256"),
    (0x1302, "TLS_AES_256_GCM_SHA384"),
    (0x1303, "TLS_CHACHA20_POLY1305_SHA256"),
    (0x1304, "TLS_AES_128_CCM_SHA256"),
    (0x1305, "TLS_AES_128_CCM_8_SHA256"),
    (0xC004, "TLS_ECDH_ECDSA_WITH_AES_128_CBC_SHA"),
    (0xC005, "TLS_ECDH_ECDSA_WITH_AES_256_CBC_SHA"),
    (0xC009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
    (0xC00A, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    (0xC00E, "TLS_ECDH_RSA_WITH_AES_128_CBC_SHA"),
    (0xC00F, "TLS_ECDH_RSA_WITH_AES_256_CBC_SHA"),
    (0xC013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    (0xC014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    (0xC018, "TLS_ECDH_anon_WITH_AES_128_CBC_SHA"),
    (0xC019, "TLS_ECDH_anon_WITH_AES_256_CBC_SHA"),
    (0xC01D, "TLS_SRP_SHA_WITH_AES_128_CBC_SHA"),
    (0xC01E, "TLS_SRP_SHA_RSA_WITH_AES_128_CBC_SHA"),
    (0xC01F, "TLS_SRP_SHA_DSS_WITH_AES_128_CBC_SHA"),
    (0xC020, "TLS_SRP_SHA_WITH_AES_256_CBC_SHA"),
    (0xC021, "TLS_SRP_SHA_RSA_WITH_AES_256_CBC_SHA"),
    (0xC022, "TLS_SRP_SHA_DSS_WITH_AES_256_CBC_SHA"),
    (0xC023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
    (0xC024, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384"),
    (0xC025, "TLS_ECDH_ECDSA_WITH_AES_128_CBC_SHA256"),
    (0xC026, "TLS_ECDH_ECDSA_WITH_AES_256_CBC_SHA384"),
    (0xC027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"),
    (0xC028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
    (0xC029, "TLS_ECDH_RSA_WITH_AES_128_CBC_SHA256"),
    (0xC02A, "TLS_ECDH_RSA_WITH_AES_256_CBC_SHA384"),
    (0xC02B, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    (0xC02C, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    (0xC02D, "TLS_ECDH_ECDSA_WITH_AES_128_GCM_SHA256"),
    (0xC02E, "TLS_ECDH_ECDSA_WITH_AES_256_GCM_SHA384"),
    (0xC02F, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0xC030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    (0xC031, "TLS_ECDH_RSA_WITH_AES_128_GCM_SHA256"),
    (0xC032, "TLS_ECDH_RSA_WITH_AES_256_GCM_SHA384"),
    (0xC035, "TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA"),
    (0xC036, "TLS_ECDHE_PSK_WITH_AES_256_CBC_SHA"),
    (0xC037, "TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA256"),
    (0xC038, "TLS_ECDHE_PSK_WITH_AES_256_CBC_SHA384"),
    (0xC09C, "TLS_RSA_WITH_AES_128_CCM"),
    (0xC09D, "TLS_RSA_WITH_AES_256_CCM"),
    (0xC09E, "TLS_DHE_RSA_WITH_AES_128_CCM"),
    (0xC09F, "TLS_DHE_RSA_WITH_AES_256_CCM"),
    (0xC0A0, "TLS_RSA_WITH_AES_128_CCM_8"),
    (0xC0A1, "TLS_RSA_WITH_AES_256_CCM_8"),
    (0xC0A2, "TLS_DHE_RSA_WITH_AES_128_CCM_8"),
    (0xC0A3, "TLS_DHE_RSA_WITH_AES_256_CCM_8"),
    (0xC0A4, "TLS_PSK_WITH_AES_128_CCM"),
    (0xC0A5, "TLS_PSK_WITH_AES_256_CCM"),
    (0xC0A6, "TLS_DHE_PSK_WITH_AES_128_CCM"),
    (0xC0A7, "TLS_DHE_PSK_WITH_AES_256_CCM"),
    (0xC0A8, "TLS_PSK_WITH_AES_128_CCM_8"),
    (0xC0A9, "TLS_PSK_WITH_AES_256_CCM_8"),
    (0xC0AA, "TLS_PSK_DHE_WITH_AES_128_CCM_8"),
    (0xC0AB, "TLS_PSK_DHE_WITH_AES_256_CCM_8"),
    (0xC0AC, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM"),
    (0xC0AD, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM"),
    (0xC0AE, "TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8"),
    (0xC0AF, "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8"),
    (0xC0B0, "TLS_ECCPWD_WITH_AES_128_GCM_SHA256"),
    (0xC0B1, "TLS_ECCPWD_WITH_AES_256_GCM_SHA384"),
    (0xC0B2, "TLS_ECCPWD_WITH_AES_128_CCM_SHA256"),
    (0xC0B3, "TLS_ECCPWD_WITH_AES_256_CCM_SHA384"),
    (0xCCA8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0xCCA9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0xCCAA, "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    (0xCCAB, "TLS_PSK_WITH_CHACHA20_POLY1305_SHA256"),
    (0xCCAC, "TLS_ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256"),
    (0xCCAD, "TLS_DHE_PSK_WITH_CHACHA20_POLY1305_SHA256"),
    (0xCCAE, "TLS_RSA_PSK_WITH_CHACHA20_POLY1305_SHA256"),
    (0xD001, "TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256"),
    (0xD002, "TLS_ECDHE_PSK_WITH_AES_256_GCM_SHA384"),
    (0xD003, "TLS_ECDHE_PSK_WITH_AES_128_CCM_8_SHA256"),
    (0xD005, "TLS_ECDHE_PSK_WITH_AES_128_CCM_SHA256"),
)


def _read_row(code: int, name: str) -> Suite:
    exchange, with_, cipher = name.removeprefix("TLS_").partition("_WITH_")
    family, key_length, mac = _CIPHERS[cipher if with_ else exchange]
    if not with_:
        versions: tuple[Version, ...] = (Version.TLS13,)  # RFC 8446 appendix B.4: these names say no key exchange
    elif mac == "sha1" or (mac and exchange.endswith("PSK")):
        # RFC 5487 section 3 and RFC 5489 section 3 let the PSK suites with SHA-2 MACs be used before TLS 1.2 too.
        versions = (Version.TLS11, Version.TLS12)
    else:
        versions = (Version.TLS12,)
    return Suite(code, name, versions, family, key_length, "sha384" if name.endswith("SHA384") else "sha256", mac)


SUITES: dict[int, Suite] = {code: _read_row(code, name) for code, name in _REGISTERED}

TLS13_SUITES: tuple[Suite, ...] = tuple(s for s in SUITES.values() if Version.TLS13 in s.versions)

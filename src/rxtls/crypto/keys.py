"""Keys of one direction, and the shape that they give to its records.

    header_length                                   max_trailer
    |--------------------------|                    |---------------------------------|
    type ver len  explicit part  payload             [inner type, padding]  AEAD tag       AEAD suites
    type ver len  explicit IV    payload             MAC  padding  padding length          CBC, MAC-then-encrypt
    type ver len  explicit IV    payload             padding  padding length  MAC          CBC, encrypt-then-MAC

A `Keys` cannot exist with lengths that its suite and version do not have; what takes one need not check again. Secrets
stay out of `repr`. Lengths are those of FreeBSD's ktls (header length hlen, trailer tlen), which count the explicit
part as header.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from rxtls.crypto.suites import TRAITS, Family, Suite, Version
from rxtls.errors import RecordError

Buffer = bytes | bytearray | memoryview

MAX_PLAINTEXT = 16384  # RFC 5246 section 6.2.1; RFC 8446, RFC 9846 section 5.1
RECORD_HEADER = 5
CBC_BLOCK = 16
TLS13_IV = 12  # RFC 8446, RFC 9846 section 5.3: that of every AEAD


class Shape(NamedTuple):
    """What suite, version and MAC order say of all records and keys: bytes of key material, then `Keys`' attributes."""

    key_length: int
    iv_length: int
    mac_length: int
    explicit_length: int
    header_length: int
    aead_tag_length: int
    max_trailer: int
    min_total: int
    max_total: int
    stream: bool
    recrypt: bool
    tls13: bool


class Keys:
    """What it takes to open one direction's records. A value: compared by content, and never changed.

    `iv` is the 4-byte salt of AES-GCM and AES-CCM in TLS 1.2, 12 bytes otherwise, empty in a CBC suite (its IVs travel
    in the records). `mac_key` belongs to CBC suites. `encrypt_then_mac` is RFC 7366, which concerns CBC suites only and
    must be False elsewhere.

    Of the records, in bytes: `explicit_length` between the record header proper and the ciphertext (explicit nonce or
    explicit IV; 0 in TLS 1.3); `header_length` before the ciphertext (hlen: 5, 13 for GCM and CCM in TLS 1.2, 21 for
    CBC); `aead_tag_length` at the end, 0 in a CBC suite; `max_trailer`, the most after the payload that is not sent as
    padding at will (tlen); `min_total` and `max_total` of a record, header included: any other is EMSGSIZE.
    `stream`: a device can take records under these keys. `recrypt`: a record that a device decrypted in part can be
    turned back into wire bytes. `tls13`: their version is TLS 1.3.

    Raises ValueError when suite, version and lengths do not go together.
    """

    __slots__ = (
        "_iv_number",
        "aead_tag_length",
        "encrypt_then_mac",
        "explicit_length",
        "header_length",
        "iv",
        "key",
        "mac_key",
        "max_total",
        "max_trailer",
        "min_total",
        "recrypt",
        "stream",
        "suite",
        "tls13",
        "version",
    )

    def __init__(
        self,
        suite: Suite,
        version: Version,
        key: bytes,
        iv: bytes,
        mac_key: bytes = b"",
        encrypt_then_mac: bool = False,
    ) -> None:
        (
            key_length, iv_length, mac_length, self.explicit_length, self.header_length, self.aead_tag_length,
            self.max_trailer, self.min_total, self.max_total, self.stream, self.recrypt, self.tls13,
        ) = shape(suite, version, encrypt_then_mac)  # fmt: skip
        if len(key) != key_length:
            raise ValueError(f"{suite.name} takes a key of {key_length} bytes, not {len(key)}")
        if len(iv) != iv_length:
            raise ValueError(f"{suite.name} takes an IV of {iv_length} bytes, not {len(iv)}")
        if len(mac_key) != mac_length:
            raise ValueError(f"{suite.name} takes a MAC key of {mac_length} bytes, not {len(mac_key)}")
        self.suite = suite
        self.version = version
        self.key = key
        self.iv = iv
        self.mac_key = mac_key
        self.encrypt_then_mac = encrypt_then_mac
        self._iv_number = int.from_bytes(iv)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Keys) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def __repr__(self) -> str:
        return f"Keys({self.suite.name}, {self.version.name})"

    def nonce(self, number: int, header: Buffer) -> bytes:
        """The 12-byte nonce of record `number` in an AEAD suite; `header` is its first `header_length` bytes.

        AES-GCM and AES-CCM in TLS 1.2: salt, then the explicit nonce as received (RFC 5288 section 3, RFC 6655 section
        3); the number plays no part. Otherwise the 64-bit number XOR the IV's end (RFC 8446, RFC 9846 section 5.3; RFC
        7905).
        """
        if self.explicit_length:
            return self.iv + header[RECORD_HEADER : self.header_length]
        return (self._iv_number ^ number).to_bytes(12)

    def additional_data(self, number: int, header: Buffer, ciphertext_length: int) -> bytes:
        """The additional data of record `number` in an AEAD suite.

        `ciphertext_length` counts neither explicit nonce nor AEAD tag. TLS 1.2: number, type, version, plaintext length
        (RFC 5246 section 6.2.3.3). TLS 1.3: the record header as received (RFC 8446, RFC 9846 section 5.2).
        """
        if self.tls13:
            return bytes(header[:RECORD_HEADER])
        return number.to_bytes(8) + header[:3] + ciphertext_length.to_bytes(2)

    def _content(self) -> tuple[object, ...]:
        return self.suite, self.version, self.key, self.iv, self.mac_key, self.encrypt_then_mac


@cache
def shape(suite: Suite, version: Version, encrypt_then_mac: bool) -> Shape:
    """The shape of keys and records. Raises ValueError for a combination that does not exist."""
    if version not in suite.versions:
        raise ValueError(f"{suite.name} does not exist in {version.name}")
    cbc = suite.family is Family.AES_CBC
    if encrypt_then_mac and not cbc:
        raise ValueError(f"encrypt-then-MAC is for CBC suites (RFC 7366), not {suite.name}")
    traits, mac = TRAITS[suite.family], suite.mac_length
    explicit = 0 if version is Version.TLS13 else traits.explicit_nonce_length
    header = RECORD_HEADER + explicit
    if not cbc:
        trailer = traits.aead_tag_length + (1 if version is Version.TLS13 else 0)
        shortest = header + trailer
    else:
        trailer = CBC_BLOCK + mac
        # The MAC and the padding's length byte in whole blocks; or (RFC 7366 section 3) the MAC outside, and at least
        # one block encrypted.
        shortest = header + (CBC_BLOCK + mac if encrypt_then_mac else -(-(mac + 1) // CBC_BLOCK) * CBC_BLOCK)
    return Shape(
        key_length=suite.key_length,
        iv_length=iv_length(suite, version),
        mac_length=mac,
        explicit_length=explicit,
        header_length=header,
        aead_tag_length=traits.aead_tag_length,
        max_trailer=trailer,
        min_total=shortest,  # ktls_ocf.c
        max_total=header + MAX_PLAINTEXT + trailer,  # uipc_ktls.c
        stream=traits.stream,
        recrypt=traits.recrypt,
        tls13=version is Version.TLS13,
    )


def iv_length(suite: Suite, version: Version) -> int:
    """Bytes of IV that the key schedule makes for each direction."""
    if suite.family is Family.AES_CBC:
        return 0  # RFC 4346 section 6.3, RFC 5246 section 6.3: no IV in the key block where IVs are explicit
    return TLS13_IV if version is Version.TLS13 else TRAITS[suite.family].salt_length


def ciphertext_length(keys: Keys, header: Buffer) -> int:
    """Bytes of ciphertext without AEAD tag in the AEAD record that begins with `header` (`keys.header_length` bytes).

    Raises RecordError EMSGSIZE when no record of these keys has the length that the header says.
    """
    if len(header) != keys.header_length:
        raise ValueError(f"a header of {len(header)} bytes, not {keys.header_length}")
    total = RECORD_HEADER + (header[3] << 8 | header[4])
    if not keys.min_total <= total <= keys.max_total:
        raise RecordError("EMSGSIZE", f"{total} bytes, not {keys.min_total} to {keys.max_total}")
    return total - keys.header_length - keys.aead_tag_length

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

from dataclasses import dataclass, field
from functools import cached_property

from rxtls.crypto.suites import TRAITS, Family, Suite, Version
from rxtls.errors import RecordError

Buffer = bytes | bytearray | memoryview

MAX_PLAINTEXT = 16384  # RFC 5246 section 6.2.1; RFC 8446, RFC 9846 section 5.1
RECORD_HEADER = 5
CBC_BLOCK = 16


@dataclass(frozen=True)
class Keys:
    """What it takes to open one direction's records.

    `iv` is the 4-byte salt of AES-GCM and AES-CCM in TLS 1.2, 12 bytes otherwise, empty in a CBC suite (its IVs travel
    in the records). `mac_key` belongs to CBC suites. `encrypt_then_mac` is RFC 7366, which concerns CBC suites only and
    must be False elsewhere.

    Raises ValueError when suite, version and lengths do not go together.
    """

    suite: Suite
    version: Version
    key: bytes = field(repr=False)
    iv: bytes = field(repr=False)
    mac_key: bytes = field(default=b"", repr=False)
    encrypt_then_mac: bool = False

    def __post_init__(self) -> None:
        suite = self.suite
        if self.version not in suite.versions:
            raise ValueError(f"{suite.name} does not exist in {self.version.name}")
        if len(self.key) != suite.key_length:
            raise ValueError(f"{suite.name} takes a key of {suite.key_length} bytes, not {len(self.key)}")
        if len(self.iv) != iv_length(suite, self.version):
            raise ValueError(f"{suite.name} takes an IV of {iv_length(suite, self.version)} bytes, not {len(self.iv)}")
        if len(self.mac_key) != suite.mac_length:
            raise ValueError(f"{suite.name} takes a MAC key of {suite.mac_length} bytes, not {len(self.mac_key)}")
        if self.encrypt_then_mac and suite.family is not Family.AES_CBC:
            raise ValueError(f"encrypt-then-MAC is for CBC suites (RFC 7366), not {suite.name}")

    @cached_property
    def explicit_length(self) -> int:
        """Bytes between the record header proper and the ciphertext: explicit nonce or explicit IV; 0 in TLS 1.3."""
        return 0 if self.version is Version.TLS13 else TRAITS[self.suite.family].explicit_nonce_length

    @cached_property
    def header_length(self) -> int:
        """Bytes before the ciphertext (hlen): 5, 13 for GCM and CCM in TLS 1.2, 21 for CBC."""
        return RECORD_HEADER + self.explicit_length

    @cached_property
    def aead_tag_length(self) -> int:
        """Bytes of AEAD tag at the end of a record; 0 in a CBC suite."""
        return self.suite.aead_tag_length

    @cached_property
    def max_trailer(self) -> int:
        """The most bytes after the payload that are not sent as padding at will (tlen)."""
        if self.suite.family is Family.AES_CBC:
            return CBC_BLOCK + self.suite.mac_length
        return self.aead_tag_length + (1 if self.version is Version.TLS13 else 0)

    @cached_property
    def min_total(self) -> int:
        """Bytes of the shortest record, header included; anything shorter is EMSGSIZE (ktls_ocf.c)."""
        mac = self.suite.mac_length
        if self.suite.family is not Family.AES_CBC:
            return self.header_length + self.max_trailer
        if self.encrypt_then_mac:  # RFC 7366 section 3: the MAC stands outside, and at least one block is encrypted
            return self.header_length + CBC_BLOCK + mac
        return self.header_length + (mac + 1 + CBC_BLOCK - 1) // CBC_BLOCK * CBC_BLOCK

    @cached_property
    def max_total(self) -> int:
        """Bytes of the longest record, header included; anything longer is EMSGSIZE (uipc_ktls.c)."""
        return self.header_length + MAX_PLAINTEXT + self.max_trailer

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
        if self.version is Version.TLS13:
            return bytes(header[:RECORD_HEADER])
        return number.to_bytes(8) + header[:3] + ciphertext_length.to_bytes(2)

    @cached_property
    def _iv_number(self) -> int:
        return int.from_bytes(self.iv)

    @property
    def stream(self) -> bool:
        """True when a device can take records under these keys."""
        return self.suite.stream

    @property
    def recrypt(self) -> bool:
        """True when a record that a device decrypted in part can be turned back into wire bytes."""
        return self.suite.recrypt


def iv_length(suite: Suite, version: Version) -> int:
    """Bytes of IV that the key schedule makes for each direction."""
    if suite.family is Family.AES_CBC:
        return 0  # RFC 4346 section 6.3, RFC 5246 section 6.3: no IV in the key block where IVs are explicit
    return 12 if version is Version.TLS13 else TRAITS[suite.family].salt_length


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

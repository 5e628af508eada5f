"""What the handshake observer answers, as values; and every reason it can have for not enabling receive, in one table.

No logic and no secrets in repr: `Keys` hides its own, and a library record's payload is kept out here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from rxtls.crypto.keys import Keys

# Codes of JSON's why.code that the observer gives, each with its sentence; and below, the fate of the bytes concerned.
WHY: dict[str, str] = {
    "no_keys": "No key log given holds this session's secrets",
    "keys_wait": "The session's secrets had not come when the bound on waiting bytes was met",
    "wrong_keys": "The key log's secrets for this session open none of its records",
    "mid_connection": "The capture lacks the handshake or part of it, and no secret of the key logs opens the rest",
    "mid_connection_tls12": "The capture lacks the handshake or part of it, without which TLS 1.2 has no keys",
    "not_tls": "No TLS handshake was found",
    "no_data": "No payload came",
    "version_unsupported": "A protocol version that is not opened here",
    "suite_unsupported": "A cipher suite that is not in the table",
    "compression": "TLS compression was agreed on, and what is compressed is not opened here",
    "needs_server_hello": "Before TLS 1.3 keys cannot be derived without the ServerHello, which the capture lacks",
    "handshake_malformed": "The handshake breaks the protocol",
    "handshake_too_large": "The handshake is larger than the bound on handshakes",
    "handshake_unfinished": "The stream ended within the handshake",
    "alert_before_application": "An alert ended the connection within the handshake",
}

_FATES: dict[str, str] = {
    "no_keys": "byte.no_keys",
    "keys_wait": "byte.keys_wait",
    "wrong_keys": "byte.no_keys",
    "mid_connection": "byte.mid_connection",
    "mid_connection_tls12": "byte.mid_connection_tls12",
    "not_tls": "byte.not_tls",
    "no_data": "byte.not_tls",
    "version_unsupported": "byte.version",
    "suite_unsupported": "byte.suite",
    "compression": "byte.compression",
    "needs_server_hello": "byte.server_hello",
    "handshake_malformed": "byte.handshake",
    "handshake_too_large": "byte.handshake",
    "handshake_unfinished": "byte.handshake",
    "alert_before_application": "byte.handshake",
}


# Reasons for which nothing is lost that keys could have opened: there was none of it, or the keys are not there.
NOTHING_LOST = frozenset(
    {"no_keys", "keys_wait", "wrong_keys", "not_tls", "no_data", "alert_before_application", "handshake_unfinished"}
)


class LibraryRecord(NamedTuple):
    """One record that the TLS library read from the raw socket: class `library`.

    `type` is the inner one. It is 0, and `payload` empty, of an encrypted record that nobody opened: early data that
    the server did not take, or a handshake without its secrets. `payload` is the plaintext of all others. `number` is
    the record number under the key in force, None where no key was or none is known. `failed`: it should have been
    opened and could not be: early data that the server accepted, or a record of a handshake whose keys have opened one
    before.
    """

    type: int
    payload: bytes
    number: int | None
    wire_length: int
    early_data: bool = False
    failed: bool = False

    def __repr__(self) -> str:
        flags = f"early_data={self.early_data}, failed={self.failed}"
        return f"LibraryRecord(type={self.type}, number={self.number}, wire_length={self.wire_length}, {flags})"


@dataclass(frozen=True, slots=True)
class Enable:
    """Receive is enabled: the record that starts at the byte after `consumed` has this `number` under these `keys`.
    `late`: which was found by trial, as the beginning was not captured."""

    keys: Keys
    number: int
    late: bool = False


@dataclass(frozen=True, slots=True)
class Within:
    """The keys are known, and the records behind `consumed` are in frames of this protocol to the end: the TLS library
    opens them itself, and its next steps have them."""

    protocol: str


@dataclass(frozen=True, slots=True)
class Rekey:
    """The next record of this side has this `number` under these `keys`."""

    keys: Keys
    number: int = 0


@dataclass(frozen=True, slots=True)
class Hold:
    """No further record of this side may be opened until `resume` gives a Rekey (or a Refuse)."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The bytes from here on wait for keys; ask again when the key log has grown."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """From here on this side's bytes end in `fate`; `code` stands in WHY, `text` says it for this connection.

    `lost`: the key logs have the keys of this side, and application data is lost all the same."""

    fate: str
    code: str
    text: str
    lost: bool = field(default=False, compare=False)


Action = Enable | Within | Refuse | Wait


class Step(NamedTuple):
    """What one `read` came to.

    `consumed` bytes are done with: first `preamble` bytes of plaintext before TLS, then `skipped` ones that cannot be
    read as they were not captured from their beginning, then `records`, whose wire lengths make up the rest. `action`
    holds from the byte after them. A step of nothing at all asks for more bytes, of this side or of the other.
    """

    consumed: int = 0
    records: tuple[LibraryRecord, ...] = ()
    action: Action | None = None
    preamble: int = 0
    skipped: int = 0


# What became of one record: itself when it was consumed, and what holds after it (or instead of it).
Taken = tuple[LibraryRecord | None, Action | None]

BLOCKED: Taken = (None, None)  # not before the other side has said more


def refuse(code: str, detail: str = "") -> Refuse:
    """The Refuse with this code of WHY, and what is particular to the connection."""
    return Refuse(_FATES[code], code, f"{WHY[code]}: {detail}" if detail else WHY[code])

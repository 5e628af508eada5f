"""Key logs: the SSLKEYLOGFILE format (RFC 9850), as files of it are really found.

A line is a label, a client random in hex, a secret in hex. Beside the labels of RFC 9850 those of NSS and Wireshark are
read that lead to a TLS 1.2 master secret: RSA, PMS_CLIENT_RANDOM, and RSA Session-ID. What else is found:

  - OpenSSL logs CLIENT_TRAFFIC_SECRET_N, with the letter N, again and again after each KeyUpdate. Which generation a
    line is cannot be told, and later ones are derived from the first anyway (RFC 8446, RFC 9846 section 7.2), so all
    but _0 are accepted and dropped. NSS writes numbers, of which the same holds.
  - Lines end in LF, CRLF or CR; hex has either case; files saved on Windows begin with a byte order mark and may be
    UTF-16.
  - Two entries for the same session and label that disagree: the later one wins. Logs are appended to, so where a
    random came again (a test rig with a fixed seed), the later entry belongs to the newest capture. Counted.

Nothing in here raises. A malformed line is reported in `errors` with its number, what stands in it is not repeated: it
may well be a secret.
"""

from __future__ import annotations

import re
from binascii import unhexlify
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

MAX_LINE = 4096  # bytes; the longest legal line (PMS_CLIENT_RANDOM with 8192-bit DH) has half of that
MAX_ERRORS = 1000  # reported; the rest is only counted, so that a wrong file given as a log stays cheap
MAX_LABELS = 256  # distinct unknown labels counted by name; the rest under OTHER_LABELS
OTHER_LABELS = "(others)"

CLIENT_RANDOM = "CLIENT_RANDOM"
PMS_CLIENT_RANDOM = "PMS_CLIENT_RANDOM"
CLIENT_EARLY = "CLIENT_EARLY_TRAFFIC_SECRET"
CLIENT_HANDSHAKE = "CLIENT_HANDSHAKE_TRAFFIC_SECRET"
SERVER_HANDSHAKE = "SERVER_HANDSHAKE_TRAFFIC_SECRET"
CLIENT_APPLICATION = "CLIENT_TRAFFIC_SECRET_0"
SERVER_APPLICATION = "SERVER_TRAFFIC_SECRET_0"
ECH_SECRET = "ECH_SECRET"
ECH_CONFIG = "ECH_CONFIG"

_TRAFFIC_LABELS: frozenset[object] = frozenset({CLIENT_APPLICATION, SERVER_APPLICATION})
_MASTER = range(48, 49)  # RFC 5246 section 8.1
_PREMASTER = range(1, 1025)  # RFC 5246 section 8.1: 48 with RSA, the field's size with (EC)DH; 8192 bits at most
# A hash long: SHA-256 or SHA-384 in every suite registered for TLS 1.3 (SM3's 32 bytes too).
_TRAFFIC = (32, 48)


_K = TypeVar("_K")


class _Label(NamedTuple):
    """What a known label's secret may measure, in bytes, and whether it is of use here."""

    lengths: range | tuple[int, ...]
    kept: bool = True


_LABELS: dict[str, _Label] = {
    CLIENT_RANDOM: _Label(_MASTER),
    PMS_CLIENT_RANDOM: _Label(_PREMASTER),
    CLIENT_EARLY: _Label(_TRAFFIC),
    CLIENT_HANDSHAKE: _Label(_TRAFFIC),
    SERVER_HANDSHAKE: _Label(_TRAFFIC),
    CLIENT_APPLICATION: _Label(_TRAFFIC),
    SERVER_APPLICATION: _Label(_TRAFFIC),
    "EARLY_EXPORTER_SECRET": _Label(_TRAFFIC, kept=False),
    "EARLY_EXPORTER_MASTER_SECRET": _Label(_TRAFFIC, kept=False),  # NSS's and BoringSSL's older name
    "EXPORTER_SECRET": _Label(_TRAFFIC, kept=False),
    ECH_SECRET: _Label(range(1, 256)),  # RFC 9850 section 2.2; says that the hello's random is not the session's
    ECH_CONFIG: _Label(range(1, MAX_LINE), kept=False),
}

_LINE_END = re.compile(rb"\r\n|\n|\r")
_GENERATION = re.compile(rb"(?:CLIENT|SERVER)_TRAFFIC_SECRET_(?:[0-9]{1,20}|N)\Z")
# What nearly all lines are: a label, a client random of 32 bytes and a secret, one space apart.
_USUAL = re.compile(rb"([A-Z0-9_]+) ([0-9A-Fa-f]{64}) ([0-9A-Fa-f]+)\Z")
_LABEL = re.compile(rb"[A-Za-z0-9_]{1,64}\Z")
_SESSION_ID = re.compile(rb"Session-ID:([0-9A-Fa-f]{2,64})\Z")
_MASTER_KEY = re.compile(rb"Master-Key:([0-9A-Fa-f]{96})\Z")
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2})*\Z")


class KeyLog:
    """All secrets given, from however many logs.

    Attributes: `generation` grows when an `add` brought something new; `errors` are (log's name, line number or None,
    cause); `malformed` counts the lines behind them, also beyond MAX_ERRORS; `unknown` counts lines by label;
    `conflicts` counts entries that overwrote a different one; `derived` is for who derives something of a secret, and
    would do it again for the next connection.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.errors: list[tuple[str, int | None, str]] = []
        self.malformed = 0
        self.unknown: Counter[str] = Counter()
        self.conflicts = 0
        self.derived: dict[tuple[int, bytes], Any] = {}
        self._sessions: dict[bytes, dict[str, bytes]] = {}
        self._by_session_id: dict[bytes, bytes] = {}
        self._by_encrypted_premaster: dict[bytes, bytes] = {}
        self._used: set[bytes] = set()  # what lines were found by: client randoms, session ids, encrypted premasters
        self._changed = False
        self._traffic = False

    def __len__(self) -> int:
        """Sessions that something is known of."""
        return len(self._sessions) + len(self._by_session_id) + len(self._by_encrypted_premaster)

    def __repr__(self) -> str:
        return f"KeyLog({len(self)} sessions)"

    def add(self, text: bytes, name: str) -> None:
        """Take in one log, or a piece of one that ends with a line. `name` is what errors call it."""
        self._changed = False
        for number, line in _lines(_ascii(text)):
            cause = self._line(line)
            if cause:
                self._report(name, number, cause)
        if self._changed:
            self.generation += 1

    def lookup(self, client_random: bytes, label: str, trial: bool = False) -> bytes | None:
        """The secret of a session by its client random (32 bytes) and one of the labels above.

        With `trial` it is not known that this is the session's random: `use` says so when it was.
        """
        session = self._sessions.get(client_random)
        if session is None:
            return None
        if not trial:
            self._used.add(client_random)
        return session.get(label)

    def use(self, client_random: bytes) -> None:
        """This session is in the capture."""
        self._used.add(client_random)

    def used(self) -> str:
        """The log of those sessions alone that were asked for: what opens this capture, and nothing else."""
        lines = [
            f"{label} {random.hex()} {secret.hex()}"
            for random, session in self._sessions.items()
            if random in self._used
            for label, secret in session.items()
        ]
        lines += [
            f"RSA Session-ID:{session_id.hex()} Master-Key:{master.hex()}"
            for session_id, master in self._by_session_id.items()
            if session_id in self._used
        ]
        lines += [
            f"RSA {encrypted.hex()} {premaster.hex()}"
            for encrypted, premaster in self._by_encrypted_premaster.items()
            if encrypted in self._used
        ]
        return "".join(f"{line}\n" for line in lines)

    def sessions(self) -> Iterator[bytes]:
        """The client randoms of all sessions, in the order in which they were first seen."""
        return iter(self._sessions)

    def master_of(self, session_id: bytes) -> bytes | None:
        """The TLS 1.2 master secret of the session with this id ("RSA Session-ID:... Master-Key:...")."""
        self._used.add(session_id)
        return self._by_session_id.get(session_id)

    def premaster_of(self, encrypted: bytes) -> bytes | None:
        """The premaster secret whose RSA encryption, as in ClientKeyExchange, begins with these 8 bytes ("RSA ...")."""
        self._used.add(encrypted)
        return self._by_encrypted_premaster.get(encrypted)

    @property
    def has_traffic_secrets(self) -> bool:
        """True when there are secrets that open application data of TLS 1.3."""
        return self._traffic

    @property
    def has_premasters(self) -> bool:
        """True when some master secret might have to be made from a premaster secret."""
        return bool(self._by_encrypted_premaster)

    def _line(self, line: bytes) -> str | None:
        """Take in one line; the cause when it is malformed."""
        usual = _USUAL.match(line)
        if usual is not None and len(line) <= MAX_LINE:
            label, client_random, secret = usual.groups()
            name, known = _BY_LABEL.get(label, _UNKNOWN)
            if len(secret) / 2 in known.lengths:
                if known.kept:
                    session = self._sessions.setdefault(unhexlify(client_random), {})
                    self._store(session, name, unhexlify(secret))
                return None
        return self._unusual_line(line)

    def _unusual_line(self, line: bytes) -> str | None:
        """The same of any line."""
        if len(line) > MAX_LINE:
            return f"a line of more than {MAX_LINE} bytes"
        fields = line.split()
        if not fields or fields[0].startswith(b"#"):
            return None
        label, rest = fields[0], fields[1:]
        if not _LABEL.match(label):
            return "does not begin with a label"
        if label == b"RSA":
            return self._rsa(rest)
        if _GENERATION.match(label) and not label.endswith(b"SECRET_0"):
            known: _Label | None = _Label(_TRAFFIC, kept=False)
        else:
            known = _LABELS.get(label.decode("ascii"))
        if known is None:
            self._count_unknown(label.decode("ascii"))
            return None
        if len(rest) != 2:
            return f"{len(rest)} fields after the label, not 2"
        client_random, secret = _hex(rest[0]), _hex(rest[1])
        if client_random is None or secret is None:
            return "not hexadecimal"
        if len(client_random) != 32:
            return f"a client random of {len(client_random)} bytes, not 32"
        if len(secret) not in known.lengths:
            return f"a secret of {len(secret)} bytes, which {label.decode('ascii')} cannot have"
        if known.kept:
            session = self._sessions.setdefault(client_random, {})
            self._store(session, _BY_LABEL[label][0], secret)
        return None

    def _rsa(self, rest: list[bytes]) -> str | None:
        """The two forms of Wireshark's RSA label: by session id, or by the encrypted premaster's beginning."""
        if len(rest) != 2:
            return f"{len(rest)} fields after the label, not 2"
        by_id, master = _SESSION_ID.match(rest[0]), _MASTER_KEY.match(rest[1])
        if by_id and master:
            session_id = _hex(by_id[1])
            if session_id is None:
                return "not hexadecimal"
            self._store(self._by_session_id, session_id, unhexlify(master[1]))
            return None
        encrypted, premaster = _hex(rest[0]), _hex(rest[1])
        if encrypted is None or premaster is None:
            return "not hexadecimal"
        if len(encrypted) != 8 or len(premaster) != 48:
            return f"an RSA entry of {len(encrypted)} and {len(premaster)} bytes, not 8 and 48"
        self._store(self._by_encrypted_premaster, encrypted, premaster)
        return None

    def _store(self, table: dict[_K, bytes], key: _K, secret: bytes) -> None:
        old = table.get(key)
        if old == secret:
            return
        if old is not None:
            self.conflicts += 1
        table[key] = secret
        self._changed = True
        self._traffic = self._traffic or key in _TRAFFIC_LABELS

    def _count_unknown(self, label: str) -> None:
        if label not in self.unknown and len(self.unknown) >= MAX_LABELS:
            label = OTHER_LABELS
        self.unknown[label] += 1

    def _report(self, name: str, number: int, cause: str) -> None:
        self.malformed += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append((name, number, f"line {number}: {cause}"))
        elif len(self.errors) == MAX_ERRORS:
            self.errors.append((name, None, f"more than {MAX_ERRORS} malformed lines; the rest is only counted"))


def _lines(text: bytes) -> Iterator[tuple[int, bytes]]:
    """(1-based number, line without its end). Lines longer than MAX_LINE come cut to MAX_LINE + 1 bytes."""
    start, number = 0, 1
    for end in _LINE_END.finditer(text):
        yield number, text[start : min(end.start(), start + MAX_LINE + 1)]
        start, number = end.end(), number + 1
    if start < len(text):
        yield number, text[start : start + MAX_LINE + 1]


def _ascii(text: bytes) -> bytes:
    """The log without a byte order mark, and out of UTF-16 (what PowerShell's redirection writes)."""
    if text[:3] == b"\xef\xbb\xbf":
        return text[3:]
    if text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return text.decode("utf-16", "replace").encode("ascii", "replace")
    return text


def _hex(field: bytes) -> bytes | None:
    return unhexlify(field) if _HEX.match(field) else None


# Labels as files have them: the one string object for each (a session's table is keyed by it, and there may be many
# sessions), and what is known of it.
_BY_LABEL = {label.encode("ascii"): (label, known) for label, known in _LABELS.items()}
_UNKNOWN = "", _Label(())

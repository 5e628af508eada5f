"""Key logs: the SSLKEYLOGFILE format (RFC 9850), as files of it are really found.

A line is a label, a client random in hex, a secret in hex. Beside the labels of RFC 9850 those of NSS and Wireshark are
read that lead to a TLS 1.2 master secret: RSA, PMS_CLIENT_RANDOM, and RSA Session-ID. What else is found:

  - OpenSSL logs CLIENT_TRAFFIC_SECRET_N, with the letter N, again and again after each KeyUpdate. Which generation a
    line is cannot be told, and later ones are derived from the first anyway (RFC 8446, RFC 9846 section 7.2), so all
    but _0 are accepted and dropped. NSS writes numbers, of which the same holds.
  - Line ends and encodings are those of keylog_lines.py; hex has either case. A label with its two fields may stand
    within a line, as where a program's own log has a time before it, or quotes around it.
  - Several secrets for the same session and label: whoever asks tries them, the latest first. Logs are appended to, so
    where a random came again (a test rig with a fixed seed), the later entry belongs to the newest capture. MAX_RIVALS
    are kept.

Nothing in here raises. A malformed line is reported in `errors` with its number, what stands in it is not repeated: it
may well be a secret. What a line says of a session that it gives no secret of use for is remembered, too (`hints`).
"""

from __future__ import annotations

import re
from binascii import unhexlify
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple, TypeVar

from rxtls.wire.keylog_lines import MAX_LINE, Lines

MAX_ERRORS = 1000  # reported; the rest is only counted, so that a wrong file given as a log stays cheap
MAX_LABELS = 256  # distinct unknown labels counted by name; the rest under OTHER_LABELS
OTHER_LABELS = "(others)"
NO_LABEL, TOO_LONG = "does not begin with a label", f"a line of more than {MAX_LINE} bytes"
MAX_RIVALS = 16  # secrets for one session and label, each of which is one trial more; a log that is right has one
MAX_HINTS = 4096  # lines of no use that are remembered by the client random in them

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

_GENERATION = re.compile(rb"(?:CLIENT|SERVER)_TRAFFIC_SECRET_(?:[0-9]{1,20}|N)\Z")
# What nearly all lines are: a label, a client random of 32 bytes and a secret, one space apart.
_USUAL = re.compile(rb"([A-Z0-9_]+) ([0-9A-Fa-f]{64}) ([0-9A-Fa-f]+)\Z")
# The same within a line.
_WITHIN = re.compile(
    rb"(?<![A-Za-z0-9_])([A-Z0-9_]{1,64})[ \t]+([0-9A-Fa-f]{64})[ \t]+([0-9A-Fa-f]{2,2048})(?![0-9A-Za-z_])"
)
_LABEL = re.compile(rb"[A-Za-z0-9_]{1,64}\Z")
# A label in words, and surely not a secret.
_NAME = re.compile(r"(?=.*[G-Zg-z])(?:[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|[a-z][a-z0-9]*(?:_[a-z0-9]+)+)\Z")
_RANDOM = re.compile(rb"[0-9A-Fa-f]{8,64}")
_SESSION_ID = re.compile(rb"Session-ID:([0-9A-Fa-f]{2,64})\Z")
_MASTER_KEY = re.compile(rb"Master-Key:([0-9A-Fa-f]{96})\Z")
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2})*\Z")


class _Odd(NamedTuple):
    """What is wrong with a line; `malformed` if that is reported."""

    cause: str
    malformed: bool = True


class KeyLog:
    """All secrets given, from however many logs.

    Attributes: `generation` grows when an `add` brought something new; `errors` are (log's name, line number or None,
    cause); `malformed` counts the lines behind them, also beyond MAX_ERRORS; `kept` counts lines that gave a secret,
    `unknown` and `unused` those that did not by their labels, which nobody knows or which open no record; `conflicts`
    counts entries that disagree with an earlier one; `derived` is for who derives something of a secret, and would do
    it again for the next connection.
    """

    def __init__(self) -> None:
        self.generation = 0
        self.errors: list[tuple[str, int | None, str]] = []
        self.malformed = 0
        self.kept = 0
        self.unknown: Counter[str] = Counter()
        self.unused: Counter[str] = Counter()
        self.conflicts = 0
        self.derived: dict[tuple[int, bytes], Any] = {}
        self._sessions: dict[bytes, dict[str, bytes]] = {}
        self._by_session_id: dict[bytes, bytes] = {}
        self._by_encrypted_premaster: dict[bytes, bytes] = {}
        self._rivals: dict[tuple[bytes, object], list[bytes]] = {}  # by whose they are and what: the earlier ones
        self._hints: dict[
            bytes, list[tuple[bytes, str]]
        ] = {}  # by the random's first 8 digits: (all of it, what it is)
        self._hinted = 0
        self._used: set[bytes] = set()  # what lines were found by: client randoms, session ids, encrypted premasters
        self._changed = False
        self._crowded = False
        self._traffic = False

    def __len__(self) -> int:
        """Sessions that something is known of."""
        return len(self._sessions) + len(self._by_session_id) + len(self._by_encrypted_premaster)

    def __repr__(self) -> str:
        return f"KeyLog({len(self)} sessions)"

    def add(self, text: bytes, name: str) -> None:
        """Take in one log, or a piece of one that ends with a line. `name` is what errors call it."""
        lines = Lines()
        self.take(chain(lines.feed(text), lines.end()), name)

    def take(self, lines: Iterable[tuple[int, bytes]], name: str) -> None:
        """Take in lines with their numbers (keylog_lines.py)."""
        self._changed = False
        for number, line in lines:
            odd = self._line(line)
            if odd:
                self._odd(name, number, line, odd)
        if self._crowded:
            self._crowded = False
            self.errors.append(
                (name, None, f"more than {MAX_RIVALS} secrets for one session and label: the latest are kept")
            )
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

    def secrets(self, client_random: bytes, label: str, trial: bool = False) -> tuple[bytes, ...]:
        """All secrets of a session with this label, the latest first."""
        secret = self.lookup(client_random, label, trial)
        return () if secret is None else (secret, *self._rivals.get((client_random, label), ()))

    def labels(self, client_random: bytes) -> list[str]:
        """The labels of a session's secrets."""
        return sorted(self._sessions.get(client_random, ()))

    def hints(self, client_random: bytes) -> list[str]:
        """What there is of a session in lines that were of no use: torn or misspelt ones."""
        digits = client_random.hex().encode()
        return [says for random, says in self._hints.get(digits[:8], ()) if digits.startswith(random)]

    def skipped(self) -> dict[str, int]:
        """The lines with labels that nobody knows, by those labels that may be shown."""
        return {label: n for label, n in sorted(self.unknown.items()) if _NAME.match(label)}

    def use(self, client_random: bytes) -> None:
        """This session is in the capture."""
        self._used.add(client_random)

    def used(self) -> str:
        """The log of those sessions alone that were asked for: what opens this capture, and nothing else."""
        lines = [
            f"{label} {random.hex()} {each.hex()}"
            for random, session in self._sessions.items()
            if random in self._used
            for label in session
            for each in reversed(self.secrets(random, label))
        ]
        lines += [
            f"RSA Session-ID:{session_id.hex()} Master-Key:{master.hex()}"
            for session_id in self._by_session_id
            if session_id in self._used
            for master in reversed(self.masters_of(session_id))
        ]
        lines += [
            f"RSA {encrypted.hex()} {premaster.hex()}"
            for encrypted in self._by_encrypted_premaster
            if encrypted in self._used
            for premaster in reversed(self.premasters_of(encrypted))
        ]
        return "".join(f"{line}\n" for line in lines)

    def sessions(self) -> Iterator[bytes]:
        """The client randoms of all sessions, in the order in which they were first seen."""
        return iter(self._sessions)

    def master_of(self, session_id: bytes) -> bytes | None:
        """The TLS 1.2 master secret of the session with this id ("RSA Session-ID:... Master-Key:...")."""
        return next(iter(self.masters_of(session_id)), None)

    def masters_of(self, session_id: bytes) -> tuple[bytes, ...]:
        """All of them, the latest first."""
        self._used.add(session_id)
        return self._all(self._by_session_id, session_id, "id")

    def premaster_of(self, encrypted: bytes) -> bytes | None:
        """The premaster secret whose RSA encryption, as in ClientKeyExchange, begins with these 8 bytes ("RSA ...")."""
        return next(iter(self.premasters_of(encrypted)), None)

    def premasters_of(self, encrypted: bytes) -> tuple[bytes, ...]:
        """All of them, the latest first."""
        self._used.add(encrypted)
        return self._all(self._by_encrypted_premaster, encrypted, "premaster")

    @property
    def has_traffic_secrets(self) -> bool:
        """True when there are secrets that open application data of TLS 1.3."""
        return self._traffic

    @property
    def has_premasters(self) -> bool:
        """True when some master secret might have to be made from a premaster secret."""
        return bool(self._by_encrypted_premaster)

    def _all(self, table: dict[bytes, bytes], key: bytes, what: str) -> tuple[bytes, ...]:
        secret = table.get(key)
        return () if secret is None else (secret, *self._rivals.get((key, what), ()))

    def _line(self, line: bytes) -> _Odd | None:
        """Take in one line; what is wrong with it."""
        usual = _USUAL.match(line)
        if usual is not None and len(line) <= MAX_LINE and self._usual(*usual.groups()):
            return None
        return self._unusual_line(line)

    def _usual(self, label: bytes, client_random: bytes, secret: bytes) -> bool:
        """Take in label, client random and secret, if they are what they should be."""
        name, known = _BY_LABEL.get(label, _UNKNOWN)
        if len(secret) / 2 not in known.lengths:
            return False
        if known.kept:
            random = unhexlify(client_random)
            self._store(self._sessions.setdefault(random, {}), name, unhexlify(secret), (random, name))
            self._traffic = self._traffic or name in _TRAFFIC_LABELS
        else:
            self.unused[name] += 1
        return True

    def _unusual_line(self, line: bytes) -> _Odd | None:
        """The same of any line."""
        if len(line) > MAX_LINE:
            return _Odd(TOO_LONG)
        fields = line.split()
        if not fields or fields[0].startswith(b"#"):
            return None
        label, rest = fields[0], fields[1:]
        read = sum(self._usual(*within.groups()) for within in _WITHIN.finditer(line))
        if read > 1:  # such as a JSON list
            return None
        if not _LABEL.match(label):
            return None if read else _Odd(NO_LABEL)
        if label == b"RSA":
            cause = self._rsa(rest)
            return _Odd(cause) if cause else None
        name = label.decode("ascii")
        if _GENERATION.match(label) and not label.endswith(b"SECRET_0"):
            known: _Label | None = _Label(_TRAFFIC, kept=False)
        else:
            known = _LABELS.get(name)
        if known is None and read:
            return None
        if known is None:
            self._count_unknown(name)
            return _Odd(f"the label {_name(label) or 'there'} is not known", malformed=False)
        if len(rest) != 2:
            return _Odd(f"{len(rest)} fields after the label, not 2")
        client_random, secret = _hex(rest[0]), _hex(rest[1])
        if client_random is None or secret is None:
            return _Odd("not hexadecimal")
        if len(client_random) != 32:
            return _Odd(f"a client random of {len(client_random)} bytes, not 32")
        if len(secret) not in known.lengths:
            return _Odd(f"a secret of {len(secret)} bytes, which {name} cannot have")
        if not known.kept:
            self.unused[name] += 1
        elif not read:  # the fields stand further apart than usual
            self._usual(label, rest[0], rest[1])
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
            self._store(self._by_session_id, session_id, unhexlify(master[1]), (session_id, "id"))
            return None
        encrypted, premaster = _hex(rest[0]), _hex(rest[1])
        if encrypted is None or premaster is None:
            return "not hexadecimal"
        if len(encrypted) != 8 or len(premaster) != 48:
            return f"an RSA entry of {len(encrypted)} and {len(premaster)} bytes, not 8 and 48"
        self._store(self._by_encrypted_premaster, encrypted, premaster, (encrypted, "premaster"))
        return None

    def _store(self, table: dict[_K, bytes], key: _K, secret: bytes, whose: tuple[bytes, object]) -> None:
        self.kept += 1
        old = table.get(key)
        if old == secret:
            return
        table[key] = secret
        self._changed = True
        if old is None:
            return
        self.conflicts += 1
        rivals = self._rivals.setdefault(whose, [])
        if secret in rivals:
            rivals.remove(secret)
        rivals.insert(0, old)
        if len(rivals) == MAX_RIVALS:
            del rivals[-1]
            self._crowded = True

    def _count_unknown(self, label: str) -> None:
        if label not in self.unknown and len(self.unknown) >= MAX_LABELS:
            label = OTHER_LABELS
        self.unknown[label] += 1

    def _odd(self, name: str, number: int, line: bytes, odd: _Odd) -> None:
        """Report a line, and remember whose it was."""
        if odd.malformed:
            self._report(name, number, odd.cause)
        fields = line.split(None, 2)[:2]
        random = _RANDOM.match(fields[1]) if len(fields) == 2 else None
        if random is not None and self._hinted < MAX_HINTS:
            self._hinted += 1
            digits = random[0].lower()
            label = f"{label}: " if (label := _name(fields[0])) and odd.malformed else ""
            self._hints.setdefault(digits[:8], []).append((digits, f"{name} line {number}: {label}{odd.cause}"))

    def _report(self, name: str, number: int, cause: str) -> None:
        self.malformed += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append((name, number, f"line {number}: {cause}"))
        elif len(self.errors) == MAX_ERRORS:
            self.errors.append((name, None, f"more than {MAX_ERRORS} malformed lines; the rest is only counted"))


def _name(label: bytes) -> str:
    """A label that may be shown."""
    text = label.decode("ascii", "replace")
    return text if text in _LABELS or text == "RSA" or _NAME.match(text) else ""


def _hex(field: bytes) -> bytes | None:
    return unhexlify(field) if _HEX.match(field) else None


# Labels as files have them: the one string object for each (a session's table is keyed by it, and there may be many
# sessions), and what is known of it.
_BY_LABEL = {label.encode("ascii"): (label, known) for label, known in _LABELS.items()}
_UNKNOWN = "", _Label(())

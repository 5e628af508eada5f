"""What the two sides of one connection share: the exchange, and the session's secrets in the key log.

A key log is entered by the client random. When the client's side is not in the capture, or its hello may have been an
encrypted one (RFC 9849: the log goes by the inner hello's random; the extension tells, and GREASE looks like it), the
random is not known; then sessions of the log are tried on a record until one opens it, which no wrong secret does. The
same trial finds the suite when the server's side is not in the capture, and the right one of several secrets that a log
has for one session and label. It is bounded by TRIALS per connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, cast

from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Opened, Opener
from rxtls.crypto.schedule import HASH_LENGTH, tls12_keys
from rxtls.crypto.suite_names import suite_name
from rxtls.crypto.suites import TLS13_SUITES, Family, Suite, Version, suite
from rxtls.errors import RecordError
from rxtls.handshake import lacking
from rxtls.handshake.exchange import Exchange, Role
from rxtls.handshake.inside import Inside
from rxtls.handshake.late_start import keys_of
from rxtls.handshake.steps import Refuse, Wait, refuse
from rxtls.handshake.wrapping import Wrapping
from rxtls.wire import hello, keylog, tls
from rxtls.wire.keylog import KeyLog
from rxtls.wire.tls import Alert, Messages

# A trial is a key schedule and one record opened: about 50 us. 10,000 of them stay under a second, and are more
# sessions than a key log has in a lab.
TRIALS = 10_000
HANDSHAKE = 256 * 1024  # bytes of handshake a connection (rulings: handshake), both sides together

EARLY = keylog.CLIENT_EARLY
HANDSHAKE_LABEL = {Role.CLIENT: keylog.CLIENT_HANDSHAKE, Role.SERVER: keylog.SERVER_HANDSHAKE}
APPLICATION_LABEL = lacking.APPLICATION

_VERSIONS = frozenset(Version)
_VERSION_NAMES = {
    0x0002: "SSL 2.0", 0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3",
    0x0101: "TLCP 1.1", 0x7E01: "Google's experiment with TLS 1.3", 0x7E02: "Google's experiment with TLS 1.3",
    0xFB17: "TLS 1.3 draft 23 as Facebook has it", 0xFB1A: "TLS 1.3 draft 26 as Facebook has it",
}  # fmt: skip
_COMPRESSIONS = {1: "DEFLATE (RFC 3749)", 64: "LZS (RFC 3943)"}
_HELLO = tls.RECORD_HEADER + tls.MESSAGE_HEADER  # where a hello's body begins in a stream
_TRAFFIC_LABELS = frozenset((*APPLICATION_LABEL.values(), *HANDSHAKE_LABEL.values()))
_SECRETS = (keylog.CLIENT_RANDOM, *APPLICATION_LABEL.values(), *HANDSHAKE_LABEL.values())


@dataclass(slots=True, eq=False, repr=False)
class Side:
    """One direction as the observer keeps it."""

    messages: Messages
    role: Role | None = None  # None until somebody's hello was found
    started: bool = False  # its own hello was found
    seems: str = ""  # the protocol that it seems to be instead of TLS
    scanned: int = 0  # how far the search for it has come in the unread bytes
    heard: bool = False
    refused: Refuse | None = None
    enabled: bool = False
    unheralded: bool = False  # the other direction's hello is missing
    one_sided: bool = False  # that direction will say no more
    settled: bool = False  # nor will more keys come
    cut_short: bool = False  # because too much had to wait for them
    waits: bool = False  # it last asked for keys
    holds: bool = False  # it stands behind a ChangeCipherSpec whose keys are not there yet
    late: bool = False  # what it begins with is not its beginning
    cut: bool = False  # nor does what follows go on from it
    tried: int = 0  # bytes that have been searched
    wrapping: Wrapping | None = None  # the frames that its stream is in
    inside: Inside | None = None  # opens its records, where frames go on to the end
    follows: bool = False  # its session was found by the other side, which has nothing more to tell


class Unlocked(NamedTuple):
    """A record that a secret opened as number 0, and what it takes to open the next."""

    keys: Keys
    opener: Opener
    opened: Opened


class Session:
    """The shared state. `suite` is the one agreed on or found by trial; `alert` names the alert that ended it all."""

    __slots__ = (
        "_chosen",
        "_random",
        "_trials",
        "alert",
        "doubtful",
        "exchange",
        "keys",
        "server_searches",
        "suite",
        "wait_for_keys",
    )

    def __init__(self, keys: KeyLog, wait_for_keys: bool) -> None:
        self.keys = keys
        self.wait_for_keys = wait_for_keys
        self.exchange = Exchange()
        self.suite: Suite | None = None
        self.alert: str | None = None
        self.server_searches = False  # the server's handshake cannot be read, so nobody learns what it accepted
        self.doubtful = False  # the ServerHello's extensions are missing: Encrypt-then-MAC may have been agreed on
        self._random: bytes | None = None
        self._chosen: dict[str, tuple[bytes, bytes]] = {}  # by label: the (client random, secret) that opened a record
        self._trials = TRIALS

    @property
    def known(self) -> bool:
        """True when the key log's entry is known, by the ClientHello or by trial."""
        return self._random is not None or self.exchange.client is not None

    def learn_cut(self, data: bytes) -> None:
        """A stream's first bytes, behind which the capture lacks some: what there is of a hello in them."""
        exchange = self.exchange
        if data[:1] != bytes([tls.HANDSHAKE]) or len(data) <= _HELLO:
            return
        if data[tls.RECORD_HEADER] == tls.CLIENT_HELLO and exchange.client is None:
            random = data[_HELLO + 2 : _HELLO + 34]
            if any(self.keys.lookup(random, label) for label in _SECRETS):
                self._random = random
        elif data[tls.RECORD_HEADER] == tls.SERVER_HELLO and exchange.server is None:
            server = hello.cut_server_hello(data[_HELLO:])
            if server is not None and not server.retry and exchange.version in (None, server.version):
                exchange.server, exchange.version = server, server.version
                self.doubtful = self.server_searches = True

    def doubts(self) -> list[hello.ServerHello]:
        """What else the ServerHello may have been."""
        server = self.exchange.server
        if not self.doubtful or server is None or self.suite is None or self.suite.family is not Family.AES_CBC:
            return []
        return [server._replace(encrypt_then_mac=not server.encrypt_then_mac)]

    def note(self, alert: Alert) -> None:
        """Remember an alert that ends the handshake, whoever sent it."""
        if alert.ends and self.alert is None:
            self.alert = alert.name

    def missing(self, side: Side) -> Refuse | Wait:
        """What to do for want of keys."""
        if self.wait_for_keys and not side.settled:
            return Wait()
        if self.wait_for_keys and side.cut_short:
            return refuse("keys_wait")
        if not self.known and len(self.keys):
            return refuse("no_keys", "none of its sessions fits")
        return refuse("no_keys", lacking.lacking(self.keys, self.exchange, self.suite, side.role))

    def wrong(self) -> Refuse:
        """What to say when secrets open nothing."""
        if self._entry() is not None:
            return refuse("wrong_keys")
        which = "none of its sessions" if self._trials else f"none of the first {TRIALS} that were tried"
        hidden = (
            ", and the ClientHello may be an encrypted one's outer part" if self.exchange.client is not None else ""
        )
        return refuse("no_keys", f"{which} fits{hidden}")

    def secret(self, label: str) -> bytes | None:
        """The first secret with this label that may be the session's."""
        for _, secret in self._secrets(label):
            return secret
        return None

    def several(self, label: str) -> bool:
        """There is more than one, and none of them has opened a record yet."""
        return len(list(islice(self._secrets(label), 2))) > 1

    def unlock13(self, label: str, record: bytes) -> Unlocked | None:
        """Open a TLS 1.3 record as number 0 with the session's secret of this label.

        What was not known of session and suite is learnt from it, except under early data's keys: their suite is that
        of the pre-shared key, and only a server that accepts it goes on with it (RFC 8446, RFC 9846 section 4.2.10).
        """
        for random, secret in self._secrets(label):
            for candidate in self._suites(len(secret)):
                unlocked = _open(keys_of(candidate, secret, self.keys.derived), record)
                if unlocked is not None:
                    self._random = random
                    self._chosen[label] = random, secret
                    self.keys.use(random)
                    if label != EARLY:
                        self.suite = candidate
                    return unlocked
        return None

    def unlock12(self, version: Version, role: Role, record: bytes) -> Unlocked | None:
        """Open a TLS 1.2 record as number 0 when the client random is not known; needs the ServerHello."""
        server = self.exchange.server
        assert server is not None
        assert self.suite is not None
        for random, master in self._secrets(keylog.CLIENT_RANDOM):
            pair = tls12_keys(self.suite, version, master, random, server.random, server.encrypt_then_mac)
            unlocked = _open(pair[role], record)
            if unlocked is not None:
                self._random = random
                self.exchange.master = master
                self.keys.use(random)
                return unlocked
        return None

    def candidates(self, label: str) -> Iterator[tuple[bytes, bytes]]:
        """(client random, secret) of every session that may be this one, for who keeps account of trials himself."""
        random = self._entry()
        for each in self.keys.sessions() if random is None else [random]:
            for secret in self.keys.secrets(each, label):
                yield each, secret

    def learn(self, random: bytes, chosen: Suite) -> None:
        """Which session it is, and its suite, found by trial."""
        self._random = random
        self.suite = chosen

    def keyed(self, role: Role | None) -> bool:
        """The key logs have what opens the application data of this side."""
        random = self._entry()
        labels = [] if random is None else self.keys.labels(random)
        if self.exchange.version == Version.TLS13:
            return any(APPLICATION_LABEL[each] in labels for each in (Role if role is None else (role,)))
        return keylog.CLIENT_RANDOM in labels or keylog.PMS_CLIENT_RANDOM in labels or self.exchange.master is not None

    def judge(self) -> Refuse | None:
        """The reason why what the ServerHello agreed on cannot be opened here; learns the suite otherwise."""
        server = self.exchange.server
        if server is None:
            return None
        if server.version not in _VERSIONS:
            return refuse("version_unsupported", _version_name(server.version))
        chosen = suite(server.suite)
        if chosen is None:
            return refuse("suite_unsupported", suite_name(server.suite))
        if server.version not in chosen.versions:
            return refuse("handshake_malformed", f"{chosen.name} does not exist in {_version_name(server.version)}")
        if server.compression:
            # RFC 3749: records are compressed before encryption. Since CRIME (2012) hardly any library offers it.
            return refuse("compression", _COMPRESSIONS.get(server.compression, f"method {server.compression}"))
        self.suite = chosen
        return None

    def _secrets(self, label: str) -> Iterable[tuple[bytes, bytes]]:
        """(client random, secret) of every session that may be this one."""
        if label in self._chosen:
            return (self._chosen[label],)
        client = self.exchange.client
        random = self._random or (client.random if client is not None else None)
        if random is not None:
            secrets = [(random, each) for each in self.keys.secrets(random, label) if self._fits(label, each)]
            if secrets or self._entry() is not None:
                return secrets
        return self._strangers(label)

    def _entry(self) -> bytes | None:
        """The client random by which the log has this session; None if any of its sessions may be this one."""
        client = self.exchange.client
        if self._random is not None or client is None:
            return self._random
        # The log of an encrypted hello goes by the inner one's random, which only the two ends have read. There may be
        # an entry ECH_SECRET under the outer one's, but most libraries write none.
        hidden = client.encrypted and not self.keys.labels(client.random)
        return None if hidden or self.keys.lookup(client.random, keylog.ECH_SECRET) else client.random

    def _fits(self, label: str, secret: bytes) -> bool:
        """A secret can be one of this suite's, as far as its length tells. (Early data have their own suite.)"""
        told = self.suite is not None and label in _TRAFFIC_LABELS
        return not told or len(secret) == HASH_LENGTH[cast(Suite, self.suite).prf_hash]

    def _strangers(self, label: str) -> Iterator[tuple[bytes, bytes]]:
        """The same of the key log's sessions in turn, as far as TRIALS go."""
        for stranger in self.keys.sessions():
            for secret in self.keys.secrets(stranger, label, trial=True):
                if self._trials == 0:
                    return
                self._trials -= 1
                yield stranger, secret

    def _suites(self, secret_length: int) -> list[Suite]:
        """The TLS 1.3 suites that this may be, by what is agreed on or else offered, and by the hash's length."""
        if self.suite is not None:
            return [self.suite] if HASH_LENGTH[self.suite.prf_hash] == secret_length else []
        client = self.exchange.client
        return [
            candidate
            for candidate in TLS13_SUITES
            if HASH_LENGTH[candidate.prf_hash] == secret_length and (client is None or candidate.code in client.suites)
        ]


def _open(keys: Keys, record: bytes) -> Unlocked | None:
    opener = Opener(keys)
    try:
        return Unlocked(keys, opener, opener.open(0, record))
    except RecordError:
        return None


def _version_name(version: int) -> str:
    if version >> 8 == hello.DRAFTS:
        return f"TLS 1.3 draft {version & 0xFF}"
    return _VERSION_NAMES.get(version, f"0x{version:04x}")

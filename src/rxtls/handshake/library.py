"""What the path asks of a TLS library, and the simplest one: keys known beforehand.

The observer (handshake/observer.py) stands where an application's TLS library stands and reads handshakes. `Preset` is
for streams that begin with the first record: receive is enabled before any byte, with the keys that the caller has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from rxtls.crypto.keys import Keys
from rxtls.crypto.schedule import tls13_keys, tls13_next_secret
from rxtls.crypto.suites import Suite, Version
from rxtls.handshake.search_budget import Work
from rxtls.handshake.steps import Enable, Hold, Refuse, Rekey, Step, refuse

HANDSHAKE = 22
KEY_UPDATE = 24

TLS_NAMES = {Version.TLS11: "1.1", Version.TLS12: "1.2", Version.TLS13: "1.3"}


class Library(Protocol):
    """One connection's TLS library. Sides are those of the sender: 0 is intake's endpoint a.

    `syn_seen` says per side whether the stream is there from its SYN on; it is set before the side is first read.
    """

    syn_seen: list[bool]
    behind: list[bool]  # per side whether more of it is there, behind a hole
    works: tuple[Work, Work]  # budgets of what searching may cost, by side

    @property
    def handshaking(self) -> bool:
        """True while both directions have to be served packet by packet, in frame order."""

    @property
    def client_side(self) -> int | None:
        """The side of the client, None while it is not known."""

    @property
    def tls(self) -> str | None:
        """ "1.1", "1.2", "1.3", or None."""

    @property
    def suite(self) -> Suite | None:
        """The suite agreed on."""

    @property
    def sni(self) -> str | None:
        """The server's name as the client asked for it."""

    @property
    def alpn(self) -> str | None:
        """The application protocol agreed on."""

    @property
    def resumed(self) -> bool:
        """True when the session was resumed."""

    @property
    def client_random(self) -> bytes | None:
        """What the client's hello begins with: no other session has it."""

    def read(self, side: int, data: bytes) -> Step:
        """Read the raw stream of a side from where the last step left it."""

    def one_sided(self, side: int) -> None:
        """The other direction will say no more."""

    def settle(self, side: int, *, bound: bool = False) -> None:
        """Neither the other direction nor a key log will say more: the next `read` has to decide.

        `bound`: because the bound on waiting bytes was met.
        """

    def end(self, side: int) -> Refuse | None:
        """The stream is over: why receive was not enabled, None if it was."""

    def record(self, side: int, type: int, payload: bytes) -> Rekey | Hold | Refuse | None:  # noqa: A002
        """A record that is not application data, opened by the worker."""

    def resume(self, side: int) -> Rekey | Hold | Refuse | None:
        """After a Hold: how it goes on."""

    def cut(self, side: int) -> bool:
        """Before receive is enabled: bytes are missing behind those that are unread, which are to be read once more and
        dropped then. False if there is no way on behind them."""

    def interrupted(self, side: int) -> None:
        """Records of this side are missing: the next message is the beginning of one."""

    def following(self, side: int, updates: int) -> Keys | None:
        """The keys so many KeyUpdates on; None where there are none."""

    def updated(self, side: int) -> Rekey:
        """There was a KeyUpdate, among records that are missing."""


class Facts(NamedTuple):
    """What a library has learned of its connection: all that is kept of it when the connection is over."""

    client_side: int | None
    tls: str | None
    suite: Suite | None
    sni: str | None
    alpn: str | None
    resumed: bool
    client_random: bytes | None


def facts(library: Library) -> Facts:
    """What `library` knows now."""
    named = library.sni, library.alpn, library.resumed, library.client_random
    return Facts(library.client_side, library.tls, library.suite, *named)


class Preset:
    """Keys known beforehand: per side (Keys, record number), and for KeyUpdate the TLS 1.3 traffic secret.

    With `keys` None nobody knows any here: the application reads the raw stream, and sets keys on its sockets.
    """

    def __init__(self, keys: Mapping[int, tuple[Keys, int]] | None, secrets: Mapping[int, bytes] | None = None) -> None:
        self._by_hand = keys is None
        self._keys = keys or {}
        self._secrets = dict(secrets or {})
        self.syn_seen = [True, True]
        self.behind = [False, False]
        self.works = Work(), Work()
        self.handshaking = False
        self.client_side: int | None = 0
        self.suite: Suite | None = None
        self.tls: str | None = None
        for first, _ in self._keys.values():
            self.learn(first)
        self.sni: str | None = None
        self.alpn: str | None = None
        self.resumed = False
        self.client_random: bytes | None = None

    def learn(self, keys: Keys) -> None:
        """The keys of a direction, and with them suite and version of the connection."""
        self.suite = keys.suite
        self.tls = TLS_NAMES[keys.version]

    def read(self, side: int, data: bytes) -> Step:  # noqa: ARG002 - the first byte already is a record's
        """Enable at once."""
        if self._by_hand:
            return Step()
        if side not in self._keys:
            return Step(action=refuse("no_keys"))
        return Step(action=Enable(*self._keys[side]))

    def one_sided(self, side: int) -> None:
        """There is nothing to wait for."""

    def settle(self, side: int, *, bound: bool = False) -> None:
        """There is nothing to wait for."""

    def end(self, side: int) -> Refuse | None:
        """A side without keys never was enabled."""
        return None if self._by_hand or side in self._keys else refuse("no_keys")

    def record(self, side: int, type: int, payload: bytes) -> Rekey | Hold | None:  # noqa: A002
        """Whole KeyUpdate messages, alone in their records (RFC 8446, RFC 9846 section 4.6.3)."""
        if type != HANDSHAKE or payload[:1] != bytes([KEY_UPDATE]):
            return None
        if self._by_hand:  # Linux, tls_sw.c: nothing more is decrypted until the application has set the next key
            return Hold() if self.tls == TLS_NAMES[Version.TLS13] else None
        if side not in self._secrets:
            return None
        assert self.suite is not None
        self._secrets[side] = tls13_next_secret(self.suite, self._secrets[side])
        return Rekey(tls13_keys(self.suite, self._secrets[side]))

    def resume(self, side: int) -> Rekey | None:  # noqa: ARG002 - never asked, as it never holds
        """It never holds."""
        return None

    def cut(self, side: int) -> bool:  # noqa: ARG002 - records begin with the stream, or nowhere
        """It searches for nothing."""
        return False

    def interrupted(self, side: int) -> None:
        """It reads only whole messages."""

    def following(self, side: int, updates: int) -> Keys | None:
        """As Library."""
        if side not in self._secrets or self.suite is None:
            return None
        return tls13_keys(self.suite, generation(self.suite, self._secrets[side], updates))

    def updated(self, side: int) -> Rekey:
        """As Library."""
        rekey = self.record(side, HANDSHAKE, bytes([KEY_UPDATE]))
        assert isinstance(rekey, Rekey)
        return rekey


def generation(chosen: Suite, secret: bytes, updates: int) -> bytes:
    """A TLS 1.3 traffic secret so many KeyUpdates on (RFC 8446, RFC 9846 section 7.2)."""
    for _ in range(updates):
        secret = tls13_next_secret(chosen, secret)
    return secret

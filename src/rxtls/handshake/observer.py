"""The handshake observer: it stands where the application's TLS library stands, and enables receive on the socket.

One `Observer` per connection reads the raw streams of both sides until each can be handed to kTLS: with which keys,
from which record number, at which byte. Everything before is the library's (class `library`), or plaintext before TLS.
Sans-io: bytes come in by `read`, what to do comes out as a `Step`.

    stage of a side   reads                                     in
    no role           plaintext, up to a hello                  preamble.py
    START, RETRY      the hello, in plaintext records           hellos.py; exchange.py says what may follow what
    version known     plaintext handshake records               hellos.py
                      encrypted records                         tls13.py, tls12.py
    enabled           what the kTLS worker opens and is not application data comes through `record`
    refused           nothing: all further bytes have the fate that Refuse names

A stream that is in another protocol's frames (wrapping.py) is taken out of them first. Where they go on behind the
handshake, receive cannot be enabled, and the side's records are opened here (inside.py).

`read` takes the unread bytes of a side and says how many it is done with. It may be done with none: then it wants more
bytes of this side, or the other side has to say something first (a client's second flight means nothing before the
ServerHello is read). So after every `read` that consumed or acted, the other side's unread bytes are worth offering
again. The observer cannot know whether the other direction is captured at all; whoever can tells it:

    one_sided(side)   the other direction will say no more: decide with what `side` has. The caller's rule: that
                      direction is over, or much (64 KiB) came without a byte of it
    settle(side)      besides, no more keys will come
    end(side)         the stream is over: why was it never enabled

Bounds: 256 KiB of handshake a connection, early data aside (which is not held); 64 KiB of preamble a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rxtls.crypto.keys import Keys
from rxtls.crypto.suites import Suite, Version
from rxtls.handshake import hellos, late_start, midstream, other_protocols, preamble, wrapping
from rxtls.handshake.exchange import CLIENT, RETRY, SERVER, START, TLS13
from rxtls.handshake.hellos import consumed
from rxtls.handshake.inside import Inside
from rxtls.handshake.library import TLS_NAMES
from rxtls.handshake.renegotiation import Renegotiations
from rxtls.handshake.search_budget import Work
from rxtls.handshake.session import HANDSHAKE, Session, Side
from rxtls.handshake.steps import (
    NOTHING_LOST,
    Action,
    Enable,
    Hold,
    LibraryRecord,
    Refuse,
    Rekey,
    Step,
    Taken,
    Within,
    refuse,
)
from rxtls.handshake.tls12 import Reader12, change_cipher_spec
from rxtls.handshake.tls13 import Reader13
from rxtls.wire import tls
from rxtls.wire.keylog import KeyLog
from rxtls.wire.tls import Buffer, MalformedError, Messages, TooLargeError

_CUT_SHARE = 16  # of the budget for what is before a hole: what is behind it may tell more
_FIRST = 512  # bytes in which another protocol shows
_SOON = 64  # bytes: a small record


class Observer:
    """One connection's handshake. Sides are 0 and 1, by who sends; which of them is the client is found out.

    `syn_seen` says per side whether the capture has its SYN; it may be set until the side is first read. `behind`: more
    is there, behind a hole.
    Without one, a stream that does not begin with a hello began before the capture. `bound` is in bytes of handshake.

    Nothing raises for what the bytes are.
    """

    __slots__ = (
        "_bound",
        "_readers",
        "_renegotiations",
        "_session",
        "_sides",
        "_spent",
        "behind",
        "client_side",
        "syn_seen",
        "works",
    )

    def __init__(
        self, keys: KeyLog, wait_for_keys: bool = False, syn_seen: Sequence[bool] = (True, True), bound: int = HANDSHAKE
    ) -> None:
        self.client_side: int | None = None
        self.syn_seen = list(syn_seen)
        self.behind = [False, False]
        self.works = Work(), Work()
        self._bound = bound
        self._session = Session(keys, wait_for_keys)
        self._sides = (Side(Messages(bound)), Side(Messages(bound)))
        self._readers: list[Reader12 | Reader13 | None] = [None, None]
        self._renegotiations: Renegotiations | None = None
        self._spent = 0  # bytes of handshake records consumed

    @property
    def handshaking(self) -> bool:
        """True while both directions must be served in frame order: until each is enabled, refused or known absent."""
        if self._renegotiations is not None and self._renegotiations.going_on:
            return True
        a, b = self._sides
        return not (_decided(a, b) and _decided(b, a))

    @property
    def tls(self) -> str | None:
        """ "1.1", "1.2" or "1.3"; None while unknown, and for versions that are not opened here."""
        version = self._session.exchange.version
        return TLS_NAMES[Version(version)] if version in TLS_NAMES else None

    @property
    def suite(self) -> Suite | None:
        """The suite agreed on, once known and if it is in the table."""
        return self._session.suite

    @property
    def sni(self) -> str | None:
        """The host name the client asked for, printable."""
        client = self._session.exchange.client
        return client.server_name if client else None

    @property
    def alpn(self) -> str | None:
        """The application protocol that the server chose, printable."""
        return self._session.exchange.alpn

    @property
    def resumed(self) -> bool:
        """True for a session resumed by id or ticket; in TLS 1.3, one with a pre-shared key."""
        return self._session.exchange.resumed

    @property
    def client_random(self) -> bytes | None:
        """As the client sent it in the clear, also before an encrypted hello."""
        client = self._session.exchange.client
        return client.random if client else None

    def read(self, side: int, data: Buffer) -> Step:
        """Read on in a side's raw stream. `data` is all its unread bytes, beginning with what the last call left.

        After Enable or Refuse it consumes nothing; a Refuse is repeated.
        """
        me = self._sides[side]
        if me.refused is not None or me.enabled:
            return Step(action=me.refused)
        if me.wrapping is None and not (me.started or me.late):
            me.wrapping = wrapping.begin(bytes(data))
        if me.wrapping is None:
            return self._read(side, me, data)
        try:
            inner, spans = me.wrapping.unwrap(bytes(data))
        except MalformedError as error:
            return Step(action=self._act(side, _malformed(error)))
        step = self._inside(side, me, me.inside, inner) if me.inside is not None else self._read(side, me, inner)
        step = wrapping.outward(step, len(inner), spans)
        me.wrapping.skip(bytes(data[: step.consumed]))
        return step

    def _read(self, side: int, me: Side, data: Buffer) -> Step:
        me.heard = me.heard or bool(data)
        me.waits = False
        at = 0
        me.late = me.late or me.follows
        if me.late:
            return self._search(side, me, bytes(data))
        if not me.started:
            found = self._find(side, me, data) if data else None
            if isinstance(found, Refuse) and found.code == "mid_connection" and len(self._session.keys):
                me.late = self._sides[1 - side].unheralded = True
                return self._search(side, me, bytes(data))
            if not isinstance(found, int):
                return Step(action=self._act(side, found))
            me.started = True
            at = found
        reader = self._readers[side]
        action = reader.pending() if isinstance(reader, Reader13) else None
        start = at
        records: list[LibraryRecord] = []
        try:
            while action is None:
                header = tls.record_header(data, at)
                if header is None:
                    break
                kind, _, length = header
                end = at + tls.RECORD_HEADER + length
                if end > len(data):
                    break
                record, action = self._take(side, me, kind, bytes(data[at:end]))
                if record is None:
                    break
                records.append(record)
                at = end
                if not record.early_data:
                    self._spent += record.wire_length
                    if self._spent > self._bound:
                        action = action or self._too_much(side)
        except MalformedError as error:
            action = _malformed(error)
        return Step(at, tuple(records), self._act(side, action), start)

    def record(self, side: int, type: int, payload: bytes) -> Rekey | Hold | Refuse | None:  # noqa: A002
        """Take a record that the kTLS worker opened after Enable, any but application data.

        Rekey: the next record of this side uses these keys. Hold: none may be opened before `resume`. Refuse: none can
        be.
        """
        me, reader = self._sides[side], self._readers[side]
        if me.refused is not None:
            return me.refused
        try:
            if isinstance(reader, Reader13):
                return reader.post_handshake(type, payload)
            return self._renegotiate(side, me, type, payload)
        except MalformedError as error:
            me.refused = self._judged(me, _malformed(error))
            return me.refused

    def resume(self, side: int) -> Rekey | Refuse | None:
        """After Hold: the Rekey if it is possible now, None to go on holding."""
        me, renegotiations = self._sides[side], self._renegotiations
        if me.refused is not None or not me.holds:
            return me.refused
        assert me.role is not None
        assert renegotiations is not None
        answer = self._rekeyed(me, renegotiations.rekey(me.role, me, self._alone(side)))
        return None if isinstance(answer, Hold) else answer

    def interrupted(self, side: int) -> None:
        """Records of this side are missing: a message that had begun will not end."""
        self._sides[side].messages.forget()

    def following(self, side: int, updates: int) -> Keys | None:
        """The keys so many KeyUpdates on; None before TLS 1.3."""
        reader = self._readers[side]
        return reader.following(updates) if isinstance(reader, Reader13) else None

    def updated(self, side: int) -> Rekey:
        """There was a KeyUpdate among records that are missing."""
        self.interrupted(side)
        reader = self._readers[side]
        assert isinstance(reader, Reader13)
        return reader.updated()

    def cut(self, side: int) -> bool:
        """What is unread of this side is all there is before bytes that are missing: read it once more, and drop what
        is left. False for a side that is not going to be read at all."""
        me = self._sides[side]
        if me.wrapping is not None:
            return False  # where the next frame begins, nothing tells
        me.late = me.cut = True
        me.messages.forget()
        exchange = self._session.exchange
        if exchange.client is None and exchange.server is None:
            self._sides[1 - side].unheralded = True
        return me.refused is None

    def reopen(self) -> None:
        """After `settle`: more is going to be said after all."""
        for me in self._sides:
            me.one_sided = me.settled = me.cut_short = False

    def turn(self) -> None:
        """What was side 0 is side 1 from now on, and the other way round."""
        a, b = self._sides
        self._sides = b, a
        self._readers.reverse()
        self.syn_seen.reverse()
        self.behind.reverse()
        if self.client_side is not None:
            self.client_side = 1 - self.client_side

    def one_sided(self, side: int) -> None:
        """The other direction will say no more: `side` has to do without. Read it again."""
        self._sides[side].one_sided = True

    def settle(self, side: int, *, bound: bool = False) -> None:
        """Neither the other direction nor a key log will say more. Read the side again; it will not block.

        `bound`: this is so because the bound on waiting bytes was met, which then is the reason for having no keys.
        """
        me = self._sides[side]
        me.one_sided = me.settled = True
        me.cut_short = me.cut_short or bound

    def end(self, side: int) -> Refuse | None:
        """The side's stream is over: why receive was not enabled, and the fate of its unread bytes. None if it was."""
        me = self._sides[side]
        if me.refused is not None or me.enabled or me.inside is not None:
            return me.refused
        if not me.heard:
            return refuse("no_data")
        if self._session.alert is not None:
            return refuse("alert_before_application", self._session.alert)
        if me.late:
            return self._judged(me, midstream.why_not(self._session, me.role, b"", self.works[side]))
        if not me.started and (me.role is None or not self.syn_seen[side]):
            return self._no_hello(side)
        if me.waits:
            return refuse("no_keys")
        return self._fruitless(side, ended=True) or refuse("handshake_unfinished")

    # -- reading ---------------------------------------------------------------------------------------------------

    def _take(self, side: int, me: Side, kind: int, record: bytes) -> Taken:
        """Take a whole record, if its turn has come. Raises MalformedError."""
        reader = self._readers[side]
        if reader is not None and (kind == tls.APPLICATION_DATA or reader.encrypted):
            return reader.take(kind, record, self._alone(side))
        if kind == tls.ALERT:
            self._session.note(tls.alert(record[tls.RECORD_HEADER :]))
            return consumed(kind, record)
        if kind == tls.HEARTBEAT and self._session.exchange.version != TLS13:
            # RFC 6520 section 3: whoever gets one during a handshake drops it in silence.
            return consumed(kind, record)
        role = me.role
        assert role is not None
        if reader is None:
            if self._session.exchange.places[role] in (START, RETRY):
                return hellos.in_hello(self._session, me, role, kind, record)
            begun = hellos.behind(self._session, me, role, self._alone(side))
            if isinstance(begun, tuple):
                return begun
            reader = self._readers[side] = begun
        if kind == tls.HANDSHAKE:
            if isinstance(reader, Reader13) and not hellos.expects_again(self._session.exchange, role):
                raise MalformedError("a plaintext handshake record after the hellos")
            return hellos.handshake(self._session, me, role, record)
        if kind == tls.CHANGE_CIPHER_SPEC and isinstance(reader, Reader13):
            # RFC 8446, RFC 9846 section 5: between the first ClientHello and Finished one may come at any time, and
            # means nothing.
            change_cipher_spec(me, record[tls.RECORD_HEADER :])
            return consumed(kind, record)
        return reader.take(kind, record, self._alone(side))

    def _inside(self, side: int, me: Side, inside: Inside, data: bytes) -> Step:
        """Open the whole records that there are, as the kTLS worker does elsewhere."""
        if me.holds:
            reply = self.resume(side)
            if not isinstance(reply, Rekey):
                return Step(action=reply)
            inside.rekey(reply.keys, reply.number)
        step = inside.read(data, lambda kind, payload: self.record(side, kind, payload))
        return step._replace(action=self._act(side, step.action))

    # -- finding TLS -----------------------------------------------------------------------------------------------

    def _find(self, side: int, me: Side, data: Buffer) -> int | Refuse | None:
        """Where this side's hello begins in its unread bytes; None to wait for more."""
        if not me.seems and me.role is None:
            me.seems = other_protocols.seems(bytes(data[:_FIRST]))
            if me.seems and other_protocols.never_tls(bytes(data[:_FIRST])):
                return refuse("not_tls", me.seems)
        hello = tls.SERVER_HELLO if me.role is SERVER else tls.CLIENT_HELLO
        search = preamble.search(data, hello, me.scanned)
        me.scanned = search.resume
        exhausted = search.resume > preamble.LIMIT
        hopeless = search.found is None and not search.pending and (exhausted or me.unheralded or self._alone(side))
        if hopeless and me.role is None:  # then this is the server, or nobody
            hello, search = tls.SERVER_HELLO, preamble.search(data, tls.SERVER_HELLO, 0)
        if search.found is not None and search.found <= preamble.LIMIT:
            if me.role is None:
                self._cast(side if hello == tls.CLIENT_HELLO else 1 - side)
            return search.found
        if preamble.is_sslv2_hello(data):
            return refuse("version_unsupported", "a hello of SSL 2.0")
        if search.pending and search.resume <= preamble.LIMIT:
            return None
        if hopeless or exhausted or self._amid(side, data):
            return self._no_hello(side)
        return None

    def _amid(self, side: int, data: Buffer) -> bool:
        """The stream began before the capture, in the middle of TLS: it has records, but no SYN and no hello."""
        if self.syn_seen[side] or not preamble.looks_like_record(data):
            return False
        return preamble.begins(data, tls.SERVER_HELLO) is False

    def _cast(self, client_side: int) -> None:
        """It is known who is the client."""
        self.client_side = client_side
        self._sides[client_side].role = CLIENT
        server = self._sides[1 - client_side]
        server.role = SERVER
        server.scanned = 0

    def _no_hello(self, side: int) -> Refuse:
        if not self.syn_seen[side]:
            return refuse("mid_connection")
        if self.client_side is None:
            return refuse("not_tls", self._sides[side].seems)
        return refuse("handshake_malformed", "no ServerHello answers the ClientHello")

    # -- finding a session by its records --------------------------------------------------------------------------

    def _search(self, side: int, me: Side, data: bytes) -> Step:
        """Look for a place from which a stream without beginning can be read."""
        enough = len(data) >= late_start.ENOUGH
        # With the session known, one whole record tells; else many short ones are wanted, and all there is at the end.
        soon = self._session.known and len(data) >= max(_SOON, 2 * me.tried)
        if not data or not (me.settled or me.cut or enough or soon):
            return Step()
        me.tried = len(data)
        if me.cut:
            self._session.learn_cut(data)
        cut, me.cut = me.cut, False  # more comes, from behind what is missing
        start = self._start(side, me, data, _CUT_SHARE if cut else 1)
        if start is None:
            if cut or not (me.settled or enough) or (self.behind[side] and not enough):
                return Step()
            refusal = midstream.why_not(self._session, me.role, data, self.works[side])
            return Step(action=self._act(side, refusal))
        other = self._sides[1 - side]
        other.follows = not other.started and not self.syn_seen[1 - side]
        if start.whose is not None:
            if self.client_side is None:
                self._cast(side if start.whose.role is CLIENT else 1 - side)
            self._session.exchange.version = TLS13
            self._session.learn(start.whose.random, start.keys.suite)
            reader = Reader13(self._session, me, start.whose.role)
            reader.begin_late(start.secret)
            self._readers[side] = reader
        me.started = True
        return Step(start.offset, (), self._act(side, Enable(start.keys, start.number, True)), skipped=start.offset)

    def _start(self, side: int, me: Side, data: bytes, share: int) -> late_start.Start | None:
        whole = self.works[side]
        work = Work(min(whole.left, whole.budget // share))
        # Where a connection begins, side 0 is intake's guess of the client. A SYN that comes late may tell better, but
        # how soon steer has read it depends on the size of calls.
        start = midstream.start(self._session, me.role, CLIENT if side == 0 else SERVER, data, work)
        whole.left -= work.spent
        return start

    # -- deciding --------------------------------------------------------------------------------------------------

    def _alone(self, side: int) -> bool:
        """The other direction will say no more that could help this one."""
        return self._sides[side].one_sided or self._sides[1 - side].refused is not None

    def _act(self, side: int, action: Action | None) -> Action | None:
        """Remember an action before it goes out."""
        if action is None:
            return None
        me = self._sides[side]
        if isinstance(action, Refuse):
            action = me.refused = self._judged(me, action)
        elif isinstance(action, Enable) and me.wrapping is not None and me.wrapping.lasting:
            me.inside = Inside(action.keys, action.number)
            action = Within(me.wrapping.name)
        elif isinstance(action, Enable):
            me.enabled = True
        else:
            me.waits = True
        if all(s.enabled or s.inside is not None or s.refused is not None for s in self._sides):
            self._forget()
        return action

    def _judged(self, me: Side, refusal: Refuse) -> Refuse:
        """Whether something is lost that keys would have opened."""
        if refusal.code in NOTHING_LOST or not self._session.keyed(me.role):
            return refusal
        return replace(refusal, lost=True)

    def _forget(self) -> None:
        """Both sides are decided: there may be very many such connections, so keep only what later records need."""
        self._session.exchange.forget()
        self._readers = [reader if isinstance(reader, Reader13) else None for reader in self._readers]

    def _too_much(self, side: int) -> Refuse:
        """The bound is met: by an endless handshake, or in search of a record that the application secret opens."""
        return self._fruitless(side, ended=False) or refuse("handshake_too_large", f"{self._bound} bytes")

    def _fruitless(self, side: int, *, ended: bool) -> Refuse | None:
        reader = self._readers[side]
        return reader.fruitless(ended=ended) if isinstance(reader, Reader13) else None

    def _renegotiate(self, side: int, me: Side, type: int, payload: bytes) -> Rekey | Hold | Refuse | None:  # noqa: A002
        assert me.role is not None
        if self._renegotiations is None:
            self._renegotiations = Renegotiations(self._session)
        if type == tls.ALERT:
            if tls.alert(payload).name == "no_renegotiation":  # RFC 5246 section 7.2.2: declined, nothing has changed
                self._renegotiations.decline(me.role)
        elif type == tls.HANDSHAKE:
            self._renegotiations.messages(me.role, me.messages.feed(payload))
        elif type == tls.CHANGE_CIPHER_SPEC:
            answer = self._renegotiations.change_cipher_spec(me.role, me, payload, self._alone(side))
            return self._rekeyed(me, answer)
        return None

    def _rekeyed(self, me: Side, answer: Rekey | Hold | Refuse) -> Rekey | Hold | Refuse:
        """Remember an answer to ChangeCipherSpec before it goes out."""
        me.holds = isinstance(answer, Hold)
        if isinstance(answer, Refuse):
            answer = me.refused = replace(answer, lost=True)  # what came before was opened
        return answer


def _decided(me: Side, other: Side) -> bool:
    """Enabled, refused or known absent; or it depends on nothing that the other may still say."""
    ready = me.follows or me.enabled or me.inside is not None
    return ready or me.refused is not None or (other.one_sided and not me.heard)


def _malformed(error: MalformedError) -> Refuse:
    return refuse("handshake_too_large" if isinstance(error, TooLargeError) else "handshake_malformed", str(error))

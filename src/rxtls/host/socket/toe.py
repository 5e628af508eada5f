"""The second producer: a NIC with a TCP stack of its own (cxgbe) hands up whole records, decrypted.

    segments ──► NIC's TCP ──► record, all of it marked ──► TLS chain ──► worker: trim ──► socket

While earlier bytes are on the TLS chain a record goes behind them; otherwise upstream finishes it at once, and here the
worker does, which has nothing else to do. Header, explicit nonce and AEAD tag are there and mean nothing any more, as
in a record that an in-line engine decrypted. Follows dev/cxgbe/tom/t4_tls.c, as far as the socket layer sees of it.
"""

from __future__ import annotations

import errno

from rxtls.crypto.keys import Keys
from rxtls.errors import SocketError
from rxtls.host.direction import Direction
from rxtls.host.worker import APPLICATION_DATA, Session
from rxtls.offload.mbuf import Mbuf


def hand_up(direction: Direction, session: Session, type: int, payload: bytes) -> bool:  # noqa: A002
    """Append one record; whether nothing stands before it. Raises SocketError for keys that no device takes."""
    keys, sockbuf = session.keys, direction.sockbuf
    if not keys.stream:
        raise SocketError(errno.EPROTONOSUPPORT, f"no device decrypts {keys.suite.name}")
    record = _decrypted(keys, type, payload)
    direction.ledger.enter("byte", len(record))
    place = direction.reassembly.rcv_nxt
    if direction.mode != "toe":
        direction.epoch += 1
        session.begin_epoch(direction.epoch)
        direction.mode = "toe"
    behind = direction.reassembly.skip(len(record))
    no_frame = (len(record), 0, 0)  # none of a capture brought it
    sockbuf.append(Mbuf(place, record, direction.epoch, sockbuf.leaf, 0, [no_frame], -1, -1))
    alone = sockbuf.tlscc == len(record)
    direction.append(behind)
    return alone


def _decrypted(keys: Keys, type: int, payload: bytes) -> bytes:  # noqa: A002
    inner = payload + bytes([type]) if keys.tls13 else payload
    length = keys.explicit_length + len(inner) + keys.aead_tag_length
    outer = APPLICATION_DATA if keys.tls13 else type
    header = bytes([outer]) + keys.version.wire.to_bytes(2) + length.to_bytes(2) + bytes(keys.explicit_length)
    return header + inner + bytes(keys.aead_tag_length)

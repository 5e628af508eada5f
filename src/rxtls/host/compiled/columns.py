"""Delivered records as int64 columns: what a compiled host hands up instead of one object per record."""

from __future__ import annotations

from rxtls.events import RecordClass
from rxtls.native import Columns


class Delivered(Columns):
    """A delivered record."""

    FLOW = 0  # receive flow: 2 * connection + sender's side
    TYPE = 1  # content type, the inner one in TLS 1.3; 0 where the record failed
    NUMBER = 2
    CLASS = 3  # place in CLASSES below
    TCP_SEQ = 4  # of the record header
    WIRE_LENGTH = 5
    FRAME = 6  # that completed it
    TIME = 7
    COMPOSITION = 8  # stretches << 1 | the first is decrypted: "D" is 3, "E" 2, "DE" 5, "EDE" 6; 0: unknown
    CHUNK = 9  # where the plaintext lies in the arena; -1 where there is none
    AT = 10
    LENGTH = 11  # of the plaintext without inner type and padding
    POINT = 12  # place of the host point that delivered it
    RECRYPTED = 13  # bytes of it that were re-encrypted
    REPORT = 14  # what the worker has to tell the policy: NOTHING, REPORTED, SYNC_BACK below
    COLUMNS = 15


CLASSES = (
    RecordClass.DECRYPTED, RecordClass.MIXED, RecordClass.ENCRYPTED, RecordClass.FAILED, RecordClass.UNJUDGED,
)  # fmt: skip
DECRYPTED, MIXED, ENCRYPTED, FAILED, UNJUDGED = range(len(CLASSES))

NOTHING = 0
REPORTED = 1  # Report(TCP_SEQ, WIRE_LENGTH, NUMBER): this record was not decrypted by the device
SYNC_BACK = 2  # Report(TCP_SEQ + WIRE_LENGTH, 0, NUMBER): records arrive decrypted again


def spelt(composition: int) -> str:
    """The code in COMPOSITION as letters; 0 is "?"."""
    if not composition:
        return "?"
    pair = "DE" if composition & 1 else "ED"
    return (pair * (composition >> 1))[: composition >> 1]


def coded(letters: str) -> int:
    """The letters as a code."""
    return 0 if letters == "?" else len(letters) << 1 | letters.startswith("D")

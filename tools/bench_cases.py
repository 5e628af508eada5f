"""What `make bench` measures: traffic, cases and the goals that stand beside the figures. Values only.

Nothing here imports numpy or rxtls: the process that starts the contenders stays small, or its memory would count as
theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Self

Column = Literal[
    "ratio",
    "cost",
    "tshark",
    "connection",
    "start_up",
    "peak",
    "jobs",
    "writing",
    "page_size",
    "page_time",
    "holes",
    "late",
]


class Goal(NamedTuple):
    """A figure and the side of `limit` on which it should be."""

    column: Column
    relation: Literal["<=", ">="]
    limit: float

    def met(self, figure: float) -> bool:
        """Whether `figure` is where it should be."""
        return figure <= self.limit if self.relation == "<=" else figure >= self.limit


@dataclass(frozen=True, slots=True)
class Traffic:
    """Downloads over TCP, captured at the client.

    `suite` is IANA's code; TLS 1.3 where it exists there. `flows` connections, `abreast` at a time, packet by packet in
    turn, in records of `record` bytes. `loss` and `reorder` are shares of the server's packets. With `answer` the
    connections are short ones: a request of 100 bytes each, an answer of so many, and the close.
    """

    suite: int = 0x1301
    flows: int = 8
    abreast: int = 1
    record: int = 16384
    loss: float = 0.0
    reorder: float = 0.0
    answer: int = 0

    def __post_init__(self) -> None:
        if self.flows % self.abreast:
            raise ValueError("flows come in whole rounds")

    @classmethod
    def loaded(cls, values: dict[str, Any]) -> Self:
        """What `asdict` made."""
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Made:
    """A generated capture and what a replay of it must come to.

    `payload_frames` carry payload, in either direction. `records` and `app_bytes` are those under application keys and
    the application data in them; `sealed_bytes` is their size on the wire. `captured_bytes` are the frames' own.
    """

    capture: str
    keys: str
    frames: int
    payload_frames: int
    captured_bytes: int
    connections: int
    records: int
    app_bytes: int
    sealed_bytes: int


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table. Records are taken by the batch, or `each` for itself."""

    name: str
    title: str
    traffic: Traffic = field(default_factory=Traffic)
    profile: str = "connectx-6dx"
    each: bool = False
    goals: tuple[Goal, ...] = ()


BULK = Traffic()
INTERLEAVED = Traffic(flows=16, abreast=16)
SHORT = Traffic(flows=2000, abreast=8, record=4096, answer=4096)
MANY_RECORDS = Traffic(flows=32, abreast=4, record=300, loss=0.003, reorder=0.002)  # for a report
MANY_BYTES = 355_000_000  # captured: some 10^6 records
SHORT_FEW = 200  # connections of the small capture of that kind

CASES: tuple[Case, ...] = (
    Case(
        "bulk",
        "bulk, TLS 1.3 AES-128-GCM, in order",
        BULK,
        goals=(Goal("ratio", ">=", 0.60), Goal("cost", "<=", 150), Goal("tshark", ">=", 25)),
    ),
    Case("records", "the same, record by record", BULK, each=True),
    Case("software", "the same, software only", BULK, "none", goals=(Goal("ratio", ">=", 0.50),)),
    Case(
        "loss",
        "1 % loss",
        Traffic(loss=0.01),
        goals=(Goal("cost", "<=", 350), Goal("tshark", ">=", 20)),
    ),
    Case(
        "reorder",
        "1 % loss, 1 % reordering",
        Traffic(loss=0.01, reorder=0.01),
        goals=(Goal("cost", "<=", 450), Goal("tshark", ">=", 18)),
    ),
    Case("tls12", "TLS 1.2 AES-256-GCM", Traffic(suite=0xC030)),
    Case("chacha", "ChaCha20-Poly1305", Traffic(suite=0x1303), "ideal"),
    Case("interleaved", "16 flows, packet by packet", INTERLEAVED, goals=(Goal("cost", "<=", 250),)),
    Case("small", "records of 200 bytes", Traffic(record=200)),
    Case(
        "short",
        "2,000 short connections",
        SHORT,
        goals=(Goal("connection", "<=", 200), Goal("tshark", ">=", 4)),
    ),
)

START_UP = Goal("start_up", "<=", 0.7)  # seconds from the start of the process to the first record
PEAK = Goal("peak", "<=", 300)  # MB
JOBS = Goal("jobs", ">=", 1.6)  # times as fast with two
WRITING = Goal("writing", "<=", 15)  # % of replay's processor time for the tables
PAGE_SIZE = Goal("page_size", "<=", 10)  # MB
PAGE_TIME = Goal("page_time", "<=", 3)  # seconds until Chromium has drawn it
HOLES = Goal("holes", "<=", 1.3)  # times the seconds of the whole capture
HOLES_COUNT, HOLES_SIZE = 100, 200  # frames, and MB
LATE = Goal("late", "<=", 1)  # of the budget of work
LATE_SESSIONS, LATE_SIZE = 10_000, 10  # entries of the key log, and MB
JOBS_BYTES = 2_000_000_000  # and from so many bytes on that goal counts

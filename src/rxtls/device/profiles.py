"""NIC profiles as data: which suites a NIC takes, how it starts, how fast it answers, where it gives up.

A profile is everything the results may depend on besides the packets and the policy. Adding a NIC is one entry in
PROFILES, or a file of one's own (profile_file.py); `--set NAME=VALUE` overrides one field for one run, and every
field is printed in the JSON of a run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

from rxtls.crypto.keys import Keys
from rxtls.crypto.suites import Family, Version
from rxtls.device import profile_file
from rxtls.errors import UsageError


class Latency(NamedTuple):
    """{packets of the flow, microseconds of capture time}, whichever comes first."""

    packets: int
    microseconds: int

    def __str__(self) -> str:
        return f"{self.packets},{self.microseconds}us" if self.microseconds < NO_TIME else str(self.packets)


MANY = 1_048_576  # receive tags: more than any NIC has
NO_TIME = 1 << 50  # microseconds: 35 years
AT_ONCE = Latency(0, 0)
ONE_ROUND = Latency(8, 50)  # a work request on the receive queue and its completion


@dataclass(frozen=True, slots=True)
class Profile:
    """One NIC, and the driver's and host's numbers that go with it. The reason for each default stands beside it."""

    name: str
    ciphers: frozenset[Family]
    versions: frozenset[Version]
    commands: frozenset[str] = frozenset({"query", "confirm"})  # of query, confirm, guess, set_position
    budget: int = 64  # host point every n packets of a flow: a driver's poll loop (NAPI weight, mlx5 CQ budget)
    backlog: int = 0  # packets of a flow that wait in its socket buffer before the worker gets to them
    start: str = "programmed"  # "programmed": the first record's place is given at install; "search": it is searched
    install: Latency = AT_ONCE  # a late install finds no current length and has to search
    poll: Latency = ONE_ROUND  # query to snapshot
    confirm: Latency = ONE_ROUND  # host's answer to its effect
    search_after: int = 0  # bytes past the lost header before searching begins; upstream says one maximal record
    auth_failures: int = 3  # AEAD failures in a row before the engine stops: one is a bad packet, three a wrong key
    idle: int = 300  # seconds of capture time that end a connection: Linux conntrack's and most middleboxes' minutes
    max_flows: int = 1_048_576  # connections followed at once; about 2 GB of table at the bound
    hold: int = 64 << 20  # memory for what is held out of order, of one direction: what stacks let a receive buffer be
    hold_run: int = 128 << 20  # and of all together: shared
    keys_wait: int = 1 << 20  # bytes one direction waits for keys that a pipe has not brought yet
    handshake: int = 256 << 10  # handshake bytes of one connection: certificates of 100 KiB exist, 256 do not
    search: int = 2_000_000  # work for finding records, of one direction; a unit is about a microsecond
    max_receive_tags: int = MANY  # shared limit, off by default
    max_flow_rules: int = MANY  # in each of the tables for IPv4 and IPv6: shared, off by default (mlx5: 65535)
    command_queue: int = 0  # commands under way at once, over all receive tags: shared; 0 is unlimited
    context_cache: int = 0  # receive tags in NIC memory at once; 0 is unlimited. A miss costs time, never a verdict

    def takes(self, keys: Keys) -> bool:
        """Whether this NIC can decrypt records under these keys."""
        return keys.stream and keys.suite.family in self.ciphers and keys.version in self.versions

    @property
    def shares(self) -> bool:
        """Whether connections may take something from each other, so that the order of their frames matters."""
        return min(self.max_receive_tags, self.max_flow_rules) < MANY or bool(self.command_queue)

    def printed(self) -> dict[str, object]:
        """Every number, as JSON shows it."""
        shown: dict[str, object] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Latency):
                value = str(value)
            elif isinstance(value, frozenset):
                value = sorted(str(getattr(item, "name", item)) for item in value)
            shown[field.name] = value
        return shown


_BOTH = frozenset({Version.TLS12, Version.TLS13})

PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        # NVIDIA ConnectX-6 Dx: AES-GCM 128/256, TLS 1.2 and 1.3. Its completions flag the packet in which it began to
        # track, which Linux acts on and FreeBSD does not.
        Profile("connectx-6dx", frozenset({Family.AES_GCM}), _BOTH, commands=frozenset({"query", "confirm", "guess"})),
        # NVIDIA ConnectX-7: the same drivers (mlx5 en_accel, mlx5_en_hw_tls_rx.c) drive it by the same commands, with
        # the same suites. Nothing is known here by which it would differ.
        Profile("connectx-7", frozenset({Family.AES_GCM}), _BOTH, commands=frozenset({"query", "confirm", "guess"})),
        # A NIC that takes whatever streams, and knows every command a policy may want.
        Profile(
            "ideal",
            frozenset({Family.AES_GCM, Family.CHACHA20_POLY1305}),
            _BOTH,
            commands=frozenset({"query", "confirm", "guess", "set_position"}),
        ),
        # No inline crypto at all: software kTLS.
        Profile("none", frozenset(), frozenset(), commands=frozenset()),
    )
}

_LATENCY = re.compile(r"(\d{1,9})(?:,(\d{1,12})us)?", re.ASCII)
_FIXED = {"name", "ciphers", "versions", "commands"}


def profile(name: str, settings: dict[str, str] | None = None) -> Profile:
    """The profile `name`, or that in the TOML file of this name, with `settings` (field -> text) applied. UsageError
    names what does not exist or fit."""
    if name in PROFILES:
        chosen = PROFILES[name]
    elif profile_file.is_file(name):
        chosen = Profile(**profile_file.read(name, _value, settable()))
    else:
        raise UsageError(f"no profile {name!r}; there are {', '.join(PROFILES)}, and files: NAME.toml")
    for field_name, text in (settings or {}).items():
        if field_name not in settable():
            raise UsageError(f"no setting {field_name!r}; there are {', '.join(sorted(settable()))}")
        chosen = replace(chosen, **{field_name: _value(field_name, text)})  # type: ignore[arg-type]
    return chosen


def as_toml(chosen: Profile) -> str:
    """A file that `profile` reads as `chosen`."""
    return profile_file.written(chosen.printed(), f"The NIC profile {chosen.name}")


def settable() -> frozenset[str]:
    """The names that `profile` takes settings for."""
    return frozenset(field.name for field in fields(Profile)) - _FIXED


def _value(name: str, text: str) -> int | str | Latency:
    if name == "start":
        if text not in ("programmed", "search"):
            raise UsageError(f"start is 'programmed' or 'search', not {text!r}")
        return text
    if name in ("install", "poll", "confirm"):
        match = _LATENCY.fullmatch(text)
        if not match:
            raise UsageError(f"{name} is PACKETS,MICROSECONDSus (for example 8,200us), not {text!r}")
        # Packets alone: no time bound that could come first.
        return Latency(int(match[1]), int(match[2]) if match[2] else NO_TIME)
    least = 0 if name in ("backlog", "search_after", "context_cache", "command_queue") else 1
    if not text.isascii() or not text.isdigit() or len(text) > 15 or int(text) < least:
        raise UsageError(f"{name} is a whole number from {least}, not {text!r}")
    return int(text)

"""The compiled host against the plain one, on the same packets: whoever serves a direction when, nothing is different.

A case is a stream of sealed records, cut into packets that are marked, lost, repeated, reordered and overlapped at
random, and grouped into host points.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_pair import Case, compare, on_device
from rxtls.crypto.keys import Keys
from rxtls.crypto.records import Sealer
from rxtls.crypto.schedule import tls13_keys, tls13_next_secret
from rxtls.crypto.suites import Version
from rxtls.intake.batch import ACK, END, FIN, PSH, RST, SYN
from rxtls.offload.compiled.arena import LARGE
from rxtls.offload.mbuf import WIRE, Mbuf
from rxtls.seq import MASK, add
from sample_keys import STREAMED, made_up, shape_name
from sample_mbufs import mbuf

KEY_UPDATE = bytes([24, 0, 0, 1, 0])


# Cases made at random.


def stream(random: Random, keys: Keys, secret: bytes | None, number: int) -> tuple[bytes, bytes, bytes]:
    """Records in a row, as on the wire and as two devices hand them on: one rightly, one with a wrong number."""
    wire, right, wrong = bytearray(), bytearray(), bytearray()
    trouble = random.random() < 0.3
    for _ in range(random.randint(1, 12)):
        if random.random() < 0.1:
            length = random.choice([3000, 16384])
        else:
            length = random.choice([0, 1, 2, 15, 16, 17, 100, random.randint(0, 400)])
        kind = random.choice([23] * 12 + [22, 21, 20])
        payload, following = made_up(length, f"payload {length}"), None
        if secret and random.random() < 0.05:
            kind, payload, following = 22, KEY_UPDATE, tls13_next_secret(keys.suite, secret)
        if trouble and random.random() < 0.04:
            kind, payload = 21, b"\1\0"  # close_notify
        padding = 0
        if keys.version is Version.TLS13:
            padding = random.choice([0, 0, 0, 1, 40]) if length < 16000 else 0
            if trouble and random.random() < 0.05:
                kind, payload = 0, bytes(length)  # no content type at all
        sealed = bytearray(Sealer(keys).seal(number, kind, payload, padding))
        if trouble and random.random() < 0.1:
            sealed[random.randrange(keys.header_length, len(sealed))] ^= 1 << random.randrange(8)
        if trouble and random.random() < 0.05:
            total = random.randint(keys.header_length, keys.min_total - 1)  # EMSGSIZE, dropped alone
            sealed = sealed[:3] + (total - 5).to_bytes(2) + made_up(total - 5, "short")
        if trouble and random.random() < 0.02:
            sealed[random.randrange(5)] ^= 0x40  # fatal
        wire += sealed
        right += on_device(keys, number, bytes(sealed))
        wrong += on_device(keys, number + 1, bytes(sealed))
        number += 1
        if following:
            secret, number = following, 0
            keys = tls13_keys(keys.suite, secret)
    return bytes(wire), bytes(right), bytes(wrong)


def packets(random: Random, copies: tuple[bytes, bytes, bytes], isn: int) -> list[Mbuf]:
    """The stream in packets, most of them in order, all of it in the end."""
    wire, right, wrong = copies
    length = len(wire)
    mss = random.choice([size for size in (1, 7, 40, 300, 1448) if length < 400 * size])
    loss, again, late = (random.choice([0, 0, 0.05, 0.3]) for _ in range(3))
    plan: list[tuple[int, int]] = []
    later: list[tuple[int, tuple[int, int]]] = []
    at = 0
    while at < length:
        for due in [each for each in later if each[0] <= len(plan)]:
            later.remove(due)
            plan.append(due[1])
        end = min(length, at + random.choice([mss, mss, mss, random.randint(1, mss)]))
        if random.random() < loss:
            start = max(0, at - random.choice([0, 0, random.randint(0, mss)]))
            stop = min(length, end + random.choice([0, 0, random.randint(0, 2 * mss)]))
            later.append((len(plan) + random.randint(1, 12), (start, stop)))
        elif random.random() < late:
            later.append((len(plan) + random.randint(1, 3), (at, end)))
        else:
            plan.append((at, end))
        if random.random() < again:
            start = random.randint(0, end)
            plan.append((start, min(length, start + random.randint(1, 2 * mss))))
        at = end
    plan += [each for _, each in later if random.random() < 0.9]
    marked = random.choice([0, 0.5, 0.9, 0.99, 1])
    mistaken = random.choice([0, 0, 0.02])
    windowed = random.choice([0, 0, 0, 0.1])
    epochs = random.choice([[1]] * 5 + [[1, 2], [1, 2, 9]])
    moving = random.choice([0, 0, 0.05])
    acking = random.random() < 0.7
    told_from = random.choice([0, 0, 10, len(plan)])  # from here on the window is known
    mark, leaf, time_ns, front, known = 1, 0, 1 << 40, 0, 0
    out = []
    for frame, (start, end) in enumerate(plan):
        time_ns += random.choice([1000, 1000, 1000, 1000, 0, 11_000_000_000 if random.random() < 0.05 else 5])
        if random.random() < 0.1:
            mark = random.choice(epochs)
        if random.random() < moving:
            leaf = 1 - leaf
        own = mark if random.random() < marked else WIRE
        if random.random() < mistaken:
            right, wrong = wrong, right
        source = wire if own == WIRE else right
        front = max(front, end) if random.random() < 0.5 else front
        known = max(known, front if random.random() < 0.1 else min(start, front))
        acked = add(isn, known) if acking else -1
        edge = -1
        if acked >= 0 and frame >= told_from:
            edge = add(isn, end + (random.randint(-30, 10) if random.random() < windowed else 4000))
        flags = ACK | (PSH if random.random() < 0.2 else 0)
        if random.random() < 0.003:
            flags |= random.choice([FIN, RST, SYN])
        out.append(
            mbuf(add(isn, start), source[start:end], own, leaf=leaf, flags=flags, frame=7 * frame, time_ns=time_ns,
                 acked=acked, edge=edge)
        )  # fmt: skip
    if random.random() < 0.2:
        out.append(mbuf(add(isn, length), flags=ACK | FIN, frame=7 * len(plan), time_ns=time_ns))
        out.append(mbuf(0, flags=END, frame=7 * len(plan), time_ns=time_ns))
    return out


def random_case(random: Random, keys: Keys) -> Case:
    number = random.choice([0, 0, 5, 2**32 - 1, random.choice([2**62 - 3, 2**62])])
    secret = None
    if keys.version is Version.TLS13 and number == 0:
        secret = made_up(48 if keys.suite.prf_hash == "sha384" else 32, "secret")
        keys = tls13_keys(keys.suite, secret)
    isn = random.choice([MASK - 700, 1000, MASK - 5, (1 << 31) - 300])
    case = Case(keys, number, random.choice([1000, 10_000, 1 << 22]), secret, software=random.random() < 0.2)
    copies = stream(random, keys, secret, number)
    coming = packets(random, copies, isn)
    # One byte comes first, so that receive is enabled, and an epoch begun, before there are marks.
    case.batches.append([[mbuf(add(isn, -1), flags=SYN), mbuf(isn, copies[0][:1])]])
    sizes = random.choice([[1], [1, 2, 5], [8, 64], [1000]])
    while coming:
        groups = []
        for _ in range(random.choice([1, 1, 2, 4])):
            size = random.choice(sizes)
            if coming:
                groups.append(coming[:size])
                coming = coming[size:]
        case.batches.append(groups)
    if random.random() < 0.3:
        end = len(copies[0])
        case.losses = {n: add(isn, random.randint(0, end)) for n in range(len(case.batches)) if random.random() < 0.1}
    case.slips = {n for n in range(len(case.batches)) if random.random() < random.choice([0, 0, 0.05])}
    return case


@pytest.mark.parametrize("keys", STREAMED, ids=shape_name)
@settings(max_examples=30)
@given(seed=st.integers(0, 1 << 32))
def test_nobody_can_tell_who_served(keys: Keys, seed: int) -> None:
    random = Random(seed)
    case = random_case(random, keys)
    often = random.choice([0.02, 0.02, 0.3])
    compare(
        case,
        lambda: random.random() < often,
        random.choice([1, 3000, 65535]),
        random.choice([3000, 20_000, LARGE]),
        random.choice([1, 64]),
    )

"""One point of a study: simulate its flows, walk them, and count what arrived at the clients."""

from __future__ import annotations

from collections import Counter

from rxtls.events import RecordClass
from rxtls.path.receive import PathOptions, ReceivePath
from rxtls.simulation.link import interleave
from rxtls.simulation.simulate import one_flow
from rxtls.study.cost import predict
from rxtls.study.plan import Point
from rxtls.wire.keylog import KeyLog

COUNTS = ("lost", "regained", "polls", "confirms", "positions", "confirmed", "stale", "false_anchors")
Row = dict[str, int | float | str]


def run_point(point: Point) -> Row:
    """What came of it: records and bytes by class, resynchronisation, what the link did, the shares in percent, and
    the throughput with offload against software as the cost model predicts it.

    Flows go through the path one after the other, as they do not depend on each other; so memory is one flow's.
    """
    sums: Counter[str] = Counter()
    for n in range(point.knobs.flows):
        frames, keylog, counts = one_flow(point.knobs, n)
        sums.update({f"link_{name}": each for name, each in counts.items()})
        keys = KeyLog()
        keys.add(keylog.encode(), "simulated")
        path = ReceivePath(keys, PathOptions(profile=point.nic, policy=point.policy))
        path.take(list(enumerate(interleave([frames], 0))))
        path.take_last()
        for flow in path.flows.values():
            for side, direction in enumerate(flow.directions):
                if flow.receiver(side) != "client":
                    continue
                tally = direction.tally
                for kind in (RecordClass.DECRYPTED, RecordClass.MIXED, RecordClass.ENCRYPTED, RecordClass.FAILED):
                    sums[f"records_{kind}"] += tally.records[kind]
                    sums[f"bytes_{kind}"] += tally.bytes[kind]
                sums["bytes_recrypted"] += tally.recrypted
                sums["app_bytes"] += tally.app_bytes
                sums["out_of_sync_bytes"] += tally.out_of_sync_bytes
                sums["out_of_sync_ns"] += tally.out_of_sync_ns
                for name in COUNTS:
                    sums[name] += getattr(tally, name)
    row: Row = dict(sorted(sums.items()))
    whole = sum(sums[f"records_{kind}"] for kind in ("decrypted", "mixed", "encrypted"))
    for name, of in (("entirely", "decrypted"), ("partially", "mixed"), ("not", "encrypted")):
        row[name] = round(100 * sums[f"records_{of}"] / max(1, whole), 4)
    costs = predict(Counter({name.replace("_", ".", 1): n for name, n in sums.items()}))
    row["throughput_ratio"] = round(costs.ratio, 6)
    return row

"""What a run came to, by the names that upstream's sysctls and drivers have, and in Prometheus' text format.

    Counts     packets by verdict, seconds by tracker state, confirm latency: summed over a watching run's batches
    upstream   summary (and Counts) ──► {"kern.ipc.tls.stats.offload_total": 2, ...}: names of counters.UPSTREAM
    exposed    the same and our own, per direction, as text for a scrape or a textfile collector

Most follows from the JSON; only what it has no room for is counted here. A counter that upstream increments and that
this model has no cause for is left out rather than shown as zero: names, and what each means, are in counters.py.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from prometheus_client.utils import floatToGoString

from rxtls.counters import GAUGES, OURS, UPSTREAM
from rxtls.driver import trace
from rxtls.driver.trace import VERDICTS, HostAction
from rxtls.events import RecordClass
from rxtls.offload.commands import Happening
from rxtls.path.records import Records
from rxtls.run.replay import Replay

# Tracker state behind each event, as far as the device's log tells it.
_STATE = {
    Happening.INSTALLED: "offload",
    Happening.RESUMED: "offload",
    Happening.LOST: "searching",
    Happening.FALSE_ANCHOR: "searching",
    Happening.ANCHORED: "tracking",
    Happening.CONFIRMED: "confirmed",
    Happening.STOPPED: "stopped",
    HostAction.RELEASE: None,
}
# Verdicts of segments that the engine needed a context for.
_WITH_CONTEXT = [trace.DECRYPTED, trace.PASSED, trace.SEARCHES, trace.TRACKS]
# Ends of a connection, as the JSON has them, at which TCP has not ended.
_OPEN = ("open", "close_notify")
STATES = ("offload", "searching", "tracking", "confirmed", "stopped")


class Counts:
    """Of `run`, by receive flow; `take` each batch, `finish` at the end."""

    def __init__(self, run: Replay) -> None:
        self._run = run
        self.packets: Counter[tuple[int, str]] = Counter()
        self.state_ns: Counter[tuple[int, str]] = Counter()
        self.errors: Counter[int] = Counter()  # packets in which a record did not authenticate
        self.confirms: Counter[int] = Counter()
        self.confirm_ns: Counter[int] = Counter()  # from the anchor to the confirm's effect
        self.context_hits = self.context_misses = 0
        self._cached: OrderedDict[int, None] = OrderedDict()  # receive flows whose context is in the NIC's memory
        self._since: dict[int, tuple[str, int]] = {}
        self._anchored: dict[int, int] = {}
        self._erred: dict[int, int] = {}  # the frame of the latest such packet
        self._latest: dict[int, int] = {}

    def take(self, records: Records) -> None:
        """One batch."""
        seen = records.trace
        if seen is None:
            return
        segments = seen.segments
        if len(segments):
            pairs, counts = np.unique(segments[:, [trace.FLOW, trace.VERDICT]], axis=0, return_counts=True)
            for (flow, verdict), count in zip(pairs.tolist(), counts.tolist(), strict=True):
                self.packets[flow, VERDICTS[verdict]] += count
            flows, which = np.unique(segments[:, trace.FLOW], return_inverse=True)
            latest = np.full(len(flows), np.iinfo(np.int64).min)
            np.maximum.at(latest, which, segments[:, trace.TIME])
            self._latest.update(zip(flows.tolist(), latest.tolist(), strict=True))
        if self._run.profile.context_cache:
            self._fetch(segments)
        for event in seen.events:
            self._hear(event.flow, event.what, event.time_ns)
            if event.what is Happening.AUTH_FAILED and self._erred.get(event.flow) != event.frame:
                self._erred[event.flow] = event.frame
                self.errors[event.flow] += 1

    def finish(self) -> None:
        """The run is over: states last until the direction's last packet. What arrived where the JSON says nothing of
        it (--receiver) is not counted."""
        for flow in list(self._since):
            self._turn(flow, None, self._latest.get(flow, self._since[flow][1]))
        for flow, verdict in list(self.packets):
            if not self._modelled(flow):
                del self.packets[flow, verdict]
        for flow, state in list(self.state_ns):
            if not self._modelled(flow):
                del self.state_ns[flow, state]
        for counts in (self.errors, self.confirms, self.confirm_ns):
            for flow in list(counts):
                if not self._modelled(flow):
                    del counts[flow]

    def _fetch(self, segments: npt.NDArray[np.int64]) -> None:
        """The NIC's memory holds so many contexts, and lets go of the one it has not needed for longest."""
        room, cached = self._run.profile.context_cache, self._cached
        met = segments[np.isin(segments[:, trace.VERDICT], _WITH_CONTEXT)]
        for flow in met[:, trace.FLOW].tolist():
            if flow in cached:
                self.context_hits += 1
            else:
                self.context_misses += 1
                if len(cached) == room:
                    cached.popitem(last=False)
            cached[flow] = None
            cached.move_to_end(flow)

    def _modelled(self, flow: int) -> bool:
        """Whether what arrives there is in the JSON."""
        known = self._run.path.flows.get(flow >> 1)
        return known is None or self._run.models(known, flow & 1)

    def whose(self, flow: int) -> tuple[str, str]:
        """The labels of a receive flow: connection and receiver."""
        return str(flow >> 1), self._run.path.flows[flow >> 1].receiver(flow & 1)

    def _hear(self, flow: int, what: Happening | HostAction, time_ns: int) -> None:
        if what is Happening.ANCHORED:
            self._anchored[flow] = time_ns
        if what is Happening.CONFIRMED and flow in self._anchored:
            self.confirms[flow] += 1
            self.confirm_ns[flow] += time_ns - self._anchored.pop(flow)
        if what in _STATE:
            self._turn(flow, _STATE[what], time_ns)

    def _turn(self, flow: int, state: str | None, time_ns: int) -> None:
        if flow in self._since:
            before, since = self._since.pop(flow)
            self.state_ns[flow, before] += max(0, time_ns - since)
        if state is not None:
            self._since[flow] = state, time_ns


def upstream(summary: dict[str, Any], counts: Counts | None = None) -> dict[str, int]:
    """Upstream's counters of a run, in the order of counters.UPSTREAM. The driver's packets need `counts`."""
    found: Counter[str] = Counter(dict.fromkeys(GAUGES, 0))
    tls, driver = "kern.ipc.tls", "dev.mce.0.tls_rx.stats"
    for flow in summary["flows"]:
        for received in flow["receive"].values():
            if received is None or received["offload"] is None:
                continue
            resync = received["resync"]
            found[f"{tls}.stats.enable_calls"] += 1
            found[f"{tls}.stats.offload_total"] += 1
            crypto = received["crypto"]
            found[f"{tls}.stats.failed_crypto"] += crypto["discarded"]
            dropped = received["why"]["code"] == "header_error"
            found[f"{tls}.stats.corrupted_records"] += dropped
            cipher = _ocf(flow["tls"], flow["suite"])
            if flow["end"] in _OPEN and not dropped:  # tcp_drop has closed the session
                found[f"{tls}.stats.active"] += 1
                found[f"{tls}.{received['offload']}.{cipher.partition('_')[2]}"] += 1
            found[f"{tls}.stats.ocf.{cipher}_decrypts"] += crypto["decrypts"]
            found[f"{tls}.stats.ocf.{cipher}_recrypts"] += crypto["recrypts"]
            found[f"{tls}.ifnet.reset"] += resync["receive_tag_resets"]
            found[f"{tls}.ifnet.reset_failed"] += resync["receive_tag_resets_failed"]
            found[f"{driver}.rx_resync_ok"] += resync["polls"]
            found[f"{driver}.rx_resync_err"] += resync["polls_refused"]
            found[f"{driver}.rx_error"] += resync["errors"]
    if counts:
        ok = sum(packets for (_, verdict), packets in counts.packets.items() if verdict == "decrypted")
        found["dev.mce.0.rx.decrypted_ok_packets"] = ok
        found["dev.mce.0.rx.decrypted_error_packets"] = sum(counts.errors.values())
    return {name: found[name] for name in UPSTREAM if name in found}


def exposed(summary: dict[str, Any], counts: Counts | None = None) -> Iterator[str]:
    """Prometheus' text format, line by line, as the client library would write it. That makes objects of all samples,
    and one text of these: 2.3 GB for 60,000 connections."""
    for kind in ("frame", "byte", "record"):
        yield from _metric(f"rxtls_{kind}_fates", ("fate",), _fates(summary, kind))
    yield from _metric("rxtls_balance", (), [((), summary["balance"])], "gauge")
    yield from _directions(summary)
    if counts:
        yield from _watched(counts)
    for name, value in upstream(summary, counts).items():
        kind = "gauge" if name in GAUGES else "counter"
        yield from _lines(name.replace(".", "_"), UPSTREAM[name], (), [((), value)], kind)


# Values of the labels, and the sample's.
_Sample = tuple[tuple[str, ...], float]


def _metric(name: str, labels: tuple[str, ...], samples: Iterable[_Sample], kind: str = "counter") -> Iterator[str]:
    return _lines(name, OURS[name], labels, samples, kind)


def _lines(name: str, text: str, labels: tuple[str, ...], samples: Iterable[_Sample], kind: str) -> Iterator[str]:
    """A metric of ours or upstream's. No label's value has anything in it that would have to be escaped."""
    name = name.removesuffix("_total") + "_total" if kind == "counter" else name
    yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
    shown = ",".join(f'{label}="{{{labels.index(label)}}}"' for label in sorted(labels))
    line = f"{name}{{{{{shown}}}}}" if labels else name
    for values, n in samples:
        yield f"{line.format(*values)} {floatToGoString(n)}\n"  # type: ignore[no-untyped-call]


def _fates(summary: dict[str, Any], kind: str) -> Iterator[_Sample]:
    for name, n in summary["fates"].items():
        if name.startswith(f"{kind}."):
            yield (name.partition(".")[2],), n


def _directions(summary: dict[str, Any]) -> Iterator[str]:
    def each() -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
        for flow in summary["flows"]:
            for receiver, received in flow["receive"].items():
                if received is not None:
                    yield (str(flow["id"]), receiver, received["vantage"]), received

    def group(name: str) -> Iterator[_Sample]:
        return (((*whose, what), n) for whose, received in each() for what, n in received[name].items())

    labels = "flow", "receiver", "vantage"
    classes = {each.value for each in RecordClass}
    size = (sample for sample in group("bytes") if sample[0][-1] in classes)
    resync = (sample for sample in group("resync") if isinstance(sample[1], int))
    yield from _metric("rxtls_records", (*labels, "class"), group("records"))
    yield from _metric("rxtls_record_bytes", (*labels, "class"), size)
    again = ((whose, received["bytes"]["recrypted"]) for whose, received in each())
    yield from _metric("rxtls_recrypted_bytes", labels, again)
    yield from _metric("rxtls_app_bytes", labels, ((whose, received["app_bytes"]) for whose, received in each()))
    yield from _metric("rxtls_resync", (*labels, "what"), resync)
    yield from _metric("rxtls_driver", ("what",), (((name,), n) for name, n in summary["driver"].items()))


def _watched(counts: Counts) -> Iterator[str]:
    def each(numbers: Mapping[tuple[int, str], int], unit: float = 1) -> Iterator[_Sample]:
        return (((*counts.whose(flow), what), n / unit) for (flow, what), n in sorted(numbers.items()))

    labels = "flow", "receiver"
    yield from _metric("rxtls_packets", (*labels, "verdict"), each(counts.packets))
    yield from _metric("rxtls_tracker_seconds", (*labels, "state"), each(counts.state_ns, 1e9))
    reached = sorted(counts.confirms.items())
    yield from _metric("rxtls_confirms_reached", labels, ((counts.whose(flow), n) for flow, n in reached))
    latency = ((counts.whose(flow), counts.confirm_ns[flow] / 1e9) for flow, _ in reached)
    yield from _metric("rxtls_confirm_seconds", labels, latency)
    fetched = {"hit": counts.context_hits, "miss": counts.context_misses}
    samples = (((name,), n) for name, n in fetched.items()) if any(fetched.values()) else ()
    yield from _metric("rxtls_context_fetches", ("result",), samples)


def _ocf(tls: str, suite: str) -> str:
    """The cipher's name in kern.ipc.tls.stats.ocf. CBC has one for 1.1 and 1.2; CCM is ours."""
    if "_CBC_" in suite:
        return "tls11_cbc"
    family = "gcm" if "_GCM_" in suite else "chacha20" if "CHACHA20" in suite else "ccm"
    return f"tls{tls.replace('.', '')}_{family}"

"""Counters by upstream's names and for Prometheus: every one adds up with what the run says elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import typer.testing
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

import replays
from replays import CHACHA13, GCM12
from rxtls.cli.app import app
from rxtls.counters import FATES, GAUGES, OURS, UPSTREAM
from rxtls.crypto.suites import SUITES, Version
from rxtls.driver import trace
from rxtls.driver.trace import VERDICTS, Event, HostAction
from rxtls.offload.commands import Happening
from rxtls.run.options import ReplayOptions
from rxtls.run.replay import Replay
from rxtls.simulation.link import Connection, Impairment
from rxtls.simulation.synth import Session
from rxtls.study.metrics import Counts, exposed, upstream

CBC12 = Session(SUITES[0xC013], Version.TLS12)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def ran(
    tmp_path: Path, engine: str = "auto", loss: float = 0.02, **options: object
) -> tuple[dict[str, object], Counts, Samples]:
    talk = replays.begin(4)
    talk.request([b"please"], [bytes([n]) * 5000 for n in range(200)])
    talked = replays.carry(talk, Connection(), 4, Impairment(loss=loss))
    capture, keys = replays.pcap(tmp_path, talked.frames), replays.keys(tmp_path, talked)
    return watched(Replay([capture], [keys], ReplayOptions(watch="frames", engine=engine, **options)))  # type: ignore[arg-type]


def watched(run: Replay, happened: Counter[tuple[int, str]] | None = None) -> tuple[Any, Counts, Samples]:
    """A run to its end; how often what happened to each receive flow."""
    counts = Counts(run)
    for batch in run.batches():
        counts.take(batch)
        if happened is not None and batch.trace is not None:
            happened.update((event.flow, event.what) for event in batch.trace.events)
    counts.finish()
    summary = run.summary()
    return summary, counts, parsed("".join(exposed(summary, counts)))


def parsed(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(samples: Samples, name: str, **labels: str) -> float:
    return sum(
        value
        for (each, own), value in samples.items()
        if each == f"{name}_total" and labels.items() <= dict(own).items()
    )


@pytest.mark.parametrize("engine", ["plain", "compiled"])
def test_everything_adds_up_with_the_json(tmp_path: Path, engine: str) -> None:
    summary, counts, samples = ran(tmp_path, engine)
    received = summary["flows"][0]["receive"]["client"]  # type: ignore[index]
    for name, n in received["records"].items():
        assert of(samples, "rxtls_records", receiver="client", **{"class": name}) == n
        assert of(samples, "rxtls_record_bytes", receiver="client", **{"class": name}) == received["bytes"][name]
    for name in ("lost", "polls", "confirmed", "regained", "false_anchors"):
        assert of(samples, "rxtls_resync", receiver="client", what=name) == received["resync"][name]
    totals = summary["totals"]["receiver"]  # type: ignore[index]
    for name, n in totals["records"].items():
        assert of(samples, "rxtls_records", vantage="receiver", **{"class": name}) == n
    assert of(samples, "rxtls_app_bytes", vantage="receiver") == totals["app_bytes"] > 0
    assert of(samples, "rxtls_confirms_reached", receiver="client") == received["resync"]["confirmed"] > 0
    assert of(samples, "rxtls_confirm_seconds", receiver="client") > 0
    # Every segment that entered a flow has a verdict; and the two frames of a handshake carry none.
    fates = summary["fates"]
    assert of(samples, "rxtls_packets") == fates["frame.segment"]  # type: ignore[index]
    assert of(samples, "rxtls_packets", verdict="decrypted") > 100
    assert samples["rxtls_balance", ()] == 0
    for name, n in fates.items():  # type: ignore[attr-defined]
        kind, _, fate = name.partition(".")
        assert of(samples, f"rxtls_{kind}_fates", fate=fate) == n
    assert sum(counts.packets.values()) == of(samples, "rxtls_packets")


def test_both_engines_count_alike(tmp_path: Path) -> None:
    plain, compiled = (ran(tmp_path, engine)[2] for engine in ("plain", "compiled"))
    assert plain == compiled


def test_trial_c2_metrics_are_written_as_they_are_made(tmp_path: Path) -> None:
    """All connections as objects, and then in one text, took 2.3 GB for 60,000 of them."""
    summary, counts, samples = ran(tmp_path)
    lines = list(exposed(summary, counts))
    assert max(map(len, lines)) < 500
    assert len(lines) > len(samples) > 50


class Again(Collector):
    """What a text says, given to the client library."""

    def __init__(self, text: str) -> None:
        self._text = text

    def collect(self) -> Iterable[Metric]:
        return text_string_to_metric_families(self._text)


@pytest.mark.parametrize("loss", [0.0, 0.02])
def test_the_client_library_writes_the_same(tmp_path: Path, loss: float) -> None:
    summary, counts, _ = ran(tmp_path, loss=loss)
    for text in ("".join(exposed(summary)), "".join(exposed(summary, counts))):
        registry = CollectorRegistry()
        registry.register(Again(text))
        assert text.splitlines() == generate_latest(registry).decode().splitlines()


def test_upstream_s_names(tmp_path: Path) -> None:
    summary, counts, samples = ran(tmp_path)
    found = upstream(summary, counts)
    flow = summary["flows"][0]  # type: ignore[index]
    both = list(flow["receive"].values())
    assert found["kern.ipc.tls.stats.offload_total"] == 2
    assert found["dev.mce.0.tls_rx.stats.rx_resync_ok"] == sum(each["resync"]["polls"] for each in both)
    mixed = sum(each["records"]["mixed"] for each in both)
    opened = mixed + sum(each["records"]["encrypted"] for each in both)
    # A mixed record counts one recrypt and one decrypt.
    assert found["kern.ipc.tls.stats.ocf.tls13_gcm_recrypts"] == mixed > 0
    assert found["kern.ipc.tls.stats.ocf.tls13_gcm_decrypts"] == opened
    assert found["dev.mce.0.rx.decrypted_ok_packets"] == of(samples, "rxtls_packets", verdict="decrypted")
    for name, n in found.items():
        shown = name.replace(".", "_")
        assert (samples[shown, ()] if name in GAUGES else of(samples, shown.removesuffix("_total"))) == n


@pytest.mark.parametrize(
    ("profile", "session"), [("none", GCM12), ("connectx-6dx", GCM12), ("ideal", CHACHA13), ("ideal", CBC12)]
)
@pytest.mark.parametrize("closed", [False, True])
def test_gauges_say_what_stood_when_the_input_ended(
    tmp_path: Path, profile: str, session: Session, closed: bool
) -> None:
    """active, and one for each mode and cipher; what is over counts in none."""
    talked = replays.download(4, session=session, closed=closed, end="fin" if closed else "open")
    run = replays.replay(replays.pcap(tmp_path, talked.frames), replays.keys(tmp_path, talked), profile=profile)
    found = upstream(run.summary)
    cipher = {GCM12: "gcm", CHACHA13: "chacha20", CBC12: "cbc"}[session]
    modes = [received["offload"] for received in run.flow()["receive"].values()]
    assert len(modes) == 2
    wanted = dict.fromkeys(GAUGES, 0)
    if not closed:
        wanted["kern.ipc.tls.stats.active"] = 2
        for mode in modes:
            wanted[f"kern.ipc.tls.{mode}.{cipher}"] += 1
    assert {name: found[name] for name in GAUGES} == wanted
    text = "".join(exposed(run.summary))
    for name, n in wanted.items():
        assert f"# TYPE {name.replace('.', '_')} gauge" in text
        assert f"{name.replace('.', '_')} {n:.1f}" in text


def test_every_name_has_its_sentence_and_every_sentence_a_name(tmp_path: Path) -> None:
    _, _, samples = ran(tmp_path)
    names = {name.removesuffix("_total") for name, _ in samples if not name.endswith("_created")}
    ours = {name for name in names if name.startswith("rxtls_")}
    assert ours | {"rxtls_context_fetches"} == set(OURS)  # that one only with context_cache
    assert names - ours <= {name.replace(".", "_").removesuffix("_total") for name in UPSTREAM}
    done = typer.testing.CliRunner().invoke(app, ["counters"])
    for table in (FATES, UPSTREAM, OURS):
        for name, sentence in table.items():
            assert any(line.split() == [name, *sentence.split()] for line in done.output.splitlines()), name


def test_states_last_from_event_to_event_and_confirms_are_counted_from_their_anchor(tmp_path: Path) -> None:
    run = Replay([replays.pcap(tmp_path, [])], [], ReplayOptions())
    counts = Counts(run)

    def happens(what: Happening | HostAction, at: int) -> None:
        counts._hear(5, Event(5, what, 0, at, None, None, 1).what, at)

    for what, at in (
        (Happening.INSTALLED, 100),
        (Happening.LOST, 150),
        (Happening.ANCHORED, 180),
        (Happening.FALSE_ANCHOR, 190),
        (Happening.ANCHORED, 195),
        (HostAction.QUERY, 196),
        (Happening.CONFIRMED, 215),
        (Happening.RESUMED, 220),
        (HostAction.RELEASE, 300),
        (HostAction.QUERY, 400),
    ):
        happens(what, at)
    counts.finish()
    assert dict(counts.state_ns) == {
        (5, "offload"): 50 + 80,
        (5, "searching"): 30 + 5,
        (5, "tracking"): 10 + 20,
        (5, "confirmed"): 5,
    }
    assert (counts.confirms[5], counts.confirm_ns[5]) == (1, 20)


def test_contexts_that_the_nic_s_memory_has_no_room_for_are_fetched(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "many-tls13-aes128gcm"
    fetched = {}
    for room in (0, 1, 4, 1000):
        options = ReplayOptions(watch="frames", settings={"context_cache": str(room)})
        run = Replay([f"{example}.pcap"], [f"{example}.keys"], options)
        counts, order = Counts(run), []
        for batch in run.batches():
            counts.take(batch)
            assert batch.trace is not None
            order += [
                int(row[trace.FLOW])
                for row in batch.trace.segments
                if VERDICTS[row[trace.VERDICT]] in ("decrypted", "passed", "searching", "tracking")
            ]
        fetched[room] = counts.context_misses
        # The slow, obvious way: a list, the one used last at its end.
        held: list[int] = []
        misses = 0
        for flow in order:
            misses += flow not in held
            held = [each for each in held if each != flow] + [flow]
            held = held[-room:]
        if room:
            assert (counts.context_misses, counts.context_hits) == (misses, len(order) - misses)
    assert fetched[0] == 0
    assert fetched[1] > fetched[4] > fetched[1000] > 0


KTLS, MLX5 = "kern.ipc.tls", "dev.mce.0"


def test_trial_a9_a_mixed_record_that_does_not_open_was_re_encrypted_and_decrypted(tmp_path: Path) -> None:
    """Upstream counts what it tries, whatever comes of it."""
    failed_mixed = 0
    for engine in ("plain", "compiled"):
        for seed in range(6):
            talked = replays.download(seed, (9000,) * 60, down=Impairment(loss=0.03, corrupt=0.03))
            capture, keys = replays.pcap(tmp_path, talked.frames), replays.keys(tmp_path, talked)
            done = replays.replay(capture, keys, checksum="ignore", engine=engine)
            each = [received for flow in done.summary["flows"] for received in flow["receive"].values()]
            found = upstream(done.summary)
            compositions = Counter[str]()
            for received in each:
                compositions.update(received["compositions"])
            mixed = sum(n for letters, n in compositions.items() if len(letters) > 1)
            assert found[f"{KTLS}.stats.ocf.tls13_gcm_recrypts"] == mixed
            assert found[f"{KTLS}.stats.ocf.tls13_gcm_decrypts"] == mixed + compositions["E"]
            assert found[f"{KTLS}.stats.failed_crypto"] == sum(received["records"]["failed"] for received in each)
            failed_mixed += mixed - sum(received["records"]["mixed"] for received in each)
    assert failed_mixed > 0


@pytest.mark.parametrize("setting", ["max_flow_rules", "command_queue"])
def test_trial_a9_rx_error_counts_receive_tags_that_could_not_be_had(tmp_path: Path, setting: str) -> None:
    talked = [replays.download(n, client=replays.client_at(40_000 + n)) for n in range(3)]
    frames = sorted((frame for each in talked for frame in each.frames), key=lambda frame: frame.time_ns)
    capture = replays.pcap(tmp_path, replays.one_after_another(frames))
    log = replays.keys(tmp_path, *talked)
    settings = {setting: "1", "install": "20"}
    counted = {}
    for receiver in ("both", "client", "server"):
        done = replays.replay(capture, log, settings=settings, receiver=receiver)
        counted[receiver] = upstream(done.summary)[f"{MLX5}.tls_rx.stats.rx_error"]
        refused = [
            received["why"]["code"]
            for flow in done.summary["flows"]
            for received in flow["receive"].values()
            if received
        ]
        assert counted[receiver] == refused.count("no_flow_rule") + refused.count("command_queue")
    assert counted["both"] == counted["client"] + counted["server"] > 0


def test_trial_a9_packets_with_a_record_that_does_not_authenticate_on_the_nic_are_counted(tmp_path: Path) -> None:
    talked = replays.download(3, (9000,) * 60, down=Impairment(corrupt=0.03))
    capture, keys = replays.pcap(tmp_path, talked.frames), replays.keys(tmp_path, talked)
    told = []
    for engine in ("plain", "compiled"):
        _, counts, samples = watched(
            Replay([capture], [keys], ReplayOptions(watch="frames", engine=engine, checksum="ignore"))
        )
        errors = of(samples, "dev_mce_0_rx_decrypted_error_packets")
        assert errors > 0
        assert errors == sum(counts.errors.values())
        told.append(errors)
    assert told[0] == told[1]


@pytest.mark.parametrize("engine", ["plain", "compiled"])
@pytest.mark.parametrize("receiver", ["both", "client", "server"])
def test_sums_hold(tmp_path: Path, engine: str, receiver: str) -> None:
    """Whatever happens to a run: nothing of one receiver stands beside what is of all."""
    for seed in range(4):
        dice = Random(seed)
        talked = [
            replays.download(
                10 * seed + n,
                [dice.randrange(1, 12_000) for _ in range(60)],
                dice.choice([replays.GCM13, GCM12]),
                Impairment(loss=0.02, corrupt=0.01, duplicate=0.02, reorder=0.02),
                closed=dice.random() < 0.5,
                end=dice.choice(["fin", "open"]),
                client=replays.client_at(40_000 + n),
            )
            for n in range(3)
        ]
        frames = sorted((frame for each in talked for frame in each.frames), key=lambda frame: frame.time_ns)
        settings = {"command_queue": dice.choice(["0", "1", "2"]), "max_flow_rules": dice.choice(["2", "9"])}
        options = ReplayOptions(
            watch="frames",
            engine=engine,
            receiver=receiver,
            settings=settings,
            checksum=dice.choice(["auto", "ignore"]),
        )
        run = Replay(
            [replays.pcap(tmp_path, replays.one_after_another(frames))], [replays.keys(tmp_path, *talked)], options
        )
        happened: Counter[tuple[int, str]] = Counter()
        summary, counts, samples = watched(run, happened)
        assert {label for (name, labels) in samples for key, label in labels if key == "receiver"} <= {
            "both": {"client", "server"}
        }.get(receiver, {receiver})
        found = upstream(summary, counts)
        each = {
            2 * number + (name == "client") ^ flow.client_side: received
            for number, flow in run.path.flows.items()
            for name, received in next(f for f in summary["flows"] if f["id"] == number)["receive"].items()
            if received is not None
        }
        for flow_id, received in each.items():
            resync, records = received["resync"], received["records"]
            told = Counter({what: n for (of_flow, what), n in happened.items() if of_flow == flow_id})
            assert told[HostAction.INSTALL] == told[HostAction.RELEASE]  # all ended with the input
            assert told[HostAction.QUERY] == resync["polls"] >= told[HostAction.ANSWER]
            assert told[HostAction.CONFIRM] == resync["confirms"] >= resync["confirmed"] + resync["stale"]
            assert told[Happening.LOST] == resync["lost"] + resync["lost_in_gaps"]
            assert resync["regained"] <= resync["lost"]
            kernel = sum(records[name] for name in ("decrypted", "mixed", "encrypted", "unjudged", "failed"))
            crypto = received["crypto"]
            assert records["mixed"] <= crypto["recrypts"] <= crypto["decrypts"] <= kernel - records["decrypted"]
            assert crypto["discarded"] <= records["failed"]
        assert run.path.receive_tags == 0
        totals = [each_one["resync"] for each_one in each.values()]
        for name, key in (("resync_ok", "polls"), ("resync_err", "polls_refused"), ("error", "errors")):
            assert found[f"{MLX5}.tls_rx.stats.rx_{name}"] == sum(resync[key] for resync in totals)
        if receiver == "both":
            for name in ("rx_resync_ok", "rx_resync_err", "rx_error"):
                assert found[f"{MLX5}.tls_rx.stats.{name}"] == summary["driver"].get(name, 0)
        assert found[f"{MLX5}.rx.decrypted_ok_packets"] == of(samples, "rxtls_packets", verdict="decrypted")


def test_trial_a9_a_connection_that_a_fatal_header_ended_is_not_active(tmp_path: Path) -> None:
    """tcp_drop: the socket, and with it the session, is gone."""
    talked = replays.download(4, (4000,) * 20, closed=False, end="open")
    header = b"\x17\x03\x03"
    at = [n for n, f in enumerate(talked.frames) if replays.from_server(f) and header in replays.payload(f)][8]
    body = replays.payload(talked.frames[at]).replace(header, b"\x17\x05\x03")
    talked.frames[at] = replays.remade(talked.frames[at], body=body)
    done = replays.replay(replays.pcap(tmp_path, talked.frames), replays.keys(tmp_path, talked))
    assert done.received()["why"]["code"] == "header_error"
    found = upstream(done.summary)
    assert found[f"{KTLS}.stats.active"] == 1
    assert sum(found[name] for name in GAUGES) == 2


def test_the_option(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "clean-tls13-aes128gcm"
    target = tmp_path / "metrics.prom"
    arguments = ["replay", f"{example}.pcap", "--keys", f"{example}.keys", "--metrics", str(target), "--quiet"]
    done = typer.testing.CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    samples = parsed(target.read_text())
    assert of(samples, "rxtls_records", receiver="server", **{"class": "decrypted"}) > 100
    done = typer.testing.CliRunner().invoke(app, [*arguments[:-2], str(tmp_path / "no" / "such.prom"), "--quiet"])
    assert done.exit_code != 0

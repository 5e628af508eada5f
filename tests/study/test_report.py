"""The report as a file: its numbers, its bounds, and that nothing in it can run or fetch. test_page.py opens it."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import replays
import rxtls
from reports import HOSTILE, hostile, kept
from rxtls.errors import UsageError
from rxtls.run.options import OutputOptions
from rxtls.simulation.link import Impairment
from rxtls.study import report_data as making
from rxtls.study.outputs import Outputs
from rxtls.study.report import read_comparison, report_html, write_report
from rxtls.study.report_data import outages, report_data
from rxtls.study.run import Run

LOSSY = Path(__file__).parents[2] / "examples" / "loss-reorder-tls13-aes256gcm"


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return kept(tmp_path_factory.mktemp("lossy"), f"{LOSSY}.pcap", f"{LOSSY}.keys")


class Page(HTMLParser):
    """What a browser makes of a page: its elements with attributes, and what stands in script and style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag
        if tag in self.inside:
            self.inside[tag].append("")

    def handle_data(self, data: str) -> None:
        if self._open in self.inside:
            self.inside[self._open][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


def test_the_numbers_are_those_of_the_summary(lossy: Run) -> None:
    data = report_data(lossy)
    received = lossy.summary["flows"][0]["receive"]["server"]
    assert data["totals"]["records"] == received["records"]
    assert data["totals"]["bytes"] == received["bytes"]
    assert data["totals"]["resync"] == received["resync"]
    shares = {name: sum(octets) for name, octets in data["shares"]["bytes"].items()}
    assert shares == {name: n for name, n in received["bytes"].items() if n and name != "recrypted"}
    view = data["views"][0]
    assert (view["flow"], view["receiver"]) == (0, "server")
    assert view["direction"] == received
    assert view["segments"]["of"] == len(view["segments"]["start"]) == 2773
    assert view["records"]["of"] == len(view["records"]["start"]) == 249
    events = [row[1] for row in view["events"]["rows"]]
    assert events.count("lost") == received["resync"]["lost"] == 6
    html = report_html(data)
    cells = re.findall(r'</svg>(\w+)</td><td class="n">([\d,]+)</td><td class="n">([\d,]+)</td>', html)
    assert {name: int(n.replace(",", "")) for name, n, _ in cells} == received["records"]
    assert {name: int(n.replace(",", "")) for name, _, n in cells}.items() <= received["bytes"].items()
    assert json.loads(Page(html).inside["script"][0]) == json.loads(json.dumps(data))


def test_segments_and_records_lie_on_one_another(lossy: Run) -> None:
    """Both count from the direction's first record."""
    view = report_data(lossy)["views"][0]

    def ends(columns: dict[str, Any]) -> tuple[int, int]:
        at, low, high = 0, 1 << 60, 0
        for step, length in zip(columns["low"], columns["length"], strict=True):
            at += step
            low, high = min(low, at), max(high, at + length)
        return low, high

    assert ends(view["segments"])[0] == ends(view["records"])[0] == 0
    assert ends(view["records"])[1] == 4_006_011
    assert ends(view["segments"])[1] >= 4_006_011


def test_outages_are_what_the_run_counted(lossy: Run) -> None:
    """Capture time out of sync, as the summary has it, is the sum of all outages."""
    found = outages(lossy)
    told = lossy.summary["flows"][0]["receive"]["server"]["resync"]["out_of_sync_seconds"]
    assert int((found["until"] - found["since"]).sum()) / 1e9 == pytest.approx(told, abs=1e-6)
    data = report_data(lossy)["outages"]
    assert sum(data["counts"]) == data["n"] == found.height


def test_holes_are_where_something_was_missing(lossy: Run) -> None:
    holes = report_data(lossy)["views"][0]["holes"]
    assert holes["of"] == len(holes["until"]) > 20
    at, low = 0, 0
    for step, until in zip(holes["start"], holes["until"], strict=True):
        at += step
        assert until == -1 or until > at
    assert all(length > 0 for length in holes["length"])
    assert low == 0


def test_without_frames_records_are_shown(lossy: Run, tmp_path: Path) -> None:
    run = kept(tmp_path, f"{LOSSY}.pcap", f"{LOSSY}.keys", watch="events")
    view = report_data(run)["views"][0]
    assert view["segments"] is None
    told = report_data(lossy)["views"][0]["records"]
    for columns in (view["records"], told):  # reports count from the first thing that there is
        del columns["start"][0]
    assert view["records"] == told


def test_a_large_run_is_thinned(lossy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "PIECES", 200)
    monkeypatch.setattr(making, "EVENTS", 20)
    monkeypatch.setattr(making, "HOLES", 10)
    monkeypatch.setattr(making, "ROWS", 1)
    data = report_data(lossy)
    view = data["views"][0]
    for columns, n in ((view["segments"], 2773), (view["records"], 249)):
        assert columns["of"] == n == sum(columns["count"] or [])
        assert len(columns["start"]) <= 200
    assert (view["events"]["of"], len(view["events"]["rows"]) <= 20) == (view["events"]["of"], True)
    assert len(view["holes"]["until"]) <= 10 < view["holes"]["of"]
    assert (len(data["flows"]["rows"]), data["flows"]["of"]) == (1, 2)


def test_hostile_names_are_text(tmp_path: Path) -> None:
    capture, keys = hostile(tmp_path)
    run = kept(tmp_path / "out", capture, keys)
    assert run.summary["flows"][0]["sni"] == HOSTILE
    html = report_html(report_data(run))
    page = Page(html)
    assert [attributes.get("type") for tag, attributes in page.elements if tag == "script"] == [
        "application/json",
        None,
    ]
    assert "img" not in {tag for tag, _ in page.elements}
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert json.loads(page.inside["script"][0])["views"][0]["sni"] == HOSTILE
    assert "<b onload" not in html
    assert HOSTILE not in html


def test_nothing_in_it_can_fetch_or_run(lossy: Run) -> None:
    """The policy allows the two inline blocks by digest; no element names an address; no style or handler is inline."""
    html = report_html(report_data(lossy))
    page = Page(html)
    policies = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    script, style = page.inside["script"][1], page.inside["style"][0]
    digests = ["sha256-" + b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in (script, style)]
    assert policies == [
        f"default-src 'none'; script-src '{digests[0]}'; style-src '{digests[1]}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    ]
    for _, attributes in page.elements:
        assert "style" not in attributes
        for name in ("src", "href", "action", "data", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:,"))
    assert not re.search(r"https?://(?!github\.com/leeoniya|www\.w3\.org/2000/svg)", html)
    assert "url(" not in style
    assert not re.search(
        r"\b(fetch|XMLHttpRequest|WebSocket|eval|innerHTML|insertAdjacentHTML|document\.write)\b", script
    )


def test_secrets_are_not_in_it(tmp_path: Path) -> None:
    talked = replays.download(3, (700,) * 9, down=Impairment(loss=0.05))
    keys = Path(replays.keys(tmp_path, talked))
    html = report_html(report_data(kept(tmp_path / "out", replays.pcap(tmp_path, talked.frames), str(keys))))
    secrets = [field for line in keys.read_text().splitlines() for field in line.split()[2:]]
    assert len(secrets) > 3
    assert not any(secret in html for secret in secrets)
    plaintext = talked.wanted("client")
    assert plaintext[:24].hex() not in html
    assert b64encode(plaintext)[:24].decode() not in html


def test_gaps_and_errors_are_told(tmp_path: Path) -> None:
    talked = replays.download(4, (9000,) * 30)
    carrying = [n for n, frame in enumerate(talked.frames) if len(frame.data) > 1000]
    cut = [frame for n, frame in enumerate(talked.frames) if n not in carrying[60:64]]
    capture = replays.pcap(tmp_path, cut)
    Path(capture).write_bytes(Path(capture).read_bytes()[:-7])
    data = report_data(kept(tmp_path / "out", capture, replays.keys(tmp_path, talked)))
    assert any("the capture lacks" in note for note in data["notes"])
    assert len(data["errors"]) == 1
    html = report_html(data)
    assert 'class="notes errors"' in html
    assert "made.pcap: " in html


def test_runs_without_anything(tmp_path: Path) -> None:
    for frames in ([], replays.download(4).frames):
        run = kept(tmp_path / "out", replays.pcap(tmp_path, frames))
        html = report_html(report_data(run))
        assert "Nothing was decrypted" in html
        assert "No direction lost sync." in html


def policies() -> dict[str, Any]:
    return {
        "profile": "ideal",
        "same_plaintext": True,
        "policies": [
            {
                "policy": name,
                "records": {"decrypted": n, "mixed": 2, "encrypted": 3},
                "resync": {"lost": 4, "regained": 4, "out_of_sync_bytes": 5000},
                "commands": 1234,
                "host_bytes": 10_000 * n,
            }
            for n, name in ((1, "<one>"), (2, "other"))
        ],
    }


def test_policies_are_compared_when_given(lossy: Run, tmp_path: Path) -> None:
    assert "Policies compared" not in report_html(report_data(lossy))
    (tmp_path / "compared.json").write_text(json.dumps(policies()))
    html = report_html(report_data(lossy, read_comparison(tmp_path / "compared.json")))
    assert "Policies compared" in html
    assert "<td>&lt;one&gt;</td>" in html
    assert "1,234" in html
    assert 'width="85.0"' in html
    assert 'width="170.0"' in html
    assert "Every policy brought out the same plaintext." in html


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "No such file"),
        ("{", "is not JSON"),
        ("[]", "is not what rxtls compare"),
        ('{"policies": [{}]}', "is not"),
    ],
)
def test_what_is_no_comparison(content: str | None, cause: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "compared.json").write_text(content)
    with pytest.raises(UsageError, match=f"compared.json: {cause}"):
        read_comparison(tmp_path / "compared.json")


def test_a_report_without_a_folder_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    with Outputs(OutputOptions(report=str(tmp_path / "report.html"))) as outputs:
        run = rxtls.replay(f"{LOSSY}.pcap", f"{LOSSY}.keys", watch=outputs.watch)
        assert outputs.walk(run) == run.summary()
        assert len(list((tmp_path / "tmp").iterdir())) == 1
    assert list((tmp_path / "tmp").iterdir()) == []
    assert "29 % of 4.0 MB" in (tmp_path / "report.html").read_text()


def test_the_order_that_was_asked_for_is_the_report_s_too(lossy: Run, tmp_path: Path) -> None:
    with Outputs(OutputOptions(report=str(tmp_path / "report.html")), sort="lost") as outputs:
        outputs.walk(rxtls.replay(f"{LOSSY}.pcap", f"{LOSSY}.keys", watch=outputs.watch))
    assert '"sort":"lost"' in (tmp_path / "report.html").read_text()
    assert report_data(lossy, None, None)["flows"]["sort"] is None


def test_the_same_run_gives_the_same_report(lossy: Run, tmp_path: Path) -> None:
    write_report(lossy, tmp_path / "one.html")
    write_report(rxtls.open(lossy.directory), tmp_path / "other.html")
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "other.html").read_bytes()
    with pytest.raises(UsageError, match="nowhere"):
        write_report(lossy, tmp_path / "nowhere" / "report.html")


def test_views_are_of_what_lost_most_and_carried_most() -> None:
    flows = pl.DataFrame(
        {
            "flow": range(100), "receiver": ["client"] * 100, "lost": [n if n > 97 else 0 for n in range(100)],
            **{f"bytes_{name}": [n == 50 for n in range(100)] for name in making.CLASSES[1:]},
            "bytes_decrypted": list(range(100)),
        }
    )  # fmt: skip
    chosen = making._chosen(flows.with_columns(pl.selectors.boolean().cast(pl.Int64)), [], making.VIEWS)
    assert chosen[:4] == [(99, "client"), (98, "client"), (97, "client"), (96, "client")]
    assert len(chosen) == making.VIEWS


def test_the_bounds_are_those_of_the_document() -> None:
    text = " ".join((Path(__file__).parents[2] / "docs" / "report.md").read_text().split())
    for told in (
        f"Up to {making.VIEWS} directions", f"at most {making.PIECES:,} segments", f"{making.EVENTS:,} events and",
        f"and {making.HOLES:,} holes", f"has {making.ROWS:,} directions",
    ):  # fmt: skip
        assert told in text

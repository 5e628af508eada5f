"""report.html: a run on one page that can be sent. It loads nothing, and runs nothing but its own script.

    report_data.py decides what is shown ─► this file: numbers, notes, small drawings as HTML ─► one file
                                        └─► JSON in the page ─► assets/report.js draws on uPlot's canvas

Everything that came out of a capture is hostile until escaped: in HTML by `escape`, in the JSON by `<` as an escape of
JSON's own, in the script by textContent. Behind that stands a Content-Security-Policy which allows the two inline
blocks by their digests and nothing else, so that even a mistake here could neither run nor fetch.
"""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from rxtls.errors import UsageError
from rxtls.study.report_data import CLASSES, VIEWS, report_data
from rxtls.study.run import Run
from rxtls.study.verdict import many, percent, rests_on, size
from rxtls.system.files import Output, utf8
from rxtls.version import __version__

_KEYED = ("decrypted", "mixed", "encrypted", "failed", "unjudged", "unknown")
_WIDTH = 1000


def write_report(
    run: Run,
    path: str | os.PathLike[str],
    comparison: dict[str, Any] | None = None,
    sort: str | None = None,
    top: int = VIEWS,
) -> None:
    """The report of `run` as one HTML file. `comparison` is what `rxtls compare --json` wrote. With `sort` (ranking.py)
    flows stand in that order, and the first `top` show their packets. Raises UsageError."""
    with Output(path) as output:
        output.write(report_page(run, comparison, sort, top))


def report_page(run: Run, comparison: dict[str, Any] | None = None, sort: str | None = None, top: int = VIEWS) -> bytes:
    """The same as bytes."""
    return utf8(report_html(report_data(run, comparison, sort, top)))


def report_html(data: dict[str, Any]) -> str:
    """What report_data.py gives, as a page."""
    script = _asset("uplot.min.js") + "\n" + _asset("report.js")
    style = _asset("uplot.min.css") + "\n" + _asset("report.css")
    title = ", ".join(data["captures"][:3]) + (" and more" if len(data["captures"]) > 3 else "")
    return Template(_asset("report.html")).substitute(
        title=escape(f"{title}: rxtls"),
        version=escape(__version__),
        answer=escape(data["answer"]),
        facts="".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in data["facts"]),
        errors=_list(data["errors"], "notes errors"),
        notes=_list(data["notes"], "notes"),
        bar=_bar(data["totals"]["bytes"]),
        cards=_cards(data),
        classes=_classes(data["totals"]),
        vantage=escape(f"Totals are of {rests_on(**data['base'])}."),
        outages=_outages(data["outages"], data["totals"]["resync"]),
        comparison=_comparison(data),
        comparison_link='<a href="#policies">policies</a>' if data["comparison"] else "",
        fates=_rows((name, n, _Wrap(sentence)) for name, n, sentence in data["fates"]),
        settings=_rows((name, _Wrap(_shown(value))) for name, value in data["settings"].items()),
        # No "</script" or "<!--" can stand in it then; JSON knows the escape.
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
        script=script,
        style=style,
        script_digest=_digest(script),
        style_digest=_digest(style),
    )


def read_comparison(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `rxtls compare --json` wrote to a file. UsageError if that is not what it is."""
    try:
        with open(path, encoding="utf-8") as file:
            comparison: dict[str, Any] = json.load(file)
        for each in comparison["policies"]:
            _policy_row(each, 1)
        _compared(comparison)
    except (OSError, ValueError) as failure:
        cause = failure.strerror if isinstance(failure, OSError) else "is not JSON"
        raise UsageError(f"{os.fspath(path)}: {cause}") from None
    except (KeyError, TypeError, AttributeError):
        raise UsageError(f"{os.fspath(path)}: is not what rxtls compare --json writes") from None
    return comparison


class _Wrap(str):
    """Text that may take several lines in its cell."""


def _cards(data: dict[str, Any]) -> str:
    totals, cost = data["totals"], data["cost"]
    resync, records = totals["resync"], totals["records"]
    opened = sum(records[name] for name in _KEYED)
    cards = [
        (percent(cost["nic"], cost["software"]), "of bytes decrypted by the NIC"),
        (percent(cost["host"], cost["software"]), f"of software's crypto left to the host: {size(cost['host'])}"),
        (f"{records['decrypted']:,} / {opened:,}", "records decrypted in full by the NIC"),
        _counted(resync.get("lost", 0), "time out of sync", "times out of sync", resync.get("regained", 0), "regained"),
        _counted(
            resync.get("polls", 0), "query by the host", "queries by the host", resync.get("confirmed", 0), "confirmed"
        ),
    ]
    return "".join(f'<div class="card"><b>{escape(n)}</b><span>{escape(text)}</span></div>' for n, text in cards)


def _counted(n: int, one: str, more: str, of: int, what: str) -> tuple[str, str]:
    return f"{n:,}", f"{one if n == 1 else more}, {of:,} {what}"


def _classes(totals: dict[str, Any]) -> str:
    octets = sum(totals["bytes"][name] for name in _KEYED)
    rows = []
    for name in CLASSES:
        share = percent(totals["bytes"][name], octets) if octets and name in _KEYED else ""
        swatch = f'<svg class="swatch" aria-hidden="true"><rect class="{name}" width="11" height="11"/></svg>'
        rows.append(
            f'<tr><td>{swatch}{name}</td><td class="n">{totals["records"][name]:,}</td>'
            f'<td class="n">{totals["bytes"][name]:,}</td><td class="n">{share}</td></tr>'
        )
    recrypted = totals["bytes"]["recrypted"]
    rows.append(f'<tr><td>re-encrypted by the host</td><td></td><td class="n">{recrypted:,}</td><td></td></tr>')
    return "".join(rows)


def _bar(octets: dict[str, int]) -> str:
    """One bar, divided by class."""
    whole = sum(octets[name] for name in _KEYED)
    if not whole:
        return ""
    at, parts = 0.0, []
    for name in _KEYED:
        width = _WIDTH * octets[name] / whole
        if width:
            title = escape(f"{name}: {percent(octets[name], whole)}, {octets[name]:,} bytes")
            parts.append(
                f'<rect class="{name}" x="{at:.2f}" width="{width:.2f}" height="26"><title>{title}</title></rect>'
            )
        at += width
    said = escape(", ".join(f"{name} {percent(octets[name], whole)}" for name in _KEYED if octets[name]))
    return (
        f'<svg role="img" aria-label="bytes by class: {said}" viewBox="0 0 {_WIDTH} 26" width="100%" height="26" '
        f'preserveAspectRatio="none">{"".join(parts)}</svg>'
    )


def _outages(outages: dict[str, Any], resync: dict[str, int]) -> str:
    if not outages["n"]:
        lost = resync.get("lost", 0)
        return f'<p class="say">{"No direction lost sync." if not lost else "No loss of sync came to its end."}</p>'
    median, ninety, most = (_microseconds(each) for each in outages["quantiles"])
    losses = many(resync.get("lost", 0), "loss", "losses")
    said = (
        f"{many(outages['n'], 'outage')} came of {losses} of sync, each until the NIC decrypted again or the receive "
        f"tag was gone: half took up to {median}, nine in ten up to {ninety}, the longest {most}. "
        "Who is lost once more before that is still in the same outage; one that never ended is not counted."
    )
    counts, edges = outages["counts"], outages["edges"]
    used = [n for n, count in enumerate(counts) if count]
    shown = range(max(0, used[0] - 1), min(len(counts), used[-1] + 2))
    highest, step = max(counts), min(90.0, _WIDTH / len(shown))
    parts = []
    for place, n in enumerate(shown):
        height = 110 * counts[n] / highest
        upto = _microseconds(edges[n]) if n < len(edges) else "more"
        since = _microseconds(edges[n - 1]) if n else "0"
        x = place * step
        title = escape(f"{counts[n]:,} from {since} to {upto}")
        parts.append(
            f'<g><title>{title}</title><rect class="bar" x="{x + 3:.1f}" y="{130 - height:.1f}" width="{step - 6:.1f}" '
            f'height="{height:.1f}"/><text x="{x + step / 2:.1f}" y="{124 - height:.1f}" text-anchor="middle">'
            f'{counts[n] or ""}</text><text class="faint" x="{x + step:.1f}" y="148" text-anchor="middle">'
            f"{escape(upto)}</text></g>"
        )
    width = step * len(shown) + 40
    return (
        f'<p class="say">{escape(said)}</p><div class="scroll"><svg role="img" aria-label="durations of outages" '
        f'viewBox="0 0 {width:.0f} 154" width="{width:.0f}" height="154">{"".join(parts)}</svg></div>'
    )


def _comparison(data: dict[str, Any]) -> str:
    comparison = data["comparison"]
    if not comparison or not comparison["policies"]:
        return ""
    most = max(1, *(each["host_bytes"] for each in comparison["policies"]))
    rows = "".join(_policy_row(each, most) for each in comparison["policies"])
    heads = ("decrypted", "mixed", "encrypted", "lost", "regained", "commands", "out of sync")
    head = "".join(f'<th class="n" scope="col">{name}</th>' for name in heads)
    same = {True: "Every policy brought out the same plaintext.", False: "Plaintexts DIFFER.", None: ""}
    said = (
        f"The same packets through the same NIC ({comparison.get('profile', '')}), by resynchronisation policy: "
        f"{_compared(comparison)}. {_other_base(data, comparison)}{same[comparison.get('same_plaintext')]}"
    )
    return (
        f'<section id="policies"><h2>Policies compared</h2><p class="say">{escape(said)}</p>'
        f'<div class="scroll"><table><thead><tr><th scope="col">policy</th>{head}<th scope="col">crypto left to the '
        f"host</th></tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _compared(comparison: dict[str, Any]) -> str:
    """The base of a comparison. Before schema 2 it added all up."""
    base = comparison.get("base")
    return rests_on(**base) if base else "all directions, wherever they were seen"


def _other_base(data: dict[str, Any], comparison: dict[str, Any]) -> str:
    """A sentence, if the comparison is not of what the page's totals are of."""
    captures = [os.path.basename(str(name)) for name in comparison.get("captures", ())]
    others = [
        what
        for what, same in (
            ("other captures", captures == data["captures"]),
            ("other directions or keys", comparison.get("base") == data["base"]),
            (f"another NIC (here {data['profile']})", comparison.get("profile") == data["profile"]),
        )
        if not same
    ]
    return f"This is not what the totals of this page are of: {', '.join(others)}. " if others else ""


def _policy_row(each: dict[str, Any], most: int) -> str:
    records, resync, host = each["records"], each["resync"], int(each["host_bytes"])
    cells = [
        *(f"{records[name]:,}" for name in ("decrypted", "mixed", "encrypted")),
        *(f"{resync[name]:,}" for name in ("lost", "regained")),
        f"{each['commands']:,}",
        size(int(resync.get("out_of_sync_bytes", 0))),
    ]
    bar = f'<rect class="bar" width="{170 * host / most:.1f}" height="12"/>'
    bar = f'<svg width="170" height="12" aria-hidden="true">{bar}</svg>'
    numbers = "".join(f'<td class="n">{escape(cell)}</td>' for cell in cells)
    return f"<tr><td>{escape(str(each['policy']))}</td>{numbers}<td>{bar} {size(host)}</td></tr>"


def _list(lines: Sequence[str], classes: str) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="{classes}">{items}</ul>' if items else ""


def _rows(rows: Iterable[tuple[Any, ...]]) -> str:
    return "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f'<td class="n">{value:,}</td>'
    return f"<td{' class=wrap' if isinstance(value, _Wrap) else ''}>{escape(str(value))}</td>"


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _microseconds(n: float) -> str:
    for unit, factor in (("s", 1e6), ("ms", 1e3)):
        if n >= factor:
            return f"{n / factor:.3g} {unit}"
    return f"{n:.3g} us"


def _asset(name: str) -> str:
    return files("rxtls.study").joinpath("assets", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()

"""What looking at a run costs, for `make bench`: jobs of bench_run.py, each in a process of its own.

`written` walks a capture bare, with its tables written, and with those of frames as well: processor seconds of each.
`page` makes the report of a capture. `opened` opens it in headless Chromium: from asking for it to all of it drawn.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from bench_contenders import chromium

from rxtls.run.options import OutputOptions, ReplayOptions
from rxtls.run.replay import Replay
from rxtls.study.outputs import Outputs
from rxtls.study.report import write_report
from rxtls.study.run import Run

Answer = dict[str, Any]

OPENINGS = 3


def written(capture: str, keys: str, options: Answer) -> Answer:
    """Processor seconds of three walks, and how many records there were."""
    answer: Answer = {}
    with tempfile.TemporaryDirectory(prefix="rxtls-bench-") as folder:
        walks = ("warm", folder, True), ("bare", None, False), ("tables", folder, False), ("frames", folder, True)
        for name, out, frames in walks:
            with Outputs(OutputOptions(out=out, frames=frames)) as outputs:
                run = Replay([capture], [keys], ReplayOptions(watch=outputs.watch, **options))
                started = time.process_time()
                summary = outputs.walk(run)
                answer[name] = time.process_time() - started
    return {**answer, "records": _records(summary)}


def page(capture: str, keys: str, options: Answer, html: str) -> Answer:
    """Make a report: seconds from the run's folder to the page, its bytes, and the records that it is about."""
    with tempfile.TemporaryDirectory(prefix="rxtls-bench-") as folder:
        with Outputs(OutputOptions(out=folder, frames=True)) as outputs:
            summary = outputs.walk(Replay([capture], [keys], ReplayOptions(watch=outputs.watch, **options)))
        started = time.perf_counter()
        write_report(Run(folder), html)
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "bytes": Path(html).stat().st_size, "records": _records(summary)}


def opened(html: str) -> Answer:
    """Seconds from asking Chromium for the page to the second frame after its script has run; the best of some."""
    from playwright.sync_api import sync_playwright

    seconds = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for _ in range(OPENINGS):
            tab = browser.new_page()
            started = time.perf_counter()
            tab.goto(Path(html).as_uri())
            tab.wait_for_selector("html[data-ready=yes]")
            tab.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            seconds.append(time.perf_counter() - started)
            tab.close()
        browser.close()
    return {"seconds": min(seconds)}


def _records(summary: dict[str, Any]) -> int:
    received = [each for flow in summary["flows"] for each in flow["receive"].values()]
    return sum(sum(each["records"].values()) for each in received)

"""Screenshots of the report that `make demo` writes, for the documents: python tools/screenshots.py [FOLDER]

tests/study/test_page.py takes the same ones, so what the documents show is what was tested. Needs playwright and a
Chromium (RXTLS_CHROMIUM, or one on the path).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from bench_contenders import chromium

from rxtls.run.options import OutputOptions, ReplayOptions
from rxtls.run.replay import Replay
from rxtls.study.outputs import Outputs

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "images"
EXAMPLE = ROOT / "examples" / "loss-reorder-tls13-aes256gcm"

SHOTS: dict[str, dict[str, Any]] = {  # by name: how the browser is made
    "report": {"viewport": {"width": 1180, "height": 1240}, "color_scheme": "light"},
    "report-loss": {"viewport": {"width": 1180, "height": 760}, "color_scheme": "dark"},
    "report-phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "is_mobile": True},
}


def report(folder: Path) -> Path:
    """The report of `make demo`, made in `folder`."""
    page = folder / "report.html"
    with Outputs(OutputOptions(report=str(page))) as outputs:
        options = ReplayOptions(watch=outputs.watch)
        outputs.walk(Replay([f"{EXAMPLE}.pcap"], [f"{EXAMPLE}.keys"], options))
    return page


def shoot(browser: Any, page: Path, folder: Path) -> list[str]:
    """Take all SHOTS of a report into `folder`; what the console said meanwhile."""
    said: list[str] = []
    for name, made in SHOTS.items():
        context = browser.new_context(**made)
        tab = context.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(page.as_uri())
        tab.wait_for_selector("html[data-ready=yes]")
        if name == "report-loss":
            closely(tab)
        tab.screenshot(path=folder / f"{name}.png")
        context.close()
    return said


def closely(tab: Any) -> None:
    """The first loss of sync, from near by."""
    events = tab.eval_on_selector_all("#events tr", "rows => rows.map(row => row.cells[0].textContent)")
    tab.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
    tab.focus("#sequence")
    for key in ["n"] * (events.index("anchored") + 1) + ["+"]:
        tab.keyboard.press(key)
    tab.evaluate("document.activeElement.blur(); document.getElementById('sequences').scrollIntoView()")


def main() -> int:
    """Take them."""
    from playwright.sync_api import sync_playwright

    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = chromium()
    if path is None:
        print("screenshots: no Chromium is installed; RXTLS_CHROMIUM may name one", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        said = shoot(browser, report(Path(made)), folder)
        browser.close()
    for line in said:
        print(f"screenshots: {line}", file=sys.stderr)
    return int(bool(said))


if __name__ == "__main__":
    sys.exit(main())

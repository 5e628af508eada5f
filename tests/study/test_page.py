"""The report in a browser: headless Chromium opens it, and a person's hands are played."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rxtls
from reports import HOSTILE, hostile, kept
from rxtls.simulation.demo import make_demo
from rxtls.study.report import write_report

sys.path.append(str(Path(__file__).parents[2] / "tools"))
import screenshots
from bench_contenders import chromium

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[rxtls.Run, Path]:
    folder = tmp_path_factory.mktemp("demo")
    capture, keys = make_demo(folder)
    run = kept(folder / "run", str(capture), str(keys))
    write_report(run, folder / "report.html")
    return run, folder / "report.html"


class Opened:
    """A page, and all that it complained about or asked for."""

    def __init__(self, browser: Any, path: Path, **context: Any) -> None:
        context.setdefault("viewport", {"width": 1280, "height": 900})
        self.page = browser.new_context(**context).new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", self._dialog)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready=yes]")
        self.own = path.as_uri()

    def _dialog(self, dialog: Any) -> None:
        self.said.append("dialog")
        dialog.dismiss()

    def silent(self) -> bool:
        """Nothing on the console, and nothing asked for but the file itself."""
        return not self.said and [each for each in self.asked if not each.startswith("data:")] == [self.own]

    def shown(self) -> list[float]:
        """The axes' ends, as numbers: the first and last labels of time and place."""
        plot = self.page.evaluate("document.querySelector('#sequence .u-over').getBoundingClientRect().toJSON()")
        return [plot["x"], plot["y"], plot["width"], plot["height"]]

    def readout(self) -> str:
        return str(self.page.inner_text("#readout"))

    def pixels(self) -> str:
        """What is drawn in the sequence plot."""
        return str(self.page.evaluate("document.querySelector('#sequence canvas').toDataURL()"))


def numbers(text: str) -> int:
    return int(text.replace(",", ""))


def test_the_page_says_what_the_summary_says(browser: Any, demo: tuple[rxtls.Run, Path]) -> None:
    run, path = demo
    opened = Opened(browser, path)
    rows = opened.page.eval_on_selector_all(
        "#totals tbody tr", "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    )
    received = [
        each
        for flow in run.summary["flows"]
        for each in flow["receive"].values()
        if each is not None and each["vantage"] == "receiver"
    ]
    assert len(received) == 3
    for name, n, octets, _ in rows[:6]:
        assert numbers(n) == sum(each["records"][name] for each in received)
        assert numbers(octets) == sum(each["bytes"][name] for each in received)
    lost = sum(each["resync"]["lost"] for each in received)
    assert lost > 0
    assert f"lost sync {lost} time" in opened.page.inner_text("#answer")
    table = opened.page.eval_on_selector_all("#flows-body tr", "rows => rows.map(row => row.cells[8].textContent)")
    assert sorted(map(numbers, table)) == sorted(
        each["app_bytes"] for flow in run.summary["flows"] for each in flow["receive"].values()
    )
    assert opened.silent()


def test_zoom_hover_and_keys(browser: Any, demo: tuple[rxtls.Run, Path]) -> None:
    opened = Opened(browser, demo[1])
    page = opened.page
    page.locator("#sequence").scroll_into_view_if_needed()
    before = opened.pixels()
    x, y, width, height = opened.shown()
    page.mouse.move(x + width * 0.45, y + height * 0.35)
    page.mouse.down()
    page.mouse.move(x + width * 0.75, y + height * 0.65, steps=4)
    page.mouse.up()
    zoomed = opened.pixels()
    assert zoomed != before
    page.mouse.dblclick(x + width * 0.5, y + height * 0.5)
    page.mouse.move(0, 0)
    assert opened.pixels() == before
    page.focus("#sequence")
    page.keyboard.press("n")
    assert re.match(r"1 of \d+: install at frame \d+", opened.readout())
    page.keyboard.press("p")
    last = opened.readout()
    assert re.match(r"(\d+) of \1: release at frame \d+", last)
    for key in ("0", "+", "ArrowLeft", "ArrowUp", "-"):
        seen = opened.pixels()
        page.keyboard.press(key)
        assert opened.pixels() != seen, key
    page.click("#all")
    assert opened.pixels() == before
    # The first loss, closely: whoever points at it is told frame, bytes, verdict and record.
    labels = page.eval_on_selector_all("#events tr", "rows => rows.map(row => row.cells[0].textContent)")
    page.click("#events-said")
    page.click(f"#events tr:nth-child({labels.index('lost') + 1}) button")
    assert "lost at frame" in opened.readout()
    page.locator("#sequence").scroll_into_view_if_needed()
    x, y, width, height = opened.shown()
    found: set[str] = set()
    wanted = re.compile(r"frame \d+, .*: bytes [\d,]+ to [\d,]+, .*\nrecord \d+: \w+, complete")
    for across in range(2, 98, 3):
        for up in range(2, 98, 6):
            page.mouse.move(x + width * across / 100, y + height * up / 100)
            found.add(opened.readout())
        if any(map(wanted.search, found)):
            break
    assert any(map(wanted.search, found))
    assert opened.silent()


def test_flows_are_found_sorted_and_opened(browser: Any, demo: tuple[rxtls.Run, Path]) -> None:
    opened = Opened(browser, demo[1])
    page = opened.page
    column = "rows => rows.map(row => row.cells[{}].textContent)"
    page.fill("#find", "rough")
    assert page.inner_text("#flows-said") == "2 of 2 directions that match, of 6"
    assert set(page.eval_on_selector_all("#flows-body tr", column.format(3))) == {"rough.example"}
    page.fill("#find", "")
    page.click("#flows-head th:nth-child(9) button")
    sizes = [numbers(each) for each in page.eval_on_selector_all("#flows-body tr", column.format(8))]
    assert sizes == sorted(sizes, reverse=True)
    assert page.get_attribute("#flows-head th:nth-child(9)", "aria-sort") == "descending"
    page.click("#flows-head th:nth-child(9) button")
    sizes = [numbers(each) for each in page.eval_on_selector_all("#flows-body tr", column.format(8))]
    assert sizes == sorted(sizes)
    page.fill("#find", "clean receiver 1,966,329")
    page.click("#flows-body button")
    assert "clean.example" in page.eval_on_selector("#flow", "select => select.selectedOptions[0].textContent")
    page.click("summary:has-text('all numbers')")
    assert "1,966,329" in page.inner_text("#direction")
    assert opened.silent()


def test_legend_hides_what_it_names(browser: Any, demo: tuple[rxtls.Run, Path]) -> None:
    opened = Opened(browser, demo[1])
    before = opened.pixels()
    boxes = opened.page.locator("#legend input")
    assert boxes.count() >= 5
    for n in range(boxes.count()):
        boxes.nth(n).uncheck()
    assert opened.pixels() != before
    for n in range(boxes.count()):
        boxes.nth(n).check()
    assert opened.pixels() == before


def test_light_dark_phone_and_paper(browser: Any, demo: tuple[rxtls.Run, Path], tmp_path: Path) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = Opened(browser, demo[1], color_scheme="light")
    dark = Opened(browser, demo[1], color_scheme="dark")
    assert light.page.evaluate(background) == "rgb(255, 255, 255)"
    assert dark.page.evaluate(background) == "rgb(16, 22, 29)"
    assert light.pixels() != dark.pixels()
    for _ in range(2):
        light.page.click("#theme")
    assert light.page.evaluate(background) == "rgb(16, 22, 29)"
    phone = Opened(browser, demo[1], viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 360
    phone.page.locator("#sequence").scroll_into_view_if_needed()
    x, y, width, height = phone.shown()
    phone.page.touchscreen.tap(x + width / 2, y + height / 2)
    assert phone.readout() != ""
    dark.page.pdf(path=tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").stat().st_size > 20_000
    dark.page.emulate_media(media="print")
    assert dark.page.evaluate(background) == "rgb(255, 255, 255)"
    assert not dark.page.is_visible("#find")
    for opened in (light, dark, phone):
        assert opened.silent()


def test_the_screenshots_of_the_documents(browser: Any, tmp_path: Path) -> None:
    """As tools/screenshots.py takes them of what `make demo` writes; those in docs are of this size, and are shown."""
    assert screenshots.shoot(browser, screenshots.report(tmp_path), tmp_path) == []
    documents = "".join(path.read_text() for path in screenshots.FOLDER.parent.glob("*.md"))
    for name in screenshots.SHOTS:
        taken, kept_ = (sizes(folder / f"{name}.png") for folder in (tmp_path, screenshots.FOLDER))
        assert taken == kept_
        assert f"(images/{name}.png)" in documents


def sizes(path: Path) -> tuple[int, int]:
    """Width and height of a PNG."""
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])


def test_hostile_names_do_nothing(browser: Any, tmp_path: Path) -> None:
    capture, keys = hostile(tmp_path)
    write_report(kept(tmp_path / "out", capture, keys), tmp_path / "report.html")
    opened = Opened(browser, tmp_path / "report.html")
    page = opened.page
    assert page.title() == "<b onload=alert(2)>.pcap: rxtls"
    assert HOSTILE in page.eval_on_selector("#flow", "select => select.selectedOptions[0].textContent")
    assert HOSTILE in page.eval_on_selector_all("#flows-body td", "cells => cells.map(cell => cell.textContent)")
    assert page.locator("img").count() == page.locator("b[onload]").count() == 0
    assert opened.silent()
    # Even a script that got in would not run: the policy forbids it.
    page.evaluate(
        "() => { const s = document.createElement('script'); s.text = 'window.owned = 1'; document.body.append(s); }"
    )
    assert page.evaluate("window.owned") is None
    assert any("Content Security Policy" in each for each in opened.said)


def test_a_run_without_flows_opens(browser: Any, tmp_path: Path) -> None:
    capture, keys = make_demo(tmp_path)
    run = kept(tmp_path / "run", str(capture), str(keys), filter="port 1")
    write_report(run, tmp_path / "report.html")
    opened = Opened(browser, tmp_path / "report.html")
    assert "Nothing was decrypted" in opened.page.inner_text("#answer")
    assert opened.silent()

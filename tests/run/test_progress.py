"""Progress: on a terminal, on standard error, and without any effect on what the run gives."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

import replays
import rxtls
from replays import Talked, download
from rxtls.run.progress import watched


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(scope="module")
def plain() -> Talked:
    return download(1)


def records_of(folder: Path, plain: Talked, quiet: bool) -> tuple[list[tuple[object, ...]], rxtls.Replay]:
    run = rxtls.replay(replays.pcap(folder, plain.frames), replays.keys(folder, plain), call_size=5)
    return [(each.flow, each.type, each.number, each.data) for records in watched(run, quiet) for each in records], run


@pytest.mark.parametrize("quiet", [False, True])
def test_nothing_is_shown_where_there_is_no_terminal(
    tmp_path: Path, plain: Talked, quiet: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    records, run = records_of(tmp_path, plain, quiet)
    assert run.frames == len(plain.frames)
    assert records
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_it_on_standard_error(
    tmp_path: Path, plain: Talked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted, _ = records_of(tmp_path, plain, quiet=True)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    records, _ = records_of(tmp_path, plain, quiet=False)
    assert records == wanted
    assert "replay" in terminal.getvalue()
    assert capsys.readouterr().out == ""


def test_quiet_holds_on_a_terminal_too(tmp_path: Path, plain: Talked, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    records_of(tmp_path, plain, quiet=True)
    assert terminal.getvalue() == ""


def test_a_pipe_has_no_total(plain: Talked, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    run = rxtls.Replay(["-"], stdin=replays.pipe(plain.frames, plain.keylog, 0))
    assert run.source.total_bytes is None
    assert sum(map(len, watched(run, False))) > 10
    assert "replay" in terminal.getvalue()


def test_a_closed_standard_error_is_no_terminal(tmp_path: Path, plain: Talked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    records, _ = records_of(tmp_path, plain, quiet=False)
    assert records

"""Compiled code is found again only by those for whom it is good."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rxtls.native import store
from rxtls.offload.compiled import arena as arena_module

ARENA = Path(arena_module.__file__ or "")


def test_the_folder_is_named_by_all_the_source_that_the_code_is_made_of(tmp_path: Path) -> None:
    ours = {path.name for path in store._HERE.glob("*.py")}
    assert {path.name for path in store.made_of(ARENA)} == {"arena.py", "mbuf.py"} | ours
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text("from rxtls.offload.compiled.arena import room\n")
    other.write_text("from rxtls.offload.compiled.arena import append\n")
    assert ARENA in store.made_of(one)
    assert store.folder(one).name.split("-")[-1] != store.folder(other).name.split("-")[-1]


def test_what_was_saved_is_loaded_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "kernel.py"
    path.write_text("1\n")
    assert store.load(path, "walk") is None
    store.save(path, "walk", (b"\x7fELF\nand more", b"", b"another"))
    assert store.load(path, "walk") == (b"\x7fELF\nand more", b"", b"another")
    assert store.load(path, "run") is None
    assert [each.name for each in store.folder(path).iterdir()] == ["walk.o"]


def test_code_of_older_source_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "kernel.py"
    path.write_text("1\n")
    old = tmp_path / "__pycache__" / "kernel-0123456789abcdef"
    old.mkdir(parents=True)
    (old / "walk.o").write_bytes(b"old")
    store.save(path, "walk", (b"code",))
    assert [each.name for each in old.parent.iterdir()] == [store.folder(path).name]


def test_a_file_that_was_cut_short_is_as_good_as_none(tmp_path: Path) -> None:
    path = tmp_path / "kernel.py"
    path.write_text("1\n")
    store.save(path, "walk", (b"code",))
    place = store.folder(path) / "walk.o"
    stored = place.read_bytes()
    for length in range(len(stored)):
        place.write_bytes(stored[:length])
        assert store.load(path, "walk") is None
    place.write_bytes(b"four\ncode")
    assert store.load(path, "walk") is None


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no such permissions on this system")
def test_nothing_is_raised_where_nothing_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kernel.py"
    path.write_text("1\n")
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, where a folder would have to be")
    monkeypatch.setattr(store, "folder", lambda _: blocked / "kernel-1")
    store.save(path, "walk", (b"code",))
    assert store.load(path, "walk") is None


def test_a_process_that_finds_its_kernels_does_without_numba() -> None:
    code = (
        "import sys, rxtls.native, rxtls.device.compiled.nic, rxtls.intake.compiled.steer, rxtls.host.compiled.serve\n"
        "print('numba' in sys.modules)"
    )
    for _ in range(2):  # the first one may have to compile
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_why_not_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.why_not() is None
    monkeypatch.setattr(store, "find_spec", lambda _: None)
    assert store.why_not() == "numba is not installed"


def test_why_not_tells_of_a_numba_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def broken(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "numba":
            raise ImportError("it needs another numpy")
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", broken)
    assert store.why_not() is None, "the code is stored, so nobody imports it"
    monkeypatch.setattr(store, "load", lambda *_: None)
    assert store.why_not() == "numba cannot be imported (it needs another numpy)"

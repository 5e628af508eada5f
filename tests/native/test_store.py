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
PACKAGE = ARENA.parents[2]


def test_the_folder_is_named_by_all_the_source_that_the_code_is_made_of(tmp_path: Path) -> None:
    ours = {path.name for path in store._HERE.glob("*.py")}
    assert {path.name for path in store.made_of(ARENA)} == {"arena.py", "mbuf.py"} | ours
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text("from rxtls.offload.compiled.arena import room\n")
    other.write_text("from rxtls.offload.compiled.arena import append\n")
    assert ARENA in store.made_of(one)
    assert store.folders(one)[0].name.split("-")[-1] != store.folders(other)[0].name.split("-")[-1]


def test_what_was_saved_is_loaded_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "kernel.py"
    path.write_text("1\n")
    assert store.load(path, "walk") is None
    store.save(path, "walk", (b"\x7fELF\nand more", b"", b"another"))
    assert store.load(path, "walk") == (b"\x7fELF\nand more", b"", b"another")
    assert store.load(path, "run") is None
    assert [each.name for each in store.folders(path)[0].iterdir()] == ["walk.o"]


def test_of_older_code_a_few_folders_stay(tmp_path: Path) -> None:
    path = tmp_path / "kernel.py"
    path.write_text("1\n")
    for n in range(6):
        old = tmp_path / "__pycache__" / f"kernel-{n:016x}"
        old.mkdir(parents=True)
        os.utime(old, (n, n))
    store.save(path, "walk", (b"code",))
    place = store.folders(path)[0]
    assert {each.name for each in place.parent.iterdir()} == {place.name, *(f"kernel-{n:016x}" for n in (3, 4, 5))}


def test_a_file_that_was_cut_short_is_as_good_as_none(tmp_path: Path) -> None:
    path = tmp_path / "kernel.py"
    path.write_text("1\n")
    store.save(path, "walk", (b"code",))
    place = store.folders(path)[0] / "walk.o"
    stored = place.read_bytes()
    for length in range(len(stored)):
        place.write_bytes(stored[:length])
        assert store.load(path, "walk") is None
    place.write_bytes(b"four\ncode")
    assert store.load(path, "walk") is None


def kept(code: str, home: Path, package: Path = PACKAGE, **more: str) -> str:
    """What a process with another home prints."""
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(package.parent), **more}
    environment.pop("XDG_CACHE_HOME", None)
    line = [sys.executable, "-B", "-c", code]
    done = subprocess.run(line, capture_output=True, text=True, check=False, env=environment, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


SAVED = """
from pathlib import Path
import rxtls.{one}.compiled.{what} as one, rxtls.{other}.compiled.{what} as other
from rxtls.native import store
files = [Path(each.__file__) for each in (one, other)]
for file in files:
    store.save(file, "walk", (b"code",))
print([store.load(file, "walk") for file in files])
"""


def test_trial_d3_files_of_one_name_keep_their_code_side_by_side(tmp_path: Path) -> None:
    """In the user's cache, where that of several packages is together. Nothing can be made beside these sources."""
    package = tmp_path / "rxtls"
    for folder in ("a", "b"):
        (package / folder / "compiled").mkdir(parents=True)
        (package / folder / "compiled" / "kernel.py").write_text(f"# {folder}\n")
        (package / folder / "compiled" / "__pycache__").write_text("no folder")
    for each in PACKAGE.iterdir():
        if each.name != "__pycache__":
            (package / each.name).symlink_to(each)
    code = SAVED.format(one="a", other="b", what="kernel")
    assert kept(code, tmp_path / "home", package) == "[(b'code',), (b'code',)]\n"
    assert len(list((tmp_path / "home" / ".cache" / "rxtls").iterdir())) == 2


def test_trial_d3_a_damaged_object_is_as_good_as_none(tmp_path: Path) -> None:
    path = tmp_path / "kernel.py"
    path.write_text("1\n")
    store.save(path, "walk", (b"code",))
    (place,) = tmp_path.glob("__pycache__/*/walk.o")
    place.write_bytes(place.read_bytes()[:-1] + b"X")
    assert store.load(path, "walk") is None
    store.save(path, "walk", (b"code",))
    assert store.load(path, "walk") == (b"code",)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_trial_d3_the_code_of_another_user_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "kernel.py"
    path.write_text("1\n")
    store.save(path, "walk", (b"code",))
    (place,) = tmp_path.glob("__pycache__/*/walk.o")
    os.chown(place, 12345, 12345)
    assert store.load(path, "walk") is None


def test_trial_d3_code_that_others_may_write_to_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "kernel.py"
    path.write_text("1\n")
    store.save(path, "walk", (b"code",))
    (place,) = tmp_path.glob("__pycache__/*/walk.o")
    for each, mode in ((place, 0o664), (place.parent, 0o777)):
        before = each.stat().st_mode
        each.chmod(mode)
        assert store.load(path, "walk") is None
        each.chmod(before)
        assert store.load(path, "walk") == (b"code",)


def test_trial_d9_where_there_is_no_home_there_is_no_cache(tmp_path: Path) -> None:
    code = (
        "import pathlib, pwd, sys\n"
        "pwd.getpwuid = lambda _: (_ for _ in ()).throw(KeyError())\n"
        "import os; os.environ.pop('HOME')\n"
        "from rxtls.native import store\n"
        f"path = pathlib.Path({str(tmp_path)!r}, 'kernel.py')\n"
        "store.save(path, 'walk', (b'code',))\n"
        "print(store.load(path, 'walk'))\n"
    )
    (tmp_path / "kernel.py").write_text("1\n")
    (tmp_path / "__pycache__").write_text("no folder")
    assert kept(code, tmp_path) == "None\n"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="no such permissions on this system")
def test_nothing_is_raised_where_nothing_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kernel.py"
    path.write_text("1\n")
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, where a folder would have to be")
    monkeypatch.setattr(store, "folders", lambda _: (blocked / "kernel-1",))
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

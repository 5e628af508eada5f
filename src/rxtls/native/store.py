"""Where compiled code is kept between processes: one file a kernel, in a folder named by all that it is made of.

    __pycache__/kernel-9a50a2f80f2fcbfc/walk.o      line 1: lengths; then object files

A kernel is made of functions from several files, for one processor, by one numba: the folder's name is the digest of
these. A change of any of them makes another folder, and the old one is removed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from itertools import accumulate, pairwise
from pathlib import Path

_HERE = Path(__file__).parent
_PACKAGE = _HERE.parent
_KERNEL = re.compile(rb"^@kernel\(.*?\)\ndef (\w+)", re.MULTILINE | re.DOTALL)
_IMPORTED = re.compile(rb"^from (rxtls[\w.]*) import (\(|.*)", re.MULTILINE)


@cache
def made_of(path: Path) -> frozenset[Path]:
    """The files that the kernels of `path` are made of: itself, what it imports of ours, and what kernels there do."""
    found = {path, *_HERE.glob("*.py")}
    for module, names in _IMPORTED.findall(_source(path)):
        place = _PACKAGE.parent.joinpath(*module.decode().split("."))
        modules = [place.with_suffix(".py")]
        if place.is_dir():
            modules = [place / f"{name.split()[0].decode()}.py" for name in names.split(b",") if name.split()]
        for imported in modules:
            if imported.parent.name == "compiled" and imported.exists() and imported not in found:
                found |= made_of(imported)
            elif imported.exists():
                found.add(imported)
    return frozenset(found)


@cache
def folder(path: Path) -> Path:
    """Of the compiled code of `path`: beside the source, or in the user's cache where that is read-only."""
    digest = hashlib.sha256(_maker())
    for part in sorted(made_of(path)):
        digest.update(_digest(part))
    beside = path.parent / "__pycache__"
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rxtls"
    base = beside if os.access(beside if beside.exists() else path.parent, os.W_OK) else home
    return base / f"{path.stem}-{digest.hexdigest()[:16]}"


def load(path: Path, name: str) -> tuple[bytes, ...] | None:
    """The object files of a kernel of `path`, if they are stored."""
    try:
        stored = (folder(path) / f"{name}.o").read_bytes()
    except OSError:
        return None
    lengths, found, code = stored.partition(b"\n")
    if not found or not lengths.replace(b" ", b"").isdigit():
        return None
    ends = [0, *accumulate(int(each) for each in lengths.split())]
    if ends[-1] != len(code):
        return None
    return tuple(code[start:end] for start, end in pairwise(ends))


def save(path: Path, name: str, objects: tuple[bytes, ...]) -> None:
    """Keep a kernel's code. Where that cannot be, the next process compiles it again."""
    place = folder(path)
    with suppress(OSError):
        if not place.exists():
            for old in place.parent.glob(f"{path.stem}-*"):
                shutil.rmtree(old, ignore_errors=True)
            place.mkdir(parents=True, exist_ok=True)
        written = place / f"{name}.{os.getpid()}"
        lengths = " ".join(str(len(each)) for each in objects)
        written.write_bytes(lengths.encode() + b"\n" + b"".join(objects))
        written.replace(place / f"{name}.o")  # at once: other processes may be looking


def kernels() -> list[tuple[Path, str]]:
    """Every kernel of the package: its file and name."""
    files = sorted(path for path in _PACKAGE.rglob("*.py") if path.parent != _HERE)
    return [(path, name.decode()) for path in files for name in _KERNEL.findall(path.read_bytes())]


def why_not() -> str | None:
    """Why kernels can neither be loaded nor compiled here, in a few words; None if they can."""
    numba = find_spec("numba")
    if numba is None or find_spec("llvmlite") is None:
        return "numba is not installed"
    if load(_PACKAGE / "onward.py", "onward") is None:  # so it is going to be imported
        try:
            import numba as _numba  # noqa: F401
        except ImportError as failure:
            return f"numba cannot be imported ({failure})"
    return None


@cache
def _maker() -> bytes:
    """The compiler and the processor."""
    import llvmlite.binding as llvm

    numba = find_spec("numba")
    assert numba is not None
    assert numba.origin is not None
    release = Path(numba.origin).with_name("_version.py")  # to import it, only to ask, would take the time saved here
    features = ""
    with suppress(RuntimeError):  # not told on every platform
        features = llvm.get_host_cpu_features().flatten()
    machine = llvm.get_host_cpu_name(), features
    return repr((release.read_bytes(), llvm.llvm_version_info, sys.version, *machine)).encode()


@cache
def _source(path: Path) -> bytes:
    return path.read_bytes()


@cache
def _digest(path: Path) -> bytes:
    return hashlib.sha256(_source(path)).digest()

"""Where compiled code is kept between processes: one file a kernel, in a folder named by all that it is made of.

    __pycache__/rxtls.intake.compiled.kernel-9a50a2f80f2fcbfc/walk.o      line 1: digest and lengths; then object files

A kernel is made of functions from several files, for one processor, by one numba: the folder's name is the digest of
these, behind the module's. A change of any of them makes another folder; of the old ones a few stay, for other machines
and installations that share the place. Where the source is read-only, that is the user's cache; where there is none
either, every process compiles.

Code is run only as it was written: what is damaged, is not this user's, root's or the source's owner's, or could be
written to by others, counts as not there.
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
_KERNEL = re.compile(rb"^@kernel\ndef (\w+)", re.MULTILINE)
_KEPT = 4  # folders of one module
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
def folders(path: Path) -> tuple[Path, ...]:
    """Where the compiled code of `path` may be: beside the source; in the user's cache, if there is one."""
    digest = hashlib.sha256(_maker())
    for part in sorted(made_of(path)):
        digest.update(_digest(part))
    module = path.stem
    if path.is_relative_to(_PACKAGE):
        module = ".".join(path.relative_to(_PACKAGE.parent).with_suffix("").parts)
    name = f"{module}-{digest.hexdigest()[:16]}"
    places = [path.parent / "__pycache__" / name]
    with suppress(RuntimeError):  # nobody knows this user's home
        places.append(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rxtls" / name)
    return tuple(places)


def load(path: Path, name: str) -> tuple[bytes, ...] | None:
    """The object files of a kernel of `path`, if they are stored."""
    for place in folders(path):
        with suppress(OSError):
            if _trusted(os.stat(place), path):
                found = _objects(_read(place / f"{name}.o", path))
                if found is not None:
                    return found
    return None


def _read(file: Path, source: Path) -> bytes:
    opened = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(opened, "rb") as stored:
        return stored.read() if _trusted(os.fstat(opened), source) else b""


def _trusted(status: os.stat_result, source: Path) -> bool:
    """Whether nobody could have written there whose code we would not run anyway."""
    if not hasattr(os, "geteuid"):
        return True
    return status.st_uid in (os.geteuid(), 0, os.stat(source).st_uid) and not status.st_mode & 0o022


def _objects(stored: bytes) -> tuple[bytes, ...] | None:
    head, found, code = stored.partition(b"\n")
    digest, _, lengths = head.partition(b" ")
    if not found or digest != _digest_of(lengths, code):
        return None
    ends = [0, *accumulate(int(each) for each in lengths.split())]
    return tuple(code[start:end] for start, end in pairwise(ends))


def _digest_of(lengths: bytes, code: bytes) -> bytes:
    return hashlib.sha256(lengths + b"\n" + code).hexdigest().encode()


def save(path: Path, name: str, objects: tuple[bytes, ...]) -> None:
    """Keep a kernel's code. Where that cannot be, the next process compiles it again."""
    lengths, code = " ".join(str(len(each)) for each in objects).encode(), b"".join(objects)
    for place in folders(path):
        with suppress(OSError):
            if not place.exists():
                place.mkdir(mode=0o755, parents=True, exist_ok=True)
                _prune(place)
            place.chmod(0o755)  # whatever the umask is
            _write(place / f"{name}.o", b"%b %b\n%b" % (_digest_of(lengths, code), lengths, code))
            return


def _write(file: Path, stored: bytes) -> None:
    """At once: other processes may be looking, or be writing the same."""
    written = file.with_suffix(f".{os.getpid()}.part")
    try:
        opened = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(opened, "wb") as out:
            if hasattr(os, "fchmod"):
                os.fchmod(opened, 0o644)
            out.write(stored)
        written.replace(file)
    except OSError:
        written.unlink(missing_ok=True)
        raise


def _prune(place: Path) -> None:
    """Of all folders of the same module the latest few stay."""
    same = [each for each in place.parent.glob(f"{place.name.rpartition('-')[0]}-*") if each != place]
    same.sort(key=lambda each: each.stat().st_mtime, reverse=True)
    for old in same[_KEPT - 1 :]:
        shutil.rmtree(old, ignore_errors=True)


def kernels() -> list[tuple[Path, str]]:
    """Every kernel of the package: its file and name."""
    files = sorted(path for path in _PACKAGE.rglob("*.py") if path.parent != _HERE)
    return [(path, name.decode()) for path in files for name in _KERNEL.findall(path.read_bytes())]


def why_not() -> str | None:
    """Why kernels can neither be loaded nor compiled here, in a few words; None if they can."""
    numba = find_spec("numba")
    if numba is None or find_spec("llvmlite") is None:
        return "numba is not installed"
    if load(_PACKAGE / "path/nic_and_host.py", "onward") is None:  # so it is going to be imported
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

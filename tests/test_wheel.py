"""The wheel in an environment elsewhere than the source tree: what its help and the documents name is there.

Dependencies are those of this environment; pip fetches what builds a wheel, as it does for `make demo`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from rxtls.version import __version__

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.long
Run = Callable[..., str]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "src"):
        (source / name).symlink_to(ROOT / name)
    given = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder)]
    copied = folder / "copied"
    subprocess.run(["cp", "-rL", str(source), str(copied)], check=True)
    for left in copied.rglob("*.egg-info"):
        subprocess.run(["rm", "-r", str(left)], check=True)
    subprocess.run([*given, str(copied)], check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def run(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`rxtls` out of the wheel, in an empty folder."""
    folder = tmp_path_factory.mktemp("new-user")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    base = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
    packages = Path(sysconfig.get_path("purelib", "venv", base))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    (packages / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    (folder / "empty").mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*arguments: str, status: int = 0) -> str:
        done = subprocess.run(
            [str(python), "-m", "rxtls", *arguments],
            cwd=folder / "empty", env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    where = "import rxtls; print(rxtls.__file__)"
    told = subprocess.run([str(python), "-c", where], cwd=folder, env=environment, capture_output=True, text=True)
    assert told.stdout.startswith(str(packages)), "the wheel's, not this tree's"
    return run


def test_what_is_no_code_is_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"rxtls/studies/{path.name}" for path in (ROOT / "src" / "rxtls" / "studies").iterdir()}
    wanted |= {f"rxtls/study/assets/{path.name}" for path in (ROOT / "src" / "rxtls" / "study" / "assets").iterdir()}
    assert wanted | {"rxtls/py.typed"} <= names
    assert wheel.name.startswith(f"rxtls-{__version__}-")


def test_a_new_user_gets_on(run: Run) -> None:
    assert run("--version") == f"rxtls {__version__}\n"
    assert "engine: " in run("version", "--verbose")
    assert "look at rxtls-demo/report.html" in run("demo")
    given = ("rxtls-demo/demo.pcapng", "--keys", "rxtls-demo/demo.keys")
    assert "decr." in run("replay", *given, "--out", "out", "--frames", "--annotate", "a.pcapng", "--plain", "p.pcapng")
    assert run("report", "out", "again.html", "--sort", "lost") == ""
    assert "worst first" in run("explain", *given)
    assert "out of sync" in run("explain", "out", "1")
    assert "Every policy brought out the same plaintext." in run("compare", *given)
    assert "% saved" in run("cost", *given)
    assert "the link: " in run("simulate", "--records", "20", "--loss", "1")
    assert "frame.segment" in run("counters")
    assert run("explore", "--policy", "none", "--states", "200")


def test_studies_are_found_by_their_names(run: Run) -> None:
    assert "farthest off" in run("cost", "--paper", "paper-receiver")
    out = run("sweep", "policies", "--out", "swept", "--no-plot")
    assert "wrote swept/" in out

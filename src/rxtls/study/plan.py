"""A study file (TOML): which simulations a sweep runs. Parsed into values that can only be legal.

    title = "..."                        shown above the results
    [link]                               knobs of every point (simulation/knobs.py)
    loss = 1
    [device]                             profile, policy, and settings of the profile
    policy = "linux-async"
    settings = { confirm = "4" }
    [grid]                               lists: a point for each combination, the last name varying fastest
    loss = [0, 1, 2]                     a knob, "policy", or "set.NAME" for a setting
    [plot]                               x: a name of the grid; by: another one, a curve for each of its values
    [reference]                          measured values to hold the results against (study/reference.py)

Points are numbered in the order of the grid. Each depends on its own values only, so a study may be stopped, gone on
with, spread over processes, or have points added, and the others stay what they were.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rxtls.device.profiles import Profile, profile
from rxtls.errors import UsageError
from rxtls.offload.policies import policy
from rxtls.simulation.knobs import NAMES, Knobs

MOST_POINTS = 100_000
_SECTIONS = {"title", "about", "link", "device", "grid", "plot", "reference"}


@dataclass(frozen=True, slots=True)
class Point:
    """One simulation of a study. `varied` are its values of the grid's names, as the file has them."""

    varied: dict[str, Any]
    knobs: Knobs
    profile: str
    policy: str
    settings: dict[str, str]

    @property
    def key(self) -> str:
        """A digest of all that its result depends on, besides the code."""
        knobs = {name: getattr(self.knobs, name) for name in NAMES}
        told = json.dumps([knobs, self.profile, self.policy, sorted(self.settings.items())], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    @property
    def nic(self) -> Profile:
        """The NIC with its settings."""
        return profile(self.profile, self.settings)


@dataclass(frozen=True, slots=True)
class Study:
    """A study file's content."""

    path: Path
    title: str
    points: list[Point]
    grid: list[str]
    plot: dict[str, str] = field(default_factory=dict)
    reference: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file's, without its ending."""
        return self.path.stem

    @property
    def files(self) -> list[Path]:
        """What it is read from."""
        measured = self.reference.get("file")
        return [self.path, *([self.path.parent / measured] if isinstance(measured, str) else [])]


def shipped(ending: str = ".toml") -> dict[str, Path]:
    """The files with that ending which come with rxtls, by name: studies, and measured values (.csv)."""
    folder = Path(__file__).parent.parent / "studies"
    return {path.stem: path for path in sorted(folder.glob(f"*{ending}"))}


def found(name: str, ending: str = ".toml") -> Path:
    """A file by its path, or one that is shipped by its name, also as `studies/NAME.toml`."""
    path = Path(name)
    bare = path.parent in (Path(), Path("studies")) and path.suffix in ("", ending)
    return shipped(ending).get(path.stem, path) if bare and not path.is_file() else path


def read_study(name: str) -> Study:
    """The study in a file, or one that is shipped, by its name. UsageError says what is wrong with it, and where."""
    path = found(name)
    try:
        content = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise UsageError(f"{name}: no such file; shipped with rxtls are {', '.join(shipped())}") from None
    except (OSError, ValueError) as failure:  # ValueError: TOML and UTF-8
        raise UsageError(f"{name}: {getattr(failure, 'strerror', None) or failure}") from None
    try:
        return _study(path, content)
    except (UsageError, TypeError, AttributeError) as failure:
        raise UsageError(f"{name}: {failure}") from None


def _study(path: Path, content: dict[str, Any]) -> Study:
    if unknown := content.keys() - _SECTIONS:
        raise UsageError(f"no section {sorted(unknown)[0]!r}; there are {', '.join(sorted(_SECTIONS))}")
    link, device, grid = (dict(content.get(section, {})) for section in ("link", "device", "grid"))
    for axis, values in grid.items():
        if not isinstance(values, list) or not values:
            raise UsageError(f"grid.{axis} is a list of at least one value")
    points = [
        _point(link, device, dict(zip(grid, values, strict=True)))
        for values in itertools.islice(itertools.product(*grid.values()), MOST_POINTS + 1)
    ]
    if len(points) > MOST_POINTS:
        raise UsageError(f"more than {MOST_POINTS} points")
    plot = content.get("plot", {})
    for axis in plot.values():
        if axis not in grid:
            raise UsageError(f"plot names {axis!r}, which the grid has not")
    return Study(path, str(content.get("title", path.stem)), points, list(grid), plot, content.get("reference", {}))


def _point(link: dict[str, Any], device: dict[str, Any], varied: dict[str, Any]) -> Point:
    knobs, chosen = dict(link), dict(device)
    settings = {name: str(value) for name, value in chosen.pop("settings", {}).items()}
    for name, value in varied.items():
        if name in ("policy", "profile"):
            chosen[name] = value
        elif name.startswith("set."):
            settings[name.removeprefix("set.")] = str(value)
        else:
            knobs[name] = value
    if unknown := knobs.keys() - set(NAMES):
        raise UsageError(f"no knob {sorted(unknown)[0]!r}; there are {', '.join(NAMES)}")
    if unknown := chosen.keys() - {"policy", "profile"}:
        raise UsageError(f"device has no {sorted(unknown)[0]!r}")
    point = Point(
        varied,
        Knobs(**knobs),
        str(chosen.get("profile", "ideal")),
        str(chosen.get("policy", "freebsd-table")),
        settings,
    )
    if missing := policy(point.policy)().needs - point.nic.commands:
        raise UsageError(f"policy {point.policy} needs {', '.join(sorted(missing))}, which {point.profile} has not")
    return point

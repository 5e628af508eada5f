"""Where the time of a replay goes: the entry points of the stages, and a stopwatch for them.

The stages are measured in place, in a real run, and not on inputs of their own: what a stage costs depends on what the
one before has left in the caches. An entry from Python handles hundreds of frames, so the stopwatch itself is little.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from inspect import isgeneratorfunction
from typing import Any, NamedTuple


class EntryPoint(NamedTuple):
    """Where a stage is entered from Python: `place` is module:Class.method."""

    stage: str
    place: str

    def found(self) -> tuple[Any, str]:
        """The class and the name of its method. Raises ImportError or AttributeError when it has moved."""
        module, _, path = self.place.partition(":")
        name, _, method = path.partition(".")
        owner = getattr(import_module(module), name)
        getattr(owner, method)
        return owner, method


# By the engine that runs. What is entered within another stage counts for its own only.
STAGES: dict[str, tuple[EntryPoint, ...]] = {
    "plain": (
        EntryPoint("read", "rxtls.capture.frames:PlainFeed.__iter__"),
        EntryPoint("parse, steer", "rxtls.intake.steer:Steer.batch"),
        EntryPoint("parse, steer", "rxtls.intake.steer:Steer.finish"),
        EntryPoint("device", "rxtls.device.nic:Nic.receive"),
        EntryPoint("device", "rxtls.device.nic:Nic.resume"),
        EntryPoint("device", "rxtls.device.nic:Nic.flush"),
        EntryPoint("policy", "rxtls.driver.driver:WayBack.hear"),
        EntryPoint("policy", "rxtls.driver.driver:WayBack.offload"),
        EntryPoint("host, plain", "rxtls.path.host_points:HostPoints.serve"),
    ),
    "compiled": (
        EntryPoint("read", "rxtls.capture.frames:CompiledFeed.__iter__"),
        EntryPoint("walk, parse", "rxtls.wire.compiled.walk:Walker.walk"),
        EntryPoint("steer", "rxtls.intake.compiled.steer:CompiledSteer.batch"),
        EntryPoint("steer", "rxtls.intake.compiled.steer:CompiledSteer.finish"),
        EntryPoint("device, host", "rxtls.device.compiled.nic:CompiledNic.receive"),
        EntryPoint("device, host", "rxtls.device.compiled.nic:CompiledNic.resume"),
        EntryPoint("device, host", "rxtls.device.compiled.nic:CompiledNic.detach"),
        EntryPoint("device, host", "rxtls.device.compiled.nic:CompiledNic.flush"),
        EntryPoint("device, host", "rxtls.host.compiled.serve:FastDirection.serve"),
        EntryPoint("policy", "rxtls.driver.driver:WayBack.hear"),
        EntryPoint("policy", "rxtls.driver.driver:WayBack.offload"),
        EntryPoint("host, plain", "rxtls.path.host_points:HostPoints.serve"),
    ),
}
REST = "Python between"  # what is in no stage: the hallway itself, and who iterates
STAGE_NAMES = tuple(dict.fromkeys([*(each.stage for points in STAGES.values() for each in points), REST]))


class Stopwatch:
    """Seconds by stage. What runs inside of another stage is taken off that."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        self._clock = clock
        self._within: list[float] = []  # seconds of inner stages, by depth

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, measured; of a generator, each step."""

        def measured(*arguments: Any, **named: Any) -> Any:
            self._within.append(0.0)
            started = self._clock()
            try:
                return function(*arguments, **named)
            finally:
                seconds = self._clock() - started
                self.seconds[stage] += seconds - self._within.pop()
                self.calls[stage] += 1
                if self._within:
                    self._within[-1] += seconds

        def stepped(*arguments: Any, **named: Any) -> Iterator[Any]:
            step = self.timed(stage, partial(next, function(*arguments, **named), self))
            while (item := step()) is not self:  # the end: no stage gives a stopwatch
                yield item

        return stepped if isgeneratorfunction(function) else measured

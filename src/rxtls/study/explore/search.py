"""The walk over states: depth first from many places, each state once.

Every state that is met waits on a stack until all that can happen in it has been tried. By turns the search goes on
with one of the stacks, depth first and in a shuffled order, or begins a new one along a random walk from the first
state. When no stack is left, the bounded space is done; when the limit is met first, what waits on them is counted as
truncated. The seed settles all of it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Any

from rxtls.offload import receive_tag
from rxtls.offload.policies import freebsd_table, linux_async, look_ahead, next_hint
from rxtls.study.explore.cipher import replaced, toy_cipher
from rxtls.study.explore.scenario import Scenario
from rxtls.study.explore.world import Action, Network, Violation, World

# Constants scaled down so that short streams meet the limits.
SCALED = (
    (freebsd_table, "SLOTS", 2),
    (freebsd_table, "COUNT_MAX", 2),
    (linux_async, "LOG", 2),
    (linux_async, "COUNT_MAX", 3),
    (next_hint, "START_INTERVAL", 1),
    (next_hint, "MAX_INTERVAL", 1),
    (look_ahead, "PATIENCE", 120),
    (look_ahead, "MOST_PATIENCE", 240),
    (receive_tag, "PATIENCE", 2),
)

SHARE = 500  # states of one turn
Reached = tuple[Any, list[Action]]  # a state, and the way to it
FARTHEST = 30  # steps of a random walk


@dataclass(slots=True)
class Found:
    """A violation, and the way to it."""

    what: str
    way: list[Action]


@dataclass(slots=True)
class Explored:
    """What a search came to. `distinct` counts states of device, policy and host, whatever the network still has."""

    policy: str
    scenario: str
    scaled: bool
    states: int = 0
    distinct: int = 0
    transitions: int = 0
    ends: int = 0  # settled states, in which sync had to be regained where that is promised
    depth: int = 0
    truncated: int = 0
    found: list[Found] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """The bounded space was explored to its end."""
        return not self.truncated and not self.found


def promises(policy: str, scaled: bool, network: Network) -> bool:
    """Whether a policy promises that sync is regained once everything has come and nothing else goes wrong.

    FreeBSD's driver waits for its one answer, longer than a short stream, and Linux's for the next guess; a hint needs
    no answer. What else the kernels' policies do not promise was found here:

    - A device that begins to track in a retransmission may follow the stream from there, and the host be asked for a
      header that it had met before (`behind`).
    - linux-async: a late answer to an older query ends the newer request, and its log is forgotten (`overtaken`). A
      count that is used up before the answer comes cancels the request, and nobody asks again: after 65,535 records as
      shipped, scaled after three.
    - freebsd-table: an anchor that has left the table before the answer comes is never found. Scaled, that is after
      four records of one length; as shipped, after 32 whose lengths alternate.

    look-ahead promises it whatever happened; if something was lost, after its patience, which is longer than a short
    stream unless scaled.
    """
    match policy:
        case "none":
            return False
        case "next-hint":
            return True
        case "look-ahead":
            return scaled or not network.lost
        case "freebsd-table":
            return not (scaled or network.lost or network.behind)
        case "linux-async":
            return not (scaled or network.lost or network.overtaken or network.behind)
        case _:
            return not (network.lost or network.behind)


def explore(
    scenario: Scenario,
    policy: str,
    limit: int,
    seed: int = 0,
    scaled: bool = False,
    fault: tuple[tuple[Any, str, Any], ...] = (),
    progress: Callable[[Explored], None] | None = None,
    profile: str = "ideal",
) -> Explored:
    """Explore until `limit` distinct states of device, policy and host are met, the space is done, or something is
    found. `fault` replaces parts of the shipped code."""
    with ExitStack() as stack:
        stack.enter_context(toy_cipher())
        if scaled:
            stack.enter_context(replaced(*SCALED))
        stack.enter_context(replaced(*fault))
        return _Search(World(scenario, policy, profile), limit, seed, scaled, progress).run()


class _Search:
    def __init__(
        self,
        world: World,
        limit: int,
        seed: int,
        scaled: bool,
        progress: Callable[[Explored], None] | None,
    ) -> None:
        self.world = world
        self.dice = Random(seed)
        self.limit = limit
        self.result = Explored(world.policy, world.scenario.name, scaled)
        self.seen: set[int] = set()
        self.parts: set[int] = set()
        self.ends: set[int] = set()
        self.progress = progress

    def run(self) -> Explored:
        result = self.result
        first = self.world.begin()
        self._note(first)
        stacks: list[list[Reached]] = [[(first, [])]]
        while stacks and not result.found and result.distinct < self.limit:
            if self.dice.random() < 0.5:
                stack = self._walk(first)
            else:
                n = self.dice.randrange(len(stacks))
                stacks[n], stacks[-1] = stacks[-1], stacks[n]
                stack = stacks.pop()
            self._deep(stack, min(self.limit, result.distinct + SHARE))
            if stack:
                stacks.append(stack)
            if self.progress:
                self.progress(result)
        result.truncated = sum(map(len, stacks))
        return result

    def _walk(self, first: Any) -> list[Reached]:
        """A random walk from the first state: what is new on it."""
        state, way = first, list[Action]()
        reached: list[Reached] = []
        for _ in range(self.dice.randrange(FARTHEST)):
            self.world.thaw(state)
            actions = self.world.actions()
            if not actions:
                break
            action = self.dice.choice(actions)
            following = self._step(state, action, way)
            if following is None:
                break
            state, way = following, [*way, action]
            if self._note(state):
                reached.append((state, way))
        return reached

    def _deep(self, stack: list[Reached], until: int) -> None:
        """Depth first from the states on a stack, until it is empty or there are `until` states."""
        result = self.result
        while stack and result.distinct < until and not result.found:
            state, way = stack.pop()
            self.world.thaw(state)
            actions = self.world.actions()
            self.dice.shuffle(actions)
            for n, action in enumerate(actions):
                following = self._step(state, action, way, thaw=n > 0)
                if following is not None and self._note(following):
                    stack.append((following, [*way, action]))
                    result.depth = max(result.depth, len(way) + 1)

    def _step(self, state: Any, action: Action, way: list[Action], thaw: bool = True) -> Any:
        """The state after an action; None if that is a violation, which is noted. Not to `thaw`: the world is in it."""
        world, result = self.world, self.result
        if thaw:
            world.thaw(state)
        result.transitions += 1
        try:
            world.act(action)
            following = world.freeze()
            if world.settled:
                self._end(following)
        except (Violation, AssertionError, LookupError, ValueError, TypeError) as violation:
            name = "" if isinstance(violation, Violation) else f"{type(violation).__name__}: "
            result.found.append(Found(f"{name}{violation}", [*way, action]))
            return None
        return following

    def _end(self, state: Any) -> None:
        promised = promises(self.result.policy, self.result.scaled, state[0])
        key = hash((state[1], promised))
        if key in self.ends:
            return
        self.ends.add(key)
        self.result.ends += 1
        self.world.check_end(promised)

    def _note(self, state: Any) -> bool:
        """Whether the state is new."""
        part = hash(state[1])
        whole = hash((state[0], part))
        if whole in self.seen:
            return False
        self.seen.add(whole)
        self.parts.add(part)
        self.result.states = len(self.seen)
        self.result.distinct = len(self.parts)
        return True

"""Options are said once: option.py describes them, cli/options.py makes a command's of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from rxtls.cli import complete
from rxtls.cli.options import Part, takes
from rxtls.errors import UsageError
from rxtls.option import check, option, options_of
from rxtls.run.options import OutputOptions, ReplayOptions
from rxtls.simulation.knobs import Knobs
from rxtls.talk.options import FollowOptions, HttpOptions


@dataclass(slots=True)
class Asked:
    """A bit of everything."""

    name: str = option("a", "A name.", "profiles")
    none: str | None = option(None, "None, or a text.")
    number: int = option(3, "A number.", within=(1, 9))
    percent: float = option(0.5, "Any number.")
    really_so: bool = option(False, "A flag.")
    pairs: dict[str, str] = option({"x": "1"}, "NAME=VALUE.", flag="--set")
    hidden: int = 7
    made: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        check(self)


def run(part: Part, *line: str) -> tuple[Any, Any, str]:
    """What a command with this part was given, and what it printed."""
    seen: list[Any] = []
    app = typer.Typer()

    @app.command()
    @takes(asked=part)
    def command(first: str, *, asked: Asked, last: Annotated[int, typer.Option(help="Its own.")] = 1) -> None:
        """A command."""
        seen.append((first, asked, last))

    done = CliRunner().invoke(app, line)
    return seen[0] if seen else None, done.exception, done.output


def test_fields_that_are_options_are_the_commands() -> None:
    assert [*options_of(Asked)] == ["name", "none", "number", "percent", "really_so", "pairs"]
    line = ["one", "--name", "b", "--none", "", "--number", "9", "--percent", "1.5", "--really-so", "--set", "y=2=3"]
    given, fault, _ = run(Part(Asked), *line, "--set", "z=", "--last", "4")
    assert fault is None
    assert given == ("one", Asked("b", "", 9, 1.5, True, {"y": "2=3", "z": ""}), 4)


def test_what_is_not_said_is_as_the_dataclass_has_it_or_the_command() -> None:
    given, _, _ = run(Part(Asked, number=5, hidden=8), "one")
    assert given == ("one", Asked(number=5, hidden=8), 1)
    *_, shown = run(Part(Asked, number=5), "--help")
    assert "default: 5" in shown
    assert "--no-really-so" not in shown


def test_a_command_may_have_some_of_them() -> None:
    assert run(Part(Asked, "number"), "one", "--number", "4")[0] == ("one", Asked(number=4), 1)
    given, fault, _ = run(Part(Asked, "number"), "one", "--name", "b")
    assert given is None
    assert isinstance(fault, SystemExit)


@pytest.mark.parametrize("number", ["0", "10"])
def test_numbers_are_within_their_bounds(number: str) -> None:
    _, fault, _ = run(Part(Asked), "one", "--number", number)
    assert isinstance(fault, UsageError)
    assert str(fault) == f"number is a whole number from 1 to 9, not {number}"


def test_pairs_are_pairs() -> None:
    _, fault, _ = run(Part(Asked), "one", "--set", "alone")
    assert isinstance(fault, UsageError)
    assert str(fault) == "--set takes NAME=VALUE, not 'alone'"


@pytest.mark.parametrize("kind", [ReplayOptions, OutputOptions, Knobs, FollowOptions, HttpOptions])
def test_every_option_says_what_it_does_and_offers_what_there_is(kind: Any) -> None:
    for name, each in options_of(kind).items():
        assert each.help.endswith("."), name
        assert each.offers is None or callable(getattr(complete, each.offers)), name
        assert each.least <= each.most
        if each.least < each.most:
            assert each.least <= getattr(kind(), name) <= each.most

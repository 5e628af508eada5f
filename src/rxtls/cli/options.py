"""Options of commands: those that several have, and dataclasses of options taken as a whole.

    @takes(chosen=Part(ReplayOptions, profile="ideal"))
    def command(captures, *, chosen: ReplayOptions) -> None:

The command has an option for each field of ReplayOptions that is one (rxtls/option.py), and gets them as one value.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperOption

from rxtls.cli import complete
from rxtls.cli.terminal import read_settings
from rxtls.option import Option, options_of

Keys = Annotated[list[str] | None, typer.Option(help="Key log (SSLKEYLOGFILE). May be given more than once.")]
Policies = Annotated[
    list[str] | None,
    typer.Option(
        help="Only this policy, also MODULE:CLASS or FILE.py:CLASS. May be given more than once.",
        autocompletion=complete.policies,
    ),
]
Json = Annotated[str | None, typer.Option(help="Write the results as JSON to a file, or '-'.")]
Top = Annotated[int, typer.Option(min=1, help="Directions that the table shows.")]
Sort = Annotated[
    str | None,
    typer.Option(
        help="Which come first: id, bytes, records, lost, host (bytes left to it), failed, gap, ...",
        autocompletion=complete.sorts,
    ),
]


class Part:
    """The options of a dataclass that a command has: all, or those named `only`. Some have defaults of the command's,
    which count only where the option is one of the command's."""

    def __init__(self, kind: type[Any], only: str = "", **defaults: Any) -> None:
        self._kind, self._defaults = kind, defaults
        self._options = {name: each for name, each in options_of(kind).items() if not only or name in only.split()}

    def parameters(self) -> list[inspect.Parameter]:
        """As typer reads them."""
        hints, plain = get_type_hints(self._kind), self._kind()
        return [
            self._parameter(name, each, hints[name], self._defaults.get(name, getattr(plain, name)))
            for name, each in self._options.items()
        ]

    def made(self, values: dict[str, Any]) -> Any:
        """The dataclass, of the values that are taken out of the command's."""
        given = {name: values.pop(name) for name in self._options}
        plain = self._kind()
        for name, each in self._options.items():
            default = getattr(plain, name)
            if isinstance(default, dict):
                given[name] = read_settings(given[name], _flag(name, each)) if given[name] else default
        return self._kind(**self._defaults | given)

    @staticmethod
    def _parameter(name: str, each: Option, kind: Any, default: Any) -> inspect.Parameter:
        if isinstance(default, dict):
            kind, default = list[str] | None, None
        completer = None if each.offers is None else getattr(complete, each.offers)
        told = typer.Option(_flag(name, each), help=each.help, autocompletion=completer)
        return inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, told]
        )


class Told(TyperCommand):
    """A command whose help also has the policies and NICs that packages brought: they are looked for only then."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from rxtls.system.plug import brought

        for each in self.params:
            found = brought(f"rxtls.{_BROUGHT[each.name]}") if each.name in _BROUGHT else []
            if found and isinstance(each, TyperOption):
                each.help = f"{each.help} Brought by packages: {', '.join(found)}."
        super().format_help(ctx, formatter)


_BROUGHT = {"policy": "policies", "nic": "nics"}  # groups of entry points by the option that takes their names


def _flag(name: str, each: Option) -> str:
    return each.flag or "--" + name.replace("_", "-")


def takes(**parts: Part) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """For a command: its keyword arguments of these names are dataclasses, whose options are the command's."""

    def taking(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        asked: list[inspect.Parameter] = []
        for each in inspect.signature(command).parameters.values():
            if each.name in parts:
                asked += parts[each.name].parameters()
            else:
                asked.append(each.replace(annotation=hints[each.name], kind=inspect.Parameter.KEYWORD_ONLY))

        @wraps(command)
        def run(**values: Any) -> None:
            made = {name: part.made(values) for name, part in parts.items()}
            command(**values, **made)

        run.__signature__ = inspect.Signature(asked)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in asked}
        return run

    return taking

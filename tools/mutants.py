"""The small faults that tools/mutate.py makes: each an edit of one place in a file, found in its syntax tree.

A comparison, a sum, a number, a text, a condition or a jump becomes its neighbour; a statement that only does something
is left out. Only what is inside functions changes: constants of a module, annotations, defaults and docstrings do not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

OPERATORS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "+"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "+"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.BitXor: ("^", "&"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
}


class Mutant(NamedTuple):
    """A file with another text at one place; `lines` are those of the statement up to it."""

    file: str  # from the root
    function: str
    lines: tuple[int, int]
    place: tuple[int, int]  # in bytes of the file
    was: str
    text: str

    @property
    def name(self) -> str:
        """Its place and its change, on one line."""
        was = " ".join(self.was.split())
        return f"{self.file.removeprefix('src/rxtls/')}:{self.lines[1]} {self.function}: {was!r} -> {self.text!r}"

    def applied(self, source: bytes) -> bytes:
        """The file's text with it."""
        return source[: self.place[0]] + self.text.encode() + source[self.place[1] :]


def mutants_of(root: Path, file: str) -> list[Mutant]:
    """All that there are in a file, in its order."""
    return list(_Found(root, file).all())


class _Found:
    """A file on its way to its mutants."""

    def __init__(self, root: Path, file: str) -> None:
        self._file = file
        self._source = (root / file).read_bytes()
        self._starts = [0]
        for line in self._source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def all(self) -> Iterator[Mutant]:
        """In the order of the file; of a function inside another, once."""
        for name, function in _functions(ast.parse(self._source), ""):
            for statement in function.body:
                yield from self._within(name, statement)

    def _within(self, name: str, statement: ast.stmt) -> Iterator[Mutant]:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            return  # a function inside has a name of its own
        if _left_out(statement):
            yield self._mutant(name, statement, statement, "pass")
        for child in ast.iter_child_nodes(statement):
            if isinstance(child, ast.stmt):
                yield from self._within(name, child)
            elif isinstance(child, ast.ExceptHandler | ast.match_case):
                for inner in child.body:
                    yield from self._within(name, inner)
            elif not (isinstance(statement, ast.AnnAssign) and child is statement.annotation) and not _text(statement):
                yield from self._expression(name, statement, child)
        yield from self._jump(name, statement)

    def _jump(self, name: str, statement: ast.stmt) -> Iterator[Mutant]:
        if isinstance(statement, ast.Break | ast.Continue):
            yield self._mutant(name, statement, statement, "continue" if isinstance(statement, ast.Break) else "break")
        elif isinstance(statement, ast.AugAssign):
            yield from self._between(name, statement, statement.target, statement.op, statement.value, after="=")

    def _expression(self, name: str, statement: ast.stmt, top: ast.AST) -> Iterator[Mutant]:
        for node in ast.walk(top):
            if isinstance(node, ast.BinOp):
                yield from self._between(name, statement, node.left, node.op, node.right)
            elif isinstance(node, ast.BoolOp):
                for left, right in zip(node.values, node.values[1:], strict=False):
                    yield from self._between(name, statement, left, node.op, right)
            elif isinstance(node, ast.Compare):
                for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
                    yield from self._between(name, statement, left, op, right)
            elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
                yield self._mutant(name, statement, node, self._at(node.operand))
            elif isinstance(node, ast.Constant):
                if type(node.value) is bool:
                    yield self._mutant(name, statement, node, str(not node.value))
                elif type(node.value) is int:
                    yield self._mutant(name, statement, node, str(node.value + 1))
                elif type(node.value) is str and self._at(node)[:1] in "'\"" and self._at(node)[:3] != '"""':
                    yield self._mutant(name, statement, node, repr(f"XX{node.value}"))

    def _between(
        self, name: str, statement: ast.stmt, left: ast.AST, op: ast.AST, right: ast.AST, after: str = ""
    ) -> Iterator[Mutant]:
        """The operator between two, which has no place of its own in the tree."""
        known = OPERATORS.get(type(op))
        start, end = self._place(left)[1], self._place(right)[0]
        between = self._source[start:end].decode()
        if known is None or between.count(known[0] + after) != 1 or "#" in between:
            return
        at = start + between.index(known[0])
        lines = statement.lineno, getattr(left, "end_lineno", statement.lineno)
        yield Mutant(self._file, name, lines, (at, at + len(known[0])), known[0], known[1])

    def _mutant(self, name: str, statement: ast.stmt, node: ast.AST, text: str) -> Mutant:
        lines = statement.lineno, getattr(node, "lineno", statement.lineno)
        return Mutant(self._file, name, lines, self._place(node), self._at(node), text)

    def _place(self, node: ast.AST) -> tuple[int, int]:
        start = self._starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        return start, self._starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]

    def _at(self, node: ast.AST) -> str:
        start, end = self._place(node)
        return self._source[start:end].decode()


def _functions(tree: ast.AST, above: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions with their names, those of classes and of functions too."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.FunctionDef):
            yield above + child.name, child
        named = isinstance(child, ast.FunctionDef | ast.ClassDef)
        yield from _functions(child, f"{above}{child.name}." if named else above)  # type: ignore[attr-defined]


def _text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _left_out(statement: ast.stmt) -> bool:
    """It does something and gives nothing that a later statement needs by name."""
    if isinstance(statement, ast.Assign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return all(isinstance(target, ast.Subscript | ast.Attribute) for target in targets)
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)

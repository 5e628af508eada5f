"""Kernels compiled by numba, with their parts and words, to object files. Imported only where something is not stored.

numba looks names up in a function's module. There the parts of kernels are `Part`, `Word` and `Foreign`, which mean
nothing to it; so each function is given a copy of its module's names in which these are what numba can call.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import types

from rxtls.native import words
from rxtls.native.interface import ARRAY_TYPE, CALLED, NONE, PYTHON, TUPLE_TYPE, target
from rxtls.native.parts import Foreign, Names, Part, Word
from rxtls.native.shapes import Argument, Columns, Group
from rxtls.native.words import OPTIONS, njit

_unliteral: Any = types.unliteral
_FOREIGN = {"address": types.int64, "int": types.int32}
_address = types.int64
_PYTHON = dict(
    zip(
        PYTHON,
        (
            types.int32(),
            _address(),
            types.void(_address),
            _address(),
            types.int64(_address),
            _address(types.int64),
            types.int32(_address, _address),
            _address(_address, types.int64),
            types.int64(_address),
            types.void(_address),
        ),
        strict=True,
    )
)


def build(function: Callable[..., Any], arguments: tuple[Argument | Group, ...], gives: bool) -> tuple[bytes, bytes]:
    """Object files of `function`: numba's, with an entry for Python's arguments, and that of the C function CALLED.

    A function of numba's gives an exception or none, and its result by an address: nothing that Python could call.
    """
    made = njit("int64(int64, int64, int64)", **OPTIONS)(
        _entry(njit(**OPTIONS)(_NAMES.resolved(function)), arguments, gives)
    )
    (compiled,) = made.overloads.values()
    return compiled.library._get_compiled_object(), _called(compiled.fndesc.llvm_func_name)


def _entry(function: Any, arguments: tuple[Argument | Group, ...], gives: bool) -> Any:
    """`function` of Python objects: (self, address of the arguments, their number) to an object, 0 with an error."""
    names: dict[str, Any] = {"function": function, "get": words.get}
    names.update({name: types.ExternalFunction(name, signature) for name, signature in _PYTHON.items()})
    lines = [
        "def entry(self, args, count):",
        f"    if count != {len(arguments)}:",
        "        PyErr_BadArgument()",
        "        return 0",
        f"    kind = PyTuple_GetItem(self, {ARRAY_TYPE})",
        f"    a_tuple = PyTuple_GetItem(self, {TUPLE_TYPE})",
    ]

    def argument(name: str, each: Argument) -> str:
        """Look at the object that `name` stands for; what to hand over for it."""
        if each.dimensions:
            array = f"{each.item}_{each.dimensions}"
            names[array], names[f"is_{array}"] = words.array_of(each.item, each.dimensions)
            lines.extend([f"    if not is_{array}({name}, kind):", *refused])
            return f"{array}({name})"
        lines.extend([f"    {name} = PyLong_AsLongLong({name})", f"    if {name} == -1 and PyErr_Occurred() != 0:"])
        lines.append("        return 0")
        return f"{name} != 0" if each.item == "boolean" else name

    refused = ["        PyErr_BadArgument()", "        return 0"]
    handed = []
    for n, each in enumerate(arguments):
        lines.append(f"    a{n} = get(args, {n})")
        if isinstance(each, Group):
            length, made = len(each.fields), each.made.__name__
            lines.append(f"    if PyObject_IsInstance(a{n}, a_tuple) != 1 or PyTuple_Size(a{n}) != {length}:")
            lines += refused
            lines += [f"    a{n}_{m} = PyTuple_GetItem(a{n}, {m})" for m in range(length)]
            names[made] = each.made
            fields = [argument(f"a{n}_{m}", field) for m, field in enumerate(each.fields)]
            handed.append(f"{made}({', '.join(fields)})")
        else:
            handed.append(argument(f"a{n}", each))
    call = f"function({', '.join(handed)})"
    lines += [
        "    thread = PyEval_SaveThread()",
        f"    result = {call}" if gives else f"    {call}",
        "    PyEval_RestoreThread(thread)",
    ]
    if gives:
        lines.append("    return PyLong_FromLongLong(result)")
    else:
        lines += [f"    none = PyTuple_GetItem(self, {NONE})", "    Py_IncRef(none)", "    return none"]
    exec("\n".join(lines), names)
    return names["entry"]


def _called(entry: str) -> bytes:
    """The object file of PyObject *CALLED(PyObject *self, PyObject **args, Py_ssize_t count), which calls `entry`."""
    word = ir.IntType(64)
    module = ir.Module()
    inside = ir.Function(module, ir.FunctionType(ir.IntType(32), [word] * 5), entry)
    outside = ir.Function(module, ir.FunctionType(word, [word] * 3), CALLED)
    builder = ir.IRBuilder(outside.append_basic_block())
    result, exception = builder.alloca(word), builder.alloca(word)
    builder.store(word(0), result)
    at = [builder.ptrtoint(each, word) for each in (result, exception)]
    builder.call(inside, [*at, *outside.args])
    builder.ret(builder.load(result))
    module.triple = llvm.get_process_triple()
    made: bytes = target().emit_object(llvm.parse_assembly(str(module)))
    return made


@cache
def _part(part: Part) -> Any:
    options = {"forceinline": True} if part.forceinline else {}
    made = njit(**OPTIONS, **options)(_NAMES.resolved(part.function))
    template = made.get_call_template
    # Without this, it would be compiled anew for each constant that it is called with.
    made.get_call_template = lambda arguments, named: template([_unliteral(each) for each in arguments], named)
    return made


def _meant(value: Any) -> Any:
    if isinstance(value, Part):
        return _part(value)
    if isinstance(value, Word):
        return getattr(words, value.name)
    if isinstance(value, type) and issubclass(value, Columns):
        columns = ModuleType(value.__name__)  # numba knows no classes
        vars(columns).update({name: n for name, n in vars(value).items() if name.isupper()})
        return columns
    if isinstance(value, Foreign):
        return types.ExternalFunction(value.symbol, types.int32(*(_FOREIGN[each] for each in value.arguments)))
    return value


_NAMES = Names(_meant)

"""The parameters of a chapter: the assignments of its cell tagged `parameters`.

papermill takes any parameter with a warning at most; here a chapter is given parameters that it
has, of the types that they have.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nbformat

LARGEST = 10_000  # bits of a number, or items of a sequence, that an expression may make

OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.Pow: operator.pow, ast.LShift: operator.lshift, ast.RShift: operator.rshift,
    ast.BitOr: operator.or_, ast.BitXor: operator.xor, ast.BitAnd: operator.and_,
    ast.UAdd: operator.pos, ast.USub: operator.neg, ast.Invert: operator.invert,
    ast.Not: operator.not_, ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt,
    ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip


def defaults(notebook: Path | str) -> dict[str, Any]:
    """The parameters of a chapter and their defaults: the assignments of its `parameters` cell.

    A default is any expression of constants and of earlier parameters, such as `2**10`, `-1e-3`,
    `(0, None)`, `{"a": [1, 2]}`.

    Raises:
        ValueError: there is no such file, it is no notebook of Python, or its cell is missing or
            holds something else; the message names the line.
    """
    path = Path(notebook)
    if not path.is_file():
        raise ValueError(f"there is no notebook {path}.")
    try:
        book = nbformat.read(path, as_version=4)
    except Exception as error:  # of many kinds
        raise ValueError(f"{path} is not a notebook ({_line(error)}).") from error
    metadata = book.metadata
    language = metadata.get("kernelspec", {}).get("language")
    language = language or metadata.get("language_info", {}).get("name") or "python"
    if language.lower() not in ("python", "ipython"):
        raise ValueError(f"{path} is a notebook of {language}: only those of Python can be run.")
    tagged = [cell for cell in book.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"{path} has {len(tagged)} cells tagged `parameters`: it must have one.")
    return _assignments(tagged[0].source, path)


def _assignments(source: str, path: Path) -> dict[str, Any]:
    """The names and values that a cell assigns."""
    lines = source.splitlines()

    def refuse(line: int, reason: str) -> ValueError:
        text = lines[line - 1].strip() if 0 < line <= len(lines) else ""
        return ValueError(
            f"{path}: line {line} of the `parameters` cell, `{text[:80]}`, {reason}: write "
            "NAME = VALUE, a line for each parameter, with plain values such as 3, 0.5 or 'a'."
        )

    for number, text in enumerate(lines, 1):
        if text.lstrip().startswith(("%", "!", "?")):
            raise refuse(number, "is a command of IPython")
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise refuse(error.lineno or 1, f"is not Python ({error.msg})") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise refuse(1, f"is not Python ({_line(error)})") from error
    values: dict[str, Any] = {}
    for statement in statements:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=ast.expr() as value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                try:
                    values[name] = evaluate(value, values)
                except (ArithmeticError, TypeError, ValueError, RecursionError) as error:
                    raise refuse(statement.lineno, f"cannot be read ({_line(error)})") from error
            case _:
                raise refuse(statement.lineno, "is not NAME = VALUE")
    return values


def evaluate(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """The value of an expression of constants and of these names; nothing of it is executed.

    Raises:
        ValueError: it holds anything else, or makes something large.
        ArithmeticError, TypeError: its operators do not go with its values.
    """

    def value(node: Any) -> Any:
        return evaluate(node, names)

    match node:
        case ast.Constant(value=found) if found is not ...:
            return found
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.Tuple(elts=items):
            return tuple(map(value, items))
        case ast.List(elts=items):
            return list(map(value, items))
        case ast.Set(elts=items):
            return set(map(value, items))
        case ast.Dict(keys=keys, values=items) if None not in keys:
            return dict(zip(map(value, keys), map(value, items), strict=True))
        case ast.UnaryOp(op=op, operand=operand):
            return OPERATORS[type(op)](value(operand))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            first, second = value(left), value(right)
            if _size(op, first, second) > LARGEST:
                raise ValueError("it is too large")
            return OPERATORS[type(op)](first, second)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in OPERATORS:
            return OPERATORS[type(op)](value(left), value(right))
        case ast.BoolOp(op=op, values=items):
            *early, last = map(value, items)
            return next((x for x in early if bool(x) == isinstance(op, ast.Or)), last)
        case ast.IfExp(test=test, body=body, orelse=other):
            return value(body) if value(test) else value(other)
    raise ValueError(f"`{ast.unparse(node)}` is not a plain value")


def _size(op: ast.operator, first: Any, second: Any) -> float:
    """About how large the result of an operation is, in bits or items."""

    def own(x: Any) -> float:
        return x.bit_length() if isinstance(x, int) else len(x) if hasattr(x, "__len__") else 64

    match op:
        case ast.Pow() if isinstance(second, int):
            return own(first) * abs(second) if isinstance(first, int) else 0
        case ast.LShift() if isinstance(second, int):
            return own(first) + abs(second)
        case ast.Mult() if hasattr(first, "__len__") and isinstance(second, int):
            return len(first) * second
        case ast.Mult() if hasattr(second, "__len__") and isinstance(first, int):
            return len(second) * first
        case ast.Mod() if isinstance(first, str | bytes):
            return float("inf")  # "%9999999d" % 1
    return own(first) + own(second)


def check(
    notebook: Path | str, given: Mapping[str, Any], known: Mapping[str, Any] | None = None
) -> None:
    """Raise a ValueError if the chapter does not take these parameters, by name or by type.

    A whole number goes for a float, a list for a tuple; where the default is None, anything goes.

    Args:
        known: its `defaults`, where they were read before.
    """
    known = defaults(notebook) if known is None else known
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"{notebook} has no parameter {name!r}: it has {', '.join(known)}.")
        found, wanted = type(value), type(known[name])
        alike = found is wanted or (found, wanted) in ((int, float), (list, tuple))
        if not alike and wanted is not type(None):
            raise ValueError(
                f"the parameter {name} of {notebook} is {value!r}, a {found.__name__}: give "
                f"a {wanted.__name__}, such as its default {known[name]!r}."
            )


def parse_value(text: str, default: Any = None) -> Any:
    """What a word of the command line means; a word stays one where the default is one."""
    if isinstance(default, str):
        return text
    try:
        return evaluate(ast.parse(text.strip(), mode="eval").body, {})
    except (SyntaxError, ArithmeticError, TypeError, ValueError, RecursionError, MemoryError):
        return text


def source(value: Any) -> str:
    """A value as Python is written."""
    match value:
        case float() if not math.isfinite(value):
            return f"float('{value}')"
        case list():
            return f"[{', '.join(map(source, value))}]"
        case tuple():
            return f"({''.join(f'{source(item)}, ' for item in value)})"
        case dict():
            return f"{{{', '.join(f'{source(k)}: {source(v)}' for k, v in value.items())}}}"
    return repr(value)


def _line(error: BaseException) -> str:
    """The first line of an error's text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]

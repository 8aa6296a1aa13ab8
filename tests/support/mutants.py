"""Mutants of one module: each a single small change of what it decides, to be told by its tests.

A mutant flips a comparison, swaps `and` with `or`, negates a condition, shifts a number, or leaves
out a `yield` or what is added to a collection. Words for people (the `detail` of a reason) and
types are left alone: they decide nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

_FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_Change = tuple[int, str, Callable[[], object]]
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed module: the line, what was done there, and the source."""

    line: int
    what: str
    source: str


def places(source: str) -> int:
    """How many mutants a module has."""
    return sum(1 for _ in _changes(ast.parse(source)))


def mutate(source: str, place: int) -> Mutant:
    """One mutant of a module, by its place in the order of the text."""
    changed = ast.parse(source)
    line, what = _apply(changed, place)
    return Mutant(line=line, what=what, source=ast.unparse(ast.fix_missing_locations(changed)))


def _apply(tree: ast.Module, place: int) -> tuple[int, str]:
    for number, (line, what, change) in enumerate(_changes(tree)):
        if number == place:
            change()
            return line, what
    raise IndexError(place)


def _changes(tree: ast.Module) -> Iterator[_Change]:
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        for node in _deciding(function):
            yield from _of(node)


def _deciding(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function that decide: no annotation, no argument, no word for people."""
    left_alone = ("annotation", "returns", "decorator_list")
    for name, value in ast.iter_fields(node):
        if name in left_alone or (name == "args" and isinstance(node, ast.FunctionDef)):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST):
                continue
            if isinstance(child, ast.keyword) and child.arg == "detail":
                continue
            yield child
            yield from _deciding(child)


def _of(node: ast.AST) -> Iterator[_Change]:  # noqa: C901 -- one case for each kind of change
    line = getattr(node, "lineno", 0)
    match node:
        case ast.Compare():
            for index, kind in enumerate(node.ops):
                other = _FLIPPED[type(kind)]
                change = partial(node.ops.__setitem__, index, other())
                yield line, f"{type(kind).__name__} to {other.__name__}", change
        case ast.BoolOp(op=ast.And()):
            yield line, "and to or", partial(setattr, node, "op", ast.Or())
        case ast.BoolOp():
            yield line, "or to and", partial(setattr, node, "op", ast.And())
        case ast.BinOp() if type(node.op) in _ARITHMETIC:
            other_operator = _ARITHMETIC[type(node.op)]()
            yield line, "another operator", partial(setattr, node, "op", other_operator)
        case ast.UnaryOp(op=ast.Not()):
            twice = ast.UnaryOp(op=ast.Not(), operand=node.operand)
            yield line, "without not", partial(setattr, node, "operand", twice)
        case ast.Constant(value=int() as number) if not isinstance(number, bool):
            yield line, f"{number} to {number + 1}", partial(setattr, node, "value", number + 1)
        case ast.Expr(value=ast.Yield() | ast.YieldFrom() as yielded):
            yield line, "without a yield", partial(setattr, node, "value", _unyielded(yielded))
        case ast.If() | ast.IfExp():
            negated = ast.UnaryOp(op=ast.Not(), operand=node.test)
            yield line, "negated", partial(setattr, node, "test", negated)
        case ast.AugAssign():
            nothing = ast.Tuple(elts=[], ctx=ast.Load())
            yield line, "adds nothing", partial(setattr, node, "value", nothing)


def _unyielded(node: ast.Yield | ast.YieldFrom) -> ast.expr:
    """The value alone; a generator stays one by a `yield` that is never reached."""
    never = ast.YieldFrom(value=ast.Tuple(elts=[], ctx=ast.Load()))
    return ast.Tuple(elts=[node.value or ast.Constant(None), never], ctx=ast.Load())

"""Quantities as formulas over inputs and usage, in a language whose bounds can be proved.

`inputs.height * inputs.width * (inputs.seconds + usage.video_second) * 24 / 1024`: numbers, names,
`+ - * /` and `min max ceil floor`. Evaluates exactly, in fractions; knows an interval for every
formula once its names have one. There are no loops, powers, strings or calls beyond these.
"""

import ast
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

LONGEST = 400  # characters
DEEPEST = 20
FAMILIES = ("inputs", "usage")
Values = Mapping[str, Fraction]


class FormulaError(ValueError):
    """What is wrong with a formula, for the person who wrote it."""


@dataclass(frozen=True, slots=True)
class Interval:
    """All values from low to high, both included."""

    low: Fraction
    high: Fraction


Ranges = Mapping[str, Interval]
FUNCTIONS: dict[str, Callable[..., Fraction]] = {
    "min": min,
    "max": max,
    "ceil": lambda x: Fraction(math.ceil(x)),
    "floor": lambda x: Fraction(math.floor(x)),
}


@dataclass(frozen=True, slots=True)
class Formula:
    """A parsed formula. names: what it reads, such as `inputs.seconds`."""

    text: str
    tree: ast.expr
    names: frozenset[str]

    def value(self, values: Values) -> Fraction:
        """Evaluate exactly. Raises KeyError for a name without a value."""
        return evaluate(self.tree, self.text, values)

    def interval(self, ranges: Ranges) -> Interval:
        """All values the formula can take. Raises FormulaError where that is not bounded."""
        return bounded(self.tree, self.text, ranges)


def parse(text: str) -> Formula:
    """Raises FormulaError with the reason and the place."""
    if len(text) > LONGEST:
        raise FormulaError(f"is longer than {LONGEST} characters")
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise FormulaError("is not an expression") from None
    names: set[str] = set()
    check(tree, names, depth=0)
    return Formula(text, tree, frozenset(names))


def check(node: ast.expr, names: set[str], depth: int) -> None:
    """Refuse everything that is not in the language."""
    if depth > DEEPEST:
        raise FormulaError(f"is nested deeper than {DEEPEST}")
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return
        case ast.Attribute(value=ast.Name(id=family), attr=name) if family in FAMILIES:
            names.add(f"{family}.{name}")
            return
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), right=right):
            parts = [left, right]
        case ast.Call(func=ast.Name(id="min" | "max"), args=[_, _, *_] as parts, keywords=[]):
            pass
        case ast.Call(func=ast.Name(id="ceil" | "floor"), args=[_] as parts, keywords=[]):
            pass
        case _:
            raise FormulaError(f"does not know `{ast.unparse(node)[:60]}`")
    for part in parts:
        check(part, names, depth + 1)


def number(node: ast.Constant, text: str) -> Fraction:
    """The constant as it was written, not as a float."""
    written = ast.get_source_segment(text, node) or str(node.value)
    return Fraction(written.replace("_", ""))


def dotted(node: ast.Attribute) -> str:
    return ast.unparse(node)


def evaluate(node: ast.expr, text: str, values: Values) -> Fraction:
    match node:
        case ast.Constant():
            return number(node, text)
        case ast.Attribute():
            return values[dotted(node)]
        case ast.BinOp(left=left, op=op, right=right):
            return combine(op, evaluate(left, text, values), evaluate(right, text, values))
        case ast.Call(func=ast.Name(id=name), args=args):
            return FUNCTIONS[name](*(evaluate(arg, text, values) for arg in args))
    raise AssertionError("checked when it was parsed")


def combine(op: ast.operator, left: Fraction, right: Fraction) -> Fraction:
    match op:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
    return left / right


def bounded(node: ast.expr, text: str, ranges: Ranges) -> Interval:
    match node:
        case ast.Constant():
            return Interval(number(node, text), number(node, text))
        case ast.Attribute():
            if (found := ranges.get(dotted(node))) is None:
                raise FormulaError(f"is not bounded: `{dotted(node)}` has no least and most")
            return found
        case ast.BinOp(left=left, op=op, right=right):
            return spanned(op, bounded(left, text, ranges), bounded(right, text, ranges))
        case ast.Call(func=ast.Name(id=name), args=args):
            parts = [bounded(arg, text, ranges) for arg in args]
            function = FUNCTIONS[name]
            return Interval(function(*(p.low for p in parts)), function(*(p.high for p in parts)))
    raise AssertionError("checked when it was parsed")


def spanned(op: ast.operator, left: Interval, right: Interval) -> Interval:
    """The interval of an operation; all four are extreme at the corners."""
    if isinstance(op, ast.Div) and right.low <= 0 <= right.high:
        raise FormulaError("is not bounded: it may divide by 0")
    corners = [combine(op, a, b) for a in (left.low, left.high) for b in (right.low, right.high)]
    return Interval(min(corners), max(corners))


def grows_with_usage(formula: Formula, ranges: Ranges) -> bool:
    """Whether more usage can never make the formula smaller.

    A sufficient rule, not a necessary one: usage stands in no subtrahend or divisor, and is
    multiplied by nothing negative.
    """
    return grows(formula.tree, formula.text, ranges)


def grows(node: ast.expr, text: str, ranges: Ranges) -> bool:
    if not reads_usage(node):
        return True
    match node:
        case ast.BinOp(left=left, op=ast.Sub() | ast.Div() as op, right=right):
            positive = isinstance(op, ast.Sub) or bounded(right, text, ranges).low > 0
            return positive and not reads_usage(right) and grows(left, text, ranges)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            signs = all(bounded(part, text, ranges).low >= 0 for part in (left, right))
            return signs and grows(left, text, ranges) and grows(right, text, ranges)
        case ast.BinOp(left=left, right=right):
            return grows(left, text, ranges) and grows(right, text, ranges)
        case ast.Call(args=args):
            return all(grows(arg, text, ranges) for arg in args)
    return True


def reads_usage(node: ast.expr) -> bool:
    names = (dotted(part) for part in ast.walk(node) if isinstance(part, ast.Attribute))
    return any(name.startswith("usage.") for name in names)

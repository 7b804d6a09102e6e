"""Quantities as formulas over inputs and usage, in a language whose bounds can be proved.

`inputs.height * inputs.width * (inputs.seconds + usage.video_second) * 24 / 1024`: numbers, names,
`+ - * /` and `min max ceil floor`. Evaluates exactly, in fractions; knows an interval for every
formula once its names have one. There are no loops, powers, strings or calls beyond these.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

LONGEST = 400  # characters
DEEPEST = 20
FAMILIES = ("inputs", "usage")
Number = int | Fraction  # whole numbers stay int: exact as well, and faster
Values = Mapping[str, Number]
Evaluate = Callable[[Values], Number]
Operation = Callable[[Number, Number], Number]


class FormulaError(ValueError):
    """What is wrong with a formula, for the person who wrote it."""


@dataclass(frozen=True, slots=True)
class Interval:
    """All values from low to high, both included."""

    low: Fraction
    high: Fraction


Ranges = Mapping[str, Interval]
FUNCTIONS: dict[str, Callable[..., Number]] = {
    "min": min,
    "max": max,
    "ceil": math.ceil,
    "floor": math.floor,
}


@dataclass(frozen=True, slots=True)
class Formula:
    """A parsed formula. names: what it reads, such as `inputs.seconds`, `usage.token:image_out`."""

    text: str
    tree: ast.expr
    names: frozenset[str]
    evaluate: Evaluate = field(repr=False, compare=False)

    def value(self, values: Values) -> Number:
        """Evaluate exactly. Raises KeyError for a name without a value."""
        return self.evaluate(values)

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
    return Formula(text, tree, frozenset(names), compiled(tree, text))


def check(node: ast.expr, names: set[str], depth: int) -> None:
    """Refuse everything that is not in the language."""
    if depth > DEEPEST:
        raise FormulaError(f"is nested deeper than {DEEPEST}")
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return
        case ast.Attribute() if name := name_of(node):
            names.add(name)
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


def number(node: ast.Constant, text: str) -> Number:
    """The constant as it was written, not as a float."""
    if isinstance(node.value, int):
        return node.value
    written = ast.get_source_segment(text, node) or str(node.value)
    return Fraction(written.replace("_", ""))


def name_of(node: ast.expr) -> str:
    """`inputs.seconds`, `usage.image`, or `usage.token:image_out` for `usage.token.image_out`."""
    match node:
        case ast.Attribute(value=ast.Name(id=family), attr=name) if family in FAMILIES:
            return f"{family}.{name}"
        case ast.Attribute(value=ast.Attribute(value=ast.Name(id="usage"), attr=unit), attr=kind):
            return f"usage.{unit}:{kind}"
    return ""


def compiled(node: ast.expr, text: str) -> Evaluate:
    """A function of the values; the tree is walked once, not at every price."""
    match node:
        case ast.Constant():
            constant = number(node, text)
            return lambda values: constant
        case ast.Attribute():
            name = name_of(node)
            return lambda values: values[name]
        case ast.BinOp(left=left, op=op, right=right):
            return combined(OPERATIONS[type(op)], compiled(left, text), compiled(right, text))
        case ast.Call(func=ast.Name(id=name), args=args):
            return called(FUNCTIONS[name], [compiled(arg, text) for arg in args])
    raise AssertionError("checked when it was parsed")


def combined(operation: Operation, left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda values: operation(left(values), right(values))


def called(function: Callable[..., Number], args: list[Evaluate]) -> Evaluate:
    return lambda values: function(*(arg(values) for arg in args))


def divided(left: Number, right: Number) -> Number:
    return Fraction(left) / right


OPERATIONS: dict[type[ast.operator], Operation] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: divided,
}


def bounded(node: ast.expr, text: str, ranges: Ranges) -> Interval:
    match node:
        case ast.Constant():
            return Interval(Fraction(number(node, text)), Fraction(number(node, text)))
        case ast.Attribute():
            if (found := ranges.get(name_of(node))) is None:
                raise FormulaError(f"is not bounded: `{ast.unparse(node)}` has no least and most")
            return found
        case ast.BinOp(left=left, op=op, right=right):
            return spanned(op, bounded(left, text, ranges), bounded(right, text, ranges))
        case ast.Call(func=ast.Name(id=name), args=args):
            parts, function = [bounded(arg, text, ranges) for arg in args], FUNCTIONS[name]
            low, high = function(*(p.low for p in parts)), function(*(p.high for p in parts))
            return Interval(Fraction(low), Fraction(high))
    raise AssertionError("checked when it was parsed")


def spanned(op: ast.operator, left: Interval, right: Interval) -> Interval:
    """The interval of an operation; all four are extreme at the corners."""
    if isinstance(op, ast.Div) and right.low <= 0 <= right.high:
        raise FormulaError("is not bounded: it may divide by 0")
    operation = OPERATIONS[type(op)]
    corners = [
        Fraction(operation(a, b)) for a in (left.low, left.high) for b in (right.low, right.high)
    ]
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
    names = (name_of(part) for part in ast.walk(node) if isinstance(part, ast.Attribute))
    return any(name.startswith("usage.") for name in names)

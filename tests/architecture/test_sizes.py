"""Short functions, short files, docstrings and annotations everywhere."""

import ast
import statistics
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("marketplace", "partners", "inference")
LONGEST_FILE = 400
LONGEST_FUNCTION, P90_FUNCTION, MEDIAN_FUNCTION = 60, 30, 10
LONGEST_DOCSTRING = 12
VAGUE = {
    "utils", "helpers", "common", "misc", "services", "selectors", "serializers", "signals", "base",
}  # fmt: skip
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of ours, by path; migrations are written by Django."""
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    return {
        str(file.relative_to(ROOT)): ast.parse(file.read_text())
        for file in files
        if "migrations" not in file.parts
    }


def functions() -> Iterator[tuple[str, Function]]:
    for path, module in modules().items():
        for node in ast.walk(module):
            if isinstance(node, Function):
                yield f"{path}:{node.lineno} {node.name}", node


def lines(function: Function) -> int:
    """Lines of code: from `def` to the end, without the docstring."""
    documented = ast.get_docstring(function, clean=False)
    whole = (function.end_lineno or function.lineno) - function.lineno + 1
    return whole - (documented.count("\n") + 1 if documented else 0)


def unannotated(function: Function) -> list[str]:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    stars = [a for a in (arguments.vararg, arguments.kwarg) if a]
    missing = [a.arg for a in named + stars if not a.annotation and a.arg not in ("self", "cls")]
    return missing + ([] if function.returns else ["return"])


def test_no_file_is_too_long() -> None:
    sizes = {path: len((ROOT / path).read_text().splitlines()) for path in modules()}
    assert {path: size for path, size in sizes.items() if size > LONGEST_FILE} == {}


def test_functions_are_short() -> None:
    sizes = {name: lines(function) for name, function in functions()}
    assert {name: size for name, size in sizes.items() if size > LONGEST_FUNCTION} == {}
    assert statistics.quantiles(sizes.values(), n=10)[-1] <= P90_FUNCTION
    assert statistics.median(sizes.values()) <= MEDIAN_FUNCTION


def test_every_module_says_what_it_is_for() -> None:
    said = {path: ast.get_docstring(module) or "" for path, module in modules().items()}
    assert [path for path, text in said.items() if not text] == []
    long = {path for path, text in said.items() if len(text.splitlines()) > LONGEST_DOCSTRING}
    assert long == {"marketplace/errors.py"}  # it draws the tree of errors


def test_everything_is_annotated() -> None:
    found = {name: unannotated(function) for name, function in functions()}
    assert {name: missing for name, missing in found.items() if missing} == {}


@pytest.mark.parametrize("name", sorted(VAGUE))
def test_no_file_has_a_name_that_says_nothing(name: str) -> None:
    assert [path for path in modules() if Path(path).stem == name] == []

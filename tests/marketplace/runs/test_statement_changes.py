"""Not one nano of a statement can be changed unseen."""

import hashlib
import importlib.util
import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from marketplace.runs.statement import canonical, sealed
from tests.marketplace.runs.statements import (
    SCRIPT,
    Line,
    checked,
    of,
    verify,
)

pytestmark = pytest.mark.django_db(transaction=True)


def rehashed(lines: list[Line], price: Line) -> None:
    """Give an edited price a right hash, also in its runs."""
    before = price.pop("sha256")
    said = {name: value for name, value in price.items() if name != "kind"}
    price["sha256"] = hashlib.sha256(canonical(said)).hexdigest()
    for line in of(lines, "run"):
        if line["price_sha256"] == before:
            line["price_sha256"] = price["sha256"]


def one_more(lines: list[Line], number: int, *names: str) -> None:
    line = of(lines, "run")[number]
    for name in names:
        line[name] += 1


def balanced(lines: list[Line], number: int) -> None:
    """One nano more, carried through hold, quote, entries and total."""
    one_more(lines, number, "captured_nano", "held_nano", "quoted_nano")
    for entry in of(lines, "run")[number]["entries"]:
        entry["amount_nano"] += -1 if entry["yours"] else 1
    lines[-1]["captured_nano"] += 1


def charge(lines: list[Line], number: int, charged: str) -> None:
    of(lines, "run")[number]["usage"][0]["charged"] = charged


def shown(lines: list[Line], number: int, name: str) -> None:
    line = of(lines, "run")[number]["lines"][0]
    line[name] = str(Decimal(line[name]) + Decimal("0.000000000001"))


def reprice(lines: list[Line], place: int, edit: Callable[[Line], None], rehash: bool) -> None:
    price = of(lines, "price")[1]
    edit(price["lines"][place])
    if rehash:
        rehashed(lines, price)


def cheaper(line: Line) -> None:
    line["tiers"]["steps"][-1]["unit_price"] = "0.000123456788"


def drop(lines: list[Line], kind: str, number: int) -> None:
    lines.remove(of(lines, kind)[number])


def first_input(lines: list[Line], **changed: Any) -> None:
    of(lines, "run")[1]["inputs"].update(changed)


def refunded_more(lines: list[Line]) -> None:
    """One nano more than was charged, carried through the entries and the total."""
    [refund] = of(lines, "run")[1]["refunds"]
    refund["amount_nano"] += 1
    for entry in refund["entries"]:
        entry["amount_nano"] += 1 if entry["yours"] else -1
    lines[-1]["refunded_nano"] += 1


PLANTED: dict[str, Callable[[list[Line]], None]] = {
    "captured": lambda x: one_more(x, 0, "captured_nano"),
    "captured, simple, all consistent": lambda x: balanced(x, 0),
    "captured, complex, all consistent": lambda x: balanced(x, 1),
    "captured, partial, all consistent": lambda x: balanced(x, 2),
    "captured though voided": lambda x: balanced(x, 3),
    "captured though in review": lambda x: balanced(x, 4),
    "held above quoted": lambda x: one_more(x, 3, "held_nano"),
    "a quantity": lambda x: charge(x, 1, "3"),
    "a quantity's last digit": lambda x: charge(x, 0, "4.000001"),
    "a quantity of a free run": lambda x: charge(x, 3, "1"),
    "a shown quantity": lambda x: shown(x, 1, "quantity"),
    "a shown price": lambda x: shown(x, 0, "unit_price"),
    "a shown amount": lambda x: shown(x, 2, "amount"),
    "a price digit": lambda x: reprice(x, 0, cheaper, rehash=False),
    "a price digit with its hash": lambda x: reprice(x, 0, cheaper, rehash=True),
    "a tier's end": lambda x: reprice(
        x, 0, lambda line: line["tiers"]["steps"][0].update(up_to="0.6"), rehash=True
    ),
    "a factor": lambda x: reprice(
        x, 0, lambda line: line["factors"][0].update(factor="0.333333"), rehash=True
    ),
    "the hours of a factor": lambda x: reprice(
        x, 0, lambda line: line["factors"].append({"between": ["00:00", "23:59:59.999999"],
                                                   "factor": "0.9"}), rehash=True
    ),
    "a volume tier": lambda x: reprice(
        x, 1, lambda line: line["tiers"].update(mode="graduated"), rehash=True
    ),
    "a row of the table": lambda x: reprice(
        x, 2, lambda line: line["table"][0].update(unit_price="0.0124"), rehash=True
    ),
    "a formula": lambda x: reprice(
        x, 3, lambda line: line.update(quantity=line["quantity"].replace("0.5", "0.6")), rehash=True
    ),
    "a minimum": lambda x: reprice(x, 0, lambda line: line.update(minimum="5"), rehash=True),
    "an included quantity": lambda x: reprice(
        x, 0, lambda line: line.update(included="0"), rehash=True
    ),
    "a rounding": lambda x: reprice(x, 0, lambda line: line.update(step="0.7"), rehash=True),
    "an input": lambda x: first_input(x, seed=4),
    "an input nobody is charged for": lambda x: first_input(x, prompt="noon"),
    "an entry": lambda x: of(x, "run")[0]["entries"][0].update(amount_nano=-7_999_999),
    "an entry's owner": lambda x: of(x, "run")[0]["entries"][0].update(yours=False),
    "a dropped run": lambda x: drop(x, "run", 1),
    "a dropped free run": lambda x: drop(x, "run", 3),
    "a dropped price": lambda x: drop(x, "price", 1),
    "a dropped total": lambda x: drop(x, "total", 0),
    "a run told twice": lambda x: x.insert(3, x[2]),
    "a run of another day": lambda x: x[0].update(to=x[0]["from"]),
    "the total": lambda x: x[-1].update(captured_nano=x[-1]["captured_nano"] - 1),
    "a refund": lambda x: of(x, "run")[0]["refunds"][0].update(amount_nano=1_234_568),
    "a refund, all consistent": refunded_more,
    "a refund's entry": lambda x: of(x, "run")[0]["refunds"][0]["entries"][0].update(amount_nano=1),
    "a dropped refund": lambda x: of(x, "run")[0]["refunds"].pop(),
    "a refund told twice": lambda x: of(x, "run")[0]["refunds"].append(
        of(x, "run")[0]["refunds"][0]
    ),
    "the total of refunds": lambda x: x[-1].update(refunded_nano=x[-1]["refunded_nano"] + 1),
    "the number of runs": lambda x: x[-1].update(runs=6),
}  # fmt: skip


def test_each_planted_change_is_found(told: list[Line]) -> None:
    for name, plant in PLANTED.items():
        lines = json.loads(json.dumps(told))
        plant(lines)
        assert lines != told, name
        code, said = checked(lines)
        assert (code, "Every nano" in said, "cannot be read" in said) == (1, False, False), name


MONEY = re.compile(r"(captured|refunded|amount)_nano|quantity|unit_price|amount|charged")
Place = tuple[int | str, ...]


def leaves(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every value in a line that holds no others, with the way to it."""
    if isinstance(value, dict | list):
        for step, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(part, (*place, step))
    else:
        yield place, value


def inside(lines: list[Line], place: Place) -> Any:
    found: Any = lines
    for step in place:
        found = found[step]
    return found


def changed(value: Any) -> Iterator[Any]:
    """What could stand there in its place, as near as can be."""
    if isinstance(value, bool) or value is None:
        yield not value
    elif isinstance(value, int):
        yield from (value - 1, value + 1)
    elif re.fullmatch(r"-?\d+(\.\d+)?", value):
        yield from (str(Decimal(value) + step) for step in (Decimal("1e-9"), Decimal("-1e-9")))
    else:
        yield value + "x"


def mutations(lines: list[Line]) -> Iterator[tuple[str, list[Line]]]:
    """Every value changed by the least, every row dropped, told twice and put elsewhere."""
    for place, value in leaves(lines):
        for other in changed(value):
            copy = json.loads(json.dumps(lines))
            inside(copy, place[:-1])[place[-1]] = other
            yield f"{place}: {value} → {other}", copy
    lists = {place[:depth] for place, _ in leaves(lines) for depth in range(len(place))}
    for place in sorted(lists, key=str):
        if isinstance(inside(lines, place), list):
            for number in range(len(inside(lines, place))):
                yield from rearranged(lines, place, number)


def rearranged(lines: list[Line], place: Place, number: int) -> Iterator[tuple[str, list[Line]]]:
    for what in ("dropped", "told twice", "first"):
        copy = json.loads(json.dumps(lines))
        row = inside(copy, place)
        part = row.pop(number)
        row[number:number] = [part, part] if what == "told twice" else []
        row[:0] = [part] if what == "first" else []
        if copy != lines:
            yield f"{place}: {number} {what}", copy


@pytest.fixture(scope="module")
def verifier() -> Any:
    spec = importlib.util.spec_from_file_location("verify_statement", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def finds(verifier: Any, texts: list[bytes]) -> bool:
    try:
        return bool(list(verifier.verify(texts)))
    except (ArithmeticError, LookupError, SyntaxError, TypeError, ValueError):
        return True  # what the script itself calls unreadable


def test_the_seal_finds_every_least_change(told: list[Line], verifier: Any) -> None:
    whole = list(sealed(iter(told)))
    assert not finds(verifier, whole)
    honest = json.loads(whole[-1])["sha256"]
    tried = missed = 0
    for name, lines in mutations(told):
        texts = [json.dumps(line, separators=(",", ":"), ensure_ascii=False) for line in lines]
        if lines and lines[-1]["kind"] == "total":
            sealed_total = lines[-1] | {"sha256": honest}
            texts[-1] = json.dumps(sealed_total, separators=(",", ":"), ensure_ascii=False)
        tried += 1
        missed += not finds(verifier, [text.encode() + b"\n" for text in texts])
        assert missed == 0, name
    assert tried > 500


def test_every_nano_is_found_even_under_a_fresh_seal(told: list[Line], verifier: Any) -> None:
    """Whoever forges the seal as well still cannot change an amount, a quantity or a price."""
    tried = 0
    for place, value in leaves(told):
        if not MONEY.fullmatch(str(place[-1])) or value is None:
            continue
        for other in changed(value):
            lines = json.loads(json.dumps(told))
            inside(lines, place[:-1])[place[-1]] = other
            tried += 1
            assert finds(verifier, list(sealed(iter(lines)))), (place, value, other)
    assert tried > 120


def test_the_seal_finds_what_has_no_arithmetic(told: list[Line]) -> None:
    whole = b"".join(sealed(iter(told)))
    assert verify(whole)[0] == 0
    for edit in ((b'"reported":"4"', b'"reported":"5"'), (b'"in_review"', b'"voided"')):
        assert edit[0] in whole
        assert verify(whole.replace(*edit, 1)) == (1, "the seal differs: some line was edited\n")
    assert verify(whole[:-40])[1].startswith("this cannot be read as a statement")

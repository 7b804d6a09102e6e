"""A statement recomputes, and not one nano of it can be changed unseen."""

import hashlib
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.test import Client as Browser
from django.utils import timezone
from pytest_django import Settings

from marketplace import ids
from marketplace.catalog.models import Release
from marketplace.ledger.refund import refund
from marketplace.metering.models import Price
from marketplace.metering.publish import publish
from marketplace.runs import claim
from marketplace.runs.connections import rows
from marketplace.runs.settle import Case, End, failed, item, settling
from marketplace.runs.statement import canonical, sealed, statement
from tests.conftest import PASSWORD, Person
from tests.marketplace import worker
from tests.marketplace.runs.test_settle import pictures
from tests.marketplace.supply import admit
from tests.marketplace.web import Client

SCRIPT = Path(__file__).resolve().parents[3] / "docs" / "verify_statement.py"
TODAY = timezone.now().date()
END = TODAY + timedelta(days=2)  # midnight may pass while tests run
QUERY = f"from={TODAY}&to={END}"
Line = dict[str, Any]
pytestmark = pytest.mark.django_db(transaction=True)

COMPLEX: list[Line] = [
    {
        "unit": "image",
        "minimum": "3",
        "included": "1",
        "step": "0.75",
        "rounding": "nearest",
        "tiers": {
            "mode": "graduated",
            "steps": [
                {"up_to": "0.5", "unit_price": "0.0002"},
                {"up_to": None, "unit_price": "0.000123456789"},
            ],
        },
        "factors": [
            {"when": {"size": "64x64"}, "factor": "0.333333333333"},
            {"between": ["00:00", "12:00"], "factor": "0.7"},
        ],
    },
    {
        "unit": "image",
        "tiers": {
            "mode": "volume",
            "steps": [
                {"up_to": "2", "unit_price": "0.0003"},
                {"up_to": None, "unit_price": "0.0002"},
            ],
        },
    },
    {
        "unit": "megapixel",
        "table": [
            {"when": {"size": "64x64", "seed": 5}, "unit_price": "0.0123"},
            {"when": {"size": "64x64"}, "unit_price": "0.0234"},
        ],
        "unit_price": "0.0001",
    },
    {
        "unit": "token",
        "quantity": "ceil(usage.image * 7 / 3) / 7 + min(inputs.seed, 5) * usage.image * 0.5",
        "unit_price": "0.0000011",
    },
]


def run(person: Person, delivered: int | None, **inputs: Any) -> UUID:
    """A run of four small pictures, of which some are delivered; None: the lab failed."""
    admit(person, **{"size": "64x64", "count": 4} | inputs)
    run_id, attempt = worker.claim()
    [row] = rows(claim.cases([run_id]))
    end = failed("supplier_error", "broken", "The lab failed.")
    if delivered is not None:
        megapixels = Decimal(delivered * 64 * 64) / 1_000_000
        said = {"image": Decimal(delivered), "megapixel": megapixels}
        end = End("succeeded", pictures(delivered), reported=said)
    [settled] = rows(settling([item(Case.from_row(row, attempt), end)]))
    assert settled["code"] == "settled"
    return run_id


@pytest.fixture
def told(ada: Person, cy: Person, still: Release, settings: Settings) -> list[Line]:
    """Ada's statement: a simple price, a complex one, a short delivery, a failure, a review."""
    first = run(ada, 4, count=4)
    settings.PRICE_NOTICE_DAYS = 0
    publish(release=still, lines=COMPLEX)
    second = run(ada, 4, seed=5, prompt="Dämmerung")
    run(cy, 4)
    run(ada, 3, seed=2)
    run(ada, None)
    run(ada, 5, count=1)  # more than was asked for: the witnesses disagree
    refund(run=first, amount=1_234_567, reference="a", note="half a picture")
    refund(run=first, amount=1, reference="b", note="")
    refund(run=second, amount=None, reference="c", note="wrong")
    return list(statement(ada.team.id, TODAY, END))


def verify(text: bytes, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-I", str(SCRIPT), *arguments]
    done = subprocess.run(command, input=text, capture_output=True, check=False)
    assert done.stderr == b""
    return done.returncode, done.stdout.decode()


def checked(lines: list[Line]) -> tuple[int, str]:
    """The verdict on lines under a fresh seal, so that the arithmetic alone must find it."""
    bare = ({k: v for k, v in r.items() if (r["kind"], k) != ("total", "sha256")} for r in lines)
    return verify(b"".join(sealed(bare)))


def of(lines: list[Line], kind: str) -> list[Line]:
    return [line for line in lines if line["kind"] == kind]


def test_the_script_imports_nothing_but_the_standard_library() -> None:
    imported = re.findall(r"^(?:from|import) (\w+)", SCRIPT.read_text(), re.MULTILINE)
    assert set(imported) <= sys.stdlib_module_names
    assert verify(b"", "--help")[1].startswith("Verify a Kinora statement")


def test_a_statement_recomputes(told: list[Line], ada: Person) -> None:
    runs = of(told, "run")
    assert [line["kind"] for line in told] == [
        "kinora.statement", "price", "run", "price", "run", "run", "run", "run", "total",
    ]  # fmt: skip
    assert [line["hold_state"] for line in runs] == [
        "captured", "captured", "captured", "voided", "in_review",
    ]  # fmt: skip
    assert runs[0]["captured_nano"] == 8_000_000
    assert all(line["captured_nano"] > 0 for line in runs[:3])
    assert told[0]["team"] == ada.team.public_id
    assert told[-1]["captured_nano"] == sum(line["captured_nano"] for line in runs)
    assert checked(told) == (0, "Every nano adds up.\n")
    published = set(Price.objects.filter(release__model__slug="still").values_list("digest"))
    assert {(line["sha256"],) for line in of(told, "price")} <= published
    assert told[-1]["refunded_nano"] == 1_234_568 + runs[1]["captured_nano"]


def test_another_teams_runs_are_absent(told: list[Line], ada: Person, cy: Person) -> None:
    others = of(list(statement(cy.team.id, TODAY, END)), "run")
    assert len(others) == 1
    assert others[0]["run"] not in {line.get("run") for line in told}


def test_an_empty_period_is_a_header_and_a_zero(told: list[Line], ada: Person) -> None:
    for start in (END, TODAY - timedelta(days=1)):
        lines = list(statement(ada.team.id, start, start + timedelta(days=1)))
        assert [line["kind"] for line in lines] == ["kinora.statement", "total"]
        assert (lines[1]["runs"], lines[1]["captured_nano"]) == (0, 0)
        assert checked(lines)[0] == 0


def test_pages_change_nothing(told: list[Line], ada: Person, monkeypatch: Any) -> None:
    monkeypatch.setattr("marketplace.runs.statement.PAGE", 1)
    assert list(statement(ada.team.id, TODAY, END)) == told


# ── what is planted has to be found ───────────────────────────────────────────────────────────


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


# ── over HTTP ─────────────────────────────────────────────────────────────────────────────────


def test_the_api_streams_what_verifies(web: Client, ada: Person, still: Release) -> None:
    run(ada, 4)
    answer = web.get(f"/api/v1/usage/statement?{QUERY}", key=ada.text)
    named = web.call(
        "GET",
        f"/api/v1/usage/statement?{QUERY}",
        key=ada.text,
        headers={"Accept": "application/x-ndjson"},
    )

    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
    assert named.body == answer.body
    assert json.loads(answer.body.splitlines()[-1])["captured_nano"] == 8_000_000
    assert verify(answer.body) == (0, "Every nano adds up.\n")


def test_a_wrong_period_is_named(web: Client, ada: Person) -> None:
    for query, param in [
        ("", "from"), ("from=2026-11-01", "to"), ("from=x&to=2026-11-02", "from"),
        ("from=2026-11-01&to=2026-11-01", "to"), ("from=2026-11-02&to=2026-11-01", "to"),
        ("from=2025-01-01&to=2026-11-01", "from"), ("from=2026-11-01&to=2026-13-01", "to"),
    ]:  # fmt: skip
        answer = web.get(f"/api/v1/usage/statement?{query}", key=ada.text)
        assert (answer.status, answer.error["param"]) == (422, param), query
    assert web.get(f"/api/v1/usage/statement?{QUERY}").status == 401
    for far in ("from=0001-01-01&to=0001-01-02", "from=9999-12-30&to=9999-12-31"):
        assert web.get(f"/api/v1/usage/statement?{far}", key=ada.text).status == 200


def test_a_person_downloads_it_from_the_balance(web: Client, ada: Person, still: Release) -> None:
    run(ada, 4)
    browser = Browser()
    assert browser.login(email=ada.user.email, password=PASSWORD)
    page = browser.get("/balance").content.decode()
    link = re.search(r'href="(/balance/statement\?[^"]+)"', page)
    assert link
    cookie = f"{settings.SESSION_COOKIE_NAME}={browser.cookies[settings.SESSION_COOKIE_NAME].value}"
    path = link[1].replace("&amp;", "&")
    answer = web.call("GET", path, headers={"Cookie": cookie})

    assert answer.headers["content-disposition"].startswith('attachment; filename="kinora-')
    assert verify(answer.body) == (0, "Every nano adds up.\n")
    assert web.call("GET", "/balance/statement", headers={"Cookie": cookie}).status == 400
    assert ids.public("team", ada.team.id) in answer.body.decode()

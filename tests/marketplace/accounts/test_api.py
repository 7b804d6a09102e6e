"""The management API: keys, models, quotes, usage, balance, entries, outputs, its document."""

import re
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.db import OperationalError

from marketplace import ids
from marketplace.accounts.api import render_error
from marketplace.accounts.models import ApiKey
from marketplace.api_urls import urlpatterns
from marketplace.catalog.models import Release
from marketplace.dialects import native, native_files
from marketplace.metering.models import Quote
from marketplace.runs.models import Output
from tests.conftest import Person
from tests.marketplace import worker
from tests.marketplace.web import Client

BODY: dict[str, Any] = {"model": "rehearsal/still", "inputs": {"prompt": "red heart"}}
PRICE = 2_000_000


def test_a_new_key_is_shown_once_and_works(web: Client, ada: Person) -> None:
    made = web.call("POST", "/api/v1/keys", {"name": "build"}, key=ada.text)
    listed = web.get("/api/v1/keys", key=made.json["key"])

    assert made.status == 201
    assert [key["name"] for key in listed.json["data"]] == ["build", "ada"]
    assert all("key" not in key for key in listed.json["data"])
    assert listed.json["data"][0]["scopes"] == ["run", "read"]


def test_a_revoked_key_opens_nothing(web: Client, ada: Person) -> None:
    made = web.call("POST", "/api/v1/keys", {"name": "build"}, key=ada.text).json
    revoked = web.call("DELETE", f"/api/v1/keys/{made['id']}", key=ada.text)

    assert revoked.status == 200
    assert revoked.json["revoked_at"] is not None
    assert web.get("/api/v1/balance", key=made["key"]).status == 401


def test_a_key_makes_no_key_that_can_do_more(web: Client, ada: Person, ben: Person) -> None:
    wider = web.call("POST", "/api/v1/keys", {"name": "x", "scopes": ["run"]}, key=ben.text)
    like = web.call("POST", "/api/v1/keys", {"name": "x", "scopes": ["read"]}, key=ben.text)
    ended = web.call("DELETE", f"/api/v1/keys/{ada.key.public_id}", key=ben.text)

    assert (wider.status, wider.error["scope"]) == (403, "run")
    assert like.status == 201
    assert (ended.status, ended.error["scope"]) == (403, "manage")
    assert not ApiKey.objects.exclude(revoked_at=None).exists()


WRONG_KEYS: list[tuple[dict[str, Any], str]] = [
    ({}, "name"), ({"name": ""}, "name"), ({"name": "x" * 81}, "name"), ({"name": 5}, "name"),
    ({"name": "x", "scopes": ["admin"]}, "scopes"), ({"name": "x", "scopes": []}, "scopes"),
    ({"name": "x", "scopes": "run"}, "scopes"), ({"name": "x", "scopes": [[]]}, "scopes"),
    ({"name": "x", "team": "y"}, "team"),
]  # fmt: skip


def test_a_wrong_key_wish_is_named(web: Client, ada: Person) -> None:
    for wish, param in WRONG_KEYS:
        answer = web.call("POST", "/api/v1/keys", wish, key=ada.text)
        found = (answer.status, answer.error["code"], answer.error["param"])
        assert found == (422, "invalid_input", param), wish
    assert ApiKey.objects.count() == 1


def test_another_teams_things_are_like_none(
    web: Client, ada: Person, cy: Person, still: Release
) -> None:
    web.run(BODY, key=ada.text)
    worker.succeed(*worker.claim())
    output = Output.objects.get().public_id

    for method, path, theirs, prefix in (
        ("DELETE", "/api/v1/keys/", ada.key.public_id, "key"),
        ("GET", "/api/v1/outputs/", output, "out"),
    ):
        never = ids.public(prefix, ids.uuid7())
        found = web.call(method, path + theirs, key=cy.text)
        none = web.call(method, path + never, key=cy.text)
        assert (found.status, found.body) == (none.status, none.body)
        assert found.status == 404
    assert web.get(f"/api/v1/outputs/{output}", key=ada.text).status == 200


def test_an_output_has_a_signed_address(web: Client, ada: Person, still: Release) -> None:
    run = web.run(BODY, key=ada.text).json["id"]
    worker.succeed(*worker.claim())
    shown = web.get(f"/api/v1/outputs/{Output.objects.get().public_id}", key=ada.text).json

    assert shown["run"] == run
    assert (shown["width"], shown["height"], shown["bytes"]) == (64, 64, 100)
    assert shown["url"] is not None


def test_models_show_schema_and_price_to_anybody(web: Client, still: Release) -> None:
    listed = web.get("/api/v1/models").json["data"]
    one = web.get("/api/v1/models/rehearsal/still@2026-11-20").json

    assert [model["id"] for model in listed] == ["rehearsal/still"]
    assert listed[0] == one
    price = still.prices.get()
    assert one["price"].pop("outcomes")[0]["outcome"] == "succeeded"
    assert one["price"] == {
        "version": 1,
        "segment": "list",
        "currency": "USD",
        "effective_from": price.effective_from.isoformat(),
        "digest": price.digest,
        "announced": None,
        "lines": [{"unit": "image", "unit_price": "0.002", "label": "image"}],
    }
    assert one["input_schema"]["required"] == ["prompt"]
    assert web.get("/api/v1/models/rehearsal/none").error["param"] == "model"


def test_a_quote_says_most_and_expected(web: Client, ada: Person, still: Release) -> None:
    wish = {**BODY, "inputs": {"prompt": "red heart", "count": 3}}
    answer = web.call("POST", "/api/v1/quotes", wish, key=ada.text)

    assert answer.status == 201
    assert answer.json["lines"] == [
        {"unit": "image", "quantity": "3", "unit_price": "0.002", "amount": "0.006"}
    ]
    assert answer.json["maximum"]["nano"] == answer.json["expected"]["nano"] == 3 * PRICE


def test_a_wrong_quote_stores_nothing(web: Client, ada: Person, still: Release) -> None:
    cases = (
        ({**BODY, "inputs": {}}, "inputs.prompt"),
        ({**BODY, "model": "x"}, "model"),
        ({**BODY, "max_cost": "much"}, "max_cost"),
        ({**BODY, "wait": 1}, "wait"),
    )
    for wish, param in cases:
        answer = web.call("POST", "/api/v1/quotes", wish, key=ada.text)
        assert answer.error["param"] == param
    assert web.call("POST", "/api/v1/quotes", b"{", key=ada.text).status == 400
    deep = b'{"inputs": ' + b"[" * 1000 + b"]" * 1000 + b"}"
    assert web.call("POST", "/api/v1/quotes", deep, key=ada.text).status == 400
    assert web.call("POST", "/api/v1/quotes", b" " * 2_000_000, key=ada.text).status == 413
    assert not Quote.objects.exists()


def test_balance_entries_and_usage_agree(web: Client, ada: Person, still: Release) -> None:
    for _ in range(2):
        web.run(BODY, key=ada.text)
        worker.succeed(*worker.claim())
    web.run(BODY, key=ada.text)

    money = web.get("/api/v1/balance", key=ada.text).json
    first = web.get("/api/v1/entries?limit=2", key=ada.text).json
    rest = web.get(f"/api/v1/entries?cursor={first['next_cursor']}", key=ada.text).json
    used = web.get("/api/v1/usage", key=ada.text).json["data"]

    assert money["held"]["nano"] == PRICE
    assert money["available"]["nano"] == 5_000_000_000 - 3 * PRICE
    assert [entry["kind"] for entry in first["data"]] == ["charge", "charge"]
    assert [entry["kind"] for entry in rest["data"]] == ["grant"]
    assert rest["next_cursor"] is None
    assert first["data"][0]["balance_after"]["nano"] == money["posted"]["nano"]
    assert [(day["model"], day["runs"], day["captured"]["nano"]) for day in used] == [
        ("rehearsal/still", 2, 2 * PRICE)
    ]
    assert used[0]["units"] == [{"unit": "image", "quantity": "2"}]


def test_no_key_opens_nothing(web: Client) -> None:
    for path in ("keys", "usage", "balance", "entries", "outputs/out_x"):
        answer = web.get(f"/api/v1/{path}")
        assert (answer.status, answer.error["code"]) == (401, "not_authenticated")
        assert answer.headers["www-authenticate"] == "Bearer"


WRONG_QUERIES = [
    ("entries?limit=0", "limit"), ("entries?limit=1001", "limit"), ("entries?cursor=x", "cursor"),
    ("usage?from=x", "from"), ("usage?to=x", "to"),
    ("usage?from=2026-02-01&to=2026-01-01", "from"), ("usage?from=1900-01-01", "from"),
]  # fmt: skip


def test_a_wrong_query_is_named(web: Client, ada: Person) -> None:
    for query, param in WRONG_QUERIES:
        answer = web.get(f"/api/v1/{query}", key=ada.text)
        assert (answer.status, answer.error["param"]) == (422, param), query


def test_an_absent_database_says_when_to_come_back() -> None:
    answer = render_error(OperationalError("the server is starting up"), {})

    assert (answer.status_code, answer.data["error"]["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "1"


def test_an_unknown_address_answers_in_the_one_shape(web: Client) -> None:
    assert web.get("/api/v1/nothing").error["code"] == "not_found"
    assert web.call("PATCH", "/api/v1/balance").status in (401, 405)


def named_only(path: str) -> str:
    """`/api/v1/keys/<str:key>` → `/api/v1/keys/{key}`."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path)


def test_every_address_is_in_the_document(web: Client, db: None) -> None:
    document = web.get("/api/v1/openapi.json").json
    served = {f"/api/{named_only(str(route.pattern))}" for route in urlpatterns}
    served -= {"/api/v1/openapi.json", r"/api/^[\s\S]*\Z"}  # and what is nowhere
    routes = (*native.ROUTES, *native_files.ROUTES)
    hot = {(route.method.lower(), route.pattern) for route in routes}

    assert set(document["paths"]) == served | {pattern for _, pattern in hot}
    assert hot <= {
        (method, path) for path, operations in document["paths"].items() for method in operations
    }


def test_every_reference_of_the_document_is_there(web: Client, db: None) -> None:
    answer = web.get("/api/v1/openapi.json")
    components = answer.json["components"]["schemas"]
    named = set(re.findall(rb'"#/components/schemas/(\w+)"', answer.body))

    assert answer.json["openapi"] == "3.1.0"
    assert {name.decode() for name in named} <= set(components)
    assert answer.json["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


def test_the_document_is_made_without_a_warning(tmp_path: Path) -> None:
    call_command("spectacular", "--fail-on-warn", file=str(tmp_path / "openapi.yml"))
    assert (tmp_path / "openapi.yml").stat().st_size > 10_000

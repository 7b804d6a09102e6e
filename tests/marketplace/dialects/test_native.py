"""The native API of runs, called as a client calls it."""

import json
import time
from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from marketplace import ids
from marketplace.accounts import keys
from marketplace.accounts.models import Team
from marketplace.catalog.models import Release
from marketplace.ledger.balance import balance
from marketplace.ledger.models import Hold
from marketplace.metering.models import Price, Quote
from marketplace.runs.models import Outbox, Run
from tests.conftest import Person
from tests.marketplace import worker
from tests.marketplace.web import Answer, Client

BODY: dict[str, Any] = {"model": "rehearsal/still", "inputs": {"prompt": "red heart"}}
PRICE = 2_000_000
NESTED = b"[" * 1000 + b"]" * 1000


def with_inputs(**inputs: Any) -> dict[str, Any]:
    return {"model": "rehearsal/still", "inputs": {"prompt": "red heart", **inputs}}


# What is sent → status, code, param.
BAD: dict[str, tuple[Any, int, str, str | None]] = {
    "no prompt": ({**BODY, "inputs": {}}, 422, "invalid_input", "inputs.prompt"),
    "empty prompt": (with_inputs(prompt=""), 422, "invalid_input", "inputs.prompt"),
    "long prompt": (with_inputs(prompt="a" * 1001), 422, "invalid_input", "inputs.prompt"),
    "a number as prompt": (with_inputs(prompt=3), 422, "invalid_input", "inputs.prompt"),
    "a count in words": (with_inputs(count="two"), 422, "invalid_input", "inputs.count"),
    "half a picture": (with_inputs(count=1.5), 422, "invalid_input", "inputs.count"),
    "too many pictures": (with_inputs(count=5), 422, "invalid_input", "inputs.count"),
    "no picture": (with_inputs(count=0), 422, "invalid_input", "inputs.count"),
    "size out of range": (with_inputs(size="9999x9999"), 422, "invalid_input", "inputs.size"),
    "a huge seed": (with_inputs(seed=10**30), 422, "invalid_input", "inputs.seed"),
    "unknown input": (with_inputs(colour="red"), 422, "invalid_input", "inputs.colour"),
    "inputs is a list": ({**BODY, "inputs": []}, 422, "invalid_input", "inputs"),
    "no inputs": ({"model": "rehearsal/still"}, 422, "invalid_input", "inputs"),
    "no model": ({"inputs": {"prompt": "a"}}, 422, "invalid_input", "model"),
    "model is a number": ({**BODY, "model": 7}, 422, "invalid_input", "model"),
    "unknown model": ({**BODY, "model": "rehearsal/none"}, 404, "not_found", "model"),
    "unknown release": ({**BODY, "model": "rehearsal/still@1999-01-01"}, 404, "not_found", "model"),
    "unknown field": ({**BODY, "webhook": "x"}, 422, "invalid_input", "webhook"),
    "negative max_cost": ({**BODY, "max_cost": "-1"}, 422, "invalid_input", "max_cost"),
    "over-precise max_cost": (
        {**BODY, "max_cost": "0.0000000001"}, 422, "invalid_input", "max_cost",
    ),
    "max_cost as a float": ({**BODY, "max_cost": 0.1}, 422, "invalid_input", "max_cost"),
    "max_cost in words": ({**BODY, "max_cost": "much"}, 422, "invalid_input", "max_cost"),
    "max_cost not finite": ({**BODY, "max_cost": "Infinity"}, 422, "invalid_input", "max_cost"),
    "max_cost beyond range": ({**BODY, "max_cost": "1" * 30}, 422, "invalid_input", "max_cost"),
    "max_cost true": ({**BODY, "max_cost": True}, 422, "invalid_input", "max_cost"),
    "max_cost too low": ({**BODY, "max_cost": "0.001"}, 402, "cost_above_limit", "max_cost"),
    "wait too long": ({**BODY, "wait": 61}, 422, "invalid_input", "wait"),
    "wait in words": ({**BODY, "wait": "long"}, 422, "invalid_input", "wait"),
    "a quote that is none": ({**BODY, "quote": "quote_x"}, 422, "quote_unusable", "quote"),
    "not JSON": (b"{prompt}", 400, "malformed_body", None),
    "empty": (b"", 400, "malformed_body", None),
    "a list": (b"[]", 400, "malformed_body", None),
    "NaN": (b'{"model": "rehearsal/still", "inputs": {"count": NaN}}', 400, "malformed_body", None),
    "Infinity": (b'{"model": "a", "inputs": {"count": Infinity}}', 400, "malformed_body", None),
    "a number beyond doubles": (b'{"inputs": {"count": 1e400}}', 400, "malformed_body", None),
    "a lone surrogate": (b'{"model": "\\ud800"}', 400, "malformed_body", None),
    "U+0000": (json.dumps(with_inputs(prompt="a\0b")).encode(), 400, "malformed_body", None),
    "a thousand levels": (b'{"inputs": ' + NESTED + b"}", 400, "malformed_body", None),
    "seventeen megabytes": (b" " * 17_000_000, 413, "too_large", "body"),
}  # fmt: skip


def assert_untouched(team: Team) -> None:
    """Nothing held and nothing written."""
    assert not Run.objects.exists()
    assert not Hold.objects.exists()
    assert not Outbox.objects.exists()
    assert balance(team.id).held == 0
    assert balance(team.id).available == 5_000_000_000


def test_bad_input_names_its_field_and_moves_nothing(
    web: Client, ada: Person, still: Release
) -> None:
    for name, (sent, status, code, param) in BAD.items():
        answer = web.run(sent, key=ada.text, once=f"try:{name.replace(' ', '-')}")
        found = (answer.status, answer.error["code"], answer.error["param"])
        assert found == (status, code, param), f"{name}: {answer.body.decode()}"
        assert answer.error["message"].endswith("."), name
        assert answer.headers["request-id"].startswith("req_"), name
    assert_untouched(ada.team)


def test_messages_say_what_is_allowed(web: Client, ada: Person, still: Release) -> None:
    def message(**inputs: Any) -> str:
        said: str = web.run(with_inputs(**inputs), key=ada.text).error["message"]
        return said

    assert message(count=9) == "inputs.count must be at most 4."
    assert message(count="two") == "inputs.count must be a whole number."
    assert message(size="1x1").startswith('inputs.size must be one of "64x64", "256x256", ')
    assert message(colour=1).startswith("inputs.colour is not an input here. Known inputs: ")


def test_an_idempotency_key_is_visible_ascii(web: Client, ada: Person, still: Release) -> None:
    for key in ("", "a b", "é", "x" * 256):
        answer = web.run(BODY, key=ada.text, once=key)
        assert (answer.status, answer.error["param"]) == (422, "Idempotency-Key"), key
    assert_untouched(ada.team)


def test_a_key_with_a_broken_checksum_costs_no_query(web: Client, ada: Person) -> None:
    with connection.cursor() as cursor:  # a lock that any look-up of a key would wait for
        cursor.execute("BEGIN; LOCK TABLE accounts_apikey IN ACCESS EXCLUSIVE MODE")
        answer = web.run(BODY, key=ada.text[:-1] + ("a" if ada.text[-1] != "a" else "b"))
        cursor.execute("ROLLBACK")

    assert (answer.status, answer.error["code"]) == (401, "not_authenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_no_key_and_an_unknown_key_are_refused(web: Client, ada: Person) -> None:
    body = keys.PREFIX + "0" * 30
    for key in (None, "x", body + keys.checksum(body)):
        answer = web.run(BODY, key=key)
        assert (answer.status, answer.error["code"]) == (401, "not_authenticated")


def test_a_revoked_key_is_refused_within_two_seconds(
    web: Client, ada: Person, still: Release
) -> None:
    assert web.get("/api/v1/runs", key=ada.text).status == 200
    keys.revoke(key=ada.key)

    assert web.run(BODY, key=ada.text).status == 401  # at once: admission asks in its commit
    time.sleep(2)
    assert web.get("/api/v1/runs", key=ada.text).status == 401
    assert_untouched(ada.team)


def test_an_expired_key_is_refused(web: Client, ada: Person, still: Release) -> None:
    ada.key.expires_at = timezone.now() - timedelta(seconds=1)
    ada.key.save()

    assert web.run(BODY, key=ada.text).status == 401
    assert_untouched(ada.team)


def test_a_key_that_only_reads_starts_nothing(
    web: Client, ada: Person, ben: Person, still: Release
) -> None:
    answer = web.run(BODY, key=ben.text)

    assert (answer.status, answer.error["code"]) == (403, "not_allowed")
    assert answer.error["scope"] == "run"
    assert_untouched(ada.team)
    assert web.get("/api/v1/runs", key=ben.text).json == {"data": [], "next_cursor": None}


def test_a_locked_team_reads_but_does_not_run(web: Client, ada: Person, still: Release) -> None:
    Team.objects.filter(id=ada.team.id).update(status="locked")

    answer = web.run(BODY, key=ada.text)
    assert (answer.status, answer.error["code"]) == (423, "team_locked")
    assert web.get("/api/v1/runs", key=ada.text).status == 200
    assert_untouched(ada.team)


def test_another_teams_run_is_like_none(
    web: Client, ada: Person, cy: Person, still: Release
) -> None:
    run = web.run(BODY, key=ada.text).json["id"]
    never = ids.public("run", ids.uuid7())

    def answers(name: str) -> list[tuple[int, bytes]]:
        calls = [
            web.call(method, f"/api/v1/runs/{name}{rest}", key=cy.text)
            for method, rest in (
                ("GET", ""), ("GET", "/receipt"), ("GET", "/events"), ("POST", "/cancel"),
            )
        ]  # fmt: skip
        return [(a.status, a.body.replace(name.encode(), b"ID")) for a in calls]

    assert answers(run) == answers(never)
    assert {status for status, _ in answers(run)} == {404}
    assert Run.objects.get().state == "queued"


def test_a_run_shows_what_is_held(web: Client, ada: Person, still: Release) -> None:
    made = web.run({**BODY, "inputs": {"prompt": "red heart", "count": 3}}, key=ada.text)
    read = web.get(made.json["links"]["self"], key=ada.text)

    held = {"amount": "0.006", "currency": "USD", "nano": 3 * PRICE}
    nothing = {"amount": "0.00", "currency": "USD", "nano": 0}
    assert made.status == 201
    assert read.json["cost"] == {
        "state": "open",
        "price_version": 1,
        "quoted": held,
        "held": held,
        "captured": nothing,
        "given_back": nothing,
    }
    assert read.json["inputs"]["size"] == "512x512"  # the schema's default
    assert {**made.json, "waiting_seconds": 0} == {**read.json, "waiting_seconds": 0}


def test_a_release_can_be_named(web: Client, ada: Person, still: Release) -> None:
    answer = web.run({**BODY, "model": "rehearsal/still@2026-11-20"}, key=ada.text)

    assert (answer.status, answer.json["release"]) == (201, "2026-11-20")


def test_a_list_is_paged_newest_first(web: Client, ada: Person, cy: Person, still: Release) -> None:
    made = [web.run(BODY, key=ada.text).json["id"] for _ in range(5)]
    web.run(BODY, key=cy.text)

    seen, cursor = [], ""
    for length in (2, 2, 1):
        page = web.get(f"/api/v1/runs?limit=2{cursor}", key=ada.text).json
        assert len(page["data"]) == length
        seen += [run["id"] for run in page["data"]]
        cursor = f"&cursor={page['next_cursor']}"

    assert page["next_cursor"] is None
    assert seen == made[::-1]


def test_a_list_can_be_of_one_state(web: Client, ada: Person, still: Release) -> None:
    first, _ = web.run(BODY, key=ada.text).json, web.run(BODY, key=ada.text).json
    web.call("POST", first["links"]["cancel"], key=ada.text)

    page = web.get("/api/v1/runs?state=cancelled", key=ada.text).json
    assert [run["id"] for run in page["data"]] == [first["id"]]


WRONG_QUERIES = [
    ("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("cursor=x", "cursor"),
    ("state=done", "state"),
]  # fmt: skip


def test_a_wrong_query_is_named(web: Client, ada: Person) -> None:
    for query, param in WRONG_QUERIES:
        answer = web.get(f"/api/v1/runs?{query}", key=ada.text)
        assert (answer.status, answer.error["param"]) == (422, param), query


def test_a_cancelled_queued_run_gives_its_hold_back(
    web: Client, ada: Person, still: Release
) -> None:
    run = web.run(BODY, key=ada.text).json
    answer = web.call("POST", run["links"]["cancel"], key=ada.text)
    again = web.call("POST", run["links"]["cancel"], key=ada.text)

    assert (answer.status, again.status) == (200, 200)
    assert answer.json["state"] == "cancelled"
    assert answer.json["outcome"] == "cancelled_before"
    assert answer.json["cost"]["state"] == "voided"
    assert answer.json["cost"]["given_back"]["nano"] == PRICE
    assert balance(ada.team.id).held == 0


def quoted(web: Client, person: Person, inputs: dict[str, Any]) -> dict[str, Any]:
    answer = web.call(
        "POST", "/api/v1/quotes", {"model": "rehearsal/still", "inputs": inputs}, key=person.text
    )
    assert answer.status == 201, answer.body
    found: dict[str, Any] = answer.json
    return found


def test_a_quote_binds_although_the_price_rises(web: Client, ada: Person, still: Release) -> None:
    quote = quoted(web, ada, BODY["inputs"])
    now = timezone.now()
    Price.objects.filter(release=still).update(effective_to=now)
    Price.objects.create(
        release=still,
        version=2,
        lines=[{"unit": "image", "unit_price": "0.005"}],
        policy=still.outcome_policy,
        effective_from=now,
    )
    time.sleep(2)  # what is on sale is remembered below two seconds

    bound = web.run({**BODY, "quote": quote["id"]}, key=ada.text)
    plain = web.run(BODY, key=ada.text)

    assert (bound.status, plain.status) == (201, 201)
    assert bound.json["cost"]["quoted"] == quote["maximum"]
    assert bound.json["cost"]["price_version"] == 1
    assert plain.json["cost"]["quoted"]["nano"] == 5_000_000
    assert plain.json["cost"]["price_version"] == 2


def test_a_quote_is_for_its_inputs_its_team_and_its_time(
    web: Client, ada: Person, cy: Person, still: Release
) -> None:
    quote = quoted(web, ada, BODY["inputs"])

    def refused(answer: Answer) -> bool:
        return (answer.status, answer.error["code"]) == (422, "quote_unusable")

    assert refused(web.run({**with_inputs(count=2), "quote": quote["id"]}, key=ada.text))
    assert refused(web.run({**BODY, "quote": quote["id"]}, key=cy.text))
    Quote.objects.update(expires_at=timezone.now())
    assert refused(web.run({**BODY, "quote": quote["id"]}, key=ada.text))
    assert_untouched(ada.team)


def test_a_retry_gets_its_run_although_the_quote_has_expired(
    web: Client, ada: Person, still: Release
) -> None:
    body = {**BODY, "quote": quoted(web, ada, BODY["inputs"])["id"]}
    first = web.run(body, key=ada.text, once="order-1")
    Quote.objects.update(expires_at=timezone.now())
    second = web.run(body, key=ada.text, once="order-1")

    assert (first.status, second.status) == (201, 200)
    assert first.json["id"] == second.json["id"]


def test_a_receipt_adds_up(web: Client, ada: Person, still: Release) -> None:
    run = web.run(with_inputs(count=3), key=ada.text).json
    worker.succeed(*worker.claim(), pictures=2)
    receipt = web.get(run["links"]["receipt"], key=ada.text).json

    assert receipt["run"] == run["id"]
    assert receipt["lines"] == [
        {"unit": "image", "quantity": "2", "unit_price": "0.002", "amount": "0.004"}
    ]
    assert receipt["usage"] == [
        {"unit": "image", "requested": "2", "reported": "2", "measured": "2", "charged": "2"}
    ]
    assert receipt["cost"]["held"]["nano"] == 3 * PRICE
    assert receipt["cost"]["captured"]["nano"] == 2 * PRICE
    assert receipt["cost"]["given_back"]["nano"] == PRICE
    assert receipt["balance_before"]["nano"] == 5_000_000_000
    assert receipt["balance_after"]["nano"] == 5_000_000_000 - 2 * PRICE
    assert sum(entry["amount"]["nano"] for entry in receipt["entries"]) == 0


def test_unknown_addresses_and_methods_answer_in_the_one_shape(web: Client) -> None:
    assert web.get("/api/v1/runs/x/y/z").error["code"] == "not_found"
    assert web.call("PUT", "/api/v1/runs").status == 405
    assert web.call("PUT", "/api/v1/runs").error["code"] == "method_not_allowed"
    assert web.get("/healthz").json == {"status": "ok"}

"""Sessions that are one run: what they cost, what ends them, and that it is captured once."""

from datetime import timedelta
from fractions import Fraction
from typing import Any

import msgpack
import orjson
import pytest
from websockets.sync.client import ClientConnection

from marketplace import ids
from marketplace.access import budget as budgets
from marketplace.access.models import Spending
from marketplace.accounts import keys
from marketplace.accounts.models import Team
from marketplace.catalog.models import Release
from marketplace.dialects import fal_talk
from marketplace.fleet.models import Worker
from marketplace.hot import sessions as hot
from marketplace.ledger.models import Hold, Transfer
from marketplace.metering.models import MeterEvent
from marketplace.runs import sessions
from marketplace.runs.models import Run, Session
from tests.conftest import Person, fund, join
from tests.journeys.books import FUNDS, charge, money, written
from tests.marketplace.dialects.test_fal import Fal, fal
from tests.marketplace.dialects.test_fal_realtime import ended, talking, token
from tests.marketplace.runs.conftest import WORKER_TOKEN, gpu
from tests.marketplace.sitting import PICTURE, sitting
from tests.marketplace.supply import until
from tests.marketplace.web import Client, serving

__all__ = ["fal", "gpu"]

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("glyph", "gpu"),
]
GLYPH = "kinora/glyph"
PRICE = 100_000  # nano-dollars a second
FIRST = 30 * PRICE  # what is held at first


def heard(socket: ClientConnection) -> Any:
    """What comes next but notes of what it has come to."""
    while True:
        message = socket.recv(20)
        if isinstance(message, bytes):
            return msgpack.unpackb(message)
        if (told := orjson.loads(message))["type"] != "x-fal-message":
            return told


def asked(socket: ClientConnection, prompt: str = "red heart", **more: Any) -> Any:
    socket.send(msgpack.packb({"prompt": prompt} | more))
    return heard(socket)


def sat() -> Run:
    """The one session, once it has ended."""
    until(lambda: Run.objects.filter(finished_at__isnull=False).exists())
    return Run.objects.get()


def paid(run: Run) -> int:
    """What it captured: once, for its seconds by the database's clock, never more than was held."""
    hold, session = Hold.objects.get(run_id=run.id), Session.objects.get(run=run)
    lasted = (session.closed_at or session.seen_at) - session.opened_at
    exact = round(Fraction(lasted // timedelta(microseconds=1), 1_000_000) * PRICE)
    assert charge(run.id) == ("captured", min(exact, hold.amount))
    assert Transfer.objects.filter(run_id=run.id, kind="charge").count() == 1
    [event] = MeterEvent.objects.filter(run_id=run.id)
    assert (event.unit, float(event.measured or 0)) == ("session_second", lasted.total_seconds())
    return hold.captured


def eve(dollars: str) -> Person:
    person = join("eve", team=Team.objects.create(name="Eve's"), role="owner")
    fund(person.team, dollars, reference="tests:eve")
    return person


def key(person: Person) -> dict[str, str]:
    return {"Authorization": f"Key {person.text}"}


# ── what it is ────────────────────────────────────────────────────────────────────────────────


def test_a_session_is_one_run_however_many_prompts(web: Client, ada: Person) -> None:
    with sitting(web) as sitter, talking(web, model=GLYPH, **key(ada)) as socket:
        told = [asked(socket, prompt, seed=3) for prompt in ("tomato", "red heart", "dog face")]
        assert money(ada) == (FUNDS, FIRST)
        assert Run.objects.get().state == "running"
    assert [t["prompt"] for t in told] == ["tomato", "red heart", "dog face"]
    picture = told[0]["images"][0]
    assert picture["content"] == PICTURE
    assert [picture[n] for n in ("width", "height", "content_type", "file_size")] == [
        64, 64, "image/png", len(PICTURE),
    ]  # fmt: skip
    assert told[0]["request_id"] == told[2]["request_id"] == ids.public("run", sat().id)
    assert told[0]["session"]["seconds"] < told[2]["session"]["seconds"]
    assert told[2]["session"]["cost"]["nano"] <= paid(sat())
    assert money(ada) == (FUNDS - paid(sat()), 0)
    run = sat()
    assert (run.state, run.outcome, run.attempt, run.error) == ("succeeded", "succeeded", 1, None)
    assert run.usage
    assert (run.usage["frames"], run.usage["ended"]) == (3, "left")
    assert [job.inputs["steps"] for job in sitter.easel.jobs] == [8, 8, 8]


def test_the_steps_that_are_asked_for_are_taken(web: Client, ada: Person) -> None:
    with sitting(web) as sitter, talking(web, model=GLYPH, **key(ada)) as socket:
        asked(socket, num_inference_steps=20)
        assert sitter.easel.jobs[0].inputs["steps"] == 20


def test_a_wrong_prompt_is_told_and_the_session_goes_on(web: Client, ada: Person) -> None:
    with sitting(web), talking(web, model=GLYPH, **key(ada)) as socket:
        wrong = asked(socket, num_inference_steps=999)
        assert (wrong["error"], wrong["reason"]) == (
            "INVALID_INPUT",
            "num_inference_steps must be at most 50.",
        )
        assert Run.objects.count() == 0  # it begins with the first prompt that is right
        assert asked(socket)["images"]
        assert asked(socket, num_inference_steps=999)["error"] == "INVALID_INPUT"
        assert asked(socket, "fail")["error"] == "FRAME_FAILED"
        assert asked(socket)["images"]
    assert sat().usage["frames"] == 2  # type: ignore[index]


def test_two_sessions_at_once_are_two_runs(web: Client, ada: Person) -> None:
    with sitting(web), talking(web, model=GLYPH, **key(ada)) as one:
        with talking(web, model=GLYPH, **key(ada)) as two:
            first, second = asked(one), asked(two)
            assert first["request_id"] != second["request_id"]
            assert money(ada) == (FUNDS, 2 * FIRST)
        until(lambda: Run.objects.filter(state="succeeded").count() == 1)
        assert asked(one)["request_id"] == first["request_id"]
    until(lambda: Run.objects.filter(state="succeeded").count() == 2)
    captured = [charge(run.id)[1] for run in Run.objects.all()]
    assert min(captured) > 0
    assert money(ada) == (FUNDS - sum(captured), 0)


def test_a_session_holds_more_while_it_lasts(
    web: Client, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "FIRST_SLICES", (2,))
    monkeypatch.setattr(sessions, "SLICE", 1)
    with sitting(web), talking(web, model=GLYPH, **key(ada)) as socket:
        until(lambda: asked(socket)["session"]["seconds"] > 3)
        held = Hold.objects.get()
        assert held.amount > 3 * PRICE
        assert held.quoted == 600 * PRICE
        until(lambda: money(ada) == (FUNDS, Hold.objects.get().amount))  # it grows meanwhile
    assert paid(sat()) > 3 * PRICE
    assert money(ada) == (FUNDS - paid(sat()), 0)


# ── what ends it ──────────────────────────────────────────────────────────────────────────────


def used_up(socket: ClientConnection) -> Any:
    """Ask until the session says its last words."""
    while "images" in (told := asked(socket)):
        pass
    return told


def test_a_session_ends_when_the_balance_is_used_up(web: Client) -> None:
    person = eve("0.0002")  # two seconds
    with sitting(web), talking(web, model=GLYPH, **key(person)) as socket:
        last = used_up(socket)
        assert last["error"] == "INSUFFICIENT_BALANCE"
        assert last["reason"].startswith("The balance is used up. It lasted 2.0 s and cost $0.0002")
        assert ended(socket) == (1008, last["reason"])
    assert paid(sat()) == 200_000
    assert money(person) == (0, 0)
    assert last["session"]["cost"]["nano"] == 200_000


def test_a_session_ends_when_its_cap_is_used_up(web: Client, ada: Person) -> None:
    with sitting(web), talking(web, "max_cost=0.00015", GLYPH, **key(ada)) as socket:
        last = used_up(socket)
        assert last["error"] == "COST_ABOVE_LIMIT"
        assert ended(socket)[0] == 1008
    assert (paid(sat()), Hold.objects.get().quoted) == (150_000, 150_000)
    assert money(ada) == (FUNDS - 150_000, 0)


def test_the_first_prompt_may_carry_the_cap(web: Client, ada: Person) -> None:
    with sitting(web), talking(web, "max_cost=1", GLYPH, **key(ada)) as socket:
        assert asked(socket, max_cost="a lot")["error"] == "INVALID_INPUT"
        assert asked(socket, max_cost="0.0004")["images"]
        assert Hold.objects.get().quoted == 400_000
        assert asked(socket, max_cost="0.1")["reason"].startswith("max_cost is not an input here")


@pytest.mark.parametrize("limit", [{"limit": "0.0002"}, {"limit": "1", "max_per_run": "0.0002"}])
def test_a_session_ends_when_a_budget_is_used_up(
    web: Client, ada: Person, limit: dict[str, str]
) -> None:
    budgets.create(team=ada.team, data={"kind": "team", **limit}, created_by=ada.user)
    with sitting(web), talking(web, model=GLYPH, **key(ada)) as socket:
        last = used_up(socket)
        assert last["error"] == "BUDGET_EXCEEDED"
        assert ended(socket)[0] == 1008
    assert paid(sat()) == 200_000
    spending = Spending.objects.get()
    assert (spending.spent, spending.held) == (200_000, 0)


def test_a_session_that_nobody_asks_of_ends(
    web: Client, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fal_talk, "IDLE_SECONDS", 0.5)
    with sitting(web), talking(web, model=GLYPH, **key(ada)) as socket:
        assert asked(socket)["images"]
        assert heard(socket)["error"] == "TIMEOUT"
        assert ended(socket)[0] == 1000
    assert paid(sat()) > 0
    assert sat().usage["ended"] == "idle"  # type: ignore[index]


def test_a_session_that_is_cancelled_is_paid_until_then(web: Client, ada: Person) -> None:
    with sitting(web), talking(web, model=GLYPH, **key(ada)) as socket:
        run = asked(socket)["request_id"]
        assert web.call("POST", f"/api/v1/runs/{run}/cancel", key=ada.text).status == 200
        assert heard(socket)["error"] == "SESSION_ENDED"
        assert ended(socket)[0] == 1000
    assert (sat().state, sat().outcome) == ("cancelled", "cancelled_after")
    assert paid(sat()) > 0


def test_a_key_that_is_revoked_ends_its_session(web: Client, ada: Person) -> None:
    with sitting(web), talking(web, model=GLYPH, **key(ada)) as socket:
        assert asked(socket)["images"]
        keys.revoke(key=ada.key)
        assert heard(socket)["error"] == "NOT_AUTHENTICATED"
        assert ended(socket)[0] == 1008
    assert paid(sat()) > 0


def test_a_worker_that_falls_silent_is_paid_until_it_was_heard(
    web: Client, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SILENT_SECONDS", 2.0)
    with sitting(web) as sitter, talking(web, model=GLYPH, **key(ada)) as socket:
        assert asked(socket)["images"]
        sitter.die()
        last = heard(socket)
        assert (last["error"], last["reason"][:19]) == ("UNAVAILABLE", "The worker was lost")
        assert ended(socket)[0] == 1013
    run, session = sat(), Session.objects.get()
    assert (run.state, run.outcome) == ("succeeded", "partial")
    assert run.error
    assert run.error["code"] == "worker_lost"
    assert session.closed_at
    assert run.finished_at
    assert (run.finished_at - session.closed_at).total_seconds() > 1.5
    assert paid(run) > 0


def test_a_worker_that_is_lost_before_it_drew_anything_costs_nothing(
    web: Client, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SILENT_SECONDS", 1.5)
    with sitting(web) as sitter, talking(web, model=GLYPH, **key(ada)) as socket:
        sitter.easel.hung = True
        socket.send(msgpack.packb({"prompt": "red heart"}))
        until(lambda: sitter.easel.jobs)
        sitter.die()
        assert heard(socket)["error"] == "UNAVAILABLE"
    assert (sat().state, sat().outcome) == ("failed", "our_error")
    assert charge(sat().id) == ("voided", 0)
    assert money(ada) == (FUNDS, 0)


def test_a_worker_that_stops_ends_its_session(web: Client, ada: Person) -> None:
    with sitting(web) as sitter, talking(web, model=GLYPH, **key(ada)) as socket:
        assert asked(socket)["images"]
        sitter.stop.set()
        assert heard(socket)["error"] == "UNAVAILABLE"
    assert (sat().outcome, paid(sat()) > 0) == ("partial", True)


def test_a_session_that_no_worker_takes_up_costs_nothing(
    web: Client, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "START_SECONDS", 1)
    with talking(web, model=GLYPH, **key(ada)) as socket:
        socket.send(msgpack.packb({"prompt": "red heart"}))
        last = heard(socket)
        assert (last["error"], last["reason"][:18]) == ("UNAVAILABLE", "No worker was free")
    assert charge(sat().id) == ("voided", 0)
    assert money(ada) == (FUNDS, 0)


def test_a_client_that_leaves_before_it_begins_pays_nothing(web: Client, ada: Person) -> None:
    with talking(web, model=GLYPH, **key(ada)) as socket:
        socket.send(msgpack.packb({"prompt": "red heart"}))
        until(Run.objects.filter(state="queued").exists)
    assert (sat().state, charge(sat().id)) == ("cancelled", ("voided", 0))


# ── who may not ───────────────────────────────────────────────────────────────────────────────


def test_who_cannot_pay_a_second_gets_no_session(web: Client, ada: Person) -> None:
    poor = eve("0.00005")
    before = written(poor)
    with talking(web, model=GLYPH, **key(poor)) as socket:
        assert asked(socket)["error"] == "INSUFFICIENT_BALANCE"
        assert ended(socket)[0] == 1008
    with talking(web, "max_cost=0.00005", GLYPH, **key(ada)) as socket:
        told = asked(socket)
        assert told["error"] == "COST_ABOVE_LIMIT"
        assert told["reason"].startswith("A second of this session costs $0.0001 USD, more than")
    assert written(poor) == before


def test_anothers_token_opens_no_session(fal: Fal, web: Client, ada: Person, cy: Person) -> None:
    before = written(ada)
    with talking(web, f"fal_jwt_token={token(fal, 'still')}", GLYPH) as socket:
        assert heard(socket)["error"] == "Unauthorized"
    with talking(web, "fal_jwt_token=wrong", GLYPH, **key(cy)) as socket:
        assert heard(socket)["error"] == "Unauthorized"
    assert written(ada) == before


# ── the door ──────────────────────────────────────────────────────────────────────────────────


def said(web: Client, word: Any, content: bytes = b"", token: str = WORKER_TOKEN) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    body = orjson.dumps(word) + b"\n" + content
    return web.call("POST", "/fleet/v1/session", body, headers=headers).status


def test_the_door_takes_no_word_but_its_own_workers(
    web: Client, ada: Person, gpu: Worker, glyph: Release
) -> None:
    with sitting(web), talking(web, model=GLYPH, **key(ada)) as socket:
        run = asked(socket)["request_id"]
        word = {"run": run, "attempt": 1, "seconds": 1.0, "busy": True}
        assert said(web, word) == 200
        assert said(web, word, token="wrong") == 401
        assert said(web, word | {"attempt": 2}) == 409
        assert said(web, word | {"attempt": "1"}) == 422
        assert said(web, word | {"seconds": -1}) == 422
        assert said(web, word | {"run": "run_nothing"}) == 404
        frame = {"number": 99, "seconds": 0.1, "content_type": "image/png", "lengths": [3]}
        assert said(web, word | {"frame": frame}, b"abc") == 422
        assert said(web, word | {"frame": frame | {"lengths": [9]}}, PICTURE[:8]) == 422
        assert said(web, word | {"frame": 1}) == 422
        unasked = frame | {"lengths": [len(PICTURE)]}
        assert said(web, word | {"frame": unasked}, PICTURE) == 200  # and nobody is shown it
        assert asked(socket, "tomato")["prompt"] == "tomato"
    assert sat().usage["frames"] == 2  # type: ignore[index]


def test_no_process_takes_more_sessions_than_it_can_serve(
    web: Client, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hot, "MOST", 0)
    before = written(ada)
    with talking(web, model=GLYPH, **key(ada)) as socket:
        assert asked(socket)["error"] == "BUSY"
        assert ended(socket)[0] == 1013
    assert written(ada) == before


def test_a_worker_of_another_web_process_comes_to_the_sessions_own_door(
    web: Client, ada: Person, settings: Any
) -> None:
    settings.DOOR_URL = f"http://127.0.0.1:{web.port}"
    with serving() as other, sitting(other) as sitter, talking(web, model=GLYPH, **key(ada)) as to:
        assert asked(to)["images"][0]["content"] == PICTURE
        assert sitter.easel.jobs
    assert paid(sat()) < FIRST


def test_without_a_door_of_its_own_it_is_lost_at_no_cost_and_the_log_says_why(
    web: Client, ada: Person, caplog: pytest.LogCaptureFixture
) -> None:
    with serving() as other, sitting(other), talking(web, model=GLYPH, **key(ada)) as socket:
        assert asked(socket)["error"] == "UNAVAILABLE"
    assert charge(sat().id) == ("voided", 0)
    assert "each web process needs a KINORA_DOOR_URL of its own" in caplog.text

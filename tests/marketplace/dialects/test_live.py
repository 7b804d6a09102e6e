"""The playground's own sessions: a ticket of its page, JSON, and the same run as any session."""

import base64
from typing import Any

import orjson
import pytest
from django.test import Client as Browser
from websockets.sync.client import ClientConnection, connect

from marketplace.ledger.models import Hold
from marketplace.runs import session_ticket
from marketplace.runs.models import Run
from marketplace.runs.session_ticket import Ticket
from tests.conftest import Person
from tests.journeys.books import FUNDS, charge, money, written
from tests.marketplace.dialects.test_fal_realtime import ended
from tests.marketplace.runs.conftest import gpu
from tests.marketplace.sitting import PICTURE, sitting
from tests.marketplace.supply import until
from tests.marketplace.web import Client

__all__ = ["gpu"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("glyph", "gpu")]
PAGE = "/models/kinora/glyph/session"


def opened(web: Client, address: str) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{web.port}{address}", max_size=None)


def asked(socket: ClientConnection, **inputs: Any) -> Any:
    socket.send(orjson.dumps({"prompt": "red heart"} | inputs).decode())
    while (told := orjson.loads(socket.recv(20))).get("type") == "x-fal-message":
        pass
    return told


def address_of(person: Person, **form: str) -> str:
    """Where the page's script would open the session."""
    browser = Browser()
    browser.force_login(person.user)
    answer = browser.post(PAGE, {"prompt": "red heart"} | form)
    assert answer.status_code == 200
    return str(answer.context["address"])


def test_a_person_talks_to_a_session_in_json(web: Client, ada: Person) -> None:
    with sitting(web) as sitter, opened(web, address_of(ada)) as socket:
        told = asked(socket, steps="12", size="64")
        kind, _, content = told["images"][0]["url"].partition(",")
        assert (kind, base64.b64decode(content)) == ("data:image/png;base64", PICTURE)
        assert sitter.easel.jobs[0].inputs["steps"] == 12
        run = Run.objects.get()
        assert (run.user, run.key, run.team) == (ada.user, None, ada.team)
        shown = web.get(f"/api/v1/runs/{told['session']['run']}", key=ada.text).json
        assert shown["session"]["ended"] is None
        assert shown["cost"]["state"] == "open"
    until(lambda: Run.objects.filter(state="succeeded").exists())
    state, captured = charge(run.id)
    assert (state, captured > 0) == ("captured", True)
    assert money(ada) == (FUNDS - captured, 0)
    shown = web.get(f"/api/v1/runs/{run.public_id}", key=ada.text).json
    assert shown["session"]["frames"] == 1
    assert shown["session"]["ended"] == "left"
    assert shown["session"]["cost"]["nano"] == captured
    assert shown["session"]["seconds"] == float(shown["usage"][0]["measured"])


def test_the_form_s_limit_is_the_session_s_cap(web: Client, ada: Person) -> None:
    with sitting(web), opened(web, address_of(ada, **{"limit-max_cost": "0.00025"})) as socket:
        assert asked(socket)["images"]
        assert Hold.objects.get().quoted == 250_000
    browser = Browser()
    browser.force_login(ada.user)
    assert browser.post(PAGE, {"limit-max_cost": "a lot"}).status_code == 422


def test_who_may_not_run_gets_no_ticket_and_no_session(
    web: Client, ada: Person, ben: Person
) -> None:
    before = written(ada)
    assert Browser().post(PAGE).status_code == 302
    viewer = Browser()
    viewer.force_login(ben.user)
    assert viewer.post(PAGE).status_code == 403
    good = session_ticket.sign(Ticket(ada.user.pk, ada.team.id, "kinora/glyph", None))
    for ticket in ("", "forged", good[:-2]):
        with opened(web, f"/live?ticket={ticket}") as socket:
            assert orjson.loads(socket.recv(20))["error"] == "NOT_AUTHENTICATED"
            assert ended(socket)[0] == 1008
    assert written(ada) == before


def test_a_session_has_its_page_and_its_words(web: Client, ada: Person) -> None:
    browser = Browser()
    browser.force_login(ada.user)
    assert "Start session" in browser.get("/models/kinora/glyph").content.decode()
    with sitting(web), opened(web, address_of(ada)) as socket:
        run = asked(socket)["session"]["run"]
        live = browser.get(f"/runs/{run}").content.decode()
        assert "A session is under way" in live
        assert "so far, " in live
    until(lambda: Run.objects.filter(state="succeeded").exists())
    done = browser.get(f"/runs/{run}").content.decode()
    assert "1 drawn" in done
    assert "Its client ended it." in done
    assert "second of session" in done
    assert "A live session" in browser.get("/runs").content.decode()

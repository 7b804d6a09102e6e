"""fal's realtime sessions on the wire: tokens, frames, complaints, and what ends them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgpack
import orjson
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from marketplace.accounts import keys
from marketplace.accounts.models import Team
from marketplace.catalog.models import Release
from marketplace.dialects import tokens
from marketplace.dialects.contract import Caller
from marketplace.errors import NotAuthenticated
from marketplace.ledger.check import check
from marketplace.runs.models import Run
from tests.conftest import Person, fund, join
from tests.journeys.books import money, written
from tests.lab import Lab
from tests.marketplace.dialects.test_fal import Fal, fal
from tests.marketplace.runs.conftest import lab
from tests.marketplace.supply import suppliers, supplying, until
from tests.marketplace.web import Client

__all__ = ["fal", "lab"]

pytestmark = pytest.mark.django_db(transaction=True)
ASKED = {"prompt": "dusk", "image_size": "64x64", "latency_ms": 0}


@contextmanager
def talking(
    web: Client, query: str = "", model: str = "rehearsal/still", **headers: str
) -> Iterator[ClientConnection]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"ws://127.0.0.1:{web.port}/fal/run/{model}/realtime?{query}"
    with connect(url, additional_headers=named, max_size=None) as socket:
        yield socket


def heard(socket: ClientConnection) -> Any:
    """What comes next; suppliers are told meanwhile, since no broker hints here."""
    end = time.monotonic() + 20
    while True:
        try:
            message = socket.recv(0.1)
            break
        except TimeoutError:
            assert time.monotonic() < end, "nothing came"
            for supplier in suppliers:
                supplier.wake()
    return orjson.loads(message) if isinstance(message, str) else msgpack.unpackb(message)


def asked(socket: ClientConnection, **more: Any) -> Any:
    socket.send(msgpack.packb(ASKED | more))
    return heard(socket)


def ended(socket: ClientConnection) -> tuple[int, str]:
    """Code and reason with which the other side closes."""
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(20)
    assert closed.value.rcvd
    return closed.value.rcvd.code, closed.value.rcvd.reason


def token(fal: Fal, *apps: str) -> str:
    body = {"allowed_apps": list(apps), "token_expiration": 120}
    found: str = fal.call("POST", "/fal/rest/tokens/", body).json
    return found


def test_prompts_come_back_as_frames_each_a_run_of_its_own(
    fal: Fal, web: Client, ada: Person, still: Release, lab: Lab
) -> None:
    query = f"fal_jwt_token={token(fal, 'still')}"
    with supplying(), talking(web, query) as socket:
        first, second = asked(socket), asked(socket, prompt="dawn", num_images=2)
        socket.send(orjson.dumps(ASKED | {"prompt": "noon"}).decode())
        third = heard(socket)
    assert [len(told["images"]) for told in (first, second, third)] == [1, 2, 1]
    assert second["prompt"] == "dawn"
    picture = first["images"][0]
    assert picture["content"].startswith(b"\x89PNG")
    assert (picture["width"], picture["content_type"]) == (64, "image/png")
    assert len(picture["content"]) == picture["file_size"]
    assert Run.objects.count() == 3
    assert money(ada) == (5_000_000_000 - 8_000_000, 0)
    assert check() == []


def test_a_wrong_message_is_told_and_the_session_goes_on(
    web: Client, ada: Person, still: Release, lab: Lab
) -> None:
    with supplying(), talking(web, Authorization=f"Key {ada.text}") as socket:
        wrong = asked(socket, num_images=9)
        assert (wrong["type"], wrong["error"]) == ("x-fal-error", "INVALID_INPUT")
        assert wrong["reason"] == "num_images must be at most 4."
        assert wrong["detail"][0]["loc"] == ["body", "num_images"]
        socket.send(b"\xc1")
        assert heard(socket)["error"] == "MALFORMED_BODY"
        socket.send(msgpack.packb([1, 2]))
        assert heard(socket)["error"] == "MALFORMED_BODY"
        socket.send(msgpack.packb({"prompt": "a" * 1_100_000}))
        assert heard(socket)["error"] == "TOO_LARGE"
        assert asked(socket, behaviour="refuse")["error"] == "CONTENT_POLICY_VIOLATION"
        assert asked(socket)["images"]


def test_a_session_ends_when_its_cap_is_used_up(
    web: Client, ada: Person, still: Release, lab: Lab
) -> None:
    heads = {"Authorization": f"Key {ada.text}", "X_Kinora_Max_Cost": "0.005"}
    with supplying(), talking(web, **heads) as socket:
        assert [len(asked(socket)["images"]) for _ in range(2)] == [1, 1]
        last = asked(socket)
        assert last["error"] == "COST_ABOVE_LIMIT"
        assert "more than max_cost" in last["reason"]
        assert ended(socket) == (1008, last["reason"])
    assert money(ada) == (5_000_000_000 - 4_000_000, 0)


def test_a_session_ends_when_the_money_is_used_up(web: Client, still: Release, lab: Lab) -> None:
    eve = join("eve", team=Team.objects.create(name="Eve's"), role="owner")
    fund(eve.team, "0.003", reference="tests:eve")
    with supplying(), talking(web, Authorization=f"Key {eve.text}") as socket:
        assert asked(socket)["images"]
        assert asked(socket)["error"] == "INSUFFICIENT_BALANCE"
        code, reason = ended(socket)
    assert (code, reason[:10]) == (1008, "This run m")
    assert money(eve) == (1_000_000, 0)


def test_a_frame_whose_client_has_left_is_cancelled_at_no_cost(
    web: Client, ada: Person, still: Release
) -> None:
    with talking(web, Authorization=f"Key {ada.text}") as socket:
        socket.send(msgpack.packb(ASKED))
        until(Run.objects.filter(state="queued").exists)
    until(Run.objects.filter(state="cancelled").exists)
    assert money(ada) == (5_000_000_000, 0)


def test_a_key_that_is_revoked_ends_its_sessions_and_tokens(
    fal: Fal, web: Client, ada: Person, still: Release, lab: Lab
) -> None:
    query = f"fal_jwt_token={token(fal, 'still')}"
    with supplying(), talking(web, query) as socket:
        assert asked(socket)["images"]
        keys.revoke(key=ada.key)
        until(lambda: asked(socket).get("error") == "NOT_AUTHENTICATED", seconds=10)
        assert ended(socket)[0] == 1008


@pytest.mark.parametrize("way", ["nothing", "a wrong key", "a forged token", "another's token"])
def test_who_may_not_is_told_in_words_that_both_clients_know(
    fal: Fal, web: Client, ada: Person, still: Release, way: str
) -> None:
    before = written(ada)
    queries = {
        "a forged token": "fal_jwt_token=a:b:c",
        "another's token": f"fal_jwt_token={token(fal, 'glyph')}",
    }
    heads = {"Authorization": "Key kin_live_wrong"} if way == "a wrong key" else {}
    with talking(web, queries.get(way, ""), **heads) as socket:
        told = heard(socket)
        assert (told["type"], told["status"], told["error"]) == (
            "x-fal-error",
            "error",
            "Unauthorized",
        )
        assert ended(socket) == (1008, told["reason"])
    assert written(ada) == before


def test_a_token_is_for_one_use_and_a_time(fal: Fal, ada: Person) -> None:
    caller = Caller(ada.key.id, ada.team.id, frozenset(("run",)))
    text, _ = tokens.issue(caller, use="realtime", seconds=60, to="glyph")
    assert tokens.read(text, use="realtime") == (ada.key.id, "glyph")
    late, _ = tokens.issue(caller, use="realtime", seconds=-1)
    for wrong, use in ((text, "upload"), (late, "realtime"), (text[:-1] + "!", "realtime")):
        with pytest.raises(NotAuthenticated):
            tokens.read(wrong, use=use)
    for body in ({}, {"allowed_apps": []}, {"allowed_apps": ["x"], "token_expiration": 1e9}):
        assert fal.call("POST", "/fal/rest/tokens/", body).status == 422


def test_nobody_talks_on_other_paths(web: Client) -> None:
    for path in ("/api/v1/runs", "/nowhere", "/fal/queue/a/b"):
        with pytest.raises(Exception, match=r"HTTP 40[34]"):
            connect(f"ws://127.0.0.1:{web.port}{path}")

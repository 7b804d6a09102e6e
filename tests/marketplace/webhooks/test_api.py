"""Endpoints, deliveries and replays over the API: by their team, by nobody else."""

from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from marketplace import ids
from marketplace.runs.deliverer import Deliverer
from marketplace.webhooks import endpoints, queue, secrets
from marketplace.webhooks.models import Delivery, Endpoint
from marketplace.webhooks.schemes import Event
from tests.conftest import Person
from tests.marketplace.supply import until
from tests.receiver import Receiver, answering

pytestmark = pytest.mark.django_db(transaction=True)

URL = "https://example.com/hook"
WISH = {"url": URL, "event_types": ["run.finished"], "name": "Site"}
API = "/api/v1/webhooks"


class Api:
    """Calls of one person."""

    def __init__(self, person: Person) -> None:
        self.person, self.client = person, Client(headers=person.bearer)

    def __call__(self, method: str, path: str = "", body: Any = None, status: int = 200) -> Any:
        sent = b"" if body is None else orjson.dumps(body)
        answer = self.client.generic(method, API + path, sent, content_type="application/json")
        assert answer.status_code == status, answer.content
        return orjson.loads(answer.content) if answer.content else None


@pytest.fixture
def call(ada: Person) -> Api:
    return Api(ada)


def dead(person: Person, **more: Any) -> Delivery:
    event = Event(ids.public("evt", ids.uuid7()), "run.finished", timezone.now())
    known: dict[str, Any] = {"target": "run:0", "url": URL, "scheme": "standard", "body": b"{}"}
    item = queue.delivery(team_id=str(person.team.id), event=event, **known | more)
    queue.queue([item])
    Delivery.objects.filter(id=item["id"]).update(
        state="dead", tries=12, ended_at=timezone.now(), next_at=timezone.now() + timedelta(1)
    )
    return Delivery.objects.get(id=item["id"])


def test_an_endpoint_is_made_shown_changed_and_removed(call: Api, ada: Person) -> None:
    made = call("POST", "", WISH, 201)
    endpoint = Endpoint.objects.get()
    assert made["secret"] == secrets.endpoint_secret(endpoint.id, 1)
    shown = {name: value for name, value in made.items() if name != "secret"}
    assert call("GET", f"/{made['id']}") == shown
    assert call("GET")["data"] == [shown]

    changed = call("PATCH", f"/{made['id']}", {"name": "", "event_types": ["video.failed"]})
    assert (changed["name"], changed["event_types"]) == ("", ["video.failed"])
    off = call("PATCH", f"/{made['id']}", {"disabled": True})
    assert (off["disabled_reason"], off["disabled_at"] is None) == ("asked", False)
    on = call("PATCH", f"/{made['id']}", {"disabled": False})
    assert (on["disabled_reason"], on["disabled_at"]) == (None, None)

    call("DELETE", f"/{made['id']}", status=204)
    call("GET", f"/{made['id']}", status=404)
    assert not Endpoint.objects.exists()


WRONG = [
    ({}, "url"),
    ({"url": URL}, "event_types"),
    (WISH | {"url": "http://example.com"}, "url"),
    (WISH | {"url": "https://169.254.169.254/latest"}, "url"),
    (WISH | {"url": None}, "url"),
    (WISH | {"event_types": []}, "event_types"),
    (WISH | {"event_types": "run.finished"}, "event_types"),
    (WISH | {"event_types": ["run.exploded"]}, "event_types"),
    (WISH | {"event_types": [["run.finished"]]}, "event_types"),
    (WISH | {"name": "x" * 81}, "name"),
    (WISH | {"name": 5}, "name"),
    (WISH | {"secret": "mine"}, "secret"),
]


@pytest.mark.parametrize(("wish", "param"), WRONG)
def test_a_wrong_wish_names_the_field_and_makes_nothing(
    call: Api, wish: dict[str, Any], param: str
) -> None:
    assert call("POST", "", wish, 422)["error"]["param"] == param
    assert not Endpoint.objects.exists()


def test_a_team_has_a_bounded_number_of_endpoints(call: Api) -> None:
    for _ in range(endpoints.MOST):
        call("POST", "", WISH, 201)
    assert call("POST", "", WISH, 409)["error"]["code"] == "conflict"
    assert Endpoint.objects.count() == endpoints.MOST


def test_a_turned_secret_is_a_new_one(call: Api) -> None:
    made = call("POST", "", WISH, 201)
    turned = call("POST", f"/{made['id']}/rotate")
    assert turned["secret"] != made["secret"]
    assert turned["rotated_at"]
    assert "secret" not in call("GET", f"/{made['id']}")


def test_the_teams_own_secret_is_given_and_turned(call: Api, ada: Person) -> None:
    first = call("GET", "/secret")["secret"]
    assert first == secrets.team_secret(ada.team.id, 1)
    second = call("POST", "/secret")["secret"]
    assert second == call("GET", "/secret")["secret"] == secrets.team_secret(ada.team.id, 2)


def test_a_test_event_arrives_and_is_listed_with_its_attempts(
    call: Api, receiver: Receiver, deliverer: Deliverer
) -> None:
    receiver.manners["/hook"] = [answering(500, b"down"), answering(200)]
    made = call("POST", "", WISH | {"url": receiver.url()}, 201)
    sent = call("POST", f"/{made['id']}/test", status=202)
    path = f"/deliveries/{sent['id']}"
    until(lambda: call("GET", path)["attempts"][0:] and call("GET", path)["attempts"][0]["status"])

    shown = call("GET", path)
    assert (shown["state"], shown["event_type"], shown["run"]) == ("pending", "webhook.test", None)
    assert shown["attempts"][0]["error"] == "It answered 500."
    assert shown["attempts"][0]["answer"] == "down"
    assert shown["next_at"]
    assert call("GET", f"/deliveries?endpoint={made['id']}")["data"] == [shown]
    assert call("GET", "/deliveries?state=dead")["data"] == []
    Delivery.objects.update(next_at=timezone.now())
    until(lambda: call("GET", path)["state"] == "delivered")
    assert {one.id for one in receiver.received} == {sent["event"]}
    assert receiver.received[0].json["data"]["endpoint"] == made["id"]


def test_the_log_is_paged_newest_first(call: Api, ada: Person, cy: Person) -> None:
    mine = [dead(ada).public_id for _ in range(5)]
    dead(cy)
    first = call("GET", "/deliveries?limit=2")
    second = call("GET", f"/deliveries?limit=3&cursor={first['next_cursor']}")
    assert [one["id"] for one in first["data"] + second["data"]] == sorted(mine, reverse=True)
    assert second["next_cursor"] is None
    for query in ("limit=0", "limit=x", "cursor=whd_x", "state=lost", "run=whd_x"):
        param = query.partition("=")[0]
        assert call("GET", f"/deliveries?{query}", status=422)["error"]["param"] == param


def test_a_dead_delivery_is_replayed_under_the_same_id(
    call: Api, ada: Person, receiver: Receiver, deliverer: Deliverer
) -> None:
    delivery = dead(ada, url=receiver.url())
    call("POST", f"/deliveries/{delivery.public_id}/replay", status=202)
    [got] = receiver.wait(1)
    assert got.id == delivery.event_id
    until(lambda: Delivery.objects.filter(state="delivered").exists())
    call("POST", f"/deliveries/{delivery.public_id}/replay", status=202)
    assert [one.id for one in receiver.wait(2)] == [delivery.event_id] * 2


def test_a_replay_gets_all_its_tries_again(call: Api, ada: Person) -> None:
    delivery = dead(ada)
    call("POST", f"/deliveries/{delivery.public_id}/replay", status=202)
    [parcel] = queue.take(limit=5, per_host=5, busy={})
    assert (parcel.number, parcel.pardoned) == (13, 12)
    again = call("POST", f"/deliveries/{delivery.public_id}/replay", status=409)
    assert again["error"]["message"] == "This delivery still waits for its next try."


def test_a_range_is_replayed_and_nothing_beside_it(call: Api, ada: Person, cy: Person) -> None:
    now = timezone.now()
    inside, delivered, outside = dead(ada), dead(ada), dead(ada)
    others = dead(cy)
    endpoint = Endpoint.objects.create(team=ada.team, url=URL, disabled_at=now)
    off = dead(ada, endpoint_id=str(endpoint.id), target=f"endpoint:{endpoint.id}")
    Delivery.objects.filter(id=delivered.id).update(state="delivered")
    Delivery.objects.filter(id=outside.id).update(created_at=now - timedelta(hours=2))

    wish = {"from": (now - timedelta(hours=1)).isoformat(), "to": "2999-01-01T00:00:00Z"}
    assert call("POST", "/replay", wish, 422)["error"]["param"] == "to"
    wish["to"] = (now + timedelta(hours=1)).isoformat()
    assert call("POST", "/replay", wish, 202) == {"replayed": 1}
    pending = set(Delivery.objects.filter(state="pending").values_list("id", flat=True))
    assert pending == {inside.id}
    assert call("POST", "/replay", wish | {"states": ["delivered"]}, 202) == {"replayed": 1}
    Endpoint.objects.update(disabled_at=None)
    named = wish | {"endpoint": endpoint.public_id}
    assert call("POST", "/replay", named, 202) == {"replayed": 1}
    off.refresh_from_db()
    others.refresh_from_db()
    assert (off.state, others.state) == ("pending", "dead")


@pytest.mark.parametrize(
    ("wish", "param"),
    [({}, "from"), ({"from": "now", "to": "now"}, "from"),
     ({"from": "2026-01-01", "to": 5}, "from"),
     ({"from": "2026-01-01T00:00Z", "to": "2026-13-01T00:00Z"}, "to"),
     ({"from": "2026-01-02T00:00Z", "to": "2026-01-01T00:00Z"}, "to"),
     ({"from": "2026-01-01T00:00Z", "to": "2026-01-02T00:00Z", "states": ["pending"]}, "states"),
     ({"from": "2026-01-01T00:00Z", "to": "2026-01-02T00:00Z", "all": True}, "all")],
)  # fmt: skip
def test_a_wrong_range_names_the_field(call: Api, wish: dict[str, Any], param: str) -> None:
    assert call("POST", "/replay", wish, 422)["error"]["param"] == param


def test_what_waits_follows_a_changed_address_and_dies_with_its_endpoint(
    call: Api, ada: Person
) -> None:
    made = call("POST", "", WISH, 201)
    endpoint = Endpoint.objects.get()
    endpoints.send_test(endpoint=endpoint)
    call("PATCH", f"/{made['id']}", {"url": "https://other.example.com:8443/x"})
    waiting = Delivery.objects.get()
    assert (waiting.url, waiting.host) == (
        "https://other.example.com:8443/x",
        "other.example.com:8443",
    )
    call("DELETE", f"/{made['id']}", status=204)
    waiting.refresh_from_db()
    assert (waiting.state, waiting.endpoint) == ("dead", None)
    call("POST", f"/deliveries/{waiting.public_id}/replay", status=409)


ROUTES = [
    ("GET", "/{endpoint}"), ("PATCH", "/{endpoint}"), ("DELETE", "/{endpoint}"),
    ("POST", "/{endpoint}/rotate"), ("POST", "/{endpoint}/test"), ("GET", "/deliveries/{delivery}"),
    ("POST", "/deliveries/{delivery}/replay"), ("GET", "/deliveries?endpoint={endpoint}"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_another_teams_is_as_unknown_as_none(
    ada: Person, cy: Person, method: str, path: str
) -> None:
    endpoint = Endpoint.objects.create(team=ada.team, url=URL, event_types=["run.finished"])
    delivery = dead(ada)
    known = {"endpoint": endpoint.public_id, "delivery": delivery.public_id}
    unknown = {
        "endpoint": ids.public("whe", ids.uuid7()),
        "delivery": ids.public("whd", ids.uuid7()),
    }
    body = None if method in ("GET", "DELETE") else {}
    before = list(Endpoint.objects.values()), list(Delivery.objects.values())
    answers = [Api(cy)(method, path.format(**ids_), body, 404) for ids_ in (known, unknown)]
    assert answers[0] == answers[1]
    assert (list(Endpoint.objects.values()), list(Delivery.objects.values())) == before


def test_a_key_that_only_reads_changes_nothing(ben: Person, ada: Person) -> None:
    endpoint = Endpoint.objects.create(team=ada.team, url=URL, event_types=["run.finished"])
    delivery, call = dead(ada), Api(ben)
    before = list(Endpoint.objects.values()), list(Delivery.objects.values())
    for method, path in (
        ("POST", ""), ("PATCH", f"/{endpoint.public_id}"), ("DELETE", f"/{endpoint.public_id}"),
        ("POST", f"/{endpoint.public_id}/rotate"), ("POST", f"/{endpoint.public_id}/test"),
        ("POST", f"/deliveries/{delivery.public_id}/replay"), ("POST", "/replay"),
        ("GET", "/secret"), ("POST", "/secret"),
    ):  # fmt: skip
        assert call(method, path, {} if method != "GET" else None, 403)["error"]["scope"] == "run"
    assert len(call("GET")["data"]) == len(call("GET", "/deliveries")["data"]) == 1
    assert (list(Endpoint.objects.values()), list(Delivery.objects.values())) == before


def test_owners_are_told_once_of_an_endpoint_that_we_disabled(
    ada: Person, ben: Person, mailoutbox: list[Any], settings: Settings
) -> None:
    from marketplace.webhooks import tidy

    endpoint = Endpoint.objects.create(
        team=ada.team, url=URL, disabled_at=timezone.now(), disabled_reason="failing",
        failing_since=timezone.now() - timedelta(days=4),
    )  # fmt: skip
    assert (tidy.tell_of_disabled(), tidy.tell_of_disabled()) == (1, 0)
    [mail] = mailoutbox
    assert mail.to == [ada.user.email]
    assert URL in mail.body
    assert f"/webhooks/{endpoint.public_id}" in mail.body


def test_old_deliveries_are_forgotten_and_waiting_ones_kept(ada: Person) -> None:
    from marketplace.webhooks import tidy

    old, young, waiting = dead(ada), dead(ada), dead(ada)
    Delivery.objects.exclude(id=young.id).update(created_at=timezone.now() - timedelta(days=31))
    Delivery.objects.filter(id=waiting.id).update(state="pending")
    assert tidy.forget_old() == 1
    assert not Delivery.objects.filter(id=old.id).exists()
    assert Delivery.objects.count() == 2

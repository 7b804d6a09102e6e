"""Deliveries reach well-behaved receivers once, and others again and again under the same id."""

import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import orjson
import pytest
from django.db import transaction
from django.utils import timezone

from marketplace.accounts.models import Team
from marketplace.runs.deliverer import Deliverer
from marketplace.webhooks import queue, schedule
from marketplace.webhooks.models import Delivery, Endpoint
from marketplace.webhooks.schemes import Event
from tests.conftest import Person
from tests.marketplace.supply import until
from tests.receiver import Receiver, answering, closing

pytestmark = pytest.mark.django_db(transaction=True)


def queued(team: Team, url: str, name: str = "evt_1", **more: Any) -> Delivery:
    """A delivery for `url`, due now."""
    event = Event(name, "run.finished", timezone.now())
    known: dict[str, Any] = {"target": "run:0", "scheme": "standard", "body": b'{"a":1}'}
    item = queue.delivery(team_id=str(team.id), url=url, event=event, **known | more)
    assert queue.queue([item]) == 1
    assert queue.queue([item]) == 0
    return Delivery.objects.get(id=item["id"])


def tried(delivery: Delivery, times: int = 1) -> Delivery:
    """The delivery, once it has been tried that often and the last try is on record."""
    until(lambda: delivery.attempts.filter(ended_at__isnull=False).count() >= times)
    delivery.refresh_from_db()
    return delivery


def hurry(delivery: Delivery) -> None:
    Delivery.objects.filter(id=delivery.id, state="pending").update(next_at=timezone.now())


def test_a_delivery_arrives_with_its_headers_and_is_on_record(
    ada: Person, receiver: Receiver, deliverer: Deliverer
) -> None:
    delivery = tried(queued(ada.team, receiver.url()))

    [got] = receiver.received
    assert got.body == b'{"a":1}'
    assert got.id == "evt_1"
    assert got.headers["content-type"] == "application/json"
    assert abs(int(got.headers["webhook-timestamp"]) - time.time()) < 60
    assert got.headers["user-agent"] == "Kinora-Webhooks/1"
    assert (delivery.state, delivery.tries) == ("delivered", 1)
    [attempt] = delivery.attempts.all()
    assert (attempt.status, attempt.error, attempt.answer) == (200, "", "thanks")


FAULTS = [
    (answering(500, b"oops"), 500, "It answered 500."),
    (answering(404), 404, "It answered 404."),
    (
        answering(301, Location="https://example.com/"),
        301,
        "It answered 301; redirects are not followed (to https://example.com/).",
    ),
    (answering(302, Location="/hook2"), 302,
     "It answered 302; redirects are not followed (to /hook2)."),
    (closing, None, "The connection was closed without an answer."),
]  # fmt: skip


@pytest.mark.parametrize(("manner", "status", "error"), FAULTS)
def test_a_failure_is_shown_and_tried_again_under_the_same_id(
    ada: Person, receiver: Receiver, deliverer: Deliverer, manner: Any, status: Any, error: str
) -> None:
    receiver.manners["/hook"] = [manner, answering(204)]
    delivery = tried(queued(ada.team, receiver.url()))

    first = delivery.attempts.get(number=1)
    assert (delivery.state, first.status, first.error) == ("pending", status, error)
    assert delivery.next_at > timezone.now()
    hurry(delivery)
    assert tried(delivery, 2).state == "delivered"
    assert [(one.id, one.body) for one in receiver.received] == [("evt_1", b'{"a":1}')] * 2
    assert receiver.at("/hook2") == []


def test_a_refused_connection_and_an_unknown_name_are_said_so(
    ada: Person, receiver: Receiver, deliverer: Deliverer
) -> None:
    shut = tried(queued(ada.team, "http://127.0.0.1:1/hook"))
    nobody = tried(queued(ada.team, "https://nobody.invalid/hook", "evt_2"))

    assert shut.attempts.get().error == "The connection was refused."
    assert nobody.attempts.get().error == "The name does not resolve."


def test_a_huge_answer_is_cut_off(ada: Person, receiver: Receiver, deliverer: Deliverer) -> None:
    def huge(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        for _ in range(1 << 14):
            handler.wfile.write(b"x" * (1 << 16))

    receiver.manners["/hook"] = huge
    delivery = tried(queued(ada.team, receiver.url()))

    assert delivery.state == "delivered"
    assert delivery.attempts.get().answer == "x" * 500


def test_a_slow_receiver_holds_up_no_other(
    ada: Person, receiver: Receiver, deliverer: Deliverer
) -> None:
    def slow(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(2)
        answering(200)(handler)

    receiver.manners["/slow"] = slow
    slows = [queued(ada.team, receiver.url("/slow"), f"evt_{n}") for n in range(40)]
    quick = queued(ada.team, f"http://localhost:{receiver.port}/quick", "evt_quick")

    assert tried(quick).state == "delivered"
    assert Delivery.objects.filter(state="delivered").count() == 1
    assert [tried(one).state for one in slows] == ["delivered"] * 40
    assert receiver.most_at_once <= 17


def test_after_the_last_try_it_is_dead_and_every_try_is_kept(
    ada: Person, receiver: Receiver, deliverer: Deliverer
) -> None:
    receiver.manners["/hook"] = answering(503)
    delivery = queued(ada.team, receiver.url())
    for number in range(1, schedule.TRIES + 1):
        tried(delivery, number)
        hurry(delivery)

    assert (delivery.state, delivery.tries) == ("dead", schedule.TRIES)
    assert delivery.ended_at is not None
    assert {one.id for one in receiver.received} == {"evt_1"}
    assert len(receiver.received) == schedule.TRIES


def test_a_gone_endpoint_is_disabled_and_what_waits_for_it_is_dead(
    ada: Person, receiver: Receiver, deliverer: Deliverer
) -> None:
    endpoint = Endpoint.objects.create(team=ada.team, url=receiver.url("/gone"))
    receiver.manners["/gone"] = answering(410)
    named = {"endpoint_id": str(endpoint.id), "target": f"endpoint:{endpoint.id}"}
    with transaction.atomic():  # nobody delivers it before it is put off
        later = queued(ada.team, endpoint.url, "evt_2", **named)
        Delivery.objects.filter(id=later.id).update(next_at=timezone.now() + timedelta(hours=1))
    tried(queued(ada.team, endpoint.url, **named))

    endpoint.refresh_from_db()
    assert (endpoint.disabled_reason, endpoint.disabled_at is None) == ("gone", False)
    assert set(Delivery.objects.values_list("state", flat=True)) == {"dead"}


def test_an_endpoint_that_fails_for_days_is_disabled_and_one_success_forgives(
    ada: Person, receiver: Receiver, deliverer: Deliverer
) -> None:
    endpoint = Endpoint.objects.create(team=ada.team, url=receiver.url("/bad"))
    named = {"endpoint_id": str(endpoint.id), "target": f"endpoint:{endpoint.id}"}
    receiver.manners["/bad"] = [answering(500), answering(200), answering(500), answering(500)]
    for number, failing in ((1, True), (2, False), (3, True)):
        tried(queued(ada.team, endpoint.url, f"evt_{number}", **named))
        endpoint.refresh_from_db()
        assert (endpoint.failing_since is not None) is failing
        assert endpoint.disabled_at is None

    endpoint.failing_since = timezone.now() - timedelta(days=3, minutes=1)
    endpoint.save()
    tried(queued(ada.team, endpoint.url, "evt_4", **named))
    endpoint.refresh_from_db()
    assert (endpoint.disabled_reason, endpoint.disabled_at is None) == ("failing", False)
    assert Delivery.objects.filter(state="dead").count() == 3


def test_a_try_whose_courier_died_is_made_again_under_the_same_id(
    ada: Person, receiver: Receiver
) -> None:
    """The kill comes between the sending and its record."""
    delivery = queued(ada.team, receiver.url())
    [parcel] = queue.take(limit=5, per_host=5, busy={}, lease="0 s")
    assert queue.take(limit=5, per_host=5, busy={parcel.host: 5}) == []
    [again] = queue.take(limit=5, per_host=5, busy={})
    assert queue.take(limit=5, per_host=5, busy={}) == []

    assert (parcel.event_id, parcel.body) == (again.event_id, again.body)
    assert (parcel.number, again.number) == (1, 2)
    result = queue.Result(parcel, "delivered", None, 200, 3, "", "")
    queue.record([result])
    delivery.refresh_from_db()
    assert delivery.state == "delivered"  # the first had arrived after all
    queue.record([queue.Result(again, "dead", None, None, 3, "lost", "")])
    delivery.refresh_from_db()
    assert delivery.state == "delivered"


def test_the_tries_span_a_day_and_spread() -> None:
    waits = [schedule.wait(failed=n, final=True) for n in range(1, schedule.TRIES + 1)]
    assert waits[-1] is None
    assert 19 * 3600 < sum(wait for wait in waits if wait) < 25 * 3600
    assert schedule.wait(failed=3, final=True) != schedule.wait(failed=3, final=True)
    early = [schedule.wait(failed=n, final=False) for n in range(1, 5)]
    assert early == [2.0, 8.0, 20.0, None]


def test_addresses_that_lead_inside_are_not_called(
    ada: Person, receiver: Receiver, deliverer: Deliverer, settings: Any
) -> None:
    settings.ALLOW_LOOPBACK_WEBHOOKS = False
    delivery = tried(queued(ada.team, receiver.url()))
    rebound = tried(queued(ada.team, f"https://localtest.me:{receiver.port}/", "evt_2"))

    assert delivery.attempts.get().error == "Not sent: the address must begin with https://."
    assert rebound.attempts.get().error.startswith("Not sent: the address must be on port")
    assert receiver.received == []
    assert orjson.loads(delivery.body) == {"a": 1}

"""A courier killed at any instant loses nothing and doubles at most, under the same id."""

import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from threading import Event

import pytest
from django.db import connection
from django.utils import timezone

from marketplace.catalog.models import Release
from marketplace.metering.sale import load_offers
from marketplace.runs.connections import rows
from marketplace.runs.submit import submit_now
from marketplace.webhooks.models import Delivery
from marketplace.webhooks.targets import target
from tests.conftest import Person
from tests.marketplace.supply import until
from tests.receiver import Receiver, answering
from tests.running import ROOT, gone

pytestmark = pytest.mark.django_db(transaction=True)

# The courier of a process of its own, on the test's database, with a short lease.
COURIER = """
import sys, django
django.setup()
from django.db import connection
connection.settings_dict["NAME"] = sys.argv[1]
from marketplace.runs.deliverer import Deliverer
running = Deliverer(lease=sys.argv[2])
running.start()
running.join(60)
"""
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def courier() -> Iterator[Start]:
    """Starts couriers; those that still run at the end are killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(lease: str = "1 s") -> "subprocess.Popen[bytes]":
        environ = os.environ | {
            "KINORA_ALLOW_LOOPBACK_WEBHOOKS": "1",
            "DJANGO_SETTINGS_MODULE": "marketplace.settings",
        }
        name = str(connection.settings_dict["NAME"])
        command = [sys.executable, "-c", COURIER, name, lease]
        started.append(subprocess.Popen(command, cwd=ROOT, env=environ))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def cancelled(person: Person, *hooks: dict[str, object]) -> None:
    """A run that has ended, and tells so."""
    offer = load_offers()["rehearsal/still"]
    inputs = {"prompt": "dusk"}
    run_id = submit_now(offer=offer, inputs=inputs, team_id=person.team.id, webhooks=hooks)
    rows(("SELECT cancel_run(%s, %s)", [run_id, person.team.id]))


def test_a_kill_between_sending_and_recording_sends_again_under_the_same_id(
    ada: Person, still: Release, receiver: Receiver, courier: Start
) -> None:
    answer = Event()

    def waiting(handler: BaseHTTPRequestHandler) -> None:
        answer.wait(20)
        answering(200)(handler)

    receiver.manners["/hook"] = [waiting, answering(200)]
    cancelled(ada, target(url=receiver.url()))
    first = courier(lease="1 h")
    receiver.wait(1)
    first.kill()
    assert gone(first.pid)
    answer.set()
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.tries) == ("pending", 1)
    assert delivery.attempts.get().ended_at is None

    Delivery.objects.update(next_at=timezone.now())  # its lease is over
    courier()
    until(lambda: Delivery.objects.filter(state="delivered").exists())
    one, other = receiver.received
    assert (one.id, one.body) == (other.id, other.body)
    assert [a.status for a in Delivery.objects.get().attempts.all()] == [None, 200]


def test_kills_at_random_lose_nothing_and_make_no_second_event(
    ada: Person, still: Release, receiver: Receiver, courier: Start
) -> None:
    dice, count = random.Random(11), 40

    def slow(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.05)
        answering(500 if dice.random() < 0.1 else 200)(handler)

    for n in range(count):
        receiver.manners[f"/{n}"] = slow
        cancelled(ada, target(url=receiver.url(f"/{n}")), target(url=receiver.url(f"/{n}b")))
    for _ in range(4):
        process, seen = courier(), len(receiver.received)
        until(lambda seen=seen: len(receiver.received) > seen + dice.randrange(12))
        process.kill()
        assert gone(process.pid)
    courier()
    until(lambda: hurried() and Delivery.objects.filter(state="delivered").count() == 2 * count, 60)

    ids, bodies = defaultdict(set), defaultdict(set)
    for got in receiver.received:
        ids[got.path.rstrip("b")].add(got.id)
        bodies[got.path.rstrip("b")].add(got.body)
    assert len({one.path for one in receiver.received}) == 2 * count
    assert (
        {len(found) for found in ids.values()} == {len(found) for found in bodies.values()} == {1}
    )
    assert len(set.union(*ids.values())) == count


def hurried() -> bool:
    """What failed is due at once."""
    soon = timezone.now()
    Delivery.objects.filter(state="pending", next_at__gt=soon + timedelta(seconds=2)).update(
        next_at=soon
    )
    return True

"""Waiting clients are told by a notification, and without one."""

import asyncio
import threading
from uuid import UUID

from django.db import connection

from marketplace import ids
from marketplace.catalog.models import Release
from marketplace.hot.ears import CHANNEL, Ears
from marketplace.runs.models import Run
from tests.conftest import Person
from tests.marketplace.hot.test_database import BODY, cut
from tests.marketplace.supply import until
from tests.marketplace.web import Answer, Client


def cancel(run_id: UUID, team_id: UUID) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT state FROM cancel_run(%s, %s)", [run_id, team_id])


def waiting_client(web: Client, ada: Person, answers: list[Answer]) -> threading.Thread:
    def ask() -> None:
        answers.append(web.run(BODY | {"wait": 30}, key=ada.text))

    thread = threading.Thread(target=ask)
    thread.start()
    until(lambda: Run.objects.filter(team=ada.team).exists())
    return thread


def tell() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])
    connection.close()


async def hears(*, told: bool) -> bool:
    """Whether one of some short waits is ended by a notification."""
    ears = Ears()
    ears.open()
    try:
        await ears.rest(20)  # that it has begun to listen
        for _ in range(100 if told else 10):
            if told:
                await asyncio.to_thread(tell)
            if await ears.rest(0.05):
                return True
        return False
    finally:
        await ears.close()


def test_a_notification_is_heard_and_silence_is_not(transactional_db: None) -> None:
    assert asyncio.run(hears(told=True))
    assert not asyncio.run(hears(told=False))


def test_a_client_that_waits_is_answered_when_its_run_ends(
    web: Client, ada: Person, still: Release
) -> None:
    answers: list[Answer] = []
    thread = waiting_client(web, ada, answers)
    cancel(Run.objects.get(team=ada.team).id, ada.team.id)
    thread.join(20)
    assert [answer.json["state"] for answer in answers] == ["cancelled"]


def test_a_client_that_waits_is_answered_although_nothing_is_heard(
    web: Client, ada: Person, still: Release
) -> None:
    answers: list[Answer] = []
    thread = waiting_client(web, ada, answers)
    assert cut() > 0
    cancel(Run.objects.get(team=ada.team).id, ada.team.id)
    thread.join(20)
    assert [answer.json["state"] for answer in answers] == ["cancelled"]
    assert ids.private("run", answers[0].json["id"]) is not None

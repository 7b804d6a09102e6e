"""Waiting clients are told by a notification, and without one."""

import asyncio
import threading
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.db import connection
from psycopg.types.json import Jsonb

from marketplace import ids
from marketplace.catalog.models import Release
from marketplace.hot.ears import CHANNEL, Ears
from marketplace.runs.models import Run
from tests.conftest import Person
from tests.marketplace.hot.test_database import BODY, cut
from tests.marketplace.supply import admit, until
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


def tell(*run_ids: UUID) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, ",".join(map(str, run_ids))])
    connection.close()


async def news(wanted: set[UUID], told: list[tuple[UUID, ...]]) -> list[UUID]:
    """What ears that want these hear of notifications, up to the last that they want."""
    heard: set[UUID] = set()
    ears = Ears(wanted)
    ears.open()
    try:
        while not wanted <= heard:
            for run_ids in told:  # again, until it has begun to listen
                await asyncio.to_thread(tell, *run_ids)
            with suppress(TimeoutError):
                heard.update(await asyncio.wait_for(ears.news(), 0.2))
    finally:
        await ears.close()
    return sorted(heard)


def test_runs_that_a_commit_names_are_heard_of_and_others_are_not(transactional_db: None) -> None:
    mine, other = {ids.uuid7(), ids.uuid7()}, ids.uuid7()
    assert asyncio.run(news(mine, [(other,), (*mine, other), ()])) == sorted(mine)


def test_more_runs_than_a_notification_holds_are_settled_all_the_same(
    transactional_db: None, ada: Person, still: Release
) -> None:
    many = [admit(ada) for _ in range(201)]
    nothing: dict[str, Any] = {"state": "voided", "amount": 0, "shares": []}
    end = {"attempt": 0, "state": "cancelled", "outcome": "cancelled_before", "hold": nothing}
    items = [end | {"run_id": str(run), "outputs": [], "events": []} for run in many]
    with connection.cursor() as cursor:
        cursor.execute("SELECT code FROM settle_runs(%s)", [Jsonb(items)])
        assert cursor.fetchall() == [("settled",)] * 201


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

"""The hot path goes on when its connections are cut."""

import threading
import time

from django.db import connection

from marketplace.catalog.models import Release
from marketplace.ledger.balance import balance
from marketplace.runs.models import Run
from tests.conftest import Person
from tests.marketplace.web import Answer, Client

BODY = {"model": "rehearsal/still", "inputs": {"prompt": "red heart"}}
CUT_SQL = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
 WHERE application_name = 'kinora-hot' AND datname = current_database()
"""


def cut() -> int:
    with connection.cursor() as cursor:
        cursor.execute(CUT_SQL)
        return int(cursor.fetchone()[0])


def test_a_request_after_a_cut_is_served(web: Client, ada: Person, still: Release) -> None:
    assert web.run(BODY, key=ada.text).status == 201
    assert cut() > 0

    assert web.run(BODY, key=ada.text).status == 201
    assert web.get("/healthz").status == 200


def test_cuts_under_load_lose_and_double_nothing(web: Client, ada: Person, still: Release) -> None:
    answers: list[Answer] = []

    def submit() -> None:
        answers.extend(web.run(BODY, key=ada.text) for _ in range(10))

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        time.sleep(0.05)
        cut()
    for thread in threads:
        thread.join(60)

    assert [answer.status for answer in answers] == [201] * 80
    assert len({answer.json["id"] for answer in answers}) == Run.objects.count() == 80
    assert balance(ada.team.id).held == 80 * 2_000_000

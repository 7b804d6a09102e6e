"""Files of a run that a refund is asked for are decoded anew by a chore, once, and followed."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from marketplace.accounts.models import User
from marketplace.ledger.balance import balance
from marketplace.runs import refunds, tasks
from marketplace.runs.models import RefundRequest, Run
from marketplace.runs.refunds import ask
from tests.conftest import Person
from tests.marketplace.pages.test_pages import logged_in
from tests.marketplace.runs.test_refunds import FUNDS, PICTURE, made, spoil
from tests.marketplace.supply import closed

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["made"]


def test_files_are_decoded_by_a_chore_and_the_page_follows_it(
    ada: Person, made: Callable[..., Run]
) -> None:
    run, page = made(), logged_in(ada)
    spoil(run.outputs.get(), None)
    address = reverse("run", args=[run.public_id])
    page.post(reverse("run_refund", args=[run.public_id]), {"reason": "undecodable"})
    asked = RefundRequest.objects.get()
    assert (asked.state, asked.looked_at, asked.evidence) == ("open", None, {})
    part = reverse("run_refunds", args=[run.public_id])
    for shown in (page.get(address), page.get(part)):
        assert "We look at the files again" in shown.content.decode()
        assert f'hx-get="{part}"' in shown.content.decode()
    assert closed(run.id) == ("captured", PICTURE)
    assert balance(ada.team.id).available == FUNDS - PICTURE
    tasks.look(str(asked.id))
    tasks.look(str(asked.id))
    assert page.get(part).headers["HX-Refresh"] == "true"
    assert "given back" in page.get(address).content.decode()
    assert part not in page.get(address).content.decode()
    assert balance(ada.team.id).available == FUNDS


def test_a_chore_that_was_lost_is_done_by_the_sweep(ada: Person, made: Callable[..., Run]) -> None:
    run = made()
    spoil(run.outputs.get(), b"no picture")
    asked, _ = ask(run=run.id, team_id=ada.team.id, reason="undecodable")
    assert refunds.unlooked() == 0
    RefundRequest.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    assert (refunds.unlooked(), refunds.unlooked()) == (1, 0)
    asked.refresh_from_db()
    assert (asked.state, asked.amount) == ("granted", PICTURE)


def test_who_decides_before_the_files_were_looked_at_has_decided(
    ada: Person, rook: User, made: Callable[..., Run]
) -> None:
    run = made()
    spoil(run.outputs.get(), None)
    asked, _ = ask(run=run.id, team_id=ada.team.id, reason="undecodable")
    refunds.refuse(request=asked.id, admin=rook, words="No.", why="tests")
    assert refunds.look(asked.id)
    asked.refresh_from_db()
    assert (asked.state, asked.amount) == ("refused", 0)
    assert balance(ada.team.id).available == FUNDS - PICTURE

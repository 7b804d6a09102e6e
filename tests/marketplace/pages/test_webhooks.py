"""The pages of webhooks: secrets are seen once, every try is seen, strangers see nothing."""

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from marketplace import ids
from marketplace.webhooks import endpoints, queue, secrets
from marketplace.webhooks.models import Delivery, Endpoint
from marketplace.webhooks.schemes import Event
from tests.conftest import Person
from tests.marketplace.pages.test_pages import INLINE, logged_in

URL = "https://example.com/hooks/kinora"
WISH = {"url": URL, "name": "Shop", "event_types": ["run.finished", "video.failed"]}
SECRET = re.compile(r"whsec_[0-9A-Za-z+/=]{44}")


@pytest.fixture
def ada_browses(ada: Person) -> Client:
    return logged_in(ada)


def text(answer: Any) -> str:
    assert answer.status_code == 200
    found: str = answer.content.decode().replace("&#x2B;", "+").replace("&#x27;", "'")
    assert not INLINE.search(found)
    return found


def tried(person: Person, *, state: str = "dead", run_id: Any = None, **result: Any) -> Delivery:
    """A delivery with one try on record."""
    event = Event(ids.public("evt", ids.uuid7()), "run.finished", timezone.now())
    item = queue.delivery(
        team_id=str(person.team.id), run_id=run_id and str(run_id), target="run:0", url=URL,
        scheme="standard", event=event, body=b'{"type":"run.finished","data":{"<b>":"&"}}',
    )  # fmt: skip
    queue.queue([item])
    [parcel] = queue.take(limit=1, per_host=1, busy={})
    known: dict[str, Any] = {
        "status": 500, "latency_ms": 31, "error": "It answered 500.", "answer": "<h1>down</h1>",
    }  # fmt: skip
    queue.record([queue.Result(parcel, state, 5.0, **known | result)])
    return Delivery.objects.get(id=item["id"])


def test_an_endpoint_is_made_and_its_secret_shown_once(ada: Person, ada_browses: Client) -> None:
    shown = text(ada_browses.post(reverse("webhooks"), WISH))
    endpoint = Endpoint.objects.get(team=ada.team)
    assert SECRET.findall(shown) == [secrets.endpoint_secret(endpoint.id, 1)]
    again = text(ada_browses.get(reverse("webhooks")))
    assert not SECRET.search(again)
    assert "Shop" in again
    turned = text(ada_browses.post(reverse("webhook_rotate", args=[endpoint.public_id])))
    assert SECRET.findall(turned) == [secrets.endpoint_secret(endpoint.id, 2)]


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (WISH | {"url": "http://example.com/"}, "url must begin with https://."),
        (WISH | {"url": "https://127.0.0.1/"}, "url must lead to a public address."),
        ({"url": URL}, "This field is required."),
    ],
)
def test_a_wrong_address_is_said_at_its_field(
    ada_browses: Client, wish: dict[str, Any], said: str
) -> None:
    assert said in text(ada_browses.post(reverse("webhooks"), wish))
    assert not Endpoint.objects.exists()


def test_an_endpoint_is_changed_turned_off_and_removed(ada: Person, ada_browses: Client) -> None:
    made, _ = endpoints.create(team=ada.team, **WISH)
    page = reverse("webhook", args=[made.public_id])
    assert ada_browses.post(page, WISH | {"name": "Till"}).status_code == 302
    ada_browses.post(reverse("webhook_switch", args=[made.public_id]), {"off": "1"})
    shown = text(ada_browses.get(page))
    assert "Till" in shown
    assert "Enable it again" in shown
    ada_browses.post(reverse("webhook_test", args=[made.public_id]))
    assert not Delivery.objects.exists()
    ada_browses.post(reverse("webhook_switch", args=[made.public_id]), {"on": "1"})
    sent = ada_browses.post(reverse("webhook_test", args=[made.public_id]))
    assert sent.headers["Location"].startswith("/webhooks/deliveries/whd_")
    ada_browses.post(reverse("webhook_remove", args=[made.public_id]))
    assert not Endpoint.objects.exists()
    assert Delivery.objects.get().state == "dead"


def test_the_log_shows_every_try_and_what_was_answered(ada: Person, ada_browses: Client) -> None:
    delivery = tried(ada)
    for shown in (
        text(ada_browses.get(reverse("webhooks") + "?state=dead")),
        text(ada_browses.get(reverse("delivery", args=[delivery.public_id]))),
    ):
        assert "It answered 500." in shown
        assert "Not delivered" in shown
    assert "&lt;h1&gt;down&lt;/h1&gt;" in shown
    assert "&quot;&lt;b&gt;&quot;: &quot;&amp;&quot;" in shown
    assert delivery.public_id not in text(ada_browses.get(reverse("webhooks") + "?state=pending"))


def test_the_dead_are_sent_again_by_one_button(
    ada: Person, cy: Person, ada_browses: Client
) -> None:
    mine, others = [tried(ada), tried(ada)], tried(cy)
    ada_browses.post(reverse("webhooks_replay"))
    assert [Delivery.objects.get(id=one.id).state for one in mine] == ["pending"] * 2
    assert Delivery.objects.get(id=others.id).state == "dead"
    delivered = tried(ada, state="delivered", status=200, error="")
    ada_browses.post(reverse("delivery_replay", args=[delivered.public_id]))
    assert Delivery.objects.get(id=delivered.id).state == "pending"


def test_the_teams_own_secret_is_shown_and_turned(ada: Person, ada_browses: Client) -> None:
    page = reverse("webhook_own_secret")
    first = secrets.team_secret(ada.team.id, 1)
    assert SECRET.findall(text(ada_browses.post(page))) == [first]
    turned = secrets.team_secret(ada.team.id, 2)
    assert SECRET.findall(text(ada_browses.post(page, {"turn": "1"}))) == [turned]
    assert SECRET.findall(text(ada_browses.post(page))) == [turned]


@pytest.mark.parametrize(
    "name",
    ["webhook", "webhook_test", "webhook_rotate", "webhook_switch", "webhook_remove",
     "delivery", "delivery_replay"],
)  # fmt: skip
def test_another_teams_is_as_unknown_as_none(ada_browses: Client, cy: Person, name: str) -> None:
    theirs, _ = endpoints.create(team=cy.team, **WISH)
    kept = tried(cy)
    kind, known = ("whd", kept.public_id) if "delivery" in name else ("whe", theirs.public_id)
    before = list(Endpoint.objects.values()), list(Delivery.objects.values())
    call = ada_browses.get if name == "delivery" else ada_browses.post
    for one in (known, ids.public(kind, ids.uuid7()), "x"):
        assert call(reverse(name, args=[one])).status_code == 404
    assert (list(Endpoint.objects.values()), list(Delivery.objects.values())) == before

"""fal's platform API of the account: keys, what is left, and where webhooks come from."""

from typing import Any

import pytest
from django.test import override_settings

from marketplace.accounts import keys
from marketplace.accounts.models import ApiKey
from marketplace.catalog.models import Release
from tests.conftest import Person
from tests.marketplace.dialects.test_fal import ASKED, Fal, fal
from tests.marketplace.web import Client

__all__ = ["fal"]

pytestmark = pytest.mark.django_db(transaction=True)
KEYS = "/fal/api/v1/keys"


def test_a_key_is_made_works_is_listed_and_ends(
    web: Client, fal: Fal, ada: Person, still: Release
) -> None:
    made = fal.call("POST", KEYS, {"alias": "Nightly"})
    assert made.status == 201
    told = made.json
    assert told["key"] == f"{told['key_id']}:{told['key_secret']}"
    own = Fal(web, told["key"])
    assert own.submit(ASKED).status == 200
    [newest, first] = fal.call("GET", KEYS).json["keys"]
    assert (newest["key_id"], newest["alias"], newest["scope"]) == (
        told["key_id"],
        "Nightly",
        "API",
    )
    assert (first["key_id"], first["scope"]) == (ada.key.public_id, "ADMIN")
    for _ in range(2):
        ended = fal.call("DELETE", f"{KEYS}/{told['key_id']}")
        assert (ended.status, ended.body) == (204, b"")
    assert [one["key_id"] for one in fal.call("GET", KEYS).json["keys"]] == [first["key_id"]]
    assert ApiKey.objects.get(name="Nightly").revoked_at


def test_keys_come_in_pages_with_their_makers_where_asked(fal: Fal, ada: Person) -> None:
    for name in ("one", "two"):
        keys.create(team=ada.team, name=name, created_by=ada.user)
    first = fal.call("GET", f"{KEYS}?limit=2&expand=creator_info").json
    assert [one["alias"] for one in first["keys"]] == ["two", "one"]
    assert first["keys"][0]["creator_email"] == "ada@example.test"
    assert first["has_more"] is True
    second = fal.call("GET", f"{KEYS}?limit=2&cursor={first['next_cursor']}").json
    assert ([one["alias"] for one in second["keys"]], second["next_cursor"]) == (["ada"], None)
    assert "creator_email" not in second["keys"][0]


@pytest.mark.parametrize("alias", ["", " ", None, 7, "a" * 81])
def test_an_alias_that_is_none_makes_no_key(fal: Fal, alias: Any) -> None:
    answer = fal.call("POST", KEYS, {"alias": alias})
    assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["body", "alias"])
    assert ApiKey.objects.count() == 1


def test_a_key_that_does_not_manage_hears_of_no_key(web: Client, fal: Fal, ada: Person) -> None:
    _, text = keys.create(team=ada.team, name="plain")
    plain = Fal(web, text)
    own = f"{KEYS}/{ada.key.public_id}"
    for method, path in (("GET", KEYS), ("POST", KEYS), ("DELETE", own)):
        answer = plain.call(method, path, {"alias": "more"} if method == "POST" else None)
        assert (answer.status, answer.json["error_type"]) == (403, "not_allowed")
    assert plain.call("GET", "/fal/api/v1/account/billing").status == 403
    assert ApiKey.objects.filter(revoked_at=None).count() == 2


def test_another_teams_key_is_one_that_never_was(fal: Fal, cy: Person) -> None:
    never = "key_01m7x3yvyte9sagyvwwf6hge6p"
    theirs, nobodys = (fal.call("DELETE", f"{KEYS}/{key}") for key in (cy.key.public_id, never))
    assert (theirs.status, theirs.body) == (nobodys.status, nobodys.body)
    assert theirs.status == 404
    assert ApiKey.objects.get(id=cy.key.id).revoked_at is None


def test_billing_says_what_can_be_spent_now(fal: Fal, still: Release) -> None:
    assert fal.call("GET", "/fal/api/v1/account/billing").json == {"username": "Ada's studio"}
    fal.submit(ASKED)  # holds $0.004 of the $5
    told = fal.call("GET", "/fal/api/v1/account/billing?expand=credits").json
    assert told["credits"] == {"current_balance": 4.996, "currency": "USD"}


def test_anybody_may_ask_where_webhooks_come_from(web: Client) -> None:
    nobody = Fal(web, None)
    assert nobody.call("GET", "/fal/api/v1/meta").json == {"webhook_ip_ranges": []}
    with override_settings(WEBHOOK_IP_RANGES=["203.0.113.0/28"]):
        told = nobody.call("GET", "/fal/api/v1/meta").json
    assert told == {"webhook_ip_ranges": ["203.0.113.0/28"]}

"""The outcome × charge matrix: complete, possible, frozen with the price, told in plain words."""

from typing import Any

import pytest
from django.db import IntegrityError

from marketplace.catalog.models import Release
from marketplace.errors import InvalidInput
from marketplace.metering.models import Price
from marketplace.metering.outcomes import ALWAYS_FREE, OUTCOMES, RULES, checked, table
from marketplace.metering.publish import publish
from marketplace.runs import claim
from marketplace.runs.connections import rows
from tests.conftest import Person
from tests.marketplace.supply import admit
from tests.marketplace.web import Client

FREE = dict.fromkeys(OUTCOMES, "nothing") | {"succeeded": "delivered", "partial": "delivered"}
LINES = [{"unit": "image", "unit_price": "0.002"}]


def test_a_whole_matrix_is_taken_as_it_is() -> None:
    assert checked(FREE, ["image"]) == FREE
    late = FREE | {"cancelled_after": "until_cancel", "refused_after": "used"}
    assert checked(late, ["gpu_second:h200"]) == late


@pytest.mark.parametrize(
    ("policy", "units", "param"),
    [
        ("nothing", ["image"], "policy"),
        ({"succeeded": "delivered"}, ["image"], "policy.partial"),
        (FREE | {"exploded": "nothing"}, ["image"], "policy.exploded"),
        (FREE | {"partial": "half"}, ["image"], "policy.partial"),
        (FREE | {"partial": None}, ["image"], "policy.partial"),
        (FREE | {"succeeded": "nothing"}, ["image"], "policy.succeeded"),
        (FREE | {"refused_after": "delivered"}, ["image"], "policy.refused_after"),
        (FREE | {"refused_after": "used"}, ["image"], "policy.refused_after"),
        (FREE | {"cancelled_after": "until_cancel"}, ["image"], "policy.cancelled_after"),
        (FREE | {"cancelled_after": "used"}, ["gpu_second"], "policy.cancelled_after"),
        (FREE | {"our_error": "used"}, ["gpu_second"], "policy.our_error"),
    ],
)
def test_an_impossible_matrix_is_refused_with_the_place(
    policy: Any, units: list[str], param: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        checked(policy, units)
    assert refused.value.param == param


@pytest.mark.parametrize("outcome", ALWAYS_FREE)
@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "nothing"])
def test_no_rule_charges_for_what_nobody_pays_for(outcome: str, rule: str) -> None:
    with pytest.raises(InvalidInput, match="nobody pays for it"):
        checked(FREE | {outcome: rule}, ["gpu_second"])


def test_the_table_says_each_outcome_in_plain_words() -> None:
    told = table(FREE | {"cancelled_after": "until_cancel"})
    assert [row["outcome"] for row in told] == list(OUTCOMES)
    assert (
        told[0]["pays"] == "You pay for what was delivered if all that you asked for was delivered."
    )
    assert told[5]["pays"] == "You pay nothing if the supplier failed or took too long."
    assert told[8]["pays"].startswith("You pay for compute until the worker stopped, at most 2 s")


@pytest.mark.django_db
def test_a_price_freezes_its_matrix(still: Release) -> None:
    first = Price.objects.get(release=still)
    assert first.policy == FREE
    second = publish(release=still, lines=LINES, policy=FREE | {"partial": "nothing"})
    assert second.policy["partial"] == "nothing"
    first.refresh_from_db()
    assert first.policy["partial"] == "delivered"
    with pytest.raises(IntegrityError, match="superseded, never edited"):
        Price.objects.filter(pk=second.pk).update(policy=FREE)


@pytest.mark.django_db
def test_a_refused_matrix_publishes_nothing(still: Release) -> None:
    with pytest.raises(InvalidInput, match="partial must be nothing or delivered"):
        publish(release=still, lines=LINES, policy=FREE | {"partial": "used"})
    [only] = Price.objects.filter(release=still)
    assert only.effective_to is None


@pytest.mark.django_db(transaction=True)
def test_a_later_matrix_does_not_touch_an_older_run(ada: Person, still: Release) -> None:
    run = admit(ada)
    publish(release=still, lines=LINES, policy=FREE | {"partial": "nothing"})
    [known] = rows(claim.cases([run]))
    assert known["policy"] == FREE
    [later] = rows(claim.cases([admit(ada)]))
    assert later["policy"]["partial"] == "nothing"


@pytest.mark.django_db(transaction=True)
def test_the_api_tells_the_matrix_with_the_model_and_the_quote(
    web: Client, ada: Person, still: Release
) -> None:
    told = web.get("/api/v1/models/rehearsal/still").json["price"]["outcomes"]
    assert told == table(FREE)
    asked = {"model": "rehearsal/still", "inputs": {"prompt": "dusk"}}
    quoted = web.call("POST", "/api/v1/quotes", asked, key=ada.text).json
    assert quoted["outcomes"] == told

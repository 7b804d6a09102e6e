"""Every address of fal's × no key, a wrong one, a revoked one, another team's: nothing is told."""

import re

import pytest

from marketplace.accounts import keys
from marketplace.catalog.models import Release
from marketplace.dialects import fal as dialect
from marketplace.runs.models import Run
from tests.conftest import Person
from tests.journeys.books import written
from tests.marketplace.dialects.test_fal import ASKED, RANDOM, Fal, fal
from tests.marketplace.dialects.test_fal_realtime import token
from tests.marketplace.web import Client

__all__ = ["fal"]

pytestmark = pytest.mark.django_db(transaction=True)
FOR_ALL = {
    "/fal/rest/.well-known/jwks.json", "/fal/api/v1/models", "/fal/api/v1/meta",
    "/fal/api/openapi/queue/openapi.json",
}  # fmt: skip


def addresses(run: str) -> list[tuple[str, str]]:
    """Method and path of what wants a key."""
    return [
        (route.method, re.sub(r"\{model(:path)?\}", "rehearsal/still", path))
        for route in dialect.ROUTES
        if route.pattern not in FOR_ALL
        for path in [route.pattern.replace("{run}", run)]
    ]


def test_nobody_gets_anywhere_without_a_key_that_is_good(
    web: Client, fal: Fal, ada: Person, cy: Person, still: Release
) -> None:
    run = fal.submit().json["request_id"]
    keys.revoke(key=cy.key)
    before = written(ada)
    told = set()
    for key in (None, "kin_live_wrong", cy.text):
        for method, path in addresses(run):
            query = "?endpoint_id=rehearsal/still"
            answer = Fal(web, key).call(method, path + query, None if method == "GET" else ASKED)
            assert answer.status == 401, (method, path, answer.body)
            told.add((key, answer.body))
    assert len(told) == 3  # one answer to each, whatever was asked for
    assert written(ada) == before


def test_another_team_hears_of_a_run_what_it_hears_of_none(
    web: Client, fal: Fal, cy: Person, still: Release
) -> None:
    run = fal.submit().json["request_id"]
    stranger = Fal(web, cy.text)
    for method, path in addresses(run):
        if run in path:
            theirs = stranger.call(method, path)
            nobodys = stranger.call(method, path.replace(run, RANDOM))
            assert theirs.status == nobodys.status == 404, path
            assert theirs.body.replace(run.encode(), RANDOM.encode()) == nobodys.body
    assert Run.objects.get().state == "queued"


def test_a_browsers_token_starts_streams_of_its_model_alone(
    web: Client, fal: Fal, still: Release, clip: Release
) -> None:
    nobody, query = Fal(web, None), f"?fal_jwt_token={token(fal, 'still')}"
    wrong = nobody.call("POST", f"/fal/run/rehearsal/clip/stream{query}", {"prompt": "dusk"})
    assert (wrong.status, wrong.json["message"]) == (401, "This token is for another model.")
    assert not Run.objects.exists()
    queued = nobody.call("POST", f"/fal/queue/rehearsal/still{query}", ASKED)
    assert queued.status == 200
    assert Run.objects.get().key

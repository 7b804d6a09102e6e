"""fal's platform API: the same figures that the ledger has, in fal's words."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from jsonschema_rs import Draft202012Validator

from marketplace import ids
from marketplace.catalog.models import Release
from marketplace.runs.models import Run
from tests.conftest import Person
from tests.marketplace import worker
from tests.marketplace.dialects.test_fal import ASKED, Fal, fal
from tests.marketplace.web import Client

__all__ = ["fal"]

pytestmark = pytest.mark.django_db(transaction=True)
ENDS = {"next_cursor": None, "has_more": False}


def get(fal: Fal, path: str) -> Any:
    answer = fal.call("GET", f"/fal/api/v1{path}")
    assert answer.status == 200, answer.body
    return answer.json


@pytest.fixture
def runs(fal: Fal, still: Release) -> list[str]:
    """Two pictures, one picture, a refusal and a fault; newest first."""
    made = [fal.submit(ASKED | {"seed": n}).json["request_id"] for n in range(4)]
    worker.succeed(*worker.claim(), pictures=2)
    worker.succeed(*worker.claim(), pictures=1)
    worker.fail(*worker.claim(), outcome="refused_before", message="No.")
    worker.fail(*worker.claim(), outcome="our_error", message="Lost.")
    return made[::-1]


def test_models_are_listed_searched_and_paged_without_a_key(
    web: Client, still: Release, clip: Release
) -> None:
    nobody = Fal(web, None)
    first = get(nobody, "/models?limit=1")
    assert [one["endpoint_id"] for one in first["models"]] == ["rehearsal/clip"]
    assert (first["next_cursor"], first["has_more"]) == ("rehearsal/clip", True)
    second = get(nobody, "/models?limit=1&cursor=rehearsal/clip")
    assert [one["endpoint_id"] for one in second["models"]] == ["rehearsal/still"]
    assert second["has_more"] is False
    found = get(nobody, "/models?q=stand-in&category=text-to-image")["models"]
    assert [one["metadata"]["display_name"] for one in found] == ["Rehearsal Still"]
    missing = nobody.call("GET", "/fal/api/v1/models?endpoint_id=rehearsal/none")
    assert missing.status == 404


def test_an_endpoint_has_an_openapi_document(web: Client, still: Release, clip: Release) -> None:
    nobody = Fal(web, None)
    answer = nobody.call("GET", "/fal/api/openapi/queue/openapi.json?endpoint_id=rehearsal/still")
    document = answer.json
    shapes = document["components"]["schemas"]
    assert document["info"]["x-fal-metadata"]["endpointId"] == "rehearsal/still"
    assert set(document["paths"]) == {
        "/rehearsal/still",
        "/rehearsal/still/requests/{request_id}",
        "/rehearsal/still/requests/{request_id}/status",
        "/rehearsal/still/requests/{request_id}/cancel",
    }
    assert Draft202012Validator(shapes["RehearsalStillInput"]).is_valid({"prompt": "a"})
    assert "images" in shapes["RehearsalStillOutput"]["properties"]
    expanded = get(nobody, "/models?endpoint_id=rehearsal/clip&expand=openapi-3.0")["models"][0]
    assert (
        "video" in expanded["openapi"]["components"]["schemas"]["RehearsalClipOutput"]["properties"]
    )


def test_prices_and_estimates_are_those_that_are_charged(fal: Fal, runs: list[str]) -> None:
    prices = get(fal, "/models/pricing?endpoint_id=rehearsal/still")
    told = prices["prices"][0]
    assert (told["unit"], told["unit_price"], told["currency"]) == ("image", 0.002, "USD")

    def estimate(kind: str, **wish: Any) -> Any:
        asked = {"estimate_type": kind, "endpoints": {"rehearsal/still": wish}}
        return fal.call("POST", "/fal/api/v1/models/pricing/estimate", asked)

    assert estimate("unit_price", unit_quantity=50).json == {
        "estimate_type": "unit_price",
        "total_cost": 0.1,
        "currency": "USD",
    }
    by_past = estimate("historical_api_price", call_quantity=100).json
    assert by_past["total_cost"] == 0.15  # four runs cost $0.006
    for kind, wish in (("unit_price", {}), ("guess", {"unit_quantity": 1})):
        assert estimate(kind, **wish).status == 422


def test_billing_events_are_what_was_captured(fal: Fal, runs: list[str]) -> None:
    first = get(fal, "/models/billing-events?limit=3")
    second = get(fal, f"/models/billing-events?limit=3&cursor={first['next_cursor']}")
    events = first["billing_events"] + second["billing_events"]
    assert [event["request_id"] for event in events] == runs
    amounts = [event["cost_estimate_nano_usd"] for event in events]
    assert amounts == [0, 0, 2_000_000, 4_000_000]
    assert (events[-1]["output_units"], events[-1]["unit_price"]) == (2.0, 0.002)
    assert {name: second[name] for name in ENDS} == ENDS


def test_requests_have_the_status_that_their_results_have(fal: Fal, runs: list[str]) -> None:
    items = get(fal, "/models/requests/by-endpoint?endpoint_id=rehearsal/still")["items"]
    assert [(item["request_id"], item["status_code"]) for item in items] == list(
        zip(runs, (500, 422, 200, 200), strict=True)
    )
    assert [fal.of(run).status for run in runs] == [500, 422, 200, 200]


def test_usage_and_analytics_sum_the_same_runs(fal: Fal, runs: list[str]) -> None:
    summary = get(fal, "/models/usage?expand=summary&timeframe=day")["summary"]
    spent = {row["unit"]: (row["quantity"], row["cost"]) for row in summary}
    assert spent["image"] == (3.0, 0.006)
    wish = "request_count,success_count,user_error_count,error_count,p50_duration"
    query = f"endpoint_id=rehearsal/still&timeframe=day&expand={wish}"
    [bucket] = get(fal, f"/models/analytics?{query}")["time_series"]
    totals = {name: sum(row[name] for row in bucket["results"]) for name in wish.split(",")[:4]}
    assert totals == {
        "request_count": 4,
        "success_count": 2,
        "user_error_count": 1,
        "error_count": 1,
    }
    assert all("p75_duration" not in row for row in bucket["results"])


def test_usage_is_told_apart_by_key_where_that_is_asked_for(
    fal: Fal, runs: list[str], ada: Person
) -> None:
    Run.objects.filter(id=ids.private("run", runs[-1])).update(key=None)  # the two pictures
    query = "/models/usage?timeframe=day&expand=summary&expand=auth_method"
    summary = get(fal, query)["summary"]
    by_key = {row["auth_method"]: row["quantity"] for row in summary if row["unit"] == "image"}
    assert by_key == {"Playground": 2.0, ada.key.name: 1.0}
    plain = get(fal, "/models/usage?timeframe=day&expand=summary")
    assert all("auth_method" not in row for row in plain["summary"])
    [bucket] = get(fal, "/models/usage?timeframe=day&expand=auth_method")["time_series"]
    assert {row["auth_method"] for row in bucket["results"]} == {"Playground", ada.key.name}


def test_values_may_be_said_several_times_or_between_commas(
    fal: Fal, clip: Release, runs: list[str]
) -> None:
    names = ["rehearsal/still", "rehearsal/clip"]
    for query in (f"endpoint_id={','.join(names)}", "&".join(f"endpoint_id={n}" for n in names)):
        told = get(fal, f"/models/pricing?{query}")["prices"]
        assert [one["endpoint_id"] for one in told] == names
    asked = "&".join(f"request_id={run}" for run in (runs[1], runs[3], "run_none"))
    events = get(fal, f"/models/billing-events?{asked}")["billing_events"]
    assert [event["request_id"] for event in events] == [runs[1], runs[3]]
    assert get(fal, "/models?status=deprecated")["models"] == []


def test_spans_are_those_of_the_clocks_that_are_named(fal: Fal, runs: list[str]) -> None:
    for zone in ("UTC", "Pacific/Kiritimati"):
        query = f"timeframe=day&timezone={zone}&expand=time_series"
        [bucket] = get(fal, f"/models/usage?{query}")["time_series"]
        began = datetime.fromisoformat(bucket["bucket"]).astimezone(ZoneInfo(zone))
        assert (began.hour, began.minute) == (0, 0)
    loose = get(fal, "/models/usage?bound_to_timeframe=false&expand=summary")["summary"]
    assert sum(row["cost"] for row in loose) == 0.006


def test_another_team_sees_none_of_it(
    web: Client, fal: Fal, cy: Person, ben: Person, runs: list[str]
) -> None:
    stranger = Fal(web, cy.text)
    assert get(stranger, "/models/billing-events")["billing_events"] == []
    assert get(stranger, "/models/usage")["time_series"] == []
    assert len(get(Fal(web, ben.text), "/models/billing-events")["billing_events"]) == 4
    assert Fal(web, None).call("GET", "/fal/api/v1/models/billing-events").status == 401


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=x", "cursor=1", "start=soon", "start=2030-01-01", "end=0001-01-01"],
)
def test_a_wrong_query_is_named(fal: Fal, still: Release, query: str) -> None:
    answer = fal.call("GET", f"/fal/api/v1/models/billing-events?{query}")
    assert answer.status == 422
    assert answer.json["detail"][0]["loc"][-1] in ("limit", "cursor", "start", "end")

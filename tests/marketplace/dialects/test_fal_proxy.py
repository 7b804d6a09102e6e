"""fal's proxy for browsers serves fal's own addresses, and pages of any origin may call."""

from typing import Any

import pytest

from marketplace.catalog.models import Release
from marketplace.runs.models import Run
from tests.marketplace.dialects.test_fal import ASKED, Fal, fal
from tests.marketplace.web import Answer, Client

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["fal"]


def test_the_proxy_serves_fals_own_addresses_itself(fal: Fal, still: Release) -> None:
    def through(method: str, target: str, body: Any = None) -> Answer:
        return fal.call(method, "/fal/proxy", body, X_Fal_Target_Url=target)

    queue = "https://queue.fal.run/rehearsal/still"
    made = through("POST", queue, ASKED)
    run = made.json["request_id"]
    assert made.headers["x-fal-request-id"] == run
    told = through("GET", f"{queue}/requests/{run}/status?logs=1")
    assert (told.status, len(told.json["logs"])) == (202, 1)
    assert through("PUT", f"{queue}/requests/{run}/cancel").status == 200
    assert through("POST", "https://fal.run/rehearsal/none", ASKED).status == 404


@pytest.mark.parametrize(
    "target",
    [
        "",
        "http://queue.fal.run/rehearsal/still",
        "https://queue.fal.run.example.test/rehearsal/still",
        "https://example.test/",
        "https://127.0.0.1/fal/queue/rehearsal/still",
        "file:///etc/passwd",
        "https://[::1",
    ],
)
def test_the_proxy_takes_fals_hosts_and_no_other(fal: Fal, still: Release, target: str) -> None:
    answer = fal.call("POST", "/fal/proxy", ASKED, X_Fal_Target_Url=target)
    assert (answer.status, answer.json["error_type"]) == (400, "bad_request")
    assert not Run.objects.exists()


def test_pages_of_any_origin_may_call_with_a_key(web: Client, fal: Fal, still: Release) -> None:
    asked = "authorization,content-type,x-fal-queue-priority"
    for path in ("/fal/queue/rehearsal/still", "/fal/proxy", "/fal/rest/tokens/"):
        answer = Fal(web, None).call("OPTIONS", path, Access_Control_Request_Headers=asked)
        assert answer.status == 204
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["access-control-allow-headers"] == asked
        assert "access-control-allow-credentials" not in answer.headers
    for answer in (fal.submit(), Fal(web, None).submit()):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "x-fal-request-id" in answer.headers["access-control-expose-headers"]

"""`manage.py worker` lets a worker in, once per token, and out again."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from marketplace.fleet import token
from marketplace.fleet.models import Worker
from tests.marketplace.runs.test_workers import tell
from tests.marketplace.web import Client

pytestmark = pytest.mark.django_db(transaction=True)


def said(*arguments: str) -> str:
    out = StringIO()
    call_command("worker", *arguments, stdout=out)
    return out.getvalue().strip()


def claim(web: Client, key: str) -> int:
    body = {"worker": "gpu-7", "queue": "gpu.std", "resident": [], "limit": 1}
    return tell(web, "claim", body, key=key).status


def test_a_token_lets_its_worker_claim_until_it_is_replaced_or_revoked(web: Client) -> None:
    first = said("gpu-7")
    assert claim(web, first) == 200
    worker = Worker.objects.get()
    assert (worker.name, worker.pool.slug) == ("gpu-7", "gpu.std")
    assert worker.digest == token.digest(first)
    second = said("gpu-7", "--pool", "gpu.std")
    assert (claim(web, first), claim(web, second)) == (401, 200)
    assert said("gpu-7", "--revoke") == "gpu-7 is let in no more."
    assert claim(web, second) == 401


def test_nobody_of_that_name_is_said() -> None:
    with pytest.raises(CommandError, match="No worker is called gpu-8"):
        said("gpu-8", "--revoke")

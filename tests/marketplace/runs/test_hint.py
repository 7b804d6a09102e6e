"""Hints through the real broker, and without one."""

import logging

import pytest
import redis
from django.conf import settings

from marketplace.celery import app
from marketplace.runs import hint

QUEUE = "tests.hint"


@pytest.fixture
def broker() -> redis.Redis:
    return redis.Redis.from_url(settings.BROKER_URL.replace("redis+socket", "unix"))


def test_a_hint_is_one_small_message_that_names_its_queue(broker: redis.Redis) -> None:
    broker.delete(QUEUE)
    hint.publish(QUEUE)
    assert broker.llen(QUEUE) == 1
    with app.connection_for_read() as connection:
        message = connection.SimpleQueue(QUEUE).get(block=False)
        message.ack()
    assert message.headers["task"] == "kinora.hint"
    assert message.decode()[0] == [QUEUE]
    assert message.content_type == "application/json"


def test_a_broker_that_is_away_is_noted_and_nothing_is_raised(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app, "connection_for_write", Away)
    hint.pool.cache_clear()
    with caplog.at_level(logging.WARNING):
        hint.publish(QUEUE)
    hint.pool.cache_clear()
    assert "no kinora.hint for tests.hint" in caplog.text


class Away:
    """A broker's address where nobody listens."""

    def as_uri(self, *, include_password: bool) -> str:
        return "redis://127.0.0.1:9/0"

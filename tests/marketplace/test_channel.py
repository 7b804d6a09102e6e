"""One that listens is told of each notification, and goes on after its connection is cut."""

import asyncio

import psycopg
import pytest

from marketplace import channel

pytestmark = pytest.mark.django_db(transaction=True)
CHANNEL = "kinora_tests"
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"


def say(sql: str, *values: str) -> int:
    with psycopg.connect(**channel.where("test"), autocommit=True) as connection:
        return len(connection.execute(sql, values).fetchall())


async def within(heard: asyncio.Queue[str]) -> str:
    return await asyncio.wait_for(heard.get(), 20)


async def listening(heard: asyncio.Queue[str]) -> asyncio.Task[None]:
    task = asyncio.create_task(channel.listen(CHANNEL, heard.put_nowait, name="listener"))
    await within(heard)  # that it has begun
    return task


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_each_notification_of_the_channel_is_told_and_no_other() -> None:
    async def story() -> list[str]:
        heard: asyncio.Queue[str] = asyncio.Queue()
        task = await listening(heard)
        await asyncio.to_thread(say, "SELECT pg_notify('kinora_others', '')")
        told = []
        for word in ("one", "two"):
            await asyncio.to_thread(say, "SELECT pg_notify(%s, %s)", CHANNEL, word)
            told.append(await within(heard))
        await ended(task)
        assert heard.empty()
        return told

    assert asyncio.run(story()) == ["one", "two"]


def test_who_is_cut_off_listens_again_and_is_told_that_it_may_have_missed_some() -> None:
    async def story() -> None:
        heard: asyncio.Queue[str] = asyncio.Queue()
        task = await listening(heard)
        assert await asyncio.to_thread(say, CUT, "kinora-listener") == 1
        await within(heard)
        await asyncio.to_thread(say, "SELECT pg_notify(%s, '')", CHANNEL)
        await within(heard)
        await ended(task)
        assert heard.empty()

    asyncio.run(story())


def test_nothing_is_left_open_by_one_that_is_ended() -> None:
    async def story() -> None:
        heard: asyncio.Queue[str] = asyncio.Queue()
        await ended(await listening(heard))

    asyncio.run(story())
    known = "SELECT pid FROM pg_stat_activity WHERE application_name = 'kinora-listener'"
    for _ in range(200):  # the server notices a closed socket in its own time
        if say(known) == 0:
            return
    raise AssertionError("its connection is still there")

"""The transport under every lab: it tries again where that may help and trusts no answer."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from partners.adapter import HttpAdapter
from partners.contract import Broken, Output, Retry, Unknown
from tests.lab import open_lab
from tests.running import free_port

Handler = Callable[[web.Request], Awaitable[web.Response]]


def call(handler: Handler) -> tuple[int, dict[str, object]]:
    """GET / of a lab that answers so."""
    app = web.Application()
    app.router.add_get("/", handler)

    async def go(url: str) -> tuple[int, dict[str, object]]:
        async with HttpAdapter(url) as adapter:
            return await adapter.call("GET", "/")

    with open_lab(app) as lab:
        return asyncio.run(go(lab.url))


def answering(*answers: web.Response) -> tuple[Handler, list[str]]:
    """One answer after the other, the last for ever; and the paths that were asked for."""
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        found = answers[min(len(asked), len(answers)) - 1]
        return web.Response(body=found.body, status=found.status, headers=found.headers)

    return handler, asked


def test_a_lab_that_is_busy_twice_is_asked_three_times() -> None:
    busy = web.Response(status=503)
    handler, asked = answering(busy, busy, web.json_response({"ok": True}))
    assert call(handler) == (200, {"ok": True})
    assert len(asked) == 3


def test_a_lab_that_stays_busy_is_left_to_the_caller() -> None:
    handler, asked = answering(web.Response(status=502))
    with pytest.raises(Retry, match="502"):
        call(handler)
    assert len(asked) == 3


def test_a_long_retry_after_is_handed_on_at_once() -> None:
    handler, asked = answering(web.Response(status=429, headers={"Retry-After": "30"}))
    with pytest.raises(Retry) as caught:
        call(handler)
    assert caught.value.after == 30
    assert len(asked) == 1


def test_a_clients_fault_is_not_tried_again() -> None:
    handler, asked = answering(web.json_response({"no": 1}, status=422))
    assert call(handler) == (422, {"no": 1})
    assert len(asked) == 1


@pytest.mark.parametrize("body", [b"<html>Sorry</html>", b"[1, 2]", b'"text"', b"\xff"])
def test_an_answer_that_is_not_an_object_is_broken(body: bytes) -> None:
    handler, _ = answering(web.Response(body=body, content_type="text/html"))
    with pytest.raises(Broken):
        call(handler)


def test_an_endless_answer_is_cut_off() -> None:
    handler, _ = answering(web.Response(body=b"[" + b"1," * 3_000_000))
    with pytest.raises(Broken, match="larger"):
        call(handler)


def test_a_redirect_is_not_followed() -> None:
    handler, asked = answering(web.Response(status=302, headers={"Location": "/elsewhere"}))
    assert call(handler) == (302, {})
    assert asked == ["/"]


def test_a_lab_that_is_away_may_be_asked_again() -> None:
    async def go() -> None:
        async with HttpAdapter(f"http://127.0.0.1:{free_port()}") as adapter:
            await adapter.call("GET", "/")

    with pytest.raises(Retry, match="could not be reached"):
        asyncio.run(go())


@pytest.mark.parametrize("output", [Output("image/png", "/file"), Output("image/png", "/none")])
def test_a_file_that_is_too_large_or_missing_is_broken(output: Output) -> None:
    async def file(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 1000)

    app = web.Application()
    app.router.add_get("/file", file)

    async def go(url: str) -> None:
        async with HttpAdapter(url) as adapter:
            async for _ in adapter.fetch(output, most=999):
                pass

    with open_lab(app) as lab, pytest.raises(Broken):
        asyncio.run(go(lab.url))


def hand_in(url: str) -> tuple[int, dict[str, object]]:
    """Post a job to a lab that knows no idempotency key."""

    async def go() -> tuple[int, dict[str, object]]:
        async with HttpAdapter(url) as adapter:
            return await adapter.post_once("/", json={})

    return asyncio.run(go())


def test_a_job_that_never_left_may_be_handed_in_again() -> None:
    with pytest.raises(Retry, match="could not be reached"):
        hand_in(f"http://127.0.0.1:{free_port()}")


@pytest.mark.parametrize(
    ("status", "error"),
    [(408, Unknown), (425, Retry), (429, Retry), (500, Unknown), (503, Unknown)],
)
def test_a_job_is_posted_once_whatever_the_lab_says(status: int, error: type[Exception]) -> None:
    handler, asked = answering(web.Response(status=status))
    app = web.Application()
    app.router.add_post("/", handler)
    with open_lab(app) as lab, pytest.raises(error):
        hand_in(lab.url)
    assert len(asked) == 1


class Keyed(HttpAdapter):
    hops = 1


def fetched(start: str, other: web.Application, seen: list[str]) -> bytes:
    """Fetch `start`, at a lab that sends on to `other`. seen: the proof of us that it got."""

    async def go(url: str, beyond: str) -> bytes:
        async with Keyed(url, "secret") as adapter:
            address = start.format(lab=url, beyond=beyond)
            pieces = adapter.fetch(Output("video/mp4", address), most=1000)
            return b"".join([piece async for piece in pieces])

    with open_lab(other) as far:

        async def onward(request: web.Request) -> web.Response:
            seen.append(request.headers.get("Authorization", ""))
            return web.Response(status=302, headers={"Location": f"{far.url}/file"})

        app = web.Application()
        app.router.add_get("/onward", onward)
        with open_lab(app) as lab:
            return asyncio.run(go(lab.url, far.url))


@pytest.mark.parametrize(
    ("start", "proofs"),
    [("{lab}/onward", ["Bearer secret", ""]), ("{beyond}/file", [""])],
)
def test_our_key_goes_to_the_lab_and_to_nobody_else(start: str, proofs: list[str]) -> None:
    seen: list[str] = []

    async def file(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization", ""))
        return web.Response(body=b"clip")

    other = web.Application()
    other.router.add_get("/file", file)
    assert fetched(start, other, seen) == b"clip"
    assert seen == proofs


def test_a_second_redirect_is_not_followed() -> None:
    async def round_about(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/file"})

    other = web.Application()
    other.router.add_get("/file", round_about)
    with pytest.raises(Broken, match="cannot be fetched"):
        fetched("{beyond}/file", other, [])


def test_a_lab_that_is_down_is_left_alone_for_a_while() -> None:
    handler, asked = answering(web.Response(status=503))
    app = web.Application()
    app.router.add_get("/", handler)

    async def go(url: str) -> None:
        async with HttpAdapter(url) as adapter:
            for _ in range(4):
                with pytest.raises(Retry):
                    await adapter.call("GET", "/")
            assert adapter.gate.state == "shut"
            adapter.gate.shut_until = 0.0
            adapter.gate.succeeded()

    with open_lab(app) as lab:
        asyncio.run(go(lab.url))
    assert len(asked) <= 8

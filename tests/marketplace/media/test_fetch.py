"""Fetching what others name, over real HTTP: redirects, slow and huge bodies, names that lie."""

import asyncio
from collections.abc import Iterator

import pytest
from aiohttp import web
from pytest_django import Settings

from marketplace.errors import Busy, InvalidInput, TooLarge
from marketplace.media import fetch, store
from tests.lab import Lab, open_lab
from tests.marketplace.media import samples

PICTURE = samples.picture()


async def picture(_: web.Request) -> web.Response:
    return web.Response(body=PICTURE)


async def hop(request: web.Request) -> web.Response:
    left = int(request.match_info["left"])
    return web.Response(status=302, headers={"Location": f"/hop/{left - 1}" if left else "/a.png"})


async def away(request: web.Request) -> web.Response:
    return web.Response(status=307, headers={"Location": request.query["to"]})


async def endless(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(100):
        await answer.write(bytes(100_000))
    return answer


async def slow(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    while True:
        await answer.write(b".")
        await asyncio.sleep(0.02)


async def coded(_: web.Request) -> web.Response:
    return web.Response(body=b"x", headers={"Content-Encoding": "gzip"})


async def secret(_: web.Request) -> web.Response:
    return web.Response(status=403, text="the vault's password is swordfish")


@pytest.fixture(scope="module")
def server() -> Iterator[Lab]:
    app = web.Application()
    app.add_routes(
        [
            web.get("/a.png", picture), web.get("/hop/{left}", hop), web.get("/away", away),
            web.get("/endless", endless), web.get("/slow", slow), web.get("/coded", coded),
            web.get("/secret", secret),
        ]
    )  # fmt: skip
    with open_lab(app) as found:
        yield found


@pytest.fixture(autouse=True)
def loopback(settings: Settings) -> None:
    settings.ALLOW_LOOPBACK_FETCH = True


def got(address: str, most: int = 1_000_000, **more: fetch.outbound.Resolve) -> tuple[str, bytes]:
    """The name and the bytes that a fetch gives."""
    with store.Incoming() as incoming:
        name = asyncio.run(fetch.fetch(address, incoming, most=most, param="inputs.image", **more))
        return name, incoming.finish().read_bytes()


def refused(address: str, **more: fetch.outbound.Resolve) -> str:
    with pytest.raises(InvalidInput) as fault:
        got(address, **more)
    assert fault.value.param == "inputs.image"
    return fault.value.message


def test_what_is_there_is_fetched_and_named(server: Lab) -> None:
    assert got(f"{server.url}/a.png?size=1") == ("a.png", PICTURE)


@pytest.mark.parametrize("hops", [1, 3])
def test_a_few_redirects_are_followed(server: Lab, hops: int) -> None:
    assert got(f"{server.url}/hop/{hops - 1}") == ("a.png", PICTURE)


def test_many_redirects_are_not(server: Lab) -> None:
    assert "redirected more than 3 times" in refused(f"{server.url}/hop/3")


@pytest.mark.parametrize(
    "to",
    ["http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "file:///etc/passwd",
     "http://[::ffff:10.0.0.1]/", "http://user@example.com/", "gopher://127.0.0.1:6379/_INFO",
     "http://2852039166/", "//metadata.google.internal/", "http://0x0a000001/", "http://[", ""],
)  # fmt: skip
def test_every_redirect_is_checked_anew(server: Lab, to: str) -> None:
    said = refused(f"{server.url}/away?to={to}")
    assert "10.0.0.1" not in said
    assert "169.254" not in said


def test_a_name_is_checked_at_each_hop_by_what_it_resolves_to_then(server: Lab) -> None:
    """The name is public when it is asked for first and private at the redirect to itself."""
    asked: list[str] = []

    async def rebinding(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    address = server.url.replace("127.0.0.1", "files.example.com") + "/away?to=/a.png"
    # Ports of tests are odd ones; the name is what counts here.
    with pytest.MonkeyPatch.context() as patch:
        port = int(server.url.rpartition(":")[2])
        patch.setattr(fetch.outbound, "PORTS", fetch.outbound.PORTS | {port})
        assert "no public address" in refused(address, resolve=rebinding)
    assert asked == ["files.example.com"] * 2


def test_a_body_is_read_no_further_than_it_may_be_large(server: Lab) -> None:
    for address in (f"{server.url}/endless", f"{server.url}/a.png"):
        with pytest.raises(TooLarge, match=r"inputs\.image may have at most 50 bytes"):
            got(address, most=50)


def test_a_body_that_drips_is_left(server: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "SECONDS", 0.3)
    assert "nobody answers there, or too slowly" in refused(f"{server.url}/slow")


def test_what_the_other_side_says_never_comes_back(server: Lab) -> None:
    assert refused(f"{server.url}/secret") == (
        "inputs.image cannot be fetched: the answer there is 403."
    )


def test_a_compressed_body_is_refused(server: Lab) -> None:
    assert "compressed" in refused(f"{server.url}/coded")


def test_too_many_at_once_wait_for_another_time(
    server: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "AT_ONCE", 0)
    with pytest.raises(Busy):
        got(f"{server.url}/a.png")


def test_this_machine_is_not_asked_where_that_is_not_allowed(
    server: Lab, settings: Settings
) -> None:
    settings.ALLOW_LOOPBACK_FETCH = False
    assert "its host must be a public name or address" in refused(f"{server.url}/a.png")

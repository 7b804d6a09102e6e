"""Which addresses we call for others: a corpus of those that we do not, and names that lie."""

import asyncio
import socket
from collections.abc import Iterator

import pytest
from aiohttp import web
from yarl import URL

from marketplace import outbound
from marketplace.outbound import NoAnswer, NotAllowedThere
from tests.lab import open_lab

SPELLINGS = [
    # this machine, in every way that a resolver or a browser reads
    "http://127.0.0.1/", "http://127.0.0.1:8000/", "http://127.1/", "http://127.255.255.254/",
    "http://2130706433/", "http://0x7f000001/", "http://0x7f.0.0.1/", "http://0x7f.1/",
    "http://017700000001/", "http://0177.0.0.1/", "http://0177.0.0.0x1/", "http://127.0.0.1./",
    "http://0/", "http://0.0.0.0/", "http://[::]/", "http://[::1]/", "http://[0:0:0:0:0:0:0:1]/",
    "http://localhost/", "http://LOCALHOST/", "http://localhost./", "http://a.localhost/",
    "http://１２７.0.0.1/", "http://127。0。0。1/", "http://①②⑦.0.0.1/", "http://ⓛocalhost/",
    # IPv4 inside IPv6
    "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/", "http://[64:ff9b:1::a00:1]/", "http://[2002:7f00:1::]/",
    "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", "http://[::ffff:0:127.0.0.1]/",
    # private, shared, link-local, and the clouds' own services
    "http://10.0.0.1/", "http://172.16.0.1/", "http://172.31.255.255/", "http://192.168.1.1/",
    "http://100.64.0.1/", "http://100.100.100.200/", "http://169.254.169.254/latest/meta-data/",
    "http://169.254.170.2/", "http://168.63.129.16/", "http://[fd00:ec2::254]/",
    "http://[fc00::1]/", "http://[fe80::1]/", "http://[fe80::1%25eth0]/", "http://[fec0::1]/",
    "http://metadata.google.internal/", "http://instance-data/", "http://db.lan/",
    "http://0xa9fea9fe/", "http://2852039166/", "http://169.254.43518/", "http://printer.local/",
    # reserved, documentation, benchmarks, multicast, broadcast
    "http://192.0.0.192/", "http://192.0.2.1/", "http://192.88.99.1/", "http://198.18.0.1/",
    "http://198.51.100.1/", "http://203.0.113.1/", "http://224.0.0.1/", "http://239.255.255.250/",
    "http://240.0.0.1/", "http://255.255.255.255/", "http://[ff02::1]/", "http://[100::1]/",
    "http://[2001:db8::1]/", "http://[3fff::1]/", "http://[5f00::1]/", "http://[4000::1]/",
    # other schemes, credentials, ports, and what parsers disagree about
    "ftp://example.com/a.png", "file:///etc/passwd", "gopher://example.com/", "//example.com/a",
    "javascript:alert(1)", "data:text/html,x", "dict://example.com:11211/", "http:///a.png",
    "http://user@example.com/", "http://user:word@example.com/", "http://example.com@127.0.0.1/",
    "http://example.com:22/", "http://example.com:6379/", "http://example.com:5432/",
    "http://example.com\\@127.0.0.1/", "http://exa mple.com/", "http://example.com\r\nX: y/",
    "http://example.com:99999/", "http://ex\tample.com/", "http://-a.example.com/",
    "http://a..example.com/", "http://example/", "https://" + "a" * 5000 + ".com/",
]  # fmt: skip
PRIVATE_ANSWERS = [
    "127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "::1", "fe80::1%2", "::ffff:10.0.0.1",
    "64:ff9b::a00:1", "2002:a00:1::", "0.0.0.1", "224.0.0.1", "192.88.99.1", "fd00::1",
]  # fmt: skip


@pytest.mark.parametrize("text", SPELLINGS)
def test_an_address_that_is_not_public_is_refused_in_words_that_leak_nothing(text: str) -> None:
    with pytest.raises(NotAllowedThere) as refused:
        outbound.checked(text)
    assert str(refused.value).startswith(("it must ", "its host must ", "its port must ", "it is "))
    assert "127.0.0.1" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    ["https://example.com/a.png?b=1", "http://93.184.215.14/", "https://[2606:4700::1111]/",
     "https://exämple.com/", "https://example.com.:8443/", "https://a_b.example.com/"],
)  # fmt: skip
def test_a_public_address_is_fine(text: str) -> None:
    assert outbound.checked(text).host


async def call(url: URL, resolve: outbound.Resolve, *, loopback: bool = False) -> str:
    async with outbound.opened("GET", url, seconds=5, resolve=resolve, loopback=loopback) as answer:
        return await answer.text()


@pytest.mark.parametrize("answer", PRIVATE_ANSWERS)
def test_a_name_with_a_private_address_is_as_unknown_as_one_that_is_none(answer: str) -> None:
    async def lying(_host: str, _port: int) -> list[str]:
        return ["93.184.215.14", answer]

    async def unknown(_host: str, _port: int) -> list[str]:
        raise OSError("no such name")

    said = []
    for resolve in (lying, unknown):
        with pytest.raises(NotAllowedThere) as refused:
            asyncio.run(call(outbound.checked("http://files.example.com/"), resolve))
        said.append(str(refused.value))
    assert said == ["its host has no public address"] * 2


@pytest.fixture
def server() -> Iterator[str]:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.host} {sorted(request.headers)}")

    app = web.Application()
    app.router.add_get("/", hello)
    with open_lab(app) as lab:
        yield lab.url


def test_a_name_is_resolved_once_and_the_connection_made_to_what_was_checked(server: str) -> None:
    """A name server that answers otherwise the second time is not asked a second time."""
    asked = []

    async def changing(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["192.0.2.1"]

    url = URL(server.replace("127.0.0.1", "files.example.com"))
    said = asyncio.run(call(url, changing, loopback=True))
    assert asked == ["files.example.com"]
    assert said.startswith(f"files.example.com:{url.port} ")


def test_nothing_of_the_environment_goes_along(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    said = asyncio.run(call(URL(server), outbound.resolved, loopback=True))
    assert said.endswith("['Accept', 'Accept-Encoding', 'Connection', 'Host', 'User-Agent']")


def test_this_machine_is_not_called_unless_that_is_allowed(server: str) -> None:
    with pytest.raises(NotAllowedThere):
        asyncio.run(call(URL(server), outbound.resolved))


def test_nobody_there_is_told_as_that() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = URL(f"http://127.0.0.1:{closed.getsockname()[1]}/")
        with pytest.raises(NoAnswer, match="nobody answers"):
            asyncio.run(call(url, outbound.resolved, loopback=True))

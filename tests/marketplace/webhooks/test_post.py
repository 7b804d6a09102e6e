"""Calls go to public addresses alone, and by certificates that hold."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pytest_django import Settings

from marketplace.webhooks import post
from marketplace.webhooks.post import Answer, Forbidden, Post, PublicNames
from tests.receiver import Receiver


class Scripted(AbstractResolver):
    """A name server that gives one list of addresses after the other."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        found = self.answers.pop(0)
        return [
            ResolveResult(hostname=host, host=one, port=port, family=2, proto=6, flags=0)
            for one in found
        ]

    async def close(self) -> None:
        pass


def resolved(*answers: list[str]) -> list[ResolveResult]:
    names = PublicNames(Scripted(*answers))
    return asyncio.run(names.resolve("hooks.example.com", 443))


def test_a_name_is_called_where_all_its_addresses_are_public() -> None:
    assert [one["host"] for one in resolved(["1.1.1.1", "8.8.8.8"])] == ["1.1.1.1", "8.8.8.8"]


@pytest.mark.parametrize("inside", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1"])
def test_one_address_inside_is_enough_to_refuse_the_name(inside: str) -> None:
    with pytest.raises(Forbidden):
        resolved(["1.1.1.1", inside])


def sent(*urls: str, names: AbstractResolver | None = None) -> list[Answer]:
    async def send() -> list[Answer]:
        async with Post(names) as post:
            return [await post.send(url, {}, b"{}") for url in urls]

    return asyncio.run(send())


def test_a_name_is_asked_about_with_every_call() -> None:
    names = Scripted(["10.0.0.1"], ["127.0.0.1"])
    url = "https://hooks.example.com/"
    said = "Not sent: the name leads to an address that is not public."
    assert [answer.error for answer in sent(url, url, names=names)] == [said, said]
    assert names.answers == []


@pytest.fixture
def unproven(tmp_path: Path, settings: Settings) -> Iterator[str]:
    """A server on this machine with a certificate that nobody vouches for."""
    settings.ALLOW_LOOPBACK_WEBHOOKS = True
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = Quiet(("127.0.0.1", 0), None)  # type: ignore[arg-type]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


class Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A handshake that fails is what is wanted."""


def test_a_certificate_that_nobody_vouches_for_is_refused(unproven: str) -> None:
    [answer] = sent(unproven)
    assert answer.status is None
    assert answer.error.startswith("The connection is not safe: ")
    assert "certificate" in answer.error.lower()


def test_who_never_answers_is_given_up_on(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post, "SECONDS", 0.3)
    hanging = threading.Event()
    receiver.manners["/hang"] = lambda _handler: bool(hanging.wait(20)) and None
    [answer] = sent(receiver.url("/hang"))
    hanging.set()
    assert (answer.status, answer.error) == (None, "No answer within 15 s.")


def test_an_answer_that_drips_has_arrived_with_its_status(receiver: Receiver) -> None:
    hanging = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"wait for")
        hanging.wait(20)

    receiver.manners["/drip"] = drip
    [answer] = sent(receiver.url("/drip"))
    hanging.set()
    assert (answer.status, answer.error, answer.excerpt) == (200, "", "wait for")

"""HTTPS before a stack: certificates of an authority of our own, and who ends the encryption."""

import asyncio
import datetime
import ipaddress
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAMES = ("localhost", "fal.run", "queue.fal.run", "rest.fal.ai", "v3.fal.media")
Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


def certificates(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """The authority's certificate for SSL_CERT_FILE, and what a server of NAMES uses."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = built("Tests", "Tests", ca_key, ca_key, authority=True)
    server = built("localhost", "Tests", key, ca_key, authority=False)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.pem").write_bytes(authority.public_bytes(pem))
    (folder / "server.pem").write_bytes(server.public_bytes(pem) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return folder / "ca.pem", context


def built(
    name: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    authority: bool,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    own = [x509.DNSName(said) for said in NAMES]
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([*own, address]), critical=False)
        .sign(signer, hashes.SHA256())
    )


@contextmanager
def listening(
    talk: Callable[[Reader, Writer], Awaitable[None]], tls: ssl.SSLContext | None
) -> Iterator[int]:
    """Talk to whoever connects to the port that this gives, until the block ends."""
    loop, ports = asyncio.new_event_loop(), []
    begun, over = threading.Event(), asyncio.Event()

    async def quietly(reader: Reader, writer: Writer) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await talk(reader, writer)
        writer.close()

    async def live() -> None:
        async with await asyncio.start_server(quietly, "127.0.0.1", 0, ssl=tls) as server:
            ports.append(server.sockets[0].getsockname()[1])
            begun.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(live(),))
    thread.start()
    assert begun.wait(10)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()


async def pump(reader: Reader, writer: Writer) -> None:
    with suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    with suppress(OSError):
        writer.close()


@contextmanager
def ended_before(port: int, tls: ssl.SSLContext) -> Iterator[int]:
    """HTTPS whose requests go on to `port` in the clear."""

    async def talk(reader: Reader, writer: Writer) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, outer), pump(inner, writer))

    with listening(talk, tls) as found:
        yield found


@contextmanager
def proxy_to(port: int, tls: ssl.SSLContext) -> Iterator[int]:
    """An HTTPS_PROXY that takes every connection for one to `port`, and reads it."""

    async def talk(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")  # CONNECT fal.run:443
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await writer.drain()
        await writer.start_tls(tls)
        inner, outer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, outer), pump(inner, writer))

    with listening(talk, None) as found:
        yield found

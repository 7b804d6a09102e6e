"""The same media in a bucket: a stand-in that speaks as much S3 as is needed, over real HTTP."""

import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from asgiref.sync import async_to_sync
from django.core.files.storage import default_storage
from django.test import Client as DjangoClient
from pytest_django import Settings

from marketplace.media import accept, shelf, sign, store
from marketplace.media.files import Stored
from marketplace.media.lifetime import lifetime
from tests.conftest import Person
from tests.lab import open_lab
from tests.marketplace.media import samples

NAME = "attempts/run_1/1/0.png"
Objects = dict[str, bytes]


def bucket_server(objects: Objects) -> web.Application:
    async def answer(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if request.method == "PUT":
            objects[name] = await request.read()
            return web.Response(headers={"ETag": '"1"'})
        if request.method == "DELETE":
            objects.pop(name, None)
            return web.Response(status=204)
        if name not in objects:
            return web.Response(status=404)
        return web.Response(body=objects[name], headers={"ETag": '"1"'})

    app = web.Application()
    app.router.add_route("*", "/kinora/{name:.+}", answer)
    return app


@pytest.fixture
def objects(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Objects]:
    """What is in the bucket that the media store is pointed at."""
    kept: Objects = {}
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    with open_lab(bucket_server(kept)) as server:
        options = {
            "bucket_name": "kinora",
            "endpoint_url": server.url,
            "access_key": "key",
            "secret_key": "secret",
            "region_name": "eu-central-1",
        }
        backend = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
        settings.STORAGES = settings.STORAGES | {"default": backend}
        settings.S3_BUCKET = "kinora"
        yield kept
        default_storage.connection.meta.client.close()


def receive(content: bytes) -> None:
    with store.Incoming() as file:
        file.write(content)
        file.keep(NAME)


def test_a_kept_file_is_in_the_bucket_and_can_be_read_back(objects: Objects) -> None:
    receive(b"picture")
    assert objects == {NAME: b"picture"}
    with store.local(NAME) as path:
        assert path.read_bytes() == b"picture"
    assert not path.exists()


def test_a_deleted_file_is_gone_and_not_found(objects: Objects) -> None:
    receive(b"picture")
    store.delete(NAME)
    assert objects == {}
    with pytest.raises(FileNotFoundError), store.local(NAME):
        pass


def test_a_presigned_address_gives_the_file_from_the_bucket_itself(objects: Objects) -> None:
    receive(b"picture")
    expires_at = datetime.now(UTC) + timedelta(days=1)
    url, _ = sign.download_url(SimpleNamespace(path=NAME, expires_at=expires_at))
    assert "X-Amz-Signature" in url
    with urllib.request.urlopen(url, timeout=5) as answer:
        assert answer.read() == b"picture"


def test_a_worker_puts_its_output_into_the_bucket_itself(objects: Objects) -> None:
    url = sign.upload_url(NAME, content_type="image/png", most=100)
    headers = {"Content-Type": "image/png"}
    request = urllib.request.Request(url, b"picture", headers, method="PUT")
    with urllib.request.urlopen(request, timeout=5):
        assert objects == {NAME: b"picture"}


@pytest.mark.django_db(transaction=True)
def test_a_team_s_file_is_in_the_bucket_once_and_its_address_leads_there(
    objects: Objects, ada: Person
) -> None:
    made = [async_to_sync(keep)(ada, samples.picture()) for _ in range(2)]
    assert list(objects) == [made[0].path] == [made[1].path]
    assert objects[made[0].path] == samples.picture()
    answer = DjangoClient().get(urlsplit(made[1].url).path)
    assert answer.status_code == 302
    with urllib.request.urlopen(answer["Location"]) as read:
        assert read.read() == samples.picture()


async def keep(person: Person, content: bytes) -> Stored:
    files = shelf.now()
    with store.Incoming() as incoming:
        incoming.write(content)
        return await files.accept(incoming, accept.wish(person.team.id, lifetime()))

"""Files in the playground: announced for the team, drawn as a field, refused at that field."""

import base64
from urllib.parse import urlsplit

import pytest
from django.test import Client

from marketplace.embedded import seed
from marketplace.media.models import File
from marketplace.runs.models import Run
from tests.conftest import Person
from tests.marketplace import sale
from tests.marketplace.media import samples

PAGE = "/models/rehearsal/animate"
PICTURE = samples.picture(size=(64, 36))
FAST = {"seconds": 1, "fps": 8, "resolution": "180p", "latency_ms": 0, "behaviour": "normal"}


@pytest.fixture
def ada_plays(transactional_db: None, ada: Person, client: Client) -> Client:
    """Ada, logged in, with rehearsal/animate on sale."""
    sale.put("rehearsal/animate")
    client.force_login(ada.user)
    return client


def test_a_file_input_is_an_address_with_a_chooser(ada_plays: Client) -> None:
    page = ada_plays.get(PAGE).content.decode()
    assert 'data-announce="/files/announce"' in page
    assert 'type="file" accept="image/*" data-choose' in page
    assert 'name="image"' in page
    assert "js/file.js" in page


def test_pictures_are_listed_one_on_each_line(ada_plays: Client) -> None:
    seed.put_on_sale(next(sale for sale in seed.SALES if sale.slug == "blend"))
    page = ada_plays.get("/models/rehearsal/blend")
    assert page.status_code == 200
    assert '<textarea name="images"' in page.content.decode()
    inline = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
    asked = {"images": f"{inline}\n{inline}\n", "size": "64x64", "latency_ms": 0}
    run = ada_plays.post("/models/rehearsal/blend/play", {**asked, "behaviour": "normal"})
    assert run.status_code == 302
    assert sorted(Run.objects.get().files) == ["images/0", "images/1"]


def test_a_chosen_file_is_announced_for_the_team(ada_plays: Client, ada: Person) -> None:
    told = ada_plays.post("/files/announce", {"name": "cat.png"}).json()
    assert urlsplit(told["put"]).netloc == ""
    answer = ada_plays.put(told["put"], PICTURE, content_type="image/png")
    assert answer.status_code == 200
    kept = File.objects.get()
    assert (kept.team_id, kept.name, kept.kind) == (ada.team.id, "cat.png", "image")
    run = ada_plays.post(f"{PAGE}/play", {"image": told["url"], **FAST})
    assert run.status_code == 302
    assert Run.objects.get().files == {"image": str(kept.id)}


def test_a_data_uri_may_be_pasted(ada_plays: Client) -> None:
    inline = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
    assert ada_plays.post(f"{PAGE}/play", {"image": inline, **FAST}).status_code == 302
    shown = ada_plays.get(f"/runs/{Run.objects.get().public_id}").content.decode()
    assert "/media/files/file_" in shown
    assert "data:image/png" not in shown


def test_what_cannot_be_used_is_said_at_the_field(ada_plays: Client) -> None:
    answer = ada_plays.post(f"{PAGE}/play", {"image": "http://10.0.0.1/a.png", **FAST})
    assert answer.status_code == 422
    assert "its host must be a public name or address" in answer.content.decode()
    assert not Run.objects.exists()


def test_a_visitor_announces_nothing(client: Client, db: None) -> None:
    assert client.post("/files/announce", {"name": "cat.png"}).status_code == 302
    assert not File.objects.exists()

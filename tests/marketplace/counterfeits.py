"""A counterfeit lab behind real HTTP, and a model of it on sale."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from marketplace.catalog.models import Release
from partners.pens import render
from tests.contract.counterfeit import Counterfeit, Says
from tests.contract.test_labs import shape_of
from tests.lab import open_lab

FILM = {"seconds": 2, "fps": 12, "resolution": "180p", "sound": False}  # inputs of such a film


@cache
def film(seconds: int = 2) -> bytes:
    """A clip that plays."""
    return render("clip", (), "dusk", "180p", 12, seconds * 12, 0, False)


@contextmanager
def counterfeit(name: str) -> Iterator[Counterfeit]:
    """The lab `name` as its shape says, whose files are films of two seconds."""
    lab = Counterfeit(shape_of(name))
    lab.file = Says(film())
    with open_lab(lab.application()) as running:
        lab.url = running.url
        yield lab


def sold_by(release: Release, name: str) -> Release:
    """The release as one of this lab's."""
    Release.objects.filter(pk=release.pk).update(adapter=name, target=shape_of(name).target)
    release.refresh_from_db()
    return release

"""A wrong value in the environment stops the start and names its variable."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from marketplace import environment


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("", ""),
        ("http://10.0.0.7:8000/", "http://10.0.0.7:8000"),
        ("https://web-1.internal", "https://web-1.internal"),
    ],
)
def test_an_address_is_read_without_its_last_slash(
    monkeypatch: pytest.MonkeyPatch, said: str, read: str
) -> None:
    monkeypatch.setenv("KINORA_DOOR_URL", said)
    assert environment.address("KINORA_DOOR_URL") == read


@pytest.mark.parametrize("said", ["10.0.0.7:8000", "ftp://10.0.0.7", "http://", "http://a/?b=c"])
def test_what_is_no_address_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("KINORA_DOOR_URL", said)
    with pytest.raises(ImproperlyConfigured, match="KINORA_DOOR_URL must be an address"):
        environment.address("KINORA_DOOR_URL")

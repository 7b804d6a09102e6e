"""Bodies that are no JSON object, too deep, or hold what the database cannot keep."""

import pytest

from marketplace import body
from marketplace.errors import MalformedBody


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


def test_the_deepest_body_is_read_and_a_deeper_one_is_not() -> None:
    assert body.read(nested(32))["a"]
    with pytest.raises(MalformedBody):
        body.read(nested(33))


def test_a_wide_body_is_not_deep() -> None:
    assert len(body.read(b'{"a": [' + b"[]," * 500 + b"[]]}")["a"]) == 501


@pytest.mark.parametrize(
    "text", [rb'"\u0000"', rb'{"\u0000": 1}', rb'[{"b": ["\u0000"]}]', rb'"a\u0000b"']
)
def test_the_nul_character_is_refused_wherever_it_is(text: bytes) -> None:
    with pytest.raises(MalformedBody):
        body.read(b'{"a": ' + text + b"}")


def test_a_written_out_nul_is_plain_text() -> None:
    assert body.read(rb'{"a": "\\u0000"}') == {"a": "\\u0000"}


@pytest.mark.parametrize("text", [b"", b"null", b"1", b"[]", b'"a"', b"{", b'{"a": NaN}', b"\xff"])
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedBody):
        body.read(text)

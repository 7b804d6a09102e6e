"""Public ids round-trip, sort by time and refuse what is not one."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace import ids


@given(st.uuids())
def test_an_id_round_trips(value: uuid.UUID) -> None:
    assert ids.private("run", ids.public("run", value)) == value


def test_ids_made_later_sort_later() -> None:
    made = [ids.uuid7() for _ in range(3)]
    assert [value.version for value in made] == [7, 7, 7]
    stamps = [value.int >> 80 for value in made]
    assert stamps == sorted(stamps)


@pytest.mark.parametrize(
    "text", ["", "run_", "key_01jd0000000000000000000000", "run_01jd", "run_" + "z" * 26,
             "run_01JD0000000000000000000000", "run_01jd000000000000000000000u"]
)  # fmt: skip
def test_what_is_not_a_run_id_gives_nothing(text: str) -> None:
    assert ids.private("run", text) is None

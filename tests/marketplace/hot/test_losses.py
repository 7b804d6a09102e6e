"""A request whose client was gone before its answer gives its run to the retry, once."""

from uuid import UUID, uuid4

import pytest

from marketplace.dialects.contract import Trail
from marketplace.hot.losses import ALIKE, Asked, Losses

ASKED: Asked = (UUID(int=1), b"digest")


def begun(losses: Losses, *, left: bool) -> tuple[UUID, Trail]:
    run_id, trail = uuid4(), Trail(left=lambda: left)
    losses.begin(ASKED, run_id, trail)
    return run_id, trail


def test_a_run_whose_client_left_goes_to_the_next_equal_request_once() -> None:
    losses = Losses()
    run_id, trail = begun(losses, left=True)
    losses.end(trail, None, streamed=False)
    assert losses.claim((UUID(int=2), b"digest"), Trail()) is None
    assert losses.claim((UUID(int=1), b"other"), Trail()) is None
    assert losses.claim(ASKED, Trail()) == run_id
    assert losses.claim(ASKED, Trail()) is None


def test_a_retry_that_comes_while_the_first_is_still_served_gets_its_run() -> None:
    losses = Losses()
    run_id, trail = begun(losses, left=True)
    assert losses.claim(ASKED, Trail()) == run_id
    losses.end(trail, None, streamed=False)
    assert losses.claim(ASKED, Trail()) is None


def test_equal_requests_whose_clients_are_there_have_a_run_each() -> None:
    losses = Losses()
    _, trail = begun(losses, left=False)
    assert losses.claim(ASKED, Trail()) is None
    losses.end(trail, None, streamed=False)
    assert losses.claim(ASKED, Trail()) is None
    assert losses.tries[ASKED][0].trail is None


def test_of_several_losses_each_retry_gets_another() -> None:
    losses = Losses()
    several = [begun(losses, left=True) for _ in range(3)]
    for _, trail in several:
        losses.end(trail, None, streamed=False)
    assert {losses.claim(ASKED, Trail()) for _ in range(3)} == {run_id for run_id, _ in several}
    assert losses.claim(ASKED, Trail()) is None


def test_what_is_too_old_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = Losses()
    monkeypatch.setattr("marketplace.hot.losses.SECONDS", -1.0)
    for _ in range(3):
        _, trail = begun(losses, left=True)
        losses.end(trail, None, streamed=False)
    assert losses.claim(ASKED, Trail()) is None
    assert not losses.tries
    assert not losses.answered


def test_of_many_equal_requests_the_newest_are_remembered() -> None:
    """Else each would be compared with all before it."""
    losses = Losses()
    runs = []
    for _ in range(3 * ALIKE):
        run_id, trail = begun(losses, left=True)
        losses.end(trail, None, streamed=False)
        runs.append(run_id)
    assert [losses.claim(ASKED, Trail()) for _ in range(ALIKE + 1)] == [*runs[-ALIKE:], None]

"""A charge is split without remainder: pure, for any terms, amounts and credits."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.ledger.capture import Share
from marketplace.money import LARGEST
from marketplace.payouts.split import WHOLE, Part, Terms, funds, spent, split

MODEL, OURS, THEIRS = "rehearsal/still", "revenue:rehearsal/still", "lab_payable:rehearsal"
terms = st.builds(
    Terms,
    agreement=st.just(1),
    lab=st.just("rehearsal"),
    basis=st.sampled_from(["gross", "net"]),
    millionths=st.integers(0, WHOLE),
    promotions=st.sampled_from(["giver", "kinora", "lab"]),
)
amounts = st.one_of(st.integers(1, 100), st.integers(1, LARGEST))
funders = st.sampled_from(["", "kinora", "rehearsal", "other"])


def agreed(basis: str = "gross", millionths: int = 700_000, promotions: str = "giver") -> Terms:
    return Terms(1, "rehearsal", basis, millionths, promotions)


@given(terms=terms, parts=st.lists(st.tuples(amounts, funders), max_size=5), data=st.data())
def test_shares_sum_to_the_charge_and_none_is_negative(
    terms: Terms, parts: list[tuple[int, str]], data: st.DataObject
) -> None:
    held = [{"amount": amount, "funder": funder} for amount, funder in parts]
    amount = data.draw(st.integers(0, sum(size for size, _ in parts)))
    shares = split(MODEL, amount, terms, held)
    assert sum(share.amount for share in shares) == amount
    assert all(share.amount > 0 for share in shares)
    theirs = sum(share.amount for share in shares if share.account == THEIRS)
    taken = spent(amount, [Part(size, funder) for size, funder in parts])
    assert sum(part.amount for part in taken) == amount
    base = amount - (terms.basis == "net") * sum(p.amount for p in taken if funds(terms, p.funder))
    assert theirs * WHOLE <= base * terms.millionths < (theirs + 1) * WHOLE


@pytest.mark.parametrize(
    ("promotions", "part"), [("giver", 70 - 7), ("kinora", 70), ("lab", 70 - 21)]
)
def test_of_the_net_a_lab_gets_nothing_of_credits_that_it_funds(promotions: str, part: int) -> None:
    parts = [
        {"amount": 10, "funder": "rehearsal"},
        {"amount": 20, "funder": "kinora"},
        {"amount": 1_000, "funder": ""},
    ]
    found = split(MODEL, 100, agreed("net", promotions=promotions), parts)
    assert found == [Share(OURS, 100 - part), Share(THEIRS, part)]
    whole = split(MODEL, 100, agreed("gross", promotions=promotions), parts)
    assert whole == [Share(OURS, 30), Share(THEIRS, 70)]


@pytest.mark.parametrize("found", [None, agreed("unit_cost", 0), agreed(millionths=0)])
def test_without_a_part_all_of_a_charge_is_ours(found: Any) -> None:
    assert split(MODEL, 7, found) == [Share(OURS, 7)]


def test_what_rounding_leaves_is_ours() -> None:
    assert split(MODEL, 1, agreed(millionths=999_999)) == [Share(OURS, 1)]
    assert split(MODEL, 9, agreed(millionths=WHOLE)) == [Share(THEIRS, 9)]

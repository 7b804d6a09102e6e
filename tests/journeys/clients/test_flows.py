"""Every flow that a client has is shown by a test, and the docs say so. Needs no stack."""

from itertools import product

import pytest

from tests.journeys.clients.flows import NO_VERB, Client, Flow, shown, table
from tests.running import ROOT


@pytest.mark.parametrize(("client", "flow"), list(product(Client, Flow)))
def test_a_flow_is_shown_unless_the_client_has_no_verb_for_it(client: Client, flow: Flow) -> None:
    assert bool(shown()[client, flow]) is ((client, flow) not in NO_VERB)


def test_the_docs_have_the_table() -> None:
    assert table() in (ROOT / "docs" / "clients.md").read_text()

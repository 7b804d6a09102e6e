"""Which test shows which flow of which client: the marks that tests bear, and the table of them.

The table in `docs/clients.md` is checked to say the same.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest


class Client(StrEnum):
    FAL = "`fal-client`"
    REPLICATE = "`replicate`"
    OPENAI = "`openai`"
    HUGGING_FACE = "`huggingface_hub`"
    FAL_JS = "`@fal-ai/client`"
    REPLICATE_JS = "`replicate` (JS)"
    OPENAI_JS = "`openai` (JS)"


class Flow(StrEnum):
    SUCCESS = "success"
    FAILURE = "failure"
    WRONG_INPUT = "wrong input"
    CANCEL = "cancel"
    CANCEL_AGAIN = "cancel again"
    LATE = "a wait that runs out"
    STREAM = "streaming"
    PAGES = "paging"
    SMALL = "a small upload"
    LARGE = "an upload of 120 MB"
    WEBHOOK = "a webhook, verified"
    WRONG_KEY = "a wrong key"
    STRANGER = "another team's id"


# What a client has no verb for.
NO_VERB = {
    (Client.FAL, Flow.PAGES),
    (Client.FAL_JS, Flow.PAGES),
    *((Client.HUGGING_FACE, flow) for flow in (Flow.CANCEL, Flow.CANCEL_AGAIN, Flow.STREAM)),
    *((Client.HUGGING_FACE, flow) for flow in (Flow.PAGES, Flow.WEBHOOK, Flow.STRANGER)),
}
Shown = Mapping[tuple[Client, Flow], Sequence[str]]


def shows(client: Client, *flows: Flow) -> pytest.MarkDecorator:
    """The mark of a test that shows these flows of a client."""
    return pytest.mark.shows(client, *flows)


@cache
def shown() -> Shown:
    """Client and flow → the tests that show it, as `file::test`."""
    found = defaultdict(list)
    for name, test in tests():
        for mark in getattr(test, "pytestmark", ()):
            if mark.name == "shows":
                client, *flows = mark.args
                for flow in flows:
                    found[client, flow].append(name)
    return found


def tests() -> Iterator[tuple[str, Any]]:
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = import_module(f"{__package__}.{path.stem}")
        for name, test in vars(module).items():
            if name.startswith("test_") and test.__module__ == module.__name__:
                yield f"{path.stem}::{name}", test


def cell(client: Client, flow: Flow, known: Shown) -> str:
    return "–" if (client, flow) in NO_VERB else "✓" if known[client, flow] else "not shown"


def table() -> str:
    """As `docs/clients.md` has it."""
    known = shown()
    lines = ["| | " + " | ".join(Client) + " |", "|---" * (len(Client) + 1) + "|"]
    for flow in Flow:
        cells = " | ".join(cell(client, flow, known) for client in Client)
        lines.append(f"| {flow} | {cells} |")
    return "\n".join(lines) + "\n"

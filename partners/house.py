"""Our own GPU fleet, the first of the suppliers. The only importer of `inference.wire`.

Its runs are claimed by GPU workers over HTTP (`marketplace/runs/workers.py`), so nothing is ever
handed in through this adapter: it describes the models and says so where it is asked for more.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar, NoReturn

from inference import wire
from partners.contract import Broken, Description, Job, Output, Ticket


def described(slug: str) -> Description:
    """What the model `slug` says of itself. Raises KeyError where it is not shipped."""
    found = wire.describe(slug)
    return Description(
        target=slug,
        title=found["title"],
        task=found["task"],
        summary=found["summary"],
        about=found.get("about", ""),
        inputs=found["inputs"],
        output_kind=found["output"]["kind"],
        content_type=found["output"]["content_type"],
        queue=found["queue"],
        timeout_seconds=found["timeout_seconds"],
        facts=found.get("facts", {}),
        examples=tuple(found.get("examples", ())),
    )


class House:
    """Stands in the registry like any other supplier; workers fetch its runs themselves."""

    keyed: ClassVar[bool] = True  # nothing is handed in

    def __init__(self, url: str = "", secret: str = "") -> None:
        self.url, self.secret = url, secret
        self.health, self.trouble, self.asks = "open", "", 0
        self.room = asyncio.Semaphore()

    def take(self, secrets: Sequence[str]) -> None:
        """Workers have their own tokens."""

    async def submit(self, job: Job) -> NoReturn:
        raise Broken(f"{job.target} is claimed by GPU workers, not handed in")

    async def find(self, key: str) -> None:
        return None

    async def poll(self, ticket: Ticket) -> NoReturn:
        raise Broken(f"{ticket.job} is followed through its lease")

    async def cancel(self, ticket: Ticket) -> None:
        """A worker learns of a cancel with its next renewal or report."""

    def read_webhook(self, body: bytes) -> NoReturn:
        raise Broken("our own workers report to their control plane")

    def answer_notice(self, body: bytes) -> dict[str, Any]:
        return {}

    async def fetch(self, output: Output, *, most: int) -> AsyncIterator[bytes]:
        """A worker writes its outputs into the media store itself."""
        if len(output.content) > most:
            raise Broken("the file is larger than agreed")
        yield output.content

    async def close(self) -> None:
        """Holds nothing open."""

    @classmethod
    def describe(cls) -> tuple[Description, ...]:
        return tuple(described(slug) for slug in wire.shelf())

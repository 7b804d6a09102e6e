"""Ask labs after jobs of unknown fate. Runs in the supplier, which has the adapters.

Only what is certain decides: a job that the lab delivers, or says it refused. All else leaves the
fate open, for the next time or for a person.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

from marketplace.runs import fate
from marketplace.runs.connections import Connections, Row
from partners.adapter import Adapter
from partners.contract import Progress, Refused, SupplierError, Ticket

log = logging.getLogger(__name__)

SECONDS = 60.0  # for one lab to answer
Said = tuple[str, str, dict[str, Any]]  # state, in words, what the lab said


async def reconcile(database: Connections, open_adapter: Callable[[str], Adapter]) -> int:
    """Ask after those that are due, all at once; how many are known now."""
    due = await database.rows(fate.take())
    told = await asyncio.gather(*(ask(row, open_adapter(row["adapter"])) for row in due))
    known = [(row["run_id"], said) for row, said in zip(due, told, strict=True) if said]
    for run, (state, what, lab) in known:
        await database.rows(fate.tell(run, state, what, lab))
        log.warning("the job of %s: %s", run, what)
    return len(known)


async def ask(row: Row, adapter: Adapter) -> Said | None:
    """What the lab knows by our name for the job."""
    try:
        async with asyncio.timeout(SECONDS):
            ticket = await adapter.find(row["job_key"])
            return await told(adapter, ticket) if ticket else None
    except (SupplierError, TimeoutError) as error:
        log.info("nothing certain of %s: %s", row["job_key"], error)
        return None


async def told(adapter: Adapter, ticket: Ticket) -> Said | None:
    """What became of a job that has come to light. Raises SupplierError."""
    receipt = {"job": ticket.job}
    try:
        found = await adapter.poll(ticket)
    except Refused as error:
        state = "made" if error.generated else "absent"
        return state, "the lab refused it", receipt | {"said": error.message}
    if isinstance(found, Progress):
        return None
    usage = {unit: str(quantity) for unit, quantity in found.usage.quantities.items()}
    return "made", "the lab has made it", receipt | {"usage": usage}


async def noticed(
    database: Connections, run: UUID, receipt: str, open_adapter: Callable[[str], Adapter]
) -> None:
    """A lab's word names the job of a run that is not in hand: if its fate is open, it is told."""
    for row in await database.rows(fate.open_one(run)):
        with suppress(SupplierError):
            if said := await told(open_adapter(row["adapter"]), Ticket(receipt)):
                await database.rows(fate.tell(run, *said))

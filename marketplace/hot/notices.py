"""Where labs send word of a job. What comes decides nothing: it wakes the question after the job.

Nobody can guess an address; one that is not ours costs no query. A duplicate, an early or a late
word costs one notification and, of one job, at most one a second.
"""

from contextlib import suppress

from marketplace import ids
from marketplace.dialects import native
from marketplace.dialects.contract import Reply, Request, Route, Surface
from marketplace.errors import NotFound
from marketplace.hot.desk import HotDesk
from marketplace.hot.rate import Limiter, Rate
from marketplace.runs import notice
from partners.adapter import Adapter
from partners.contract import SupplierError
from partners.registry import ADAPTERS, open_adapter

LIMITER = Limiter({"notice": Rate(1, 10)})  # of one job
READERS: dict[str, Adapter] = {}  # they know no secret and call nobody


async def told(desk: HotDesk, request: Request, lab: str, run: str, token: str) -> Reply:
    """Raises NotFound, Busy."""
    run_id = ids.private("run", run)
    if run_id is None or lab not in ADAPTERS or not notice.is_ours(lab, run_id, token):
        raise NotFound("There is no such address.")
    LIMITER.take(run_id, "notice")
    receipt, answer = read(lab, request.body)
    await desk.database.rows(*notice.telling(run_id, receipt))
    return Reply(answer)


def read(lab: str, body: bytes) -> tuple[str, dict[str, object]]:
    """The receipt that it names, if one can be read, and what the lab wants to hear."""
    if lab not in READERS:
        READERS[lab] = open_adapter(lab)
    answer: dict[str, object] = {}
    receipt = ""
    with suppress(SupplierError):
        answer = READERS[lab].answer_notice(body)
        receipt = READERS[lab].read_webhook(body).job
    return receipt, answer


SURFACE = Surface(
    (f"/{notice.PREFIX}/",),
    (Route("POST", f"/{notice.PREFIX}/{{lab}}/{{run}}/{{token}}", told),),
    native.refused,
)

"""Speaks the API of the rehearsal lab (`partners/rehearsal.py`).

A job that ends at once comes back with the answer to its submission, small files inside it.
"""

import base64
from typing import Any, ClassVar

from partners.adapter import HttpAdapter
from partners.contract import (
    Broken,
    Description,
    Job,
    Output,
    Progress,
    Refused,
    Result,
    Ticket,
)
from partners.reading import usage

UNITS = {"images": "image", "video_seconds": "video_second"}  # their word → ours


class Rehearsal(HttpAdapter):
    """Prompt in, picture or clip out, with switches for everything that can go wrong."""

    keyed: ClassVar[bool] = True
    default_url: ClassVar[str] = "http://127.0.0.1:8001"

    async def submit(self, job: Job) -> Ticket | Result:
        body = {"model": job.target, "input": dict(job.inputs)}
        status, found = await self.call("POST", "/v1/jobs", body, {"Idempotency-Key": job.key})
        if status == 422:
            raise Refused(reason(found))
        if status not in {200, 201}:
            raise Broken(f"the lab answered {status} to a job")
        told = ended(found)
        return Ticket(str(found["id"])) if isinstance(told, Progress) else told

    async def poll(self, ticket: Ticket) -> Progress | Result:
        status, found = await self.call("GET", f"/v1/jobs/{ticket.job}")
        if status != 200:
            raise Broken("the lab does not know this job")
        return ended(found)

    async def cancel(self, ticket: Ticket) -> None:
        await self.call("POST", f"/v1/jobs/{ticket.job}/cancel")


def descriptions() -> tuple[Description, ...]:
    return Rehearsal.describe()


def ended(found: dict[str, Any]) -> Progress | Result:
    """A job as the lab tells it. Raises Refused, Broken."""
    match found.get("status"):
        case "queued" | "running":
            return progress(found.get("progress") or {})
        case "succeeded":
            return result(found)
        case "refused":
            raise Refused(reason(found))
        case _:
            raise Broken(reason(found))


def progress(found: dict[str, Any]) -> Progress:
    step, steps = found.get("step"), found.get("steps")
    if not isinstance(step, int) or not isinstance(steps, int):
        return Progress("running")
    return Progress("draw", step, steps)


def result(found: dict[str, Any]) -> Result:
    try:
        outputs = tuple(output(file) for file in found["outputs"])
        said = usage(found, {unit: ("usage", name) for name, unit in UNITS.items()})
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Broken("the lab's answer makes no sense") from None
    return Result(outputs, said)


def output(file: dict[str, Any]) -> Output:
    content = base64.b64decode(file.get("data", ""), validate=True)
    return Output(str(file["content_type"]), str(file.get("url", "")), content)


def reason(found: dict[str, Any]) -> str:
    error = found.get("error")
    message = error.get("message") if isinstance(error, dict) else None
    return str(message)[:300] if message else "The lab did not say why."

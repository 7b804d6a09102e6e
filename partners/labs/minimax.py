"""MiniMax's Hailuo video API, version 1.

Sources: platform.minimax.io/docs/api-reference (video generation, query, file retrieve, error
codes). Every answer is HTTP 200 with the truth in `base_resp`. A finished task names a file whose
address is asked for apart. Knows no idempotency key and no cancel; tells the picture's size, not
its length.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from partners.adapter import read_json
from partners.contract import Broken, Job, Progress, Refused, Result, Retry, Ticket, Unknown
from partners.reading import Place, text
from partners.shapes import Queued, State

CODE = ("base_resp", "status_code")
TROUBLED = frozenset({"1000", "1001", "1024", "1033"})  # errors and time-outs of its own
FINE, BUSY, UNSAFE_PROMPT, UNSAFE_CLIP, WRONG = "0", "1002", "1026", "1027", "2013"


class MiniMax(Queued):
    """Prompt or first picture in, clip out."""

    default_url: ClassVar[str] = "https://api.minimax.io"
    names: ClassVar[Mapping[str, str]] = {"seconds": "duration", "image": "first_frame_image"}
    states: ClassVar[Mapping[str, State]] = {
        "Preparing": "running",
        "Queueing": "running",
        "Processing": "running",
        "Success": "succeeded",
        "Fail": "failed",
    }
    receipt_at: ClassVar[Place] = ("task_id",)
    reasons_at: ClassVar[tuple[Place, ...]] = (CODE, ("base_resp", "status_msg"))
    refusals: ClassVar[Mapping[str, bool]] = {UNSAFE_PROMPT: False, UNSAFE_CLIP: True}
    files_at: ClassVar[Place] = ("file", "download_url")
    poll_at: ClassVar[str] = "/v1/query/video_generation?task_id={}"
    notice_as: ClassVar[str] = "callback_url"
    notice_at: ClassVar[Place] = ("task_id",)

    def asked(self, job: Job) -> tuple[str, dict[str, Any]]:
        return "/v1/video_generation", {"model": job.target} | self.renamed(job)

    def judge(self, status: int, found: Mapping[str, Any]) -> None:
        super().judge(status, found)
        code = text(found, CODE)
        if code == BUSY:
            raise Retry("the lab has its hands full", 5.0)
        if code in TROUBLED:
            raise Unknown(f"the lab answered {code} to a job that it may have")
        if code == WRONG:
            raise Refused(self.reason(found))
        if code not in {FINE, ""}:
            raise self.failure(found)

    def complains(self, found: Mapping[str, Any]) -> bool:
        return text(found, CODE) not in {FINE, ""}

    def answer_notice(self, body: bytes) -> dict[str, Any]:
        """It first asks whether the address is ours, and wants its challenge back."""
        challenge = read_json(body).get("challenge")
        return {} if challenge is None else {"challenge": str(challenge)[:200]}

    async def poll(self, ticket: Ticket) -> Progress | Result:
        found = await self.asked_for(self.poll_at.format(ticket.job))
        if self.states.get(text(found, self.status_at)) == "succeeded":
            file = text(found, ("file_id",))
            return self.result(await self.asked_for(f"/v1/files/retrieve?file_id={file}"))
        return self.told(found)

    async def asked_for(self, path: str) -> dict[str, Any]:
        status, found = await self.call("GET", path)
        if status != 200 or text(found, CODE) == WRONG:
            raise Broken("the lab does not know this job")
        if text(found, CODE) in TROUBLED:
            raise Retry("the lab is in trouble")
        self.judge(status, found)
        return found

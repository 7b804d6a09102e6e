"""Kuaishou's Kling API, with a token signed from an access key and a secret key.

Sources: app.klingai.com/global/dev/document-api (general information, text to video, callback). A
job may carry an `external_task_id`, unique in the account, and be asked for by it: a submission
of unknown fate is looked up under the run's name instead of being sent again. No cancel. The
secret is `access:secret`. HTTP 200 may bring a `code` that is an error.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

from partners.contract import Broken, Job, Result, Retry, SupplierError, Ticket, Unknown
from partners.reading import Place, text
from partners.shapes import RECEIPT, Queued, State

LIVES_SECONDS = 1800
BUSY = frozenset({"1302", "1303"})  # too fast, too many at once
TROUBLED = frozenset({"5000", "5001", "5002"})


class Kling(Queued):
    """Prompt in, clip out."""

    default_url: ClassVar[str] = "https://api.klingai.com"
    names: ClassVar[Mapping[str, str]] = {"seconds": "duration"}
    states: ClassVar[Mapping[str, State]] = {
        "submitted": "running",
        "processing": "running",
        "succeed": "succeeded",
        "failed": "failed",
    }
    receipt_at: ClassVar[Place] = ("data", "task_id")
    status_at: ClassVar[Place] = ("data", "task_status")
    reasons_at: ClassVar[tuple[Place, ...]] = (("code",), ("message",), ("data", "task_status_msg"))
    refusals: ClassVar[Mapping[str, bool]] = {"1301": False, "risk control": True}
    files_at: ClassVar[Place] = ("data", "task_result", "videos")
    file_at: ClassVar[Place] = ("url",)
    usage_at: ClassVar[Mapping[str, Place]] = {
        "video_second": ("data", "task_result", "videos", 0, "duration")
    }
    poll_at: ClassVar[str] = "/v1/videos/text2video/{}"
    notice_as: ClassVar[str] = "callback_url"
    notice_at: ClassVar[Place] = ("task_id",)

    def headers(self) -> dict[str, str]:
        access, _, secret = self.secret.partition(":")
        return {"Authorization": f"Bearer {token(access, secret, time.time())}"}

    def asked(self, job: Job) -> tuple[str, dict[str, Any]]:
        body = {"model_name": job.target, "external_task_id": job.key} | self.renamed(job)
        if "duration" in body:
            body["duration"] = str(body["duration"])
        return "/v1/videos/text2video", body

    def judge(self, status: int, found: Mapping[str, Any]) -> None:
        code = text(found, ("code",))
        if code in BUSY:
            raise Retry("the lab has its hands full", 5.0)
        if code in TROUBLED:
            raise Unknown(f"the lab answered {code} to a job that it may have")
        super().judge(400 if code == "1301" or code.startswith("120") else status, found)

    def complains(self, found: Mapping[str, Any]) -> bool:
        return text(found, ("code",)) not in {"0", ""}

    async def submit(self, job: Job) -> Ticket | Result:
        try:
            return await super().submit(job)
        except Unknown as unknown:
            with suppress(SupplierError):
                if ticket := await self.find(job.key):
                    return ticket
            raise unknown from None

    async def find(self, key: str) -> Ticket | None:
        try:
            _, found = await self.call("GET", self.poll_at.format(key))
        except Broken:
            return None
        receipt = text(found, self.receipt_at)
        return Ticket(receipt) if RECEIPT.fullmatch(receipt) else None


def token(access: str, secret: str, now: float) -> str:
    """A JSON Web Token (HS256) that is good from now on for half an hour."""
    head = {"alg": "HS256", "typ": "JWT"}
    claims = {"iss": access, "exp": int(now) + LIVES_SECONDS, "nbf": int(now) - 5}
    signed = ".".join(plain(json.dumps(part).encode()) for part in (head, claims))
    return f"{signed}.{plain(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256))}"


def plain(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

"""Luma's Dream Machine API.

Sources: docs.lumalabs.ai (video generation, errors, "Callbacks & Credits Balance"), the OpenAPI
file of `lumalabs/lumaai-api`. Knows no idempotency key; a notification is the generation itself,
unsigned and tried three times. Seconds go in as "5s" and do not come back, nor does a price.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from partners.contract import Job
from partners.reading import Place
from partners.shapes import Queued, State


class Luma(Queued):
    """Prompt or first picture in, clip out."""

    default_url: ClassVar[str] = "https://api.lumalabs.ai"
    states: ClassVar[Mapping[str, State]] = {
        "queued": "running",
        "dreaming": "running",
        "completed": "succeeded",
        "failed": "failed",
    }
    status_at: ClassVar[Place] = ("state",)
    reasons_at: ClassVar[tuple[Place, ...]] = (("failure_reason",), ("detail",))
    refusals: ClassVar[Mapping[str, bool]] = {
        "prompt not allowed": False,
        "moderation": True,
    }
    files_at: ClassVar[Place] = ("assets", "video")
    poll_at: ClassVar[str] = "/dream-machine/v1/generations/{}"
    cancel_at: ClassVar[tuple[str, str] | None] = ("DELETE", "/dream-machine/v1/generations/{}")
    cancels_in: ClassVar[frozenset[str]] = frozenset({"queued", "dreaming"})
    notice_as: ClassVar[str] = "callback_url"
    notice_at: ClassVar[Place] = ("id",)

    def asked(self, job: Job) -> tuple[str, dict[str, Any]]:
        body = {"model": job.target} | self.renamed(job, "seconds", "image")
        if "seconds" in job.inputs:
            body["duration"] = f"{job.inputs['seconds']}s"
        if "image" in job.inputs:
            body["keyframes"] = {"frame0": {"type": "image", "url": job.inputs["image"]}}
        return "/dream-machine/v1/generations", body

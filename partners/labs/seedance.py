"""ByteDance's Seedance through BytePlus ModelArk.

Sources: docs.byteplus.com/en/docs/ModelArk (create, retrieve, cancel or delete a video generation
task, error codes). Knows no idempotency key. DELETE cancels only what is queued and later deletes
the record, so that it is asked first. A notification is the task itself.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from partners.contract import Job
from partners.reading import Place
from partners.shapes import Queued, State

TASKS = "/api/v3/contents/generations/tasks"


class Seedance(Queued):
    """Prompt or first picture in, clip out."""

    default_url: ClassVar[str] = "https://ark.ap-southeast.bytepluses.com"
    names: ClassVar[Mapping[str, str]] = {
        "aspect_ratio": "ratio",
        "seconds": "duration",
        "sound": "generate_audio",
    }
    states: ClassVar[Mapping[str, State]] = {
        "queued": "running",
        "running": "running",
        "succeeded": "succeeded",
        "failed": "failed",
        "expired": "failed",
        "cancelled": "cancelled",
    }
    refusals: ClassVar[Mapping[str, bool]] = {
        "OutputVideo": True,
        "OutputAudio": True,
        "OutputText": True,
        "SensitiveContent": False,
        "RiskDetection": False,
    }
    files_at: ClassVar[Place] = ("content", "video_url")
    usage_at: ClassVar[Mapping[str, Place]] = {
        "video_second": ("duration",),
        "token": ("usage", "completion_tokens"),
    }
    poll_at: ClassVar[str] = TASKS + "/{}"
    cancel_at: ClassVar[tuple[str, str] | None] = ("DELETE", TASKS + "/{}")
    cancels_in: ClassVar[frozenset[str]] = frozenset({"queued"})
    notice_as: ClassVar[str] = "callback_url"
    notice_at: ClassVar[Place] = ("id",)

    def asked(self, job: Job) -> tuple[str, dict[str, Any]]:
        content: list[dict[str, Any]] = [{"type": "text", "text": job.inputs["prompt"]}]
        if "image" in job.inputs:
            frame = {"type": "image_url", "image_url": {"url": job.inputs["image"]}}
            content.append(frame | {"role": "first_frame"})
        body = {"model": job.target, "content": content}
        return TASKS, body | self.renamed(job, "prompt", "image")

"""Runway's API for developers, version 2024-11-06.

Sources: docs.dev.runwayml.com/api, docs.dev.runwayml.com/errors/task-failures, the generated
types of `runwayml/sdk-python`. Knows no idempotency key, sends no notifications, and tells
neither seconds nor price with a task. A moderated task costs as much as one that succeeds.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from partners.contract import Job
from partners.reading import Place
from partners.shapes import Queued, State


class Runway(Queued):
    """Prompt or first picture in, clip out."""

    default_url: ClassVar[str] = "https://api.dev.runwayml.com"
    names: ClassVar[Mapping[str, str]] = {
        "prompt": "promptText",
        "image": "promptImage",
        "aspect_ratio": "ratio",
        "seconds": "duration",
        "sound": "audio",
    }
    states: ClassVar[Mapping[str, State]] = {
        "PENDING": "running",
        "THROTTLED": "running",
        "RUNNING": "running",
        "SUCCEEDED": "succeeded",
        "FAILED": "failed",
        "CANCELLED": "cancelled",
    }
    reasons_at: ClassVar[tuple[Place, ...]] = (("failureCode",), ("failure",), ("error",))
    refusals: ClassVar[Mapping[str, bool]] = {
        "SAFETY.OUTPUT": True,
        "SAFETY.": False,
        "INPUT_PREPROCESSING.SAFETY": False,
    }
    progress_at: ClassVar[tuple[Place, int]] = (("progress",), 1)
    files_at: ClassVar[Place] = ("output",)
    poll_at: ClassVar[str] = "/v1/tasks/{}"
    cancel_at: ClassVar[tuple[str, str] | None] = ("DELETE", "/v1/tasks/{}")
    cancels_in: ClassVar[frozenset[str]] = frozenset({"PENDING", "THROTTLED", "RUNNING"})

    def headers(self) -> dict[str, str]:
        return super().headers() | {"X-Runway-Version": "2024-11-06"}

    def asked(self, job: Job) -> tuple[str, dict[str, Any]]:
        kind = "image_to_video" if "image" in job.inputs else "text_to_video"
        return f"/v1/{kind}", {"model": job.target} | self.renamed(job)

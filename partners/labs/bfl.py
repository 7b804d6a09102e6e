"""Black Forest Labs' FLUX API.

Sources: docs.bfl.ai (quick start, errors, get_result). Knows no idempotency key and no cancel. A
job lives in the cluster that took it: the global address answers questions only at the
`polling_url` of each job, one cluster's address at its own `get_result`, so that a receipt is
enough. What a job costs comes with the receipt, before anything is made, and not with the result.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from partners.contract import Job
from partners.reading import Place
from partners.shapes import Queued, State


class BlackForest(Queued):
    """Prompt in, picture out."""

    default_url: ClassVar[str] = "https://api.eu1.bfl.ai"
    content_type: ClassVar[str] = "image/png"
    states: ClassVar[Mapping[str, State]] = {
        "Pending": "running",
        "Ready": "succeeded",
        "Request Moderated": "refused",
        "Content Moderated": "refused_after",
        "Task not found": "failed",
        "Error": "failed",
    }
    reasons_at: ClassVar[tuple[Place, ...]] = (
        ("detail",),
        ("detail", 0, "msg"),
        ("details", "Moderation Reasons", 0),
        ("status",),
    )
    progress_at: ClassVar[tuple[Place, int]] = (("progress",), 1)
    files_at: ClassVar[Place] = ("result", "sample")
    poll_at: ClassVar[str] = "/v1/get_result?id={}"
    notice_as: ClassVar[str] = "webhook_url"
    notice_at: ClassVar[Place] = ("task_id",)

    def headers(self) -> dict[str, str]:
        return {"x-key": self.secret} if self.secret else {}

    def asked(self, job: Job) -> tuple[str, dict[str, Any]]:
        width, _, height = str(job.inputs.get("size", "1024x1024")).partition("x")
        size = {"width": int(width), "height": int(height), "output_format": "png"}
        return f"/v1/{job.target}", self.renamed(job, "size") | size

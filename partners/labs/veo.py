"""Google's Veo through the Gemini API: a long-running operation.

Sources: ai.google.dev/gemini-api/docs/video, the v1beta reference of `predictLongRunning` and
`PredictLongRunningGeneratedVideoResponse`. Knows no idempotency key, sends no notifications,
cannot be called off, and tells neither seconds nor price. A file is fetched with the key from the
lab's own address, which sends on to another that must not see the key.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from partners.contract import Job, Progress, Refused, Result
from partners.reading import Place, at, texts
from partners.shapes import Queued

VIDEOS = ("response", "generateVideoResponse")
FILTERED: Place = (*VIDEOS, "raiMediaFilteredReasons", 0)


class Veo(Queued):
    """Prompt in, clip out."""

    default_url: ClassVar[str] = "https://generativelanguage.googleapis.com"
    hops: ClassVar[int] = 1
    names: ClassVar[Mapping[str, str]] = {
        "aspect_ratio": "aspectRatio",
        "seconds": "durationSeconds",
        "negative_prompt": "negativePrompt",
    }
    receipt_at: ClassVar[Place] = ("name",)
    reasons_at: ClassVar[tuple[Place, ...]] = (("error", "status"), ("error", "message"))
    refusals: ClassVar[Mapping[str, bool]] = {"usage guidelines": False}
    files_at: ClassVar[Place] = (*VIDEOS, "generatedSamples")
    file_at: ClassVar[Place] = ("video", "uri")
    poll_at: ClassVar[str] = "/v1beta/{}"

    def headers(self) -> dict[str, str]:
        return {"x-goog-api-key": self.secret} if self.secret else {}

    def asked(self, job: Job) -> tuple[str, dict[str, Any]]:
        path = f"/v1beta/models/{job.target}:predictLongRunning"
        instances = [{"prompt": job.inputs["prompt"]}]
        return path, {"instances": instances, "parameters": self.renamed(job, "prompt")}

    def told(self, found: Mapping[str, Any]) -> Progress | Result:
        if at(found, ("error",)):
            raise self.failure(found)
        if at(found, ("done",)) is not True:
            return Progress("running")
        filtered = texts(found, (FILTERED,))
        if filtered and not at(found, self.files_at):
            raise Refused(filtered, generated=True)
        return self.result(found)

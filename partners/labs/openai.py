"""OpenAI's Images API. Its Videos API was shut down on 2026-09-24 and is left out.

Sources: developers.openai.com/api/reference (images, errors), the types of `openai-python`,
developers.openai.com/api/docs/guides/video-generation on the shutdown. Answers with the pictures
themselves. No idempotency key is documented. A blocked request may tell at which stage.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from partners.contract import Job
from partners.reading import Place, text
from partners.shapes import Immediate

STAGE = ("error", "moderation_details", "moderation_stage")


class OpenAI(Immediate):
    """Prompt in, pictures out."""

    default_url: ClassVar[str] = "https://api.openai.com"
    content_type: ClassVar[str] = "image/png"
    names: ClassVar[Mapping[str, str]] = {"count": "n"}
    refusals: ClassVar[Mapping[str, bool]] = {
        "moderation_blocked": False,
        "content_policy_violation": False,
    }
    files_at: ClassVar[Place] = ("data",)
    file_at: ClassVar[Place] = ("b64_json",)
    inline: ClassVar[bool] = True
    usage_at: ClassVar[Mapping[str, Place]] = {"token": ("usage", "output_tokens")}

    def asked(self, job: Job) -> tuple[str, dict[str, Any]]:
        body = {"model": job.target, "output_format": "png"}
        return "/v1/images/generations", body | self.renamed(job)

    def refusal(self, found: Mapping[str, Any]) -> bool | None:
        return True if text(found, STAGE) == "output" else super().refusal(found)

"""Google's Gemini image models. Imagen, which they replace, is deprecated and left out.

Sources: ai.google.dev/gemini-api/docs (image generation, `GenerateContentResponse`, block and
finish reasons), firebase.google.com/docs on Imagen's shutdown, from June 2026 on. Waits for the
picture and answers with it, words beside it. Knows no idempotency key and no cancel; counts tokens,
tells no price.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from partners.contract import Job
from partners.reading import Place, text
from partners.shapes import Immediate

BLOCKED, ENDED = ("promptFeedback", "blockReason"), ("candidates", 0, "finishReason")
UNSAFE = frozenset(
    {"SAFETY", "IMAGE_SAFETY", "PROHIBITED_CONTENT", "IMAGE_PROHIBITED_CONTENT", "BLOCKLIST",
     "RECITATION", "IMAGE_RECITATION", "SPII"}
)  # fmt: skip


class Gemini(Immediate):
    """Prompt in, picture out."""

    default_url: ClassVar[str] = "https://generativelanguage.googleapis.com"
    content_type: ClassVar[str] = "image/png"
    reasons_at: ClassVar[tuple[Place, ...]] = (
        ("error", "status"), ("error", "message"), BLOCKED, ENDED,
        ("candidates", 0, "finishMessage"),
    )  # fmt: skip
    files_at: ClassVar[Place] = ("candidates", 0, "content", "parts")
    file_at: ClassVar[Place] = ("inlineData", "data")
    inline: ClassVar[bool] = True
    usage_at: ClassVar[Mapping[str, Place]] = {"token": ("usageMetadata", "candidatesTokenCount")}

    def headers(self) -> dict[str, str]:
        return {"x-goog-api-key": self.secret} if self.secret else {}

    def asked(self, job: Job) -> tuple[str, dict[str, Any]]:
        wish: dict[str, Any] = {"responseModalities": ["IMAGE"]}
        if "aspect_ratio" in job.inputs:
            wish["imageConfig"] = {"aspectRatio": job.inputs["aspect_ratio"]}
        contents = [{"parts": [{"text": job.inputs["prompt"]}]}]
        path = f"/v1beta/models/{job.target}:generateContent"
        return path, {"contents": contents, "generationConfig": wish}

    def refusal(self, found: Mapping[str, Any]) -> bool | None:
        if text(found, BLOCKED):
            return False
        return True if text(found, ENDED) in UNSAFE else None

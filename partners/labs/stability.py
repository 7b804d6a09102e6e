"""Stability's Stable Image API, version 2 beta.

Sources: platform.stability.ai/docs/api-reference (Generate). Takes a form, waits for the picture
and answers with it. Knows no idempotency key and no cancel, and tells neither a count nor a
price.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import aiohttp

from partners.contract import Job, Refused, Result
from partners.reading import Place, text
from partners.shapes import Immediate


class Stability(Immediate):
    """Prompt in, picture out."""

    default_url: ClassVar[str] = "https://api.stability.ai"
    content_type: ClassVar[str] = "image/png"
    reasons_at: ClassVar[tuple[Place, ...]] = (("name",), ("errors", 0))
    refusals: ClassVar[Mapping[str, bool]] = {"content_moderation": False}
    files_at: ClassVar[Place] = ("image",)
    inline: ClassVar[bool] = True

    def headers(self) -> dict[str, str]:
        return super().headers() | {"Accept": "application/json"}

    async def hand_in(self, job: Job) -> dict[str, Any]:
        form = aiohttp.FormData(default_to_multipart=True)
        for name, value in self.renamed(job).items():
            form.add_field(name, str(value))
        form.add_field("output_format", "png")
        path = f"/v2beta/stable-image/generate/{job.target}"
        status, found = await self.post_once(path, data=form)
        self.judge(status, found)
        return found

    def result(self, found: Mapping[str, Any]) -> Result:
        if text(found, ("finish_reason",)) == "CONTENT_FILTERED":
            raise Refused("The lab found its picture unsafe.", generated=True)
        return super().result(found)

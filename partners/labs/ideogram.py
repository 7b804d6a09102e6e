"""Ideogram's API, version 2.

Sources: developer.ideogram.ai (quickstart, API reference). Waits for the picture and answers with
its address; one that is not safe comes without an address. Knows no idempotency key and no
cancel, and tells neither a count nor a price.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from partners.contract import Job, Output, Refused
from partners.reading import Place, at, entries
from partners.shapes import Immediate


class Ideogram(Immediate):
    """Prompt in, picture out."""

    default_url: ClassVar[str] = "https://api.ideogram.ai"
    content_type: ClassVar[str] = "image/png"
    reasons_at: ClassVar[tuple[Place, ...]] = (("error",), ("detail",), ("message",))
    files_at: ClassVar[Place] = ("data",)
    file_at: ClassVar[Place] = ("url",)

    def headers(self) -> dict[str, str]:
        return {"Api-Key": self.secret} if self.secret else {}

    def asked(self, job: Job) -> tuple[str, dict[str, Any]]:
        return f"/v2/image/generate/{job.target}", self.renamed(job)

    def files(self, found: Mapping[str, Any]) -> tuple[Output, ...]:
        made = entries(found, self.files_at)
        if made and all(at(each, ("is_image_safe",)) is False for each in made):
            raise Refused("The lab found its picture unsafe.", generated=True)
        return super().files(found)

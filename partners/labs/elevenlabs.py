"""ElevenLabs: speech from text, and sounds from words.

Sources: elevenlabs.io/docs/api-reference (text to speech, create sound effect, authentication,
errors). Waits and answers with the sound itself; the header `character-cost` tells the characters
that it counts. Knows no idempotency key and no cancel. A refusal is `detail` with a status.
"""

import base64
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

import aiohttp

from partners.adapter import read_capped, read_receipt
from partners.contract import Broken, Job, Unknown
from partners.reading import Place
from partners.shapes import Immediate

SOUND_BYTES = 32 * 1024 * 1024
SOUNDS = "eleven_text_to_sound"
FORMAT = "output_format=mp3_44100_128"


class ElevenLabs(Immediate):
    """Text in, sound out."""

    default_url: ClassVar[str] = "https://api.elevenlabs.io"
    content_type: ClassVar[str] = "audio/mpeg"
    reasons_at: ClassVar[tuple[Place, ...]] = (("detail", "status"), ("detail", "message"))
    refusals: ClassVar[Mapping[str, bool]] = {"against_policy": False, "moderat": False}
    files_at: ClassVar[Place] = ("sound",)
    inline: ClassVar[bool] = True
    usage_at: ClassVar[Mapping[str, Place]] = {"character": ("cost",)}

    def headers(self) -> dict[str, str]:
        return {"xi-api-key": self.secret} if self.secret else {}

    def asked(self, job: Job) -> tuple[str, dict[str, Any]]:
        words = job.inputs.get("text", job.inputs.get("prompt"))
        body = {"text": words, "model_id": job.target}
        if job.target.startswith(SOUNDS):
            if "seconds" in job.inputs:
                body["duration_seconds"] = job.inputs["seconds"]
            return f"/v1/sound-generation?{FORMAT}", body
        voice = quote(str(job.inputs["voice"]), safe="")
        return f"/v1/text-to-speech/{voice}?{FORMAT}", body

    async def hand_in(self, job: Job) -> dict[str, Any]:
        path, body = self.asked(job)
        status, found = await self.post_once(path, read=heard, json=body)
        self.judge(status, found)
        return found


async def heard(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    """The sound as base64, and what it cost; JSON where it is none. Raises Unknown."""
    if answer.status != 200 or not answer.content_type.startswith("audio/"):
        return await read_receipt(answer)
    try:
        content = await read_capped(answer, SOUND_BYTES)
    except Broken as error:
        raise Unknown(error.message) from error
    sound = base64.b64encode(content).decode()
    return {"sound": sound or None, "cost": answer.headers.get("character-cost")}

"""ElevenLabs' sounds."""

from typing import Any

from tests.contract.counterfeit import FILE, NO_LENGTH, Says, Shape


def made(cost: str, content: bytes = FILE) -> Says:
    return Says(content, 200, {"Content-Type": "audio/mpeg", "character-cost": cost})


def error(status: str, message: str) -> dict[str, Any]:
    return {"detail": {"status": status, "message": message}}


SHAPE = Shape(
    submit="/v1/text-to-speech/voice-1?output_format=mp3_44100_128",
    proof=("xi-api-key", "access:secret"),
    inputs={"text": "At dusk.", "voice": "voice-1"},
    receipt=error("unfinished", "an answer that breaks off"),
    states={
        "succeeded": made("8"),
        "empty": made("8", b""),
        "failed": Says(error("voice_unavailable", "The voice is not ready."), 403),
    },
    invalid=Says(error("invalid_voice_settings", "Stability is out of range."), 422),
    policy_before=Says(error("content_against_policy", "This may not be said."), 400),
    error_200=error("voice_unavailable", "The voice is not ready."),
    lies={"wrong_price": (made("NaN"), {})},
    cannot={
        "wrong_length": NO_LENGTH,
        "policy_after": "it judges the words, before it speaks them",
        "huge_file": "its sound is the answer, whose size is capped",
    },
)

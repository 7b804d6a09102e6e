"""Gemini's pictures."""

from typing import Any

from tests.contract.counterfeit import NO_LENGTH, Says, Shape


def made(tokens: Any) -> dict[str, Any]:
    parts = [{"text": "Here it is."}, {"inlineData": {"mimeType": "image/png", "data": "$b64"}}]
    told = {"content": {"parts": parts, "role": "model"}, "finishReason": "STOP"}
    return {"candidates": [told], "usageMetadata": {"candidatesTokenCount": tokens}}


def ended(reason: str) -> dict[str, Any]:
    return {"candidates": [{"finishReason": reason, "finishMessage": "It was not made."}]}


def error(code: int, status: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "status": status, "message": message}}


SHAPE = Shape(
    submit="/v1beta/models/model-1:generateContent",
    proof=("x-goog-api-key", "access:secret"),
    inputs={"prompt": "dusk", "aspect_ratio": "16:9"},
    states={
        "succeeded": made(1290),
        "empty": {"candidates": [{"content": {"parts": [{"text": "No."}]}}]},
        "failed": ended("NO_IMAGE"),
        "policy_before": {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}},
        "policy_after": ended("IMAGE_SAFETY"),
    },
    invalid=Says(error(400, "INVALID_ARGUMENT", "Invalid aspect ratio."), 400),
    error_200=error(403, "PERMISSION_DENIED", "The caller has no permission."),
    lies={"wrong_price": (made("-1"), {})},
    cannot={
        "wrong_length": NO_LENGTH,
        "huge_file": "its files come inside the answer, whose size is capped",
    },
)

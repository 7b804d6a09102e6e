"""OpenAI's pictures."""

from typing import Any

from tests.contract.counterfeit import NO_LENGTH, Says, Shape


def made(tokens: Any) -> dict[str, Any]:
    return {"created": 1, "data": [{"b64_json": "$b64"}], "usage": {"output_tokens": tokens}}


def error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "type": "invalid_request_error"}}


SHAPE = Shape(
    submit="/v1/images/generations",
    proof=("Authorization", "Bearer access:secret"),
    states={
        "succeeded": made(4160),
        "empty": {"created": 1, "data": []},
        "failed": error("image_generation_error", "It could not be drawn."),
    },
    invalid=Says(error("invalid_value", "Invalid value: '7x7'."), 400),
    policy_before=Says(error("moderation_blocked", "Rejected by the safety system."), 400),
    error_200=error("billing_hard_limit_reached", "Billing hard limit has been reached."),
    lies={"wrong_price": (made(-5), {})},
    cannot={
        "policy_after": "a blocked request does not tell whether it had drawn",
        "wrong_length": NO_LENGTH,
        "huge_file": "its files come inside the answer, whose size is capped",
    },
)

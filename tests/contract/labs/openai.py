"""OpenAI's pictures."""

from typing import Any

from tests.contract.counterfeit import NO_LENGTH, Says, Shape


def made(tokens: Any) -> dict[str, Any]:
    return {"created": 1, "data": [{"b64_json": "$b64"}], "usage": {"output_tokens": tokens}}


def error(code: str, message: str, **more: Any) -> dict[str, Any]:
    told = {"code": code, "message": message, "type": "image_generation_user_error"}
    return {"error": told | more}


def blocked(stage: str) -> Says:
    details = {"moderation_stage": stage, "categories": ["violence"]}
    told = error("moderation_blocked", "It was rejected.", moderation_details=details)
    return Says(told, 400)


SHAPE = Shape(
    submit="/v1/images/generations",
    proof=("Authorization", "Bearer access:secret"),
    states={
        "succeeded": made(4160),
        "empty": {"created": 1, "data": []},
        "failed": error("image_generation_error", "It could not be drawn."),
        "policy_after": blocked("output"),
    },
    invalid=Says(error("invalid_value", "Invalid value: '7x7'."), 400),
    policy_before=blocked("input"),
    error_200=error("billing_hard_limit_reached", "Billing hard limit has been reached."),
    lies={"wrong_price": (made(-5), {})},
    cannot={
        "wrong_length": NO_LENGTH,
        "huge_file": "its files come inside the answer, whose size is capped",
    },
)

"""Stability."""

from typing import Any

from tests.contract.counterfeit import NO_LENGTH, NO_PRICE, Says, Shape


def error(name: str, words: str) -> dict[str, Any]:
    return {"id": "$id", "name": name, "errors": [words]}


SHAPE = Shape(
    submit="/v2beta/stable-image/generate/core",
    proof=("Authorization", "Bearer access:secret"),
    target="core",
    states={
        "succeeded": {"image": "$b64", "finish_reason": "SUCCESS", "seed": 1},
        "empty": {"finish_reason": "SUCCESS", "seed": 1},
        "failed": error("internal_error", "It could not be drawn."),
        "policy_after": {"image": "$b64", "finish_reason": "CONTENT_FILTERED", "seed": 1},
    },
    invalid=Says(error("bad_request", "some-field: is required"), 400),
    policy_before=Says(error("content_moderation", "Your request was flagged."), 403),
    error_200=error("payment_required", "You lack credits."),
    cannot={
        "wrong_length": NO_LENGTH,
        "wrong_price": NO_PRICE,
        "huge_file": "its file comes inside the answer, whose size is capped",
    },
)

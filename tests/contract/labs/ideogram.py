"""Ideogram."""

from tests.contract.counterfeit import NO_LENGTH, NO_PRICE, Says, Shape

SHAPE = Shape(
    submit="/v2/image/generate/model-1",
    proof=("Api-Key", "access:secret"),
    states={
        "succeeded": {"generation_id": "$id", "data": [{"url": "$url", "is_image_safe": True}]},
        "empty": {"generation_id": "$id", "data": []},
        "failed": {"error": "Generation failed."},
        "policy_after": {"generation_id": "$id", "data": [{"url": "", "is_image_safe": False}]},
    },
    invalid=Says({"error": "resolution is not supported"}, 400),
    policy_before=Says({"error": "Prompt failed the safety check"}, 422),
    error_200={"error": "Insufficient credits"},
    cannot={"wrong_length": NO_LENGTH, "wrong_price": NO_PRICE},
)

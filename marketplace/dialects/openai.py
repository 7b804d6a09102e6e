"""OpenAI's API of images and models, and how all of its surface says errors.

Videos are `openai_videos`'s. A client's own retries are steered by `x-should-retry`: what a second
try cannot mend says false, so that no client starts a second run for it.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from marketplace import body, errors
from marketplace.dialects import openai_errors, openai_videos, openai_webhooks
from marketplace.dialects.contract import Desk, Reply, Request, Route, Row, Surface
from marketplace.dialects.openai_errors import failure
from marketplace.dialects.openai_forms import Asked, asked
from marketplace.dialects.submission import Wish, start
from marketplace.media import store
from marketplace.metering.offer import Offer
from marketplace.runs.view import TERMINAL, as_json

LONGEST_RUN = 590.0  # seconds; the clients read for 600
MOST_PARTIAL = 3
FORMATS = ("url", "b64_json")
# What may be said although no release has a word for it: it changes nothing.
PLAIN = {
    "quality": ("auto", "standard"),
    "background": ("auto", "opaque"),
    "moderation": ("auto", "low"),
}


# ── images ────────────────────────────────────────────────────────────────────────────────────


async def generate(desk: Desk, request: Request) -> Reply:
    """Pictures from words, as base64 unless `response_format` is url."""
    await desk.caller(request, needs="run")
    return await pictured(desk, request, Asked(body.read(request.body)), "image_generation")


async def edit(desk: Desk, request: Request) -> Reply:
    """Pictures from pictures: a form with one file or several."""
    await desk.caller(request, needs="run")
    async with asked(desk, request, files={"image": "image", "mask": "mask"}) as said:
        return await pictured(desk, request, said, "image_edit")


async def pictured(desk: Desk, request: Request, said: Asked, kind: str) -> Reply:
    form = said.choice("response_format", FORMATS, "b64_json")
    partial = said.number("partial_images", 0, MOST_PARTIAL, 0)
    streamed = said.truth("stream")
    row = await begun(desk, request, said)
    if streamed:
        return Reply(streaming(desk, row, kind, partial))
    if row["state"] not in TERMINAL:
        row = await desk.finished(UUID(row["id"]), LONGEST_RUN) or row
    if row["state"] != "succeeded":
        return failure(row)
    return Reply(await answer(row, form))


async def begun(desk: Desk, request: Request, said: Asked) -> Row:
    """Admit the run. Raises Kinora's errors."""
    caller = await desk.caller(request, needs="run")
    offer = await desk.offer(said.text("model"), caller)
    if offer.output_kind != "image":
        raise errors.InvalidInput(f"{offer.model} makes no images.", param="model")
    for name, values in PLAIN.items():
        if name not in offer.schema.get("properties", {}):
            said.plain(name, values)
    said.plain("output_format", (extension(offer), "auto"))
    user = said.taken("user") or said.taken("safety_identifier")
    wish = Wish(model=offer.full_name, arguments=said.rest(), user=user, waits=True)
    return (await start(desk, request, wish)).row


def extension(offer: Offer) -> str:
    return offer.content_type.partition("/")[2]


async def answer(row: Row, form: str) -> dict[str, Any]:
    """The reply of a finished run; `size` is what was measured."""
    run = as_json(row)
    first = run["outputs"][0]
    if form == "url":
        data = [{"url": made["url"]} for made in run["outputs"]]
    else:
        data = [{"b64_json": await encoded(made["path"])} for made in row["outputs"]]
    return {
        "created": seconds(row["finished_at"]),
        "data": data,
        "output_format": first["content_type"].partition("/")[2],
        "size": f"{first['width']}x{first['height']}",
    }


def seconds(at: str) -> int:
    return int(datetime.fromisoformat(at).timestamp())


async def encoded(path: str) -> str:
    """The file in base64, read beside the event loop."""
    return await asyncio.to_thread(read_encoded, path)


def read_encoded(path: str) -> str:
    with store.local(path) as file:
        return base64.b64encode(file.read_bytes()).decode()


# ── streams ───────────────────────────────────────────────────────────────────────────────────


async def streaming(desk: Desk, row: Row, kind: str, partial: int) -> AsyncIterator[bytes]:
    """Previews as partial images, evenly over the steps; then every picture, or the error."""
    shown = 0
    async for now in desk.changes(UUID(row["id"])):
        if now is None:
            yield b": keep-alive\n\n"
        elif now["state"] in TERMINAL:
            async for chunk in ended(now, kind):
                yield chunk
        elif shown < partial and (preview := due(now, shown, partial)):
            yield event(f"{kind}.partial_image", partial_image(preview, shown))
            shown += 1


async def ended(row: Row, kind: str) -> AsyncIterator[bytes]:
    if row["state"] != "succeeded":
        yield b"data: " + orjson.dumps(failure(row).body) + b"\n\n"
        return
    for made in as_json(row)["outputs"]:
        path = next(o["path"] for o in row["outputs"] if o["sha256"] == made["sha256"])
        told = {
            "b64_json": await encoded(path),
            "created_at": seconds(row["finished_at"]),
            "size": f"{made['width']}x{made['height']}",
            "output_format": made["content_type"].partition("/")[2],
            "background": "opaque",
            "quality": "auto",
        }
        yield event(f"{kind}.completed", told)


def due(row: Row, shown: int, partial: int) -> str | None:
    """The preview, once the run is far enough for the next partial image."""
    told = row["progress"]
    if not told or not told["preview"] or not told["steps"]:
        return None
    far = told["step"] * (partial + 1) >= (shown + 1) * told["steps"]
    return str(told["preview"]) if far else None


def partial_image(preview: str, place: int) -> dict[str, Any]:
    """preview: a data URI."""
    head, _, data = preview.partition(",")
    return {
        "b64_json": data,
        "partial_image_index": place,
        "output_format": head.partition("/")[2].partition(";")[0],
        "created_at": int(datetime.now(UTC).timestamp()),
        "size": "auto",
        "quality": "auto",
        "background": "opaque",
    }


def event(kind: str, told: Mapping[str, Any]) -> bytes:
    return f"event: {kind}\ndata: ".encode() + orjson.dumps({"type": kind, **told}) + b"\n\n"


# ── models ────────────────────────────────────────────────────────────────────────────────────


async def models(desk: Desk, request: Request) -> Reply:
    """What is on sale, and the other names that lead to it."""
    caller = await desk.caller(request, needs="read")
    offers = await desk.offers(caller)
    named = {name: offer for name, offer in offers.items() if "@" not in name}
    also = {name: named[model] for name, model in (await desk.aliases()).items() if model in named}
    return Reply({"object": "list", "data": [model_json(n, o) for n, o in (named | also).items()]})


async def model(desk: Desk, request: Request, model: str) -> Reply:
    caller = await desk.caller(request, needs="read")
    return Reply(model_json(model, await desk.offer(model, caller)))


def model_json(name: str, offer: Offer) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": seconds(offer.published_at),
        "owned_by": offer.model.partition("/")[0],
    }


ROUTES = (
    Route("POST", "/v1/images/generations", generate, keyed=True),
    Route("POST", "/v1/images/edits", edit, streams=True, keyed=True),
    Route("POST", "/v1/images/variations", edit, streams=True, keyed=True),
    Route("GET", "/v1/models", models),
    Route("GET", "/v1/models/{model:path}", model),
    *openai_videos.ROUTES,
    *openai_webhooks.ROUTES,
)
SURFACE = Surface(
    ("/v1/",), ROUTES, openai_errors.refused, ("x-request-id",), openai_errors.allowed
)

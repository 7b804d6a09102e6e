"""OpenAI's API of videos: create, edit, remix, read, list, content, delete.

Its own service has closed; programs written for it find a home here. There is no `cancelled`
status: a cancelled run is `failed` with the code `canceled`.
"""

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from marketplace import body, errors, ids
from marketplace.dialects.contract import Desk, Handler, Reply, Request, Route, Row
from marketplace.dialects.openai_forms import asked
from marketplace.dialects.submission import Wish, start
from marketplace.media import stills
from marketplace.runs.view import as_json
from marketplace.webhooks.schemes import Event

STATUS = {"queued": "queued", "running": "in_progress", "succeeded": "completed"}
POLL = {"openai-poll-after-ms": "500"}
MOST = 100
VARIANTS = ("video", *stills.KINDS)


async def create(desk: Desk, request: Request) -> Reply:
    """Start a clip; a form or JSON."""
    caller = await desk.caller(request, needs="run")
    files = {"input_reference": "image"}
    async with asked(desk, request, files=files) as said:
        offer = await desk.offer(said.text("model"), caller)
        if offer.output_kind != "video":
            raise errors.InvalidInput(f"{offer.model} makes no videos.", param="model")
        user = said.taken("user") or said.taken("safety_identifier")
        wish = Wish(model=offer.full_name, arguments=said.rest(), user=user)
        return Reply(video((await start(desk, request, wish)).row), headers=POLL)


async def remix(desk: Desk, request: Request, video_id: str) -> Reply:
    """The same clip from other words: all inputs of the first, with a new prompt."""
    await desk.caller(request, needs="run")
    prompt = body.read(request.body).get("prompt")
    if not isinstance(prompt, str) or not prompt:
        raise errors.InvalidInput("prompt is required, as text.", param="prompt")
    row = await owned(desk, request, video_id)
    arguments = row["inputs"] | {"prompt": prompt}
    wish = Wish(model=f"{row['model']}@{row['release']}", arguments=arguments)
    found = video((await start(desk, request, wish)).row)
    return Reply(found | {"remixed_from_video_id": video_id}, headers=POLL)


async def edit(desk: Desk, request: Request) -> Reply:
    """A clip from another one: one of the team's by its id, or a file.

    The model is the one that made it, unless `model` says another. Raises InvalidInput where it
    takes no clip.
    """
    caller = await desk.caller(request, needs="run")
    async with asked(desk, request, files={"video": "video"}) as said:
        given = said.text("video")
        model = said.taken("model")
        if ids.private("run", given):
            source = await owned(desk, request, given)
            given = made_by(source)
            model = model or source["model"]
        if not isinstance(model, str):
            raise errors.InvalidInput("model is required beside a file, as text.", param="model")
        offer = await desk.offer(model, caller)
        if "video" not in offer.schema.get("properties", {}) or offer.output_kind != "video":
            raise errors.InvalidInput(f"{offer.model} edits no videos.", param="model")
        user = said.taken("user") or said.taken("safety_identifier")
        wish = Wish(model=offer.full_name, arguments=said.rest() | {"video": given}, user=user)
        return Reply(video((await start(desk, request, wish)).row), headers=POLL)


def made_by(row: Row) -> str:
    """The address of a run's clip. Raises InvalidInput where there is none, or no more of it."""
    url = next((made["url"] for made in as_json(row)["outputs"]), None)
    if not url:
        raise errors.InvalidInput("video has no content, or no more of it.", param="video")
    return str(url)


def video(row: Row) -> dict[str, Any]:
    """The video object. size and seconds: as measured, or as asked until then."""
    run = as_json(row)
    made = run["outputs"][0] if run["outputs"] else None
    return {
        "id": run["id"],
        "object": "video",
        "model": run["model"],
        "status": STATUS.get(run["state"], "failed"),
        "progress": progress(run),
        "created_at": instant(run["created_at"]),
        "completed_at": instant(run["finished_at"]) if run["state"] == "succeeded" else None,
        "expires_at": instant(made["expires_at"]) if made else None,
        "seconds": length(run["inputs"], made),
        "size": f"{made['width']}x{made['height']}" if made else said_size(run["inputs"]),
        "prompt": run["inputs"].get("prompt"),
        "remixed_from_video_id": None,
        "error": fault(run),
    }


def progress(run: dict[str, Any]) -> int:
    if run["state"] == "succeeded":
        return 100
    told = run["progress"]
    return 100 * told["step"] // told["steps"] if told and told["steps"] else 0


def instant(text: str | None) -> int | None:
    return int(datetime.fromisoformat(text).timestamp()) if text else None


def length(inputs: dict[str, Any], made: dict[str, Any] | None) -> str:
    found = made["seconds"] if made else inputs.get("seconds", inputs.get("duration", ""))
    return f"{round(found)}" if isinstance(found, float) else str(found)


def said_size(inputs: dict[str, Any]) -> str:
    return str(inputs.get("size") or inputs.get("resolution") or "auto")


def fault(run: dict[str, Any]) -> dict[str, str] | None:
    if run["state"] == "cancelled":
        return {"code": "canceled", "message": "The video was cancelled."}
    if run["state"] != "failed":
        return None
    told = run["error"] or {}
    return {"code": told.get("code") or "failed", "message": told.get("message") or "It failed."}


# ── read, list, content, delete ───────────────────────────────────────────────────────────────


async def owned(desk: Desk, request: Request, video_id: str) -> Row:
    caller = await desk.caller(request, needs="read")
    run_id = ids.private("run", video_id)
    row = await desk.run(run_id) if run_id else None
    if row is None or row["team_id"] != str(caller.team_id) or row["output_kind"] != "video":
        raise errors.NotFound(f"There is no video {video_id[:80]}.", param="video_id")
    return row


async def read(desk: Desk, request: Request, video_id: str) -> Reply:
    return Reply(video(await owned(desk, request, video_id)), headers=POLL)


async def content(desk: Desk, request: Request, video_id: str) -> Reply:
    """Leads to the file, whose address is signed; or a picture of the clip, drawn now."""
    variant = request.query.get("variant", "video")
    if variant not in VARIANTS:
        raise errors.InvalidInput(f"variant must be one of {', '.join(VARIANTS)}.", param="variant")
    row = await owned(desk, request, video_id)
    url = next((made["url"] for made in as_json(row)["outputs"]), None)
    if not url:
        raise errors.NotFound("There is no content, or no more of it.", param="video_id")
    if variant == "video":
        return Reply(b"", 302, {"location": url, "content-type": "text/plain"})
    picture = await asyncio.to_thread(stills.drawn, row["outputs"][0]["path"], variant)
    return Reply(picture, headers={"content-type": stills.KINDS[variant]})


async def listing(desk: Desk, request: Request) -> Reply:
    """The team's videos, newest first, or oldest first where `order` is asc."""
    caller = await desk.caller(request, needs="read")
    limit = page_size(request.query.get("limit", "20"))
    order = request.query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise errors.InvalidInput("order must be asc or desc.", param="order")
    after = request.query.get("after")
    past = ids.private("run", after) if after else None
    if after and past is None:
        raise errors.InvalidInput("after must be the id of a video.", param="after")
    only, rising = {"output_kind": "video"}, order == "asc"
    team_id, most = caller.team_id, limit + 1
    rows = await desk.runs(team_id, before=past, only=only, limit=most, rising=rising)
    page = [video(row) for row in rows[:limit]]
    edge = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {}
    told = {"object": "list", "data": page, "first_id": None, "last_id": None} | edge
    return Reply(told | {"has_more": len(rows) > limit})


def page_size(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MOST:
        raise errors.InvalidInput(f"limit must be from 1 to {MOST}.", param="limit")
    return int(text)


async def delete(desk: Desk, request: Request, video_id: str) -> Reply:
    """Ends a run that goes on and takes its file away; the record of what it cost stays."""
    row = await owned(desk, request, video_id)
    caller = await desk.caller(request, needs="run")
    await desk.forget(UUID(row["id"]), caller.team_id)
    return Reply({"id": video_id, "object": "video.deleted", "deleted": True})


def unsupported(what: str) -> Handler:
    async def refuse(desk: Desk, request: Request, **_path: str) -> Reply:
        await desk.caller(request, needs="read")
        raise errors.InvalidInput(f"No model here {what}.", param="model")

    return refuse


async def no_character(desk: Desk, request: Request, character: str) -> Reply:
    await desk.caller(request, needs="read")
    raise errors.NotFound(f"There is no character {character[:80]}.", param="character_id")


def render(row: Row, event: Event) -> bytes | None:
    """What a webhook of OpenAI's kind sends; pictures have no such event."""
    if row["output_kind"] != "video":
        return None
    return orjson.dumps(
        {
            "id": event.id,
            "object": "event",
            "created_at": int(event.at.timestamp()),
            "type": event.type,
            "data": {"id": ids.public("run", UUID(row["id"]))},
        }
    )


VIDEOS = "/v1/videos"
ROUTES = (
    Route("POST", VIDEOS, create, streams=True, keyed=True),
    Route("GET", VIDEOS, listing),
    Route("POST", f"{VIDEOS}/edits", edit, streams=True, keyed=True),
    Route("POST", f"{VIDEOS}/extensions", unsupported("extends videos")),
    Route("POST", f"{VIDEOS}/characters", unsupported("keeps characters")),
    Route("GET", f"{VIDEOS}/characters/{{character}}", no_character),
    Route("GET", f"{VIDEOS}/{{video_id}}", read),
    Route("DELETE", f"{VIDEOS}/{{video_id}}", delete),
    Route("GET", f"{VIDEOS}/{{video_id}}/content", content),
    Route("POST", f"{VIDEOS}/{{video_id}}/remix", remix, keyed=True),
)

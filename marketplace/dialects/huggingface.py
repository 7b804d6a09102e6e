"""Hugging Face's InferenceClient: a model by its address, and where its providers find a model.

With an address as the model, the client posts `{"inputs", "parameters"}` and reads bytes back. Its
fal-ai and replicate providers speak those dialects; here they only learn which model is meant.
"""

import asyncio
from typing import Any
from uuid import UUID

from marketplace import body, errors
from marketplace.dialects.contract import Desk, Reply, Request, Route, Row, Surface
from marketplace.dialects.openai_forms import chunks, whole
from marketplace.dialects.submission import Wish, start
from marketplace.dialects.vocabulary import Unfit
from marketplace.media import accept, store
from marketplace.media.lifetime import lifetime
from marketplace.metering.offer import Offer
from marketplace.runs.view import TERMINAL

LONGEST_RUN = 590.0  # seconds
JSON = "application/json"
PROVIDERS = ("fal-ai", "replicate")


async def infer(desk: Desk, request: Request, model: str) -> Reply:
    """The first output's bytes. `inputs` is the prompt or a picture; `parameters` the rest."""
    offer = await desk.offer(model, await desk.caller(request, needs="run"))
    asked = await arguments(desk, request, offer)
    wish = Wish(model=offer.full_name, arguments=asked, waits=True)
    row = (await start(desk, request, wish)).row
    if row["state"] not in TERMINAL:
        row = await desk.finished(UUID(row["id"]), LONGEST_RUN) or row
    return await delivered(row)


async def arguments(desk: Desk, request: Request, offer: Offer) -> Row:
    """What is asked for: the prompt, or the picture of a model that begins with one.

    A picture alone may be the whole body, as large as a file may be. A model that may do without
    gets one where the prompt is a parameter. Raises MalformedBody, TooLarge, InvalidInput.
    """
    begins = offer.task.startswith("image-to-")
    takes = begins or "image" in offer.schema.get("properties", {})
    kind = request.headers.get("content-type", "").partition(";")[0]
    if takes and kind != JSON:
        caller = await desk.caller(request, needs="run")
        wish = accept.wish(caller.team_id, lifetime(), param="inputs")
        return {"image": (await desk.files.receive(chunks(request), wish)).public_id}
    said = body.read(await whole(request))
    parameters, inputs = said.get("parameters") or {}, said.get("inputs")
    if not isinstance(parameters, dict):
        raise errors.InvalidInput("parameters must be an object.", param="parameters")
    if not isinstance(inputs, str):
        raise errors.InvalidInput("inputs must be text.", param="inputs")
    if "target_size" in parameters:  # their word for a picture's size
        parameters["image_size"] = parameters.pop("target_size")
    pictured = begins or (takes and "prompt" in parameters)  # words beside are told there
    return {"image": uri(inputs)} | parameters if pictured else {"prompt": inputs} | parameters


def uri(content: str) -> str:
    return f"data:application/octet-stream;base64,{content}"


async def delivered(row: Row) -> Reply:
    """The bytes, or why there are none."""
    if row["state"] != "succeeded" or not row["outputs"]:
        told = (row["error"] or {}).get("message") or f"The run {row['state']}."
        refused_by_lab = row["outcome"] in ("refused_before", "refused_after", "invalid_input")
        return Reply({"error": told}, 400 if refused_by_lab else 500)
    made = row["outputs"][0]
    found = await asyncio.to_thread(read, made["path"])
    return Reply(found, headers={"content-type": made["content_type"]})


def read(path: str) -> bytes:
    with store.local(path) as file:
        return file.read_bytes()


async def mapping(desk: Desk, request: Request, model: str) -> Reply:
    """Which of our models a provider should ask for. Read without a key, as on the Hub."""
    offer = await desk.offer(model, await desk.visitor(request))
    told: dict[str, Any] = {"status": "live", "providerId": offer.model, "task": offer.task}
    return Reply(
        {
            "id": model,
            "pipeline_tag": offer.task,
            "inferenceProviderMapping": dict.fromkeys(PROVIDERS, told),
        }
    )


def refused(error: errors.KinoraError) -> Reply:
    """`error` is text; `param` says which word is meant where one is."""
    found = {"error": error.message, "error_type": error.code, "param": error.param}
    status = 400 if isinstance(error, Unfit) else error.status
    return Reply(found, status, error.headers())


ROUTES = (
    Route("POST", "/hf/models/{model:path}", infer, streams=True, keyed=True),
    Route("GET", "/hf/api/models/{model:path}", mapping),
)
SURFACE = Surface(("/hf/",), ROUTES, refused, stamps=("x-request-id",))

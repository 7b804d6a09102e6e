"""A few lines into each client, for one model: what its pages show, its docs tell and tests run.

Drawn from the release's schema, so that what is required is there and nothing else.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marketplace.metering.offer import Offer

KEY = "KINORA_API_KEY"
PROMPT = "red heart"
FILES = {"image": "picture.png", "video": "clip.mp4", "audio": "sound.wav"}


@dataclass(frozen=True, slots=True)
class Snippet:
    """client: whose words; language: `python`, `javascript`, `curl`."""

    client: str
    language: str
    code: str


def snippets(offer: Offer, url: str, prompt: str = PROMPT) -> list[Snippet]:
    """Every way in that the model has. url: of this site, without a slash at its end."""
    inputs = sample(offer, prompt)
    python, script = json.dumps(inputs), js(inputs)
    found = [
        *kinora(offer.model, url, python, script),
        *fal(offer.model, url, python, script),
        *replicate(offer.model, url, python, script),
        *(openai_images if offer.output_kind == "image" else openai_videos)(
            offer.model, url, inputs
        ),
    ]
    if offer.output_kind == "image" and inputs.keys() == {"prompt"}:
        found.append(huggingface(offer.model, url, inputs))
    return found


def sample(offer: Offer, prompt: str) -> dict[str, Any]:
    """A value for the prompt and for all that is required."""
    properties: Mapping[str, Any] = offer.schema.get("properties", {})
    required = offer.schema.get("required", [])
    words = [name for name in properties if name in required or name == "prompt"]
    return {name: prompt if name == "prompt" else value(properties[name]) for name in words}


def value(declared: Mapping[str, Any]) -> Any:
    for word in ("default", "examples", "enum"):
        if word in declared:
            return declared[word] if word == "default" else declared[word][0]
    if declared.get("type") == "array":
        return [value(declared.get("items", {}))]
    if declared.get("format") == "uri":
        return f"https://example.com/{FILES.get(str(declared.get('x-media')), 'file')}"
    return declared.get("minimum", "…")


def js(inputs: Mapping[str, Any]) -> str:
    return "{ " + ", ".join(f"{name}: {json.dumps(value)}" for name, value in inputs.items()) + " }"


def kinora(model: str, url: str, python: str, script: str) -> list[Snippet]:
    body = f'{{"model": "{model}", "inputs": {python}, "wait": 60}}'
    return [
        Snippet("Kinora", "curl", f"""curl "{url}/api/v1/runs" \\
  -H "Authorization: Bearer ${KEY}" -H "Content-Type: application/json" \\
  -d '{body}'"""),
        Snippet("Kinora", "python", f"""import os, httpx
run = httpx.post("{url}/api/v1/runs", timeout=70,
    headers={{"Authorization": f"Bearer {{os.environ['{KEY}']}}"}},
    json={body}).json()
print(run["outputs"][0]["url"], run["cost"]["captured"]["amount"])"""),
        Snippet("Kinora", "javascript", f"""const answer = await fetch("{url}/api/v1/runs", {{
  method: "POST", headers: {{ Authorization: `Bearer ${{process.env.{KEY}}}` }},
  body: JSON.stringify({{ model: "{model}", inputs: {script}, wait: 60 }}),
}});
console.log((await answer.json()).outputs[0].url);"""),
    ]  # fmt: skip


def fal(model: str, url: str, python: str, script: str) -> list[Snippet]:
    return [
        Snippet("fal", "curl", f"""curl "{url}/fal/run/{model}" \\
  -H "Authorization: Key ${KEY}" -H "Content-Type: application/json" \\
  -d '{python}'"""),
        Snippet("fal", "python", f"""import os, fal_client.client as fal
fal.RUN_URL_FORMAT, fal.QUEUE_URL_FORMAT = "{url}/fal/run/", "{url}/fal/queue/"
fal.REST_URL, fal.CDN_URL = "{url}/fal/rest", "{url}/fal/cdn"
client = fal.SyncClient(key=os.environ["{KEY}"])
print(client.subscribe("{model}", {python}))"""),
        Snippet("fal", "javascript", f"""import {{ createFalClient }} from "@fal-ai/client";
const proxyUrl = {{ url: "{url}/fal/proxy", when: "always" }};
const fal = createFalClient({{ credentials: process.env.{KEY}, proxyUrl }});
const {{ data }} = await fal.subscribe("{model}", {{ input: {script} }});
console.log(data);"""),
    ]  # fmt: skip


def replicate(model: str, url: str, python: str, script: str) -> list[Snippet]:
    return [
        Snippet("Replicate", "curl", f"""curl "{url}/replicate/v1/models/{model}/predictions" \\
  -H "Authorization: Bearer ${KEY}" -H "Prefer: wait" \\
  -d '{{"input": {python}}}'"""),
        Snippet("Replicate", "python", f"""import os, replicate
client = replicate.Client(os.environ["{KEY}"], base_url="{url}/replicate")
print(client.run("{model}", input={python}))"""),
        Snippet("Replicate", "javascript", f"""import Replicate from "replicate";
const baseUrl = "{url}/replicate/v1";
const replicate = new Replicate({{ auth: process.env.{KEY}, baseUrl }});
console.log(await replicate.run("{model}", {{ input: {script} }}));"""),
    ]  # fmt: skip


def openai_images(model: str, url: str, inputs: Mapping[str, Any]) -> list[Snippet]:
    prompt = json.dumps(inputs.get("prompt", PROMPT))
    said = json.dumps({"model": model, **inputs, "response_format": "url"})
    more = {name: value for name, value in inputs.items() if name != "prompt"}
    extra = f",\n    extra_body={json.dumps(more)}" if more else ""
    wish = js({"model": model, "prompt": inputs.get("prompt", PROMPT), **more})
    return [
        Snippet("OpenAI", "curl", f"""curl "{url}/v1/images/generations" \\
  -H "Authorization: Bearer ${KEY}" \\
  -d '{said}'"""),
        Snippet("OpenAI", "python", f"""import os, openai
client = openai.OpenAI(api_key=os.environ["{KEY}"], base_url="{url}/v1")
made = client.images.generate(model="{model}", prompt={prompt}, response_format="url"{extra})
print(made.data[0].url)"""),
        Snippet("OpenAI", "javascript", f"""import OpenAI from "openai";
const openai = new OpenAI({{ apiKey: process.env.{KEY}, baseURL: "{url}/v1" }});
const wish = {wish.removesuffix(" }")}, response_format: "url" }};
console.log((await openai.images.generate(wish)).data[0].url);"""),
    ]  # fmt: skip


def openai_videos(model: str, url: str, inputs: Mapping[str, Any]) -> list[Snippet]:
    prompt = json.dumps(inputs.get("prompt", PROMPT))
    more = {name: value for name, value in inputs.items() if name != "prompt"}
    extra = f", extra_body={json.dumps(more)}" if more else ""
    fields = " ".join(f"-F {name}='{value}'" for name, value in inputs.items())
    return [
        Snippet("OpenAI", "curl", f"""curl "{url}/v1/videos" \\
  -H "Authorization: Bearer ${KEY}" \\
  -F model={model} {fields}"""),
        Snippet("OpenAI", "python", f"""import os, openai
client = openai.OpenAI(api_key=os.environ["{KEY}"], base_url="{url}/v1")
video = client.videos.create_and_poll(model="{model}", prompt={prompt}{extra})
client.videos.download_content(video.id).write_to_file("video.mp4")"""),
        Snippet("OpenAI", "javascript", f"""import OpenAI from "openai";
const openai = new OpenAI({{ apiKey: process.env.{KEY}, baseURL: "{url}/v1" }});
const video = await openai.videos.create({js({"model": model, **inputs})});
console.log(video.id, (await openai.videos.retrieve(video.id)).status);"""),
    ]  # fmt: skip


def huggingface(model: str, url: str, inputs: Mapping[str, Any]) -> Snippet:
    prompt = json.dumps(inputs.get("prompt", PROMPT))
    return Snippet("Hugging Face", "python", f"""import os
from huggingface_hub import InferenceClient
client = InferenceClient("{url}/hf/models/{model}", token=os.environ["{KEY}"])
client.text_to_image({prompt}).save("picture.png")""")  # fmt: skip

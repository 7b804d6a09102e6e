"""A lab that needs no code: what `Queued` asks of a subclass, as JSON.

`described(found)` checks a description against `SCHEMA` and makes an adapter of it. In the body and
the path of a job, `{target}` and `{key}` stand for the model and the run; an object
`{"$input": name}` for that input, and what holds it is left out where the input is not given.
"""

from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from partners.contract import Job
from partners.shapes import Queued

STATES = ["running", "succeeded", "failed", "refused", "refused_after", "cancelled"]
PLACE = {"type": "array", "items": {"type": ["string", "integer"], "minimum": 0}}
ADDRESS = {"type": "string", "pattern": "^/[^{}]*([{](target|key)[}][^{}]*)*$"}
WORDS = {"type": "array", "items": {"type": "string"}}

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["url", "proof", "submit", "body", "poll", "status", "states", "files"],
    "properties": {
        "url": {"type": "string", "pattern": "^https?://[^/]+$"},
        "proof": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": "string", "pattern": "^[^{}]*([{]secret[}])?[^{}]*$"},
        },
        "submit": ADDRESS,
        "body": {"type": "object"},
        "receipt": PLACE,
        "poll": {"type": "string", "pattern": "^/[^{}]*[{][}][^{}]*$"},
        "cancel": {
            "type": "object",
            "additionalProperties": False,
            "required": ["method", "path", "in"],
            "properties": {
                "method": {"enum": ["POST", "DELETE", "PUT"]},
                "path": {"type": "string", "pattern": "^/[^{}]*[{][}][^{}]*$"},
                "in": WORDS,
            },
        },
        "status": PLACE,
        "states": {"type": "object", "additionalProperties": {"enum": STATES}},
        "reasons": {"type": "array", "items": PLACE},
        "refusals": {"type": "object", "additionalProperties": {"type": "boolean"}},
        "files": PLACE,
        "file": PLACE,
        "content_type": {"type": "string", "pattern": "^(image|video|audio)/[a-z0-9.+-]+$"},
        "usage": {"type": "object", "additionalProperties": PLACE},
        "notice": PLACE,
        "notice_as": {"type": "string", "pattern": "^[A-Za-z_]{1,40}$"},
    },
}
VALIDATOR = jsonschema_rs.validator_for(SCHEMA)
ATTRIBUTES = {
    "url": "default_url",
    "poll": "poll_at",
    "states": "states",
    "refusals": "refusals",
    "notice_as": "notice_as",
    "content_type": "content_type",
}
PLACES = {
    "receipt": "receipt_at",
    "status": "status_at",
    "files": "files_at",
    "file": "file_at",
    "notice": "notice_at",
}


class Described(Queued):
    """Speaks as its description says."""

    proof: Mapping[str, str]
    path: str
    body: Mapping[str, Any]

    def headers(self) -> dict[str, str]:
        return {name: value.replace("{secret}", self.secret) for name, value in self.proof.items()}

    def asked(self, job: Job) -> tuple[str, dict[str, Any]]:
        return self.path.format(target=job.target, key=job.key), filled(self.body, job)


def described(found: Mapping[str, Any]) -> type[Described]:
    """An adapter of a description. Raises ValueError naming the place that is wrong."""
    wrong = next(iter(VALIDATOR.iter_errors(found)), None)
    if wrong is not None:
        place = ".".join(str(step) for step in wrong.instance_path) or "the description"
        raise ValueError(f"{place}: {wrong.message}")
    said: dict[str, Any] = {ours: found[name] for name, ours in ATTRIBUTES.items() if name in found}
    said |= {ours: tuple(found[name]) for name, ours in PLACES.items() if name in found}
    said |= {"proof": found["proof"], "path": found["submit"], "body": found["body"]}
    said["usage_at"] = {unit: tuple(place) for unit, place in found.get("usage", {}).items()}
    if "reasons" in found:
        said["reasons_at"] = tuple(tuple(place) for place in found["reasons"])
    if "cancel" in found:
        said["cancel_at"] = (found["cancel"]["method"], found["cancel"]["path"])
        said["cancels_in"] = frozenset(found["cancel"]["in"])
    return type("Described", (Described,), said)


MISSING = object()


def filled(template: Mapping[str, Any], job: Job) -> dict[str, Any]:
    """A job's body: the template with the job in it."""
    pairs = ((name, fill(part, job)) for name, part in template.items())
    return {name: value for name, value in pairs if value is not MISSING}


def fill(part: Any, job: Job) -> Any:
    if isinstance(part, dict) and set(part) == {"$input"}:
        return job.inputs.get(part["$input"], MISSING)
    if isinstance(part, dict):
        return filled(part, job)
    if isinstance(part, list):
        return [value for each in part if (value := fill(each, job)) is not MISSING]
    if isinstance(part, str):
        return part.replace("{target}", job.target).replace("{key}", job.key)
    return part

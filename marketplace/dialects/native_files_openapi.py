"""Adds the addresses of files to the OpenAPI document."""

from typing import Any

from marketplace.dialects.native_openapi import (
    NO_NUMBER,
    NO_TEXT,
    NO_WHOLE,
    TEXT,
    TIME,
    WHOLE,
    Schema,
    listed,
    operation,
    ref,
    thing,
    told,
)

SECONDS: Schema = {"type": "integer", "minimum": 1}
CLOCKS: Schema = {
    "expires_in": SECONDS | {"description": "Seconds until its bytes are deleted, if sooner."},
    "forget_in": SECONDS | {"description": "Seconds until all that is known of it is, if sooner."},
}
SCHEMAS: dict[str, Schema] = {
    "File": thing(
        id={"type": "string", "examples": ["file_01m7x3yvyte9sagyvwwf6hge6p"]},
        state={"enum": ["waiting", "ready", "expired"]},
        name=TEXT,
        kind={"enum": ["image", "video", "audio", None]},
        content_type={"type": "string", "description": "By content, not by name."},
        bytes=WHOLE,
        sha256=NO_TEXT,
        width=NO_WHOLE,
        height=NO_WHOLE,
        frames=NO_WHOLE,
        seconds=NO_NUMBER,
        sound={"type": "boolean"},
        url={"type": "string", "description": "Whoever has it can read the file until it expires."},
        created_at=TIME,
        expires_at=TIME,
    ),
    "FilePage": thing(data=listed(ref("File")), next_cursor=NO_TEXT),
    "Upload": thing(
        file=ref("File"),
        upload=thing(
            url={
                "type": "string",
                "description": "PUT the bytes here; or parts to `/<n>` from 1, then POST to "
                "`/complete`, each before the query.",
            },
            part_bytes=WHOLE,
            parts=WHOLE,
        ),
    ),
}
FILE_ID: Schema = {"name": "file", "in": "path", "required": True, "schema": TEXT}
BYTES: Schema = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}


def add_files(result: Schema, generator: Any, request: Any, public: bool) -> Schema:
    """A postprocessing hook of drf-spectacular."""
    result.setdefault("components", {}).setdefault("schemas", {}).update(SCHEMAS)
    result["paths"].update(
        {
            "/api/v1/files": {"post": create(), "get": listing()},
            "/api/v1/files/{file}": {"get": one(), "delete": delete()},
            "/api/v1/uploads": {"post": announce()},
        }
    )
    return result


def create() -> Schema:
    named = {"name": TEXT} | CLOCKS
    form = {"type": "object", "required": ["file"], "properties": {"file": BYTES["schema"]} | named}
    return operation(
        "createFile",
        "Keep a picture, film or sound: as the body, or in a form.",
        {"201": told("The file is kept.", ref("File"))},
        "400 401 403 413 422 429 503",
        tags=["files"],
        parameters=[
            {"name": name, "in": "query", "schema": schema} for name, schema in named.items()
        ],
        requestBody={
            "required": True,
            "content": {
                "application/octet-stream": BYTES,
                "multipart/form-data": {"schema": form},
            },
        },
    )


def announce() -> Schema:
    wish = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"name": TEXT, "content_type": TEXT} | CLOCKS,
    }
    return operation(
        "announceFile",
        "Announce a file and get an address to put its bytes to, whole or in parts.",
        {"201": told("The file waits for its bytes.", ref("Upload"))},
        "400 401 403 422 503",
        tags=["files"],
        requestBody={"content": {"application/json": {"schema": wish}}},
    )


def listing() -> Schema:
    return operation(
        "listFiles",
        "The team's files, newest first.",
        {"200": told("A page of files.", ref("FilePage"))},
        "401 403 422 503",
        tags=["files"],
        parameters=[
            {"name": "cursor", "in": "query", "schema": TEXT},
            {
                "name": "limit",
                "in": "query",
                "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
            },
        ],
    )


def one() -> Schema:
    return operation(
        "getFile",
        "One file.",
        {"200": told("One file.", ref("File"))},
        "401 403 404 503",
        tags=["files"],
        parameters=[FILE_ID],
    )


def delete() -> Schema:
    says = "Delete a file at once; a run that was given it keeps it to its end."
    gone = thing(id=TEXT, deleted={"type": "boolean"})
    return operation(
        "deleteFile",
        says,
        {"200": told("It is gone.", gone)},
        "401 403 404 503",
        tags=["files"],
        parameters=[FILE_ID],
    )

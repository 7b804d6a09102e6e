"""The management API, which Django serves, under the same promise of idempotency.

Stands before Django for POSTs that bring an Idempotency-Key, and passes on everything else. What a
lab sends is told apart by its own references, so it is passed on too.
"""

from typing import Any

from marketplace.dialects import native
from marketplace.dialects.contract import Reply, Request, Trail
from marketplace.errors import KinoraError
from marketplace.hot import wire
from marketplace.hot.desk import HotDesk
from marketplace.hot.wire import Receive, Scope, Send

API = "/api/"
LABS = "/api/v1/lab/"
OWN = ("content-length", "cache-control", "x-content-type-options")  # said by `wire`


def keyed(scope: Scope) -> bool:
    """Whether it is a POST to the API with an Idempotency-Key."""
    path = scope["path"]
    if scope["method"] != "POST" or not path.startswith(API) or path.startswith(LABS):
        return False
    return any(name == b"idempotency-key" for name, _ in scope["headers"])


async def serve(
    desk: HotDesk, application: Any, scope: Scope, receive: Receive, send: Send
) -> None:
    """Answer as `application` does, or did."""

    async def handle(request: Request) -> Reply:
        return await asked(application, scope, request.body, receive)

    def bounds(headers: Any) -> Any:
        return desk.most_bytes(headers, has_token=False)

    try:
        trail = Trail(counted=True)  # the limits of Django's addresses are not ours
        request = await wire.read(scope, receive, trail, streams=False, most=bounds)
        reply = await desk.once(request, handle)
    except KinoraError as error:
        reply = native.refused(error)
    await wire.answer(reply, wire.head(reply, (), ""), send)


async def asked(application: Any, scope: Scope, body: bytes, leaving: Receive) -> Reply:
    """What the application answers to this body. leaving: tells when the client is gone."""
    told: dict[str, Any] = {"body": b""}
    first = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Any:
        return next(first, None) or await leaving()

    async def send(message: Any) -> None:
        told["body"] += message.pop("body", b"")
        told.update(message)

    await application(scope, receive, send)
    headers = {name.decode().lower(): value.decode() for name, value in told["headers"]}
    return Reply(told["body"], told["status"], {n: v for n, v in headers.items() if n not in OWN})

"""How much body a request to Django may have, decided before a byte of it is kept.

Django's ASGI handler writes a body to disk before any view sees the request. So only a signed
address of the media store lets more than a form or a JSON body in, and just as much as it says.
"""

from typing import Any
from urllib.parse import parse_qs

import orjson
from django.conf import settings

from marketplace.errors import TooLarge
from marketplace.media import receive, sign

MEDIA = "/media/"
Message = Any


class Bounded:
    """An ASGI application that refuses larger bodies with 413."""

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        most = allowed(scope)
        if declared(scope) > most:
            await refuse(send, most)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            return {"type": "http.disconnect"} if read > most else message

        await self.application(scope, counted, send)
        if read > most:  # the handler took it for a disconnect and said nothing
            await refuse(send, most)


def allowed(scope: Message) -> int:
    """Bytes of body that this request may have."""
    path, usual = str(scope["path"]), int(settings.BODY_BYTES)
    if scope.get("method") != "PUT" or not path.startswith(MEDIA):
        return usual
    asked = {name: found[0] for name, found in parse_qs(scope["query_string"].decode()).items()}
    if uploaded := receive.allowed("PUT", path, scope["query_string"].decode()):
        return max(uploaded, usual)
    most = asked.get("most", "0")
    expires, signed = asked.get("expires", ""), asked.get("signature", "")
    opens = sign.opens("PUT", path.removeprefix(MEDIA), expires=expires, signed=signed, most=most)
    return int(most) if opens else usual


def declared(scope: Message) -> int:
    """The length that the request says it has; 0 where it does not say."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


async def refuse(send: Any, most: int) -> None:
    error = TooLarge(f"The body may have {most:,} bytes.", param="body")
    body = orjson.dumps(error.as_json())
    length = str(len(body)).encode()  # not closed: a client still sending would miss the answer
    headers = [(b"content-type", b"application/json"), (b"content-length", length)]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

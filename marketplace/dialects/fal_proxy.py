"""The proxy that fal's JavaScript client can be given instead of fal's own hosts.

It sends every call to one address and names the real one in a header. The call is served here, as
if it had come to our own address: nothing is ever fetched, whatever the header says.
"""

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import parse_qsl, unquote, urlsplit

from marketplace.dialects.contract import Desk, Reply, Request, Route
from marketplace.dialects.routing import Router, served
from marketplace.errors import MalformedBody

TARGET = "x-fal-target-url"
HOSTS = {
    "fal.run": "/fal/run",
    "queue.fal.run": "/fal/queue",
    "rest.fal.ai": "/fal/rest",
    "rest.alpha.fal.ai": "/fal/rest",
}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Proxy:
    """Serves what `routes` serve, under the addresses that fal has."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.router = Router(routes)
        self.routes = tuple(
            Route(method, "/fal/proxy", self.again, keyed=True) for method in METHODS
        )

    async def again(self, desk: Desk, request: Request) -> Reply:
        """The reply of the address that the header names. Raises MalformedBody, NotFound."""
        meant = aimed(request)
        route, params = self.router.find(meant.method, meant.path)
        return await served(desk, route, meant, params)


def aimed(request: Request) -> Request:
    """The request as it would have come to our own address."""
    said = request.headers.get(TARGET, "")
    try:
        target = urlsplit(said)
        prefix = HOSTS[target.hostname or ""] if target.scheme == "https" else None
    except (ValueError, KeyError):
        prefix = None
    if prefix is None:
        raise MalformedBody(
            f"{TARGET} must be an address at one of {', '.join(HOSTS)}.", param=TARGET
        )
    pairs = parse_qsl(target.query, keep_blank_values=True)
    path = prefix + unquote(target.path)
    return replace(request, path=path, query=dict(pairs), pairs=pairs)

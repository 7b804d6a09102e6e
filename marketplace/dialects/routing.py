"""Find the route and the parameters of a path, and have it served."""

import re
from collections.abc import Iterable

from marketplace.dialects.contract import Desk, Reply, Request, Route
from marketplace.errors import MethodNotAllowed, NotFound

PARAMETER = re.compile(r"\{(\w+)(:path)?\}")
Methods = dict[str, Route]


class Router:
    """The routes of one surface; paths without a parameter are found by one look-up."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.plain: dict[str, Methods] = {}
        self.patterns: dict[re.Pattern[str], Methods] = {}
        for route in routes:
            if "{" in route.pattern:
                pattern = compiled(route.pattern)
                self.patterns.setdefault(pattern, {})[route.method] = route
            else:
                self.plain.setdefault(route.pattern, {})[route.method] = route

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """Patterns are tried in the routes' order. Raises NotFound, MethodNotAllowed."""
        if methods := self.plain.get(path):
            return chosen(methods, method), {}
        for pattern, methods in self.patterns.items():
            if match := pattern.fullmatch(path):
                return chosen(methods, method), match.groupdict()
        raise NotFound("There is no such address.")


async def served(desk: Desk, route: Route, request: Request, params: dict[str, str]) -> Reply:
    """The handler's reply, once for each Idempotency-Key that a POST brings."""

    async def handle(asked: Request) -> Reply:
        return await route.handler(desk, asked, **params)

    if route.method == "POST" and not route.keyed and "idempotency-key" in request.headers:
        return await desk.once(request, handle)
    return await handle(request)


def compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(PARAMETER.sub(group, pattern))


def group(parameter: re.Match[str]) -> str:
    return f"(?P<{parameter[1]}>{'.+' if parameter[2] else '[^/]+'})"


def chosen(methods: Methods, method: str) -> Route:
    if route := methods.get("GET" if method == "HEAD" else method):
        return route
    raise MethodNotAllowed(f"This address takes {', '.join(sorted(methods))}.")

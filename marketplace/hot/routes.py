"""Find the surface, the route and the parameters of a path."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from marketplace.dialects.contract import Route, Surface
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
                pattern = re.compile(PARAMETER.sub(group, route.pattern))
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


def group(parameter: re.Match[str]) -> str:
    return f"(?P<{parameter[1]}>{'.+' if parameter[2] else '[^/]+'})"


def chosen(methods: Methods, method: str) -> Route:
    if route := methods.get("GET" if method == "HEAD" else method):
        return route
    raise MethodNotAllowed(f"This address takes {', '.join(sorted(methods))}.")


class Surfaces:
    """Which surface serves a path: the first one with a prefix of it."""

    def __init__(self, surfaces: Sequence[Surface]) -> None:
        self.rooms = [
            (prefix, surface, router)
            for surface in surfaces
            for router in [Router(surface.routes)]
            for prefix in surface.prefixes
        ]

    def find(self, path: str) -> tuple[Surface, Router]:
        return next((s, r) for prefix, s, r in self.rooms if path.startswith(prefix))


def prefixes(surfaces: Sequence[Any]) -> tuple[str, ...]:
    return tuple(prefix for surface in surfaces for prefix in surface.prefixes)

"""Find the surface that serves a path."""

from collections.abc import Sequence
from typing import Any

from marketplace.dialects.contract import Surface
from marketplace.dialects.routing import Router


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

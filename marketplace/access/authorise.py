"""Decide whether a key may do something. Pure: no database, no clock."""

from collections.abc import Collection
from typing import Literal

from marketplace.errors import NotAllowed

Scope = Literal["run", "read", "manage"]


def authorise(*, scopes: Collection[str], needs: Scope) -> None:
    """Raises NotAllowed where the key's scopes do not hold what is needed."""
    if needs not in scopes:
        raise NotAllowed(f"This key lacks the scope `{needs}`.", scope=needs)

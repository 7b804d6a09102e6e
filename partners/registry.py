"""Every supplier by name. A new lab is a file in `labs/` and a line here."""

from partners.adapter import Adapter
from partners.contract import Description
from partners.house import House
from partners.labs.rehearsal import Rehearsal

ADAPTERS: dict[str, type[Adapter]] = {
    "house": House,
    "rehearsal": Rehearsal,
}


def open_adapter(name: str, *, url: str = "", secret: str = "") -> Adapter:
    """The adapter called `name`; close it when done. Raises KeyError for an unknown name."""
    return ADAPTERS[name](url, secret)


def describe(name: str, target: str) -> Description:
    """What the supplier `name` says of its model `target`. Raises KeyError."""
    for description in ADAPTERS[name].describe():
        if description.target == target:
            return description
    raise KeyError(f"{name}/{target}")

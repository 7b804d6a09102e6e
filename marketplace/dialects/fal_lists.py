"""What the lists of fal's platform API share: values in a query, the size of a page, its end."""

from typing import Any

from marketplace.dialects.contract import Request
from marketplace.errors import InvalidInput

MOST_IDS, LARGEST_PAGE = 50, 100


def listed(request: Request, name: str) -> list[str]:
    """A parameter's values, said several times or between commas. Raises InvalidInput."""
    said = ",".join(value for key, value in request.pairs if key == name)
    found = [value for value in said.split(",") if value]
    if len(found) > MOST_IDS:
        raise InvalidInput(f"{name} may have {MOST_IDS} values.", param=name)
    return found


def page_size(request: Request) -> int:
    said = request.query.get("limit", "50")
    if not said.isascii() or not said.isdigit() or not 1 <= int(said[:9]) <= LARGEST_PAGE:
        raise InvalidInput(f"limit must be from 1 to {LARGEST_PAGE}.", param="limit")
    return int(said)


def more(page: list[dict[str, Any]], there_is: bool, key: str) -> dict[str, Any]:
    return {"next_cursor": page[-1][key] if there_is else None, "has_more": there_is}

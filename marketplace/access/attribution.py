"""Whose work a run is: a project tag and an end user, in the caller's own words.

Both are names for the caller's books, its budgets and its statement; nothing here knows who they
are. Pure.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from marketplace.errors import InvalidInput

PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")
PROJECT_RULE = "must be 1 to 64 letters, digits or . _ : / -, and begin with a letter or digit"
END_USER = re.compile(r"(?!\*$)[\x21-\x7e]{1,128}")
END_USER_RULE = "must be 1 to 128 visible ASCII characters, and not * alone"
PROJECT_HEADER, END_USER_HEADER = "X-Kinora-Project", "X-Kinora-End-User"


@dataclass(frozen=True, slots=True)
class Attribution:
    """Empty where the caller named none."""

    project: str = ""
    end_user: str = ""

    def as_json(self) -> dict[str, str]:
        """What is named, by name."""
        named = {"project": self.project, "end_user": self.end_user}
        return {name: value for name, value in named.items() if value}


NOBODY = Attribution()


def attribution(*, header: Callable[[str], str | None], user: Any = None) -> Attribution:
    """What a request's headers say, and the `user` of its body. header: by lower-case name.

    Raises InvalidInput naming the one at fault, also where header and body name two end users.
    """
    project = header(PROJECT_HEADER.lower())
    if project is not None:
        project = project_tag(project, PROJECT_HEADER)
    told = header(END_USER_HEADER.lower())
    if told is not None:
        told = end_user(told, END_USER_HEADER)
    if user is not None:
        user = end_user(user, "user")
        if told not in (None, user):
            raise InvalidInput(f"user must be the same as {END_USER_HEADER}.", param="user")
    return Attribution(project or "", user or told or "")


def project_tag(value: Any, param: str) -> str:
    """Raises InvalidInput."""
    return matching(value, PROJECT, PROJECT_RULE, param)


def end_user(value: Any, param: str) -> str:
    """Raises InvalidInput."""
    return matching(value, END_USER, END_USER_RULE, param)


def matching(value: Any, shape: re.Pattern[str], rule: str, param: str) -> str:
    if isinstance(value, str) and shape.fullmatch(value):
        return value
    raise InvalidInput(f"{param} {rule}.", param=param)

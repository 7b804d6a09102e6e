"""How long bytes are kept and how long we know of them: two clocks that a request may shorten."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings

from marketplace.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Seconds from now. record: None is for ever."""

    media: int
    record: int | None

    def of_files(self) -> "Lifetime":
        """The same for what a run brings along: bytes are kept no longer than they are known."""
        return Lifetime(min(self.media, self.record or self.media), self.record)


def lifetime(
    *, media: Any = None, record: Any = None, most: int | None = None, param: str = "expires_in"
) -> Lifetime:
    """The settings' clocks, shortened to what a request asks for; what is forgotten is not kept.

    media, record: seconds, or None for the settings'. most: the longest for media; files' unless
    told. Raises InvalidInput for anything but whole seconds from 1.
    """
    longest = settings.FILE_SECONDS if most is None else most
    remembered = settings.RECORD_SECONDS or None
    asked = None if record is None else whole(record, "forget_in")
    known = min(filter(None, (asked, remembered)), default=None)
    kept = longest if media is None else min(longest, whole(media, param))
    return Lifetime(kept if known is None else min(kept, known), known)


def whole(value: Any, param: str) -> int:
    """A float with no fraction is what JavaScript sends for a whole number."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidInput(f"{param} must be a whole number of seconds, at least 1.", param=param)
    return value

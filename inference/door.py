"""Where a worker speaks of its session: one HTTP request per word, on a connection that stays open.

A request is a line of JSON and the bytes of a frame's files; an answer is JSON. An answer may take
a second, for as long as there is nothing to draw. Standard library only.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from urllib.parse import urljoin, urlsplit

from inference.control import CALL_SECONDS, Control, FenceLost, Refused, Unreachable
from inference.wire import Said, Word

KINDS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}


class Door:
    """One session's line to the process that its client talks to."""

    def __init__(self, control: Control, address: str) -> None:
        """Take who we are and an address, which may be relative to the control plane's."""
        self.url = urlsplit(urljoin(control.url, address))
        self.heads = {"Authorization": f"Bearer {control.token}"}
        self.link: http.client.HTTPConnection | None = None

    def say(self, word: Word, files: Sequence[bytes] = ()) -> Said:
        """Say a word and hear the answer.  Raises FenceLost, Unreachable, Refused.

        Said again on a new connection where the old one had been closed; a frame that comes twice
        is known by its number.
        """
        body = b"\n".join((json.dumps(word.to_json()).encode(), b"".join(files)))
        if self.link is not None:
            try:
                return self.ask(self.link, body)
            except (OSError, http.client.HTTPException):
                self.close()
        try:
            return self.ask(self.open(), body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unreachable(str(error)) from error

    def open(self) -> http.client.HTTPConnection:
        """Begin a connection."""
        if self.url.scheme not in KINDS:
            raise Refused(f"not an HTTP address: {self.url.geturl()}")
        self.link = KINDS[self.url.scheme](self.url.netloc, timeout=CALL_SECONDS)
        return self.link

    def ask(self, link: http.client.HTTPConnection, body: bytes) -> Said:
        """Make one exchange."""
        link.request("POST", self.url.path, body, self.heads)
        answer = link.getresponse()
        text = answer.read()
        if answer.status == http.HTTPStatus.CONFLICT:
            raise FenceLost
        if answer.status >= 500 or answer.status == http.HTTPStatus.TOO_MANY_REQUESTS:
            raise Unreachable(f"{answer.status}")
        if answer.status != http.HTTPStatus.OK:
            raise Refused(f"{answer.status} {text[:300]!r}")
        try:
            found = json.loads(text)
            if not isinstance(found, dict):
                raise TypeError("not an object")  # noqa: TRY301
            return Said.from_json(found)
        except (ValueError, TypeError, AttributeError) as error:
            raise Unreachable("the answer is not of the door") from error

    def close(self) -> None:
        """Hang up."""
        if self.link is not None:
            self.link.close()
            self.link = None

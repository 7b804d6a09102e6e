"""A stand-in for the process at a session's door, with the fleet API beside it, over real HTTP."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GOES_ON: dict[str, Any] = {"end": "", "prompt": None}
OVER = {"end": "ended", "prompt": None}
Answer = tuple[int, bytes]


def prompt(number: int, words: str) -> dict[str, Any]:
    """What the door says to have something drawn."""
    return {"end": "", "prompt": {"number": number, "inputs": {"prompt": words}}}


def said(found: dict[str, Any]) -> Answer:
    return 200, json.dumps(found).encode()


class Keeper(ThreadingHTTPServer):
    """Gives the answers that a test put in, the last one again and again, and records words.

    words: (word, bytes of its files). told: verb → what the control plane heard.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.answers: list[Answer] = [said(GOES_ON)]
        self.words: list[tuple[dict[str, Any], bytes]] = []
        self.callers: list[int] = []  # the port of each word's connection
        self.tokens: set[str | None] = set()
        self.told: dict[str, list[dict[str, Any]]] = {"renew": [], "complete": []}
        self.cancel = False
        self.hangs_up = False
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, body: bytes) -> Answer:
        line, _, files = body.partition(b"\n")
        self.words.append((json.loads(line), files))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def kinds(self) -> list[str]:
        """What each word was about."""
        return [kind(word) for word, _ in self.words]


def kind(word: dict[str, Any]) -> str:
    told = [name for name in ("busy", "leaving", "frame") if word[name]]
    return told[0] if told else "ready"


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Keeper
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        verb = self.path.rpartition("/")[2]
        self.server.tokens.add(self.headers.get("Authorization"))
        if verb == "session":
            self.server.callers.append(self.client_address[1])
            self.reply(*self.server.answer(body))
            self.close_connection = self.server.hangs_up
        else:
            self.server.told[verb].append(json.loads(body))
            self.reply(*said({"cancel": self.server.cancel}))

    def reply(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

"""A gate between a client and the stack that loses replies or answers in the stack's stead."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


@dataclass
class Gate:
    """url: to call instead of `behind`. lose: how many POSTs get no reply, though they arrive;
    they are cut off `after` seconds, before the answer is ready.

    answers: (status, headers, body) for the next POSTs, which then do not arrive.
    """

    behind: str
    url: str = ""
    lose: int = 0
    after: float = 0.15
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> http.client.HTTPConnection:
        link = http.client.HTTPConnection(urlsplit(self.behind).netloc, timeout=60)
        headers = {
            name: value for name, value in handler.headers.items() if name.lower() not in HOP
        }
        link.request(handler.command, handler.path, body, headers)
        return link


@contextmanager
def gate(behind: str) -> Iterator[Gate]:
    """Open on a free port until the block ends."""
    found = Gate(behind)

    class Keeper(BaseHTTPRequestHandler):
        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found.seen.append(f"{self.command} {urlsplit(self.path).path}")
            if self.command == "POST" and found.answers:
                return self.give(*found.answers.pop(0))
            link = found.forward(self, body)
            try:
                if self.command == "POST" and found.lose:
                    found.lose -= 1
                    time.sleep(found.after)
                    self.close_connection = True
                    return None
                answer = link.getresponse()
                told = {n: v for n, v in answer.getheaders() if n.lower() not in HOP}
                return self.give(answer.status, told, answer.read())
            finally:
                link.close()

        do_GET = do_POST = do_PUT = serve  # noqa: N815 - the names of http.server

        def give(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Keeper)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()

"""fal's Python client over https, told where to go by its environment alone."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.journeys.clients import tls
from tests.running import Stack

RUNS = """
import fal_client, json
quick = {"prompt": "a paper lantern", "latency_ms": 0}
small = {"prompt": "tomato", "num_inference_steps": 4, "image_size": 64}
told = {"run": fal_client.run("rehearsal/still", quick)["prompt"]}
told["subscribed"] = len(fal_client.subscribe("rehearsal/still", quick)["images"])
handle = fal_client.submit("rehearsal/still", quick | {"latency_ms": 20_000})
handle.cancel()
told["cancelled"] = type(handle.status()).__name__
told["streamed"] = list(fal_client.stream("kinora/glyph", small))[-1]["images"][0]["width"]
"""
SESSION = """
with fal_client.realtime("kinora/glyph") as session:
    session.send(small)
    told["frame"] = session.recv()["images"][0]["width"]
"""
UPLOAD = """
from PIL import Image
told["uploaded"] = fal_client.upload_image(Image.new("RGB", (40, 30)), "png")
"""
SAY = "\nprint(json.dumps(told))\n"
FOUND = {"run": "a paper lantern", "subscribed": 1, "streamed": 64}


def told(code: str, **environ: str) -> dict[str, Any]:
    """What a program says that knows nothing but its environment."""
    plain = {name: said for name, said in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code + SAY], env=plain | environ,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_hosts_in_the_environment_lead_runs_here(stack: Stack, tmp_path: Path) -> None:
    ca, context = tls.certificates(tmp_path)
    with tls.ended_before(urlsplit(stack.url).port or 0, context) as port:
        found = told(
            RUNS, FAL_KEY=stack.key, SSL_CERT_FILE=str(ca),
            FAL_RUN_HOST=f"localhost:{port}/fal/run",
            FAL_QUEUE_RUN_HOST=f"localhost:{port}/fal/queue",
        )  # fmt: skip
    assert FOUND.items() <= found.items()
    assert found["cancelled"] in ("Completed", "InProgress")


def test_behind_a_proxy_not_even_the_hosts_change(stack: Stack, tmp_path: Path) -> None:
    ca, context = tls.certificates(tmp_path)
    with tls.proxy_to(urlsplit(stack.url).port or 0, context) as port:
        proxy = f"http://127.0.0.1:{port}"
        found = told(
            RUNS + SESSION + UPLOAD, FAL_KEY=stack.key, SSL_CERT_FILE=str(ca), HTTPS_PROXY=proxy
        )
    assert FOUND.items() <= found.items()
    assert found["frame"] == 64
    assert found["uploaded"].startswith(stack.url)

"""Every kind of window, at every moment, for everybody, through every address there is.

The addresses are those that the router and Django know: one that is in none of the lists below
fails the first test, and whatever it is in, every address is asked about a secret and about what
never was, and must tell a stranger nothing that differs.
"""

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client as Browser
from django.urls import get_resolver
from websockets.sync.client import connect

from marketplace import ids
from marketplace.accounts.models import User
from marketplace.catalog.models import Release
from marketplace.hot.app import SURFACES
from marketplace.metering.sale import load_offers
from marketplace.runs.deliver import deliver
from marketplace.runs.models import Run
from marketplace.runs.submit import submit_now
from marketplace.webhooks import endpoints
from marketplace.webhooks.models import Delivery
from tests.conftest import Person, fund, join
from tests.marketplace.access import launches
from tests.marketplace.access.launches import CELLS, Cell
from tests.marketplace.hot.test_strangers import ALL, DJANGOS, PARAMETER, Address, under
from tests.marketplace.hot.test_strangers import told as seen_of
from tests.marketplace.web import Answer, Client

pytestmark = pytest.mark.django_db(transaction=True)
HIDDEN = Cell("embargo", "inside")
THREADS = 8


@dataclass(frozen=True)
class Ask:
    """How an address is asked about a model. path: `{lab}`, `{slug}` stand for its name."""

    path: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def of(self, model: str) -> tuple[str, Any, dict[str, str]]:
        lab, slug = model.split("/")
        text = repr((self.path, self.body)).replace("{lab}", lab).replace("{slug}", slug)
        path, body = eval(text)  # noqa: S307 - our own literals
        return path, body, self.headers


INPUTS = {"prompt": "dusk"}
MODEL = "{lab}/{slug}"
BATCH = {"model": MODEL, "inputs": INPUTS}
# Addresses that start a run.
CALLS = {
    "POST /api/v1/runs": Ask("/api/v1/runs", BATCH),
    "POST /fal/run/{model:path}": Ask(f"/fal/run/{MODEL}", INPUTS),
    "PUT /fal/run/{model:path}": Ask(f"/fal/run/{MODEL}", INPUTS),
    "GET /fal/run/{model:path}": Ask(f"/fal/run/{MODEL}?prompt=dusk"),
    "POST /fal/run/{model:path}/stream": Ask(f"/fal/run/{MODEL}/stream", INPUTS),
    "POST /fal/queue/{model:path}": Ask(f"/fal/queue/{MODEL}", INPUTS),
    "POST /replicate/v1/predictions": Ask(
        "/replicate/v1/predictions", {"version": MODEL, "input": INPUTS}
    ),
    "POST /replicate/v1/models/{owner}/{name}/predictions": Ask(
        f"/replicate/v1/models/{MODEL}/predictions", {"input": INPUTS}
    ),
    "POST /replicate/v1/deployments/{owner}/{name}/predictions": Ask(
        f"/replicate/v1/deployments/{MODEL}/predictions", {"input": INPUTS}
    ),
    "POST /v1/images/generations": Ask(
        "/v1/images/generations", {"model": MODEL, "prompt": "dusk"}
    ),
    "POST /hf/models/{model:path}": Ask(f"/hf/models/{MODEL}", {"inputs": "dusk"}),
    "PAGE POST /models/<slug:lab>/<slug:slug>/play": Ask(f"/models/{MODEL}/play", INPUTS),
}
# Addresses that speak of one model. Those that end in ! price a call, so they need more than sight.
VERSION = f"/replicate/v1/models/{MODEL}"
READS = {
    "GET /api/v1/models/{model}": Ask(f"/api/v1/models/{MODEL}"),
    "POST /api/v1/quotes!": Ask("/api/v1/quotes", BATCH),
    "GET /v1/models/{model:path}": Ask(f"/v1/models/{MODEL}"),
    "GET /hf/api/models/{model:path}": Ask(f"/hf/api/models/{MODEL}"),
    "GET /fal/api/openapi/queue/openapi.json": Ask(
        f"/fal/api/openapi/queue/openapi.json?endpoint_id={MODEL}"
    ),
    "GET /fal/api/v1/models/pricing": Ask(f"/fal/api/v1/models/pricing?endpoint_id={MODEL}"),
    "POST /fal/api/v1/models/pricing/estimate": Ask(
        "/fal/api/v1/models/pricing/estimate",
        {"estimate_type": "unit_price", "endpoints": {MODEL: {"unit_quantity": 1}}},
    ),
    "GET /replicate/v1/models/{owner}/{name}": Ask(VERSION),
    "GET /replicate/v1/models/{owner}/{name}/examples": Ask(f"{VERSION}/examples"),
    "GET /replicate/v1/models/{owner}/{name}/readme": Ask(f"{VERSION}/readme"),
    "GET /replicate/v1/models/{owner}/{name}/versions": Ask(f"{VERSION}/versions"),
    "GET /replicate/v1/models/{owner}/{name}/versions/{version}": Ask(
        f"{VERSION}/versions/2026-11-20"
    ),
    "GET /replicate/v1/deployments/{owner}/{name}": Ask(f"/replicate/v1/deployments/{MODEL}"),
    "PAGE GET /models/<slug:lab>/<slug:slug>": Ask(f"/models/{MODEL}"),
    "PAGE POST /models/<slug:lab>/<slug:slug>/price": Ask(f"/models/{MODEL}/price", INPUTS),
}
# Addresses that list what there is; `{slug}` looks for one by its name.
LISTS = {
    "GET /api/v1/models": Ask("/api/v1/models"),
    "GET /api/v1/prices": Ask("/api/v1/prices"),
    "GET /v1/models": Ask("/v1/models"),
    "GET /fal/api/v1/models": Ask("/fal/api/v1/models?limit=100&expand=openapi-3.0"),
    "GET /replicate/v1/models": Ask("/replicate/v1/models"),
    "QUERY /replicate/v1/models": Ask("/replicate/v1/models", b"one"),
    "GET /replicate/v1/search": Ask("/replicate/v1/search?query=one&limit=50"),
    "GET /replicate/v1/collections/{slug}": Ask("/replicate/v1/collections/text-to-image"),
    "GET /replicate/v1/deployments": Ask("/replicate/v1/deployments"),
    "PAGE GET /models": Ask("/models"),
}
# Addresses that speak of no model, or of runs, which have tests of their own below; all of them
# are asked about a secret and what never was all the same.
SILENT = re.compile(
    r"\w+ /(healthz|fleet/.*|labs/.*"
    r"|api/v1/(balance|budgets|entries|files|keys|outputs|usage|uploads|webhooks|openapi.json|lab).*"
    r"|api/v1/runs(/.*)?"
    r"|fal/(proxy|cdn|rest|api/v1/(account|keys|meta|serverless)).*"
    r"|fal/api/v1/models/(analytics|billing-events|requests|usage).*"
    r"|fal/queue/\{model:path\}/requests/.*"
    r"|replicate/v1/(account|files|hardware|streams|trainings|webhooks|collections).*"
    r"|replicate/v1/predictions.*|replicate/v1/(models|deployments)"
    r"|v1/(videos|images/(edits|variations)|webhook).*)"
    r"|(PATCH|DELETE) /replicate/v1/(models|deployments)/.*"
    r"|POST /replicate/v1/models/.*/trainings"
)
PAGES = re.compile(
    r"/(|account/.*|try.*|settings|teams/.*|runs.*|files/announce|usage.*|budgets.*|balance.*"
    r"|console/.*|webhooks.*|keys.*|media/.*|fleet/.*|\.well-known/.*|sitemap.xml"
    r"|models/<slug:lab>/<slug:slug>/session)"
)
SOCKETS = {"/fal/run/{model:path}/realtime", "/fal/run/{model:path}", "/live"}


def pages() -> Iterator[str]:
    for path, _ in under("/", "/", get_resolver().url_patterns):
        if not path.startswith("/api/"):
            yield path


def test_every_address_is_in_the_matrix() -> None:
    """Somebody who adds one says here what it tells of a model, or that it tells of none."""
    known = {name.rstrip("!") for name in (*CALLS, *READS, *LISTS)}
    assert [str(a) for a in ALL if str(a) not in known and not SILENT.fullmatch(str(a))] == []
    shown = {name.split(" ", 2)[2] for name in known if name.startswith("PAGE")}
    assert [page for page in pages() if page not in shown and not PAGES.fullmatch(page)] == []
    assert {socket.pattern for surface in SURFACES for socket in surface.sockets} == SOCKETS
    everything = {str(a) for a in ALL}
    assert {name for name in known if not name.startswith("PAGE")} <= everything


# ── who asks ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Who:
    """Somebody of the matrix, with a key and a browser."""

    name: str
    person: Person
    web: Client

    def ask(self, entry: str, ask: Ask, model: str) -> Answer:
        path, body, headers = ask.of(model)
        method = entry.split(maxsplit=1)[0]
        if method == "PAGE":
            return self.look(entry.split()[1], path, body)
        return self.web.call(method, path, body, key=self.person.text, headers=headers)

    def look(self, method: str, path: str, body: Any = None) -> Answer:
        """A page, in this person's browser."""
        browser = Browser()
        browser.force_login(self.person.user)
        found = browser.get(path) if method == "GET" else browser.post(path, body or {})
        body = b"" if found.streaming else found.content  # of files that tell of usage alone
        connection.close()
        return Answer(found.status_code, {}, body)


@dataclass
class Stage:
    """All cells at once, everybody who looks, and an older run of each team in each cell."""

    web: Client
    people: dict[str, Who]
    releases: dict[Cell, Release]
    runs: dict[tuple[str, Cell], str]

    def everybody(self, work: Callable[[Who], Any]) -> list[Any]:
        """What `work` finds wrong, for each of them at the same time."""
        with ThreadPoolExecutor(THREADS) as pool:
            return [fault for found in pool.map(work, self.people.values()) for fault in found]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, web: Client, ada: Person, cy: Person) -> Stage:
    people = {
        "stranger": ada,
        "granted": cy,
        "lab": join("lumen", team=launches.Team.objects.create(name="Lumen's"), role="owner"),
        "admin": join("queen", team=launches.Team.objects.create(name="House"), role="owner"),
    }
    User.objects.filter(pk=people["admin"].user.pk).update(is_staff=True)
    for name in ("lab", "admin"):
        fund(people[name].team, "5", reference=f"tests:{name}")
    for person in people.values():
        endpoints.create(
            team=person.team, url="https://example.com/h", event_types=["run.finished"], name="h"
        )
    runs: dict[tuple[str, Cell], str] = {}

    def while_open(releases: dict[Cell, Release]) -> None:
        offers = load_offers()
        for cell in releases:
            for name, person in people.items():
                run_id = submit_now(
                    offer=offers[cell.model], inputs=INPUTS, team_id=person.team.id,
                    key_id=person.key.id, idempotency_key=cell.secret,
                )  # fmt: skip
                runs[name, cell] = ids.public("run", run_id)

    releases = launches.all_made(cy.team, before=while_open)
    launches.lumen().teams.add(people["lab"].team)
    with connection.cursor() as cursor:
        cursor.execute("SELECT cancel_run(id, team_id) FROM runs_run")
    return Stage(web, {n: Who(n, p, web) for n, p in people.items()}, releases, runs)


@contextmanager
def ending() -> Iterator[None]:
    """Runs end as soon as they are admitted, so that nobody waits for one."""
    over = threading.Event()

    def end() -> None:
        with connection.cursor() as cursor:
            while not over.wait(0.01):
                cursor.execute(
                    "SELECT cancel_run(id, team_id) FROM runs_run WHERE state = 'queued'"
                )
        connection.close()

    thread = threading.Thread(target=end)
    thread.start()
    yield
    over.set()
    thread.join(10)


@pytest.fixture(autouse=True)
def no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "RATES", {"write": (0, 0), "read": (0, 0)})


# ── the matrix ────────────────────────────────────────────────────────────────────────────────


SAID = {"open": "open", "shown": 403, "hidden": 404, "retired": 404}


def calls(stage: Stage) -> list[Any]:
    """A run is there exactly where the specification says so."""

    def wrong(who: Who) -> list[Any]:
        found = []
        for cell in CELLS:
            for entry, ask in CALLS.items():
                answer = who.ask(entry, ask, cell.model)
                told = answer.status if answer.status in (401, 403, 404) else "open"
                if told != SAID[cell.decision(who.name)]:
                    found.append((who.name, cell, entry, answer.status, answer.body[:120]))
        return found

    faults = stage.everybody(wrong)
    admitted = Counter(Run.objects.values_list("release_id", "team_id"))
    for who, cell in product(stage.people.values(), CELLS):
        meant = 1 + (len(CALLS) if cell.decision(who.name) == "open" else 0)  # 1: the older run
        if admitted[stage.releases[cell].pk, who.person.team.id] != meant:
            faults.append((who.name, cell, "runs", meant))
    return faults


def reads(stage: Stage) -> list[Any]:
    def wrong(who: Who) -> list[Any]:
        found = []
        for cell in CELLS:
            for entry, ask in READS.items():
                decision = cell.decision(who.name)
                seen = decision == "open" or (decision == "shown" and not entry.endswith("!"))
                right = (200, 201) if seen else (403,) if decision == "shown" else (404,)
                answer = who.ask(entry.replace("!", ""), ask, cell.model)
                if answer.status not in right:
                    found.append((who.name, cell, entry, answer.status, answer.body[:120]))
        return found

    return stage.everybody(wrong)


def lists(stage: Stage) -> list[Any]:
    def wrong(who: Who) -> list[Any]:
        found = []
        for entry, ask in LISTS.items():
            answer = who.ask(entry, ask, "a/b")
            for cell in CELLS:
                seen = cell.decision(who.name) in ("open", "shown")
                if answer.status != 200 or (cell.secret.encode() in answer.body) != seen:
                    found.append((who.name, cell, entry, answer.status))
        return found

    return stage.everybody(wrong)


def older_runs(stage: Stage) -> list[Any]:
    """What a team made while it might: it is still theirs, and its model has no name. Only a
    statement keeps it, which accounts for what was paid."""

    def wrong(who: Who) -> list[Any]:
        found = []
        for cell in CELLS:
            run = stage.runs[who.name, cell]
            secret = cell.decision(who.name) == "hidden"
            for path in (
                f"/api/v1/runs/{run}", f"/api/v1/runs/{run}/receipt",
                f"/replicate/v1/predictions/{run}",
            ):  # fmt: skip
                answer = who.web.get(path, key=who.person.text)
                if answer.status != 200 or (secret and cell.secret.encode() in answer.body):
                    found.append((who.name, cell, path, answer.status))
            body = {"model": f"{cell.model}@2026-11-20", "inputs": INPUTS}
            again = who.web.run(body, key=who.person.text, once=cell.secret)
            same = again.status == 200 and again.json["id"] == run
            if not same or (secret and cell.secret.encode() in again.body):
                found.append((who.name, cell, "replay", again.status, again.body[:99]))
        for path in (
            "/api/v1/runs?limit=100", "/replicate/v1/predictions", "/api/v1/usage",
            "/api/v1/usage?group_by=release",
            "/v1/videos", "/api/v1/entries", "/fal/api/v1/models/usage?expand=summary",
            "/fal/api/v1/models/billing-events",
        ):  # fmt: skip
            told = who.web.get(path, key=who.person.text)
            found += leaks(who, path, told)
        for path in ("/", "/runs", "/usage", "/usage.csv", "/balance"):
            found += leaks(who, path, who.look("GET", path))
        return found

    return stage.everybody(wrong)


def leaks(who: Who, place: str, answer: Answer) -> list[Any]:
    hidden = [cell for cell in CELLS if cell.decision(who.name) == "hidden"]
    return [(who.name, cell, place) for cell in hidden if cell.secret.encode() in answer.body]


def webhooks(stage: Stage) -> list[Any]:
    """What was told of the older runs, and of nothing else."""
    deliver()
    teams = {who.person.team.id: who for who in stage.people.values()}
    told = Delivery.objects.values_list("team_id", "body")
    faults = [x for t, b in told for x in leaks(teams[t], "hook", Answer(200, {}, b.encode()))]
    return faults if len(told) == len(stage.runs) else [("hooks", len(told)), *faults]


# ── what never was ────────────────────────────────────────────────────────────────────────────

TWIN = HIDDEN.secret[:-1] + "x"


def never_was(stage: Stage) -> list[Any]:
    """Every address of every API, asked about both in every way that any of them knows."""
    who = stage.people["stranger"]

    def wrong(address: Address) -> list[Any]:
        if address.pattern == "/healthz":
            return []
        secret, never = (asked(who, address, slug) for slug in (HIDDEN.secret, TWIN))
        spoken = secret.body.replace(HIDDEN.secret.encode(), TWIN.encode())
        same = seen_of(Answer(secret.status, secret.headers, spoken)) == seen_of(never)
        return [] if same else [(str(address), secret.status, never.status, secret.body[:200])]

    addresses = [a for a in ALL if a.method != "DELETE" and not OWN_STATE.search(str(a))]
    with ThreadPoolExecutor(THREADS) as pool:
        return [x for found in pool.map(wrong, addresses) for x in found]


OWN_STATE = re.compile(  # what every call of makes anew, or tells in its own words each time
    r"POST /api/v1/(files|uploads|budgets|webhooks)|/api/v1/keys|cancel"
    r"|/fal/(cdn|rest|api/v1/(keys|meta))|jwks|POST /v1/webhook|secret|replay|POST /fal/api/v1/keys"
)


def asked(who: Who, address: Address, slug: str) -> Answer:
    """With the name wherever the address or its body can hold one."""
    model = f"lumen/{slug}"
    values = {"owner": "lumen", "name": slug, "model": model, "version": "2026-11-20"}
    path = PARAMETER.sub(lambda p: values.get(p[1], slug), DJANGOS.sub(r"{\1}", address.pattern))
    query = f"endpoint_id={model}&model={model}&q={slug}&query={slug}&prompt=dusk&release={model}"
    body = {
        "model": model, "inputs": INPUTS, "input": INPUTS, "version": model, "prompt": "dusk",
        "models": [model], "endpoints": {model: {"unit_quantity": 1}},
        "estimate_type": "unit_price", "allowed_apps": [model],
    }  # fmt: skip
    sent = None if address.method == "GET" else body
    return who.web.call(address.method, f"{path}?{query}", sent, key=who.person.text)


def silent_pages(stage: Stage) -> list[Any]:
    """A page of a secret is one of what never was, to who is logged in and who is not."""
    who, faults = stage.people["stranger"], []
    for page in pages():
        path = page.replace("<slug:lab>", "lumen").replace("<slug:slug>", HIDDEN.secret)
        if "<" in path or "^" in path:
            continue
        if path == page:
            faults += leaks(who, path, who.look("GET", path))
            continue
        for method, browse in product(("GET", "POST"), (who.look, nobody)):
            secret, never = browse(method, path), browse(method, path.replace(HIDDEN.secret, TWIN))
            spoken = secret.body.replace(HIDDEN.secret.encode(), TWIN.encode())
            if (secret.status, plain(spoken)) != (never.status, plain(never.body)):
                faults.append((method, path, secret.status, never.status))
    return faults


def nobody(method: str, path: str) -> Answer:
    """A page, in the browser of somebody who is not logged in."""
    found = Browser().get(path) if method == "GET" else Browser().post(path)
    return Answer(found.status_code, {}, found.content)


def plain(page: bytes) -> bytes:
    """Without what every page has anew: its tokens."""
    return re.sub(rb"[0-9A-Za-z]{64}|[0-9a-f-]{36}", b"", page)


def sessions(stage: Stage) -> list[Any]:
    who, answers = stage.people["stranger"], []
    for path, slug in product(("/fal/run/{}/realtime", "/fal/run/{}"), (HIDDEN.secret, TWIN)):
        url = f"ws://127.0.0.1:{who.web.port}{path.format(f'lumen/{slug}')}"
        with connect(url, additional_headers=who.person.bearer) as socket:
            socket.send('{"prompt": "dusk"}')
            answers.append(str(socket.recv(20)).replace(slug, ""))
    return [] if len(set(answers)) == 1 else answers


def budgets(stage: Stage) -> list[Any]:
    def answer(who: str, cell: Cell) -> int:
        wish = {"kind": "team", "period": "day", "models": [cell.model]}
        person = stage.people[who].person
        told = stage.web.call("POST", "/api/v1/budgets", wish, key=person.text)
        if told.status == 201:
            stage.web.call("DELETE", f"/api/v1/budgets/{told.json['id']}", key=person.text)
        return told.status

    return [
        ("budget", who, cell)
        for cell in CELLS
        for who in ("stranger", "lab")
        if (answer(who, cell) == 201) == (cell.decision(who) == "hidden")
    ]


def test_everything_that_speaks_of_models_keeps_to_their_windows(stage: Stage) -> None:
    """One stage for all checks: it takes longer to set up than any of them."""
    checks = (older_runs, reads, lists, budgets, never_was, silent_pages, sessions, webhooks)
    faults = {check.__name__: check(stage) for check in checks}
    with ending():
        faults["calls"] = calls(stage)
    assert {name: found for name, found in faults.items() if found} == {}

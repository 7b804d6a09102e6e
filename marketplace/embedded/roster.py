"""Which programs make up the stack on one machine, and what each of them gets to know.

An external service named in the environment has no program here.
"""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence

from django.conf import settings

from marketplace import environment as env
from marketplace.embedded.confinement import dying_with_parent
from marketplace.embedded.postgres import Postgres
from marketplace.embedded.processes import Program, at_once
from marketplace.embedded.redis import RedisServer

WEB_OPTIONS = (
    "--host=127.0.0.1",
    "--loop=uvloop",
    "--http=marketplace.hot.protocol:Protocol",
    "--no-access-log",
    "--timeout-graceful-shutdown=1",
)
CELERY_OPTIONS = ("-P", "threads", "-c", "1", "--without-gossip", "--without-mingle")
POOL = "cpu.std"
WORKER_NAME = "embedded"
# All that an inference worker inherits of the environment: no Django, no password, no lab's secret.
PASSED_ON = (
    "PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "HOME", "KINORA_WEIGHTS", "KINORA_WORKER_RUNS",
    "KINORA_WORKER_PLAN",
)  # fmt: skip
LABS_KEY = "KINORA_LABS_KEY"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def servers() -> list[Program]:
    """The database and the broker, where no external ones are named."""
    found = []
    if not settings.DATABASE_URL:
        found.append(postgres().program())
    if settings.EMBEDDED_BROKER:
        found.append(RedisServer(settings.DATA).program())
    return found


def postgres() -> Postgres:
    return Postgres(settings.DATA, settings.DATABASES["default"]["PASSWORD"])


def front(rehearsal_port: int | None) -> list[Program]:
    """What answers HTTP: the marketplace, and the rehearsal lab unless it is elsewhere."""
    web = python(
        "web",
        ["uvicorn", "marketplace.asgi:application", f"--port={settings.PORT}", *WEB_OPTIONS],
        environment=without_labs_key(marketplace_environment()),
        ready=answers(f"http://127.0.0.1:{settings.PORT}/healthz"),
    )
    if rehearsal_port is None:
        return [web]
    return [rehearsal(rehearsal_port), web]


def rehearsal(port: int) -> Program:
    return python(
        "rehearsal",
        ["partners.rehearsal", "--port", str(port)],
        environment=passed_on(),
        ready=answers(f"http://127.0.0.1:{port}/v1/stats"),
    )


def workers() -> list[Program]:
    supplier = celery("supplier", "labs", level="INFO")
    return [supplier, celery("chores", "chores", level="WARNING"), beat(), inference()]


def celery(name: str, queue: str, *, level: str) -> Program:
    command = ["celery", "-A", "marketplace.celery", "worker", *CELERY_OPTIONS]
    return python(name, [*command, "-Q", queue, "-n", f"{name}@%h", f"--loglevel={level}"])


def beat() -> Program:
    schedule = settings.DATA / "beat-schedule"
    command = ["celery", "-A", "marketplace.celery", "beat", "--schedule", str(schedule)]
    return python("beat", [*command, "--pidfile=", "--loglevel=WARNING"])


def inference() -> Program:
    """One worker on the processor, with nothing but its own addresses and token."""
    threads = str(os.cpu_count() or 1)
    command = ["celery", "-A", "inference.worker", "worker", *CELERY_OPTIONS]
    return python(
        "inference",
        [*command, "-Q", POOL, "-n", f"{WORKER_NAME}@%h", "--loglevel=INFO"],
        environment=passed_on()
        | {name: os.environ.get(name, threads) for name in THREADS}
        | {
            "KINORA_BROKER_URL": settings.BROKER_URL,
            "KINORA_CONTROL_URL": f"http://127.0.0.1:{settings.PORT}",
            "KINORA_WORKER_TOKEN": worker_token(),
            "KINORA_WORKER_NAME": WORKER_NAME,
            "KINORA_WORKER_QUEUE": POOL,
        },
    )


def worker_token() -> str:
    return env.secret("KINORA_WORKER_TOKEN", folder=settings.DATA / "secrets")


def passed_on() -> dict[str, str]:
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}


def python(
    name: str,
    module: Sequence[str],
    *,
    environment: dict[str, str] | None = None,
    ready: Callable[[], bool] = at_once,
) -> Program:
    """A module of this interpreter; without `environment` it gets the marketplace's."""
    command = [*dying_with_parent(), sys.executable, "-m", *module]
    surroundings = marketplace_environment() if environment is None else environment
    return Program(
        name=name,
        command=lambda: command,
        environment=surroundings | {"PYTHONUNBUFFERED": "1"},
        folder=settings.ROOT,
        ready=ready,
    )


def marketplace_environment() -> dict[str, str]:
    return dict(os.environ) | {
        "DJANGO_SETTINGS_MODULE": "marketplace.settings",
        "KINORA_DATA": str(settings.DATA),
        "KINORA_PORT": str(settings.PORT),
    }


def without_labs_key(environment: dict[str, str]) -> dict[str, str]:
    """For processes that parse what strangers send: they lock labs' secrets and open none."""
    return {name: value for name, value in environment.items() if not name.startswith(LABS_KEY)}


def answers(url: str) -> Callable[[], bool]:
    """Whether a GET of `url` gives 200."""

    def ask() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own http
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return ask

"""A model over two processes, through the engine: pictures, refusals, a death on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from inference.adopt import Adoption, about, adopt
from inference.engine import Engine
from inference.followers import Lost
from inference.models.contract import Step, Unusable
from inference.models.folder import Unsuitable
from inference.wire import Job
from tests.inference.models.test_flux import INPUTS, pipeline

# diffusers' own exchange calls what this torch has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.*all_gather_tensor:FutureWarning")
SLUG = "tiny"
EVEN = INPUTS | {"width": 32, "height": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("shelf") / SLUG
    pipeline().save_pretrained(made)
    adopt(Adoption("flux", made, devices=2))
    return made


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    made = Engine("cpu", weights=folder.parent, most_spread=2)
    yield made
    for followers in made.followers.values():
        followers.end()


def latent(engine: Engine, inputs: dict[str, object] = EVEN) -> Tensor:
    running = engine.begin(Job("run_1", 1, "r", SLUG, inputs), lambda _: None)
    work = running.work
    while not running.walk.over:
        engine.turn()
    engine.finish(running)
    found: Tensor = work.pictures[0].latent
    return found


def test_two_processes_draw_what_one_draws_and_a_death_costs_one_run(
    engine: Engine, folder: Path
) -> None:
    alone = latent(Engine("cpu", weights=folder.parent, most_spread=1))
    together = latent(engine)
    assert (together - alone).norm() < 1e-4 * alone.norm()
    with pytest.raises(Unusable, match=r"inputs\.width makes 49 tokens, which 2 devices cannot"):
        latent(engine, EVEN | {"width": 28, "height": 28})
    first = engine.followers[SLUG].processes[0]

    def murder(step: Step) -> None:
        first.kill()
        first.wait()

    with pytest.raises(Lost, match="is gone"):
        engine.run(Job("run_2", 1, "r", SLUG, EVEN), murder)
    assert torch.equal(latent(engine), together)
    assert engine.followers[SLUG].processes[0].pid != first.pid
    usage = engine.run(Job("run_3", 1, "r", SLUG, EVEN), lambda _: None).usage
    assert usage.plan is not None
    assert (usage.plan.name, usage.plan.exactness) == ("eager on 2 devices", "E1")


def test_what_cannot_be_spread_is_told_when_it_is_adopted(folder: Path) -> None:
    assert about(Adoption("flux", folder, devices=2))["facts"]["devices"] == 2
    with pytest.raises(Unsuitable, match="heads cannot be split 5 ways"):
        about(Adoption("flux", folder, devices=5))

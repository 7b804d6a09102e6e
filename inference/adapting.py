"""The adapters that a model is offered with: read when first asked for, worn forward by forward.

They are the files `loras/<name>.safetensors` beside a model's weights whose names its input schema
lists. A family knows nothing of them: its forwards are dressed on their way to the device, so runs
with different adapters share a resident model, and those with the same ones may share calls.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from inference.header import Invalid
from inference.lora import Adapter, Adapters, Unfit, Used, rank_of
from inference.models.contract import Forward, Loop, Step, Unusable, answered

log = logging.getLogger("inference.adapting")
FOLDER = "loras"
MOST = 3  # in one run; there is room for the three of largest ranks


@dataclass(frozen=True)
class Dressed:
    """A network's call with adapters in use."""

    adapters: Adapters
    worn: Used
    network: Callable[..., Tensor]

    @property
    def __self__(self) -> Any:
        """Give the model whose call it is, as a bound method does."""
        return getattr(self.network, "__self__", self.network)

    def __call__(self, **given: Any) -> Tensor:
        """Dress, which costs nothing where that is done already, then call."""
        self.adapters.use(*self.worn)
        return self.network(**given)


class Offered:
    """A model's adapters and the room for them in its networks."""

    def __init__(self, networks: list[nn.Module], folder: Path, names: list[str]) -> None:
        """Make room, before anything is compiled.  folder: the model's; names: as in its schema."""
        self.paths = {name: folder / FOLDER / f"{name}.safetensors" for name in names}
        self.adapters = Adapters(*networks, most=room(list(self.paths.values())))
        self.known: dict[str, Adapter] = {}

    def chosen(self, asked: Any) -> Used:
        """Have the adapters that a run asks for.  Raises Unusable."""
        asked = [] if asked is None else asked
        if not isinstance(asked, list) or len(asked) > MOST:
            raise Unusable("loras", f"must be a list of at most {MOST} adapters.")
        worn = tuple(self.one(f"loras.{place}", told) for place, told in enumerate(asked))
        ranks = sum(adapter.rank for adapter, _ in worn)
        if ranks > self.adapters.most:
            most = self.adapters.most
            raise Unusable("loras", f"has ranks that add up to {ranks}; allowed are {most}.")
        return worn

    def one(self, field: str, told: Any) -> tuple[Adapter, float]:
        """Have one adapter with its weight."""
        told = told if isinstance(told, dict) else {}
        name, weight = told.get("name"), told.get("weight", 1.0)
        if name not in self.paths:
            listed = ", ".join(self.paths) or "none"
            raise Unusable(f"{field}.name", f"names no adapter of this model; it has {listed}.")
        if not isinstance(weight, int | float) or not isfinite(weight):
            raise Unusable(f"{field}.weight", "must be a number.")
        if name not in self.known:
            try:
                self.known[name] = self.adapters.read(self.paths[name])
            except (Unfit, Invalid, OSError) as error:
                log.exception("adapter %s", self.paths[name])
                raise Unusable(f"{field}.name", f"cannot be used: {told_of(error)}") from None
        return self.known[name], float(weight)

    def worn(self, loop: Loop, used: Used) -> Loop:
        """Walk a run's loop with its forwards dressed."""
        try:
            said = next(loop, None)
            while said is not None:
                if isinstance(said, Step):
                    yield said
                    said = next(loop, None)
                else:
                    answers = yield [self.dressed(forward, used) for forward in said]
                    said = answered(loop, answers or [])
        finally:
            loop.close()

    def dressed(self, forward: Forward, used: Used) -> Forward:
        """Have a forward run with these adapters and no others."""
        return replace(forward, network=Dressed(self.adapters, used, forward.network))


def told_of(error: Exception) -> str:
    """Say why without naming folders of the machine."""
    return "its file is not here" if isinstance(error, OSError) else str(error)


def names_of(about: dict[str, Any]) -> list[str]:
    """Read from a model's description which adapters it is offered with."""
    rule = about["inputs"]["properties"].get("loras")
    return list(rule["items"]["properties"]["name"]["enum"]) if rule else []


def files_of(folder: Path) -> dict[str, Path]:
    """Find a folder's adapters by name."""
    return {path.stem: path for path in sorted((folder / FOLDER).glob("*.safetensors"))}


def room(paths: list[Path]) -> int:
    """Say how many ranks there has to be room for: those of the largest that a run may wear.

    A file that is no adapter counts as none; a run that asks for it is told.
    """
    ranks = []
    for path in paths:
        try:
            ranks.append(rank_of(path))
        except (Invalid, OSError) as error:
            log.warning("adapter %s: %s", path, error)
    return max(1, sum(sorted(ranks)[-MOST:]))

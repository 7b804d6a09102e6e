"""Several runs at once: each one's result is that of the run alone, whoever comes and goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from inference import media
from inference.batching import Floor, Walk
from inference.engine import Engine
from inference.joining import Joiner
from inference.models.contract import Forward, Loop, Step, walk
from inference.wire import Job

torch.manual_seed(0)
WIDTH = 24


class Exact(nn.Module):
    """A network whose rows never meet: joined and alone give the same bits."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH) / WIDTH**0.5)

    def forward(self, x: Tensor, t: Tensor, gain: float = 1.0) -> Tensor:
        self.calls.append(x.shape[0])
        mixed = torch.stack([(row.double() @ self.weight.double()).float() for row in x])
        return torch.tanh(mixed * gain) + t[:, None, None]


class Touchy(Exact):
    """A network that gives other bits where rows are joined."""

    def forward(self, x: Tensor, t: Tensor, gain: float = 1.0) -> Tensor:
        return super().forward(x, t, gain) * (1 if x.shape[0] == 1 else 1 + 2**-20)


class Small(Exact):
    """A network on a device that has memory for so many rows."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, x: Tensor, t: Tensor, gain: float = 1.0) -> Tensor:
        if x.shape[0] > self.most:
            self.calls.append(-x.shape[0])
            raise torch.OutOfMemoryError("no memory for so many rows")
        return super().forward(x, t, gain)


@dataclass(eq=False)
class Run:
    """A run of a tiny family; several rows in a step, as pictures or guidance give."""

    network: nn.Module
    seed: int
    size: int = 4
    steps: int = 3
    rows: int = 1
    gain: float = 1.0
    state: list[Tensor] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)

    def loop(self) -> Loop:
        draw = torch.Generator().manual_seed(self.seed)
        self.state = [torch.randn(1, self.size, WIDTH, generator=draw) for _ in range(self.rows)]
        for index in range(self.steps):
            t = torch.full((1,), index / self.steps)
            asked = [
                Forward(self.network, {"x": x, "t": t}, {"gain": self.gain}, tokens=self.size)
                for x in self.state
            ]
            answers = yield asked
            assert answers is not None
            self.state = [x - 0.3 * y for x, y in zip(self.state, answers, strict=True)]
            yield Step(index + 1, self.steps, None)

    def alone(self) -> list[Tensor]:
        for _ in walk(self.loop()):
            pass
        return self.state


def finish(floor: Floor) -> list[Walk]:
    over: list[Walk] = []
    while floor.walks:
        over += floor.turn()
    return over


def same(run: Run, want: list[Tensor]) -> bool:
    return all(map(torch.equal, run.state, want)) and len(run.state) == len(want)


def test_forwards_of_one_form_share_a_call_once_that_is_proven() -> None:
    network = Exact()
    floor = Floor(Joiner("cpu", 1000))
    runs = [Run(network, seed) for seed in range(4)]
    want = [run.alone() for run in runs]
    network.calls.clear()
    for run in runs:
        floor.join(run.loop(), lambda _: None)
    assert [walk.error for walk in finish(floor)] == [None] * 4
    assert network.calls == [1, 1, 1, 1, 4, 4, 4]  # each alone and once together: the probe
    assert all(map(same, runs, want))


def test_where_a_bit_would_change_forwards_run_one_after_the_other() -> None:
    network = Touchy()
    floor = Floor(Joiner("cpu", 1000))
    runs = [Run(network, seed) for seed in range(2)]
    want = [run.alone() for run in runs]
    network.calls.clear()
    for run in runs:
        floor.join(run.loop(), lambda _: None)
    finish(floor)
    assert network.calls == [1, 1, 2, 1, 1, 1, 1]  # probed once, refused ever after
    assert all(map(same, runs, want))


def test_nothing_is_joined_beyond_saturation() -> None:
    network = Exact()
    floor = Floor(Joiner("cpu", 8))  # tokens: two rows of four
    for seed in range(4):
        floor.join(Run(network, seed).loop(), lambda _: None)
    finish(floor)
    assert max(network.calls) == 2
    assert Joiner("cpu", 0).size(Forward(network, {"x": torch.ones(1)}, {}, 4), 9) == 1


def test_other_shapes_and_other_arguments_stay_apart() -> None:
    network = Exact()
    floor = Floor(Joiner("cpu", 1000))
    runs = [Run(network, 1), Run(network, 2, size=5), Run(network, 3, gain=2.0)]
    want = [run.alone() for run in runs]
    network.calls.clear()
    for run in runs:
        floor.join(run.loop(), lambda _: None)
    finish(floor)
    assert set(network.calls) == {1}
    assert all(map(same, runs, want))


def test_pictures_of_one_run_are_joined_as_those_of_several_are() -> None:
    network = Exact()
    run = Run(network, 7, rows=4)
    want = run.alone()
    floor = Floor(Joiner("cpu", 1000))
    floor.join(run.loop(), lambda _: None)
    finish(floor)
    assert same(run, want)
    assert network.calls[-1] == 4


def test_a_shared_call_is_paid_by_rows_and_a_probe_by_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = Exact()
    clock = {"now": 0.0}
    monkeypatch.setattr("inference.joining.time.monotonic", lambda: clock["now"])
    real = network.forward

    def slow(x: Tensor, t: Tensor, gain: float = 1.0) -> Tensor:
        clock["now"] += 8.0
        return real(x, t, gain)

    monkeypatch.setattr(network, "forward", slow)
    floor = Floor(Joiner("cpu", 1000))
    walks = [floor.join(Run(network, seed, steps=2).loop(), lambda _: None) for seed in (1, 2)]
    floor.turn()
    assert [walk.seconds for walk in walks] == [8, 8]
    floor.turn()
    assert [walk.seconds for walk in walks] == [12, 12]


def test_nobody_pays_for_a_compilation() -> None:
    class Double(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2

    network = Double()
    network.compile(backend="eager")
    joiner = Joiner("cpu", 1000)
    seconds = [
        joiner.call([Forward(network, {"x": torch.ones(2, 4)}, {}, tokens=1)])[0].seconds
        for _ in range(2)
    ]
    assert seconds[0] == 0 < seconds[1]
    torch._dynamo.reset()


def test_a_step_that_objects_ends_its_run_and_no_other() -> None:
    network = Exact()
    floor = Floor(Joiner("cpu", 1000))
    stays, goes = Run(network, 1), Run(network, 2)
    want = stays.alone()

    def object_to(step: Step) -> None:
        raise InterruptedError

    floor.join(stays.loop(), lambda _: None)
    floor.join(goes.loop(), object_to)
    errors = [type(walk.error) for walk in finish(floor)]
    assert errors == [InterruptedError, type(None)]
    assert same(stays, want)


def test_a_small_form_is_not_held_up_by_a_large_one() -> None:
    """Tokens are shared equally: ten small steps fit beside each large one."""
    order: list[str] = []
    network = Exact()
    floor = Floor(Joiner("cpu", 0))

    def note(name: str) -> Callable[[Step], None]:
        return lambda _: order.append(name)

    floor.join(Run(network, 1, size=100, steps=4).loop(), note("large"))
    floor.join(Run(network, 2, size=10, steps=30).loop(), note("small"))
    finish(floor)
    assert order[:23] == ["large", *["small"] * 10] * 2 + ["large"]


def test_a_newcomer_starts_level_with_those_who_were_there() -> None:
    network = Exact()
    floor = Floor(Joiner("cpu", 0))
    first, order = Run(network, 1, size=10, steps=50), []
    floor.join(first.loop(), lambda _: order.append("first"))
    for _ in range(40):
        floor.turn()
    order.clear()
    floor.join(Run(network, 2, size=11, steps=20).loop(), lambda _: order.append("second"))
    for _ in range(10):
        floor.turn()
    assert 4 <= order.count("second") <= 6


def test_no_memory_for_a_joint_call_fails_no_run() -> None:
    network = Small(most=2)
    floor = Floor(Joiner("cpu", 1000))
    runs = [Run(network, seed) for seed in range(4)]
    want = [run.alone() for run in runs]
    for run in runs:
        floor.join(run.loop(), lambda _: None)
    assert [walk.error for walk in finish(floor)] == [None] * 4
    assert network.calls.count(-4) == 1  # tried once
    assert network.calls[-1] == 2  # what fits is still joined
    assert all(map(same, runs, want))


def test_memory_lost_after_the_proof_fails_no_run() -> None:
    network = Small(most=4)
    floor = Floor(Joiner("cpu", 1000))
    runs = [Run(network, seed, steps=6) for seed in range(4)]
    want = [run.alone() for run in runs]
    for run in runs:
        floor.join(run.loop(), lambda _: None)
    for _ in range(3):
        floor.turn()
    network.most = 1
    assert [walk.error for walk in finish(floor)] == [None] * 4
    assert all(map(same, runs, want))


def test_a_run_that_cannot_run_alone_fails_by_itself() -> None:
    class Poor(Exact):
        def forward(self, x: Tensor, t: Tensor, gain: float = 1.0) -> Tensor:
            if bool((x > 100).any()):
                raise MemoryError("too large a value")
            return super().forward(x, t, gain)

    network = Poor()
    good, bad = Run(network, 1), Run(network, 2)
    want = good.alone()

    def spoiled() -> Loop:
        answers = yield from_rows(network, torch.full((1, 4, WIDTH), 200.0))
        assert answers
        yield Step(1, 1, None)

    floor = Floor(Joiner("cpu", 1000))
    floor.join(good.loop(), lambda _: None)
    walk = floor.join(spoiled(), lambda _: None)
    assert bad.state == []
    finish(floor)
    assert isinstance(walk.error, MemoryError)
    assert same(good, want)


def from_rows(network: nn.Module, x: Tensor) -> list[Forward]:
    return [Forward(network, {"x": x, "t": torch.zeros(1)}, {"gain": 1.0}, tokens=4)]


def test_glyph_keeps_its_bits_where_joining_would_change_them() -> None:
    """Float32 products of more rows add up otherwise on most CPUs; the probe notices."""
    engine = Engine("cpu", join_tokens=10_000)
    jobs = [
        Job(f"r{seed}", 1, "", "glyph", {"prompt": prompt, "seed": seed, "steps": 4, "count": 2})
        for seed, prompt in enumerate(["star", "tomato", "dog face"])
    ]
    want = [engine.run(job, lambda _: None).files for job in jobs]
    together = [engine.begin(job, lambda _: None) for job in jobs]
    drawn = {}
    while engine.running:
        for running in engine.turn():
            drawn[running.job.run] = tuple(map(media.encode, engine.finish(running)))
    assert [drawn[running.job.run] for running in together] == want
    assert list(engine.floor.joiner.proofs.values()) != [{}]  # it was probed


plans = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 99),
        "size": st.sampled_from([3, 4]),
        "steps": st.integers(0, 4),
        "rows": st.integers(1, 3),
        "gain": st.sampled_from([1.0, 0.5]),
        "arrives": st.integers(0, 6),
        "leaves": st.none() | st.integers(0, 12),
        "touchy": st.booleans(),
    }
)


@settings(max_examples=60, deadline=None)
@given(st.lists(plans, min_size=1, max_size=6), st.sampled_from([0, 8, 16, 1000]))
def test_whoever_comes_and_goes_each_run_ends_as_if_alone(
    asked: list[dict[str, int]], most_tokens: int
) -> None:
    networks = [Exact(), Touchy()]
    floor = Floor(Joiner("cpu", most_tokens))
    pending = []
    for plan in asked:
        names = ("seed", "size", "steps", "rows", "gain")
        run = Run(networks[plan["touchy"]], **{name: plan[name] for name in names})
        pending.append((plan, run, run.alone()))
    walks: dict[int, Walk] = {}
    for moment in range(500):
        for number, (plan, run, _) in enumerate(pending):
            if plan["arrives"] == moment:
                walks[number] = floor.join(run.loop(), lambda _: None)
            if plan["leaves"] == moment and number in walks and not walks[number].over:
                floor.leave(walks[number], InterruptedError())
        floor.turn()
    assert not floor.walks
    assert not floor.buckets
    for number, (_, run, want) in enumerate(pending):
        if walks[number].error is None:
            assert same(run, want)

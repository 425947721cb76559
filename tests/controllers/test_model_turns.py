"""Jobs that embed by a model of a server: they wait for it, and it is let go and told of once they have ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from controllers.index.model_turns import ModelTurns
from controllers.step import Started
from engines.errors import AuditUnavailable, ServerAbsent
from engines.jobs.job import Job
from engines.ollama.calls import Tally
from engines.ollama.choice import ModelState
from specs.errors import LakehouseError
from state import reasons

NOMIC = {"ollama": "nomic"}
JOB = Job("j", "truth", "m:f", {}, 1, "EvalSet/e")
RUNS = Started(reasons.EVALUATING, "it runs")
CALLED = {"modelCalls": {"calls": 2, "texts": 9, "read": 40, "seconds": 0.5}}


class World:
    """Whose turn it is, and what was told."""

    def __init__(self, state: ModelState) -> None:
        self.state = state
        self.holds: dict[str, str] = {}
        self.began: list[tuple[str, str]] = []
        self.told: list[tuple[str, str, str | None, Tally | None, LakehouseError | None]] = []
        self.full: LakehouseError | None = None

    def want(self, owner: str, model: str) -> ModelState:
        self.holds[owner] = model
        return self.state

    def let_go(self, owner: str) -> None:
        self.holds.pop(owner, None)

    def begun(self, job: Job, model: str) -> str:
        if self.full is not None:
            raise self.full
        self.began.append((job.id, model))
        return f"row-{len(self.began)}"

    def ended(self, job: Job, model: str, begun: str | None, tally: Tally | None, error: LakehouseError | None) -> None:
        self.told.append((job.id, model, begun, tally, error))


Result = Started | Mapping[str, Any] | LakehouseError


def run(world: World, model: Any, result: Result, *, begun: bool = False, turns: ModelTurns | None = None) -> Any:
    def job() -> Started | Mapping[str, Any]:
        if isinstance(result, LakehouseError):
            raise result
        return result

    return (turns or ModelTurns(world, world)).run(JOB, model, job, begun=begun)


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        (ModelState("loading"), reasons.EMBEDDING, "nomic is being loaded"),
        (
            ModelState("waiting", "other is loaded for Index/a"),
            reasons.MODEL_UNAVAILABLE,
            "nomic is not loaded: other is loaded for Index/a",
        ),
        (ModelState("waiting", "b came", drift="b came"), reasons.MODEL_DRIFT, "nomic is not loaded yet: b came"),
        (ModelState("loading", drift="b came"), reasons.MODEL_DRIFT, "nomic is not loaded yet: b came"),
        (ModelState("absent", "nobody answers"), reasons.MODEL_UNAVAILABLE, "nomic is not loaded: nobody answers"),
    ],
)
def test_a_job_waits_until_its_model_is_loaded(state: ModelState, reason: str, words: str) -> None:
    world = World(state)
    found = run(world, NOMIC, AssertionError("it must not begin"))  # type: ignore[arg-type]
    assert (found.reason, found.message) == (reason, words)
    assert (world.holds, world.began) == ({"EvalSet/e": "nomic"}, [])
    assert run(world, NOMIC, RUNS, begun=True) == RUNS, "what has begun is not held up"


def test_it_holds_its_model_while_it_runs_and_is_told_of_before_it_begins_and_once_it_has_ended() -> None:
    world = World(ModelState("loaded"))
    turns = ModelTurns(world, world)
    assert run(world, NOMIC, RUNS, turns=turns) == RUNS
    assert run(world, NOMIC, RUNS, turns=turns, begun=True) == RUNS
    assert (world.holds, world.began, world.told) == ({"EvalSet/e": "nomic"}, [("j", "nomic")], [])
    assert run(world, NOMIC, {"digest": "d", **CALLED}, turns=turns, begun=True) == {"digest": "d"}
    assert (world.holds, world.told) == ({}, [("j", "nomic", "row-1", Tally(2, 9, 40, 0.5), None)])


def test_a_failure_lets_go_and_is_told() -> None:
    world, error = World(ModelState("loaded")), ServerAbsent("gone", remedy="start it")
    with pytest.raises(ServerAbsent):
        run(world, NOMIC, error)
    assert (world.holds, world.told) == ({}, [("j", "nomic", "row-1", None, error)])


def test_a_job_whose_beginning_cannot_be_told_does_not_begin() -> None:
    world = World(ModelState("loaded"))
    world.full = AuditUnavailable("the disk is full")
    with pytest.raises(AuditUnavailable):
        run(world, NOMIC, AssertionError("it must not begin"))  # type: ignore[arg-type]
    assert (world.holds, world.told) == ({}, [])


def test_what_this_process_embeds_itself_waits_for_nobody_and_tells_nothing() -> None:
    world = World(ModelState("waiting", "others are first"))
    assert run(world, "builtin", {"digest": "d"}) == {"digest": "d"}
    with pytest.raises(ServerAbsent):
        run(world, "builtin", ServerAbsent("gone", remedy="start it"))
    assert (world.holds, world.began, world.told) == ({}, [], [])


def test_a_job_that_asked_nothing_says_so() -> None:
    world = World(ModelState("loaded"))
    assert run(world, NOMIC, {}) == {}
    assert world.told == [("j", "nomic", "row-1", Tally(), None)]

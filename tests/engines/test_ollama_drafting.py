"""What a chat model drafts, descriptions and migrations: over real HTTP, checked, and never in anybody's way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ollama_server import Model, OllamaServer

from engines.embedding import registry
from engines.files.schema_diff import Difference
from engines.migration_draft import drafted
from engines.ollama.drafting import ModelDrafter, messages, question
from engines.ollama.migrating import suggested
from engines.ollama.models import OllamaModels
from engines.ollama.server import Server
from engines.reading import Reader
from state.catalog.schemas import Column, Schema
from state.drafting import Facts, by_template

FACTS = Facts(
    "candidates", 3, [("id", "string"), ("city", "string"), ("phone", "string")], ("id",), 1, "file", {"pii": {"phone": ("phone",)}},
    examples={"city": ("Ulm", "Bonn"), "phone": ("555-0100",)},
)  # fmt: skip
GOOD = "Each row is a person who looks for work."
CALM = Difference("narrowed", "n", "int64", "int32")


@pytest.fixture
def ollama() -> Iterator[OllamaServer]:
    server = OllamaServer(qwen=Model(kind="chat", context=4096))
    yield server
    server.close()


class Qwen:
    """The one model. allowed: whether it may read of the dataset; for: whom it is asked."""

    allowed = True

    def named(self, dataset: str) -> tuple[str, ...]:
        return ("qwen",) if dataset == FACTS.name else ()

    def chosen(self, dataset: str) -> tuple[str, Reader] | None:
        return ("qwen", Reader(profile="p")) if self.allowed else None


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def make(ollama: OllamaServer, tmp_path: Path) -> Iterator[Callable[[], tuple[ModelDrafter, Clock]]]:
    made: list[ModelDrafter] = []
    ticks = iter(range(0, 10**9, 10))

    def drafter() -> tuple[ModelDrafter, Clock]:
        clock = Clock()
        clock.now = 1000.0 * (1 + len(made))
        chats = OllamaModels(Server(ollama.url), registry.builtin_tokens, clock=lambda: float(next(ticks))).chats()
        made.append(ModelDrafter(Qwen(), chats, tmp_path / "cache/drafts.json", clock))
        return made[-1], clock

    yield drafter
    for one in made:
        one.close()
        one.thread.join(20)


def answers(ollama: OllamaServer, *texts: str) -> None:
    ollama.models["qwen:latest"].answers = list(texts)


def later(drafter: ModelDrafter, facts: Facts, unlike: str) -> str:
    """What is said once it is something else."""
    while (said := drafter(facts)) == unlike:
        assert drafter.thread.is_alive()
    return said


def test_a_description_comes_when_the_model_has_answered(ollama: OllamaServer, make: Callable[[], tuple[ModelDrafter, Clock]]) -> None:
    answers(ollama, json.dumps({"description": GOOD}))
    ollama.speaking.clear()
    drafter, _ = make()
    assert drafter(FACTS) == by_template(FACTS), "nobody waits"
    ollama.speaking.set()
    assert later(drafter, FACTS, by_template(FACTS)) == GOOD
    again, _ = make()
    assert again(FACTS) == GOOD, "it is kept"
    assert len(ollama.bodies("/api/chat")) == 1
    assert drafter(Facts("empty", 0, [])) == "nothing yet"


def test_a_model_that_does_not_answer_leaves_the_template_with_a_note(
    ollama: OllamaServer, make: Callable[[], tuple[ModelDrafter, Clock]]
) -> None:
    ollama.models.clear()
    drafter, clock = make()
    said = later(drafter, FACTS, by_template(FACTS))
    assert said.startswith(f"{by_template(FACTS)} (drafted without qwen: Ollama at")
    ollama.models["qwen:latest"] = Model(kind="chat", context=4096, answers=[json.dumps({"description": GOOD})])
    assert drafter(FACTS) == said, "not at once"
    clock.now += 400
    assert later(drafter, FACTS, said) == GOOD


@pytest.mark.parametrize("bad", ['{"description": "short"}', '{"description": "<b>bold words here</b>"}', '{"text": "no"}', "no json"])
def test_an_answer_of_no_use_is_none(ollama: OllamaServer, make: Callable[[], tuple[ModelDrafter, Clock]], bad: str) -> None:
    answers(ollama, bad)
    drafter, _ = make()
    assert "drafted without qwen: qwen does not answer as it is asked to" in later(drafter, FACTS, by_template(FACTS))


def test_no_sensitive_value_is_told() -> None:
    asked = json.dumps(messages(FACTS))
    assert "Ulm" in asked
    assert "555" not in asked
    assert question(FACTS)["columns"][2] == {"name": "phone", "type": "string"}


SCHEMA = Schema(3, (Column(1, "first_name", "string"), Column(2, "age", "int64"), Column(3, "n", "int64")))
GONE = (Difference("dropped", "first_name", "string"), Difference("dropped", "age", "int64"))
NEW = (Difference("added", "vorname", now="string"), Difference("added", "note", now="string"))


def chats_of(ollama: OllamaServer) -> OllamaModels:
    return OllamaModels(Server(ollama.url), registry.builtin_tokens)


def test_a_column_that_was_renamed_is_seen_by_the_model(ollama: OllamaServer) -> None:
    answers(ollama, json.dumps({"renamed": {"first_name": "vorname", "age": "note"}}))
    found, note = suggested((*GONE, *NEW, CALM), "qwen", chats_of(ollama).chats())
    assert note == "qwen takes first_name for vorname now."
    assert [one.words for one in found] == [
        "first_name seems to be called vorname now: qwen takes it for that",
        "age is gone",  # a string is no int64
        "note is new (string)",
        "n is int32, which the table's int64 has room for",
    ]
    assert drafted(found, SCHEMA, lambda name, kind: True) == {"from": 3, "rename": {"first_name": "vorname"}}
    assert "Ulm" not in json.dumps(ollama.bodies("/api/chat"))


@pytest.mark.parametrize("bad", ['{"renamed": {"first_name": "elsewhere"}}', '{"renamed": {"other": "note"}}', "[]"])
def test_a_migration_of_columns_that_are_not_there_is_none(ollama: OllamaServer, bad: str) -> None:
    answers(ollama, bad)
    found, note = suggested((*GONE, *NEW), "qwen", chats_of(ollama).chats())
    assert found == (*GONE, *NEW)
    assert note is not None
    assert note.startswith("Drafted without qwen: qwen does not answer as it is asked to")


def test_nothing_is_asked_where_nothing_was_lost(ollama: OllamaServer) -> None:
    assert suggested((*NEW, CALM), "qwen", chats_of(ollama).chats()) == ((*NEW, CALM), None)
    assert ollama.asked == []

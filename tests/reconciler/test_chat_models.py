"""Which chat model drafts what nobody wrote: that of the settings, else of the first profile by name that may read of the dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from ollama_server import Model, OllamaServer
from small_lake import BUCKET, Bench, dataset

from engines.embedding import registry
from engines.ollama.drafting import ModelDrafter
from engines.ollama.models import OllamaModels
from engines.ollama.server import Server
from engines.reading import ANONYMOUS
from reconciler.chat_models import ChatModels

ROWS = "id,city,mail\n1,Ulm,a@example.com\n2,Bonn,b@example.org\n"
GOOD = "Each row is a person who looks for work."
OPEN = 'rows: [{roles: [r], where: "true"}]'


def profile(name: str, more: str = "", model: str = "qwen", datasets: str = "[x]") -> str:
    asks = f", model: {{ollama: {model}}}" if model else ""
    return f"apiVersion: lakehouse/v1\nkind: Profile\nmetadata: {{name: {name}}}\nspec: {{datasets: {datasets}{asks}{more}}}\n"


def policy(more: str = OPEN) -> str:
    return f"apiVersion: lakehouse/v1\nkind: Policy\nmetadata: {{name: p}}\nspec: {{dataset: x, {more}}}\n"


@pytest.fixture
def lake(bench: Bench) -> Bench:
    bench.write("data/x/1.csv", ROWS)
    bench.write("data/y/1.csv", ROWS)
    return bench


def models(bench: Bench, *specs: str, chat: str = "") -> ChatModels:
    bench.commit(BUCKET, BUCKET.replace("primary", "mine").replace("path: lake", "path: mine"), dataset("x"), dataset("y"), *specs)
    bench.settle()
    return ChatModels(chat, bench.world, bench.catalog.table, bench.kinds.policy.book.now)


@pytest.mark.parametrize(
    ("specs", "by"),
    [
        ([], None),
        ([profile("b", model="two"), profile("a", model="one")], ("one", "a")),
        ([profile("a", model=""), profile("b")], ("qwen", "b")),
        ([profile("a", datasets="[y]")], None),
        ([profile("a", datasets="[]")], None),
        ([profile("a", ", at: 1"), profile("b", model="two")], ("two", "b")),
        ([profile("a", ", bucket: mine")], None),
        ([policy(), profile("a", ", role: r")], ("qwen", "a")),
        ([policy(), profile("a", ", role: other")], ("qwen", "a")),  # no rows are shown, columns are
        ([policy('rows: [{roles: [r], where: "nothing = 1"}]'), profile("a", ", role: r")], None),  # closed
    ],
)
def test_the_first_profile_that_may_read_of_it(lake: Bench, specs: list[str], by: tuple[str, str] | None) -> None:
    found = models(lake, *specs).chosen("x")
    assert (found and (found[0], found[1].profile)) == by


def test_the_model_of_the_settings_goes_before(lake: Bench) -> None:
    found = models(lake, profile("a"), chat="llama")
    assert (found.named("x"), found.chosen("x")) == (("llama",), ("llama", ANONYMOUS))


@pytest.fixture
def ollama() -> Iterator[OllamaServer]:
    server = OllamaServer(qwen=Model(kind="chat", context=4096, answers=[json.dumps({"description": GOOD})]))
    yield server
    server.close()


def described(bench: Bench, drafter: ModelDrafter, *, asks: bool) -> str:
    """What is said of x, once a model that is asked has answered."""
    state = bench.catalog.get("Dataset/x")
    assert state is not None
    first = bench.state.describe(state).description
    while asks and (said := bench.state.describe(state).description) == first:
        assert drafter.thread.is_alive()
        drafter.thread.join(0.01)
    return said if asks else first


@pytest.mark.parametrize(("specs", "examples"), [([], True), ([policy()], False)])
def test_a_description_by_the_model_of_a_profile(lake: Bench, ollama: OllamaServer, specs: list[str], examples: bool) -> None:
    chosen = models(lake, *specs, profile("a", ", role: r"))
    chats = OllamaModels(Server(ollama.url), registry.builtin_tokens).chats()
    drafter = ModelDrafter(chosen, chats, lake.folder / "drafts.json")
    lake.state.describe.drafter, lake.state.describe.drafted_by = drafter, chosen.named
    try:
        assert described(lake, drafter, asks=True) == GOOD
        asked = json.dumps(ollama.bodies("/api/chat"))
        assert ("Ulm" in asked, "example.com" in asked, "city" in asked) == (examples, False, True)
        models(lake, *specs)
        assert described(lake, drafter, asks=False).startswith("3 columns"), "nobody's model is asked any more"
    finally:
        drafter.close()
        drafter.thread.join(20)

"""Which models are in memory: decisions by table, and the loop over real HTTP: slow stops, other clients, deaths."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from ollama_server import GB, Model, OllamaServer

from engines.embedding import registry
from engines.errors import ModelUnavailable, ModelWaits
from engines.ollama.activation import MOST_TRIES, ModelRuntime
from engines.ollama.choice import Budget, Chosen, Load, ModelState, Seen, Unload, Want, choose, next_action
from engines.ollama.facts import Kind, Loaded, ModelFacts
from engines.ollama.models import OllamaModels
from engines.ollama.server import Server
from state import reasons

LOADED = ModelState("loaded")


def facts(name: str, kind: Kind = "chat", size: int = GB) -> ModelFacts:
    return ModelFacts(name, f"digest of {name}", kind, size)


def seen(loaded: Sequence[str] = (), missing: dict[str, str] | None = None, size: int = GB) -> Seen:
    known = {name: facts(name, size=size) for name in "abc"} | {name: facts(name, "embedding", size) for name in ("e", "f")}
    return Seen([Loaded(name, "", size, size) for name in loaded], known, {}, missing or {})


class TestWhoGetsWhat:
    @pytest.mark.parametrize(
        ("wants", "most", "vram", "targets", "waits"),
        [
            ([("Profile/x", "a")], 1, None, ["a"], {}),
            ([("Profile/y", "b"), ("Profile/x", "a")], 1, None, ["a"], {"b": "a is loaded for Profile/x, and `models.maxActive` is 1"}),
            ([("Profile/y", "b"), ("Profile/x", "a")], 2, None, ["a", "b"], {}),
            ([("Profile/y", "a"), ("Profile/x", "a")], 1, None, ["a"], {}),
            ([("Index/a", "e"), ("Profile/x", "a")], 1, None, ["a"], {"e": "a is loaded for Profile/x, and `models.maxActive` is 1"}),
            ([("Index/a", "e"), ("Index/b", "f")], 3, None, ["e"], {"f": "e is loaded for Index/a, and one embedding model is at a time"}),
            ([("Index/a", "e"), ("Profile/x", "a")], 2, None, ["a", "e"], {}),
            ([("Profile/x", "a"), ("Profile/y", "b")], 2, 15 * GB // 10, ["a"], {"b": "1.0 GB of the 1.5 GB"}),
            ([("Profile/x", "a")], 2, GB // 2, [], {"a": "a takes about 1.0 GB of the 0.5 GB of `models.vramBytes`"}),
            ([], 1, None, [], {}),
        ],
    )
    def test_by_name_within_the_bounds(
        self, wants: list[tuple[str, str]], most: int, vram: int | None, targets: list[str], waits: dict[str, str]
    ) -> None:
        for order in (wants, wants[::-1]):
            found = choose([Want(*want) for want in order], seen(), Budget(most, vram))
            assert list(found.targets) == targets
            assert found.waits.keys() == waits.keys()
            assert all(waits[model] in why for model, why in found.waits.items())

    def test_nobody_takes_the_place_of_who_has_it(self) -> None:
        wants = [Want("Profile/z", "a", granted=True), Want("Profile/a", "b")]
        assert list(choose(wants, seen(), Budget()).targets) == ["a"]

    def test_what_is_not_there_is_no_hindrance(self) -> None:
        found = choose([Want("Profile/a", "a"), Want("Profile/b", "b")], seen(missing={"a": "it is not pulled"}), Budget())
        assert (list(found.targets), found.waits) == (["b"], {"a": "it is not pulled"})


class TestTheNextThing:
    @pytest.mark.parametrize(
        ("targets", "loaded", "most", "vram", "action"),
        [
            (["a"], [], 1, None, Load("a")),
            (["a"], ["a"], 1, None, None),
            (["a"], ["b"], 1, None, Unload("b", "`models.maxActive` is 1")),
            (["a"], ["a", "b"], 1, None, Unload("b", "`models.maxActive` is 1")),
            (["a"], ["b"], 2, None, Load("a")),
            (["a"], ["b"], 2, GB, Unload("b", "`models.vramBytes` would be exceeded")),
            (["e"], ["f"], 5, None, Unload("f", "one embedding model is at a time")),
            (["e"], ["e", "f"], 5, None, Unload("f", "one embedding model is at a time")),
            ([], ["a", "b"], 1, None, None),
        ],
    )
    def test_one_at_a_time(self, targets: list[str], loaded: list[str], most: int, vram: int | None, action: object) -> None:
        assert next_action(Chosen(dict.fromkeys(targets, "Profile/x"), {}), seen(loaded), Budget(most, vram)) == action


class News:
    """Everything that was told."""

    def __init__(self) -> None:
        self.changes: list[str] = []
        self.events: list[tuple[str, str, str]] = []
        self.told = threading.Condition()

    def changed(self, owners: Iterable[str]) -> None:
        with self.told:
            self.changes += owners
            self.told.notify_all()

    def event(self, owners: Iterable[str], reason: str, message: str) -> None:
        self.events += [(owner, reason, message) for owner in owners]


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ollama() -> Iterator[OllamaServer]:
    server = OllamaServer(
        a=Model(kind="chat", context=64), b=Model(kind="chat", context=64), e=Model(), f=Model(), huge=Model(kind="chat", vram=100 * GB)
    )
    yield server
    server.close()


class World:
    """A runtime over a server; each step is done by the test."""

    def __init__(self, ollama: OllamaServer, budget: Budget | None = None, **server: float) -> None:
        self.clock, self.news = Clock(), News()
        settings = Server(ollama.url, call_seconds=5.0, **{"load_seconds": 5.0, **server})  # type: ignore[arg-type]
        ticks = iter(range(0, 10**9, 10))
        self.models = OllamaModels(settings, registry.builtin_tokens, clock=lambda: float(next(ticks)))
        self.specs: dict[str, str] = {}
        self.runtime = ModelRuntime(
            self.models.client, self.models.facts, self.models.context, budget or Budget(), self.news, self.clock, lambda: self.specs
        )
        self.models.use = self.runtime.use

    def settle(self) -> None:
        """Until nothing is to be done."""
        for _ in range(20):
            if self.runtime.step() not in (0.0,):
                return
        raise AssertionError("it does not come to rest")

    def states(self, *models: str) -> list[str]:
        return [self.runtime.ready(model).phase for model in models]


@contextmanager
def running(world: World) -> Iterator[None]:
    thread = threading.Thread(target=world.runtime.run)
    thread.start()
    try:
        yield
    finally:
        world.runtime.close()
        thread.join(20)
        assert not thread.is_alive()


def test_a_model_is_loaded_and_said_to_be(ollama: OllamaServer) -> None:
    world = World(ollama)
    assert world.runtime.want("Profile/x", "a") == ModelState("loading")
    world.settle()
    assert world.runtime.ready("a") == LOADED
    assert list(ollama.loaded) == ["a:latest"]
    assert "Profile/x" in world.news.changes
    assert world.runtime.ready("b").phase == "waiting"


def test_two_profiles_at_once_are_served_in_order(ollama: OllamaServer) -> None:
    world = World(ollama)
    world.runtime.want("Profile/y", "b")
    world.runtime.want("Profile/x", "a")
    world.settle()
    assert world.states("a", "b") == ["loaded", "waiting"]
    assert world.runtime.ready("b").reason == "a:latest is loaded for Profile/x, and `models.maxActive` is 1"
    world.runtime.let_go("Profile/x")
    world.settle()
    assert world.states("b") == ["loaded"]
    assert list(ollama.loaded) == ["b:latest"]
    assert ollama.most["all"] == 1
    assert world.news.changes.count("Profile/y") >= 2


def test_what_specs_say_is_loaded_as_long_as_they_say_it(ollama: OllamaServer) -> None:
    world = World(ollama)
    world.specs = {"Profile/y": "b", "Profile/x": "a"}
    assert world.states("a", "b") == ["loading", "loading"]
    world.settle()
    assert world.states("a", "b") == ["loaded", "waiting"]
    world.specs = {"Profile/y": "b"}
    world.settle()
    assert world.states("b") == ["loaded"]
    world.specs = {"Profile/y": "a"}
    world.settle()
    assert list(ollama.loaded) == ["a:latest"]
    world.specs = {}
    assert world.runtime.step() is None
    assert world.runtime.ready("b").idle


def test_never_two_embedding_models(ollama: OllamaServer) -> None:
    world = World(ollama, Budget(most=4))
    world.runtime.want("Index/one", "e")
    world.settle()
    world.runtime.want("Index/two", "f")
    world.settle()
    assert world.states("e", "f") == ["loaded", "waiting"]
    world.runtime.let_go("Index/one")
    world.settle()
    assert world.states("f") == ["loaded"]
    assert ollama.most["embedding"] == 1


def test_whoever_was_told_that_a_model_is_loaded_keeps_it(ollama: OllamaServer) -> None:
    world = World(ollama, Budget(most=4))
    world.runtime.want("Index/z", "e")
    world.settle()
    world.runtime.let_go("Index/z")
    assert world.runtime.want("Index/z", "e") == LOADED, "it was not asked for meanwhile"
    world.runtime.want("Index/a", "f")  # by name it would be first
    world.settle()
    assert world.states("e", "f") == ["loaded", "waiting"]


def test_nor_is_it_taken_from_one_who_came_while_the_server_was_looked_at(ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(ollama, Budget(most=4))
    world.runtime.want("Index/z", "e")
    world.settle()
    world.runtime.let_go("Index/z")
    world.runtime.want("Index/a", "f")
    looked = world.models.client.loaded
    answers: list[ModelState] = []

    def looking() -> object:
        if not answers:
            answers.append(world.runtime.want("Index/z", "e"))
        return looked()

    monkeypatch.setattr(world.models.client, "loaded", looking)
    world.settle()
    assert answers == [LOADED]
    assert world.states("e", "f") == ["loaded", "waiting"]
    assert ollama.most["embedding"] == 1


def test_one_who_came_while_the_server_was_looked_at_is_told_what_was_seen(ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(ollama)
    world.runtime.want("Index/a", "e")
    assert [world.runtime.step(), world.states("e")] == [0.0, ["loading"]], "it is loaded, and not seen to be yet"
    looked = world.models.client.loaded
    answers: list[ModelState] = []

    def looking() -> object:
        answers.append(world.runtime.want("Index/b", "e"))
        return looked()

    world.news.changes.clear()
    monkeypatch.setattr(world.models.client, "loaded", looking)
    world.settle()
    assert answers[0] == ModelState("loading")
    assert world.news.changes == ["Index/a", "Index/b"]


def test_what_is_stopping_is_waited_for(ollama: OllamaServer) -> None:
    world = World(ollama)
    world.runtime.want("Profile/x", "a")
    world.settle()
    world.runtime.let_go("Profile/x")
    world.runtime.want("Profile/y", "b")
    ollama.going.clear()
    thread = threading.Thread(target=world.settle)
    thread.start()
    while ollama.bodies("/api/generate")[-1].get("keep_alive") != 0:
        assert thread.is_alive()
    for _ in range(3):
        world.models.client.loaded()
    assert list(ollama.loaded) == ["a:latest"], "b is not loaded beside it"
    ollama.going.set()
    thread.join(20)
    assert list(ollama.loaded) == ["b:latest"]
    assert ollama.most["all"] == 1


def test_our_own_answers_are_ended_for_another_model(ollama: OllamaServer) -> None:
    world = World(ollama)
    world.runtime.want("Profile/x", "a")
    world.settle()
    ollama.models["a:latest"].answers = ["one two three four"]
    ollama.speaking.clear()
    pieces = world.models.chats().pieces("a", [{"role": "user", "content": "hello"}])
    assert next(pieces) == "one"
    world.runtime.let_go("Profile/x")
    world.runtime.want("Profile/y", "b")
    thread = threading.Thread(target=world.settle)
    thread.start()
    while not all(call.ended for call in world.runtime.calls):
        assert thread.is_alive()
    ollama.speaking.set()
    with pytest.raises(ModelWaits, match="b:latest is loaded in its place"):
        list(pieces)
    thread.join(20)
    assert list(ollama.loaded) == ["b:latest"]


def test_another_client_that_loads_again_is_told_of_and_not_fought(ollama: OllamaServer) -> None:
    world = World(ollama)
    ollama.load("a")
    world.runtime.want("Profile/y", "b")
    world.settle()
    assert list(ollama.loaded) == ["b:latest"]
    tries = 1
    while True:
        ollama.load("a")
        before = len(ollama.bodies("/api/generate"))
        world.settle()
        state = world.runtime.ready("b")
        assert state.phase == "loaded", "what is there goes on answering"
        assert bool(state.drift) == ("a:latest" in ollama.loaded), "it is told as long as it is so"
        if "a:latest" in ollama.loaded:  # not at once
            world.clock.now += 120
            world.settle()
        if len(ollama.bodies("/api/generate")) == before:
            break
        tries += 1
    assert tries == MOST_TRIES
    assert {(owner, reason) for owner, reason, _ in world.news.events} == {("Profile/y", reasons.MODEL_DRIFT)}
    assert len(world.news.events) == MOST_TRIES
    ollama.loaded.pop("b:latest")
    world.settle()
    state = world.runtime.ready("b")
    assert (state.phase, "again and again" in state.reason) == ("waiting", True)
    world.clock.now += 4000
    ollama.loaded.pop("a:latest")
    world.settle()
    assert world.runtime.ready("b") == LOADED


# a connection that the killed server had half accepted is closed by the collector, which says so
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_server_killed_in_the_middle_of_a_swap(ollama: OllamaServer) -> None:
    world = World(ollama)
    world.runtime.want("Profile/x", "a")
    world.settle()
    world.runtime.let_go("Profile/x")
    world.runtime.want("Profile/y", "b")
    ollama.on_unload = lambda name: None
    ollama.going.clear()
    thread = threading.Thread(target=world.settle)
    thread.start()
    while ollama.bodies("/api/generate")[-1].get("keep_alive") != 0:
        assert thread.is_alive()
    ollama.stop()
    ollama.going.set()
    thread.join(20)
    world.clock.now += 60
    world.settle()
    state = world.runtime.ready("b")
    assert (state.phase, "ollama serve" in state.reason) == ("absent", True)
    ollama.start()
    world.clock.now += 60
    world.settle()
    assert world.runtime.ready("b") == LOADED
    assert list(ollama.loaded) == ["b:latest"]


@pytest.mark.parametrize("model", ["huge", "missing"])
def test_a_model_that_cannot_be_had_says_why_and_stops_nobody(ollama: OllamaServer, model: str) -> None:
    world = World(ollama)
    world.runtime.want("Profile/x", model)
    world.settle()
    state = world.runtime.ready(model)
    assert state.phase == "absent"
    assert {"huge": "has no memory for huge", "missing": "`ollama pull missing:latest`"}[model] in state.reason
    world.runtime.let_go("Profile/x")
    world.runtime.want("Profile/y", "b")
    world.settle()
    assert world.runtime.ready("b") == LOADED


@pytest.mark.parametrize("fault", ["garbage", "list", "busy", "drop"])
def test_a_server_that_answers_nonsense(ollama: OllamaServer, fault: str) -> None:
    world = World(ollama)
    ollama.faults = {"/api/ps": fault}
    world.runtime.want("Profile/x", "a")
    world.settle()
    assert world.states("a") == ["absent"]
    ollama.faults = {}
    world.settle()
    assert world.runtime.ready("a") == LOADED


def test_what_went_by_itself_is_loaded_again(ollama: OllamaServer) -> None:
    world = World(ollama)
    world.runtime.want("Profile/x", "a")
    world.settle()
    ollama.loaded.clear()
    world.settle()
    assert list(ollama.loaded) == ["a:latest"]


def test_a_call_loads_its_model_and_lets_it_go(ollama: OllamaServer) -> None:
    world = World(ollama)
    with running(world):
        assert world.models.embedder("e").embed(["a"]).shape == (1, 32)
        assert world.models.embedder("f").embed(["a"]).shape == (1, 32)
        assert "".join(world.models.chats().pieces("a", [{"role": "user", "content": "b"}])) == "It is so."
    assert ollama.most["embedding"] == ollama.most["all"] == 1


def test_a_call_is_refused_while_another_model_is_wanted(ollama: OllamaServer) -> None:
    world = World(ollama)
    with running(world):
        world.runtime.want("Profile/x", "a")
        with world.runtime.use("a"), pytest.raises(ModelWaits, match="a:latest is loaded for Profile/x"), world.runtime.use("e"):
            pass
        with pytest.raises(ModelUnavailable, match="ollama pull missing"), world.runtime.use("missing"):
            pass
        world.runtime.let_go("Profile/x")
        with world.runtime.use("e"):
            assert list(ollama.loaded) == ["e:latest"]


def test_calls_from_many_threads_wait_for_one_loading(ollama: OllamaServer) -> None:
    world = World(ollama)
    found: list[int] = []
    ollama.loading.clear()

    def call() -> None:
        found.append(world.models.embedder("e").embed(["a b"]).shape[0])

    with running(world):
        threads = [threading.Thread(target=call) for _ in range(6)]
        for thread in threads:
            thread.start()
        ollama.loading.set()
        for thread in threads:
            thread.join(20)
    assert found == [1] * 6
    assert ollama.most["all"] == 1

"""The client of an Ollama server, over real HTTP: facts, embeddings, chats, and every way in which they can fail."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from ollama_server import DOCUMENTED, GB, Model, OllamaServer

from engines import errors
from engines.embedding import registry
from engines.errors import (
    EngineError,
    ModelAnswerInvalid,
    ModelMemory,
    ModelMissing,
    ServerAbsent,
    ServerRefused,
    ServerSlow,
)
from engines.ollama.calls import untold
from engines.ollama.chat import Chats
from engines.ollama.client import OllamaClient, numbers
from engines.ollama.models import OllamaModels, anyhow
from engines.ollama.names import same
from engines.ollama.prefixes import prefixes
from engines.ollama.server import Server

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"], "additionalProperties": False}
ASKED = [{"role": "user", "content": "why is the sky blue"}]


@pytest.fixture
def ollama() -> Iterator[OllamaServer]:
    server = OllamaServer(nomic_embed_text=Model(), qwen=Model(kind="chat", context=4096))
    yield server
    server.close()


def client_of(ollama: OllamaServer, **settings: float) -> OllamaClient:
    pauses: list[float] = []
    client = OllamaClient(Server(ollama.url, facts_seconds=2.0, call_seconds=2.0, **settings), pauses.append, random.Random(1))
    client.pauses = pauses  # type: ignore[attr-defined]
    return client


def chats_of(ollama: OllamaServer) -> Chats:
    return Chats(client_of(ollama), lambda model: 64, anyhow, untold)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://10.0.0.1:11434", "not on this machine"),
        ("http://ollama.example:11434", "not on this machine"),
        ("http://localhost.example", "not on this machine"),
        ("http://user:pass@127.0.0.1", "a user or a password"),
        ("file:///etc/passwd", "no address of a server"),
        ("http://[::1", "no address"),
        ("127.0.0.1:11434", "no address of a server"),
        ("http://127.0.0.1:11434/v1", "no address of a server"),
    ],
)
def test_texts_are_sent_to_this_machine_only(url: str, says: str) -> None:
    with pytest.raises(ServerRefused, match=says) as caught:
        Server(url)
    assert "models.ollama.url" in (caught.value.remedy or "")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://localhost:11434", "http://[::1]:11434/", "http://127.9.9.9"])
def test_this_machine_has_several_names(url: str) -> None:
    assert Server.from_dict(Server(url).to_dict()) == Server(url)
    assert Server("http://10.0.0.1", remote=True).remote


def test_facts_of_a_model(ollama: OllamaServer) -> None:
    client = client_of(ollama)
    assert client.version() == "0.12.3"
    assert [model.name for model in client.pulled()] == ["nomic-embed-text:latest", "qwen:latest"]
    found = client.facts("nomic-embed-text")
    assert (found.kind, found.dimension, found.context) == ("embedding", 32, 512)
    assert found.digest == ollama.models["nomic-embed-text:latest"].digest("nomic-embed-text:latest")
    assert client.facts("qwen:latest").kind == "chat"
    assert client.loaded() == ()
    client.load(found, 512)
    (loaded,) = client.loaded()
    assert (loaded.name, loaded.vram) == ("nomic-embed-text:latest", GB)
    client.unload("nomic-embed-text")


def test_what_is_asked_is_documented(ollama: OllamaServer) -> None:
    """The server refuses fields that are not; every request that reads tokens has `num_ctx`, and no embedding may be cut."""
    client = client_of(ollama)
    client.embed("nomic-embed-text", ["a b", "c"], 512)
    client.load(client.facts("qwen"), 128)
    list(chats_of(ollama).pieces("qwen", ASKED, SCHEMA))
    for path, body in ollama.asked:
        assert set(body) <= DOCUMENTED[path].asks
        if path in ("/api/embed", "/api/chat") or (path == "/api/generate" and body.get("keep_alive") != 0):
            assert body["options"]["num_ctx"] > 0
    assert all(body["truncate"] is False for body in ollama.bodies("/api/embed"))
    assert ollama.bodies("/api/chat")[0]["format"] == SCHEMA


def test_nobody_listens() -> None:
    server = OllamaServer()
    server.close()
    client = client_of(server)
    with pytest.raises(ServerAbsent, match="does not answer") as caught:
        client.pulled()
    assert "ollama serve" in (caught.value.remedy or "")
    assert client.pauses == []  # type: ignore[attr-defined]  # whoever is not there now is not in a moment


@pytest.mark.parametrize(
    ("fault", "error", "tries"),
    [("garbage", ModelAnswerInvalid, 1), ("list", ModelAnswerInvalid, 1), ("busy", ServerSlow, 3), ("drop", ServerAbsent, 3)],
)
def test_faults_of_a_server(ollama: OllamaServer, fault: str, error: type[EngineError], tries: int) -> None:
    client = client_of(ollama)
    ollama.faults = {"/api/tags": fault, "/api/embed": fault}
    with pytest.raises(error):
        client.pulled()
    with pytest.raises(error):
        client.embed("nomic-embed-text", ["a"], 512)
    assert len(ollama.bodies("/api/embed")) == tries
    assert all(0 <= pause < 1 for pause in client.pauses)  # type: ignore[attr-defined]


def test_a_server_that_does_not_answer_in_time(ollama: OllamaServer) -> None:
    ollama.faults = {"/api/tags": "hang"}
    client = OllamaClient(Server(ollama.url, facts_seconds=0.2))
    with pytest.raises(ServerSlow, match="did not answer in time"):
        client.pulled()
    assert len(ollama.bodies("/api/tags")) == 1


def test_what_is_missing_and_what_does_not_fit(ollama: OllamaServer) -> None:
    client = client_of(ollama)
    with pytest.raises(ModelMissing) as caught:
        client.facts("llama3")
    assert caught.value.remedy == "`ollama pull llama3`"
    with pytest.raises(ModelMissing):
        client.embed("llama3", ["a"], 512)
    ollama.vram = GB // 2
    with pytest.raises(ModelMemory, match="has no memory for nomic-embed-text"):
        client.embed("nomic-embed-text", ["a"], 512)


@pytest.mark.parametrize(("version", "old"), [("0.5.1", True), ("0.6.3", True), ("0.6.4", False), ("0.0.0", False), ("1.2.0", False)])
def test_a_server_that_is_too_old_is_told_of(ollama: OllamaServer, version: str, old: bool) -> None:
    ollama.version = version
    if old:
        with pytest.raises(ServerRefused, match=f"version {version}"):
            client_of(ollama).version()
    else:
        assert client_of(ollama).version() == version
    assert numbers("0.12.3-rc1") == (0, 12, 3)
    assert numbers("what") == ()


def test_another_number_of_vectors_is_no_answer(ollama: OllamaServer) -> None:
    ollama.models["nomic-embed-text:latest"].bad = lambda vectors: vectors[1:]
    with pytest.raises(ModelAnswerInvalid, match="1 vectors for 2 texts"):
        client_of(ollama).embed("nomic-embed-text", ["a", "b"], 512)


def test_a_chat_comes_in_pieces_and_may_be_ended(ollama: OllamaServer) -> None:
    ollama.models["qwen:latest"].answers = ["one two three"]
    pieces = chats_of(ollama).pieces("qwen", ASKED)
    assert "".join(pieces) == "one two three"
    ollama.speaking.clear()
    pieces = chats_of(ollama).pieces("qwen", ASKED)
    assert next(pieces) == "one"
    pieces.close()  # type: ignore[attr-defined]
    ollama.speaking.set()
    for _ in range(1000):
        if ollama.cancelled:
            break
        client_of(ollama).version()
    assert ollama.cancelled == 1


def test_a_chat_that_breaks_off_is_no_answer(ollama: OllamaServer) -> None:
    ollama.models["qwen:latest"].answers = [None]
    with pytest.raises(ServerAbsent, match="broke off"):
        list(chats_of(ollama).pieces("qwen", ASKED))
    assert len(ollama.bodies("/api/chat")) == 1


def test_a_prompt_that_was_cut_is_told_of(ollama: OllamaServer) -> None:
    with pytest.raises(ModelAnswerInvalid, match="did not read all"):
        list(chats_of(ollama).pieces("qwen", [{"role": "user", "content": "word " * 100}]))


def test_a_structured_answer_is_checked_and_asked_for_once_more(ollama: OllamaServer) -> None:
    model = ollama.models["qwen:latest"]
    model.answers = ['{"text": 1}', '{"text": "so"}']
    assert chats_of(ollama).structured("qwen", ASKED, SCHEMA) == {"text": "so"}
    first, second = ollama.bodies("/api/chat")
    assert len(second["messages"]) == len(first["messages"]) + 2
    assert "$.text" in second["messages"][-1]["content"]
    model.answers = ["no json", '{"other": 1}', "never asked for"]
    with pytest.raises(ModelAnswerInvalid, match="does not answer as it is asked to"):
        chats_of(ollama).structured("qwen", ASKED, SCHEMA)
    assert model.answers == ["never asked for"]


def test_names_and_prefixes() -> None:
    assert same("nomic-embed-text", "nomic-embed-text:latest")
    assert not same("qwen:7b", "qwen")
    assert same("localhost:5000/a/b", "localhost:5000/a/b:latest")
    assert prefixes("me/nomic-embed-text:v1.5").query == "search_query: "
    assert prefixes("all-minilm") == prefixes("unknown")
    assert prefixes("snowflake-arctic-embed2").query != prefixes("snowflake-arctic-embed").query


def test_errors_of_models_are_one_branch() -> None:
    for name in ("ServerRefused", "ServerAbsent", "ServerSlow", "ModelMissing", "ModelMemory", "ModelAnswerInvalid", "ModelWaits"):
        assert issubclass(getattr(errors, name), errors.ModelUnavailable)


def test_whoever_looks_hears_that_the_server_has_other_models(ollama: OllamaServer) -> None:
    ticks = iter(range(0, 10**6, 10))
    told: list[None] = []
    models = OllamaModels(Server(ollama.url), registry.builtin_tokens, clock=lambda: float(next(ticks)))

    def look() -> int:
        before = len(told)
        with suppress(ServerAbsent):
            models.pulled()
        return len(told) - before

    models.changed = lambda: told.append(None)
    assert (look(), look()) == (0, 0), "the first look tells what there is"
    name = next(iter(ollama.models))
    ollama.models[name] = replace(ollama.models[name], release=2)
    assert (look(), look()) == (1, 0), "pulled again"
    ollama.stop()
    assert (look(), look()) == (1, 0), "away"
    ollama.start()
    assert (look(), look()) == (1, 0), "back"
    del ollama.models[name]
    assert (look(), look()) == (1, 0), "removed"

"""Embeddings by an Ollama server, over real HTTP: fingerprints, prefixes, texts that are too long, servers that cut in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from ollama_server import Model, OllamaServer, Ticks

from engines.embedding import registry
from engines.embedding.expected import ExpectedModel
from engines.errors import EngineUnsupported, ModelAnswerInvalid, ModelMismatch, ModelMissing, ServerAbsent
from engines.ollama.models import OllamaModels
from engines.ollama.server import Server
from engines.vectors.soundness import DIMENSION, NOT_FINITE, ZERO, embed
from state.catalog.indexes import model_of

NOMIC = "nomic-embed-text:latest"


@pytest.fixture
def ollama() -> Iterator[OllamaServer]:
    server = OllamaServer(nomic_embed_text=Model(), me__tiny=Model(context=32), qwen=Model(kind="chat"))
    yield server
    server.close()


@pytest.fixture
def models(ollama: OllamaServer) -> Iterator[OllamaModels]:
    found = OllamaModels(Server(ollama.url, batch=4), registry.builtin_tokens, clock=Ticks())
    registry.connect(found)
    yield found
    registry.disconnect()


def test_vectors_are_of_length_one_and_in_order(models: OllamaModels, ollama: OllamaServer) -> None:
    model = registry.open_embedder({"ollama": "nomic-embed-text"})
    texts = [f"word{number} and others" for number in range(10)] + ["", "  "]
    vectors = model.embed(texts)
    assert (vectors.shape, vectors.dtype) == ((12, 32), np.float32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1.0] * 10 + [0.0, 0.0])
    assert [len(body["input"]) for body in ollama.bodies("/api/embed")] == [4, 4, 2]
    assert model.embed([texts[3]])[0] == pytest.approx(vectors[3])
    assert model.embed([]).shape == (0, 32)


def test_a_text_is_told_what_it_is_for(models: OllamaModels, ollama: OllamaServer) -> None:
    document, query = registry.open_embedder("nomic-embed-text"), registry.open_asker("nomic-embed-text")
    document.embed(["java"])
    query.embed(["java"])
    assert [body["input"] for body in ollama.bodies("/api/embed")] == [["search_document: java"], ["search_query: java"]]
    assert document.fingerprint == query.fingerprint == registry.fingerprint("nomic-embed-text")


def test_a_fingerprint_names_the_digest(models: OllamaModels, ollama: OllamaServer) -> None:
    found = registry.fingerprint({"ollama": "me/tiny"})
    digest = ollama.models["me/tiny:latest"].digest("me/tiny:latest")
    assert found == f"me%2Ftiny/ollama/1/{digest[:16]}/plain/32/unit"
    assert model_of(found) == "me/tiny"
    ollama.models["me/tiny:latest"] = Model(context=32, release=2)
    assert registry.fingerprint({"ollama": "me/tiny"}) != found


def test_a_model_that_is_pulled_again_is_never_mixed(models: OllamaModels, ollama: OllamaServer) -> None:
    model = registry.open_embedder("nomic-embed-text")
    model.embed(["a"])
    expected = ExpectedModel("nomic-embed-text", model.fingerprint, 32, registry.open_asker)
    expected.embed(["a"])
    ollama.models[NOMIC] = replace(ollama.models[NOMIC], release=2)
    with pytest.raises(ModelMismatch, match="was pulled again"):
        model.embed(["b"])
    with pytest.raises(ModelMismatch, match="The index holds vectors of"):
        expected.embed(["b"])
    assert registry.open_embedder("nomic-embed-text").embed(["b"]).shape == (1, 32)


def test_a_model_that_is_pulled_again_meanwhile_gives_nothing(models: OllamaModels, ollama: OllamaServer) -> None:
    model = registry.open_embedder("nomic-embed-text")

    def replaced(vectors: list[list[float]]) -> list[list[float]]:
        ollama.models[NOMIC] = Model(release=3)
        return vectors

    ollama.models[NOMIC].bad = replaced
    with pytest.raises(ModelMismatch):
        model.embed(["a"])


@pytest.mark.parametrize("cuts", [False, True])
@pytest.mark.parametrize("words", [1, 2])
def test_a_text_that_is_too_long_is_cut_by_us(models: OllamaModels, ollama: OllamaServer, cuts: bool, words: int) -> None:
    """Whether the server refuses it or cuts it in silence; words: tokens that the model has for a word."""
    ollama.models["me/tiny:latest"] = Model(context=32, cuts=cuts, words=words)
    model = registry.open_embedder("me/tiny")
    text = " ".join(f"word{number}" for number in range(100))
    (long,) = model.embed([text])
    assert np.linalg.norm(long) == pytest.approx(1.0, abs=1e-5)
    last = model.embed(["word97 word98 word99"])[0]
    first = model.embed(["word0 word1 word2"])[0]
    assert float(long @ last) == pytest.approx(float(long @ first), abs=0.35)  # the end counts, as the begin does
    assert float(long @ last) > 0.1
    accepted = [body["input"] for body in ollama.bodies("/api/embed")]
    assert max(len(texts[0].split()) for texts in accepted[-2:]) <= 32


def test_a_batch_that_was_cut_in_silence_is_seen_by_its_count(models: OllamaModels, ollama: OllamaServer) -> None:
    """By a server that reads less than it says."""
    ollama.models["me/tiny:latest"] = Model(context=512, words=1)
    model = registry.open_embedder("me/tiny")
    ollama.models["me/tiny:latest"].context = 16
    ollama.models["me/tiny:latest"].cuts = True
    text = " ".join(["extraordinarily"] * 60)
    model.embed([text, text])
    assert [len(body["input"]) for body in ollama.bodies("/api/embed")][:3] == [2, 1, 1]


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (lambda vectors: [[float("nan")] * 32 for _ in vectors], NOT_FINITE),
        (lambda vectors: [[0.0] * 32 for _ in vectors], ZERO),
        (lambda vectors: [vector[:5] for vector in vectors], DIMENSION),
    ],
)
def test_vectors_of_no_use_are_set_aside_by_text(
    models: OllamaModels, ollama: OllamaServer, bad: Callable[[list[list[float]]], object], fault: str
) -> None:
    model = registry.open_embedder("nomic-embed-text")
    ollama.models[NOMIC].bad = bad
    vectors, faults = embed(model, ["a", "b"])
    assert not vectors.any()
    assert faults == {0: fault, 1: fault}


def test_a_server_that_does_not_tell_the_dimension_gives_a_first_vector(models: OllamaModels, ollama: OllamaServer) -> None:
    ollama.models[NOMIC].tells_dimension = False
    assert registry.open_embedder("nomic-embed-text").dimension == 32
    registry.fingerprint("nomic-embed-text")
    assert len(ollama.bodies("/api/embed")) == 1


def test_models_that_cannot_be_used(models: OllamaModels, ollama: OllamaServer) -> None:
    with pytest.raises(EngineUnsupported, match="is a chat model"):
        registry.fingerprint({"ollama": "qwen"})
    with pytest.raises(ModelMissing) as caught:
        registry.open_embedder({"ollama": "other"})
    assert caught.value.remedy == "`ollama pull other`"
    ollama.models[NOMIC].bad = lambda vectors: "garbage"
    with pytest.raises(ModelAnswerInvalid):
        registry.open_embedder("nomic-embed-text").embed(["a"])


def test_a_server_that_is_away_is_asked_once_in_a_while(ollama: OllamaServer) -> None:
    now = [0.0]
    models = OllamaModels(Server(ollama.url), registry.builtin_tokens, clock=lambda: now[0])
    models.facts("nomic-embed-text")
    asked = len(ollama.asked)
    models.facts("nomic-embed-text")
    assert len(ollama.asked) == asked
    now[0] = 3
    ollama.stop()
    for _ in range(3):
        with pytest.raises(ServerAbsent):
            models.facts("nomic-embed-text")
    ollama.start()
    with pytest.raises(ServerAbsent):
        models.facts("nomic-embed-text")
    now[0] = 9
    assert models.facts("nomic-embed-text").dimension == 32


def test_a_job_is_told_of_the_server(models: OllamaModels) -> None:
    arguments = registry.for_job({"index": "i"})
    assert arguments["ollama"]["url"] == models.server.url
    registry.disconnect()
    with pytest.raises(ServerAbsent, match="No model server is known"):
        registry.open_embedder({"ollama": "nomic-embed-text"})
    assert registry.of_job(arguments) == {"index": "i"}
    assert registry.open_embedder({"ollama": "nomic-embed-text"}).dimension == 32

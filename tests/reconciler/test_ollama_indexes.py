"""Indexes by a model of an Ollama server: embedded and searched as by the built-in one, waiting while it is away, never of two digests."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ollama_server import Model, OllamaServer, Ticks
from small_lake import BUCKET, Bench, dataset, generation, index
from test_embedding_versions import KEYED, ROWS, Keys, record

from controllers.index.model_turns import ModelTurns
from controllers.jobs import run_job
from controllers.outcome import Ready
from controllers.step import Started
from engines.audit import Audit
from engines.embedding import registry
from engines.errors import JobCrashed, ModelMismatch, ServerAbsent
from engines.jobs.executor import Executor, JobLimits
from engines.jobs.job import Job
from engines.ollama.models import OllamaModels
from engines.ollama.server import Server
from engines.reading import ANONYMOUS, Binding, Reader
from engines.search import SearchService
from engines.search_answer import SearchRequest, SearchResult
from reconciler.models import AuditedJobs
from state import reasons
from state.status import Status

NOMIC = "nomic-embed-text"
BY_NOMIC = f"{{model: {{ollama: {NOMIC}}}}}"


@pytest.fixture
def ollama() -> Iterator[OllamaServer]:
    server = OllamaServer(nomic_embed_text=Model(), me__tiny=Model(dimension=16))
    yield server
    server.close()


@pytest.fixture
def lake(bench: Bench, ollama: OllamaServer) -> Iterator[Bench]:
    bench.write("data/x/1.csv", ROWS)
    registry.connect(OllamaModels(Server(ollama.url), registry.builtin_tokens, clock=Ticks()))
    yield bench
    registry.disconnect()


def declare(bench: Bench, embed: str, *more: str, spec: str = "") -> Status:
    bench.commit(BUCKET, dataset("x", KEYED), index("i", "x", more=f", embed: {embed}{spec}"), *more)
    return bench.settle()["Index/i"]


def found(bench: Bench, text: str | None = None, reader: Reader = ANONYMOUS, **given: Any) -> SearchResult:
    async def ask() -> SearchResult:
        service = SearchService(bench.catalog, bench.state.objects, Keys(), open_model=registry.open_asker)
        try:
            return await service.search(SearchRequest("i", text, **given), reader)
        finally:
            service.close()

    return asyncio.run(ask())


def rows(bench: Bench) -> list[dict[str, Any]]:
    """What jobs did with models, as the audit has it."""
    return [{**row, "detail": json.loads(row["detail"])} for row in bench.streams.read("audit") if row["action"] == "model"]


def calls(bench: Bench) -> list[dict[str, Any]]:
    """Of jobs that have ended."""
    return [row for row in rows(bench) if row["outcome"] != "begun"]


def test_each_job_that_asks_a_model_is_told_of_before_and_after(lake: Bench, ollama: OllamaServer) -> None:
    declare(lake, BY_NOMIC)
    begun, row = rows(lake)
    assert (begun["reader"], begun["model"], begun["outcome"]) == ("daemon", NOMIC, "begun")
    assert begun["detail"] == {"purpose": "embed", "job": "embed", "object": "Index/i"}
    assert row["request"] == begun["id"]
    assert (row["reader"], row["model"], row["outcome"]) == ("daemon", NOMIC, "done")
    assert row["detail"] == {"purpose": "embed", "job": "embed", "object": "Index/i", "texts": 3, "calls": 1}
    assert row["tokens_in"] >= 9
    lake.settle()
    assert len(calls(lake)) == 1, "nothing was asked"
    lake.write("data/x/2.csv", "id,text\n4,lawyer for tenants\n")
    lake.settle()
    assert [(one["detail"]["job"], one["detail"]["texts"]) for one in calls(lake)] == [("embed", 3), ("tail", 1)]


def test_a_job_that_failed_leaves_a_row_too(lake: Bench, ollama: OllamaServer) -> None:
    ollama.faults["/api/embed"] = "garbage"
    assert declare(lake, BY_NOMIC).ready == "False"
    assert {(row["outcome"], row["reason"]) for row in calls(lake)} == {("failed", "model-answer-invalid")}


def test_a_job_whose_process_is_killed_was_told_of_before(bench: Bench, tmp_path: Path) -> None:
    ended = threading.Event()
    executor = Executor(tmp_path / "jobs", JobLimits(workers=1), lambda _: ended.set())
    turns = ModelTurns(None, AuditedJobs(Audit(bench.streams)))
    dies = {"log": str(tmp_path / "log"), "deaths": 1}
    job = Job("j", "embed", "jobs_under_test:die", dies, 1, "Index/i", apart=True)

    def visit() -> Any:
        run = partial(run_job, executor, job, reasons.EMBEDDING, "embedding")
        return turns.run(job, {"ollama": NOMIC}, run, begun=executor.has(job.id))

    try:
        assert isinstance(visit(), Started)
        (begun,) = rows(bench)
        assert (begun["outcome"], begun["model"], begun["detail"]["object"]) == ("begun", NOMIC, "Index/i")
        assert ended.wait(60)
        with pytest.raises(JobCrashed):
            visit()
    finally:
        executor.shutdown()
    assert [(row["outcome"], row.get("request")) for row in rows(bench)] == [("begun", None), ("failed", begun["id"])]


def test_what_is_embedded_without_a_server_leaves_none(lake: Bench) -> None:
    declare(lake, "{model: builtin}")
    assert calls(lake) == []


def test_answers_of_an_eval_set_are_told_too(lake: Bench) -> None:
    lake.write("evals/q.ndjson", '{"text": "somebody who bakes"}\n{"text": "who cares for the sick at night"}\n')
    evals = "apiVersion: lakehouse/v1\nkind: EvalSet\nmetadata: {name: e}\nspec: {index: i, queries: evals/q.ndjson, k: 1}\n"
    declare(lake, BY_NOMIC, evals)
    assert lake.settle()["EvalSet/e"].reason != "Failed"
    assert [(row["detail"]["job"], row["detail"]["object"]) for row in calls(lake)] == [("embed", "Index/i"), ("truth", "EvalSet/e")]


def test_it_works_as_the_built_in_model_does(lake: Bench, ollama: OllamaServer) -> None:
    status = declare(lake, BY_NOMIC)
    assert (status.ready, status.detail["model"]) == ("True", NOMIC), status.message
    (corpus,) = record(lake).corpora.values()
    assert (corpus.dimension, corpus.model) == (32, NOMIC)
    outcome = lake.finish("Index/i")
    assert isinstance(outcome, Ready)
    assert outcome.seconds is None, "nothing is looked at again by itself"
    result = found(lake, "kafka java", k=1)
    assert ([hit.text for hit in result.hits], result.model) == (["java developer with kafka"], NOMIC)
    asked = [text for body in ollama.bodies("/api/embed") for text in body["input"]]
    assert "search_document: nurse on a night shift" in asked
    assert asked[-1] == "search_query: kafka java"


def test_new_rows_are_embedded_alone(lake: Bench, ollama: OllamaServer) -> None:
    declare(lake, BY_NOMIC)
    before = len(ollama.bodies("/api/embed"))
    lake.write("data/x/2.csv", "id,text\n4,lawyer for tenants\n")
    lake.settle()
    assert [body["input"] for body in ollama.bodies("/api/embed")[before:]] == [["search_document: lawyer for tenants"]]
    assert found(lake, "lawyer", k=1).hits[0].text == "lawyer for tenants"


def test_a_model_pulled_again_makes_a_corpus_of_its_own(lake: Bench, ollama: OllamaServer) -> None:
    declare(lake, BY_NOMIC)
    ((first, former),) = record(lake).corpora.items()
    ollama.models[f"{NOMIC}:latest"] = replace(ollama.models[f"{NOMIC}:latest"], release=2)
    with pytest.raises(ModelMismatch, match="The index holds vectors of"):
        found(lake, "java")
    asked = len(ollama.bodies("/api/embed"))
    lake.settle()
    known = record(lake)
    assert known.serving is not None
    serves = known.corpus_of(known.serving)
    assert serves.digest != first
    assert serves.fingerprint != former.fingerprint
    assert len([text for body in ollama.bodies("/api/embed")[asked:] for text in body["input"]]) == 3, "nothing is taken from the other"
    assert found(lake, "java", k=1).hits[0].text == "java developer with kafka"


def test_it_waits_while_the_server_is_away_and_goes_on_by_itself(lake: Bench, ollama: OllamaServer) -> None:
    ollama.stop()
    status = declare(lake, BY_NOMIC)
    assert (status.ready, status.reason) == ("False", reasons.MODEL_UNAVAILABLE)
    assert status.message.startswith("it cannot be embedded: Ollama at http://127.0.0.1:")
    assert "ollama serve" in status.message
    assert lake.settle()["Dataset/x"].ready == "True", "the rest goes on"
    ollama.start()
    assert lake.settle()["Index/i"].ready == "True"


def test_what_was_built_serves_while_the_server_is_away(lake: Bench, ollama: OllamaServer) -> None:
    declare(lake, BY_NOMIC)
    ollama.stop()
    status = lake.settle()["Index/i"]
    assert (status.reason, status.message.endswith("what was built before goes on serving")) == (reasons.MODEL_UNAVAILABLE, True)
    with pytest.raises(ServerAbsent):
        found(lake, "java")
    assert len(found(lake, vector=[1.0] * 32).hits) == 3
    ollama.start()
    assert found(lake, "java", k=1).hits[0].text == "java developer with kafka"
    assert lake.settle()["Index/i"].ready == "True"


def test_a_model_that_is_not_pulled_says_how(lake: Bench) -> None:
    status = declare(lake, "{model: {ollama: 'other:7b'}}")
    assert (status.reason, "`ollama pull other:7b`" in status.message) == (reasons.MODEL_UNAVAILABLE, True)


def test_models_of_a_server_beside_the_built_in_one(lake: Bench, ollama: OllamaServer) -> None:
    status = declare(lake, "{also: [{ollama: me/tiny}]}", generation("g1", "i"))
    assert (status.detail["model"], status.detail["beside"]) == ("builtin", ["me/tiny"])
    assert found(lake, "java", model="me/tiny", k=1).model == "me/tiny"
    status = declare(lake, "{model: {ollama: me/tiny}}", generation("g1", "i"))
    assert status.detail["model"] == "me/tiny"
    status = declare(lake, "{model: builtin}", generation("g1", "i"))
    assert status.detail["model"] == "builtin"
    assert found(lake, "java", model="me/tiny", k=1).hits[0].text == "java developer with kafka"
    ollama.stop()
    assert lake.settle()["Index/i"].ready == "True"


def test_a_former_model_of_a_server_is_the_way_back(lake: Bench) -> None:
    declare(lake, BY_NOMIC)
    declare(lake, "{model: builtin}")
    lake.write("data/x/2.csv", "id,text\n4,lawyer for tenants\n")
    assert lake.settle()["Index/i"].ready == "True"
    assert found(lake, "lawyer", model=NOMIC, k=1).hits[0].text == "lawyer for tenants"


def test_a_profile_with_a_model_of_a_server_has_vectors_of_its_own(lake: Bench, ollama: OllamaServer) -> None:
    profile = "apiVersion: lakehouse/v1\nkind: Profile\nmetadata: {name: p}\nspec: {datasets: [x], indexes: [i], embed: %s}\n"
    declare(lake, "{model: builtin}", profile % BY_NOMIC)
    statuses = lake.settle()
    assert (statuses["Index/i@p"].ready, statuses["Profile/p"].ready) == ("True", "True"), statuses["Index/i@p"].message
    own = lake.catalog.index("i@p")
    assert own is not None
    assert [(corpus.model, corpus.dimension) for corpus in own.corpora.values()] == [(NOMIC, 32)]
    reader = Reader(profile="p", bucket="primary", binding=Binding(frozenset({"x"}), frozenset({"i"})))
    result = found(lake, "kafka java", reader, k=1)
    assert ([hit.text for hit in result.hits], result.model, result.generation is not None) == (["java developer with kafka"], NOMIC, True)
    assert found(lake, "kafka java", k=1).model == "builtin"
    assert [row["detail"]["object"] for row in calls(lake)] == ["Index/i@p"]
    ollama.stop()
    assert lake.settle()["Index/i@p"].reason == reasons.MODEL_UNAVAILABLE
    assert lake.by_object()["Index/i"].ready == "True"
    with pytest.raises(ServerAbsent):
        found(lake, "java", reader)

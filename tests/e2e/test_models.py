"""A daemon with an Ollama server: indexes by its models, two profiles and one place in memory, what `/models` and SQL tell of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness_daemon import BUCKET, Daemon, Daemons, Repository, lakectl, wait_for
from ollama_server import Model, OllamaServer

ROWS = "id,text\n1,java developer with kafka\n2,pastry chef and baker\n3,nurse on a night shift\n"
LAKE = f"""{BUCKET}
---
apiVersion: lakehouse/v1
kind: Dataset
metadata: {{name: people}}
spec: {{source: {{files: "data/*.csv"}}, primaryKey: [id], write: upsert}}
---
apiVersion: lakehouse/v1
kind: Index
metadata: {{name: people}}
spec: {{dataset: people, text: text, embed: {{model: {{ollama: nomic-embed-text}}}}}}
---
apiVersion: lakehouse/v1
kind: Index
metadata: {{name: others}}
spec: {{dataset: people, text: text, embed: {{model: {{ollama: me/tiny}}}}}}
---
apiVersion: lakehouse/v1
kind: Index
metadata: {{name: plain}}
spec: {{dataset: people, text: text}}
"""
EVALS = """---
apiVersion: lakehouse/v1
kind: EvalSet
metadata: {{name: of-{index}}}
spec: {{index: {index}, queries: evals/q.ndjson, k: 1}}
"""


@pytest.fixture
def ollama() -> Iterator[OllamaServer]:
    server = OllamaServer(nomic_embed_text=Model(), me__tiny=Model(dimension=16))
    yield server
    server.close()


@pytest.fixture
def lake(tmp_path: Path, ollama: OllamaServer) -> Repository:
    repository = Repository(tmp_path / "lake")
    # every job is a process of its own
    repository.write("lakehouse.yaml", f"models: {{ollama: {{url: '{ollama.url}'}}}}\nwork: {{inlineBytes: 0}}\n")
    repository.write("data/1.csv", ROWS)
    repository.commit("all", lake=LAKE)
    return repository


def best(daemon: Daemon, index: str, text: str) -> str:
    answer = daemon.search(index, text, k=1)
    assert answer.status == 200, answer
    return str(answer.document["hits"][0]["text"])


def test_a_lake_by_two_models_of_a_server(lake: Repository, ollama: OllamaServer, daemons: Daemons) -> None:
    daemon = daemons.start(lake)
    for index in ("people", "others", "plain"):
        daemon.wait_status(f"Index/{index}", "Succeeded")
    daemon.wait_settled()
    for text in ("kafka", "java", "developer"):
        assert {best(daemon, index, text) for index in ("people", "others", "plain")} == {"java developer with kafka"}
    assert ollama.most["embedding"] == 1, "never two"
    rows = {row["name"]: row for row in daemon.query("SELECT name, state, dimension, bound, loaded FROM system.models")}
    assert (rows["nomic-embed-text:latest"]["dimension"], rows["me/tiny:latest"]["dimension"]) == (32, 16)
    assert rows["me/tiny:latest"]["bound"] == '["Index/others"]'
    assert [rows[name]["loaded"] for name in ("nomic-embed-text:latest", "me/tiny:latest")] == [False, True]
    code, document = lakectl(lake, "models")
    assert (code, {model["name"]: model["state"] for model in document["models"]}["me/tiny:latest"]) == (0, "loaded")
    told = daemon.query("SELECT model, outcome, tokens_in FROM system.audit WHERE action = 'model' AND model = 'me/tiny' ORDER BY at")
    calls = [row for row in told if row["outcome"] != "begun"]
    assert len(calls) >= 3
    assert {call["outcome"] for call in calls} == {"done"}
    assert all(call["tokens_in"] > 0 for call in calls)
    answer = daemon.request("GET", "/models/me/tiny/audit").document
    assert {row["action"] for row in answer["rows" if "rows" in answer else "audit"]} >= {"model"}
    assert daemon.stop() == 0, daemon.said


def test_a_lake_whose_server_comes_later(lake: Repository, ollama: OllamaServer, daemons: Daemons) -> None:
    ollama.stop()
    daemon = daemons.start(lake)
    daemon.wait_status("Index/people", "ModelUnavailable", "it cannot be embedded", "ollama serve")
    daemon.wait_status("Index/plain", "Succeeded")
    assert best(daemon, "plain", "kafka") == "java developer with kafka"
    assert daemon.search("people", "kafka").status == 503

    def model() -> tuple[str, list[str]]:
        row = daemon.request("GET", "/models/nomic-embed-text").document
        return row["state"], row["bound"]

    wait_for(lambda: model() == ("absent", ["Index/people"]), "the model is told to be absent")
    ollama.start()
    wait_for(lambda: model()[0] != "absent", "whoever asks for models has the server asked again")
    for index in ("people", "others"):
        daemon.wait_status(f"Index/{index}", "Succeeded")
    daemon.wait_settled()
    assert best(daemon, "people", "kafka") == "java developer with kafka"
    ollama.stop()
    assert wait_for(lambda: daemon.search("people", "pastry").problem == "model-server-absent", "absent")
    ollama.start()
    wait_for(lambda: daemon.search("people", "pastry").status == 200, "back")
    assert daemon.stop() == 0, daemon.said


def test_answers_of_eval_sets_are_embedded_in_turns(lake: Repository, ollama: OllamaServer, daemons: Daemons) -> None:
    lake.write("evals/q.ndjson", '{"text": "somebody who bakes"}\n')
    evals = [EVALS.format(index=index) for index in ("people", "others")]
    lake.commit("all", lake=LAKE + "".join(evals))
    daemon = daemons.start(lake)
    for index in ("people", "others"):
        daemon.wait_status(f"EvalSet/of-{index}", "Succeeded")
    assert ollama.most["embedding"] == 1, "never two"

    def told() -> list[tuple[str, str]]:
        rows = daemon.query("SELECT model, detail FROM system.audit WHERE action = 'model' AND reader = 'daemon' AND outcome = 'done'")
        return sorted((row["model"], json.loads(row["detail"])["object"]) for row in rows)

    others, people = "me/tiny", "nomic-embed-text"
    expected = [(others, "EvalSet/of-others"), (others, "Index/others"), (people, "EvalSet/of-people"), (people, "Index/people")]
    wait_for(lambda: told() == expected, "each job is in the audit")
    daemon.wait_settled()
    assert daemon.stop() == 0, daemon.said

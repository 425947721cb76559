"""The examples' generators keep their promises: the same bytes twice, the promised numbers of rows, and the mess."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from harness_postgres import Postgres

EXAMPLES = Path(__file__).parents[2] / "examples"
Rows = dict[str, list[dict[str, str]]]


def run(script: str, *arguments: str | Path) -> str:
    """The script's output; it must succeed."""
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def digest(folder: Path) -> str:
    """Of names and contents of all files below the folder."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return total.hexdigest()


def read(path: Path, *, encoding: str = "utf-8-sig", delimiter: str = ",") -> Iterator[dict[str, str]]:
    yield from csv.DictReader(io.StringIO(path.read_bytes().decode(encoding), newline=""), delimiter=delimiter)


@pytest.fixture(scope="module")
def staffing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("staffing")
    run("staffing/generate.py", out)
    return out / "data"


@pytest.fixture(scope="module")
def tables(staffing: Path) -> Rows:
    found: Rows = {}
    for folder in sorted(staffing.iterdir()):
        rows = found[folder.name] = []
        for path in sorted(folder.iterdir()):
            if path.suffix == ".parquet":
                rows += pq.read_table(path).to_pylist()
            elif path.suffix == ".ndjson":
                rows += [json.loads(line) for line in path.read_text().splitlines()]
            elif folder.name == "clients":
                rows += read(path, encoding="latin-1", delimiter=";")
            else:
                rows += read(path)
    return found


def test_staffing_has_twenty_thousand_rows_in_seven_tables(tables: Rows) -> None:
    assert set(tables) == {"candidates", "clients", "job_orders", "placements", "timesheets", "call_log", "email_log"}
    assert sum(map(len, tables.values())) == 20_000


@pytest.mark.parametrize("rows", [500, 2_000, 12_345])
def test_staffing_rows_are_as_asked_for(tmp_path: Path, rows: int) -> None:
    printed = run("staffing/generate.py", tmp_path, "--rows", str(rows))
    assert sum(int(line.split()[1]) for line in printed.splitlines()) == rows


def test_staffing_is_deterministic_and_seeded(tmp_path: Path) -> None:
    run("staffing/generate.py", tmp_path / "one", "--rows", "2000", "--seed", "3")
    run("staffing/generate.py", tmp_path / "two", "--rows", "2000", "--seed", "3")
    run("staffing/generate.py", tmp_path / "other", "--rows", "2000", "--seed", "4")
    assert digest(tmp_path / "one") == digest(tmp_path / "two") != digest(tmp_path / "other")


def test_staffing_refuses_too_few_rows(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run("staffing/generate.py", tmp_path, "--rows", "20")
    assert "--rows must be at least 500" in caught.value.stderr


def test_staffing_tables_consist_of_several_files(staffing: Path) -> None:
    assert all(len(list(folder.iterdir())) >= 2 for folder in staffing.iterdir())


def test_staffing_relations_hold(tables: Rows) -> None:
    candidates = {row["candidate_id"] for row in tables["candidates"]}
    clients = {row["client_id"] for row in tables["clients"]}
    jobs = {row["job_id"]: row for row in tables["job_orders"]}
    placements = {row["placement_id"]: row for row in tables["placements"]}
    assert {row["client_id"] for row in jobs.values()} <= clients
    assert {row["candidate_id"] for row in placements.values()} <= candidates
    assert all(jobs[row["job_id"]]["client_id"] == row["client_id"] for row in placements.values())
    assert {row["candidate_id"] for row in tables["call_log"] + tables["email_log"]} <= candidates
    assert {row["job_id"] for row in tables["call_log"] if row["job_id"]} <= set(jobs)
    assert all(str(placements[row["placement_id"]]["start_date"]) <= row["week_ending"] for row in tables["timesheets"])


@pytest.mark.parametrize("size", ["default", "least"])
def test_staffing_has_java_developers_in_chicago_called_often_and_never_placed(tables: Rows, tmp_path: Path, size: str) -> None:
    if size == "least":
        run("staffing/generate.py", tmp_path, "--rows", "500")
        tables = {
            name: [row for path in sorted((tmp_path / "data" / name).iterdir()) for row in read(path)]
            for name in ("candidates", "call_log")
        }
        parquet = (tmp_path / "data" / "placements").iterdir()
        tables["placements"] = [row for path in parquet for row in pq.read_table(path).to_pylist()]
    calls = Counter(candidate for _, candidate in {(row["call_id"], row["candidate_id"]) for row in tables["call_log"]})
    placed = {row["candidate_id"] for row in tables["placements"]}
    found = {
        row["candidate_id"]
        for row in tables["candidates"]
        if "java dev" in row["title"].lower() and row["city"].strip().lower() == "chicago" and calls[row["candidate_id"]] >= 5
    }
    assert found - placed
    assert size == "least" or found & placed, "the condition on placements must exclude somebody"


def test_staffing_holds_the_mess_of_real_exports(staffing: Path, tables: Rows) -> None:
    registered = [row["registered"] for row in tables["candidates"]]
    assert all(any(mark in value for value in registered) for mark in ("-", "/", " "))
    assert any("\n" in row["resume"] and '"' in row["resume"] for row in tables["candidates"])
    assert any(not row["phone"] for row in tables["candidates"])
    assert any(not row["zip"] for row in tables["candidates"])
    assert any(row["zip"].startswith("0") for row in tables["candidates"])
    assert (staffing / "job_orders/job_orders-2025-h1.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert not (staffing / "job_orders/job_orders-2025-h2.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    with pytest.raises(UnicodeDecodeError):
        (staffing / "clients/clients-americas.csv").read_text(encoding="utf-8")
    assert any("Müller" in row["name"] for row in tables["clients"])
    assert b"\r\n" in (staffing / "call_log/call_log-2025-q1.csv").read_bytes()
    assert any("opened" not in row for row in tables["email_log"])


def test_staffing_repeats_rows_and_exports_candidates_again(tables: Rows) -> None:
    for name in ("candidates", "job_orders", "placements", "timesheets", "call_log", "email_log"):
        texts = [json.dumps(row, default=str, sort_keys=True) for row in tables[name]]
        assert len(set(texts)) == len(texts) - len(texts) // 97, name
    latest = {row["candidate_id"]: row for row in tables["candidates"]}
    changed = [row for row in tables["candidates"] if row["status"] != latest[row["candidate_id"]]["status"]]
    assert changed


def test_cloud_docs_are_unique_plain_texts_of_several_services(tmp_path: Path) -> None:
    pytest.importorskip("botocore")
    run("cloud-docs/generate.py", tmp_path)
    files = sorted((tmp_path / "data/docs").iterdir())
    rows = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    assert [path.stem for path in files] == ["dynamodb", "ecs", "kms", "lambda", "s3", "sqs"]
    assert len(rows) > 4_000
    assert len({row["id"] for row in rows}) == len({row["text"] for row in rows}) == len(rows)
    assert {row["kind"] for row in rows} == {"service", "operation", "shape", "member"}
    assert all(set(row) == {"id", "service", "kind", "name", "member", "text"} for row in rows)
    assert not [row["text"] for row in rows if "<p>" in row["text"] or "</code>" in row["text"] or "&quot;" in row["text"]]


def test_cloud_docs_are_deterministic_and_take_named_services(tmp_path: Path) -> None:
    pytest.importorskip("botocore")
    for name in ("one", "two"):
        run("cloud-docs/generate.py", tmp_path / name, "--service", "sqs", "--service", "kms")
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run("cloud-docs/generate.py", tmp_path, "--service", "nonesuch")
    assert "botocore has no service nonesuch" in caught.value.stderr


def test_the_knowledge_base_fills_a_database_with_real_texts(tmp_path: Path, postgres: Postgres) -> None:
    pytest.importorskip("botocore")
    run("cloud-docs/generate.py", tmp_path, "--service", "sns")
    texts = [json.loads(line) for line in (tmp_path / "data/docs/sns.ndjson").read_text().splitlines()]
    printed = run("knowledge-base/fill.py", tmp_path, postgres.dsn)
    assert dict(line.split() for line in printed.splitlines()) == {"articles": str(len(texts)), "team_runs": "4"}
    assert dict(postgres.rows("SELECT id, body FROM articles")) == {row["id"]: row["text"] for row in texts}
    assert postgres.rows("SELECT sum(articles), min(team) FROM team_runs") == [(len(texts), "sns")]
    before = postgres.rows("SELECT max(updated_at) FROM team_runs")
    postgres.run("UPDATE team_runs SET hours = hours + 1 WHERE id = 1")
    assert postgres.rows("SELECT max(updated_at) FROM team_runs") > before


def test_the_knowledge_base_wants_texts(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run("knowledge-base/fill.py", tmp_path, "postgresql://nowhere")
    assert "run cloud-docs/generate.py first" in caught.value.stderr

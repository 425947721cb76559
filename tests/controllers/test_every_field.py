"""Nothing is silently ignored: of every field of a kind that is acted on, it is known whether it is honoured or said not to be built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from specs.parse import parse_file
from specs.schema import FieldHelp, explain

JUDGES: dict[str, Any] = {
    "Bucket": lambda spec: None,
    "Dataset": lambda spec: None,
    "Index": lambda spec: None,
    "IndexGeneration": lambda spec: None,
    "EvalSet": lambda spec: None,
    "TrialBudget": lambda spec: None,
    "Profile": lambda spec: None,
    "Policy": lambda spec: None,
}

HONOURED = {
    "Bucket": "local.path memory s3.bucket s3.endpoint s3.region s3.credentials.secret gcs.bucket gcs.endpoint gcs.credentials.secret "
    "azure.container azure.account azure.endpoint azure.credentials.secret prefix timeout rescue.bucket rescue.mirror retention",
    "Dataset": "source.files source.format source.encoding source.delimiter source.header source.sheet source.ocr "
    "source.bucket source.prefix source.nulls columns.*.nulls "
    "source.postgres.dsn.secret source.postgres.table source.postgres.query source.postgres.cursor source.postgres.overlap source.sql "
    "bucket primaryKey write columns.*.type columns.*.format refresh.watch refresh.every refresh.cron renamedFrom deletion policy publish "
    "tombstone keep.versions keep.age keep.journal compaction.deltaShare compaction.maxDeltas compaction.age columns.*.nullable "
    "contract.required "
    "contract.unique contract.ranges.*.min contract.ranges.*.max contract.checks contract.references contract.onViolation "
    "freshness.staleAfter cache.pin "
    "migrations.from migrations.rename migrations.cast migrations.drop migrations.split.*.into migrations.split.*.separator "
    "migrations.concat.*.columns migrations.concat.*.separator migrations.expression",
    "Index": "dataset text chunk.by chunk.tokens chunk.overlap embed.model.builtin.dimensions embed.also.builtin.dimensions "
    "embed.model.ollama embed.also.ollama serve.generation rebuildShare keep bucket lexical",
    "IndexGeneration": "index flat.precision hnsw.m hnsw.efConstruction hnsw.efSearch hnsw.seed lance.type lance.partitions lance.m "
    "lance.efConstruction lance.nprobes lance.refineFactor lance.ef",
    "EvalSet": "index k queries generate.queries generate.seed",
    "TrialBudget": "index evalSet space.engine space.m space.efConstruction space.efSearch limits.trials limits.wallClock limits.memory "
    "limits.cpuShare gate.recallAt10 objective.weighted promote onAppend profile",
    "Profile": "bucket datasets indexes embed.model.builtin.dimensions embed.model.ollama engine.flat.precision engine.hnsw.m "
    "engine.hnsw.efConstruction engine.hnsw.efSearch engine.lance.type engine.lance.partitions engine.lance.m engine.lance.efConstruction "
    "engine.lance.nprobes engine.lance.refineFactor engine.lance.ef role at active trusted model.ollama quota.queriesPerMinute "
    "quota.concurrent quota.rowsPerDay",
    "Policy": "dataset rows.roles rows.where columns.columns columns.sensitivity columns.roles columns.except columns.mask.constant "
    "columns.mask.expression tests.role tests.sql tests.rows tests.attributes",
}
"""Fields that the controllers act on, some of their values perhaps not built."""

FOR_PEOPLE = {"Dataset": "owner description tags sensitivity columns.*.description columns.*.sensitivity"}
"""Fields that say something and ask for nothing."""

FILES = "source: {files: a.csv}"
NOT_BUILT: tuple[tuple[str, str, str], ...] = ()
"""A spec of the kind, and the fields for which it is refused."""

BUILT = (
    ("Bucket", "memory: {}"),
    ("Bucket", "local: {path: x}, prefix: y"),
    ("Bucket", "s3: {bucket: b, endpoint: 'http://x', region: x, credentials: {secret: x}}, timeout: 5s"),
    ("Bucket", "memory: {}, rescue: {bucket: b}"),
    ("Bucket", "gcs: {bucket: b, credentials: {secret: x}}"),
    ("Bucket", "azure: {container: c, account: a, credentials: {secret: x}}"),
    (
        "Dataset",
        f"{FILES}, owner: me, tags: a, description: b, columns: {{a: {{type: int64, description: c, nullable: true, nulls: [N/A]}}}}",
    ),
    ("Dataset", "source: {postgres: {dsn: {secret: x}, table: t, cursor: a, overlap: 1m}}, refresh: {every: 1h}"),
    ("Dataset", "source: {postgres: {dsn: {secret: x}, query: SELECT 1}}, refresh: {watch: false, cron: 0 2 * * *}"),
    ("Dataset", "source: {sql: SELECT 1}"),
    ("Dataset", "source: {bucket: b, prefix: x, format: csv}, contract: {required: a}, publish: together"),
    ("Dataset", f"{FILES}, contract: {{required: a, unique: [a], checks: a > 1, references: {{a: b.c}}, onViolation: warn}}"),
    ("Dataset", f"{FILES}, publish: together"),
    ("Dataset", f"{FILES}, contract: {{ranges: {{a: {{min: 1, max: 2}}}}}}, columns: {{a: {{nullable: false}}}}"),
    ("Index", "dataset: a, text: t, embed: {model: builtin}, serve: {generation: g}"),
    ("IndexGeneration", "index: i, flat: {}"),
    ("IndexGeneration", "index: i, flat: {precision: int8}"),
    ("IndexGeneration", "index: i, lance: {type: IVF_PQ, partitions: 2, m: 8, efConstruction: 9, nprobes: 3, refineFactor: 4, ef: 5}"),
    ("IndexGeneration", "index: i, hnsw: {m: 8, efConstruction: 9, efSearch: 10, seed: 1}"),
    ("EvalSet", "index: i, k: 5, generate: {queries: 3, seed: 1}"),
    ("EvalSet", "index: i, queries: evals/q.jsonl"),
    (
        "TrialBudget",
        "index: i, evalSet: e, space: {engine: [flat, lance], m: [2, 3]}, limits: {trials: 3, cpuShare: 0.2}, promote: propose",
    ),
    ("TrialBudget", "index: i, evalSet: e, profile: p"),
    ("Profile", "datasets: [a], indexes: [i], embed: {model: minilm}, engine: {hnsw: {efSearch: 9}}, at: 3, active: true, role: r"),
    ("TrialBudget", "index: i, evalSet: e, objective: {weighted: {memory: 1}}, gate: {recallAt10: 0.97}, onAppend: ignore"),
)


def missing(kind: str, spec: str) -> str | None:
    text = f"apiVersion: lakehouse/v1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {{{spec}}}\n"
    file = parse_file("a.yaml", text.encode())
    assert not file.errors, file.errors
    found: str | None = JUDGES[kind](file.resources[0].spec)
    return found


def leaves(field: FieldHelp) -> Iterator[str]:
    if not field.fields:
        yield field.path
    for inner in field.fields:
        yield from leaves(inner)


@pytest.mark.parametrize("kind", JUDGES)
def test_every_field_is_accounted_for(kind: str) -> None:
    refused = [field for of, _, fields in NOT_BUILT if of == kind for field in fields.split()]
    assert sorted([*HONOURED[kind].split(), *FOR_PEOPLE.get(kind, "").split(), *refused]) == sorted(leaves(explain(kind)))


@pytest.mark.parametrize(("kind", "spec", "fields"), NOT_BUILT)
def test_what_is_not_built_is_said(kind: str, spec: str, fields: str) -> None:
    assert missing(kind, spec) is not None


@pytest.mark.parametrize(("kind", "spec"), BUILT)
def test_what_is_built_is_taken(kind: str, spec: str) -> None:
    assert missing(kind, spec) is None

"""What each stream holds: its columns, in order, with their types. Every stream is the SQL table `system.<name>`.

Declarations only, so that importing this costs nothing; `tables.py` turns them into Arrow. Every stream begins with
`id` (a ULID, ordered as appended, the identity by which a replay is recognised) and `at`. A `json` column holds JSON as
text in the stream as in SQL; whoever appends may pass the value itself. Columns may be added at the end in later
versions, never renamed or given another type: old segments are read with today's columns, what they lack is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from state.errors import StateError

ColumnType = Literal["string", "int64", "float64", "bool", "timestamp", "json"]
"""`timestamp` is ISO 8601 text in the stream and an instant in SQL; `json` is text in both."""


@dataclass(frozen=True, slots=True)
class StreamColumn:
    """One column of a stream or system table."""

    name: str
    type: ColumnType


@dataclass(frozen=True, slots=True)
class StreamSchema:
    """A stream: `columns` in the order of its SQL table, `names` and `json` for fast checks while appending.

    chained: its events carry chained checksums (`chains.py`), in columns of their own at the end.
    """

    name: str
    summary: str
    columns: tuple[StreamColumn, ...]
    names: frozenset[str]
    json: frozenset[str]
    chained: bool = False


class StreamInvalid(StateError):
    """An append that cannot be: an unknown stream, a column that it does not have, an id that is no ULID."""

    slug = "stream-invalid"


def columns(text: str) -> tuple[StreamColumn, ...]:
    """Columns from "name:type name …"; the type is string where none is given."""
    pairs = [word.partition(":") for word in text.split()]
    return tuple(StreamColumn(name, kind or "string") for name, _, kind in pairs)  # type: ignore[arg-type]


CHAIN_COLUMNS = columns("chain_writer chain_number:int64 chain_hash")
"""Whose chain, which place in it, and the hash of all up to here; added while appending."""


def _stream(name: str, summary: str, text: str, *, chained: bool = False) -> StreamSchema:
    appended = columns("id at:timestamp " + text)
    names, json = frozenset(c.name for c in appended), frozenset(c.name for c in appended if c.type == "json")
    return StreamSchema(name, summary, (*appended, *CHAIN_COLUMNS) if chained else appended, names, json, chained)


STATUS = _stream(
    "status",
    "Every change of an object's status; the newest row of an object is its state.",
    """kind name object ready reason message revision applied_revision observed_at:timestamp digest
    conditions:json detail:json removed:bool""",
)
EVENTS = _stream(
    "events",
    "What happened and why, in words: type is Normal or Warning, request is the id of the request that caused it.",
    "kind name object type reason message revision actor request detail:json",
)
TRIALS = _stream(
    "trials",
    "One measured trial of a recipe: one build, one efSearch, one eval set, one snapshot; written once more when it serves.",
    """trial index generation engine params:json fidelity:float64 eval_set snapshot recall_at_1:float64 recall_at_10:float64
    recall_low:float64 p50_us:float64 p95_us:float64 p99_us:float64 qps:float64 build_seconds:float64 build_cpu_seconds:float64
    load_seconds:float64 memory_bytes:int64 disk_bytes:int64 proposed_by promoted:bool detail:json model""",
)
TUNING = _stream(
    "tuning",
    "What a TrialBudget did and why: begun, proposed, refused, failed, chosen, advised, ended or removed, by spec and answers.",
    """budget index spec truth step message engine params:json searches:json fidelity:float64 trials:json name reason detail:json""",
)
ERRORS = _stream(
    "errors",
    "Every failed bucket operation, and whether the rescue bucket answered; attempt 0: it did, and the bucket was not asked again.",
    "bucket op key class message duration_ms:float64 attempt:int64 rescued:bool rescue_bucket detail:json",
)
AUDIT = _stream(
    "audit",
    "Every read: who, what was touched, with what outcome.",
    """reader profile role action statement tables:json columns:json filters:json masks:json versions:json rows:int64 bytes:int64
    duration_ms:float64 outcome reason bucket key model request detail:json policies:json columns_known:bool index generation
    tokens_in:int64 tokens_out:int64""",
    chained=True,
)
TOOL_CALLS = _stream(
    "tool_calls",
    "Every call of a governed tool.",
    "tool reader profile role arguments:json outcome reason rows:int64 duration_ms:float64 request proposal detail:json",
)
JOBS = _stream(
    "jobs",
    "Long steps: begun, finished, failed, cancelled, with what they cost.",
    """job kind object state inputs reason message attempt:int64 done:int64 total:int64 bytes:int64 seconds:float64
    cpu_seconds:float64 memory_bytes:int64 revision detail:json""",
)
REQUESTS = _stream(
    "requests",
    "What operators asked for and how it ended: outcome is done, refused or failed; request is its id.",
    "request verb object actor reason outcome message digest revision payload:json",
)

STREAMS: Mapping[str, StreamSchema] = {s.name: s for s in (STATUS, EVENTS, TRIALS, TUNING, ERRORS, AUDIT, TOOL_CALLS, JOBS, REQUESTS)}


def schema_of(stream: str) -> StreamSchema:
    """Raises StreamInvalid, naming the streams there are."""
    try:
        return STREAMS[stream]
    except KeyError:
        raise StreamInvalid(f"There is no stream {stream!r}.", remedy=f"Streams are {', '.join(sorted(STREAMS))}.") from None

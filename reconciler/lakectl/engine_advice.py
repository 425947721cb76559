"""`lakectl explain engine`: which engine to take at a size, from figures that were measured and what follows from them."""

import argparse
from dataclasses import asdict
from typing import Any

from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.output import emit
from reconciler.lakectl.reading_here import query_document
from reconciler.lakectl.result_table import rows_table
from reconciler.lakectl.session import Session
from reconciler.lakectl.words import size

ROWS, DIMENSIONS = 100_000, 256
_SIZE = "SELECT count, dimension FROM system.builds WHERE index = $index ORDER BY serving DESC, count DESC LIMIT 1"
_COLUMNS = (("kind", "string"), ("build", "string"), ("query", "string"), ("memory", "string"), ("disk", "string"), ("", "string"))


def explain_engine(args: argparse.Namespace, session: Session) -> int:
    """0. Raises UsageInvalid, IndexUnknown, and what a query raises."""
    from engines.index_memory import available_memory
    from engines.vectors.advice import advise

    rows, dimensions = args.rows or ROWS, args.dimensions or DIMENSIONS
    if args.name is not None:
        if args.rows or args.dimensions:
            raise UsageInvalid("an index has a size of its own", remedy="Leave out --rows and --dimensions, or the index.")
        rows, dimensions = _size_of(args.name.removeprefix("Index/"), session)
    memory = args.memory or available_memory() or 0
    advice = advise(max(rows, 1), dimensions, memory)
    terminal = session.terminal
    if args.output != "table":
        emit(terminal, {"vectors": rows, "dimensions": dimensions, "memoryBytes": memory, **asdict(advice)}, args.output)
        return 0
    shown = [
        {
            "kind": one.kind,
            "build": _seconds(one.build_seconds),
            "query": f"{one.query_ms:.2g} ms" if one.query_ms < 100 else f"{one.query_ms:,.0f} ms",
            "memory": size(one.memory_bytes),
            "disk": size(one.disk_bytes),
            "": "measured" if one.measured else "extrapolated",
        }
        for one in advice.predictions
    ]
    terminal.line(f"{rows:,} vectors of {dimensions} numbers, {size(memory)} of memory")
    terminal.line()
    rows_table({"columns": [{"name": name, "type": kind} for name, kind in _COLUMNS], "rows": shown}, terminal)
    terminal.line()
    for line in terminal.wrap(f"Take `{advice.recipe}`: {advice.why}.", 0):
        terminal.line(line)
    sources = "; ".join(sorted({one.source for one in advice.predictions}))
    for line in terminal.wrap(
        f"From figures of {sources}, on two cores; build in CPU time, memory beside mapped files. Recall is another "
        "question: declare an EvalSet, and trials measure it.",
        0,
    ):
        terminal.line(terminal.style(line, "dim"))
    return 0


def _size_of(index: str, session: Session) -> tuple[int, int]:
    """Vectors, and numbers in each, of the build that serves, else of the greatest."""
    found: list[dict[str, Any]] = query_document(session, {"sql": _SIZE, "params": {"index": index}})["rows"]
    if not found:
        from engines.errors import IndexUnknown

        raise IndexUnknown(f"There is no build of an index {index!r}.", remedy="`lakectl get indexes` lists what there is; or give --rows.")
    return int(found[0]["count"]), int(found[0]["dimension"])


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:,.0f} min"

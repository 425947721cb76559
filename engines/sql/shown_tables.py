"""Tables of which a reader may see a part, as a session opens them: behind a barrier, or as a copy that holds nothing else.

Next: `barrier.py`; `hot_shown.py` for the copies that the hot cache keeps; `session.py`, the only user.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import pyarrow as pa
from datafusion import DataFrame, SessionContext, column
from datafusion.catalog import Table
from datafusion.plan import LogicalPlan

from engines.sql.arrow_files import write_arrow
from engines.sql.barrier import HIDDEN, barrier, carried_name, fails, visible_schema
from engines.sql.careful import Careful
from engines.sql.conjuncts import safe_condition
from engines.sql.facets import facet_name
from engines.sql.merge import open_arrow
from engines.sql.problems import QueryProblem, translated
from engines.sql.readings import quote
from engines.sql.restricted import without_values
from engines.sql.source import LakeTable, TableSource

T = TypeVar("T")


class Opening(Protocol):
    """A session, as far as this asks it."""

    def whole(self, source: TableSource, identity: Sequence[str] = ()) -> Table:
        """The table with all that the reader may not see."""

    def held(self, document: str, source: LakeTable) -> Table | None:
        """What the hot cache has under this document."""

    def known(self, description: Hashable, open_it: Callable[[], Table | None], hot: str | None) -> Table | None:
        """A table that is opened once under a description."""


class ShownTables:
    """Of one session."""

    def __init__(self, session: Opening) -> None:
        self._session = session

    def open(self, source: TableSource, identity: Sequence[str] = ()) -> Table:
        """The table as it is shown. identity: columns that are carried beside what is shown, see `carried`. Raises QueryProblem."""
        shown = source.shown
        assert shown is not None
        if isinstance(source, LakeTable) and shown.held is not None and not (shown.masked | HIDDEN) & set(identity):
            held = self._session.held(shown.held, source)
            if held is not None:
                return held
        behind = partial(self._barrier, source, identity)
        if not isinstance(source, LakeTable):
            return behind()
        opened = self._session.known((source, tuple(identity)), behind, source.hot)
        assert opened is not None
        return opened

    def carried(self, frame: DataFrame, wanted: Sequence[str], facets: Sequence[str] = ()) -> DataFrame:
        """The columns that were to be carried, under their names, of a table that was opened with them; facets: columns besides as they
        are shown, each under its `facet_name`."""
        there = frozenset(frame.schema().names)
        names = {name: carried_name(name) if carried_name(name) in there else name for name in wanted}
        shown = (column(quote(name)).alias(facet_name(number)) for number, name in enumerate(facets))
        return frame.select(*(column(quote(found)).alias(name) for name, found in names.items()), *shown)

    def narrowed(self, plan: LogicalPlan, sources: Sequence[TableSource]) -> Mapping[str, Table]:
        """Of an optimized plan over the sources: the table that it reads through the one barrier, with less behind that."""
        parts = [source for source in sources if source.shown is not None]
        if len(parts) != 1 or parts[0].shown is None:
            return {}
        (source,), shown = parts, parts[0].shown
        condition = safe_condition(plan, shown.masked)
        return {} if condition is None else {source.name: barrier(self._session.whole(source), _called(source), shown, narrowed=condition)}

    def over_copies(
        self,
        problem: QueryProblem,
        sources: Sequence[TableSource],
        scratch: Path | None,
        work: Callable[[Mapping[str, Table]], T],
        identity: Sequence[str] = (),
    ) -> T:
        """What `work` makes of copies of what is shown, by names, after a problem with rows that may be one of policies. scratch: a folder
        for them. identity: as of `open`. Raises QueryProblem without a value: the first where no policy is at fault."""
        with translated(), tempfile.TemporaryDirectory(dir=scratch) as folder:
            copies = self._copies(sources, Path(folder), identity) if problem.problem == "invalid" else {}
            if not copies:
                # by no name of this frame, which its traceback holds: in a circle nothing is let go of that the statement had
                raise without_values(problem) from problem
            try:
                with translated():
                    return work(copies)
            except QueryProblem as again:
                raise without_values(again) from again

    def _copies(self, sources: Iterable[TableSource], folder: Path, identity: Sequence[str]) -> Mapping[str, Table]:
        """Of those sources whose policies fail on a row, what is shown of them. Reads them all. folder: for Arrow files."""
        found = {}
        for number, source in enumerate(source for source in sources if source.shown is not None):
            assert source.shown is not None
            whole = self._session.whole(source, identity)
            if fails(whole, _called(source), source.shown):
                careful = Careful(_called(source), source.shown, identity)
                found[source.name] = _copy(whole, visible_schema(whole.schema, identity), careful, folder / f"{number}.arrow")
        return found

    def _barrier(self, source: TableSource, identity: Sequence[str]) -> Table:
        assert source.shown is not None
        return barrier(self._session.whole(source, identity), _called(source), source.shown, identity)


def _called(source: TableSource) -> str:
    return source.name.rpartition(".")[2]


def _copy(table: Table, schema: pa.Schema, careful: Careful, path: Path) -> Table:
    context = SessionContext()
    context.register_table("t", table)
    batches = (batch.to_pyarrow() for batch in context.table("t").execute_stream())
    write_arrow(path, schema, careful.rows(batches))
    return open_arrow(path)

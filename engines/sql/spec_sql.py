"""What can be said of the SQL of a spec without any data: whether it parses, and whether a check can be one. Blocking, a millisecond each.

Which tables and columns there are decides what runs it. Next: `row_checks.py`, `derived.py`.
"""

from __future__ import annotations

from functools import lru_cache

from engines.errors import QueryInvalid
from specs.kinds.dataset import DatasetSpec


def fault(spec: DatasetSpec) -> str | None:
    """The first thing that is wrong with a Dataset's SQL, with its field."""
    wrong = _of_statement(spec.source.sql) if spec.source.sql is not None else None
    if wrong is not None:
        return f"`source.sql` is no query: {wrong}"
    found = (_of_check(check) for check in (spec.contract.checks if spec.contract is not None else ()))
    return next((f"`contract.checks`: {wrong}" for wrong in found if wrong is not None), None)


@lru_cache(maxsize=1_000)
def _of_statement(sql: str) -> str | None:
    from datafusion import SessionContext, SQLOptions

    from engines.sql.problems import translate

    options = SQLOptions().with_allow_ddl(False).with_allow_dml(False).with_allow_statements(False)
    try:
        SessionContext().sql_with_options(sql, options)
    except Exception as error:  # noqa: BLE001 - DataFusion's, of which there is but one kind
        # what it says of tables says nothing here: there are none
        return translate(error).message.rstrip(".") if "ParserError" in str(error) else None
    return None


@lru_cache(maxsize=1_000)
def _of_check(condition: str) -> str | None:
    from engines.sql.row_checks import check_alone

    try:
        check_alone(condition)
    except QueryInvalid as invalid:
        return str(invalid).rstrip(".")
    return None

"""What `DESCRIBE` answers: columns with the types that a spec and `system.columns` call them by, not those of Arrow's layouts.

It refuses to name a type for what no column of a table can have (a struct, a map, a time of day): these keep Arrow's name. Next:
`json_rows.py::type_name`, whose names these are.
"""

from __future__ import annotations

import pyarrow as pa
from datafusion import SessionContext
from datafusion.expr import DescribeTable
from datafusion.plan import LogicalPlan

from engines.sql.json_rows import type_name

_ANSWER = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("column_name", "data_type", "is_nullable")])


def with_own_types(plan: LogicalPlan) -> LogicalPlan:
    """The plan; that of a DESCRIBE is one of its answer."""
    if plan.display() != "DescribeTable":
        return plan
    described = plan.to_variant()
    assert isinstance(described, DescribeTable)
    told = [(field.name, type_name(field.type), "YES" if field.nullable else "NO") for field in described.schema()]
    columns = [pa.array(values, pa.string()) for values in zip(*told, strict=True)] or [pa.array([], pa.string())] * len(_ANSWER)
    context = SessionContext()
    return context.create_dataframe([[pa.RecordBatch.from_arrays(columns, schema=_ANSWER)]]).logical_plan()

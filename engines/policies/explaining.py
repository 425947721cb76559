"""What a reader may do with a table or an index, with the policies that say so, as plain data; pure.

It asks `decide` as every read does, and tells beside the answer what only operators are to know: what is wrong with a policy, whose removal
waits, what a profile does not bind. Next: `engines/reading.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from engines.policies.book import Standing
from engines.policies.governed import NO_ROW, Governed, Mask
from engines.reading import Action, Decision, IndexName, Reader, TableName, decide
from specs.sql_names import parameters_of


def of_table(reader: Reader, table: TableName, action: Action, standing: Standing) -> dict[str, Any]:
    """standing: of its dataset."""
    decision = decide(reader, table, action)
    rows = _by_policy(standing, reader, lambda shown: shown.row_filter)
    barring = [name for name, condition in rows.items() if condition == NO_ROW] if action != "describe" else []
    why = [] if decision.allowed else [_why_not(reader, table, decision)]
    why += [f"No rule of Policy `{name}` permits {_role(reader)} a row." for name in barring]
    why += [f"Policy `{name}` is faulty: {fault}" + ("" if fault.endswith("?") else ".") for name, fault in sorted(standing.faults.items())]
    named = parameters_of(decision.row_filter) if decision.row_filter is not None else ()
    if missing := sorted({f"`${name}`" for name in named} - {f"`${name}`" for name in decision.values}):
        verb = "is" if len(missing) == 1 else "are"
        why.append(f"{', '.join(missing)} {verb} null here, and a comparison with null holds for no row: attributes are those of a token.")
    unfit = ((name, each) for name, found in sorted(standing.unfit.items()) for each in found if each.column in decision.masks)
    why += [f"Policy `{name}`: {each.said}." for name, each in unfit]
    if standing.source is not None:
        why.append(f"It is made of `{standing.source}`.")
    if standing.held:
        names = ", ".join(f"`{name}`" for name in standing.held)
        why.append(f"The removal of {names} waits for an approval, see `lakectl plan`; until then it holds.")
    return {
        "name": table.dataset,
        "allowed": decision.allowed and not barring,
        "whole": decision.whole,
        "rows": decision.row_filter,
        "rowPolicies": rows,
        "columns": [_column(name, mask, standing, reader) for name, mask in decision.masks.items()],
        "policies": list(decision.policies),
        "values": dict(decision.values),
        "why": why,
    }


def of_index(reader: Reader, index: IndexName, made_of: Iterable[str], table: TableName, standing: Standing) -> dict[str, Any]:
    """A search. made_of: columns of its dataset whose values would be compared or told: its texts and the key."""
    found = of_table(reader, table, "search", standing)
    bound, masked = decide(reader, index, "search").allowed, {column["column"] for column in found["columns"]}
    found |= {"name": index.name, "dataset": table.dataset}
    if not bound:
        return found | {"allowed": False, "whole": False, "why": [f"Profile `{reader.profile}` does not bind the index.", *found["why"]]}
    if told := sorted(masked & set(made_of)):
        names = ", ".join(f"`{name}`" for name in told)
        return found | {"allowed": False, "whole": False, "why": [f"It is made of what policies mask: {names}.", *found["why"]]}
    return found


def _role(reader: Reader) -> str:
    return f"role `{reader.role}`" if reader.role is not None else "whoever has no role"


def _why_not(reader: Reader, table: TableName, decision: Decision) -> str:
    if decision.closed is not None:
        return decision.closed
    if table.system:
        return "What is of the lake itself is for operators."
    return f"Profile `{reader.profile}` does not bind it."


def _column(name: str, mask: Mask, standing: Standing, reader: Reader) -> dict[str, Any]:
    own = {"column": name, "mask": mask.kind} | ({"value": mask.argument} if mask.argument is not None else {})
    said = _by_policy(standing, reader, lambda shown: shown.masks.get(name))
    return own | {"policies": {policy: one.kind for policy, one in said.items()}}


def _by_policy(standing: Standing, reader: Reader, part: Any) -> dict[str, Any]:
    """What each policy says by itself, where it says anything."""
    each = {rules.name: part(Governed((rules,)).shown_to(reader.role)) for rules in standing.rules}
    return {name: said for name, said in each.items() if said is not None}


def summary(access: Mapping[str, Any]) -> str:
    """One line: yes, in part, or no."""
    if not access["allowed"]:
        return "no"
    masked = len(access["columns"])
    parts = [
        *(["rows by policy"] if access["rows"] is not None else []),
        *([f"{masked} {'column' if masked == 1 else 'columns'} masked"] if masked else []),
    ]
    return f"yes, in part: {', '.join(parts)}" if parts else "yes"

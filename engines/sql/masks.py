"""Masks as expressions of DataFusion. The type of a column is kept; what a mask cannot say of a type is null.

A part of a text is shown only where the text is longer than the part: of `1234` the last four would be all of it. Hashes are keyed, so that
nobody who guesses values can compare them, and equal for equal texts in every table. A constant or `[redacted]` stands for nulls, too: it
does not tell whether there is a value. Next: `barrier.py`.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import assert_never

import orjson
import pyarrow as pa
from datafusion import Expr, ScalarUDF, lit, udf
from datafusion import functions as f

from engines.policies.governed import Mask, MaskKind
from engines.sql.shown import Masked

REDACTED = "[redacted]"
SHOWN = 4
"""Characters that `lastFour` and `firstFour` show."""

LITERAL: frozenset[MaskKind] = frozenset({"null", "redact", "constant"})
"""Masks that read no value: whatever is computed of them is computed of nothing hidden."""


def masked(mask: Masked, kind: pa.DataType, value: Expr, computed: Expr | None, key: str | None) -> Expr:
    """What is shown instead of a column's value, in its type, under its name. kind: the type; computed: what an expression gives.

    Raises ValueError for a hash without a key, and for a constant that is no JSON.
    """
    shown = _shown(mask, kind, value, computed, key)
    return (null(kind) if shown is None else shown).alias(mask.column)


def null(kind: pa.DataType) -> Expr:
    """A null of the type."""
    return lit(None).cast(kind)


def shows(mask: Mask, kind: pa.DataType) -> bool:
    """Whether a mask has anything to show of a type; else all its values are null.

    Raises ValueError for a constant that is no JSON.
    """
    match mask.kind:
        case "null":
            return False
        case "expression":
            return True
        case "constant":
            return _constant(orjson.loads(mask.argument or "null"), kind) is not None
        case "year":
            return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))
        case "redact" | "hash" | "firstFour" | "lastFour":
            return is_text(kind)
        case _:
            assert_never(mask.kind)


def _shown(mask: Masked, kind: pa.DataType, value: Expr, computed: Expr | None, key: str | None) -> Expr | None:
    """None where the mask shows nothing of this type."""
    if not shows(Mask(mask.kind, mask.argument), kind):
        return None
    match mask.kind:
        case "redact":
            return lit(REDACTED).cast(kind)
        case "constant":
            return _constant(orjson.loads(mask.argument or "null"), kind)
        case "lastFour":
            return _part(value, f.right(value, lit(SHOWN))).cast(kind)
        case "firstFour":
            return _part(value, f.left(value, lit(SHOWN))).cast(kind)
        case "year":  # truncated, they would go through nanoseconds
            return f.make_date(f.date_part("year", value).cast(pa.int32()), lit(1), lit(1)).cast(kind)
        case "hash":
            if not key:
                raise ValueError("a hash needs a key")
            return _hashed(key)(value.cast(pa.string())).cast(kind)
        case "expression" if computed is not None:
            return computed.try_cast(kind)
        case _:
            return None


def is_text(kind: pa.DataType) -> bool:
    """Whether values are texts, in any layout."""
    return bool(pa.types.is_string(kind) or pa.types.is_string_view(kind) or pa.types.is_large_string(kind))


def _part(value: Expr, part: Expr) -> Expr:
    return f.when(f.character_length(value) > lit(SHOWN), part).end()


def _constant(value: object, kind: pa.DataType) -> Expr | None:
    plain = pa.string() if is_text(kind) else kind
    try:
        said = pa.scalar(str(value) if pa.types.is_string(plain) and not isinstance(value, str) else value)
        return lit(said.cast(plain)).cast(kind)
    except (pa.ArrowException, TypeError, ValueError):
        return None


def _hashed(key: str) -> ScalarUDF:
    secret = bytes.fromhex(key)

    def digests(values: pa.Array) -> pa.Array:
        distinct = values.dictionary_encode()
        hashed = [None if one is None else hmac.digest(secret, one.encode(), "sha256").hex() for one in distinct.dictionary.to_pylist()]
        return pa.array(hashed, pa.string()).take(distinct.indices)

    return _function(digests)


def _function(work: Callable[[pa.Array], pa.Array]) -> ScalarUDF:
    return udf(work, [pa.string()], pa.string(), "immutable", "policy_hash")

"""Parameters of a recipe, as the spec has them and with its defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from engines.errors import BuildFailed
from specs.model import Part
from specs.suggestions import nearest

P = TypeVar("P", bound=Part)


def read(engine: str, model: type[P], parameters: Mapping[str, Any]) -> P:
    """Raises BuildFailed, naming what is no parameter of the engine."""
    try:
        return model.model_validate(dict(parameters))
    except ValidationError as error:
        known = [field.alias or name for name, field in model.model_fields.items()]
        faults = "; ".join(_fault(dict(fault), known) for fault in error.errors(include_url=False))
        raise BuildFailed(f"No parameters of {engine}: {faults}.", remedy=f"It has {', '.join(known)}.") from error


def _fault(fault: Mapping[str, Any], known: Sequence[str]) -> str:
    name = ".".join(map(str, fault["loc"]))
    if fault["type"] != "extra_forbidden":
        return f"{name}: {fault['msg']}"
    near = nearest(name, known)
    return f"there is no `{name}`" + (f", perhaps `{near}`" if near else "")

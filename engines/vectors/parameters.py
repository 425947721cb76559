"""Parameters of a recipe, as the spec has them and with its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from engines.errors import BuildFailed
from specs.model import Part

P = TypeVar("P", bound=Part)


def read(engine: str, model: type[P], parameters: Mapping[str, Any]) -> P:
    """Raises BuildFailed, naming what is no parameter of the engine."""
    try:
        return model.model_validate(dict(parameters))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_url=False))
        raise BuildFailed(f"No parameters of {engine}: {faults}.") from error

"""The settings of lakehouse.yaml as a tree of fields, for `lakectl explain settings`."""

from datetime import timedelta

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from reconciler.settings import Settings
from specs.durations import format_duration
from specs.schema import FieldHelp, model_schema, type_words


def settings_rows() -> tuple[FieldHelp, ...]:
    """Every setting, sections with what is in them."""
    return _rows(Settings, "")


def _rows(model: type[BaseModel], prefix: str) -> tuple[FieldHelp, ...]:
    return tuple(_row(name, info, model, prefix) for name, info in model.model_fields.items())


def _row(name: str, info: FieldInfo, model: type[BaseModel], prefix: str) -> FieldHelp:
    shown = info.alias or name
    path = f"{prefix}.{shown}" if prefix else shown
    inner = info.annotation
    description = info.description or ""
    if isinstance(inner, type) and issubclass(inner, BaseModel):
        return FieldHelp(shown, path, "section", False, None, description, _rows(inner, path))
    schema = model_schema(model)
    default = info.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, float) and any(isinstance(rule, BeforeValidator) for rule in info.metadata):
        # the only validator of numbers among settings is that of durations
        return FieldHelp(shown, path, "duration", False, format_duration(timedelta(seconds=default)), description)
    return FieldHelp(
        shown, path, type_words(schema, schema["properties"][shown]), False, "none" if default == () else str(default), description
    )

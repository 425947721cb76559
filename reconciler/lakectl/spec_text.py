"""Specs as text, changed in one place and otherwise left as they were written: comments, order and layout stay. Pure."""

from typing import Any

import yaml

_SERVE = "serve"


def with_serve(text: str, index: str, generation: str) -> str:
    """The file with `serve: {generation: …}` in the spec of this Index. Raises KeyError where no document declares it."""
    spec = _spec_of(text, index)
    value = _value(spec, _SERVE)
    written = f"{{generation: {generation}}}"
    if value is None:
        return _inserted(text, spec, f"{_SERVE}: {written}")
    inner = _value(value, "generation") if isinstance(value, yaml.MappingNode) else None
    return _replaced(text, inner, generation) if inner is not None else _replaced(text, value, written)


def _spec_of(text: str, index: str) -> yaml.MappingNode:
    for document in yaml.compose_all(text, Loader=yaml.SafeLoader):
        kind, metadata, spec = (_value(document, name) for name in ("kind", "metadata", "spec"))
        name = _value(metadata, "name")
        if kind is not None and name is not None and (kind.value, name.value) == ("Index", index) and isinstance(spec, yaml.MappingNode):
            return spec
    raise KeyError(index)


def _value(node: Any, key: str) -> Any:
    """The node under a key; None where there is none."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for name, value in pairs if name.value == key), None)


def _replaced(text: str, node: yaml.Node, written: str) -> str:
    return text[: node.start_mark.index] + written + text[node.end_mark.index :]


def _inserted(text: str, mapping: yaml.MappingNode, written: str) -> str:
    """As the first entry: what follows keeps its place and its comments."""
    if mapping.flow_style:
        at = mapping.start_mark.index + 1
        return f"{text[:at]}{written}{', ' if mapping.value else ''}{text[at:]}"
    first = mapping.value[0][0].start_mark
    return f"{text[: first.index]}{written}\n{' ' * first.column}{text[first.index :]}"

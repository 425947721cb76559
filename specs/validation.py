"""pydantic's verdict on plain data, in plain sentences that name the field, what it needs and what was found.

Used for specs and for `lakehouse.yaml` alike. Nothing here knows of files: whoever read one adds its path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from specs.model import FORM, RULE, Part
from specs.schema import Path, data_path, example_at, fields_at, is_map, may_be_empty_object, places_of, takes_numbers
from specs.suggestions import did_you_mean, is_slip, nearest
from specs.wording import found, quoted
from specs.yaml_source import Mark

P = TypeVar("P", bound=Part)
MAX_PROBLEMS = 100
"""Problems told in words; more of them help nobody, and looking for near names takes time."""
_KEY = "[key]"
"""What pydantic puts behind a name in a map that is itself at fault."""
_QUOTED = re.compile(r"'([^']*)'")
_NUMBER = re.compile(r"\d+")
_YES, _NO = ("yes", "on", "y"), ("no", "off", "n")
_NEEDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "an object",
    "mapping_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
_NOT_TEXT = frozenset({"int_type", "float_type", "bool_type"})
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("above", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("below", "lt"),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of plain data: the path to it, whether the key or the value is at fault, a sentence, a way out."""

    path: Path
    at: Literal["key", "value"]
    message: str
    hint: str | None = None


def validate(model: type[P], data: object, mark: Mark | None = None) -> tuple[P | None, tuple[Problem, ...]]:
    """The model of the data, or None and every problem. `mark` (of the data) lets hints quote what was written."""
    try:
        return model.model_validate(data), ()
    except ValidationError as error:
        items = [item for item in error.errors(include_url=False) if not _is_a_consequence(item)]
        problems = list(dict.fromkeys(_problem(model, item, mark) for item in items[:MAX_PROBLEMS]))
        if len(items) > MAX_PROBLEMS:
            problems.append(Problem((), "key", f"and {len(items) - MAX_PROBLEMS:,} more errors"))
        return None, tuple(problems)


def dotted(path: Path) -> str:
    """`columns[0].mask` for ("columns", 0, "mask")."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def _problem(model: type[Part], item: ErrorDetails, mark: Mark | None) -> Problem:
    kind, value, context = item["type"], item["input"], item.get("ctx", {})
    path = data_path(model, item["loc"])
    if path[-1:] == (_KEY,) and kind != "extra_forbidden" and is_map(model, path[:-2]):
        return Problem(path[:-1], "key", f"the name `{path[-2]}` in `{dotted(path[:-2])}` is not valid: it {_sentence(item)[0]}")
    if kind == "extra_forbidden":
        return _unknown_field(model, path)
    if kind == "missing":
        return Problem(path[:-1], "key", f"`{dotted(path)}` is missing")
    if kind == RULE and context.get("named"):
        return _of_an_object(path, context)
    sentence, hint = _sentence(item)
    if value is None and may_be_empty_object(model, path):
        hint = f"write `{dotted(path[-1:])}: {{}}`"
    elif kind in ("list_type", "tuple_type"):
        hint = _hint_of_list(model, path, value)
    return Problem(path, "value", f"`{dotted(path) or 'spec'}` {sentence}", hint or _hint(kind, value, _written(mark, path)))


def _is_a_consequence(item: ErrorDetails) -> bool:
    """pydantic also calls a list too short whose entries were refused."""
    return item["type"] == "too_short" and isinstance(item["input"], list) and len(item["input"]) >= item["ctx"]["min_length"]


def _of_an_object(path: Path, context: Mapping[str, Any]) -> Problem:
    """A fault across fields; the object is named unless it is the whole."""
    inside = path[: len(path) - context["depth"]]
    about = f"`{dotted(inside)}`: " if inside else ""
    return Problem(path, "value", f"{about}{context['message']}", context.get("hint"))


def _sentence(item: ErrorDetails) -> tuple[str, str | None]:
    """What comes after the field's name, and a hint."""
    kind, value, context = item["type"], item["input"], item.get("ctx", {})
    if kind == RULE:
        return context["message"], context.get("hint")
    if kind == FORM:
        return f"{item['msg']}; found {found(value)}", None
    if kind in _NEEDS:
        what = found(value) if kind not in _NOT_TEXT or not isinstance(value, str) else f"the text {found(value)}"
        return (f"is empty; it needs {_NEEDS[kind]}" if value is None else f"needs {_NEEDS[kind]}; found {what}"), None
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"must be {words} {context[key]:g}; found {found(value)}", None
    if kind == "literal_error":
        valid = _QUOTED.findall(context["expected"]) or _NUMBER.findall(context["expected"])
        needed = f"one of {', '.join(valid)}" if len(valid) > 1 else f"`{valid[0]}`"
        return f"must be {needed}; found {found(value)}", did_you_mean(value, valid) if isinstance(value, str) else None
    if kind in ("string_too_short", "too_short"):
        least = context["min_length"]
        what = "characters" if kind.startswith("string") else "entries"
        return ("must not be empty" if least == 1 else f"needs at least {least} {what}"), None
    if kind in ("string_too_long", "too_long"):
        most = context["max_length"]
        one, several = ("character", "characters") if kind.startswith("string") else ("entry", "entries")
        return f"takes at most {most} {one if most == 1 else several}; found {found(value)}", None
    return f"is not valid; found {found(value)}", None


def _unknown_field(model: type[Part], path: Path) -> Problem:
    name, parent = str(path[-1]), path[:-1]
    where = f" in `{dotted(parent)}`" if parent else ""
    valid = fields_at(model, parent)
    near = nearest(name, valid)
    places = () if near is not None and is_slip(name, near) else places_of(model, name)
    if places:
        hint: str | None = f"it belongs in `{places[0] or 'spec'}`"
    elif near is not None:
        hint = f"did you mean `{near}`?"
    else:
        hint = f"valid here: {', '.join(valid)}" if valid else "no field is valid here"
    return Problem(path, "key", f"unknown field {quoted(name)}{where}", hint)


def _written(mark: Mark | None, path: Path) -> str | None:
    for step in path:
        mark = mark.children.get(step) if mark is not None else None
    return mark.text if mark is not None else None


def _hint(kind: str, value: object, written: str | None) -> str | None:
    """What to write instead, where the intention is plain."""
    if kind == "string_type" and isinstance(value, (bool, int, float)):
        return f'write "{written or found(value).strip("`")}"'
    if isinstance(value, str):
        lowered = value.lower()
        if kind == "bool_type" and (lowered in _YES or lowered in _NO):
            return f"write {'true' if lowered in _YES else 'false'}"
        if kind == "bool_type" and lowered in ("true", "false"):
            return f"write {lowered} without quotes"
        if kind in ("int_type", "float_type") and len(value) <= 18 and value.replace("_", "").lstrip("+-").isdigit():
            return f"write {int(value.replace('_', ''))}, plain digits without quotes"
    return None


def _hint_of_list(model: type[Part], path: Path, value: object) -> str | None:
    """The number that was meant as an entry, or what the field is like."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and takes_numbers(model, path):
        return f"write [{value}]"
    example = example_at(model, path)
    return f"write it as in [{', '.join(example)}]" if isinstance(example, list) else None


def problems_under(problems: tuple[Problem, ...], spoiled: frozenset[Path]) -> Iterator[Problem]:
    """The problems that are not the consequence of a spoiled path. The empty path spoils nothing."""
    for problem in problems:
        if not any(problem.path[:length] in spoiled for length in range(1, len(problem.path) + 1)):
            yield problem


def place(mark: Mark, problem: Problem) -> tuple[int, int]:
    """Line and column of a problem: its key if that is at fault or has no value, else its value; the nearest that exists."""
    at = (mark.line, mark.column)
    for number, step in enumerate(problem.path):
        last = number == len(problem.path) - 1
        key = mark.keys.get(step) if isinstance(step, str) else None
        child = mark.children.get(step)
        if key is not None and (child is None or (last and (problem.at == "key" or child.text == ""))):
            return key
        if child is None:
            return at
        mark, at = child, (child.line, child.column)
    return at

"""The few settings: `lakehouse.yaml` at the repository's root, read from the watched commit. One frozen model.

Environment variables override it (`LAKEHOUSE_` and the path in capitals, joined by `_`: `LAKEHOUSE_LISTEN`,
`LAKEHOUSE_LIMITS_QUERY_SECONDS`); this is the only module that reads the environment or a file of settings. Fields
marked "restart" are read when the daemon starts; the others follow a commit.
"""

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from reconciler.errors import SettingsInvalid
from specs.durations import DurationInvalid, parse_duration
from specs.suggestions import did_you_mean
from specs.yaml_source import MAX_CHARACTERS, Mark, YamlInvalid, load_plain, read_documents

_FILE = "lakehouse.yaml"
_PREFIX = "LAKEHOUSE_"
_HELP = "`lakectl explain settings` lists all settings."

_LOOPBACK = "127.0.0.1"
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([\w.-]*)):([0-9]{1,5})", re.ASCII)
_HIGHEST_PORT = 65_535

_Path = tuple[str, ...]


def split_address(text: str) -> tuple[str, int]:
    """Host (without brackets) and port of an address as `listen` has it. Without a host it is this machine's own: never all the world.

    Raises ValueError, saying how an address is written.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found[3]) > _HIGHEST_PORT:
        raise ValueError(f"`{text}` is no address; write host and port, as in {_LOOPBACK}:8484")
    return found[1] or found[2] or _LOOPBACK, int(found[3])


def whole_address(text: str) -> str:
    """The address with its host, as in 127.0.0.1:8484 for `:8484`. Raises ValueError, as `split_address` does."""
    host, port = split_address(text)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _seconds(value: object) -> object:
    if not isinstance(value, str) or value.replace(".", "", 1).isdigit():
        return value
    try:
        return parse_duration(value).total_seconds()
    except DurationInvalid as error:
        raise ValueError(error.explain()) from error


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]
"""A duration, written `30s`, `10m`, `1h30m` or as seconds."""


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=_camel, populate_by_name=True)


class StateSettings(_Model):
    """Where the state is kept."""

    bucket: str = Field(default="primary", description="Bucket of the catalog log, statuses, streams, requests, lease. Restart.")


class LimitSettings(_Model):
    """What one request may cost."""

    body_bytes: int = Field(default=1 << 20, gt=0, description="Largest request body, in bytes. Restart.")
    query_seconds: Seconds = Field(default=30.0, description="Longest query, planning included. Restart.")
    query_rows: int = Field(default=10_000, gt=0, description="Most rows of a result; it is cut there, and says so. Restart.")
    query_bytes: int = Field(default=64 << 20, gt=0, description="Largest result, in bytes; it is cut there, and says so. Restart.")
    query_memory_bytes: int = Field(default=1 << 30, gt=0, description="Resident memory at which a query worker is ended. Restart.")
    query_workers: int = Field(default=2, ge=1, description="Query workers at most; one is kept warm. Restart.")
    waiting_queries: int = Field(default=64, ge=0, description="Queries that may wait for a worker; more are refused. Restart.")
    search_k: int = Field(default=1_000, ge=1, description="Most hits of a search. Restart.")


class WorkSettings(_Model):
    """How the daemon works."""

    reconcilers: int = Field(default=4, ge=1, description="Objects reconciled at once. Restart.")
    job_workers: int = Field(default=os.cpu_count() or 1, ge=1, description="Long jobs at once, a process each; one a core. Restart.")
    inline_bytes: int = Field(default=8 << 20, ge=0, description="Input, in bytes, up to which a job needs no process. Restart.")
    resync: Seconds = Field(default=600.0, description="Every object is observed again this often, to find drift.")
    relist: Seconds = Field(default=30.0, description="The watched ref is read again this often, should a notification be lost.")
    cache_bytes: int = Field(default=10 << 30, gt=0, description="Local copies of remote objects at most, in bytes. Restart.")


class Settings(_Model):
    """All settings, with their defaults."""

    listen: Annotated[str, AfterValidator(whole_address)] = Field(
        default=f"{_LOOPBACK}:8484",
        description="Address of the HTTP API; port 0 picks a free one, and without a host it is the loopback one. Restart.",
    )
    hosts: str = Field(
        default="",
        pattern=r"^[\w.-]*( *, *[\w.-]+)*$",
        description="Host names, separated by commas, that the API answers to besides its address and this machine's name. Restart.",
    )
    state: StateSettings = Field(default=StateSettings(), description="Where the state is kept.")
    limits: LimitSettings = Field(default=LimitSettings(), description="What one request may cost.")
    work: WorkSettings = Field(default=WorkSettings(), description="How the daemon works.")
    max_prune: float = Field(
        default=0.3, ge=0, le=1, description="Share of a kind's objects that one commit may remove before an approval is asked for."
    )


def load_settings(text: bytes | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the text of lakehouse.yaml and the environment.

    Raises:
        SettingsInvalid: names the file and line or the variable, the field and what was expected.
    """
    text = text or b""
    try:
        document = load_plain(_FILE, text)
    except YamlInvalid as error:
        raise SettingsInvalid(str(error)) from error
    if not isinstance(document, dict | None):
        raise SettingsInvalid(f"{_FILE}:1:1: settings are an object, as in `maxPrune: 0.3`", remedy=_HELP)
    document = document or {}
    overridden: dict[_Path, str] = {}
    for variable, value in sorted((os.environ if environment is None else environment).items()):
        if variable.startswith(_PREFIX) and variable not in _OTHER_VARIABLES:
            path = _path_of(variable)
            overridden[path] = variable
            _put(document, path, value)
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        raise _invalid(error, text, overridden) from error


def armed_failpoints(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Failpoints asked for by `LAKEHOUSE_FAILPOINTS=name=action,name=action` (tests only)."""
    text = (os.environ if environment is None else environment).get("LAKEHOUSE_FAILPOINTS", "")
    return dict(item.split("=", 1) for item in text.split(",") if "=" in item)


def client_url(environment: Mapping[str, str] | None = None) -> str | None:
    """The daemon's address as `LAKEHOUSE_URL` gives it, for `lakectl` without `--url`."""
    return (os.environ if environment is None else environment).get("LAKEHOUSE_URL")


_OTHER_VARIABLES = frozenset({"LAKEHOUSE_FAILPOINTS", "LAKEHOUSE_URL"})


def _path_of(variable: str) -> _Path:
    wanted = variable.removeprefix(_PREFIX)
    for path in _paths(Settings):
        if "_".join(re.sub(r"([A-Z])", r"_\1", part).upper() for part in path) == wanted:
            return path
    raise SettingsInvalid(f"the environment variable {variable} names no setting", remedy=_HELP)


def _put(document: dict[str, Any], path: _Path, value: str) -> None:
    """Nothing, where the file has something else than an object on the way: that is told by validation."""
    node = document
    for part in path[:-1]:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            return
    node[path[-1]] = value


def _invalid(error: ValidationError, text: bytes, overridden: Mapping[_Path, str]) -> SettingsInvalid:
    """The first fault, with its place: the variable, or file, line and column of the value (of the key, if that is at fault)."""
    first = error.errors()[0]
    path = tuple(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if first["type"] == "extra_forbidden":
        siblings = [known[len(path) - 1] for known in _paths(Settings) if known[: len(path) - 1] == path[:-1]]
        message = "there is no such setting" + (f"; {hint}" if (hint := did_you_mean(path[-1], siblings)) else "")
    if path in overridden:
        where = f"the environment variable {overridden[path]}"
    else:
        where = ":".join(map(str, (_FILE, *_place(text, path, first["type"] == "extra_forbidden"))))
    return SettingsInvalid(f"{where}: {'.'.join(path)}: {message}", remedy=_HELP)


def _place(text: bytes, path: _Path, key: bool) -> tuple[int, int]:
    """Line and column of what `path` leads to; the nearest that exists."""
    mark = next((document.mark for document in read_documents(text.decode("utf-8-sig"), MAX_CHARACTERS)), Mark(1, 1))
    for number, part in enumerate(path):
        if key and number == len(path) - 1 and part in mark.keys:
            return mark.keys[part]
        if part not in mark.children:
            break
        mark = mark.children[part]
    return mark.line, mark.column


def _paths(model: type[BaseModel], prefix: _Path = ()) -> list[_Path]:
    found: list[_Path] = []
    for name, info in model.model_fields.items():
        path = (*prefix, info.alias or name)
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += _paths(inner, path)
        else:
            found.append(path)
    return found

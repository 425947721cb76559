"""The few settings: `lakehouse.yaml` at the repository's root, read from the watched commit. One frozen model.

Environment variables override it (`LAKEHOUSE_` and the path in capitals, joined by `_`: `LAKEHOUSE_LISTEN`,
`LAKEHOUSE_LIMITS_QUERY_SECONDS`); this is the only module that reads a file of settings, or variables that override one
(those of the client alone are `reconciler.lakectl.environment`). Fields marked "restart" are read when the daemon
starts; the others follow a commit.

Read next: `specs.model` and `specs.validation`, which check settings as they check specs.
"""

import os
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from engines.ollama.server import URL, Server, unfit
from reconciler.errors import SettingsInvalid
from specs.durations import DurationInvalid, parse_duration
from specs.model import Fault, Part, refuse
from specs.scalars import Name, OneOrMany, Text
from specs.suggestions import did_you_mean
from specs.validation import Problem, place, validate
from specs.wording import found
from specs.yaml_source import Document, YamlInvalid, read_single, resolve_plain
from state.secrets import SECRET_PREFIX

_FILE = "lakehouse.yaml"
_PREFIX = "LAKEHOUSE_"
_OTHER_VARIABLES = frozenset({"LAKEHOUSE_FAILPOINTS", "LAKEHOUSE_URL", "LAKEHOUSE_TOKEN"})
_HELP = "`lakectl explain settings` lists all settings."
_LOOPBACK = "127.0.0.1"
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([\w.-]*)):([0-9]{1,5})", re.ASCII)
_HOSTS = re.compile(r"[\w.-]*( *, *[\w.-]+)*")
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


def _address(text: str) -> str:
    try:
        return whole_address(text)
    except ValueError as error:
        raise refuse(f"needs host and port; found {found(text)}", f"write it as in {_LOOPBACK}:8484") from error


def _hosts(text: str) -> str:
    if not _HOSTS.fullmatch(text):
        raise refuse(f"needs host names, separated by commas; found {found(text)}", "write it as in lake.example, lake")
    return text


def _seconds(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_duration(value).total_seconds()
    except DurationInvalid as error:
        raise refuse(f"needs a duration; found {found(value)}", "write it as in 30s, 10m, 1h30m, or as seconds") from error


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]
"""A duration, written `30s`, `10m`, `1h30m` or as seconds."""


class StateSettings(Part):
    """Where the state is kept."""

    bucket: Name = Field(default="primary", description="Bucket of the catalog log, statuses, streams, requests, lease. Restart.")


class UntrustedLimits(Part):
    """What a query may cost whose reader is not trusted; never more than that of others. And the quota of a token without a profile."""

    seconds: Seconds = Field(default=10.0, description="Longest query of a reader who is not trusted. Restart.")
    memory_bytes: int = Field(default=512 << 20, gt=0, description="Resident memory at which its worker is ended. Restart.")
    rows: int = Field(default=5_000, gt=0, description="Most rows of its result; it is cut there, and says so. Restart.")
    bytes: int = Field(default=16 << 20, gt=0, description="Largest result, in bytes; it is cut there, and says so. Restart.")
    queries_per_minute: int = Field(
        default=600, gt=0, description="Queries, searches and descriptions of datasets a minute of a token without a profile. Restart."
    )
    concurrent: int = Field(default=4, gt=0, description="Queries and searches at the same time of a token without a profile. Restart.")
    rows_per_day: int = Field(default=1_000_000, gt=0, description="Rows returned in a day to a token without a profile. Restart.")


class LimitSettings(Part):
    """What one request may cost."""

    body_bytes: int = Field(default=1 << 20, gt=0, description="Largest request body, in bytes. Restart.")
    query_seconds: Seconds = Field(default=30.0, description="Longest query, planning included. Restart.")
    query_rows: int = Field(default=10_000, gt=0, description="Most rows of a result; it is cut there, and says so. Restart.")
    query_bytes: int = Field(default=64 << 20, gt=0, description="Largest result, in bytes; it is cut there, and says so. Restart.")
    query_memory_bytes: int = Field(default=1 << 30, gt=0, description="Resident memory at which a query worker is ended. Restart.")
    query_workers: int = Field(default=2, ge=1, description="Query workers at most; one is kept warm. Restart.")
    waiting_queries: int = Field(default=64, ge=0, description="Queries that may wait for a worker; more are refused. Restart.")
    hot_cache_bytes: int = Field(
        default=2 << 30, ge=0, description="Tables held ready in memory-mapped files at most, in bytes; 0 holds none. Restart."
    )
    embedding_cache_bytes: int = Field(
        default=1 << 30,
        ge=0,
        description="Embeddings kept on disk for all indexes at most, in bytes, and a 64th of it for queries in memory; 0 keeps none. "
        "Restart.",
    )
    search_k: int = Field(default=1_000, ge=1, description="Most hits of a search. Restart.")
    untrusted: UntrustedLimits = Field(default=UntrustedLimits(), description="What readers who are not trusted may cost.")


class WorkSettings(Part):
    """How the daemon works."""

    reconcilers: int = Field(default=4, ge=1, description="Objects reconciled at once. Restart.")
    job_workers: int = Field(default=os.cpu_count() or 1, ge=1, description="Long jobs at once, a process each; one a core. Restart.")
    inline_bytes: int = Field(default=8 << 20, ge=0, description="Input, in bytes, up to which a job needs no process. Restart.")
    resync: Seconds = Field(default=600.0, description="Every object is observed again this often, to find drift.")
    relist: Seconds = Field(default=30.0, description="The watched ref is read again this often, should a notification be lost.")
    retention: Seconds = Field(
        default=86_400.0, description="Objects that nothing refers to are kept so long, unless their bucket says otherwise."
    )
    recall_share: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of searches that are answered again exactly, to know their recall; 0 for none. Restart.",
    )
    index_memory_bytes: int = Field(
        default=0,
        ge=0,
        description="Bytes of graphs in memory above which a build that takes another's place has that one step back to its mapped "
        "vectors first. No bound for indexes that open beside others. 0: what the machine and its control group have. Restart.",
    )
    cache_bytes: int = Field(default=10 << 30, gt=0, description="Local copies of remote objects at most, in bytes. Restart.")


class OllamaSettings(Part):
    """Which Ollama server runs models, and how it is asked."""

    url: str = Field(default=URL, description="Address of the server, on this machine. Restart.")
    remote: bool = Field(default=False, description="Whether it may be on another machine: texts are sent there. Restart.")
    timeout: Seconds = Field(default=120.0, description="Longest wait for a batch of embeddings, or for the next words of a chat. Restart.")
    load_timeout: Seconds = Field(default=300.0, description="Longest wait for a model to be loaded, or to be gone. Restart.")
    keep_alive: Seconds = Field(default=1800.0, description="How long a model stays in memory that nobody asks for. Restart.")
    context: int = Field(default=8192, ge=64, description="Tokens that a model reads at once, at most: `num_ctx`. Restart.")
    batch: int = Field(default=64, ge=1, le=1024, description="Texts embedded by one request. Restart.")

    @classmethod
    def rules(cls, given: Mapping[str, Any]) -> Iterator[Fault]:
        """Texts stay on this machine, unless it is said that they may leave."""
        url = given.get("url", URL)
        why = unfit(url, remote=given.get("remote") is True) if isinstance(url, str) else None
        if why is not None:
            yield Fault(
                f"`{url}` is not asked: {why}",
                ("url",),
                f"name one on this machine, as in {URL}, or write `remote: true` if texts may leave it",
            )

    @property
    def server(self) -> Server:
        """As the client takes it."""
        return Server(
            url=self.url, remote=self.remote, call_seconds=self.timeout, load_seconds=self.load_timeout, keep_seconds=self.keep_alive,
            context=self.context, batch=self.batch,
        )  # fmt: skip


class ModelSettings(Part):
    """Models that servers run."""

    ollama: OllamaSettings = Field(default=OllamaSettings(), description="Which Ollama server runs models, and how it is asked.")
    max_active: int = Field(
        default=1, ge=1, description="Models in memory at once; of those that embed it is never more than one. Restart."
    )
    vram_bytes: int = Field(
        default=0, ge=0, description="Bytes of a graphics card's memory that they may have together; 0 for no bound. Restart."
    )
    chat: str = Field(
        default="",
        description="Chat model, as in qwen2.5:7b, that drafts descriptions and migrations; else a profile's, or templates. Restart.",
    )


_Kept = Seconds | None


class RetentionSettings(Part):
    """How long events are kept. What goes are whole months; `status` has no field, since what is newest of an object may be old."""

    events: _Kept = Field(default=None, description="How long the stream `events` is kept, as in 90d; months wholly older are removed.")
    trials: _Kept = Field(default=None, description="The same for `trials`.")
    tuning: _Kept = Field(default=None, description="The same for `tuning`; a budget goes by what is kept of it.")
    errors: _Kept = Field(default=None, description="The same for `errors`.")
    audit: _Kept = Field(default=None, description="The same for `audit`; a note says where its chains begin then.")
    tool_calls: _Kept = Field(default=None, description="The same for `tool_calls`.")
    jobs: _Kept = Field(default=None, description="The same for `jobs`.")
    requests: _Kept = Field(default=None, description="The same for `requests`.")

    def of(self, stream: str) -> timedelta | None:
        """None: for ever."""
        seconds: float | None = self.model_dump().get(stream)
        return None if seconds is None else timedelta(seconds=seconds)


class AuditSettings(Part):
    """What the record of reads keeps."""

    texts: bool = Field(
        default=False, description="Whether it keeps texts that are looked for, not only their keyed digests and lengths. Restart."
    )


class NotifySettings(Part):
    """Who is told of events that somebody should hear of: that data became stale, and that it is fresh again."""

    command: OneOrMany[Text] = Field(
        default=(), description="A program and its arguments, run in the data root with the event as JSON on its standard input."
    )
    timeout: Seconds = Field(default=10.0, description="How long it may take for one event; then it is ended.")


class Settings(Part):
    """All settings, with their defaults."""

    listen: Annotated[str, AfterValidator(_address)] = Field(
        default=f"{_LOOPBACK}:8484",
        description="Address of the HTTP API; port 0 picks a free one, and without a host it is the loopback one. Restart.",
    )
    hosts: Annotated[str, AfterValidator(_hosts)] = Field(
        default="",
        description="Host names, separated by commas, that the API answers to besides its address and this machine's name. Restart.",
    )
    state: StateSettings = Field(default=StateSettings(), description="Where the state is kept.")
    limits: LimitSettings = Field(default=LimitSettings(), description="What one request may cost.")
    work: WorkSettings = Field(default=WorkSettings(), description="How the daemon works.")
    models: ModelSettings = Field(default=ModelSettings(), description="Models that servers run.")
    retention: RetentionSettings = Field(default=RetentionSettings(), description="How long events are kept.")
    audit: AuditSettings = Field(default=AuditSettings(), description="What the record of reads keeps.")
    notify: NotifySettings = Field(default=NotifySettings(), description="Who is told of events.")
    max_prune: float = Field(
        default=0.3, ge=0, le=1, description="Share of a kind's objects that one commit may remove before an approval is asked for."
    )


def load_settings(text: bytes | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the text of lakehouse.yaml and the environment.

    Raises:
        SettingsInvalid: names, for every fault, file and line or the variable, the field and what was expected.
    """
    try:
        document = read_single(_FILE, text or b"")
    except YamlInvalid as error:
        raise SettingsInvalid(str(error), remedy=error.remedy) from error
    given = {} if document.data is None else document.data
    if not isinstance(given, dict):
        raise SettingsInvalid(f"{_FILE}:{document.line}:1: settings are an object, as in `maxPrune: 0.3`", remedy=_HELP)
    overridden = _override(given, os.environ if environment is None else environment)
    settings, problems = validate(Settings, given, document.mark)
    if settings is None:
        raise SettingsInvalid("\n".join(_told(problems, document, overridden)), remedy=_HELP)
    return settings


def read_at_start(settings: Part, prefix: str = "") -> dict[str, object]:
    """The values that a running daemon goes on with until it is started again, by their names in the file."""
    found: dict[str, object] = {}
    for name, field in type(settings).model_fields.items():
        value, path = getattr(settings, name), f"{prefix}{field.alias or name}"
        if isinstance(value, Part):
            found |= read_at_start(value, f"{path}.")
        elif (field.description or "").endswith("Restart."):
            found[path] = value
    return found


def armed_failpoints(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Failpoints asked for by `LAKEHOUSE_FAILPOINTS=name=action,name=action` (tests only)."""
    text = (os.environ if environment is None else environment).get("LAKEHOUSE_FAILPOINTS", "")
    return dict(item.split("=", 1) for item in text.split(",") if "=" in item)


def _override(given: dict[str, Any], environment: Mapping[str, str]) -> dict[_Path, str]:
    """Puts what variables say into the data of the file; returns which variable stands where. Raises SettingsInvalid."""
    fields = dict(_fields(Settings))
    known = {_PREFIX + "_".join(re.sub(r"([A-Z])", r"_\1", part).upper() for part in path): path for path in fields}
    overridden: dict[_Path, str] = {}
    for variable, value in sorted(environment.items()):
        if not variable.startswith(_PREFIX) or variable.startswith(SECRET_PREFIX) or variable in _OTHER_VARIABLES:
            continue
        if variable not in known:
            hint = did_you_mean(variable, known)
            message = f"the environment variable {variable} names no setting" + (f"; {hint}" if hint else "")
            raise SettingsInvalid(message, remedy=_HELP)
        path = known[variable]
        overridden[path] = variable
        _put(given, path, value if fields[path] is str else resolve_plain(value))
    return overridden


def _put(given: dict[str, Any], path: _Path, value: object) -> None:
    """Nothing, where the file has something else than an object on the way: that is told by validation."""
    node = given
    for part in path[:-1]:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            return
    node[path[-1]] = value


def _told(problems: tuple[Problem, ...], document: Document, overridden: Mapping[_Path, str]) -> Iterator[str]:
    """Each problem with its place: the variable, or file, line and column."""
    for problem in problems:
        variable = overridden.get(tuple(map(str, problem.path)))
        line, column = place(document.mark, problem)
        where = f"{_FILE}:{line}:{column}" if variable is None else f"the environment variable {variable}"
        yield f"{where}: {problem.message}" + (f"; {problem.hint}" if problem.hint else "")


def _fields(model: type[BaseModel], prefix: _Path = ()) -> Iterator[tuple[_Path, object]]:
    """The path of every setting, and its type."""
    for name, info in model.model_fields.items():
        path = (*prefix, info.alias or name)
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _fields(info.annotation, path)
        else:
            yield path, info.annotation

"""Settings: every field by file and by variable, and errors that name the place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from reconciler.errors import SettingsInvalid
from reconciler.settings import Settings, armed_failpoints, load_settings, split_address

GIVEN: dict[str, tuple[str, Any]] = {
    "listen": ("0.0.0.0:9000", "0.0.0.0:9000"),
    "hosts": ("lake.example, lake", "lake.example, lake"),
    "state.bucket": ("vault", "vault"),
    "limits.bodyBytes": ("1", 1),
    "limits.queryRows": ("2", 2),
    "limits.queryBytes": ("3", 3),
    "limits.queryMemoryBytes": ("4", 4),
    "limits.queryWorkers": ("5", 5),
    "limits.waitingQueries": ("0", 0),
    "limits.querySeconds": ("1m", 60.0),
    "limits.searchK": ("6", 6),
    "limits.hotCacheBytes": ("7", 7),
    "limits.embeddingCacheBytes": ("7", 7),
    "limits.untrusted.seconds": ("5s", 5.0),
    "limits.untrusted.memoryBytes": ("7", 7),
    "limits.untrusted.rows": ("7", 7),
    "limits.untrusted.bytes": ("7", 7),
    "limits.untrusted.queriesPerMinute": ("7", 7),
    "limits.untrusted.concurrent": ("7", 7),
    "limits.untrusted.rowsPerDay": ("7", 7),
    "work.reconcilers": ("7", 7),
    "work.jobWorkers": ("8", 8),
    "work.inlineBytes": ("0", 0),
    "work.resync": ("1h30m", 5400.0),
    "work.relist": ("2.5", 2.5),
    "work.retention": ("2d", 172_800.0),
    "work.cacheBytes": ("9", 9),
    "work.recallShare": ("0.5", 0.5),
    "work.indexMemoryBytes": ("10", 10),
    "retention.events": ("1d", 86400.0),
    "retention.trials": ("2d", 172800.0),
    "retention.tuning": ("3d", 259200.0),
    "retention.errors": ("4d", 345600.0),
    "retention.audit": ("5d", 432000.0),
    "retention.toolCalls": ("6d", 518400.0),
    "retention.jobs": ("7d", 604800.0),
    "retention.requests": ("8d", 691200.0),
    "audit.texts": ("true", True),
    "notify.command": ("say", ("say",)),
    "notify.timeout": ("3s", 3.0),
    "models.ollama.url": ("http://localhost:1", "http://localhost:1"),
    "models.ollama.remote": ("true", True),
    "models.ollama.timeout": ("4s", 4.0),
    "models.ollama.loadTimeout": ("5s", 5.0),
    "models.ollama.keepAlive": ("6s", 6.0),
    "models.ollama.context": ("77", 77),
    "models.ollama.batch": ("8", 8),
    "models.maxActive": ("2", 2),
    "models.vramBytes": ("9", 9),
    "models.chat": ("qwen", "qwen"),
    "maxPrune": ("1", 1.0),
}


def paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in model.model_fields.items():
        inner, path = info.annotation, f"{prefix}{info.alias or name}"
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from paths(inner, f"{path}.")
        else:
            yield path


def value(settings: Settings, path: str) -> Any:
    found: Any = settings.model_dump(by_alias=True)
    for part in path.split("."):
        found = found[part]
    return found


def variable(path: str) -> str:
    return "LAKEHOUSE_" + "".join(f"_{c}" if c.isupper() else "_" if c == "." else c.upper() for c in path)


def test_every_setting_is_tried_here() -> None:
    assert set(paths(Settings)) == GIVEN.keys()


@pytest.mark.parametrize("path", GIVEN)
def test_in_the_file(path: str) -> None:
    text, expected = GIVEN[path]
    *outer, last = path.split(".")
    document = "".join(f"{'  ' * depth}{part}:\n" for depth, part in enumerate(outer)) + f"{'  ' * len(outer)}{last}: {text}\n"
    settings = load_settings(document.encode(), {})
    assert value(settings, path) == expected
    assert settings != Settings()


@pytest.mark.parametrize("path", GIVEN)
def test_in_the_environment(path: str) -> None:
    text, expected = GIVEN[path]
    settings = load_settings(b"listen: 1.2.3.4:5\nlimits: {queryRows: 77}\n", {variable(path): text, "PATH": "x"})
    assert value(settings, path) == expected
    assert value(settings, "limits.queryRows") == (2 if path == "limits.queryRows" else 77)


def test_variables_that_hold_secrets_are_none() -> None:
    assert load_settings(None, {"LAKEHOUSE_SECRET__ARCHIVE_KEYS__ACCESS_KEY_ID": "a"}) == Settings()


@pytest.mark.parametrize("text", [None, b"", b"  \n", b"# nothing\n", b"\xef\xbb\xbf", b"---\n", b"{}"])
def test_defaults(text: bytes | None) -> None:
    assert load_settings(text, {}) == Settings()


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("listn: x\n", {}, "lakehouse.yaml:1:1: unknown field `listn`; did you mean `listen`?"),
        (
            "limits:\n  # few\n  queryRow: 1\n",
            {},
            "lakehouse.yaml:3:3: unknown field `queryRow` in `limits`; did you mean `queryRows`?",
        ),
        ("limits:\n  queryRows: many\n", {}, "lakehouse.yaml:2:14: `limits.queryRows` needs a whole number; found the text `many`"),
        ("limits: {queryRows: 0}\n", {}, "lakehouse.yaml:1:21: `limits.queryRows` must be above 0; found the number `0`"),
        (
            "models: {ollama: {url: 'http://10.0.0.1:11434'}}\n",
            {},
            "lakehouse.yaml:1:24: `models.ollama`: `http://10.0.0.1:11434` is not asked: it is not on this machine, "
            "and texts would leave it; name one on this machine, as in http://127.0.0.1:11434, or write `remote: true` "
            "if texts may leave it",
        ),
        ("maxPrune: 30\n", {}, "lakehouse.yaml:1:11: `maxPrune` must be at most 1; found the number `30`"),
        ("work: {resync: 5x}\n", {}, "lakehouse.yaml:1:16: `work.resync` needs a duration; found `5x`; write it as in 30s, 10m"),
        ("work: {resync: 0s}\n", {}, "lakehouse.yaml:1:16: `work.resync` must be above 0; found `0s`"),
        ("work: 5\n", {}, "lakehouse.yaml:1:7: `work` needs an object; found the number `5`"),
        ("work: 5\n", {"LAKEHOUSE_WORK_RESYNC": "5s"}, "lakehouse.yaml:1:7: `work` needs an object; found the number `5`"),
        ("work:\n", {"LAKEHOUSE_WORK_RECONCILERS": "0"}, "lakehouse.yaml:1:1: `work` is empty; it needs an object"),
        ("- listen\n", {}, "lakehouse.yaml:1:1: settings are an object"),
        ("listen: localhost\n", {}, "lakehouse.yaml:1:9: `listen` needs host and port; found `localhost`; write it as in 127.0.0.1:8484"),
        ("max_prune: 1\n", {}, "lakehouse.yaml:1:1: unknown field `max_prune`; did you mean `maxPrune`?"),
        ("queryRows: 1\n", {}, "lakehouse.yaml:1:1: unknown field `queryRows`; it belongs in `limits`"),
        ("hosts: a b\n", {}, "lakehouse.yaml:1:8: `hosts` needs host names, separated by commas; found `a b`"),
        ("state: {bucket: A}\n", {}, "lakehouse.yaml:1:17: `state.bucket` must be lower-case letters"),
        ('work: {relist: "30"}\n', {}, "lakehouse.yaml:1:16: `work.relist` needs a duration; found `30`"),
        (
            "maxPrune: 2\nlimits: {queryRows: 0}\n",
            {"LAKEHOUSE_LIMITS_SEARCH_K": "-1"},
            "lakehouse.yaml:2:21: `limits.queryRows` must be above 0; found the number `0`\n"
            "the environment variable LAKEHOUSE_LIMITS_SEARCH_K: `limits.searchK` must be at least 1; found the number `-1`\n"
            "lakehouse.yaml:1:11: `maxPrune` must be at most 1; found the number `2`",
        ),
        ("listen: a b:1\n", {}, "lakehouse.yaml:1:9: `listen` needs host and port; found `a b:1`"),
        (
            "",
            {"LAKEHOUSE_LISTEN": "0.0.0.0:99999"},
            "the environment variable LAKEHOUSE_LISTEN: `listen` needs host and port; found `0.0.0.0:99999`",
        ),
        ("a: 1\na: 2\n", {}, "lakehouse.yaml:2:1: `a` is given twice"),
        ("a: [\n", {}, "lakehouse.yaml:1:5: YAML"),
        ("listen: x\n---\nlisten: y\n", {}, "lakehouse.yaml:3:1: a second document begins here"),
        (
            "",
            {"LAKEHOUSE_MAX_PRUNE": "much"},
            "the environment variable LAKEHOUSE_MAX_PRUNE: `maxPrune` needs a number; found the text `much`",
        ),
        (
            "",
            {"LAKEHOUSE_WORK_RELIST": "-1s"},
            "the environment variable LAKEHOUSE_WORK_RELIST: `work.relist` needs a duration; found `-1s`",
        ),
        (
            "",
            {"LAKEHOUSE_MAXPRUNE": "1"},
            "the environment variable LAKEHOUSE_MAXPRUNE names no setting; did you mean `LAKEHOUSE_MAX_PRUNE`?",
        ),
    ],
)
def test_errors_name_the_place(text: str, environment: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(text.encode(), environment)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "whole", "host", "port"),
    [
        (":8080", "127.0.0.1:8080", "127.0.0.1", 8080),
        (":0", "127.0.0.1:0", "127.0.0.1", 0),
        ("localhost:1", "localhost:1", "localhost", 1),
        ("0.0.0.0:8484", "0.0.0.0:8484", "0.0.0.0", 8484),
        ("[::1]:65535", "[::1]:65535", "::1", 65535),
        ("[::]:80", "[::]:80", "::", 80),
    ],
)
def test_an_address_without_a_host_is_the_loopback_one(text: str, whole: str, host: str, port: int) -> None:
    settings = load_settings(f'listen: "{text}"'.encode(), {})
    assert settings.listen == whole
    assert split_address(settings.listen) == (host, port)


def test_not_utf8() -> None:
    with pytest.raises(SettingsInvalid, match="not UTF-8"):
        load_settings(b"listen: \xff\n", {})


def test_variables_that_are_no_settings() -> None:
    environment = {"LAKEHOUSE_FAILPOINTS": "a=kill,b=error@2,nonsense", "LAKEHOUSE_URL": "http://x"}
    assert load_settings(None, environment) == Settings()
    assert armed_failpoints(environment) == {"a": "kill", "b": "error@2"}
    assert armed_failpoints({}) == {}


def test_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().max_prune = 0.5

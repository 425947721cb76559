"""The audit of a daemon with tokens: who read what is in it, however it ended; what was looked for, and tokens, are nowhere."""

from __future__ import annotations

import http.client
import json
import os
from pathlib import Path
from typing import Any

import pytest
from harness_daemon import Answer, Daemon, Daemons, lakectl, wait_for
from harness_secrets import write_secrets
from harness_shop import Shop, stocked

ADA, OPS, WRONG = "ada-8f14e45fceea167a", "ops-c9f0f895fb98ab91", "wrong-45c48cce2e2d7fbd"
TOKENS = f"""
[tokens.ada]
value = "{ADA}"
role = "clerk"
attributes = {{region = "zzregion"}}
[tokens.ops]
value = "{OPS}"
role = "operator"
"""
SAID = ("zzliteral", "zzparameter", "zzcomment", "zzidentifier", "zzlooked", "zzfilter", "zzbroken")
"""What was asked with; nothing of it is data."""


def ask(daemon: Daemon, token: str, method: str, path: str, body: Any = None) -> Answer:
    return daemon.request(method, path, body, Authorization=f"Bearer {token}")


@pytest.fixture
def daemon(tmp_path: Path, daemons: Daemons, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """It asks for tokens, from when all is settled."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    found = daemons.start(stocked(tmp_path / "repository"))
    found.wait_settled()
    write_secrets(TOKENS)
    wait_for(lambda: ask(found, WRONG, "GET", "/status").status == 401, "it asks for tokens")
    return found


def test_who_read_what_and_nothing_of_what_they_said(daemon: Daemon) -> None:
    keys = [str(path.relative_to(daemon.repository.lake)) for path in daemon.repository.lake.glob("datasets/items/**/*.parquet")]
    questions: list[tuple[str, str, Any]] = [
        ("/query", OPS, {"sql": "SELECT i.title FROM items i WHERE title <> 'zzliteral' AND id <> 9 AND title <> $x -- zzcomment",
                         "params": {"x": "zzparameter"}}),
        ("/query", ADA, {"sql": "SELECT * FROM items WHERE title = 'zzliteral'"}),
        ("/query", OPS, {"sql": 'SELECT "zzidentifier" FROM items'}),
        ("/query", OPS, {"sql": "zzbroken is 'zzliteral"}),
        ("/query", OPS, {"sql": "SELECT cast('zzliteral' AS int) FROM items"}),
        ("/search", OPS, {"index": "titles", "text": "zzlooked for a chair", "filter": "title <> 'zzfilter'"}),
    ]  # fmt: skip
    for path, token, body in questions:
        ask(daemon, token, "POST", path, body)
    assert ask(daemon, WRONG, "POST", "/query", {"sql": "SELECT 'zzliteral'"}).status == 401
    assert ask(daemon, OPS, "GET", f"/storage/buckets/primary/objects/{keys[0]}").status == 200
    told = ask(daemon, OPS, "GET", "/access/audit?since=2000-01-01").document["rows"]
    own = ask(daemon, ADA, "GET", "/access/audit").document["rows"]
    assert {row["reader"] for row in own} == {"ada"}
    assert daemon.stop() == 0
    rows = [row for row in lakectl(daemon.repository, "audit")[1]["rows"] if row["reader"] in ("ops", "ada")]
    assert [row["id"] for row in rows] == [row["id"] for row in told if row["reader"] in ("ops", "ada")]
    assert [(row["action"], row["outcome"], row.get("columns")) for row in reversed(rows)] == [
        ("query", "done", {"items": ["id", "title"]}),
        ("query", "done", {"items": ["id", "title"]}),
        ("query", "refused", {"items": ["*"]}),
        ("query", "refused", {}),
        ("query", "refused", {"items": ["*"]}),
        ("search", "done", {"items": ["title"]}),
        ("object", "done", None),
    ]
    assert [row["statement"] for row in reversed(rows) if row["action"] == "query"] == [
        "SELECT i.title FROM items i WHERE title <> ? AND id <> ? AND title <> $x",
        "SELECT * FROM items WHERE title = ?",
        'SELECT "?" FROM items',
        "? is ?",
        "SELECT cast(? AS int) FROM items",
    ]
    assert "token-refused" in [row.get("reason") for row in told]
    code, verdict = lakectl(daemon.repository, "audit", "verify")
    assert (code, verdict["intact"]) == (0, True)
    assert found(daemon.repository.path, daemon.log) == []


def found(root: Path, log: Path) -> list[tuple[str, str]]:
    """Where a token or something that was said is, in any file of the lake, its caches and journals, and the log."""
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    needles = [word.encode() for word in (ADA, OPS, WRONG, "zzregion", *SAID)]
    return [(os.fspath(path), word.decode()) for path in [*files, log] for word in needles if word in path.read_bytes()]


def test_a_client_that_leaves_has_a_row(shop: Shop) -> None:
    connection = http.client.HTTPConnection(shop.daemon.url.removeprefix("http://"), timeout=60)
    body = json.dumps({"sql": "SELECT count(*) FROM items, range(100000000000) AS a(v) WHERE v % 3 = 5"})
    connection.request("POST", "/query", body, {"Content-Type": "application/json"})
    connection.close()

    def left() -> Any:
        answer = shop.daemon.request("GET", "/access/audit?outcome=cancelled").document["rows"]
        return answer[0] if answer else None

    row = wait_for(left, "the row of who left")
    assert (row["action"], row["statement"]) == ("query", "SELECT count(*) FROM ?, range(?) AS ?(?) WHERE ? % ? = ?")

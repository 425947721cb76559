"""`lakectl models NAME`: a model, what the objects that name it say of it, and its last calls that failed."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from reconciler.lakectl.commands.models import page
from reconciler.lakectl.terminal import Terminal
from state.status import Condition, Status

if TYPE_CHECKING:
    from conftest import Lakehouse

BUCKET = """
apiVersion: lakehouse/v1
kind: Bucket
metadata: {name: primary}
spec: {local: {path: lake}}
"""


def test_one_that_there_is_and_one_that_there_is_not(lakehouse: Lakehouse) -> None:
    (lakehouse.root / "specs/bucket.yaml").write_text(BUCKET)
    found = lakehouse.call("models", "builtin", "-o", "json").document
    assert (found["name"], found["dimension"], found["objects"], found["failedCalls"]) == ("builtin", 256, [], [])
    unknown = lakehouse.call("models", "biultin")
    assert (unknown.code, unknown.err.splitlines()[0]) == (2, "error: there is no model `biultin`; did you mean `builtin`?")


def test_a_page() -> None:
    row = {
        "name": "qwen2.5:7b", "provider": "ollama", "kind": "chat", "digest": "sha256:abc", "dimension": None, "context": 8192,
        "loaded": False, "size_vram": 0, "bound": ["Profile/desk", "Index/notes"], "state": "waiting", "error": "another is loaded",
    }  # fmt: skip
    condition = Condition("ModelReady", "False", "ModelUnavailable", "qwen2.5:7b waits: another is loaded")
    named = [
        Status("Profile/desk", "True", "Succeeded", "binds 1 table", conditions=(condition,)),
        Status("Index/notes", "True", "Succeeded", "serves"),
    ]
    calls = [{"at": "2026-03-01T10:00:00.000Z", "reader": "ada", "profile": "desk", "reason": "model-server-slow"}]
    lines = list(page(row, named, calls, Terminal(io.StringIO(), io.StringIO(), width=80)))
    assert lines[0] == "qwen2.5:7b  waiting"
    assert "named by    Profile/desk, Index/notes" in lines
    assert "error       another is loaded" in lines
    assert "Profile/desk  ModelReady False  model unavailable" in lines
    assert "Index/notes  Ready True  succeeded" in lines
    assert lines[-1] == "  03-01 10:00:00  desk  model-server-slow"

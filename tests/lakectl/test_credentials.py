"""What lakectl shows a daemon, and what it asks as a profile: tokens from a file or a variable, or the operator's own."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from harness_secrets import write_private

from reconciler.daemon import _check_listener
from reconciler.errors import SettingsInvalid
from reconciler.footprint import DaemonAddress
from reconciler.lakectl.credentials import client_at, client_here, given_token
from reconciler.lakectl.errors import DaemonProblem, UsageInvalid
from reconciler.lakectl.http import DaemonClient
from reconciler.lakectl.session import Session
from reconciler.lakectl.terminal import Terminal
from state.secrets import SecretsFile
from state.tokens import PROFILE_HEADER, TokenFile

ADA, OPS = "ada-0123456789abcdef", "ops-0123456789abcdef"
TOKENS = f'[tokens.ada]\nvalue = "{ADA}"\nrole = "clerk"\n[tokens.ops]\nvalue = "{OPS}"\nrole = "operator"\n'
URL = "http://127.0.0.1:1"


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return write_private(tmp_path / "lakehouse/secrets.toml", TOKENS)


def session(**fields: Any) -> Session:
    return Session(Terminal(StringIO(), StringIO()), **fields)


def daemon_at(url: str, pid: int | None = None) -> DaemonAddress:
    return DaemonAddress(url, os.getpid() if pid is None else pid, "state", "2026-03-01T10:00:00.000Z", "/none")


def test_a_token_from_a_file_or_a_variable(tmp_path: Path) -> None:
    path = write_private(tmp_path / "token", f"{ADA}\n")
    assert given_token(session()) is None
    assert given_token(session(token=OPS)) == OPS
    assert given_token(session(token=OPS, token_file=path)) == ADA
    assert client_at(session(token_file=path), URL)._headers == {"Authorization": f"Bearer {ADA}"}
    assert client_at(session(profile="recruiting"), URL)._headers == {PROFILE_HEADER: "recruiting"}
    assert ADA not in repr(session(token=ADA))


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        ("", 0o600, "holds no token"),
        ("two words", 0o600, "holds no token"),
        (ADA, 0o644, "can be read by others"),
        ("ä", 0o600, "cannot be read"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, content: str, mode: int, message: str) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(UsageInvalid, match=message) as caught:
        given_token(session(token_file=path))
    assert ADA not in caught.value.explain()
    with pytest.raises(UsageInvalid, match="cannot be read"):
        given_token(session(token_file=tmp_path / "none"))
    with pytest.raises(UsageInvalid, match="LAKEHOUSE_TOKEN holds no token"):
        client_at(session(token="two\r\nlines"), URL)


@pytest.fixture
def here() -> Iterator[str]:
    """Where this process listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_the_operators_own_token_goes_to_where_this_user_listens_only(secrets: Path, here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever address and process a repository names."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    assert client_here(session(), daemon_at(here), 1.0)._headers == {"Authorization": f"Bearer {OPS}"}
    assert client_here(session(), daemon_at(nobody), 1.0)._headers == {}
    monkeypatch.setattr("reconciler.lakectl.credentials._listeners", lambda port: iter((os.geteuid(), os.geteuid() + 1)))
    assert client_here(session(), daemon_at(here), 1.0)._headers == {}


def test_the_operators_own_token_goes_to_a_process_of_this_user_on_this_machine_only(secrets: Path, here: str) -> None:
    own = {"Authorization": f"Bearer {OPS}"}
    address = partial(daemon_at, here)
    port = here.rpartition(":")[2]
    assert client_here(session(), address(), 1.0)._headers == own
    assert client_here(session(), daemon_at(f"http://0.0.0.0:{port}"), 1.0)._headers == own
    assert client_here(session(token=ADA), address(), 1.0)._headers == {"Authorization": f"Bearer {ADA}"}
    assert client_here(session(profile="p"), address(), 1.0)._headers == own | {PROFILE_HEADER: "p"}
    for other in (daemon_at(f"http://10.0.0.1:{port}"), daemon_at(f"http://evil.example:{port}"), address(pid=4_194_305)):
        assert client_here(session(), other, 1.0)._headers == {}
    assert client_at(session(), URL)._headers == {}
    secrets.chmod(0o644)
    assert client_here(session(), address(), 1.0)._headers == {}


def test_a_daemon_that_lets_nobody_in_has_its_owner_told_what_is_wrong_with_the_file(secrets: Path, here: str) -> None:
    problem = json.dumps({"type": "urn:lakehouse:problem:readers-closed", "detail": "Nobody is let in.", "remedy": "Look there."}).encode()

    def told(client: DaemonClient) -> str:
        with pytest.raises(DaemonProblem) as caught:
            client._read("/status", 503, problem)
        return caught.value.explain()

    ours, others = client_here(session(), daemon_at(here), 1.0), client_here(session(), daemon_at(here, pid=4_194_305), 1.0)
    assert told(ours) == "Nobody is let in. Look there."
    secrets.write_text(f'{TOKENS}[tokens.b]\nvalue = "{ADA}"')
    assert f"The secrets file {secrets} is refused: line 7: `tokens.b` has neither profile nor role" in told(ours)
    secrets.write_text(f'{TOKENS}value = "{ADA}')
    assert "it is no TOML" in told(ours)
    assert "at line 7" in told(ours)
    assert ADA not in told(ours)
    assert told(others) == "Nobody is let in. Look there."


def test_whoever_others_reach_needs_tokens(secrets: Path) -> None:
    tokens = TokenFile(SecretsFile(secrets))
    for listen in ("0.0.0.0:8484", "127.0.0.1:8484", "[::1]:8484"):
        _check_listener(listen, tokens)
    secrets.write_text("")
    _check_listener("127.0.0.1:8484", tokens)
    for listen in ("0.0.0.0:8484", "10.0.0.1:8484", "[::]:8484", "lake.example:8484"):
        with pytest.raises(SettingsInvalid, match="lets other machines in") as caught:
            _check_listener(listen, tokens)
        assert str(secrets) in caught.value.explain()


@pytest.mark.parametrize("words", [("status",), ("files", "people"), ("row", "delete", "people", "1"), ("why", "Dataset/people")])
def test_what_only_the_operator_does_is_done_as_nobody_else(lakectl: Callable[..., Any], words: tuple[str, ...]) -> None:
    said = lakectl("--as", "recruiting", *words)
    assert (said.code, f"lakectl {words[0]}: --as PROFILE is for describe, query, export, search" in said.err) == (2, True)


SPECS = """apiVersion: lakehouse/v1
kind: Bucket
metadata: {name: primary}
spec: {local: {path: lake}}
---
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: people}
spec: {source: {files: data/people/*.csv}}
---
apiVersion: lakehouse/v1
kind: Dataset
metadata: {name: salaries}
spec: {source: {files: data/people/*.csv}}
---
apiVersion: lakehouse/v1
kind: Profile
metadata: {name: recruiting}
spec: {datasets: [people]}
"""


def test_a_profile_without_a_daemon(in_folder: Path, lakectl: Callable[..., Any], secrets: Path) -> None:
    for name, text in (("specs/all.yaml", SPECS), ("data/people/a.csv", "id,city\n1,Chicago\n2,Boston\n")):
        (in_folder / name).parent.mkdir(parents=True, exist_ok=True)
        (in_folder / name).write_text(text)
    lakectl("apply")
    count = "SELECT count(*) AS n FROM {}"
    for name in ("people", "salaries"):
        assert lakectl("query", count.format(name), "-o", "json").document["rows"] == [{"n": 2}]
    assert lakectl("--as", "recruiting", "query", count.format("people"), "-o", "json").document["rows"] == [{"n": 2}]
    assert "There is no table `salaries`" in lakectl("query", count.format("salaries"), "--as", "recruiting").err
    assert lakectl("--as", "recruiting", "describe", "Dataset/people", "-o", "json").document["name"] == "people"
    assert "city" in lakectl("describe", "people", "--as", "recruiting").out
    assert "nothing is known of Dataset/salaries" in lakectl("--as", "recruiting", "describe", "Dataset/salaries").err
    for words in (("query", "SELECT 1"), ("describe", "Dataset/people"), ("search", "x", "y")):
        said = lakectl("--as", "hr", *words)
        assert (said.code, "There is no profile 'hr'." in said.err) == (2, True)
    assert lakectl("--as", "recruiting", "describe", "Index/x").code == 2

"""What it costs to know who asks, within which quota, and under which policies: a request's share of it, in microseconds.

    python -m bench.access [--rounds 20000] [--tokens 100]

One round is what a request of a profile's token passes: the file of tokens is looked at, the value compared with all of them, the reader
made of its profile, the ref looked at for a newer commit, its quota taken and given back, and a table's policies looked up and decided. Of
the disk the state of that file is asked for, and the ref read, in a thread.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pygit2

from bench.bars import Bar
from bench.percentiles import milliseconds
from bench.report import write
from engines.policies.governed import Governed, Mask, MaskRule, PolicyRules, RowRule
from engines.quotas import Quotas
from engines.reading import TableName, decide
from reconciler.directory import Directory
from reconciler.newest import Newest
from reconciler.sources.git import GitSource
from specs.kinds.profile import ProfileSpec
from state.secrets import SecretsFile
from state.tokens import TokenFile

TABLE = TableName("candidates", "primary")
RECRUITER = frozenset({"recruiter"})


class Policies:
    """Three policies of one dataset, as a book of them has them ready."""

    def __init__(self) -> None:
        one = PolicyRules(
            "access",
            (RowRule(RECRUITER, "status <> 'do_not_call'"), RowRule(frozenset({"admin"}), "true")),
            (MaskRule(frozenset({"phone", "email"}), Mask("lastFour"), RECRUITER), MaskRule(frozenset({"ssn"}), Mask("redact"))),
        )
        self._governed = Governed((one, PolicyRules("region", (RowRule(RECRUITER, "region = $region"),)), PolicyRules("none")))

    def governed(self, dataset: str) -> Governed | None:
        """See `engines.reading.Rules`."""
        return self._governed if dataset == "candidates" else None


def committed(folder: Path) -> GitSource:
    """A repository with one commit."""
    repository = pygit2.init_repository(folder, initial_head="main")
    author = pygit2.Signature("Bench", "bench@localhost")
    repository.create_commit("HEAD", author, author, "Nothing", repository.index.write_tree(), [])
    return GitSource(folder)


async def nowhere() -> None:
    """No commit comes."""


async def measure(folder: Path, rounds: int, tokens: int) -> dict[str, Any]:
    """Milliseconds of a round, and of its parts."""
    path, values = folder / "secrets.toml", [secrets.token_hex(32) for _ in range(tokens)]
    path.touch(0o600)
    path.write_text("".join(f'[tokens.t{n}]\nvalue = "{value}"\nprofile = "recruiting"\n' for n, value in enumerate(values)))
    fields = {"datasets": ["candidates"], "role": "recruiter", "quota": {"queriesPerMinute": 100_000_000, "concurrent": 4}}
    profile, rules = ProfileSpec.model_validate(fields), Policies()
    source = committed(folder / "repository")
    revision = source.revision()
    newest = Newest(source.head, lambda: revision, nowhere)
    directory = Directory(TokenFile(SecretsFile(path)), {"recruiting": profile}.get, rules=lambda: rules, caught_up=newest.caught_up)
    quotas = Quotas(directory.quota, lambda since: (), lambda: datetime.now(UTC))
    took: dict[str, list[float]] = {"reader": [], "newest": [], "quota": [], "decision": [], "together": []}
    header = f"Bearer {values[-1]}"
    for _ in range(rounds):
        began = time.perf_counter()
        reader = directory.reader_of(header, None)
        known = time.perf_counter()
        assert not await directory.caught_up()
        newer = time.perf_counter()
        async with quotas.granted(reader):
            taken = time.perf_counter()
            assert decide(reader, TABLE, "read").row_filter
            decided = time.perf_counter()
        ended = time.perf_counter()
        for name, seconds in zip(
            took, (known - began, newer - known, taken - newer + ended - decided, decided - taken, ended - began), strict=True
        ):
            took[name].append(seconds)
    return {name: milliseconds(seconds) for name, seconds in took.items()}


def main() -> None:
    """Measure, and write bench/results/access.json."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20_000)
    parser.add_argument("--tokens", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as folder:
        figures = asyncio.run(measure(Path(folder), options.rounds, options.tokens))
    together = figures["together"]
    bars = [
        Bar("token, newest commit, quota and policies of a request, p50", "us", together["p50_ms"] * 1e3, 200.0, scale="loop_cpu_seconds"),
        Bar("token, newest commit, quota and policies of a request, p99", "us", together["p99_ms"] * 1e3),
    ]
    write("access", figures, bars=bars, data=f"{options.tokens} tokens, 3 policies of a table", threads=1)


if __name__ == "__main__":
    main()

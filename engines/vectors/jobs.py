"""What embed and build jobs run: tasks in, records out, as JSON. Blocking, in whatever process the executor chose.

Next: `corpus.py` and `builds.py` for the work itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.embedding.registry import of_job
from engines.ollama.calls import counting
from engines.sql.scan import scan
from engines.vectors import builds
from engines.vectors.builds import BuildTask
from engines.vectors.corpus import CorpusTask, make_corpus
from engines.vectors.engine import Progress
from engines.vectors.tail import TailTask, make_tail


@counting
def embed(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """A `CorpusTask` in, a `Corpus` out. Raises what `make_corpus` and `scan` raise."""
    task = CorpusTask.from_dict(of_job(arguments))
    return make_corpus(task, scan(task.source, task.text), progress).to_dict()


@counting
def follow(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """A `TailTask` in, a `Tail` out, or nothing where too much changed. Raises what `make_tail` raises."""
    tail = make_tail(TailTask.from_dict(of_job(arguments)), progress)
    return {} if tail is None else tail.to_dict()


def build(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """A `BuildTask` in, a `Build` out. Raises what `builds.run` raises."""
    return builds.run(BuildTask.from_dict(arguments), progress).to_dict()

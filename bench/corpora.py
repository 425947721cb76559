"""Real texts and their vectors, for benchmarks: up to a million, made once and kept among the temporary files.

`documentation()` is the documentation strings inside the botocore package. `texts(n)` goes on where these end: paragraphs of
licensedcode-data's licences (`pip install 'lakehouse[texts]'`), paragraphs of the docstrings that this Python and its packages carry,
single sentences of all of these, and runs of two, three and more sentences, as chunks that overlap are. No text comes twice, none is made
up. `vectors(n)` embeds them by the built-in embedder, each text as one vector.

Queries are documentation strings that are held out before anything is made of the others.
"""

from __future__ import annotations

import ast
import gzip
import html
import json
import os
import random
import re
import sysconfig
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import chain, islice
from pathlib import Path
from typing import Any

from engines.embedding.registry import open_embedder
from engines.vectors.engine import Vectors
from engines.vectors.matrix import open_matrix

SEED = 7
QUERIES = 1000
CACHE = Path(tempfile.gettempdir(), "lakehouse-bench")
_SHORTEST = 20  # characters of a piece
_LONGEST_RUN = 6  # sentences
_BATCH = 10_000
_SENTENCE_END = re.compile(r"(?<=[.!?;:]) ")


@dataclass(frozen=True, slots=True)
class RealVectors:
    """vectors: float32 (n, 256), mapped, of length 1. queries: (QUERIES, 256), of texts that are not among them. made_of: texts by kind."""

    vectors: Vectors
    queries: Vectors
    made_of: Mapping[str, int]

    @property
    def data(self) -> str:
        """What was measured on, in words."""
        return f"{len(self.vectors)} texts: " + ", ".join(f"{count} {kind}" for kind, count in self.made_of.items())


def vectors(count: int) -> RealVectors:
    """So many of them, from the cache if they were made before; a million takes some minutes. Raises ValueError for more than there are."""
    folder = CACHE / "vectors"
    folder.mkdir(parents=True, exist_ok=True)
    facts, asked, matrix = folder / f"{count}.json", folder / f"{count}-queries.f32", matrix_file(count)
    if not facts.exists():
        found, held_out, made_of = texts(count)
        _embed(held_out, asked)
        _embed(found, matrix)
        facts.write_text(json.dumps(made_of), encoding="utf-8")
    dimension = open_embedder().dimension
    made_of = json.loads(facts.read_text(encoding="utf-8"))
    return RealVectors(open_matrix(matrix, count, dimension), open_matrix(asked, QUERIES, dimension), made_of)


def matrix_file(count: int) -> Path:
    """Where `vectors` keeps them: float32, row after row, as a build's matrix is."""
    return CACHE / "vectors" / f"{count}.f32"


def texts(count: int) -> tuple[list[str], list[str], dict[str, int]]:
    """So many different texts, the queries that are held out, and how many texts are of which kind. Raises ValueError."""
    documents = documentation()
    held_out, documents = documents[-QUERIES:], documents[:-QUERIES]
    whole: list[str] = []
    kinds: list[tuple[str, Callable[[], Iterable[str]]]] = [
        ("documentation strings of botocore", lambda: documents),
        ("paragraphs of licences", _licences),
        ("paragraphs of docstrings", _docstrings),
        ("sentences of these", partial(_runs, whole, 1)),
        *((f"runs of {length} sentences of these", partial(_runs, whole, length)) for length in range(2, _LONGEST_RUN + 1)),
    ]
    found, made_of = dict.fromkeys(held_out), dict[str, int]()
    for kind, make in kinds:
        before, missing = len(found), count - len(found) + QUERIES
        found |= dict.fromkeys(islice((text for text in dict.fromkeys(make()) if text not in found), missing))
        made_of |= {kind: len(found) - before} if len(found) > before else {}
        if len(found) - QUERIES == count:
            return list(found)[QUERIES:], held_out, made_of
        if "of these" not in kind:
            whole[:] = list(found)[QUERIES:]
    raise ValueError(f"There are {len(found) - QUERIES} texts here, not {count}: install more by `pip install 'lakehouse[texts]'`.")


def documentation() -> list[str]:
    """The unique documentation strings of every service, without markup, in an order of the seed."""
    root = _package("botocore")
    assert root is not None, "botocore is of the extra `bench`"
    found: dict[str, None] = {}
    for path in sorted(root.glob("data/**/service-2.json.gz")):
        for text in _documentation_in(json.loads(gzip.decompress(path.read_bytes()))):
            if plain := _plain(html.unescape(re.sub(r"<[^>]+>", " ", text))):
                found[plain] = None
    return _shuffled(found)


def _documentation_in(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "documentation" and isinstance(value, str):
                yield value
            else:
                yield from _documentation_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from _documentation_in(value)


def _licences() -> list[str]:
    root = _package("licensedcode")
    files = sorted(chain(root.glob("data/licenses/*.LICENSE"), root.glob("data/rules/*.RULE"))) if root is not None else []
    return _shuffled(chain.from_iterable(_paragraphs(path.read_text(encoding="utf-8").partition("\n---\n")[2]) for path in files))


def _docstrings() -> list[str]:
    """Of the standard library and the packages beside it, by parsing: nothing is imported."""
    folders = {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}
    found: dict[str, None] = {}
    for path in sorted({path for folder in folders for path in Path(folder).rglob("*.py")}):
        found |= dict.fromkeys(chain.from_iterable(map(_paragraphs, _docstrings_of(path))))
    return _shuffled(found)


def _docstrings_of(path: Path) -> list[str]:
    with warnings.catch_warnings(action="ignore"):
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, RecursionError):  # what packages carry to be refused
            return []
    documented = (node for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)))
    return [text for node in documented if (text := ast.get_docstring(node))]


def _paragraphs(text: str) -> list[str]:
    return [plain for part in re.split(r"\n\s*\n", text) if len(plain := _plain(part)) >= _SHORTEST]


def _runs(whole: Sequence[str], length: int) -> Iterator[str]:
    for text in whole:
        sentences = _SENTENCE_END.split(text)
        for start in range(len(sentences) - length + 1):
            if len(run := " ".join(sentences[start : start + length])) >= _SHORTEST:
                yield run


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _shuffled(found: Iterable[str]) -> list[str]:
    different = list(dict.fromkeys(found))
    random.Random(SEED).shuffle(different)
    return different


def _package(name: str) -> Path | None:
    spec = find_spec(name)
    return Path(next(iter(spec.submodule_search_locations))) if spec and spec.submodule_search_locations else None


def _embed(texts: Sequence[str], path: Path) -> None:
    aside = path.with_suffix(f".{os.getpid()}")  # others may make the same
    with aside.open("wb") as file:
        for start in range(0, len(texts), _BATCH):
            file.write(open_embedder().embed(texts[start : start + _BATCH]).data)
    aside.replace(path)

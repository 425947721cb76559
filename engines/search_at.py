"""Searching a former version of an index's dataset: which build answers, and which of its rows count.

A build holds the texts of one version. Of the builds that are kept, the one of the wanted version answers, if there is one; else the newest
before it, else the oldest after it. Rows that differ in their texts between the two versions are left out, so that every hit is a row and a
text of the wanted version; rows that the build lacks, or has with another text, cannot be found, and are counted. Next: `search.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from engines.at import At, Moment, table_at
from engines.errors import SearchInvalid, VersionUnknown
from engines.reading import Reader
from engines.vectors.registry import open_engine
from state.catalog.indexes import Build, Corpus, IndexRecord, ServingManifest, Tail
from state.catalog.tables import Table


class Versions(Protocol):
    """The query service, as far as this needs it."""

    async def changed(self, dataset: str, former: int, later: int, columns: Sequence[str], reader: Reader) -> pa.Table:
        """`key` of each row that differs in these columns, and whether it is `there` in the later version."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """version: of the dataset, whose texts the build holds; missing: rows of the wanted version that it lacks or has otherwise."""

    version: int
    missing: int


@dataclass(frozen=True, slots=True)
class Choice:
    """Which build answers for which version. exact: it holds that version's rows, with the tail if there is one."""

    table: Table
    build: Build
    corpus: Corpus
    exact: bool
    tail: Tail | None = None


def moment_in(at: At, dataset: str) -> Moment:
    """What is wanted of the index's dataset. Raises SearchInvalid where another one is named."""
    if others := sorted(at.tables.keys() - {dataset}):
        raise SearchInvalid(f"`at` names `{others[0]}`; the index is of {dataset}.", remedy="Name its dataset, or a version alone.")
    return at.of(dataset)


def choose(record: IndexRecord, table: Table, moment: Moment, fingerprint: str) -> Choice:
    """The build of vectors by this model that answers for the table as it was. Pure.

    Raises VersionUnknown, also where none can be compared with it.
    """
    wanted = table_at(table, moment)
    known = {version for version, _ in table.versions}
    first = record.serving.build if record.serving is not None else ""
    over = [(build, record.corpora[build.corpus]) for build in record.builds.values() if build.corpus in record.corpora]
    held = [(build, corpus) for build, corpus in over if corpus.fingerprint == fingerprint]
    held.sort(key=lambda pair: pair[0].digest != first)
    tail = record.serving.tail if record.serving is not None else None
    if tail is not None and tail.snapshot == wanted.snapshot:
        return Choice(wanted, record.builds[first], record.corpora[tail.base], exact=True, tail=tail)
    for build, corpus in held:
        if corpus.snapshot == wanted.snapshot:
            return Choice(wanted, build, corpus, exact=True)
    usable = [(build, corpus) for build, corpus in held if corpus.table_version in known]
    before = [pair for pair in usable if pair[1].table_version <= wanted.version]
    if before:
        return Choice(wanted, *max(before, key=lambda pair: (pair[1].table_version, pair[0].digest == first)), exact=False)
    if usable:
        return Choice(wanted, *min(usable, key=lambda pair: (pair[1].table_version, pair[0].digest != first)), exact=False)
    built = ", ".join(str(version) for version in sorted({corpus.table_version for _, corpus in held})) or "none"
    raise VersionUnknown(
        f"Index {record.name} cannot be searched at version {wanted.version} of {table.name}: its builds are of version {built}, "
        f"and versions {min(known)} to {max(known)} are kept.",
        remedy="`keep` in the Index's spec says how many builds are kept, `keep` in the Dataset's which versions.",
    )


def manifest_of(record: IndexRecord, build: Build) -> ServingManifest:
    """How the build was searched, or would be, by vectors and by words."""
    lexical = record.corpora[build.corpus].lexical if build.corpus in record.corpora else None
    for manifest in record.manifests:
        if manifest.build == build.digest:
            return manifest
    return ServingManifest(build.digest, build.generation, open_engine(build.engine).recipe(build.parameters).search, lexical=lexical)


async def changes(versions: Versions, choice: Choice, text: Sequence[str], reader: Reader) -> pa.Table | None:
    """The rows whose texts differ between the build's version and the wanted one, as `Versions.changed` gives them; None where none can."""
    if choice.exact:
        return None
    return await versions.changed(choice.table.name, choice.corpus.table_version, choice.table.version, text, reader)


def coverage_of(choice: Choice, changed: pa.Table | None) -> Coverage:
    """What of the wanted version is found, where every row of it may be."""
    if changed is None:
        return Coverage(choice.corpus.table_version if choice.tail is None else choice.tail.table_version, 0)
    return Coverage(choice.corpus.table_version, pc.sum(changed["there"]).as_py() or 0)

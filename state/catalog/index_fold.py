"""What an index is after a change of it; pure. See `fold.py`."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from state.catalog.index_changes import (
    BuildAdded,
    Chosen,
    CorpusAdded,
    Forgotten,
    IndexChange,
    Served,
    ServedBeside,
    TruthMade,
)
from state.catalog.indexes import IndexRecord, ServingManifest
from state.errors import ChangeRefused


def changed(index: IndexRecord, change: IndexChange) -> IndexRecord:
    match change:
        case CorpusAdded():
            after = replace(index, corpora={**index.corpora, change.corpus.digest: change.corpus})
        case BuildAdded():
            _require_corpus(index, change.build.corpus, f"build {change.build.digest} is over")
            after = replace(index, builds={**index.builds, change.build.digest: change.build})
        case Served() | ServedBeside():
            after = _serve(index, change)
        case Chosen():
            after = replace(index, choice=change.choice)
        case TruthMade():
            _require_corpus(index, change.truth.corpus, f"the answers of {change.truth.eval_set} are of")
            after = replace(index, truths={**index.truths, change.truth.eval_set: change.truth})
        case Forgotten():
            after = _forget(index, change)
        case _:
            assert_never(change)
    return index if after == index else after


def _require_corpus(index: IndexRecord, corpus: str, what: str) -> None:
    if corpus not in index.corpora:
        raise ChangeRefused(f"Index/{index.name} has no corpus {corpus}, which {what}.")


def _serve(index: IndexRecord, change: Served | ServedBeside) -> IndexRecord:
    if change.manifest is not None and change.manifest.build not in index.builds:
        raise ChangeRefused(f"{change.object} has no build {change.manifest.build} to serve.")
    if change.manifest is not None and change.manifest.tail is not None:
        base = index.builds[change.manifest.build].corpus
        if change.manifest.tail.base != base:
            raise ChangeRefused(f"{change.object}: the tail is of corpus {change.manifest.tail.base}, the build of {base}.")
    if isinstance(change, ServedBeside) and change.manifest is not None and index.corpus_of(change.manifest).model != change.model:
        raise ChangeRefused(f"{change.object}: build {change.manifest.build} is not of the model {change.model}.")
    return served(index, change)


def served(index: IndexRecord, change: Served | ServedBeside) -> IndexRecord:
    """The index after a pointer of it moved. The way back is to what answered before in another way, by another cause: neither newer rows
    change it, nor the steps in which one change of specs comes to its end. A model that served answers beside from now on; one that serves
    does not."""
    manifest = change.manifest
    if isinstance(change, ServedBeside):
        beside = {model: known for model, known in index.beside.items() if model != change.model}
        return replace(index, beside=beside if manifest is None else {**beside, change.model: manifest})
    before = index.serving
    if manifest == before:
        return index
    same = before is None or (manifest is not None and index.same_way(manifest, before))
    after = replace(index, serving=manifest)
    if not same:
        after = replace(after, previous=_way_back(index, change), cause=change.cause)
    if manifest is None:
        return after
    former, now = ("" if before is None else index.corpus_of(before).model), index.corpus_of(manifest).model
    beside = {model: known for model, known in index.beside.items() if model != now}
    return replace(after, beside=beside if before is None or former == now else {**beside, former: before})


def _way_back(index: IndexRecord, change: Served) -> ServingManifest | None:
    """What is gone back to after the index answers in another way than before."""
    known = index.previous
    if known is None or not change.cause or change.cause != index.cause:
        return index.serving
    returns = change.manifest is not None and index.same_way(change.manifest, known)
    return index.serving if returns else known


def _forget(index: IndexRecord, change: Forgotten) -> IndexRecord:
    unknown = [digest for digest in change.builds if digest not in index.builds]
    unknown += [digest for digest in change.corpora if digest not in index.corpora]
    if unknown:
        raise ChangeRefused(f"{change.object} has no build or corpus {', '.join(unknown)} to forget.")
    if unknown := [name for name in change.truths if name not in index.truths]:
        raise ChangeRefused(f"{change.object} has no answers of {', '.join(unknown)} to forget.")
    if index.serving is not None and index.serving.build in change.builds:
        raise ChangeRefused(f"{change.object} serves build {index.serving.build}, so it cannot be forgotten.")
    if answers := [model for model, manifest in index.beside.items() if manifest.build in change.builds]:
        raise ChangeRefused(f"{change.object} answers for {', '.join(answers)} by a build that therefore cannot be forgotten.")
    builds = {digest: build for digest, build in index.builds.items() if digest not in change.builds}
    needed = {build.corpus for build in builds.values()} & set(change.corpora)
    if needed:
        raise ChangeRefused(f"{change.object} has builds over corpus {', '.join(sorted(needed))}, so it cannot be forgotten.")
    corpora = {digest: corpus for digest, corpus in index.corpora.items() if digest not in change.corpora}
    previous = None if index.previous is not None and index.previous.build in change.builds else index.previous
    truths = {name: truth for name, truth in index.truths.items() if name not in change.truths}
    return replace(index, corpora=corpora, builds=builds, previous=previous, truths=truths)

"""What status tells of what answers: for programs, and as a sentence; pure."""

from controllers.index.recall import figures
from controllers.index.steps import Answer, Observed
from engines.trials.choice import way
from specs.kinds.index import IndexSpec
from specs.resource import Resource
from state.catalog.indexes import Aside


def told(resource: Resource, answer: Answer, observed: Observed) -> dict[str, object]:
    """What status tells of what answers."""
    chosen, corpus, tail = answer.candidate, answer.base.corpus, answer.base.tail
    chunks, rows, aside, textless = _counts(answer)
    detail: dict[str, object] = {
        "chunks": chunks,
        "rows": rows,
        "generation": chosen.generation or answer.build[:8],
        "build": answer.build,
        "engine": chosen.engine,
        "search": dict(chosen.search),
        "tableVersion": corpus.table_version if tail is None else tail.table_version,
        "changedSince": 0 if tail is None else tail.changed,
        "chosenByHand": _by_hand(answer, observed),
        "lexical": resource.spec_as(IndexSpec).lexical,
        "model": corpus.model,
        **({} if aside is None else {"quarantine": aside.rows}),
        **({"rowsWithoutText": textless} if textless else {}),
    }
    if observed.versions:
        detail["beside"] = sorted(observed.record.beside) if observed.record is not None else []
    measured = observed.measured.get(way(answer.build, chosen.search))
    if measured is not None:
        detail |= {"recallLow": round(measured.recall, 4), "p95Us": round(measured.p95_us, 1)}
    return detail | figures(observed.live)


def said(resource: Resource, answer: Answer, observed: Observed) -> str:
    """The same as a sentence."""
    chosen, by_hand = answer.candidate, _by_hand(answer, observed)
    chunks, rows, aside, textless = _counts(answer)
    name = chosen.generation or f"the {'chosen' if chosen.chosen else 'recommended'} {chosen.engine} build"
    held = f", {aside.rows:,} in quarantine" if aside is not None else ""
    held = (f", {textless:,} without text" if textless else "") + held
    choice = f", {chosen.choice}" if chosen.chosen else ", chosen by hand" if by_hand else ""
    if by_hand and not chosen.chooser:
        choice += f"; `lakectl promote {resource.key.name} --auto` ends that"
    several = observed.versions or (observed.record is not None and len(observed.record.answers) > 1)
    model = f" by {answer.base.corpus.model}" if several else ""
    return f"{name} serves {chunks:,} chunks of {rows:,} rows{model}{held}{choice}"


def _by_hand(answer: Answer, observed: Observed) -> bool:
    """Whether somebody chose what answers, or its model."""
    choice = observed.record.choice if observed.record is not None else None
    return answer.candidate.chosen or (choice is not None and bool(choice.model))


def _counts(answer: Answer) -> tuple[int, int, Aside | None, int]:
    """Chunks and rows that answer, chunks that are set aside, and rows that have no text."""
    corpus, tail = answer.base.corpus, answer.base.tail
    if tail is None:
        return corpus.chunks, corpus.rows, corpus.aside, corpus.textless
    return corpus.chunks - tail.hidden + tail.chunks, tail.rows, tail.aside, tail.textless

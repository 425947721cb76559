"""What an Index needs next; pure. First what serves catches up with the rows; then a corpus to build over, a build, the pointer.

What serves goes on serving until its successor is there, and rows that come meanwhile are found in its tail (`following.py`). With
`serve: auto` the choice among generations is that of trials where an EvalSet measures them (`measured.py`), else it follows a rule: exact
search while the corpus is small, else the graph with the most links, then the broadest construction; without any generation the recommended
recipe for the size is built. By that rule the pointer moves once: while a better generation's build is still to come, what serves goes on.
"""

from collections.abc import Sequence, Set
from dataclasses import replace

from controllers.index.answering import said, told
from controllers.index.measured import preferred
from controllers.index.models import beside
from controllers.index.recall import aspects
from controllers.index.steps import (
    Answer,
    Base,
    Beside,
    BuildOwn,
    Candidate,
    Embed,
    Follow,
    Forget,
    IndexStep,
    IndexWords,
    Making,
    Observed,
    Serve,
    Unchoose,
    Version,
    Withdraw,
)
from controllers.outcome import Outcome, Ready, Stalled, Waiting
from engines.trials.choice import way
from specs.kinds.index import EmbeddingModel, IndexSpec, ModelObject, ServeGeneration, model_name
from specs.resource import Resource
from state import reasons
from state.catalog.indexes import Build, Choice, Corpus, IndexRecord

LOOK_AGAIN = 15.0
"""Seconds until an index looks for its model again, where a server runs it and it is not there. One that is there is looked at for all
indexes together (`reconciler/models.py`): another may come to have its name."""


def plan(resource: Resource, observed: Observed) -> tuple[IndexStep, ...]:
    """The next step, if there is one: what answers catches up with the rows, of whatever model; then what is to serve, then the models
    beside it, then what may go."""
    spec = resource.spec_as(IndexSpec)
    if observed.problem or observed.wanted is None:
        return _follow(observed)
    catching_up = _follow(observed) or _following(observed.versions) or _unchoose(spec, observed)
    return catching_up or _making(spec, observed) or _versions(spec, observed) or _forget(spec, observed)


def _making(spec: IndexSpec, observed: Observed) -> tuple[Making, ...]:
    """By one model."""
    record = observed.record
    if record is None or not observed.bases:
        if _lacks_rows(observed) or observed.wanted is None:
            return ()
        return (Embed(_why_embed(record, observed), observed.wanted, observed.corpus_weight),)
    answer = choose(spec, observed)
    if (words := _words(spec, answer, observed)) or answer is None:
        return words or _own_build(spec, observed)
    if answer.base.lag is not None and not _lacks_rows(observed):
        return (Follow("rows came, changed or went since it was built", answer.manifest, answer.base.lag),)
    if record.serving != answer.manifest and answer.base.lag is None:
        return (Serve(_why_serve(spec, answer, observed), answer.manifest),)
    newest = observed.bases[0].corpus
    if answer.base.corpus.digest != newest.digest and not answer.candidate.declared:
        return (BuildOwn("it is over older rows", answer.candidate, _weight(newest)),)
    return ()


def _follow(observed: Observed) -> tuple[Follow, ...]:
    """What answers catches up with the rows."""
    serving = observed.record.serving if observed.record is not None else None
    if observed.lag is None or serving is None or _lacks_rows(observed):
        return ()
    return (Follow("rows came, changed or went since", replace(serving, tail=None), observed.lag),)


def _following(versions: Sequence[Version]) -> tuple[Beside, ...]:
    """The same of the models beside it."""
    return next((tuple(Beside(version.model, step) for step in steps) for version in versions if (steps := _follow(version.observed))), ())


def _unchoose(spec: IndexSpec, observed: Observed) -> tuple[Unchoose, ...]:
    """Lets go of what was chosen by hand and does not count any more."""
    record = observed.record
    if record is None or record.choice is None or not observed.bases:
        return ()
    why = _void(spec, record.choice, observed)
    return (Unchoose(why),) if why else ()


def _versions(spec: IndexSpec, observed: Observed) -> tuple[Beside | Withdraw, ...]:
    """One model after the other."""
    for version in observed.versions:
        if not version.former and (steps := _making(beside(spec, version.model), version.observed)):
            return tuple(Beside(version.model, step) for step in steps)
    known = set(observed.record.beside) if observed.record is not None else set()
    gone = sorted(known - {version.model for version in observed.versions} - observed.unavailable.keys())
    return tuple(Withdraw("the spec does not name it, nor is it the way back", model) for model in gone[:1])


def _forget(spec: IndexSpec, observed: Observed) -> tuple[Forget, ...]:
    if observed.record is None or not observed.bases or choose(spec, observed) is None:
        return ()
    seen = (observed, *(version.observed for version in observed.versions))
    newest = {one.bases[0].corpus.digest for one in seen if one.bases}
    wanted = {candidate.build for one in seen for candidate in one.candidates} | observed.held
    old_builds, old_corpora = _superseded(spec, observed.record, newest, wanted)
    return (Forget(f"keep: {spec.keep}", old_corpora, old_builds),) if old_builds or old_corpora else ()


def choose(spec: IndexSpec, observed: Observed) -> Answer | None:
    """The best candidate that is built, over the newest rows that it is built over, or what serves while a better one is to come; None
    while the one that is to serve is not built."""
    answers = _answers(observed)
    if isinstance(spec.serve, ServeGeneration):
        named = (a for a in answers if a.candidate.generation == spec.serve.generation and a.candidate.declared)
        return next(named, None)
    if any(candidate.chosen for candidate in observed.candidates):
        return next((answer for answer in answers if answer.candidate.chosen), None)
    if (answer := _by_trials(answers, observed)) is not None:
        return answer
    return max(answers, key=lambda answer: _merit(answer.candidate), default=None) if _coming(observed) is None else _as_it_is(observed)


def _answers(observed: Observed) -> list[Answer]:
    """All that is built."""
    sound = (observed.record.builds.keys() if observed.record is not None else set()) - observed.damaged
    return [answer for candidate in observed.candidates if (answer := _answer(candidate, observed.bases, sound)) is not None]


def _by_trials(answers: list[Answer], observed: Observed) -> Answer | None:
    """What trials prefer, where the index is measured at all."""
    record = observed.record
    if record is None or not record.truths or not answers:
        return None
    by_way = {way(answer.build, answer.candidate.search): answer for answer in answers}
    serving = record.answers.get(observed.bases[0].corpus.model)  # of the model that is to serve, which may still be beside
    same = (name for name, answer in by_way.items() if serving is not None and record.same_way(answer.manifest, serving))
    chosen = preferred(observed.measured, by_way, next(same, None))
    return None if chosen is None else by_way[chosen]


def _coming(observed: Observed) -> Candidate | None:
    """What is better by the rule than all that is built, and is to be built; None where there is nothing, or nothing serves meanwhile."""
    serving = observed.record.serving if observed.record is not None else None
    if serving is None or serving.build in observed.damaged:
        return None
    built = {answer.candidate.build for answer in _answers(observed)}
    able = (one for one in observed.candidates if one.build in built or (one.declared and one.build not in observed.given_up))
    best = max(able, key=_merit, default=None)
    return None if best is None or best.build in built else best


def _as_it_is(observed: Observed) -> Answer | None:
    """What serves; None where it is of other rows or another model, or nobody declares it any more."""
    record = observed.record
    serving = record.serving if record is not None else None
    if record is None or serving is None:
        return None
    own = (answer for answer in _answers(observed) if answer.build == serving.build)
    return next((answer for answer in own if record.same_way(answer.manifest, serving)), None)


def _why_serve(spec: IndexSpec, answer: Answer, observed: Observed) -> str:
    if isinstance(spec.serve, ServeGeneration):
        return "the spec says that it serves"
    if answer.candidate.chosen:
        return f"it was {answer.candidate.choice}"
    found = observed.measured.get(way(answer.build, answer.candidate.search))
    if found is None:
        return "it is the best build of the present rows"
    return f"trials prefer it: recall {found.recall:.3f} at least, 95 % of queries within {found.p95_us:,.0f} µs"


def _answer(candidate: Candidate, bases: tuple[Base, ...], sound: Set[str]) -> Answer | None:
    for number, base in enumerate(bases):
        build = candidate.build if number == 0 else candidate.elsewhere.get(base.corpus.digest)
        if build in sound:
            return Answer(candidate, base, str(build))
    return None


def _merit(candidate: Candidate) -> tuple[bool, int, int, str]:
    def number(name: str) -> int:
        value = candidate.parameters.get(name, 0)
        return value if isinstance(value, int) else 0

    return (candidate.preferred, number("m"), number("efConstruction"), candidate.generation or "")


def _void(spec: IndexSpec, choice: Choice, observed: Observed) -> str | None:
    """Why what was chosen by hand does not count any more."""
    if choice.model is not None and choice.instead_of != model_name(spec.embed.model):
        return f"the spec names another model, {model_name(spec.embed.model)}"
    if spec.serve != "auto" and (choice.generation or choice.engine):
        return "the spec says what serves"
    if choice.generation is None or choice.generation in observed.unbuilt or choice.by or choice.undeclared:
        return None
    declared = {candidate.generation for candidate in observed.candidates if candidate.declared}
    return None if choice.generation in declared else f"IndexGeneration/{choice.generation} is not declared any more"


def _own_build(spec: IndexSpec, observed: Observed) -> tuple[BuildOwn, ...]:
    own = next((c for c in observed.candidates if c.chosen and not c.declared), None)
    own = own or next((c for c in observed.candidates if not c.declared), None)
    if own is None or spec.serve != "auto" or any(c.chosen and c.declared for c in observed.candidates):
        return ()
    why = f"it was {own.choice}" if own.chosen else "no IndexGeneration names a recipe"
    return (BuildOwn(why, own, _weight(observed.bases[0].corpus)),)


def _words(spec: IndexSpec, answer: Answer | None, observed: Observed) -> tuple[IndexWords, ...]:
    """The keyword index of what is to serve, else of the newest corpus, where it lacks one."""
    base = observed.bases[0] if answer is None else answer.base
    if not spec.lexical or base.lexical is not None:
        return ()
    why = "the corpus has none yet" if base.corpus.lexical is None else "it is missing, damaged or of another version"
    return (IndexWords(why, base.corpus, observed.corpus_weight),)


def _weight(corpus: Corpus) -> int:
    """Bytes of vectors."""
    return corpus.chunks * corpus.dimension * 4


def _why_embed(record: IndexRecord | None, observed: Observed) -> str:
    if record is None or not record.corpora:
        return "nothing is embedded yet"
    return "the corpus is missing or damaged" if observed.wanted in observed.damaged else "rows, text columns, chunking or model changed"


def _superseded(spec: IndexSpec, record: IndexRecord, newest: Set[str], wanted: Set[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Builds past `keep`, oldest first, and corpora that nothing kept was built over. newest: corpora, of each model one; wanted: builds
    that recipes name."""
    pinned = {manifest.build for manifest in record.manifests}
    present = {digest for digest, build in record.builds.items() if build.corpus in newest and digest in wanted}
    spare: list[Build] = [build for digest, build in record.builds.items() if digest not in pinned | present]
    kept = max(0, spec.keep - len(pinned - present))
    old = spare[: max(0, len(spare) - kept)]
    gone = {build.digest for build in old}
    needed = {build.corpus for digest, build in record.builds.items() if digest not in gone} | newest
    return tuple(build.digest for build in old), tuple(digest for digest in record.corpora if digest not in needed)


def conclude(resource: Resource, observed: Observed) -> Outcome:
    """The ending when nothing is left to do."""
    spec = resource.spec_as(IndexSpec)
    if observed.problem is not None:
        return observed.problem
    dataset = f"Dataset/{spec.dataset}"
    if observed.wanted is None or observed.table is None:
        return Waiting(reasons.DEPENDENCY_NOT_READY, f"{dataset} has no rows yet", blocked_by=dataset)
    newest = observed.bases[0] if observed.bases else None
    if _lacks_rows(observed) and (newest is None or newest.lag is not None):
        return Waiting(reasons.DEPENDENCY_NOT_READY, f"{dataset} has lost rows; what was built before goes on serving", blocked_by=dataset)
    answer = choose(spec, observed)
    if answer is None:
        return _waiting(spec, observed)
    detail, message = told(resource, answer, observed), said(resource, answer, observed)
    also = aspects(observed.live)
    for model, why in observed.unavailable.items():
        lacks = f"{message}; {model} is to be beside it, but: {why}"
        again = LOOK_AGAIN if any(map(served, spec.embed.also)) else None
        return Stalled(reasons.NOT_SUPPORTED, lacks, detail=detail, seconds=again, also=also)
    return Ready(message, detail, also=also)


def _lacks_rows(observed: Observed) -> bool:
    """Whether rows are lost: a corpus without them would pass for one of the whole snapshot."""
    return observed.table is not None and observed.table.lost_rows > 0


def _waiting(spec: IndexSpec, observed: Observed) -> Outcome:
    if isinstance(spec.serve, ServeGeneration):
        name = f"IndexGeneration/{spec.serve.generation}"
        if spec.serve.generation in observed.unbuilt:
            return Waiting(reasons.DEPENDENCY_NOT_READY, f"{name} is to serve but cannot be built in this version", blocked_by=name)
        if all(c.generation != spec.serve.generation for c in observed.candidates):
            message = f"{name} is to serve but is not there; declare it"
            return Waiting(reasons.REFERENCE_MISSING, message, blocked_by=name)
        return Waiting(reasons.DEPENDENCY_NOT_READY, f"{name} has no build of the present rows yet", blocked_by=name)
    better = _coming(observed)
    if better is not None and _answers(observed):
        name = f"IndexGeneration/{better.generation}"
        message = f"{name}, the best by the rule, has no build of the present rows yet; what was built before goes on serving"
        return Waiting(reasons.DEPENDENCY_NOT_READY, message, blocked_by=name)
    named = sorted(c.generation for c in observed.candidates if c.generation is not None)
    if named or not observed.unbuilt:
        blocker = f"IndexGeneration/{named[0]}" if named else None
        return Waiting(reasons.DEPENDENCY_NOT_READY, "no generation has a build of the present rows yet", blocked_by=blocker)
    blocker = f"IndexGeneration/{min(observed.unbuilt)}"
    return Waiting(reasons.DEPENDENCY_NOT_READY, f"{blocker} cannot be built in this version; declare another", blocked_by=blocker)


def served(model: EmbeddingModel) -> bool:
    """Whether a server runs it, which may be away, or have another model under the same name in a moment."""
    return isinstance(model, ModelObject) and model.ollama is not None

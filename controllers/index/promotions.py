"""Promotion and rollback by hand: one catalog entry says what is to serve, and moves the pointer.

The pointer moves with that entry wherever the build holds the present rows, or the tail that serves is of its corpus; else the index's next
visit embeds what it lacks first. A generation that is promoted serves as its spec has it, later changes of the spec included. A rollback is
to exactly what served: build, model, parameters and all; to a generation by its name, to its newest former build, searched as its spec
says where it is declared. Refuses to go against the spec: where that says what serves, it is changed there; a model is chosen in the place
of the spec's, until that names another.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from controllers.index.builds import Builds, opens, recipe_of, unopened
from controllers.index.models import in_force
from controllers.index.pointer import Cause, Pointer, cause_of
from controllers.index.steps import Answer, Base, Candidate
from engines.errors import EngineError
from engines.search_at import manifest_of
from engines.vectors.engine import Recipe
from specs.errors import LakehouseError
from specs.kinds.index import IndexSpec, ServeGeneration, model_name
from specs.kinds.index_generation import IndexGenerationSpec
from specs.resource import Key, Resource
from specs.suggestions import nearest
from state.catalog.catalog import Catalog
from state.catalog.index_changes import Chosen
from state.catalog.indexes import Build, Choice, IndexRecord, ServingManifest
from state.catalog.tables import Table
from state.requests import Request
from state.tuning import TuningBook


class PromotionRefused(LakehouseError):
    """What is to serve cannot, or the spec says otherwise."""

    slug = "promotion-refused"


class Promotions:
    """Blocking; one request at a time."""

    def __init__(
        self, catalog: Catalog, builds: Builds, pointer: Pointer, generations: Callable[[Key], Iterable[Resource]], tuning: TuningBook
    ) -> None:
        """generations: the specs in force of an index's generations. tuning: knows the recipes that budgets settled on."""
        self._catalog = catalog
        self._builds = builds
        self._pointer = pointer
        self._generations = generations
        self._tuning = tuning

    def carry_out(self, index: Resource, request: Request, revision: str | None) -> str:
        """What was done, in words. Raises PromotionRefused."""
        spec, name = index.spec_as(IndexSpec), index.key.name
        wanted, model = request.payload.get("generation"), request.payload.get("model")
        if request.payload.get("auto") is not None:
            return self._auto(index, request, revision)
        if not isinstance(wanted, str | None):
            raise PromotionRefused("`generation` is no name.", remedy="Name an IndexGeneration.")
        if not isinstance(model, str | None) or (wanted is not None and model is not None):
            raise PromotionRefused("`model` is no name, or a generation is named as well.", remedy="Name an IndexGeneration, or a model.")
        record = self._catalog.index(name)
        if record is not None and wanted is None and (target := model or _former_model(request, record)):
            return self._by_model(index, record, target, request, revision)
        if isinstance(spec.serve, ServeGeneration):
            command = f"lakectl {request.verb} {name} {wanted or 'GENERATION'} --write-spec"
            raise PromotionRefused(
                f"The spec of {index.key} says `serve: {{generation: {spec.serve.generation}}}`, and that goes first.",
                remedy=f"Change it there; `{command}` does, and commits.",
            )
        table = self._catalog.table(spec.dataset)
        if table is None or record is None:
            raise PromotionRefused(f"Nothing is built for {index.key} yet.", remedy=f"`lakectl why {index.key}` tells what it waits for.")
        if request.verb == "promote":
            choice, manifest = self._promoted(index, wanted, table, record)
        else:
            choice, manifest = self._former(index, wanted, table, record)
        return self._move(index, record, choice, manifest, Cause(request.actor, request.reason or request.verb, revision))

    def _auto(self, index: Resource, request: Request, revision: str | None) -> str:
        """Lets go of what was chosen by hand or by a budget: the index's next visit moves the pointer. Raises PromotionRefused."""
        spec, record = index.spec_as(IndexSpec), self._catalog.index(index.key.name)
        payload = {name: value for name, value in request.payload.items() if value is not None}
        if request.verb != "promote" or payload != {"auto": True}:
            raise PromotionRefused("`auto` is of a promotion, true, and goes with neither a generation nor a model.", remedy="Name one.")
        choice = record.choice if record is not None else None
        if choice is None and isinstance(spec.serve, ServeGeneration):
            remedy = "Write `serve: auto` there, or take the line out."
            raise PromotionRefused(f"The spec of {index.key} says `serve: {{generation: {spec.serve.generation}}}`.", remedy=remedy)
        if choice is None:
            return "nothing was chosen: what is best serves already"
        change = Chosen(str(index.key), None)
        self._catalog.commit((change,), actor=request.actor, reason=request.reason or request.verb, revision=revision or "")
        chosen = " by ".join(filter(None, (choice.generation or choice.engine, choice.model)))
        return f"what is best serves again; {chosen} was chosen by {choice.by or 'hand'}"

    def choose(self, index: Resource, choice: Choice, cause: Cause) -> str:
        """Has a recipe serve by a budget's word: what was done, in words. Raises PromotionRefused."""
        table, record = self._catalog.table(index.spec_as(IndexSpec).dataset), self._catalog.index(index.key.name)
        if table is None or record is None:
            raise PromotionRefused(f"Nothing is built for {index.key} yet.")
        return self._move(index, record, by_same_model(choice, record), self._of(index, choice, table, record), cause)

    def _by_model(self, index: Resource, record: IndexRecord, model: str, request: Request, revision: str | None) -> str:
        """To what answers for another model already, at once. A rollback is to that very recipe. Raises PromotionRefused."""
        spec, manifest = index.spec_as(IndexSpec), record.answers.get(model)
        if manifest is None:
            raise PromotionRefused(
                f"{index.key} has no build by the model {model}; it has {' and '.join(record.answers) or 'none'}.",
                remedy=f"Name it in the spec of {index.key}, under `embed: {{also: […]}}`, and wait until it is built.",
            )
        if not opens(record.corpus_of(manifest)):
            remedy = unopened(model) or "Another one has its name now: reconcile the index, which embeds its texts again."
            raise PromotionRefused(f"The model {model} that made these vectors is not here any more.", remedy=remedy)
        named, build = model_name(spec.embed.model), record.builds[manifest.build]
        choice = Choice(None) if model == named else Choice(None, model=model, instead_of=named)
        if request.verb == "rollback" and spec.serve == "auto":
            choice = replace(self._exactly(index, manifest, build), model=choice.model, instead_of=choice.instead_of)
        cause = Cause(request.actor, request.reason or request.verb, revision)
        message = self._move(index, record, None if choice == Choice(None) else choice, manifest, cause)
        table, at = self._catalog.table(spec.dataset), manifest.tail or record.corpus_of(manifest)
        behind = table is not None and at.snapshot != table.snapshot
        return f"{message}, with the rows of version {at.table_version} until those since are embedded" if behind else message

    def _promoted(self, index: Resource, wanted: str | None, table: Table, record: IndexRecord) -> tuple[Choice, ServingManifest | None]:
        declared = {generation.key.name: generation for generation in self._generations(index.key)}
        if wanted not in declared and (tuned := self._tuning.choice(index.key.name, wanted or "")) is not None:
            return by_same_model(tuned, record), self._of(index, tuned, table, record)
        if wanted not in declared:
            known = [*declared, *self._tuning.names(index.key.name)]
            names = ", ".join(sorted(known)) or "none"
            near = nearest(wanted or "", known)
            said = f"{index.key} has no IndexGeneration {wanted}" if wanted else "It is not said which generation is to serve"
            raise PromotionRefused(f"{said}; it has {names}.", remedy=f"Did you mean {near}?" if near else "Name one of its generations.")
        spec = declared[wanted].spec_as(IndexGenerationSpec)
        bases = self._builds.bases(in_force(index.spec_as(IndexSpec), record), table, record)
        try:
            candidate = self._builds.candidate(wanted, spec, bases) if bases else None
        except EngineError as error:
            raise PromotionRefused(f"IndexGeneration/{wanted} cannot be built: {error}", remedy=error.remedy) from error
        answer = None if candidate is None else self._built(candidate, bases, record)
        if answer is not None:
            return by_same_model(Choice(wanted), record), _present(answer, record)
        key = f"IndexGeneration/{wanted}"
        raise PromotionRefused(f"{key} has no build of the present rows yet.", remedy=f"`lakectl wait {key}`, then ask again.")

    def _former(self, index: Resource, wanted: str | None, table: Table, record: IndexRecord) -> tuple[Choice, ServingManifest | None]:
        serving = record.serving
        if wanted is None and record.previous is None:
            raise PromotionRefused(f"Nothing else served {index.key} before.", remedy=f"`lakectl promote {index.key.name} GENERATION`.")
        if wanted is None:
            assert record.previous is not None
            manifest, build = record.previous, record.builds[record.previous.build]
        else:
            former = [b for b in record.builds.values() if serving is None or b.digest != serving.build]
            if serving is not None:
                model = record.corpus_of(serving).model
                former = [b for b in former if record.corpora[b.corpus].model == model]
            kept = [b for b in former if b.generation == wanted]
            if not kept:
                serves = f"{wanted} serves {index.key} now, and no" if serving is not None and wanted == serving.generation else "No"
                names = ", ".join(sorted({b.generation for b in former if b.generation})) or "none"
                raise PromotionRefused(
                    f"{serves} former build of {wanted} is kept for {index.key}; there are former builds of {names}.",
                    remedy="`keep` in the Index's spec says how many are kept.",
                )
            build = kept[-1]
            manifest = replace(manifest_of(record, build), generation=wanted)
            if (declared := self._declared(index, wanted, build.engine)) is not None:
                manifest = replace(manifest, search=dict(declared.search))
        choice = by_same_model(self._exactly(index, manifest, build), record)
        return choice, self._of(index, choice, table, record)

    def _declared(self, index: Resource, name: str, engine: str) -> Recipe | None:
        """The recipe of a generation, where its spec has this engine: as it is named, it is searched as its spec says."""
        specs = (one.spec_as(IndexGenerationSpec) for one in self._generations(index.key) if one.key.name == name)
        return next((recipe_of(spec) for spec in specs if getattr(spec, engine) is not None), None)

    def _exactly(self, index: Resource, manifest: ServingManifest, build: Build) -> Choice:
        """Of what served, recipe and all."""
        name = manifest.generation
        undeclared = name is not None and name not in {generation.key.name for generation in self._generations(index.key)}
        return Choice(name, build.engine, dict(build.parameters), dict(manifest.search), undeclared=undeclared)

    def _of(self, index: Resource, choice: Choice, table: Table, record: IndexRecord) -> ServingManifest | None:
        """What answers by exactly this recipe, with the present rows; None while it has no build that can."""
        assert choice.engine is not None
        bases = self._builds.bases(in_force(index.spec_as(IndexSpec), record), table, record)
        recipe = Recipe(choice.engine, choice.parameters, choice.search)
        answer = self._built(self._builds.own(recipe, bases, choice.generation), bases, record) if bases else None
        return None if answer is None else _present(answer, record)

    def _built(self, candidate: Candidate, bases: Sequence[Base], record: IndexRecord) -> Answer | None:
        """Over the newest rows that it is built over."""
        for base in bases:
            digest = candidate.elsewhere.get(base.corpus.digest, candidate.build)
            if digest in record.builds and self._builds.whole(record.builds[digest].files.values()):
                return Answer(candidate, base, digest)
        return None

    def _move(self, index: Resource, record: IndexRecord, choice: Choice | None, manifest: ServingManifest | None, cause: Cause) -> str:
        name = str(index.key)
        chosen = [Chosen(name, choice)] if choice != record.choice else []
        called = _called(choice, manifest, record)
        if manifest is not None and manifest != record.serving:
            message = f"{called} serves ({manifest.build[:8]}), chosen by {cause.actor}"
            moved_by = cause_of(index, self._generations(index.key), choice)
            self._pointer.move(name, manifest, cause._replace(digest=moved_by), message, chosen)
            return message
        if not chosen:
            return f"{called} serves already"
        self._catalog.commit(tuple(chosen), actor=cause.actor, reason=cause.reason, revision=cause.revision or "")
        if manifest is None:
            return f"{called} serves as soon as it holds the present rows"
        return f"{called} serves already, and goes on until another is chosen"


def by_same_model(choice: Choice, record: IndexRecord) -> Choice:
    """Of a recipe, which leaves the model that was chosen by hand as it is."""
    chosen = record.choice or Choice(None)
    return replace(choice, model=chosen.model, instead_of=chosen.instead_of)


def _former_model(request: Request, record: IndexRecord) -> str | None:
    """The model that a rollback goes back to, where it is another than the one that serves."""
    if request.verb != "rollback" or record.previous is None or record.serving is None:
        return None
    model = record.corpus_of(record.previous).model
    return model if model != record.corpus_of(record.serving).model else None


def _present(answer: Answer, record: IndexRecord) -> ServingManifest | None:
    """With the rows that are found now; None where those of this corpus have to be embedded first."""
    serving, base = record.serving, answer.base
    if base.lag is None:
        return answer.manifest
    if serving is None or record.builds[serving.build].corpus != base.corpus.digest:
        return None
    return replace(answer.manifest, tail=serving.tail)


def _called(choice: Choice | None, manifest: ServingManifest | None, record: IndexRecord) -> str:
    """The generation, or the engine; the model, where that is another."""
    if manifest is not None and record.serving is not None:
        model = record.corpus_of(manifest).model
        if model != record.corpus_of(record.serving).model or choice is None or choice.generation is choice.engine is None:
            return model
    assert choice is not None
    return choice.generation or f"the {choice.engine} build"

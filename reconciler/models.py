"""The Ollama server of the settings, as a process knows it: asked by whoever only reads, and with models loaded in turns by a writer."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from engines.audit import Audit
from engines.embedding.registry import builtin_tokens, by_server, connect, disconnect
from engines.errors import EngineError
from engines.jobs.job import Job
from engines.model_list import ModelList
from engines.ollama.activation import ModelRuntime
from engines.ollama.calls import Purpose, Spent, Tally
from engines.ollama.choice import Budget
from engines.ollama.drafting import ModelDrafter
from engines.ollama.models import OllamaModels
from engines.reading import Reader, Rules
from reconciler.chat_models import ChatModels
from reconciler.opening import State
from reconciler.settings import Settings
from reconciler.status_writer import StatusWriter
from reconciler.world import World
from specs.errors import LakehouseError
from specs.kinds.index import IndexSpec, model_name
from specs.kinds.index import models as models_of
from specs.kinds.profile import ProfileSpec
from state.catalog.catalog import Catalog
from state.errors import StateError

_PULLED = 30.0
"""Seconds between two looks at what the server has, where nobody asks it for anything."""

_log = logging.getLogger(__name__)


def connected(settings: Settings) -> OllamaModels:
    """The server, known to this process from now on; nothing is asked yet."""
    models = OllamaModels(settings.models.ollama.server, builtin_tokens)
    connect(models)
    return models


class ModelService:
    """The server's models, and the thread that loads them in turns, from `start` to `close`."""

    def __init__(self, settings: Settings, statuses: StatusWriter, world: World, state: State) -> None:
        self.models = connected(settings)
        self.wake: Callable[[Iterable[str]], object] = lambda _: None
        """Told of objects whose model stands otherwise."""
        budget = Budget(settings.models.max_active, settings.models.vram_bytes or None)
        self._statuses = statuses
        self.runtime = ModelRuntime(
            self.models.client, self.models.facts, self.models.context, budget, self, standing=partial(active, world)
        )
        self.models.use = self.runtime.use
        self.models.changed = self._pulled_anew
        self._world = world
        self._ends = threading.Event()
        self.list = ModelList(self.models, self.runtime.ready, partial(named, world))
        self._settings, self._state = settings, state
        self._drafter: ModelDrafter | None = None
        self._thread = threading.Thread(target=self._run, name="models", daemon=True)
        self._watch = threading.Thread(target=self._look_at_pulls, name="pulls", daemon=True)

    def draft(self, rules: Callable[[], Rules]) -> None:
        """Once, from here on: descriptions by the settings' chat model, or by those of profiles under these policies."""
        choice = ChatModels(self._settings.models.chat, self._world, self._state.catalog.table, rules)
        self._drafter = ModelDrafter(choice, self.models.chats(), self._state.place.cache / "drafts.json")
        self._state.describe.drafter, self._state.describe.drafted_by = self._drafter, choice.named

    def start(self) -> None:
        """Once."""
        self._thread.start()
        self._watch.start()

    def close(self) -> None:
        """Blocking, for as long as one request to the server takes. After `start`."""
        if self._drafter is not None:
            self._drafter.close()
        self.runtime.close()
        self._ends.set()
        disconnect()
        self._thread.join()
        self._watch.join()

    def changed(self, owners: Iterable[str]) -> None:
        """See `activation.News`."""
        self.wake(list(owners))

    def event(self, owners: Iterable[str], reason: str, message: str) -> None:
        """See `activation.News`."""
        for owner in owners:
            try:
                self._statuses.record_event(owner, "Warning", reason, message)
            except StateError as error:
                _log.warning("%s: %s (not among its events: %s)", owner, message, error.explain())

    def _pulled_anew(self) -> None:
        """A model that was pulled again makes a corpus of its own: whoever names one looks again, though nothing of its own has changed."""
        self.wake([owner for model, owners in named(self._world).items() if by_server(model) for owner in owners])

    def _look_at_pulls(self) -> None:
        """Now and then, in the place of all objects that name a model."""
        while not self._ends.wait(_PULLED):
            if any(map(by_server, named(self._world))):
                with suppress(EngineError):  # which whoever needs the server says
                    self.models.pulled()

    def _run(self) -> None:
        try:
            self.runtime.run()
        except Exception:
            _log.exception("No model is loaded or let go any more until the daemon is started again.")
            self.runtime.close()
            raise


def active(world: World) -> Mapping[str, str]:
    """The chat models that profiles say are to be loaded, by their objects."""
    found = ((resource.key, resource.spec_as(ProfileSpec)) for resource in world.resources("Profile"))
    return {str(key): spec.model.ollama for key, spec in found if spec.active and spec.model is not None}


def named(world: World) -> Mapping[str, Sequence[str]]:
    """Objects by the models that their specs name."""
    owners: defaultdict[str, list[str]] = defaultdict(list)
    for resource in world.resources("Index"):
        for model in models_of(resource.spec_as(IndexSpec)):
            owners[model].append(str(resource.key))
    for resource in world.resources("Profile"):
        spec = resource.spec_as(ProfileSpec)
        if spec.model is not None:
            owners[spec.model.ollama].append(str(resource.key))
        if spec.embed is not None:
            owners[model_name(spec.embed.model)].append(str(resource.key))
    return owners


def recorded_models(catalog: Catalog) -> Mapping[str, Sequence[str]]:
    """Indexes by the models that answer for them, for whoever has no specs."""
    owners: defaultdict[str, list[str]] = defaultdict(list)
    for name, state in catalog.objects("Index").items():
        for model in state.index.answers if state.index is not None else ():
            owners[model].append(name)
    return owners


class AuditedCalls:
    """Model calls that leave a row each, a chat one of its beginning besides; see `engines.ollama.calls.Calls`."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    @contextmanager
    def __call__(self, purpose: Purpose, model: str, reader: Reader) -> Iterator[Spent]:
        spent = Spent()
        with self._audit.access("model", reader, model=model, detail={"purpose": purpose}) as access:
            if purpose == "chat":  # it takes long, and its answer comes in pieces
                access.begin_blocking()
            try:
                yield spent
            finally:
                access.tokens_in, access.tokens_out = spent.read, spent.written


class AuditedJobs:
    """Two rows for each job that may call a model; see `controllers.index.model_turns.JobCalls`. Their reader is the daemon, which embeds
    for whoever may search."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def begun(self, job: Job, model: str) -> str:
        """Raises AuditUnavailable."""
        return self._audit.durable_blocking(_of_job(job, model) | {"outcome": "begun"})

    def ended(self, job: Job, model: str, begun: str | None, tally: Tally | None, error: LakehouseError | None) -> None:
        """Raises AuditUnavailable."""
        row = _of_job(job, model) | {"outcome": "done" if error is None else "failed", "request": begun}
        detail = row["detail"]
        if tally is not None:
            row |= {"tokens_in": tally.read, "tokens_out": 0, "duration_ms": round(tally.seconds * 1000, 3)}
            detail |= {"texts": tally.texts, "calls": tally.calls}
        if error is not None:
            row["reason"] = error.slug
        self._audit.durable_blocking(row)


def _of_job(job: Job, model: str) -> dict[str, Any]:
    detail = {"purpose": "embed", "job": job.kind, "object": job.object}
    return {"reader": "daemon", "action": "model", "model": model, "detail": detail}

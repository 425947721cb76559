"""Which models of an Ollama server are in memory: a small loop of its own, level-triggered, in one thread.

It looks at `/api/ps`, decides (`choice.py`), and does one thing: lets a model go, or loads one. Letting go ends our own answers of that
model first, asks for it, and waits until the server does not name it any more, which may take as long as its last answer. Loading is
believed only once the server names the model.

Other clients may load what was let go. That is drift: it is told of, and the model is let go again after growing pauses, a few times; then
who wants another model waits, with that reason. It is never a fight.

Next: `models.py`, whose embedders and chats run in `use`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Protocol

from engines.errors import ModelUnavailable, ModelWaits, ServerAbsent, ServerRefused, ServerSlow
from engines.ollama.choice import Action, Budget, Chosen, Load, ModelState, Seen, Unload, Want, choose, next_action
from engines.ollama.client import OllamaClient
from engines.ollama.facts import Loaded, ModelFacts
from engines.ollama.names import whole
from state import reasons

MOST_TRIES = 5
"""How often a model that comes back is let go of, until it is left alone."""
_PAUSE, _LONGEST_PAUSE = 2.0, 60.0
_LOOK = 10.0
"""Seconds between two looks while a model is wanted."""
_FRESH = 5.0
"""Seconds for which a model that was seen loaded is taken to be."""
_FORGIVEN = 600.0
"""Seconds after which a model that stayed away has not come back again and again."""
_POLL = 0.1
_LONGEST_POLL = 1.0
_LOADED = ModelState("loaded")


class News(Protocol):
    """Who is told of what happens to models."""

    def changed(self, owners: Iterable[str]) -> None:
        """It stands otherwise with the models that these want."""

    def event(self, owners: Iterable[str], reason: str, message: str) -> None:
        """Something happened that people should know of."""


@dataclass(slots=True, eq=False)
class Call:
    """A call of a model in this process. ended: why it is to end."""

    model: str
    ended: str | None = None


@dataclass(slots=True)
class _Again:
    """A model that comes back, or does not load: how often it was tried, and when it is tried again."""

    tries: int = 0
    at: float = 0.0


def nobody() -> Mapping[str, str]:
    """No spec asks for a model."""
    return {}


class ModelRuntime:
    """Thread-safe. `run` is for a thread of its own; all else returns at once, but for `use`, which waits until a model is loaded."""

    def __init__(
        self,
        client: OllamaClient,
        facts: Callable[[str], ModelFacts],
        context: Callable[[str], int],
        budget: Budget,
        news: News,
        clock: Callable[[], float] = time.monotonic,
        standing: Callable[[], Mapping[str, str]] = nobody,
    ) -> None:
        """facts: what the server has under a name; context: tokens that the model reads at once. clock: seconds. standing: the model that a
        spec says is to be loaded, by its object: those that nobody has to ask for, nor to let go of."""
        self._client, self._facts, self._context = client, facts, context
        self._budget, self._news, self._clock, self._standing = budget, news, clock, standing
        self._stands: frozenset[str] = frozenset()
        self._turn = threading.Condition()
        self._wants: dict[str, Want] = {}
        self.calls: set[Call] = set()
        """That go on in this process."""
        self._states: dict[str, ModelState] = {}
        self._known: dict[str, ModelFacts] = {}
        self._sizes: dict[str, int] = {}
        self._gone: set[str] = set()
        """Models that we let go, and saw gone: one that is there again was loaded by somebody else."""
        self._drifted: set[str] = set()
        """Those of them that are there again, and nobody of ours wants."""
        self._again: dict[str, _Again] = {}
        self._failed: dict[str, tuple[_Again, str]] = {}
        self._numbers = count(1)
        self._poked = self._closed = False
        self._looked_at = -_FRESH
        self.loaded: tuple[Loaded, ...] = ()
        """What was in memory when it was looked at last."""

    # -- for whoever wants a model

    def want(self, owner: str, model: str) -> ModelState:
        """From now on, until `let_go`: one model an owner. owner: the name of an object, as in Profile/staffing."""
        name = whole(model)
        with self._turn:
            if owner not in self._wants or self._wants[owner].model != name:
                self._wants[owner] = Want(owner, name)
                self._poke()
            if self._is_loaded(name):  # whoever is told so begins at once, and the model is nobody else's place from here on
                self._wants[owner] = replace(self._wants[owner], granted=True)
            return self.ready(model)

    def let_go(self, owner: str) -> None:
        """It is loaded no longer than until somebody else wants another."""
        with self._turn:
            if self._wants.pop(owner, None) is not None:
                self._poke()

    def ready(self, model: str) -> ModelState:
        """How it stands with a model, from memory; `News.changed` tells when that is otherwise for whoever wants it."""
        name = whole(model)
        named = any(whole(wanted) == name for wanted in self._standing().values())
        with self._turn:
            if name in self._states:
                return self._states[name]
            if named:
                self._poke()
            wanted = named or any(want.model == name for want in self._wants.values())
        return ModelState("loading") if wanted else ModelState("waiting", f"nobody wants {name}", idle=True)

    @contextmanager
    def use(self, model: str) -> Iterator[Call]:
        """The model is loaded, and stays so until the block ends or `Call.ended` says why it has to. Raises ModelWaits, ServerAbsent,
        ModelUnavailable."""
        name, call = whole(model), Call(whole(model))
        owner = f"call {next(self._numbers)}"
        try:
            with self._turn:
                self._wants[owner] = Want(owner, name)
                if not self._is_loaded(name) or self._clock() - self._looked_at > _FRESH:
                    self._states.pop(name, None)
                    self._poke()
                    self._await(name)
                self.calls.add(call)
            yield call
        finally:
            with self._turn:
                self.calls.discard(call)
                self._wants.pop(owner, None)
                self._turn.notify_all()

    def _await(self, model: str) -> None:
        """Until it is loaded. Holds the lock between looks."""
        until = self._clock() + self._client.server.load_seconds
        while not self._is_loaded(model):
            state = self._states.get(model)
            if state is not None and state.phase == "absent":
                raise ModelUnavailable(f"{model} cannot be loaded: {state.reason}.", remedy="`lakectl models` tells what there is.")
            if state is not None and state.phase == "waiting":
                raise ModelWaits(f"{model} is not loaded: {state.reason}.", remedy="Ask again later; docs/models.md says why.")
            if self._closed or self._clock() >= until:
                raise ModelWaits(f"{model} was not loaded in time.", remedy="Ask again later.")
            self._turn.wait(_LONGEST_POLL)

    def _is_loaded(self, model: str) -> bool:
        state = self._states.get(model)
        return state is not None and state.phase == "loaded"

    # -- the loop

    def run(self) -> None:
        """Until `close`."""
        while not self._closed:
            pause = self.step()
            with self._turn:
                if not self._poked and not self._closed:
                    self._turn.wait(pause)
                self._poked = False

    def close(self) -> None:
        """Ends `run`, and every call that waits. What is loaded stays: others may use it, and it goes by itself."""
        with self._turn:
            self._closed = True
            for call in self.calls:
                call.ended = "the daemon ends"
            self._turn.notify_all()

    def step(self) -> float | None:
        """Looks, decides, and does one thing at most. Gives the seconds until the next look; None while nobody wants anything."""
        wants = self._wanted()
        if not wants:
            return None
        try:
            seen = self._look(wants)
        except ModelUnavailable as error:
            self._tell(self._stand({want.model: ModelState("absent", _plain(error)) for want in wants}))
            return _LOOK
        chosen = choose(wants, seen, self._budget)
        action = next_action(chosen, seen, self._budget)
        blocked = self._held_back(action)
        states = _states(chosen, seen, blocked, action, self._drift(action, blocked))
        with self._turn:
            if any(want.granted and want not in wants for want in self._wants.values()):
                return 0.0  # somebody was told that a model is loaded since these were asked, which may be the one to go
            for owner, want in self._wants.items():
                self._wants[owner] = replace(want, granted=want.model in chosen.targets and (want.granted or want in wants))
            owners = self._stand(states)
        self._tell(owners)
        if action is None or blocked is not None:
            return _LOOK if blocked is None else max(_POLL, min(_LOOK, self._until(action)))
        return self._act(action, seen, chosen)

    def _wanted(self) -> list[Want]:
        """What specs say now, and what is asked for."""
        standing = {owner: whole(model) for owner, model in self._standing().items()}
        with self._turn:
            for owner in self._stands - standing.keys():
                self._wants.pop(owner, None)
            for owner, model in standing.items():
                if owner not in self._wants or self._wants[owner].model != model:
                    self._wants[owner] = Want(owner, model)
            self._stands = frozenset(standing)
            return list(self._wants.values())

    def _look(self, wants: Iterable[Want]) -> Seen:
        loaded = self._client.loaded()
        missing: dict[str, str] = {}
        for name in {want.model for want in wants} | {model.name for model in loaded}:
            try:
                self._known[name] = self._facts(name)
            except (ServerAbsent, ServerRefused, ServerSlow):
                raise
            except ModelUnavailable as error:
                self._known.pop(name, None)
                missing[name] = _plain(error)
        for model in loaded:
            self._sizes[model.name] = model.vram
        self.loaded, self._looked_at = loaded, self._clock()
        for name in [name for name, again in self._again.items() if self._looked_at - again.at > _FORGIVEN]:
            del self._again[name]
        self._returned(loaded, wants)
        return Seen(loaded, dict(self._known), self._sizes, missing)

    def _returned(self, loaded: Iterable[Loaded], wants: Iterable[Want]) -> None:
        """Tells of models that somebody else loaded after we had let them go."""
        wanted = {want.model for want in wants}
        self._drifted &= {model.name for model in loaded} - wanted
        for model in loaded:
            if model.name in self._gone and model.name not in wanted:
                self._gone.discard(model.name)
                self._drifted.add(model.name)
                owners = [want.owner for want in wants if not want.owner.startswith("call ")]
                self._news.event(owners, reasons.MODEL_DRIFT, f"another client loaded {model.name}, which had been let go")

    def _drift(self, action: Action, blocked: str | None) -> str:
        """What of another client's is let go of next, in words."""
        if not isinstance(action, Unload) or action.model not in self._drifted:
            return ""
        return blocked or f"another client loaded {action.model}, which is let go of again"

    def _held_back(self, action: Action) -> str | None:
        """Why an action is not done now: it was tried, and is tried again later, or not any more."""
        match action:
            case Unload(model=model):
                again = self._again.get(model)
                if again is None or (self._clock() >= again.at and again.tries < MOST_TRIES):
                    return None
                if again.tries >= MOST_TRIES:
                    return f"another client loads {model} again and again, though it was let go {MOST_TRIES} times; stop that client"
                return f"another client loaded {model}; it is let go again in {max(0.0, again.at - self._clock()):.0f} s"
            case Load(model=model):
                failed = self._failed.get(model)
                return None if failed is None or self._clock() >= failed[0].at else failed[1]
        return None

    def _until(self, action: Action) -> float:
        assert action is not None
        again = self._again.get(action.model) if isinstance(action, Unload) else self._failed[action.model][0]
        return _LOOK if again is None or (again.tries >= MOST_TRIES and isinstance(action, Unload)) else again.at - self._clock()

    def _act(self, action: Unload | Load, seen: Seen, chosen: Chosen) -> float:
        try:
            if isinstance(action, Unload):
                self._unload(action.model, next((model for model in chosen.targets if model not in seen.names), ""))
            else:
                self._load(action.model, seen.facts[action.model])
        except ModelUnavailable as error:
            failed = self._failed.get(action.model, (_Again(), ""))[0]
            self._failed[action.model] = (_later(failed, self._clock()), _plain(error))
        return 0.0

    def _unload(self, model: str, instead: str) -> None:
        """Ends our own calls, asks that it go, and waits until it is gone."""
        self._again[model] = _later(self._again.get(model, _Again()), self._clock())
        until = self._clock() + self._client.server.load_seconds
        with self._turn:
            for call in self.calls:
                if call.model == model:
                    call.ended = f"{instead} is loaded in its place" if instead else "it is let go"
            self._turn.wait_for(lambda: self._closed or all(call.model != model for call in self.calls), self._client.server.call_seconds)
        self._client.unload(model)
        pause = _POLL
        while not self._closed and self._clock() < until:
            self.loaded = self._client.loaded()
            if all(loaded.name != model for loaded in self.loaded):
                self._gone.add(model)
                return
            with self._turn:
                self._turn.wait(pause)
            pause = min(pause * 2, _LONGEST_POLL)
        raise ModelWaits(f"{model} is asked to go and is still loaded.", remedy="`ollama ps` tells what it does.")

    def _load(self, model: str, facts: ModelFacts) -> None:
        self._gone.discard(model)
        self._client.load(facts, self._context(model))
        self.loaded = self._client.loaded()
        if all(loaded.name != model for loaded in self.loaded):
            raise ModelWaits(f"{model} was loaded, and is not there.", remedy="Another client may have taken its memory.")
        self._failed.pop(model, None)
        self._again.pop(model, None)

    def _stand(self, states: Mapping[str, ModelState]) -> list[str]:
        """From now on models stand so. Gives who wants one that stood otherwise, also those who came while the server was looked at."""
        with self._turn:
            otherwise = {name for name in states.keys() | self._states.keys() if states.get(name) != self._states.get(name)}
            self._states = dict(states)
            self._turn.notify_all()
            return sorted(want.owner for want in self._wants.values() if want.model in otherwise and not want.owner.startswith("call "))

    def _tell(self, owners: Collection[str]) -> None:
        if owners:
            self._news.changed(owners)

    def _poke(self) -> None:
        self._poked = True
        self._turn.notify_all()


def _states(chosen: Chosen, seen: Seen, blocked: str | None, action: Action, drift: str) -> dict[str, ModelState]:
    found = {model: ModelState("absent" if model in seen.missing else "waiting", why) for model, why in chosen.waits.items()}
    for model in chosen.targets:
        if model in seen.names:
            found[model] = _LOADED
        elif blocked is None:
            found[model] = ModelState("loading")
        else:
            found[model] = ModelState("absent" if isinstance(action, Load) and action.model == model else "waiting", blocked)
    return {model: replace(state, drift=drift) if model in chosen.targets else state for model, state in found.items()}


def _later(again: _Again, now: float) -> _Again:
    return _Again(again.tries + 1, now + min(_PAUSE * 2**again.tries, _LONGEST_PAUSE))


def _plain(error: ModelUnavailable) -> str:
    """As a part of a sentence."""
    said = str(error).rstrip(".")
    return said if error.remedy is None else f"{said}; {error.remedy.rstrip('.')}"

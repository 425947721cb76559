"""Which models are to be loaded, and the next thing to do about it. Pure.

At most so many at once, within so many bytes of a card's memory, and never two embedding models. What is loaded for somebody stays loaded
as long as it is wanted: nobody who comes later takes its place. Of several that come at once Profiles are first, then by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from engines.ollama.facts import Loaded, ModelFacts

_GB = 1e9


@dataclass(frozen=True, slots=True)
class Want:
    """Somebody needs a model. owner: "Profile/a", "Index/b", or a call, in words. model: with its tag. granted: whether it has it."""

    owner: str
    model: str
    granted: bool = False

    @property
    def rank(self) -> tuple[bool, bool, str]:
        """Who is first."""
        return (not self.granted, not self.owner.startswith("Profile/"), self.owner)


@dataclass(frozen=True, slots=True)
class Budget:
    """most: models at once. vram: bytes of all together, None for no bound."""

    most: int = 1
    vram: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """The server at an instant. facts: of models that are wanted, by name; sizes: bytes of a card's memory that a model had when it was
    seen last. missing: why a wanted model cannot be had."""

    loaded: Sequence[Loaded]
    facts: Mapping[str, ModelFacts]
    sizes: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    def size(self, model: str) -> int:
        """Bytes that it takes: as it is, as it was, else as it is on disk."""
        now = next((loaded.vram for loaded in self.loaded if loaded.name == model), None)
        if now is not None:
            return now
        return self.sizes.get(model) or (self.facts[model].size if model in self.facts else 0)

    def embeds(self, model: str) -> bool:
        """Whether it is an embedding model, as far as it is known."""
        return model in self.facts and self.facts[model].kind == "embedding"

    @property
    def names(self) -> Set[str]:
        """Of what is loaded."""
        return {loaded.name for loaded in self.loaded}


@dataclass(frozen=True, slots=True)
class Chosen:
    """targets: models that are to be loaded, with whom each is for. waits: the others, and why not."""

    targets: Mapping[str, str]
    waits: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Unload:
    """A model has to go. drift: it is nobody's of ours, and came back."""

    model: str
    why: str


@dataclass(frozen=True, slots=True)
class Load:
    """A model is to come."""

    model: str


Action: TypeAlias = Unload | Load | None
State: TypeAlias = Literal["loaded", "loading", "waiting", "absent"]


@dataclass(frozen=True, slots=True)
class ModelState:
    """How it stands with a model. reason: in words, for waiting and absent. idle: it waits since nobody wants it.
    drift: what another client loaded that has to go for it, in words; empty where nothing has."""

    phase: State
    reason: str = ""
    idle: bool = False
    drift: str = ""


def choose(wants: Sequence[Want], seen: Seen, budget: Budget) -> Chosen:
    """Who gets what."""
    targets: dict[str, str] = {}
    waits: dict[str, str] = {}
    for want in sorted(wants, key=lambda want: want.rank):
        if want.model in targets or want.model in waits:
            continue
        why = seen.missing.get(want.model) or _hindrance(want.model, targets, seen, budget)
        if why is None:
            targets[want.model] = want.owner
        else:
            waits[want.model] = why
    return Chosen(targets, waits)


def _hindrance(model: str, targets: Mapping[str, str], seen: Seen, budget: Budget) -> str | None:
    held = " and ".join(f"{name} is loaded for {owner}" for name, owner in targets.items())
    other = next((name for name in targets if seen.embeds(name)), None)
    if other is not None and seen.embeds(model):
        return f"{other} is loaded for {targets[other]}, and one embedding model is at a time"
    if len(targets) >= budget.most:
        return f"{held}, and `models.maxActive` is {budget.most}"
    needed = sum(map(seen.size, targets)) + seen.size(model)
    if budget.vram is not None and needed > budget.vram:
        what = f"{model} takes about {seen.size(model) / _GB:.1f} GB of the {budget.vram / _GB:.1f} GB of `models.vramBytes`"
        return f"{what}; {held}" if held else what
    return None


def next_action(chosen: Chosen, seen: Seen, budget: Budget) -> Action:
    """What brings the server nearer: what is too much goes first, one at a time."""
    others = [loaded for loaded in seen.loaded if loaded.name not in chosen.targets]
    wanted = next((model for model in chosen.targets if model not in seen.names), None)
    if others and chosen.targets:
        clash = next((one.name for one in others if seen.embeds(one.name)), None)
        embeds = any(map(seen.embeds, chosen.targets))
        if embeds and clash is not None:
            return Unload(clash, "one embedding model is at a time")
        count = len(seen.loaded) + (wanted is not None)
        size = sum(loaded.vram for loaded in seen.loaded) + (seen.size(wanted) if wanted is not None else 0)
        if count > budget.most:
            return Unload(others[0].name, f"`models.maxActive` is {budget.most}")
        if budget.vram is not None and size > budget.vram:
            return Unload(others[0].name, "`models.vramBytes` would be exceeded")
    return None if wanted is None else Load(wanted)

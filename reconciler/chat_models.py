"""Which chat model drafts what nobody wrote about a dataset: that of the settings, else one of a profile that may read of the dataset.

Of profiles those count that name a model, bind the dataset, look at it as it is now, in the bucket where it is, and to which policies show
its columns; the first by name of them. It is told no more than that profile may see: names and types, and examples of what nobody hides
(`state/descriptions.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from engines.profile_reader import LATEST, reader_of
from engines.reading import ANONYMOUS, Reader, Rules, TableName, decide
from engines.sql.tables import sql_name
from reconciler.world import World
from specs.kinds.profile import ProfileSpec
from specs.resource import Key
from state.catalog.tables import Table


@dataclass(frozen=True, slots=True)
class ChatModels:
    """See `engines.ollama.drafting.Choice`. chat: the model of the settings, if they name one. table, rules: as they are now."""

    chat: str
    world: World
    table: Callable[[str], Table | None]
    rules: Callable[[], Rules]

    def named(self, dataset: str) -> tuple[str, ...]:
        """By specs alone, in order."""
        return (self.chat,) if self.chat else tuple(model for _, _, model in self._profiles(dataset))

    def chosen(self, dataset: str) -> tuple[str, Reader] | None:
        """The model, and for whom it is asked; None where no profile may read of it. Blocking."""
        if self.chat:
            return self.chat, ANONYMOUS
        table, rules = self.table(dataset), self.rules()
        for name, spec, model in self._profiles(dataset):
            reader = reader_of(name, spec, rules)
            there = table is not None and table.bucket == spec.bucket
            if there and decide(reader, TableName(sql_name(dataset), spec.bucket), "describe").allowed:
                return model, reader
        return None

    def _profiles(self, dataset: str) -> Iterator[tuple[str, ProfileSpec, str]]:
        found = ((each.key.name, each.spec_as(ProfileSpec)) for each in self.world.of("Profile", Key("Dataset", dataset)))
        for name, spec in sorted(found, key=lambda one: one[0]):
            if spec.model is not None and dataset in spec.datasets and spec.at == LATEST:
                yield name, spec, spec.model.ollama

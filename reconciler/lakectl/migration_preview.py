"""What `lakectl migrate preview` shows, as a document: read from the state, the working tree and perhaps a file; nothing is written."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from controllers.dataset.evolving import pending
from controllers.dataset.files import how_read
from controllers.dataset.migration import rows_of
from engines.errors import TableUnknown
from engines.files.formats import FORMATS
from engines.files.opening import open_reading
from engines.files.schema_diff import SAMPLED_ROWS, Difference, differences, seen_in_file, seen_in_rows
from engines.files.source import SourceFile
from engines.migration_draft import drafted, remark
from engines.migrations import MigrationUnfit, draft, words
from engines.sql.json_rows import json_rows, type_name
from engines.sql.migrating import MigrateTask
from engines.sql.previewing import preview, sample
from engines.sql.tables import sql_name
from engines.sql.views import make_view
from engines.widening import surely_exact, widens
from reconciler.blob_cache import BlobCache
from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.here import Here
from reconciler.lakectl.reading_here import open_here
from reconciler.sources.directory import DirectorySource
from reconciler.world import World
from specs.kinds.dataset import DatasetSpec
from specs.kinds.dataset_rules import Migration
from specs.resource import Key
from specs.version import PARSER_VERSION
from state.catalog.tables import Table

if TYPE_CHECKING:
    import pyarrow as pa

    from reconciler.opening import State
    from reconciler.settings import Settings


def preview_document(here: Here, name: str, file: Path | None, most: int) -> dict[str, Any]:
    """Raises UsageInvalid, TableUnknown, FileRefused, and what reading raises."""
    state, settings = open_here(here)
    spec = _spec(here, name)
    table = state.catalog.table(name)
    if table is None or not table.columns:
        raise TableUnknown(f"Dataset/{name} has no table yet.", remedy=f"`lakectl why Dataset/{name}` tells what it waits for.")
    document: dict[str, Any] = {"dataset": name, "schema": table.schema.id, "differences": [], "migration": {}, "yaml": [], "unfit": []}
    document |= {"before": _empty(), "after": _empty()}
    if file is None:
        found = pending(spec, table)
        if not found:
            return document | {"message": f"Every migration of Dataset/{name} is behind its schema {table.schema.id}: nothing waits."}
        said = found[0][1]
        document |= {"message": f"The spec's migration of schema {said.from_}: {words(said)}.", "next": "It fits every row: commit it."}
    else:
        source = _view(state, table)
        found_differences, note = _by_model(state, settings, name, _differences(spec, table, source, file))

        def exact(column: str, kind: str) -> bool:
            known = table.schema.column(column)
            return known is not None and widens(known.type, kind) and surely_exact(table, known, kind) and column not in table.primary_key

        document["differences"] = [{"words": one.words, "remark": remark(one, exact)} for one in found_differences]
        document |= {} if note is None else {"note": note}
        text = drafted(found_differences, table.schema, exact)
        if not text:
            told = "They need no migration." if found_differences else f"{file} has the columns of Dataset/{name}: no migration is needed."
            return document | {"message": told}
        said = Migration.model_validate(text)
        renamed = [new for old, new in said.rename.items() if old in table.primary_key]
        key = f", with `primaryKey: [{', '.join(said.rename.get(old, old) for old in table.primary_key)}]`" if renamed else ""
        document |= {
            "message": f"A migration that says so, to be judged: {words(said)}.",
            "next": f"It fits every row: add it to `migrations` of Dataset/{name}{key}, and commit.",
        }
    return document | _shown(state, table, said, most)


def _by_model(state: "State", settings: "Settings", name: str, found: tuple[Difference, ...]) -> tuple[tuple[Difference, ...], str | None]:
    """With what the chat model of the settings, or of a profile at HEAD, takes for renamed. It is asked where it is loaded, or nothing else
    is: whoever loads models in turns is another process."""
    from engines.errors import EngineError
    from engines.ollama.migrating import suggested
    from engines.ollama.names import same
    from reconciler.chat_models import ChatModels
    from reconciler.lakectl.readers_here import directory_here
    from reconciler.models import connected

    world, book, _ = directory_here(state)
    chosen = ChatModels(settings.models.chat, world, state.catalog.table, book.now).chosen(name)
    if chosen is None:
        return found, None
    model, _ = chosen
    try:
        models = connected(settings)
        loaded = models.client.loaded()
        if loaded and not any(same(one.name, model) for one in loaded):
            return found, f"Drafted without {model}: {loaded[0].name} is loaded."
        models.chat_model(model)
    except EngineError as error:
        return found, f"Drafted without {model}: {error.explain()}"
    return suggested(found, model, models.chats())


def _spec(here: Here, name: str) -> DatasetSpec:
    """As in the working tree; in a bare repository, of HEAD."""
    from reconciler.lakectl.specs_here import place_of

    source = DirectorySource(here.root) if (here.root / "specs").is_dir() else place_of(here).source
    world = World(source, BlobCache(None, PARSER_VERSION), lambda key, digest: None)
    world.advance(source.revision())
    desired = world.desired(Key("Dataset", name))
    if desired is None or desired.resource is None or desired.errors:
        said = str(desired.errors[0]) if desired is not None and desired.errors else f"no spec declares Dataset/{name}"
        raise UsageInvalid(f"lakectl migrate: {said}.", remedy="`lakectl plan` tells what is wrong with the specs.")
    return desired.resource.spec_as(DatasetSpec)


def _view(state: "State", table: Table) -> Any:
    return make_view(table, state.place.cache / "views", state.objects, sql_name(table.name)).table


def _differences(spec: DatasetSpec, table: Table, source: Any, file: Path) -> tuple[Difference, ...]:
    if not file.is_file():
        raise UsageInvalid(f"lakectl migrate: {file} is no file.", remedy="Name a data file.")
    if spec.source.format is None and file.suffix.lower() not in FORMATS:
        raise UsageInvalid(f"lakectl migrate: {file.name} has no format that is read.", remedy=f"Files end in {', '.join(FORMATS)}.")
    form, options = how_read(spec, file.name)
    reading = open_reading(SourceFile(file, str(file), form, options))
    guesses = {column: guess for column, guess in reading.guesses().items() if column != spec.tombstone}
    types = {name: (column.type, "the spec says so") for name, column in spec.columns.items() if column.type is not None}
    seen = seen_in_file(reading, {name: types.get(name, guess) if name not in _known(table) else guess for name, guess in guesses.items()})
    columns = [(column.name, column.type) for column in table.columns]
    return differences(seen_in_rows(sample(source, SAMPLED_ROWS), columns), seen)


def _known(table: Table) -> set[str]:
    return {column.name for column in table.columns}


def _shown(state: "State", table: Table, said: Migration, most: int) -> dict[str, Any]:
    """The migration on rows."""
    text = said.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    lines = yaml.safe_dump([text], default_flow_style=None, sort_keys=False, allow_unicode=True, width=70).rstrip().splitlines()
    document: dict[str, Any] = {"migration": text, "yaml": ["migrations:", *(f"  {line}" for line in lines)]}
    try:
        parts = draft(said, table.schema, table.primary_key)
        columns = tuple((column.name, column.type) for column in table.columns)
        task = MigrateTask(table.name, columns, table.primary_key, parts, rows_of(table, state.objects))
        found = preview(_view(state, table), task, most)
    except (MigrationUnfit, ValueError) as error:
        return document | {"unfit": [f"{error}."], "next": ""}
    document |= {"before": _rows(found.before), "after": _rows(found.after), "unfit": [f"{fault}." for fault in found.faults]}
    remedy = "Say by an `expression` what becomes of such rows, or correct them at their source."
    return document | ({"next": remedy} if found.faults else {})


def _rows(table: "pa.Table") -> dict[str, Any]:
    columns = [{"name": field.name, "type": type_name(field.type)} for field in table.schema]
    return {"columns": columns, "rows": json_rows(table)}


def _empty() -> dict[str, Any]:
    return {"columns": [], "rows": []}

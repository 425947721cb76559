"""Tables from the footers of their parts alone, where the catalog is lost; pure.

A table is what its newest transformation wrote: schema ids only grow, so whatever another transformation wrote before is of a former life.
Of that, contents are complete or they are not there: an ingest that was killed left parts that were never committed. An upsert keeps every
content, in the order of their sequences; else a path's newest content is the only one that counts. Bindings of sources come with them, so
that nothing is read again that is there.

The journal, and rows that were changed by hand, come back as their footers say, but for those that others were folded from. What contracts
set aside comes back where it was judged by what the rows of its content were judged by.

What cannot be known any more is decided for the side that reads more: a content that a copy kept alive, or that a renewal made the newest,
is settled by the next look at the sources. Next: `commit.py`, whose rules these are; `engines/files/footers.py`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as Collection
from dataclasses import dataclass, replace
from itertools import groupby

from controllers.dataset.origins import bound_path
from engines.files.footers import Footer, Written
from engines.files.ledgers import LedgerFacts, Noted
from state.catalog.data_files import EDIT, EDITS, DataFile, Role, is_content
from state.catalog.entry import Change, Retained, TableCommit
from state.catalog.schemas import Schema
from state.catalog.tables import Binding, Ledger
from state.objects import ObjectRef


@dataclass(frozen=True, slots=True)
class Part:
    """A Parquet file that was found. Its SHA-256 is "" until somebody reads it."""

    ref: ObjectRef
    footer: Footer

    @property
    def written(self) -> Written:
        """Only of a complete footer."""
        assert self.footer.written is not None
        return self.footer.written


@dataclass(frozen=True, slots=True)
class FoundLedger:
    """A ledger in Parquet that was found, with what its footer says. Its SHA-256 is "" until somebody reads it."""

    ref: ObjectRef
    rows: int
    facts: LedgerFacts


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a table will consist of, and the parts that it does without: superseded, or of contents that lack a part (`torn`).

    edits: files of several rows that were changed by hand, each with its source.
    """

    name: str
    bucket: str
    parts: tuple[Part, ...]
    superseded: tuple[Part, ...] = ()
    torn: tuple[Part, ...] = ()
    edits: tuple[tuple[Part, str], ...] = ()
    ledgers: tuple[FoundLedger, ...] = ()

    @property
    def refs(self) -> tuple[ObjectRef, ...]:
        """Of all that it will refer to."""
        return (*(part.ref for part in self.parts), *(part.ref for part, _ in self.edits), *(found.ref for found in self.ledgers))

    @property
    def version(self) -> int:
        """The newest that its journal tells of."""
        return max((found.facts.version for found in self.ledgers), default=0)

    @property
    def rows(self) -> int:
        """In all parts."""
        return sum(part.footer.rows for part in self.parts)


def rebuild(name: str, bucket: str, parts: Iterable[Part], edits: Iterable[Part] = (), ledgers: Iterable[FoundLedger] = ()) -> Rebuilt:
    """The table that these parts, all with complete footers and of one bucket, are of. edits: files of several edits."""
    found = sorted(parts, key=_writing)
    life = _life(found)
    whole: dict[str, list[Part]] = {}
    torn: list[Part] = []
    for _, group in groupby(life, key=lambda part: _writing(part)[:4]):
        content = list(group)
        source = content[0].written.source
        if _complete(content):
            whole[source] = _newer(whole.get(source), content)
        else:
            torn += content
    kept = _kept(_unfolded(list(whole.values())))
    keys = {part.ref.key for part in kept}
    torn = [part for part in torn if part.written.source not in whole]
    aside = tuple(part for part in found if part.ref.key not in keys and part not in torn)
    told = _telling(list(ledgers), kept)
    return Rebuilt(name, bucket, tuple(kept), aside, tuple(torn), tuple(_edits_of(edits, found, keys)), told)


def _life(found: Sequence[Part]) -> list[Part]:
    """The parts since the table was made anew the last time: those of the newest schema, of any that it only adds columns to, and of those
    that it came from by migrations. Ids of columns are never given again, so that a table that was made anew has none of the former ones.
    """
    linked: dict[int, Schema] = {}
    life: list[Part] = []
    for part in sorted(found, key=lambda part: -part.footer.schema.id):
        schema = part.footer.schema
        known = linked.get(schema.id)
        if not linked or (known.columns == schema.columns if known is not None else any(_adds(schema, other) for other in linked.values())):
            linked |= {former.id: former for former in (*part.footer.formers, schema)}
            life.append(part)
    return sorted(life, key=_writing)


def _adds(one: Schema, other: Schema) -> bool:
    """Whether one of the two only adds columns to the other."""
    columns, others = set(one.columns), set(other.columns)
    return columns <= others or columns >= others


def _place(part: Part) -> tuple[int, int, str, int]:
    return part.written.sequence, part.footer.schema.id, part.written.source, part.written.first_row


def _writing(part: Part) -> tuple[int, int, str, str, int]:
    """By content, then by what its parts were written for: a contract may have judged it twice, by what other datasets held then."""
    sequence, schema, source, first = _place(part)
    return sequence, schema, source, part.ref.key.rpartition("-")[0], first


def _newer(known: Sequence[Part] | None, content: list[Part]) -> list[Part]:
    """The newest one of a source comes last; of two at one place, the one of more rows."""
    if known is None or _place(known[0]) != _place(content[0]) or _rows(content) >= _rows(known):
        return content
    return list(known)


def _rows(content: Sequence[Part]) -> int:
    return sum(part.footer.rows for part in content)


def _complete(content: Sequence[Part]) -> bool:
    """Whether the parts follow each other from the first row to the last."""
    ends = [0, *(part.written.first_row + part.footer.rows for part in content)]
    return content[-1].written.last and all(end == part.written.first_row for end, part in zip(ends, content, strict=False))


def _unfolded(contents: Sequence[Sequence[Part]]) -> list[Sequence[Part]]:
    """Without what compaction put others in the place of."""
    folded = {key for content in contents for part in content for key in part.written.folds}
    return [content for content in contents if not any(part.ref.key in folded for part in content)]


def _kept(contents: Sequence[Sequence[Part]]) -> list[Part]:
    """Every content of an upsert; else the newest of each path."""
    ordered = sorted(contents, key=lambda content: _place(content[0]))
    if not ordered or ordered[-1][0].written.write == "upsert":
        return [part for content in ordered for part in content]
    newest = {content[0].written.path: content for content in ordered}
    return [part for content in ordered if newest[content[0].written.path] is content for part in content]


def _edits_of(edits: Iterable[Part], parts: Iterable[Part], kept: Collection[str]) -> Iterator[tuple[Part, str]]:
    """Files of several edits with their sources: those that no compaction put others in the place of, and that took the place of theirs.

    A compaction that was killed before its entry left one beside the edits that are pending still.
    """
    found = sorted(edits, key=_place)
    folded = {key for part in (*parts, *found) for key in part.written.folds}
    for _, group in groupby(found, key=lambda part: _place(part)[:3]):
        content = list(group)
        if _complete(content) and folded.isdisjoint(part.ref.key for part in content) and kept.isdisjoint(content[0].written.folds):
            yield from ((part, f"{part.written.source}:{number}") for number, part in enumerate(content))


def _telling(ledgers: Sequence[FoundLedger], parts: Sequence[Part]) -> tuple[FoundLedger, ...]:
    """The journal without files that others were folded from; where two folds share one, the greater. What was last set aside."""
    own = {part.written.source: (part.written.transformation, part.written.basis) for part in parts}
    # what a folded content was judged by besides its spec, nobody knows: where datasets are referred to, it is judged again
    folded = {content.digest: part.written.transformation for part in parts for content in part.written.contents}

    def holds(facts: LedgerFacts) -> bool:
        judged = (facts.transformation, facts.basis)
        return own[facts.source] == judged if facts.source in own else folded.get(facts.source) == facts.transformation

    claimed: set[str] = set()
    kept = []
    for found in sorted(ledgers, key=lambda found: (-len(found.facts.folds), found.ref.key)):
        keys = {found.ref.key, *found.facts.folds}
        if claimed.isdisjoint(keys) and found.facts.kind != "quarantine":
            claimed |= keys
            kept.append(found)
    aside = sorted((found for found in ledgers if found.facts.kind == "quarantine"), key=lambda found: found.facts.at)
    newest = {found.facts.source: found for found in aside if holds(found.facts)}
    return (*sorted(kept, key=lambda found: (found.facts.version, found.ref.key)), *newest.values())


def changes(rebuilt: Rebuilt, refs: Mapping[str, ObjectRef], profiles: Sequence[Noted], *, declared: bool, at: str) -> tuple[Change, ...]:
    """What makes the table, in one entry. refs: by key, with their SHA-256. profiles: of its contents, as far as they were found.
    declared: whether a spec asks for it; else it is retained. at: when, as in `state/timestamps.py`."""
    object_, parts = f"Dataset/{rebuilt.name}", rebuilt.parts
    newest = max(parts, key=lambda part: (part.footer.schema.id, part.written.sequence)).written
    files: dict[int, list[DataFile]] = {}
    for part in parts:
        file = part.footer.data_file(refs[part.ref.key])
        files.setdefault(part.footer.schema.id, []).append(replace(file, role=_role(part, parts[0])))
    schemas = {schema.id: schema for part in parts for schema in (*part.footer.formers, part.footer.schema)}
    whole = rebuilt.version + len(schemas)  # those before it, with some of the schemas alone, never were
    made: list[Change] = [
        TableCommit(
            object=object_,
            transformation=newest.transformation,
            bucket=rebuilt.bucket,
            primary_key=newest.primary_key,
            write=newest.write,
            schema=schemas[number],
            add=tuple(files.get(number, ())),
            bind=_bindings(parts) if number == max(schemas) else (),
            note=(*_ledgers(rebuilt, refs), *_profiles(profiles)) if number == max(schemas) else (),
            at=at,
            after=rebuilt.version,
            forget=whole if number == max(schemas) else 0,
            fold=_folded(rebuilt) if number == max(schemas) else None,
        )
        for number in sorted(schemas)
    ]
    return (*made, *(() if declared else (Retained(object_),)))


def _profiles(found: Sequence[Noted]) -> tuple[Ledger, ...]:
    return tuple(Ledger(each.kind, each.ref, each.rows, each.source, 1, "") for each in found)


def _ledgers(rebuilt: Rebuilt, refs: Mapping[str, ObjectRef]) -> tuple[Ledger, ...]:
    """Rows that were changed by hand have no other source: their parts are ledgers, too, unless they were folded to files of edits."""
    edits = {source: Ledger("edit", refs[part.ref.key], part.footer.rows, source, 1, "") for part, source in rebuilt.edits}
    for part in rebuilt.parts:
        source = part.written.source
        if source.startswith((EDIT, EDITS)) and source not in edits:
            edits[source] = Ledger("edit", refs[part.ref.key], part.footer.rows, source, 1, "")
    return (*edits.values(), *(found.facts.ledger(refs[found.ref.key], found.rows) for found in rebuilt.ledgers))


def _role(part: Part, first: Part) -> Role:
    """Of an upsert, only what nothing precedes is a base."""
    return "delta" if part.written.write == "upsert" and part.written.sequence != first.written.sequence else "base"


def _bindings(parts: Sequence[Part]) -> tuple[Binding, ...]:
    """Each path with its newest content."""
    found = [
        (made.sequence, bound_path(made.path), made.source, made.size)
        for made in (part.written for part in parts)
        if is_content(made.source)
    ]
    folded = (content for part in parts for content in part.written.contents)
    found += [(content.place, content.path, content.digest, content.size) for content in folded if content.path is not None]
    newest = {path: (source, size) for _, path, source, size in sorted(found)}
    return tuple(Binding(path, source, size, 0) for path, (source, size) in sorted(newest.items()))


def _folded(rebuilt: Rebuilt) -> Mapping[str, int] | None:
    """The places of contents, and of files of edits, that have no rows of their own any more."""
    places = {content.digest: content.place for part in rebuilt.parts for content in part.written.contents}
    own = {part.written.source for part in rebuilt.parts}
    places |= {source: part.written.sequence for part, source in rebuilt.edits}
    return {source: place for source, place in places.items() if source not in own} or None

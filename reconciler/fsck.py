"""Checks every reference both ways: that what the catalog refers to is there and is what it says, and that what is there is referred to.

It needs neither lease nor daemon, and writes nothing. What it sees is not of one moment, so whatever seems wrong is looked at again,
against the catalog as it is by then, before it is told. Objects that nothing refers to are findings once `lakectl gc` would remove them;
until then they wait: jobs store before they commit. What lies in the folder of an owner that the catalog never knew is one at once. A
bucket's own objects are judged, not what its rescue bucket would answer.

It refuses to mend: each finding names the command that does. Next: `state/unreferred.py`, `engines/files/footers.py`,
`controllers/dataset/checks.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from engines.files.footers import Footer, read_footer
from engines.jobs.results import JobResults
from reconciler.errors import CatalogLost
from reconciler.opening import State
from state.catalog.catalog import Catalog
from state.catalog.data_files import DataFile
from state.catalog.log import CatalogLog, log_key
from state.catalog.tables import Table
from state.digest_file import sha256_file
from state.errors import BucketUnknown, CatalogCorrupt, ObjectMissing, StateError, StreamCorrupt
from state.objects import ObjectInfo, ObjectStore
from state.own_copy import own_copy
from state.references import Reference, all_references
from state.streams import reading, segments
from state.streams.schemas import STREAMS
from state.unreferred import Finder, Retention, ago, attached, listed, places_in

_LOG = "catalog/log/"
_REBUILD = "lakectl rebuild --yes"
_COLLECT = "lakectl gc --yes"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `place` is bucket and key, `problem` a word for programs, `mend` the command that mends it, or words."""

    place: str
    problem: str
    message: str
    mend: str
    owner: str | None = None
    size: int | None = None
    age: float | None = None

    def to_dict(self) -> dict[str, object]:
        """As `-o json` has it."""
        return {
            "place": self.place,
            "problem": self.problem,
            "message": self.message,
            "mend": self.mend,
            "owner": self.owner,
            "size": self.size,
            "ageSeconds": None if self.age is None else round(self.age),
        }


@dataclass(frozen=True, slots=True)
class Waiting:
    """An object that nothing refers to, too young to be removed: perhaps what refers to it is yet to come. age: seconds."""

    place: str
    owner: str
    size: int
    age: float

    def to_dict(self) -> dict[str, object]:
        """As `-o json` has it."""
        return {"place": self.place, "owner": self.owner, "size": self.size, "ageSeconds": round(self.age)}


@dataclass(slots=True)
class Report:
    """What was looked at, what is wrong, what could not be looked at (place and reason), and what waits to become garbage.

    doubtful: entries of the log that are to be read in any case.
    """

    findings: list[Finding] = field(default_factory=list)
    unchecked: list[tuple[str, str]] = field(default_factory=list)
    entries: int = 0
    objects: int = 0
    size: int = 0
    segments: int = 0
    waiting: list[Waiting] = field(default_factory=list)
    doubtful: set[int] = field(default_factory=set)


def check(state: State, retention: Retention, *, deep: bool, grace: float | None = None) -> Report:
    """Everything but the log itself, which is `check_log`. grace: seconds, in place of the retention. Blocking."""
    report = Report()
    _Check(state, retention, report, deep=deep, grace=grace).run()
    if deep:
        check_segments(state.store, report)
    return report


def check_log(store: ObjectStore, report: Report, *, deep: bool, rescue: ObjectStore | None = None) -> None:
    """Whether the catalog's log is without gaps; deep: whether every entry can be read, else the doubtful. Raises what the store raises.

    rescue: may have copies of what is missing or damaged.
    """
    log, expected, covered = CatalogLog(store), 1, _covered(store)
    for info in store.list(_LOG):
        number = info.key.removeprefix(_LOG).removesuffix(".json")
        if not number.isdecimal() or log_key(int(number)) != info.key:
            continue
        seq = int(number)
        report.findings += _gap(store, range(expected, seq), covered, rescue)
        expected = seq + 1
        report.entries += 1
        if deep or seq in report.doubtful:
            try:
                log.require(seq)
            except CatalogCorrupt as error:
                report.findings.append(_entry_finding(store, "catalog-damaged", str(error), range(seq, seq + 1), covered, rescue))
    report.findings += _gap(store, range(expected, covered + 1), covered, rescue)


def _covered(store: ObjectStore) -> int:
    """The last entry whose effect is known, by the log or a checkpoint; 0 where the catalog cannot be read."""
    try:
        return Catalog.open(store).seq
    except StateError:
        return 0


def _gap(store: ObjectStore, lost: range, covered: int, rescue: ObjectStore | None) -> list[Finding]:
    if not lost:
        return []
    missing = log_key(lost[0]) if len(lost) == 1 else f"{log_key(lost[0])} to {log_key(lost[-1])}"
    return [_entry_finding(store, "catalog-gap", f"{missing} is missing.", lost, covered, rescue)]


def _entry_finding(store: ObjectStore, problem: str, message: str, seqs: range, covered: int, rescue: ObjectStore | None) -> Finding:
    """What is lost with entries: the whole catalog, or, where a checkpoint covers them, what they say of the past."""
    mend = _REBUILD
    if seqs[-1] <= covered:
        message += " A checkpoint covers it: tables with their former versions, indexes and statuses are whole."
        message += " What it recorded is missing in system.catalog."
        mend = f"restore it from {_copy_of(seqs, rescue)}; without one leave it, since nothing else is lost"
    return Finding(f"{store.name}/{log_key(seqs[0])}", problem, message, mend)


def _copy_of(seqs: range, rescue: ObjectStore | None) -> str:
    try:
        has_it = rescue is not None and all(CatalogLog(rescue).read(seq) is not None for seq in seqs)
    except StateError:
        has_it = False
    return f"bucket {rescue.name}, which has it" if rescue is not None and has_it else "a copy of the state bucket"


def catalog_lost(error: CatalogLost) -> Finding:
    """The finding where there is no catalog any more: then nothing can be checked."""
    return Finding(f"{error.bucket}/catalog", "catalog-lost", f"{error}", error.remedy or _REBUILD)


def catalog_unreadable(store: ObjectStore, error: CatalogCorrupt) -> Finding:
    """The finding where the catalog cannot be opened at all: then no reference can be checked."""
    return Finding(f"{store.name}/catalog", "catalog-unreadable", str(error), _REBUILD)


class _Check:
    """One run over catalog and buckets."""

    def __init__(self, state: State, retention: Retention, report: Report, *, deep: bool, grace: float | None) -> None:
        self._state, self._retention, self._report = state, retention, report
        self._deep, self._grace = deep, grace
        self._listings: dict[str, Mapping[str, ObjectInfo] | None] = {}

    def run(self) -> None:
        suspects = [found for found in map(self._suspect, all_references(self._state.catalog.objects())) if found is not None]
        self._state.catalog.refresh()
        present = set(all_references(self._state.catalog.objects())) if suspects else set()
        for reference, _ in suspects:
            again = self._problem(reference) if reference in present else None
            if again is not None:
                self._report.findings.append(self._finding(reference, *again))
        self._unreferred()

    def _suspect(self, reference: Reference) -> tuple[Reference, tuple[str, str]] | None:
        """By the listing; or, if that is not enough, by the object itself."""
        ref = reference.ref
        listing = self._listing(ref.bucket)
        if listing is None:
            return None
        self._report.objects += 1
        self._report.size += ref.size
        info = listing.get(ref.key)
        if not self._deep and info is not None and info.size == ref.size:
            return None
        found = self._problem(reference)
        return None if found is None else (reference, found)

    def _problem(self, reference: Reference) -> tuple[str, str] | None:
        """What is wrong with the object now: a word, and a sentence. Raises nothing."""
        ref = reference.ref
        try:
            store = self._state.buckets.store(ref.bucket)
            found = store.head(ref.key).size
            if found != ref.size:
                return "object-corrupt", f"It has {found} bytes, the catalog says {ref.size}."
            return self._content(store, reference) if self._deep else None
        except BucketUnknown:
            return "bucket-unknown", f"No bucket {ref.bucket} is attached."
        except ObjectMissing:
            return "object-missing", f"It is not there ({ref.size} bytes)."
        except StateError as error:
            self._report.unchecked.append((f"{ref.bucket}/{ref.key}", error.explain()))
            return None

    def _content(self, store: ObjectStore, reference: Reference) -> tuple[str, str] | None:
        with own_copy(store, reference.ref.key) as path:
            found = sha256_file(path)
            if found != reference.ref.sha256:
                return "object-corrupt", f"Its SHA-256 is {found}, the catalog says {reference.ref.sha256}."
            table = self._state.catalog.table(reference.owner.partition("/")[2]) if reference.owner.startswith("Dataset/") else None
            file = table.file(reference.ref.key) if table is not None else None
            if table is None or file is None:
                return None
            try:
                differs = difference(table, file, read_footer(path))
            except (OSError, ValueError) as error:
                return "footer-unreadable", f"{error}."
            return None if differs is None else ("footer-differs", differs)

    def _finding(self, reference: Reference, problem: str, message: str) -> Finding:
        kind, _, name = reference.owner.partition("/")
        state = self._state.catalog.get(reference.owner)
        held = state is not None and state.suspended is not None and state.suspended.holds(self._state.clock())
        mend = f"lakectl resync {name}" if kind == "Dataset" else f"lakectl reconcile {reference.owner}"
        if held:
            mend = f"lakectl resume {reference.owner}, since it is suspended, then {mend}"
        if problem == "bucket-unknown":
            mend = f"declare Bucket/{reference.ref.bucket} and commit it"
        elif state is not None and state.retained:
            mend = f"restore it from a copy, or declare {reference.owner} again and run `{mend}`"
        return Finding(f"{reference.ref.bucket}/{reference.ref.key}", problem, message, mend, reference.owner, reference.ref.size)

    def _listing(self, bucket: str) -> Mapping[str, ObjectInfo] | None:
        """What lies in a bucket; None where it cannot be listed. An unknown one is empty: each of its objects is told."""
        if bucket not in self._listings:
            try:
                self._listings[bucket] = {info.key: info for info in listed(self._state.buckets.store(bucket))}
            except BucketUnknown:
                self._listings[bucket] = {}
            except StateError as error:
                self._report.unchecked.append((bucket, error.explain()))
                self._listings[bucket] = None
        return self._listings[bucket]

    def _unreferred(self) -> None:
        now = self._state.clock()
        kept = [place for value in JobResults(self._state.place.cache / "jobs").values() for place in places_in(value)]
        longest = self._retention.longest if self._grace is None else self._grace
        finder = Finder(self._state.catalog, self._state.buckets.configs(), ago(now, longest), kept)
        self._report.doubtful |= {entry.seq for entry in finder.unread}
        listings = [(bucket, (self._listing(bucket) or {}).values()) for bucket, _ in attached(self._state.buckets)]
        self._state.catalog.refresh()  # an owner is known before anything is stored for it
        for bucket, infos in listings:
            for found in finder.find(bucket, infos):
                age, place = max(0.0, now.timestamp() - found.since), f"{bucket}/{found.key}"
                known = found.known or self._state.catalog.view().peek(found.owner) is not None
                if known and age < (self._retention.of(bucket) if self._grace is None else self._grace):
                    self._report.waiting.append(Waiting(place, found.owner, found.size, age))
                elif self._still_there(bucket, found.key, found.etag):
                    message = f"Nothing refers to it ({found.size} bytes, {_hours(age)})."
                    mend = _COLLECT
                    if not known:
                        message += f" This catalog never knew {found.owner}, so that `lakectl gc` leaves it."
                        mend = f"delete it by hand, if no other lake keeps {found.owner} here"
                    self._report.findings.append(Finding(place, "unreferred", message, mend, found.owner, found.size, age))

    def _still_there(self, bucket: str, key: str, etag: str) -> bool:
        try:
            return self._state.buckets.store(bucket).head(key).etag == etag
        except StateError:
            return False


def difference(table: Table, file: DataFile, footer: Footer) -> str | None:
    """How the catalog's entry and the footer disagree, in a sentence."""
    if footer.rows != file.rows:
        return f"Its footer says {footer.rows} rows, the catalog {file.rows}."
    schema = next((schema for schema in table.schemas if schema.id == file.schema_id), None)
    known = () if schema is None else schema.columns
    if footer.schema.columns != known:
        ours, theirs = (", ".join(f"{c.name} {c.type}" for c in columns) or "none" for columns in (known, footer.schema.columns))
        return f"Its footer says the columns {theirs}; the catalog {ours}."
    return None


def check_segments(store: ObjectStore, report: Report) -> None:
    """Whether streams' segments are what their names say."""
    for stream in STREAMS:
        for month in segments.months(store, stream):
            for segment in segments.listed(store, stream, month):
                report.segments += 1
                try:
                    reading.load(store, segment)
                except ObjectMissing:
                    continue  # compacted meanwhile
                except StreamCorrupt as error:
                    mend = f"restore it from a copy of the state bucket, or delete it to do without these {segment.count} events"
                    report.findings.append(Finding(f"{store.name}/{segment.key}", "segment-damaged", str(error), mend))


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours old" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days old"

"""What a Dataset's plan is made of: the world as it sees it, and the steps; pure data. Next: `plan.py`."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from controllers.dataset.compacting import Compact
from controllers.dataset.evolving import Evolve
from controllers.dataset.files import Listing, SourceFile
from controllers.dataset.freshness import Freshness
from controllers.dataset.origins import Input
from controllers.dataset.refresh import ALWAYS, Slot
from controllers.dataset.standing import SOUND, Standing
from controllers.outcome import Outcome
from controllers.step import Work
from engines.files.formats import work_of
from state.catalog.data_files import DataFile
from state.catalog.schemas import Schema
from state.catalog.tables import Table
from state.mirrors import Copy
from state.objects import ObjectInfo


@dataclass(frozen=True, slots=True)
class Observed:
    """The world as a Dataset sees it.

    Args:
        standing: how the table's data files stand.
        bucket_declared: whether a spec declares the bucket, so that it will be attached soon.
        expired: whether versions or a journal are kept that `keep` gives up.
        compaction: why pending changes are to be folded into the base now, if they are.
        fresh: how old the data is, where `freshness` asks.
        former: the table that `renamedFrom` names, if it exists; `former_wanted` tells whether a spec still asks for it.
        slot: when the source is due. inputs: what a query reads; `blocked` says why it cannot yet.
        against: digest of what the contract refers to in other datasets; `unjudged` says why new rows cannot be judged by them.
    """

    table: Table | None
    listing: Listing
    bucket_attached: bool
    standing: Standing = SOUND
    former: Table | None = None
    former_wanted: bool = False
    bucket_declared: bool = False
    expired: bool = False
    compaction: str | None = None
    slot: Slot = ALWAYS
    inputs: tuple[Input, ...] = ()
    blocked: Outcome | None = None
    against: str = ""
    unjudged: Outcome | None = None
    fresh: Freshness | None = None

    @property
    def damaged(self) -> frozenset[str]:
        """Keys of data files that are missing, or not what they should be."""
        return self.standing.damaged


@dataclass(frozen=True, slots=True)
class Fetch:
    """Copies damaged files back from the rescue bucket."""

    why: str
    copies: tuple[Copy, ...]

    @property
    def work(self) -> Work:
        """Bytes to copy."""
        return Work("mirror", sum(copy.size for copy in self.copies))

    def summary(self) -> str:
        """See `Step`."""
        return f"fetch {names([copy.key for copy in self.copies])} from the rescue bucket"


@dataclass(frozen=True, slots=True)
class Correct:
    """Replaces what the catalog says of files by what is so; `schema` is the current one from then on, if that was wrong."""

    why: str
    files: tuple[DataFile, ...]
    schema: Schema | None = None
    work: Work | None = None

    def summary(self) -> str:
        """See `Step`."""
        return f"correct the entries of {names([file.key for file in self.files])}"


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Ends versions, and files of the journal, that `keep` asks for no longer, or whose objects nobody has (`gone`, with the ledgers among
    them). What only they had becomes garbage."""

    why: str = "`keep` has ended"
    gone: frozenset[str] = frozenset()
    work: Work | None = None

    def summary(self) -> str:
        """See `Step`."""
        return "do without what is lost of the past" if self.gone else "give up old versions or journal"


@dataclass(frozen=True, slots=True)
class TakeUp:
    """A retained table is managed again, or moves here from its former name (`source`)."""

    why: str
    source: str | None = None
    work: Work | None = None

    def summary(self) -> str:
        """See `Step`."""
        return f"take over the table of {self.source}" if self.source else "take up the retained table"


@dataclass(frozen=True, slots=True)
class Identify:
    """Reads objects of a bucket for their digests, by which copies and renamed ones are told from new ones."""

    bucket: str
    objects: tuple[ObjectInfo, ...]
    why: str = "objects are new or were replaced"

    @property
    def work(self) -> Work | None:
        """Bytes to read."""
        return Work("identify", sum(info.size for info in self.objects))

    def summary(self) -> str:
        """See `Step`."""
        return f"look into {names([f'{self.bucket}/{info.key}' for info in self.objects])}"


@dataclass(frozen=True, slots=True)
class Follow:
    """Makes the table follow its files, in one catalog entry.

    Args:
        transformation: digest of all that decides what a file becomes.
        ingest: files to read, in lexical order of their paths.
        bind: files whose content the table holds already.
        gone: paths that vanished and keep their rows; `unbind`: paths whose binding ends.
        renew: files whose content the table holds and whose rows become the newest again (upsert).
        repair: content digests whose data files are damaged and are written again, or whose rows are judged again.
        dismiss: paths whose refusal says nothing any more, since they are gone.
        reset: the table is made anew by another transformation; nothing of it is kept.
        slot: the instant of the schedule that it honours, "" for none.
        inputs: what a query reads. adds: no rows leave with a path's former content.
    """

    why: str
    transformation: str
    ingest: tuple[SourceFile, ...] = ()
    bind: tuple[SourceFile, ...] = ()
    gone: tuple[str, ...] = ()
    unbind: tuple[str, ...] = ()
    renew: tuple[SourceFile, ...] = ()
    repair: frozenset[str] = field(default_factory=frozenset)
    dismiss: tuple[str, ...] = ()
    reset: bool = False
    slot: str = ""
    inputs: tuple[Input, ...] = ()
    adds: bool = False

    @property
    def work(self) -> Work | None:
        """Bytes to read, of a format that takes longer so many more."""
        return Work("ingest", sum(work_of(file.path, file.size) for file in self.ingest)) if self.ingest else None

    def summary(self) -> str:
        """See `Step`."""
        parts = []
        if self.ingest:
            parts.append(f"ingest {names([file.path for file in self.ingest])}")
        if self.bind or self.unbind or self.renew:
            paths = dict.fromkeys([*(file.path for file in (*self.bind, *self.renew)), *self.unbind])
            parts.append(f"rebind {names(list(paths))}")
        if self.gone:
            parts.append(f"note that {names(self.gone)} is gone")
        if self.dismiss:
            parts.append(f"forget that {names(self.dismiss)} was refused")
        return ", ".join(parts) or ("note that nothing changed" if self.slot else "commit the table")


DatasetStep = TakeUp | Fetch | Correct | Identify | Evolve | Follow | GiveUp | Compact
"""What a Dataset's plan is made of."""


def names(paths: Sequence[str], most: int = 3) -> str:
    """Some of them, and how many more."""
    shown = ", ".join(paths[:most])
    return shown if len(paths) <= most else f"{shown} and {len(paths) - most} more"

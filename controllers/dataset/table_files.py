"""The files of a table as a job is told of them: local ones by their paths, verified; remote ones by what they are, for the job to fetch.

So a visit downloads nothing, and a job that is planned again is the same job, whatever is in the cache by then. Next:
`engines/files/former_parts.py`, which fetches.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from engines.files.object_place import ObjectPlace, Remote
from engines.sql.readings import PartFile, Reading, reading
from state.buckets import Buckets
from state.catalog.data_files import DataFile
from state.catalog.tables import Table
from state.errors import ObjectCorrupt, ObjectMissing
from state.failures import BucketFailure
from state.objects import Found, ObjectRef
from state.reader import ObjectReader


@dataclass(frozen=True, slots=True)
class TableFiles:
    """Blocking. Raises BucketUnknown, and of local files what reading them raises."""

    buckets: Buckets
    objects: ObjectReader

    def part(self, ref: ObjectRef, how: Reading | None = None) -> PartFile:
        """One object. Raises ObjectMissing, ObjectCorrupt of a local one."""
        if self.objects.copy_of(ref) is None:
            return PartFile(str(self.objects.path(ref)), how)
        return PartFile("", how, self.remote(ref))

    def parts(self, table: Table, files: Sequence[DataFile]) -> tuple[PartFile, ...]:
        """Those files of the table, under its columns; none of them where one is known to be lost or damaged."""
        if any(file.lost for file in files):
            return ()
        try:
            return tuple(self.part(file.ref, reading(table.schemas, file.schema_id, table.schema)) for file in files)
        except (ObjectMissing, ObjectCorrupt):
            return ()

    def remote(self, ref: ObjectRef) -> Remote:
        """What a job needs to fetch it."""
        bucket = self.buckets.config(ref.bucket)
        rescue = self.buckets.configs().get(bucket.rescue) if bucket.rescue is not None else None
        return Remote(ref, ObjectPlace(bucket, str(self.objects.cache_dir), self.objects.max_bytes, rescue))


@dataclass(frozen=True, slots=True)
class LinkedFiles:
    """See `engines.sql.views.Files`: links of a view to remote objects lead to where they will be in the cache; `remote` has them then."""

    files: TableFiles
    remote: list[Remote] = field(default_factory=list)

    def find(self, ref: ObjectRef) -> Found:
        """Downloads nothing."""
        copy = self.files.objects.copy_of(ref)
        if copy is None:
            return self.files.objects.find(ref)
        self.remote.append(self.files.remote(ref))
        return Found(copy)

    def again(self, failure: BucketFailure) -> None:
        """See `Files`."""
        self.files.objects.again(failure)

"""The reconciler's errors, a branch of `specs.errors.LakehouseError`.

LakehouseError
└── ReconcilerError
    ├── SourceUnavailable   the repository or directory cannot be read; the last good specs stay in force
    ├── RevisionUnknown     a revision or ref that the repository does not hold
    ├── SettingsInvalid     lakehouse.yaml (or an environment variable) cannot be used
    ├── StateBucketMissing  the specs name no bucket that could hold the state
    ├── CatalogLost         there was a catalog, and there is none
    ├── CatalogReadable     a catalog is there, so that none is made from files
    └── DaemonRefused       a running daemon declined what was asked of it
"""

from specs.errors import LakehouseError


class ReconcilerError(LakehouseError):
    """Base of what the reconciler raises."""

    slug = "reconciler-error"


class SourceUnavailable(ReconcilerError):
    """The source of specs cannot be read now; what was read last stays in force."""

    slug = "source-unavailable"


class RevisionUnknown(ReconcilerError):
    """No such revision or ref in the repository."""

    slug = "revision-unknown"


class SettingsInvalid(ReconcilerError):
    """A setting cannot be used; the message names the place."""

    slug = "settings-invalid"


class StateBucketMissing(ReconcilerError):
    """The bucket that settings name for the state is not declared by any spec."""

    slug = "state-bucket-missing"


class CatalogLost(ReconcilerError):
    """There was a catalog in the state bucket, named by `bucket`, and is none. To begin anew would orphan all that it referred to."""

    slug = "catalog-lost"

    def __init__(self, message: str, *, bucket: str, remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self.bucket = bucket


class CatalogReadable(ReconcilerError):
    """A catalog is there and can be read: it knows more than the tables' files do."""

    slug = "catalog-readable"


class DaemonRefused(ReconcilerError):
    """A running daemon declined a request, or holds another revision."""

    slug = "daemon-refused"

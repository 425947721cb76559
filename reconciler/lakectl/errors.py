"""What `lakectl` refuses by itself; everything else it shows comes from other rooms. Each ends as one sentence and exit code 2.

ReconcilerError
└── LakectlError
    ├── UsageInvalid        a command, option or argument that is none
    ├── NoLakehouse         no repository here, or none that anybody has reconciled
    ├── ObjectUnknown       no object of this name
    ├── DaemonUnreachable   an address was given, and nothing answers there
    ├── DaemonProblem       the daemon answered with a problem document
    ├── InTheWay            a file that would be overwritten
    └── GitRefused          git did not do what was needed
"""

from reconciler.errors import ReconcilerError


class LakectlError(ReconcilerError):
    """Base of what the command line raises."""

    slug = "lakectl-error"


class UsageInvalid(LakectlError):
    """The command line cannot be understood."""

    slug = "usage-invalid"


class NoLakehouse(LakectlError):
    """There is no lakehouse to look at."""

    slug = "no-lakehouse"


class ObjectUnknown(LakectlError):
    """Nothing is known of an object of this name."""

    slug = "object-unknown"


class DaemonUnreachable(LakectlError):
    """Nothing answers at the daemon's address."""

    slug = "daemon-unreachable"


class DaemonProblem(LakectlError):
    """A problem document: `type` is its stable slug."""

    slug = "daemon-problem"

    def __init__(self, message: str, *, type: str, status: int, remedy: str | None = None) -> None:  # noqa: A002
        super().__init__(message, remedy=remedy)
        self.type = type
        self.status = status


class InTheWay(LakectlError):
    """Something exists where something new was to be written."""

    slug = "in-the-way"


class GitRefused(LakectlError):
    """A git command failed, or the work tree is in no state for it."""

    slug = "git-refused"

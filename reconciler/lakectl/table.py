"""Every command in one table: what `lakectl --help` lists, without importing any of them."""

from dataclasses import dataclass
from typing import Literal

Needs = Literal["daemon", "no daemon", "either", "request"]

NEEDS: dict[Needs, str] = {
    "daemon": "Needs a running daemon.",
    "no daemon": "Needs no running daemon.",
    "either": "Asks a running daemon, and works without one.",
    "request": "Asks a running daemon; without one the next that starts does it.",
}


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its module below `reconciler.lakectl.commands`, and one line about it. reads: whether it may read as a profile."""

    name: str
    module: str
    summary: str
    needs: Needs
    group: str
    reads: bool = False


_START, _FOLLOW, _LOOK, _READ, _STEER, _LEARN = (
    "Begin",
    "Make it happen",
    "See what is",
    "Read data",
    "Step in",
    "Find out more",
)

COMMANDS: tuple[Command, ...] = (
    Command("init", "init", "make a new repository of specs", "no daemon", _START),
    Command("try", "try_file", "a data file in, a lakehouse and a first answer out", "no daemon", _START),
    Command("infer", "infer", "a Dataset spec of data files, to look at and commit", "no daemon", _START),
    Command("daemon", "daemon", "follow the repository and answer over HTTP", "no daemon", _FOLLOW),
    Command("apply", "apply", "reconcile until it matches, in the foreground", "either", _FOLLOW),
    Command("plan", "plan", "what would change, why, and what it costs", "no daemon", _FOLLOW),
    Command("migrate", "migrate", "draft and show a migration on real rows", "no daemon", _FOLLOW),
    Command("undo", "undo", "revert the last commit of specs and follow it", "either", _FOLLOW),
    Command("status", "status", "one row an object: state, reason, revisions, age", "either", _LOOK),
    Command("get", "get", "the objects of a kind, with what counts for it", "either", _LOOK),
    Command("describe", "describe", "all that is known of one object", "either", _LOOK, reads=True),
    Command("why", "why", "what an object waits for, down to the one blocker", "either", _LOOK),
    Command("events", "events", "what happened, and why", "either", _LOOK),
    Command("buckets", "buckets", "the buckets, and how each does when it is tried", "either", _LOOK),
    Command("models", "models", "models, which are in memory, and who names them", "either", _LOOK),
    Command("errors", "errors", "what failed in which bucket", "either", _LOOK),
    Command("fsck", "fsck", "whether catalog and buckets agree", "no daemon", _LOOK),
    Command("wait", "wait", "until objects are ready, or gone", "either", _LOOK),
    Command("audit", "audit", "who read what, and is that what was written?", "either", _READ),
    Command("can-i", "can_i", "may a role or profile query, search, describe?", "either", _READ),
    Command("query", "query", "run one read-only SQL statement", "either", _READ, reads=True),
    Command("policy", "policy", "run the cases beside policies", "either", _READ),
    Command("quarantine", "quarantine", "rows that a contract set aside, and why", "either", _READ),
    Command("export", "export", "all rows of a dataset as one file", "no daemon", _READ, reads=True),
    Command("files", "files", "the files that a dataset consists of", "no daemon", _READ),
    Command("diff", "diff", "rows that differ between two versions", "no daemon", _READ),
    Command("replay", "replay", "is a version what the journal says?", "no daemon", _READ),
    Command("trials", "trials", "what was measured of an index, and the front", "either", _READ),
    Command("search", "search", "find texts of an index by meaning", "either", _READ, reads=True),
    Command("row", "row", "set or delete one row of a dataset", "either", _STEER),
    Command("reconcile", "reconcile", "look at an object again, now", "either", _STEER),
    Command("resync", "resync", "compare a dataset's files with the catalog, mend", "daemon", _STEER),
    Command("suspend", "suspend", "leave an object alone for a while", "either", _STEER),
    Command("resume", "resume", "look after a suspended object again", "either", _STEER),
    Command("trial", "trial", "measure a recipe of an index by hand", "request", _STEER),
    Command("promote", "promote", "another generation answers for an index", "either", _STEER),
    Command("rollback", "rollback", "what answered before answers again", "either", _STEER),
    Command("gc", "gc", "remove what nothing refers to any more", "either", _STEER),
    Command("rebuild", "rebuild", "the catalog from the tables' files, if it is lost", "no daemon", _STEER),
    Command("approve", "approve", "let a held plan go ahead", "either", _STEER),
    Command("compact", "compact", "fold the segments of a stream into few objects", "either", _STEER),
    Command("explain", "explain", "the fields of a kind, the reasons, what a role sees", "either", _LEARN),
    Command("schema", "schema", "JSON Schemas of all kinds, for editors", "no daemon", _LEARN),
    Command("completion", "completion", "completion for bash, zsh or tcsh", "no daemon", _LEARN),
    Command("version", "version", "the version of this program", "no daemon", _LEARN),
    Command("help", "help", "about lakectl, or about one command", "no daemon", _LEARN),
)


def find_command(name: str) -> Command | None:
    """The command of exactly this name."""
    return next((command for command in COMMANDS if command.name == name), None)

"""`lakectl rollback`: what answered for an index before, answers again."""

import argparse

from reconciler.lakectl import promoting
from reconciler.lakectl.options import Parser
from reconciler.lakectl.session import Session

USAGE = "INDEX [GENERATION] [--write-spec] [--reason TEXT]"
DESCRIPTION = """
Let exactly what served before serve again, build, model and search parameters, with the rows of
now; or the newest former build of a generation. It stays until another is chosen. `keep` in the spec of
the Index says how many builds there are to go back to. With --write-spec the generation is written
into the spec and committed.
"""
EXAMPLES = """
lakectl rollback resumes --reason "worse hits since this morning"
lakectl rollback resumes resumes-g1 --reason "g2 misses names"
"""


def options(parser: Parser) -> None:
    """Which index, to what, why."""
    promoting.add_options(parser, generation="whose former build is to answer; left out, what served before")


def run(args: argparse.Namespace, session: Session) -> int:
    """0 done or queued, 1 refused or failed. Raises UsageInvalid, GitRefused, ObjectUnknown."""
    return promoting.run(args, session, "rollback")

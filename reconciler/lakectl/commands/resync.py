"""`lakectl resync`: a dataset's files compared with the catalog, and mended."""

import argparse

from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.names import find_object
from reconciler.lakectl.options import Parser
from reconciler.lakectl.request_command import add_request_options, carry_out
from reconciler.lakectl.session import Session

USAGE = "DATASET | --missing [--reason TEXT] [--timeout DURATION] [-o FORMAT]"
DESCRIPTION = """
Have every data file of a dataset read again, and its sources. A missing or damaged one is fetched
from the rescue bucket, else made again from its source; where neither has it, the dataset is
Stalled, names the file and the rows lost, and the rest stays readable. What the catalog says of a
file is corrected by its Parquet footer. --missing takes every dataset that lacks a file. The answer
comes before the work is done: `lakectl wait` waits for it. Where no daemon runs the request is
queued, and the next one or `lakectl apply` carries it out.
"""
EXAMPLES = """
lakectl resync candidates
lakectl resync --missing
"""


def options(parser: Parser) -> None:
    """Which dataset."""
    parser.add_argument("dataset", nargs="?", metavar="DATASET", help="its name, or Dataset/NAME")
    parser.add_argument("--missing", action="store_true", help="every dataset of which a file is missing or has another size")
    add_request_options(parser, reason="asked for")


def run(args: argparse.Namespace, session: Session) -> int:
    """0 done, 1 refused or failed. Raises UsageInvalid."""
    if (args.dataset is not None) is args.missing:
        raise UsageInvalid("lakectl resync needs a dataset, or --missing.", remedy="Write it as `lakectl resync candidates`.")
    if args.missing:
        return carry_out(session, args, "resync", "")
    name = find_object(args.dataset if "/" in args.dataset else f"Dataset/{args.dataset}", session)
    if not name.startswith("Dataset/"):
        raise UsageInvalid("lakectl resync is for datasets.", remedy=f"`lakectl reconcile {name}` looks at what it has.")
    return carry_out(session, args, "resync", name)

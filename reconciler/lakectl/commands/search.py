"""`lakectl search`: texts of an index nearest in meaning, by their words, or both."""

import argparse
from collections.abc import Mapping
from typing import Any

from reconciler.lakectl.given_text import given_text
from reconciler.lakectl.options import Parser, add_output, count
from reconciler.lakectl.output import emit
from reconciler.lakectl.reading_here import search_document
from reconciler.lakectl.result_table import caveats, facets_table, hits_table, stages_table
from reconciler.lakectl.session import Session
from reconciler.lakectl.side_by_side import side_by_side

USAGE = "INDEX TEXT [-k N] [--filter SQL] [--mode MODE] [--at VERSION|TIME] [--model NAME | --ab A B] [-o FORMAT]"
DESCRIPTION = """
Find the texts of an index that are nearest in meaning to TEXT (`-` reads it from standard input).
The score is the cosine similarity: higher is better, 1 is equal. An index with `lexical: true` is
searched by words as well, and hits are scored by their ranks: 1 is first in both. --mode takes one
of the two alone. --filter takes an SQL condition over the columns of the index's dataset; --facet
tells how many of the rows that pass it, and that the index has, have which value of a column,
whatever TEXT is. With --at hits are rows and texts of a former version of it, searched in the kept build that is nearest; rows
of that version that this build lacks are counted.

An index may have several models: --model searches another than the one that serves. --ab shows two
models, or two generations, side by side, with the share of rows that both found, their rank
correlation, and nDCG where an EvalSet has relevant rows for this very TEXT.
"""
EXAMPLES = """
lakectl search resumes "java developer who knows kubernetes"
lakectl search resumes "warehouse work" -k 3 --filter "city = 'Chicago'"
lakectl search resumes "warehouse work" --facet city --facet status
lakectl search resumes "warehouse work" --at 2026-01-31
lakectl search resumes "ISO 9001 auditor" --mode lexical --by-row --explain
lakectl search resumes "warehouse work" --ab builtin minilm
"""


def options(parser: Parser) -> None:
    """What to find, where, and how much of it."""
    parser.add_argument("index", metavar="INDEX", help="the Index's name")
    parser.add_argument("text", metavar="TEXT", help="what to look for")
    parser.add_argument("-k", type=count, metavar="N", default=10, help="how many hits (default: 10)")
    parser.add_argument("--filter", metavar="SQL", help="only rows for which this holds")
    parser.add_argument("--facet", metavar="COLUMN", action="append", help="count the values of this column among those rows; repeatable")
    parser.add_argument("--mode", choices=("vector", "lexical", "hybrid"), help="by meaning, words or both (default: what the index has)")
    parser.add_argument("--weights", type=_weights, metavar="V:L", help="of meaning and words in mode hybrid (default: 1:1)")
    parser.add_argument("--threshold", type=_threshold, metavar="X", help="the least cosine; or P%%, the share of unrelated pairs to beat")
    parser.add_argument("--by-row", action="store_true", help="only the best text of each row")
    parser.add_argument("--diversity", type=float, metavar="X", help="from 0 to 1: how much a hit is to be unlike those before it")
    parser.add_argument("--rerank", choices=("builtin",), metavar="NAME", help="judge the best again: `builtin`, token by token")
    parser.add_argument("--explain", action="store_true", help="show each stage's best candidates and scores")
    parser.add_argument("--at", metavar="VERSION|TIME", help="a former version: its number, or the one of an instant (ISO 8601, UTC)")
    versions = parser.add_mutually_exclusive_group()
    versions.add_argument("--model", metavar="NAME", help="by this model of the index, not the one that serves")
    versions.add_argument("--ab", metavar=("A", "B"), nargs=2, help="by two of its models or generations, side by side")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """Raises DaemonProblem, EngineError."""
    text = given_text(args.text, "lakectl search: the text")
    name = args.index.partition("/")[2] if args.index.lower().startswith("index/") else args.index
    asked = {"index": name, "text": text, "k": args.k, "filter": args.filter, "model": args.model, "at": args.at}
    asked |= {"mode": args.mode, "weights": args.weights, "threshold": args.threshold, "diversity": args.diversity, "rerank": args.rerank}
    asked |= {"groupBy": "row" if args.by_row else None, "explain": args.explain or None, "ab": args.ab, "facets": args.facet}
    if isinstance(args.threshold, dict) and args.ab is None and args.output == "table":
        asked["explain"] = True  # which tells the cosine that the share comes to
    answer = search_document(session, asked)
    if args.output != "table":
        emit(session.terminal, answer, args.output)
    elif args.ab is not None:
        side_by_side(answer, args.ab, session.terminal)
        for name, side in zip(args.ab, answer["ab"], strict=True) if args.explain else ():
            session.terminal.line(f"\n{name}")
            stages_table(side, session.terminal)
    elif answer["hits"]:
        hits_table(answer, session.terminal)
    else:
        session.terminal.line(f"nothing was found{_below(answer, args.threshold)}")
        caveats(answer, session.terminal)
    if args.output == "table" and args.ab is None:
        facets_table(answer, session.terminal)
    if args.output == "table" and args.explain and args.ab is None:
        stages_table(answer, session.terminal)
    return 0


def _below(answer: Mapping[str, Any], threshold: float | dict[str, float] | None) -> str:
    """What a share came to, where it left nothing."""
    stage = next((stage for stage in answer.get("stages") or () if stage["stage"] == "threshold"), None)
    if stage is None or not isinstance(threshold, dict):
        return ""
    share = f"{100 * threshold['beats']:.10g}%"
    return f": no cosine is at least {stage['cosine']:.3f}, which is what beating {share} of unrelated pairs takes here"


def _weights(given: str) -> dict[str, float]:
    vector, _, lexical = given.partition(":")
    try:
        return {"vector": _positive(vector), "lexical": _positive(lexical)}
    except ValueError:
        raise argparse.ArgumentTypeError(f"{given!r} is no pair of weights, as in 1:0.5") from None


def _threshold(given: str) -> float | dict[str, float]:
    """A cosine, or a share in percent."""
    try:
        if not given.endswith("%"):
            return float(given)
        share = _positive(given[:-1]) / 100
    except ValueError:
        share = 1
    if not share < 1:
        raise argparse.ArgumentTypeError(f"{given!r} is neither a cosine, as in 0.3, nor a share under 100%, as in 99.9%")
    return {"beats": share}


def _positive(given: str) -> float:
    """Raises ValueError."""
    number = float(given)
    if not 0 <= number < float("inf"):
        raise ValueError(given)
    return number

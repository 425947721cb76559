"""`lakectl trials`: what was measured of an index's recipes, as a table and as a picture of the best."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from reconciler.lakectl.errors import UsageInvalid
from reconciler.lakectl.names import find_object
from reconciler.lakectl.options import Parser, add_output, one_of, share
from reconciler.lakectl.output import emit
from reconciler.lakectl.reading_here import search_document, trials_of_index
from reconciler.lakectl.result_table import rows_table
from reconciler.lakectl.session import Session
from reconciler.lakectl.side_by_side import set_comparison
from reconciler.lakectl.trial_plot import plot
from reconciler.lakectl.words import number, size

if TYPE_CHECKING:
    from state.trials import Trial

USAGE = "INDEX [--eval NAME] [--objective OBJECTIVE] [--gate SHARE] [--ab A B] [-o FORMAT]"
DESCRIPTION = """
List the trials of an index: recipes that were built and measured by an EvalSet. Recall is of ten
hits, with its lower bound at 95 %. Of those by the newest answers a picture shows recall and time,
and the best is named: the one with the least time (or build time, or memory) whose recall is above
the gate in both halves of the queries. All of them are in SQL as system.trials.

With --ab two models or generations answer every query of the EvalSet that --eval names, and are
compared: the share of rows that both find, their rank correlation, and nDCG where rows are judged.
"""
EXAMPLES = """
lakectl trials resumes
lakectl trials resumes --objective memory --gate 0.97
lakectl trials resumes --eval resumes-eval -o json
lakectl trials resumes --eval resumes-eval --ab builtin minilm
"""
_HITS = 10
_COLUMNS = (("recipe", "string"), ("recall@10", "string"), ("p95 us", "int64"), ("qps", "int64"), ("build", "string"), ("memory", "string"))


def options(parser: Parser) -> None:
    """Whose trials, and which is best."""
    parser.add_argument("index", metavar="INDEX", help="its name, or Index/NAME")
    parser.add_argument("--eval", metavar="NAME", help="only trials by this EvalSet")
    objectives = ("latencyP95", "buildSeconds", "memory")
    parser.add_argument("--objective", metavar="OBJECTIVE", type=one_of(*objectives), default="latencyP95", help=", ".join(objectives))
    parser.add_argument("--gate", metavar="SHARE", type=share, default=0.9, help="the least recall of the best (default: 0.9)")
    parser.add_argument("--ab", metavar=("A", "B"), nargs=2, help="compare two models or generations by the queries of --eval")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0, whatever there is. Raises UsageInvalid, IndexUnknown, DaemonProblem, and what opening the state raises."""
    from engines.trials.choice import best, comparable, front, passes

    name = find_object(args.index if "/" in args.index else f"Index/{args.index}", session).partition("/")[2]
    if args.ab is not None:
        return _compared(args, session, name)
    found = [trial for trial in trials_of_index(session, name) if args.eval in (None, trial.eval_set)]
    compared = comparable(found, args.eval)
    chosen = best(compared, args.objective, args.gate)
    if args.output != "table":
        document = {"trials": [_document(trial) for trial in found], "best": None if chosen is None else chosen.trial}
        emit(session.terminal, document, args.output)
        return 0
    terminal = session.terminal
    if not found:
        terminal.note("no trials")
        return 0
    rows_table({"columns": [{"name": name, "type": kind} for name, kind in _COLUMNS], "rows": [_row(trial) for trial in found]}, terminal)
    on_front = {trial.trial for trial in front(compared)}
    terminal.line()
    points = [(trial.p95_us, trial.recall_at_10, trial.promoted, trial.trial in on_front) for trial in compared]
    for line in plot(points, terminal):
        terminal.line(line)
    above = number(sum(passes(trial, args.gate) for trial in compared), "trial")
    told = f"best: {_recipe(chosen)}, p95 {chosen.p95_us:,.0f} us" if chosen is not None else "none of them is above the gate"
    for line in terminal.wrap(f"{above} of {len(compared)} by the newest answers above {args.gate:g}; {told}", 0):
        terminal.line(terminal.style(line, "dim"))
    return 0


def _compared(args: argparse.Namespace, session: Session, name: str) -> int:
    if args.eval is None:
        raise UsageInvalid("lakectl trials --ab: name the EvalSet, with --eval.")
    answer = search_document(session, {"index": name, "k": _HITS, "ab": args.ab, "evalSet": args.eval})
    if args.output == "table":
        set_comparison(answer, session.terminal)
    else:
        emit(session.terminal, answer, args.output)
    return 0


def _document(trial: "Trial") -> dict[str, Any]:
    return {part.name: getattr(trial, part.name) for part in fields(trial)}


def _row(trial: "Trial") -> Mapping[str, Any]:
    whole = "" if trial.fidelity >= 1 else f" of {trial.fidelity:.0%}"
    return {
        "recipe": f"{_recipe(trial)}{whole}{' *' if trial.promoted else ''}",
        "recall@10": f"{trial.recall_at_10:.3f} ({trial.recall_low:.3f})",
        "p95 us": round(trial.p95_us),
        "qps": None if trial.qps is None else round(trial.qps),
        "build": None if trial.build_seconds is None else f"{trial.build_seconds:.1f} s",
        "memory": size(trial.memory_bytes),
    }


def _recipe(trial: "Trial") -> str:
    """The generation's name where its spec names the search as well, else engine and parameters."""
    if trial.generation is not None and trial.proposed_by == "spec":
        return trial.generation
    return " ".join([trial.engine, *_parameters([(name, value) for name, value in trial.params.items() if name != "seed"])])


def _parameters(given: Sequence[tuple[str, Any]]) -> list[str]:
    short = {"efConstruction": "efC", "efSearch": "efS"}
    return [f"{short.get(name, name)}={value}" for name, value in given if value is not None]

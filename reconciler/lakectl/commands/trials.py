"""`lakectl trials`: what was measured of an index's recipes, as a table and as a picture of the best."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from reconciler.lakectl.errors import ObjectUnknown, UsageInvalid
from reconciler.lakectl.names import find_object, unknown_object
from reconciler.lakectl.observation import observer
from reconciler.lakectl.options import Parser, add_output, share
from reconciler.lakectl.output import emit
from reconciler.lakectl.reading_here import best_trial_document, search_document, trials_of_index
from reconciler.lakectl.result_table import rows_table
from reconciler.lakectl.session import Session
from reconciler.lakectl.side_by_side import set_comparison
from reconciler.lakectl.trial_plot import plot
from reconciler.lakectl.words import number, size
from specs.resource import own_name

if TYPE_CHECKING:
    from engines.trials.choice import Word
    from state.trials import Trial

USAGE = "INDEX [--profile NAME] [--eval NAME] [--model NAME] [--objective OBJECTIVE] [--gate SHARE] [--ab A B] [-o FORMAT]"
DESCRIPTION = """
List the trials of an index: recipes that were built and measured by an EvalSet. Recall is of ten
hits, with its lower bound at 95 %. Of those by the newest answers a picture shows recall and time,
and the best is named: the one with the least time (or build time, or memory, or several of them by
weights) whose recall is above the gate in both halves of the queries. All of them are in SQL as system.trials.

Trials by other queries, or of other vectors, do not compare. Those of the model that serves are
shown, by the EvalSet that a TrialBudget goes by, else by all, if no other is named. Of several the
worst word counts, as it does for what serves, once all have measured a build. The last line says
which they are, and what others there are.

With --profile the trials are of what that Profile has of the index for itself.

With --ab two models or generations answer every query of the EvalSet that --eval names, and are
compared: the share of rows that both find, their rank correlation, and nDCG where rows are judged.
"""
EXAMPLES = """
lakectl trials resumes
lakectl trials resumes --objective memory --gate 0.97
lakectl trials resumes --objective latencyP95:3,memory:1
lakectl trials resumes --eval resumes-eval -o json
lakectl trials resumes --eval resumes-eval --ab builtin minilm
lakectl trials resumes --profile staffing-recruiter
"""
_HITS = 10
_COLUMNS = (("recipe", "string"), ("recall@10", "string"), ("p95 us", "int64"), ("qps", "int64"), ("build", "string"), ("memory", "string"))


def options(parser: Parser) -> None:
    """Whose trials, and which is best."""
    parser.add_argument("index", metavar="INDEX", help="its name, or Index/NAME")
    parser.add_argument("--profile", dest="owner", metavar="NAME", help="of what this Profile has of the index for itself")
    parser.add_argument("--eval", metavar="NAME", help="trials by this EvalSet")
    parser.add_argument("--model", metavar="NAME", help="trials of this model's vectors")
    objectives = "latencyP95, buildSeconds or memory, or several by weights, as in latencyP95:3,memory:1"
    parser.add_argument("--objective", metavar="OBJECTIVE", type=_objective, default="latencyP95", help=objectives)
    parser.add_argument("--gate", metavar="SHARE", type=share, default=0.9, help="the least recall of the best (default: 0.9)")
    parser.add_argument("--ab", metavar=("A", "B"), nargs=2, help="compare two models or generations by the queries of --eval")
    add_output(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """0, whatever there is. Raises UsageInvalid, EngineError, DaemonProblem, and what opening the state raises."""
    from engines.trials.choice import front, newest_words
    from engines.trials.objective import LATENCY

    name = find_object(args.index if "/" in args.index else f"Index/{args.index}", session).partition("/")[2]
    if args.owner is not None:
        _check_own(name, args.owner, session)
        name = own_name(name, args.owner)
        args.eval = args.eval and own_name(args.eval, args.owner)
    if args.ab is not None:
        return _compared(args, session, name)
    asked = {"objective": args.objective, "gate": str(args.gate), "evalSet": args.eval, "model": args.model}
    answer, every = best_trial_document(session, name, asked), trials_of_index(session, name)
    if args.output != "table":
        emit(session.terminal, _documents(args, answer, every), args.output)
        return 0
    terminal = session.terminal
    if not every:
        terminal.note("no trials")
        return 0
    found = [trial for trial in every if trial.eval_set in answer["evalSets"] and trial.model in (None, answer["model"])]
    columns = (*_COLUMNS, ("by", "string")) if len(answer["evalSets"]) > 1 else _COLUMNS
    rows_table({"columns": [{"name": name, "type": kind} for name, kind in columns], "rows": [_row(trial) for trial in found]}, terminal)
    compared = newest_words(found, answer["evalSets"])
    on_front = {word.trials for word in front(compared)}
    terminal.line()
    points = [(word.cost(LATENCY), word.recall_at_10, word.weakest.promoted, word.trials in on_front) for word in compared]
    for line in plot(points, terminal):
        terminal.line(line)
    for line in terminal.wrap(_footer(args, answer, every, compared), 0):
        terminal.line(terminal.style(line, "dim"))
    return 0


def _objective(text: str) -> str:
    """An argument's type: what is made small, in words."""
    from engines.trials.objective import weights_of

    try:
        weights_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _check_own(index: str, owner: str, session: Session) -> None:
    """Raises ObjectUnknown where the profile has nothing of the index for itself, with why."""
    known = [status.object for status in observer(session).look().statuses]
    if f"Index/{own_name(index, owner)}" in known:
        return
    for name in (f"Index/{index}", f"Profile/{owner}"):
        if name not in known:
            raise unknown_object(name, known)
    remedy = f"`lakectl trials {index}` shows what was measured of them; another model, engine or bucket in the Profile gives it its own."
    raise ObjectUnknown(f"Profile/{owner} has no builds of Index/{index} of its own: it shares the index's.", remedy=remedy)


def _documents(args: argparse.Namespace, answer: Mapping[str, Any], every: "Sequence[Trial]") -> dict[str, Any]:
    """All trials but where some are named; the best is by the EvalSets and the model that are told."""
    found = [trial for trial in every if args.eval in (None, trial.eval_set) and args.model in (None, trial.model)]
    best = answer["best"]
    about = {"best": None if best is None else best["trial"], "evalSets": answer["evalSets"], "model": answer["model"]}
    return {"trials": [_document(trial) for trial in found], **about}


def _footer(args: argparse.Namespace, answer: Mapping[str, Any], every: "Sequence[Trial]", compared: "Sequence[Word]") -> str:
    """How many are above the gate, by what, the best of them, and by what else something was measured."""
    from engines.trials.basis import models_of
    from state.trials import Trial

    models, best = models_of(every), answer["best"]
    of_model = f" with {answer['model']}" if len(models) > 1 else ""
    by = f"the newest answers of {' and '.join(answer['evalSets'])}{of_model}"
    said = f"{number(answer['above'], 'trial')} of {answer['compared']} by {by} above {args.gate:g}"
    if best is not None:
        own = (trial for word in compared if word.weakest.trial == best["trial"] for trial in word.trials)
        p95 = max((trial.p95_us for trial in own), default=best["p95_us"])
        said += f"; best: {_recipe(Trial.from_row(best))}, p95 {p95:,.0f} us"
    elif compared:
        said += f"; {_nearest(compared)}"
    others = [name for name in sorted({trial.eval_set for trial in every}) if name not in answer["evalSets"]]
    more = [f"--eval {name}" for name in others] + [f"--model {name}" for name in models if name != answer["model"]]
    return said + (f"; more with {' or '.join(more)}" if more else "")


def _nearest(compared: "Sequence[Word]") -> str:
    """What the surest of them lacks, where none is above the gate."""
    word = max(compared, key=lambda word: word.sure_recall)
    trial, low = word.weakest, word.sure_recall
    halves = [0.0 if half is None else half["low"] for half in trial.detail.get("halves", ())]
    where = f" in the {('first', 'second')[halves.index(low)]} half of the queries" if low in halves and low < trial.recall_low else ""
    return f"none is above the gate in both halves of the queries: {_recipe(trial)} has {trial.recall_at_10:.3f}, at least {low:.3f}{where}"


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
        "by": trial.eval_set,
    }


def _recipe(trial: "Trial") -> str:
    """The generation's name where its spec names the search as well, else engine and parameters."""
    if trial.generation is not None and trial.proposed_by == "spec":
        return trial.generation
    return " ".join([trial.engine, *_parameters([(name, value) for name, value in trial.params.items() if name != "seed"])])


def _parameters(given: Sequence[tuple[str, Any]]) -> list[str]:
    short = {"efConstruction": "efC", "efSearch": "efS"}
    return [f"{short.get(name, name)}={value}" for name, value in given if value is not None]

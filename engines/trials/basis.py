"""By which EvalSets and model the trials of an index compare, where nobody names them; pure.

The model is the one that serves. Of its EvalSets it is the one that a TrialBudget went by last, since that decides what serves; else all
that the index has answers of, of which the worst counts, as it does for what serves. Without answers, as after the last EvalSet was
removed, it is that of the newest trial.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from engines.errors import ModelMismatch, SearchInvalid
from engines.trials.choice import Word, newest_words
from state.catalog.indexes import IndexRecord
from state.trials import Trial

_BUDGET = "TrialBudget/"


class Basis(NamedTuple):
    """What trials compare by; empty and None where nothing was measured. words: by the newest answers of all, at full fidelity."""

    eval_sets: Sequence[str]
    model: str | None
    words: Sequence[Word]


def basis(trials: Sequence[Trial], record: IndexRecord, eval_set: str | None = None, model: str | None = None) -> Basis:
    """trials: of the index, in the order in which they were measured. Raises as `check_names` does."""
    whole = [trial for trial in trials if trial.fidelity >= 1]
    check_names(trials, record, eval_set, model)
    model = model or next(iter(record.answers), None) or (whole[-1].model if whole else None)
    own = [trial for trial in whole if model is None or trial.model in (None, model)]
    eval_sets = [eval_set] if eval_set is not None else _eval_sets(own, record)
    return Basis(eval_sets, model, newest_words(own, eval_sets))


def models_of(trials: Iterable[Trial]) -> list[str]:
    """By name."""
    return sorted({trial.model for trial in trials if trial.model is not None})


def check_names(trials: Sequence[Trial], record: IndexRecord, eval_set: str | None, model: str | None) -> None:
    """Raises SearchInvalid for an EvalSet and ModelMismatch for a model that the index has not, with those that it has."""
    sets: Mapping[str, object] = dict.fromkeys([*record.truths, *(trial.eval_set for trial in trials)])
    if eval_set is not None and eval_set not in sets:
        there = f"Those of the index are {', '.join(sorted(sets))}." if sets else "The index has none; declare an EvalSet of it."
        raise SearchInvalid(f"Nothing of index {record.name} is measured by an EvalSet {eval_set!r}.", remedy=there)
    names = sorted({*record.answers, *models_of(trials)})
    if model is not None and model not in names:
        there = f"Those of the index are {', '.join(names)}." if names else "The index answers by none yet."
        raise ModelMismatch(f"Nothing of index {record.name} is measured by a model {model!r}.", remedy=there)


def _eval_sets(own: Sequence[Trial], record: IndexRecord) -> list[str]:
    names = {trial.eval_set for trial in own}
    current = sorted(name for name in record.truths if name in names)
    budget = (trial.eval_set for trial in reversed(own) if trial.proposed_by.startswith(_BUDGET))
    named = next((name for name in budget if name in current), None)
    if named is not None:
        return [named]
    return current or [trial.eval_set for trial in own[-1:]]

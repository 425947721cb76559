"""What jobs of eval sets run: tasks in, results out, as JSON. Blocking, in whatever process the executor chose.

Next: `truth.py` and `measure.py` for the work itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.embedding.registry import of_job
from engines.ollama.calls import counting
from engines.trials import measure as measuring
from engines.trials.measure import MeasureTask
from engines.trials.truth import TruthTask, make_truth
from engines.vectors.engine import Progress


@counting
def truth(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """A `TruthTask` in, an `EvalTruth` out. Raises what `make_truth` raises."""
    return make_truth(TruthTask.from_dict(of_job(arguments)), progress).to_dict()


def measure(arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """A `MeasureTask` in, `measured` for each of its searches out. Raises what `measure.run` raises."""
    return {"measured": measuring.run(MeasureTask.from_dict(arguments), progress)}

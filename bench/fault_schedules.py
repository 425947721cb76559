"""Plays seeded schedules of faults and counts what they did: `python -m bench.fault_schedules [--first N] [--count N]`.

No figure of speed: the result says which faults were injected into how many runs, and which invariants were found broken. One seed alone
tells its story. The schedules are the tests'; see `tests/faults/harness_world.py`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from bench.report import Stopwatch, write

TESTS = Path(__file__).parent.parent / "tests" / "faults"
ALL = 10_000


def main() -> int:
    """Returns 1 if an invariant was broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=ALL)
    chosen = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    from harness_world import play_all

    seeds = range(chosen.first, chosen.first + chosen.count)
    if chosen.count == 1:
        return _tell(chosen.first)
    with Stopwatch() as watch:
        counts, violations = play_all(seeds)
    done = {name.removeprefix("done: "): count for name, count in sorted(counts.items()) if name.startswith("done: ")}
    figures = {
        "schedules": len(seeds),
        "first_seed": seeds.start,
        "last_seed": seeds.stop - 1,
        "violations": [violation.partition("\n")[0] for violation in violations],
        "operations": counts["operations"],
        "acknowledged": done,
        "faults": {name: count for name, count in sorted(counts.items()) if name != "operations" and not name.startswith("done: ")},
        "seconds": round(watch.wall, 1),
    }
    write("fault_schedules", figures, seed=seeds.start, data="seeded schedules of tests/faults/harness_world.py", threads=os.cpu_count())
    return 1 if violations else 0


def _tell(seed: int) -> int:
    from harness_world import play

    with tempfile.TemporaryDirectory() as folder:
        print("\n".join(play(seed, Path(folder)).story))
    return 0


if __name__ == "__main__":
    sys.exit(main())

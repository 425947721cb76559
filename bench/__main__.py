"""Runs the benchmarks, each in a process of its own, and prints every figure beside its bar: `python -m bench [NAME …]`.

A name is that of a module here; its options follow after `--`. Next: `report.py` for what each leaves behind, `bars.py` for the verdicts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

from bench.bars import table
from bench.calibrate import calibrate
from bench.report import BEFORE, RESULTS

NAMES = (
    "bootstrap",  # first: it makes files by the thousand, which is slow for minutes after others have removed theirs
    "ingest",
    "postgres",
    "query",
    "policy",
    "search",
    "embedding",
    "filtered_search",
    "hybrid_search",
    "exact_search",
    "tuner",
    "tuned_serving",
    "unattended",
    "swap",
    "profile_switch",
    "million",
    "commit_to_ready",
    "unrelated_commit",
    "idle",
    "serving",
    "http_overhead",
    "access",
    "isolation",
    "thread_hop",
    "stream_append",
    "audit",
    "cli",
    "catalog_entry",
    "object_route",
    "rescue",
    "first_query",
    "staffing",
    "tpch",
    "upsert",
    "reingest",
    "fault_schedules",
    "lance",  # last: four indexes of a million vectors
)


def main() -> int:
    """Returns 1 if a benchmark failed; a bar that is missed is a finding, not a failure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    names, _, more = _split(sys.argv[1:])
    chosen = parser.parse_args(names).names or NAMES
    if unknown := [name for name in chosen if name not in NAMES]:
        parser.error(f"no benchmark is called {unknown[0]}; there are {', '.join(NAMES)}")
    bars, failed = [], []
    for name in chosen:
        print(f"== {name}", flush=True)
        (RESULTS / f"{name}.json").unlink(missing_ok=True)
        environment = {**os.environ, BEFORE: json.dumps(calibrate())}
        if subprocess.run((sys.executable, "-m", f"bench.{name}", *more), env=environment).returncode != 0:
            failed.append(name)
            continue
        bars += json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")).get("bars", [])
    print()
    print(table(bars))
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _split(words: list[str]) -> tuple[list[str], str, list[str]]:
    at = words.index("--") if "--" in words else len(words)
    return words[:at], "--", words[at + 1 :]


if __name__ == "__main__":
    sys.exit(main())

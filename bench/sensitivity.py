"""How well sensitive columns are found: recall and precision per entity and per column, over columns whose truth is known.

    python -m bench.sensitivity [--seed 7] [--rows 1000000] [--misses]

A column counts as found if what it holds is among what was found in it; per entity, precision is the share of columns it was found in that
hold it. Values are judged one by one, too: the share of an entity's values that its pattern and check accept, and what they accept of all
others. The figures are of a seed that nothing was tuned on (tuning used 1), but of the same makers of values; `held_out` are columns by
names of published schemas, in other locales, that nothing was tuned on. Columns are given alone, without the help of others beside them.

What it costs is the CPU time of an ingest with and without profiling. Real texts: of botocore, and, where it is installed
(`pip install lakehouse[texts]`), of licensedcode-data, 169 MB. Peer: Presidio's recognisers by pattern, where that is installed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench import report
from bench.bars import Bar
from bench.ingest import Ours, timesheets
from bench.sensitive_columns import Truth, botocore_texts, generated, held_out, licence_texts
from engines.files import ingest
from engines.sensitivity.entities import ENTITIES
from engines.sensitivity.finding import Sample, find

SEED = 7
_ROUNDS = 9
Found = Callable[[Truth], frozenset[str]]


def ours(truth: Truth) -> frozenset[str]:
    """The entities found in a column, alone."""
    found = find([Sample(truth.name, truth.type, truth.values[:512])], truth.dataset)
    return frozenset(finding.entity for findings in found.values() for finding in findings)


def judge(columns: Sequence[Truth], found: Sequence[frozenset[str]], entities: Iterable[str]) -> dict[str, Any]:
    """Recall and precision by column, per entity, and over all as sensitive or not."""
    result: dict[str, Any] = {}
    for entity in entities:
        hold = [(truth, entity in each) for truth, each in zip(columns, found, strict=True)]
        positives = [(truth, hit) for truth, hit in hold if truth.entity == entity]
        hits = sum(hit for _, hit in hold)
        by_kind = defaultdict(list)
        for truth, hit in positives:
            by_kind[truth.kind].append(hit)
        result[entity] = {
            "columns": len(positives),
            "recall": _share([hit for _, hit in positives]),
            **{f"recall_{kind}": _share(of) for kind, of in sorted(by_kind.items())},
            "precision": round(sum(hit for truth, hit in hold if hit and truth.entity == entity) / hits, 4) if hits else None,
        }
    sensitive = [(truth.entity is not None, bool(each & set(entities))) for truth, each in zip(columns, found, strict=True)]
    result["any"] = {
        "columns": sum(holds for holds, _ in sensitive),
        "others": sum(not holds for holds, _ in sensitive),
        "recall": _share([hit for holds, hit in sensitive if holds]),
        "precision": _share([holds for holds, hit in sensitive if hit]),
        "false_alarms": _share([hit for holds, hit in sensitive if not holds]),
    }
    return result


def _share(values: Sequence[bool]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def by_value(columns: Sequence[Truth]) -> dict[str, Any]:
    """Of entities that values alone can tell: the share of their values that pass, and how much of what passes is theirs."""
    result = {}
    others = [value for truth in columns if truth.entity is None for value in truth.values]
    for entity in ENTITIES:
        if entity.pattern is None:
            continue
        own = [value for truth in columns if truth.entity == entity.name and truth.kind != "text" for value in truth.values]

        def passes(value: str, entity: Any = entity) -> bool:
            match = entity.pattern.search(value)
            return match is not None and (entity.check is None or entity.check(match[0].strip()))

        right, wrong = sum(map(passes, own)), sum(map(passes, others))
        result[entity.name] = {
            "values": len(own),
            "others": len(others),
            "recall": round(right / len(own), 4),
            "precision": round(right / (right + wrong), 4) if right else None,
        }
    return result


def real(columns: Iterable[Truth]) -> dict[str, Any]:
    """What is found in real texts: false alarms, but in the texts of licences, which do hold addresses."""
    seen, alarms = Counter[str](), Counter[str]()
    examples: dict[str, list[str]] = defaultdict(list)
    for truth in columns:
        place = "licence texts" if truth.kind == "text of licences" else f"{'licences' if truth.dataset == 'licenses' else 'botocore'}"
        seen[place] += 1
        found = ours(truth)
        alarms[place] += bool(found)
        examples[place] += [f"{truth.dataset}.{truth.name}: {entity}" for entity in sorted(found)]
    return {place: {"columns": seen[place], "found_in": alarms[place], "found": examples[place][:20]} for place in seen}


def cost(rows: int) -> dict[str, float]:
    """CPU seconds of an ingest with profiling and without, in turns; the least of each, since other processes only add to it."""
    with tempfile.TemporaryDirectory() as name:
        path, lake = Path(name) / "timesheets.csv", Ours(Path(name) / "lake")
        timesheets(path, rows)
        taken: dict[str, list[float]] = {"with": [], "without": []}
        add = ingest.Profiler.add
        for number in range(_ROUNDS + 1):
            for kind in taken:
                ingest.Profiler.add = add if kind == "with" else _nothing  # type: ignore[method-assign]
                with report.Stopwatch() as watch:
                    lake.run(path)
                if number:
                    taken[kind].append(watch.cpu)
        ingest.Profiler.add = add  # type: ignore[method-assign]
    least = {kind: min(values) for kind, values in taken.items()}
    return {
        "rows": rows,
        "cpu_seconds_with": round(least["with"], 3),
        "cpu_seconds_without": round(least["without"], 3),
        "share": round(1 - least["without"] / least["with"], 3),
    }


def _nothing(*_: object) -> None:
    """In place of looking at rows."""


PRESIDIO: Mapping[str, tuple[str, str]] = {
    "email": ("EmailRecognizer", "EMAIL_ADDRESS"),
    "phone": ("PhoneRecognizer", "PHONE_NUMBER"),
    "ssn": ("UsSsnRecognizer", "US_SSN"),
    "credit card": ("CreditCardRecognizer", "CREDIT_CARD"),
    "iban": ("IbanRecognizer", "IBAN_CODE"),
    "ip address": ("IpRecognizer", "IP_ADDRESS"),
}


def presidio(columns: Sequence[Truth], most: int = 50) -> dict[str, Any] | None:
    """The peer on the same columns, at most so many values of each; a column is found if a tenth of its values score 0.4."""
    if find_spec("presidio_analyzer") is None:
        return None
    from presidio_analyzer import predefined_recognizers

    recognisers = {entity: getattr(predefined_recognizers, name)() for entity, (name, _) in PRESIDIO.items()}
    found, looked = [], 0
    begun = time.process_time()
    for truth in columns:
        values, hits = truth.values[:most], Counter[str]()
        looked += len(values)
        for entity, recogniser in recognisers.items():
            for value in values:
                hits[entity] += any(each.score >= 0.4 for each in recogniser.analyze(value, [PRESIDIO[entity][1]], None))
        found.append(frozenset(entity for entity, count in hits.items() if 10 * count >= len(values)))
    seconds = time.process_time() - begun
    return {"by_column": judge(columns, found, PRESIDIO), "cpu_us_per_value": round(seconds / looked * 1e6, 1)}


def main() -> None:
    """Runs everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--misses", action="store_true", help="list columns that are judged wrongly, and measure nothing else")
    arguments = parser.parse_args()
    columns = list(generated(arguments.seed))
    begun = time.process_time()
    found = [ours(truth) for truth in columns]
    seconds = time.process_time() - begun
    if arguments.misses:
        _list(columns, found)
        return
    names = [entity.name for entity in ENTITIES if any(truth.entity == entity.name for truth in columns)]
    unseen = list(held_out(arguments.seed))
    figures: dict[str, Any] = {
        "by_column": judge(columns, found, names),
        "held_out": judge(unseen, [ours(truth) for truth in unseen], names),
        "by_value": by_value(columns),
        "real_texts": real([*botocore_texts(), *licence_texts()]),
        "cpu_us_per_value": round(seconds / sum(len(truth.values) for truth in columns) * 1e6, 1),
        "ingest": cost(arguments.rows),
    }
    if (peer := presidio(columns)) is not None:
        figures["presidio"] = peer
        figures["ours_on_what_presidio_knows"] = judge(columns, found, PRESIDIO)
    every, unseen_every = figures["by_column"]["any"], figures["held_out"]["any"]
    bars = [
        Bar("sensitive columns found", "share of columns", every["recall"], at_least=True),
        Bar("columns called sensitive that are", "share of columns", every["precision"], at_least=True),
        Bar("the same of columns held out", "share of columns", unseen_every["recall"], at_least=True),
        Bar("columns held out that are called sensitive, that are", "share of columns", unseen_every["precision"], at_least=True),
        Bar("profile and sensitivity, of an ingest's CPU time", "share", figures["ingest"]["share"]),
    ]
    report.write("sensitivity", figures, bars=bars, seed=arguments.seed, data=f"{len(columns)} generated columns in 5 locales, real texts")


def _list(columns: Sequence[Truth], found: Sequence[frozenset[str]]) -> None:
    for truth, each in zip(columns, found, strict=True):
        wanted = frozenset({truth.entity} if truth.entity else ())
        if not wanted <= each or (not wanted and each):
            print(f"{truth.name:<20} {truth.kind:<11} {len(truth.values):>4}  {truth.entity} -> {sorted(each)}  {truth.values[:3]}")
    for truth in (*botocore_texts(), *licence_texts()):
        if each := ours(truth):
            print(f"{truth.dataset}.{truth.name} -> {sorted(each)}")


if __name__ == "__main__":
    main()

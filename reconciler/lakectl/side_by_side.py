"""Two answers to one search beside each other, and how far they agree: `lakectl search --ab`."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from reconciler.lakectl.result_table import caveats
from reconciler.lakectl.terminal import Terminal, fit, fold, one_line
from reconciler.lakectl.words import number

_GAP = 3
_NARROWEST = 30
_INDENT = 4
_TEXT_LINES = 2
_ONLY = "*"


def side_by_side(answer: Mapping[str, Any], names: Sequence[str], terminal: Terminal) -> None:
    """The hits of both, best first, each with its rank, score, row and text; a star for rows that the other lacks."""
    width = max((terminal.width - _GAP) // 2, _NARROWEST)
    one, other = answer["ab"]
    keys = [{hit["key"] for hit in side["hits"]} for side in (one, other)]
    terminal.line(terminal.style(_beside(_title(names[0], one), _title(names[1], other), width, terminal), "bold"))
    terminal.line(terminal.style(terminal.mark("─", "-") * (2 * width + _GAP), "dim"))
    left, right = (_cells(side["hits"], others, width, terminal) for side, others in ((one, keys[1]), (other, keys[0])))
    for first, second in zip_longest(left, right, fillvalue=()):
        for this, that in zip_longest(first, second, fillvalue=""):
            terminal.line(_beside(this, that, width, terminal))
    _agreement(answer["agreement"], terminal)
    stars = sum(hit["key"] not in others for side, others in ((one, keys[1]), (other, keys[0])) for hit in side["hits"])
    versions = ", ".join(f"{name} version {version}" for name, version in one["versions"].items())
    only = f"; {_ONLY} {number(stars, 'hit')} of one alone" if stars else ""
    terminal.line(terminal.style(f"{number(len(one['hits']), 'hit')} and {len(other['hits'])} of {one['index']}; {versions}{only}", "dim"))
    for side in (one, other) if one.get("rescues") != other.get("rescues") or one.get("coverage") != other.get("coverage") else (one,):
        caveats(side, terminal)


def _title(name: str, side: Mapping[str, Any]) -> str:
    """As it was asked for, and what answered, where that is more."""
    others = [part for part in (side["model"], side["generation"]) if part and part != name]
    return f"{name} ({', '.join(others)})" if others else name


def _cells(hits: Sequence[Mapping[str, Any]], others: set[str], width: int, terminal: Terminal) -> list[tuple[str, ...]]:
    """The lines of each hit."""
    cells = []
    for rank, hit in enumerate(hits, 1):
        chunk = f", chunk {hit['chunk']}" if hit["chunk"] else ""
        star = "" if hit["key"] in others else f" {_ONLY}"
        head = f"{rank:>2}  {hit['score']:.3f}  "
        key = terminal.cut(one_line(str(hit["key"])), width - len(head) - len(chunk) - len(star))
        text = fold(one_line(" ".join(hit["text"].split())), width - _INDENT)
        shown = text[:_TEXT_LINES]
        if len(text) > _TEXT_LINES:
            shown[-1] = terminal.cut(f"{shown[-1]} {text[_TEXT_LINES]}", width - _INDENT)
        cells.append((f"{head}{key}{chunk}{star}", *(f"{' ' * _INDENT}{line}" for line in shown)))
    return cells


def _beside(left: str, right: str, width: int, terminal: Terminal) -> str:
    return f"{fit(terminal.cut(left, width), width)}{' ' * _GAP}{terminal.cut(right, width)}".rstrip()


def set_comparison(answer: Mapping[str, Any], terminal: Terminal) -> None:
    """How two answer all queries of an EvalSet."""
    one, other = answer["ab"]
    queries = number(answer["queries"], "query", "queries")
    terminal.line(terminal.style(f"{one} and {other}, {queries} of {answer['evalSet']}, {number(answer['k'], 'hit')} each", "bold"))
    terminal.line(f"overlap of rows    {_figure(answer['overlap'])}")
    terminal.line(f"rank correlation   {_figure(answer['rankCorrelation']):<6}  Kendall's tau-b, from -1 to 1")
    if answer["ndcg"] is None:
        terminal.line("nDCG               none    no query has relevant rows")
        return
    gains, better = [_figure(gain) for gain in answer["ndcg"]], answer["better"]
    judged = number(answer["judged"], "judged query", "judged queries")
    terminal.line(f"nDCG@{answer['k']:<13} {gains[0]}  and {gains[1]}, of {judged}; better for {better[0]} and {better[1]}")


def _agreement(found: Mapping[str, Any], terminal: Terminal) -> None:
    terminal.line()
    terminal.line(f"overlap of rows    {_figure(found['overlap'])}")
    terminal.line(f"rank correlation   {_figure(found['rankCorrelation']):<6}  Kendall's tau-b, from -1 to 1")
    for name, (one, other) in found["ndcg"].items():
        terminal.line(f"nDCG@{found['k']:<13} {_figure(one)}  and {_figure(other)}, judged by {name}")


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"

"""The rows of `lakectl status`: 80 columns, the state and its reason first; what is wrong, and what is too long for its row, is told whole
below."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from reconciler.lakectl.observation import Observation
from reconciler.lakectl.terminal import Terminal, columns, fit, one_line, text_width
from reconciler.lakectl.words import LOOKS, Standing, age, number, reason_words, short, sign, standing
from state import reasons
from state.status import Status

_HEADS = ("OBJECT", "STATE", "COMMIT", "SEEN")
_BEHIND = ("OBJECT", "STATE", "SPEC", "APPLIED", "SEEN")
"""Where something that is applied is not what its spec says."""
_LONGEST_NAME, _SHORTEST_NAME = 28, 12
_BESIDE = 46
"""Columns that the rest of a row takes at least, some of its message included."""
_INDENT = 5


def table(observation: Observation, terminal: Terminal, now: datetime, *, wide: bool = False) -> Iterator[str]:
    """Banner, rows, and a line that counts them."""
    yield from banner(observation, terminal, now)
    if not observation.statuses:
        yield "Nothing is known of any object."
        return
    yield from rows(observation, terminal, now, wide=wide)
    yield ""
    yield summary(observation, terminal)


def banner(observation: Observation, terminal: Terminal, now: datetime) -> Iterator[str]:
    """Who reconciles which commit; loudly, if nobody does."""
    if observation.gone is not None:
        words = observation.gone.words(now)
        if observation.statuses and observation.gone.heartbeat is not None:
            words += " What follows is what was seen last."
        words += " Start it: `lakectl daemon`."
        for line in terminal.wrap(words, 0):
            yield terminal.style(line, "red", "bold")
    if observation.writer is not None:
        yield _writer_line(observation, terminal, now)
    if observation.note:
        for line in terminal.wrap(observation.note, 0):
            yield terminal.style(line, "yellow")
    yield ""


def rows(observation: Observation, terminal: Terminal, now: datetime, *, wide: bool) -> Iterator[str]:
    """A head and a row an object; what is not ready says why below its row, in full sentences; so is told what is too long for it."""
    current = observation.gone is None
    longest = max(min(_LONGEST_NAME, terminal.width - _BESIDE), _SHORTEST_NAME)
    heads = _HEADS if all(status.revision == status.applied_revision for status in observation.statuses) else _BEHIND
    cells = [_cells(status, terminal, now, heads, longest=None if wide else longest, current=current) for status in observation.statuses]
    widths = columns([heads, *cells])
    left = 3 + sum(widths) + 2 * len(widths)
    yield terminal.style("   " + "  ".join(map(fit, heads, widths)).rstrip(), "bold")
    for status, row in zip(observation.statuses, cells, strict=True):
        state = standing(status)
        beside, below = _told(status, state, wide=wide)
        name, word, *commits = (fit(cell, width) for cell, width in zip(row[:-1], widths[:-1], strict=True))
        if not wide and text_width(one_line(beside)) > terminal.width - left:  # nothing of it is left out
            beside, below = "", below or beside
        told = one_line(beside)
        rest = "  ".join((*commits, row[-1].rjust(widths[-1]), told))
        if current:
            yield f"{sign(terminal, state)}  {name}  {terminal.style(word, LOOKS[state].color)}  {rest}".rstrip()
        else:
            yield terminal.style(f"?  {name}  {word}  {rest}".rstrip(), "dim")
        if below:
            yield from terminal.wrap(below, _INDENT)


def _told(status: Status, state: Standing, *, wide: bool) -> tuple[str, str]:
    """What stands beside the figures, and what below them: a ready object needs no second line."""
    if state == "ready":
        plain = status.reason in (reasons.SUCCEEDED, "")
        return (status.message if plain else f"{reason_words(status.reason)}: {status.message}"), ""
    reason = reason_words(status.reason)
    text = reason if not status.message else status.message if status.message.startswith(reason) else f"{reason}: {status.message}"
    return (text, "") if wide or state == "unknown" else ("", text)


def summary(observation: Observation, terminal: Terminal) -> str:
    """`12 objects: 10 ready, 2 stalled`."""
    counts = Counter(standing(status) for status in observation.current())
    words = [f"{counts[state]:,} {look.word.lower()}" for state, look in LOOKS.items() if counts[state]]
    total = sum(counts.values())
    return terminal.style(f"{number(total, 'object')}: {', '.join(words)}", "dim")


def _cells(
    status: Status, terminal: Terminal, now: datetime, heads: tuple[str, ...], *, longest: int | None, current: bool
) -> tuple[str, ...]:
    state = standing(status)
    word = LOOKS[state].word
    shown = word if current or state == "unknown" else f"was {word.lower()}"
    name = status.object if longest is None else terminal.cut(status.object, longest)
    commits = (short(status.revision), short(status.applied_revision)) if heads is _BEHIND else (short(status.revision),)
    return (name, shown, *commits, age(now, status.observed_at))


def _writer_line(observation: Observation, terminal: Terminal, now: datetime) -> str:
    writer = observation.writer
    assert writer is not None
    parts = [f"commit {short(observation.revision)}"] if observation.revision else ["no commit read yet"]
    if writer.url and not writer.pid:  # a reader who is no operator is told of objects alone
        parts = [f"what this reader may know of, by the daemon at {writer.url}"]
    elif writer.url:
        since = f", up {age(now, writer.since)}" if writer.since else ""
        parts.append(f"daemon {writer.pid} at {writer.url}{since}")
    else:
        parts.append(f"`lakectl apply` at work (process {writer.pid})")
    return terminal.style(terminal.mark(" · ", " - ").join(parts), "dim")

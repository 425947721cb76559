"""The rows of `lakectl status`: 80 columns, the state and its reason first, what is wrong in full sentences below."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from reconciler.lakectl.observation import Observation
from reconciler.lakectl.terminal import Terminal, columns, fit
from reconciler.lakectl.words import LOOKS, Standing, age, number, short, sign, standing, state_words
from state.status import Status

_HEADS = ("OBJECT", "SPEC", "APPLIED", "SEEN", "STATE")
_LONGEST_NAME = 34
_MESSAGE_LINES = 3
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
    """A head and a row an object."""
    cells = [_cells(status, terminal, now, wide=wide) for status in observation.statuses]
    widths = columns([_HEADS[:4], *[row[:4] for row in cells]])
    left = 3 + sum(widths) + 2 * len(widths)
    yield terminal.style("   " + "  ".join([*map(fit, _HEADS[:4], widths), _HEADS[4]]), "bold")
    for status, row in zip(observation.statuses, cells, strict=True):
        state: Standing = standing(status)
        current = observation.gone is None
        text = row[4] if current or state == "unknown" else f"was {row[4][:1].lower()}{row[4][1:]}"
        head = f"{fit(row[0], widths[0])}  {fit(row[1], widths[1])}  {fit(row[2], widths[2])}  {row[3].rjust(widths[3])}  "
        told = text if wide else terminal.cut(text, terminal.width - left)
        color = LOOKS[state].color
        if current:
            yield f"{sign(terminal, state)}  {head}{terminal.style(told, color) if state != 'ready' else told}"
        else:
            yield terminal.style(f"{terminal.mark('?', '?')}  {head}{told}", "dim")
        if state not in ("ready", "unknown") and status.message:
            yield from (terminal.wrap(status.message, _INDENT, _MESSAGE_LINES) if not wide else [" " * _INDENT + status.message])


def summary(observation: Observation, terminal: Terminal) -> str:
    """`12 objects: 10 ready, 2 stalled`."""
    counts = Counter(standing(status) for status in observation.current())
    words = [f"{counts[state]:,} {look.word.lower()}" for state, look in LOOKS.items() if counts[state]]
    total = sum(counts.values())
    return terminal.style(f"{number(total, 'object')}: {', '.join(words)}", "dim")


def _cells(status: Status, terminal: Terminal, now: datetime, *, wide: bool) -> tuple[str, ...]:
    state = state_words(status)
    if standing(status) == "ready" and status.message:
        state = f"{state}: {status.message}"
    name = status.object if wide else terminal.cut(status.object, _LONGEST_NAME)
    return (name, short(status.revision), short(status.applied_revision), age(now, status.observed_at), state)


def _writer_line(observation: Observation, terminal: Terminal, now: datetime) -> str:
    writer = observation.writer
    assert writer is not None
    parts = [f"commit {short(observation.revision)}"] if observation.revision else ["no commit read yet"]
    if writer.url:
        since = f", up {age(now, writer.since)}" if writer.since else ""
        parts.append(f"daemon {writer.pid} at {writer.url}{since}")
    else:
        parts.append(f"`lakectl apply` at work (process {writer.pid})")
    return terminal.style(terminal.mark(" · ", " - ").join(parts), "dim")

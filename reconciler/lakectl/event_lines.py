"""An event for people: when, what about, why, in words."""

from reconciler.lakectl.observation import Event
from reconciler.lakectl.terminal import Terminal, fit, one_line
from reconciler.lakectl.words import reason_words
from state.timestamps import from_iso

_OBJECT = 22
_LINES = 3


def event_lines(event: Event, terminal: Terminal, *, indent: int = 0, with_object: bool = True, wide: bool = False) -> list[str]:
    """One line, and up to two more where the message is long, for a warning as many as it takes: what helps comes last. With wide one
    line of any length, with the date."""
    at = from_iso(str(event["at"])).strftime("%Y-%m-%d %H:%M:%S" if wide else "%m-%d %H:%M:%S")
    name = str(event.get("object") or "-")
    shown = f"{name if wide else fit(terminal.cut(name, _OBJECT), _OBJECT)}  " if with_object else ""
    reason, message = reason_words(str(event.get("reason") or "")), str(event.get("message") or "")
    warning = event.get("type") == "Warning"
    color = ("yellow",) if warning else ()
    head = f"{' ' * indent}{terminal.style(at, 'dim')}  {shown}"
    if wide:
        return [f"{head}{terminal.style(reason, *color)}: {one_line(message)}"]
    first, *rest = terminal.wrap(f"{reason}: {message}", indent + len(at) + 2 + len(shown), None if warning else _LINES)
    told = first.lstrip()
    if told.startswith(reason):
        told = terminal.style(reason, *color) + told[len(reason) :]
    return [head + told, *rest]

"""Live progress: one bar and what is at work on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from reconciler.foreground import Progress
from reconciler.lakectl.terminal import Terminal
from reconciler.lakectl.words import number

_EVERY = 0.1
_PLAIN_EVERY = 2.0
_SHOWN = 5


@contextmanager
def progress_shown(terminal: Terminal, clock: Callable[[], float] = time.monotonic) -> Iterator[Callable[[Progress], None]]:
    """Gives what is to be told of progress, as often as it likes."""
    screen = terminal.beside
    if not screen.interactive:
        yield _plain(screen, clock)
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(file=screen.out, no_color=not screen.color, highlight=False)
    with Live(Text("reading the specs …"), console=console, auto_refresh=False, transient=True) as live:
        last = [-_EVERY]

        def told(progress: Progress) -> None:
            now = clock()
            if now - last[0] >= _EVERY:
                last[0] = now
                live.update(Text.from_ansi("\n".join(picture(progress, screen)), no_wrap=True), refresh=True)

        yield told


def picture(progress: Progress, terminal: Terminal) -> list[str]:
    """A bar, and the first few objects at work."""
    width = max(min(terminal.width - 30, 30), 10)
    share = progress.done / progress.total if progress.total else 0.0
    full = round(width * share)
    bar = terminal.style(terminal.mark("━", "=") * full, "green") + terminal.style(terminal.mark("━", "-") * (width - full), "dim")
    lines = [f"{bar}  {progress.done:,} of {number(progress.total, 'object')} ready"]
    for name, message in progress.working[:_SHOWN]:
        told = terminal.cut(message or "at work", terminal.width - len(name) - 4)
        lines.append(f"  {terminal.style(name, 'cyan')}  {told}")
    if len(progress.working) > _SHOWN:
        lines.append(terminal.style(f"  and {number(len(progress.working) - _SHOWN, 'more', 'more')}", "dim"))
    return lines


def _plain(terminal: Terminal, clock: Callable[[], float]) -> Callable[[Progress], None]:
    """A line at most every two seconds, and none a second time: what goes to and fro is no progress."""
    last, before = [clock()], set[str]()

    def told(progress: Progress) -> None:
        working = "; ".join(f"{name}: {message}" if message else name for name, message in progress.working[:2])
        text = f"{progress.done}/{progress.total} ready" + (f"; {working}" if working else "")
        if text not in before and clock() - last[0] >= _PLAIN_EVERY:
            last[0] = clock()
            before.add(text)
            terminal.note(text)

    return told

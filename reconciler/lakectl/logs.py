"""The daemon's log: one line an event on standard error, as text for people or as JSON for collectors."""

import json
import logging
from datetime import UTC, datetime

from reconciler.lakectl.terminal import Terminal

FORMATS = ("text", "json")
_COLORS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


class TextLines(logging.Formatter):
    """`15:51:52 warning  text`; a traceback follows on lines of its own."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        level = self._terminal.style(
            f"{record.levelname.lower():<8}", *([_COLORS[record.levelname]] if record.levelname in _COLORS else [])
        )
        text = f"{self._terminal.style(at, 'dim')} {level} {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class JsonLines(logging.Formatter):
    """`{"at", "level", "logger", "message"}`, and "error" with a traceback, each on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:23] + "Z"
        line = {"at": at, "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def start_log(form: str, level: str, terminal: Terminal) -> None:
    """Takes over the root logger of this process."""
    handler = logging.StreamHandler(terminal.out)
    handler.setFormatter(JsonLines() if form == "json" else TextLines(terminal))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # a client that leaves early is no event of ours
    logging.getLogger("aiohttp").setLevel(logging.WARNING)

"""What was decided about new columns, in one message; pure."""

from collections.abc import Sequence

from engines.files.inference import ColumnGuess

_MOST = 50


def inferred(guesses: Sequence[ColumnGuess]) -> str:
    """Each column with its type and why: "zip: string (text, since …); …"."""
    shown = "; ".join(f"{guess.name}: {guess.type} ({guess.reason})" for guess in guesses[:_MOST])
    return shown if len(guesses) <= _MOST else f"{shown}; and {len(guesses) - _MOST} more, which `lakectl infer` shows"

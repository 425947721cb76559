"""What goes wrong within this package and never leaves it; the other errors are those of `engines/errors.py`."""

from __future__ import annotations

from engines.errors import ModelUnavailable


class TextTooLong(ModelUnavailable):
    """A text has more tokens than the model reads at once: it is cut on our side."""

    slug = "text-too-long"

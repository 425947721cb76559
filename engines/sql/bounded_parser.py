"""sqlglot's parser of PostgreSQL, which gives up once a statement takes it too much.

Where it does not know at once what brackets hold (`ARRAY[…]`, `date (…)`), it tries one thing and goes back to try another: twice the time
for each that stands in another, in the process that everybody asks. What it does for a token of any other statement is one step or two.
Next: `columns_read.py`, the only user.
"""

from __future__ import annotations

from sqlglot import exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.parsers.postgres import PostgresParser

STEPS = 1_000
"""From one token to another, that a statement has at least."""
STEPS_OF_A_TOKEN = 3


class TooMuch(Exception):
    """It takes more steps than it may."""


class _Bounded(PostgresParser):
    left = 0

    def _advance(self, times: int = 1) -> None:
        self.left -= 1
        if self.left < 0:
            raise TooMuch
        super()._advance(times)


def parse(sql: str) -> list[exp.Expr | None]:
    """The statements of a text. Raises TooMuch, and sqlglot's errors."""
    dialect = Postgres()
    tokens = dialect.tokenize(sql)
    parser = _Bounded(dialect=dialect)
    parser.left = STEPS + STEPS_OF_A_TOKEN * len(tokens)
    return parser.parse(tokens, sql)

"""What is known of a table's data files: a fact that `checks.py` finds and `plan.py` decides on."""

from dataclasses import dataclass

from state.catalog.data_files import DataFile
from state.catalog.schemas import Schema
from state.mirrors import Copy


@dataclass(frozen=True, slots=True)
class Standing:
    """How the data files of a table stand.

    Args:
        damaged: keys of files and profiles that are missing, or not what they should be.
        corrected: entries as they should be, where the catalog says otherwise, or has given up a file that is there again.
        schema: the current one as it should be, if that is wrong as well.
        rescuable: the copies that a rescue bucket has of damaged files, and of what is missing of the past.
        forgotten: keys of what is missing of the past, former versions and ledgers, and that nobody has.
    """

    damaged: frozenset[str] = frozenset()
    corrected: tuple[DataFile, ...] = ()
    schema: Schema | None = None
    rescuable: tuple[Copy, ...] = ()
    forgotten: frozenset[str] = frozenset()


SOUND = Standing()
"""Nothing is wrong."""

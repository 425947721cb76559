"""Pages of PDFs that became rows without text, told by the statistics of the table's files; pure. Which they are, `text IS NULL` says."""

from collections.abc import Mapping

from engines.files.formats import named_format
from specs.kinds.dataset import DatasetSpec
from state.catalog.tables import Table


def pages_without_text(spec: DatasetSpec, table: Table) -> Mapping[str, int]:
    """Their number by path; nothing where the spec asks for no OCR."""
    if spec.source.ocr is False:
        return {}
    missing: dict[str, int] = {}
    paths = {b.digest: b.path for b in table.bindings.values() if (spec.source.format or named_format(b.path)) == "pdf"}
    for file in table.files:
        stats = file.columns.get("text")
        if file.source in paths and stats is not None and stats.nulls:
            path = paths[file.source]
            missing[path] = missing.get(path, 0) + stats.nulls
    return missing


def told(missing: Mapping[str, int]) -> str:
    """For the end of a status message; empty where no page is missing."""
    if not missing:
        return ""
    pages, path = sum(missing.values()), min(missing)
    where = path if len(missing) == 1 else f"{path} and {len(missing) - 1} more"
    return f"; {pages:,} page{'s' if pages != 1 else ''} of {where} without text (scanned?): `text IS NULL` names them"

"""What `lakectl infer` prints: a Dataset as YAML, with the reasons as comments, or as a document."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from engines.files.formats import DOCUMENTS, named_format
from engines.files.inference import ColumnGuess
from engines.files.ingest import Inferred
from reconciler.lakectl.first_spec import in_yaml
from reconciler.lakectl.new_repository import EDITOR_LINE
from reconciler.lakectl.terminal import one_line


@dataclass(frozen=True, slots=True)
class Found:
    """files: relative to what paths in a spec count from, where they are below it."""

    name: str
    files: tuple[str, ...]
    inferred: Inferred

    @property
    def documents(self) -> bool:
        """Whether rows are documents, whose columns are what they are."""
        return all(named_format(file) in DOCUMENTS for file in self.files)


def document(found: Found) -> dict[str, Any]:
    """The spec, why each column is what it is, and what deserves a look."""
    columns = {column.name: _column(column) for column in found.inferred.columns}
    spec: dict[str, Any] = {
        "bucket": "primary",
        "source": {"files": _pattern(found.files), **dict(_reading(found))},
        "write": _write(found),
    }
    if not found.documents:
        spec["columns"] = columns
    return {
        "spec": {"apiVersion": "lakehouse/v1", "kind": "Dataset", "metadata": {"name": found.name}, "spec": spec},
        "reasons": {column.name: column.reason for column in found.inferred.columns},
        "notes": list(found.inferred.notes),
    }


def text(found: Found) -> str:
    """The spec, ready to be committed."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Found) -> Iterator[str]:
    yield EDITOR_LINE
    yield f"# Inferred from {_count(found.files)}, and checked value by value while reading."
    yield from (f"# {one_line(note)}" for note in found.inferred.notes)
    if _outside(found.files):
        yield "# The file is not below the folder that paths count from: copy it there, and say where."
    yield from ("apiVersion: lakehouse/v1", "kind: Dataset", f"metadata: {{name: {in_yaml(found.name)}}}", "spec:", "  bucket: primary")
    pattern = _pattern(found.files)
    yield "  source:"
    yield f"    files: {in_yaml(pattern)}" if isinstance(pattern, str) else f"    files: [{', '.join(map(in_yaml, pattern))}]"
    for name, value in _reading(found):
        yield f"    {name}: {in_yaml(value) if isinstance(value, str) else str(value).lower()}"
    yield f"  write: {_write(found)}"
    if found.documents:
        yield "  # columns:"
        yield from (f"  #   {one_line(column.name)}: {column.type}" for column in found.inferred.columns)
        return
    yield "  # If columns identify a row, say `primaryKey: [COLUMN]` and `write: upsert`."
    yield "  columns:" if found.inferred.columns else "  columns: {}"
    yield from (f"    {in_yaml(column.name)}: {_shown(column)}  # {one_line(column.reason)}" for column in found.inferred.columns)


def _column(column: ColumnGuess) -> dict[str, Any]:
    format_, nulls = {"format": column.format} if column.format else {}, {"nulls": list(column.nulls)} if column.nulls else {}
    return {"type": column.type, **format_, **nulls}


def _shown(column: ColumnGuess) -> str:
    said = {"type": in_yaml(column.type)}
    if column.format is not None:
        said["format"] = column.format
    if column.nulls:
        said["nulls"] = f"[{', '.join(map(in_yaml, column.nulls))}]"
    return said["type"] if len(said) == 1 else f"{{{', '.join(f'{name}: {value}' for name, value in said.items())}}}"


def _reading(found: Found) -> Iterator[tuple[str, str | bool | int]]:
    """How the files are read, where that is not the usual way and all of them agree."""
    for name, usual in (("encoding", None), ("delimiter", ","), ("header", True)):
        values = {options.skip + 1 if name == "header" and options.skip else getattr(options, name) for options in found.inferred.options}
        if len(values) == 1 and (value := values.pop()) not in (usual, None) and not (name == "delimiter" and _all_tsv(found.files)):
            yield name, value


def _all_tsv(files: Sequence[str]) -> bool:
    return all(named_format(file) == "tsv" for file in files)


def _write(found: Found) -> str:
    return "replace" if found.documents else "append"


def _pattern(files: Sequence[str]) -> str | list[str]:
    """One glob where all files lie in one folder and end alike; else their paths."""
    paths = [PurePosixPath(file) for file in files]
    suffixes, folders = {path.suffix for path in paths}, {path.parent.as_posix() for path in paths}
    if len(files) == 1:
        return files[0]
    if len(suffixes) == 1 and len(folders) == 1:
        return (paths[0].parent / f"*{suffixes.pop()}").as_posix()
    return list(files)


def _outside(files: Sequence[str]) -> bool:
    return any(file.startswith("/") or ".." in PurePosixPath(file).parts for file in files)


def _count(files: Sequence[str]) -> str:
    return one_line(files[0]) if len(files) == 1 else f"{len(files)} files"

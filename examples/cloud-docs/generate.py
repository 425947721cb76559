"""Writes the cloud-docs example: real text, the documentation strings inside the installed `botocore` package.

    python examples/cloud-docs/generate.py OUT [--service NAME ... | --full]

writes OUT/data/docs/<service>.ndjson with the fields id, service, kind (service, operation, shape, member), name, member, text. HTML is
reduced to text; of equal texts the first is kept, over all services together, in the order of their names. Only the newest version of a
service's API is read. The same botocore gives the same bytes. Nothing is downloaded.

Next: `specs/` for how Lakehouse is told about it.
"""

from __future__ import annotations

import argparse
import gzip
import html
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

DEFAULT_SERVICES = ("dynamodb", "ecs", "kms", "lambda", "s3", "sqs")  # some 6 000 texts

_BREAK = re.compile(r"</(?:p|li|dt|dd|h\d|div|note|important|ul|ol|tr)>|<br\s*/?>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\s*\n\s*")


class Text(NamedTuple):
    """One documentation string and what it documents. kind: service, operation, shape or member (of the shape `name`)."""

    kind: str
    name: str
    member: str | None
    markup: str


def plain(markup: str) -> str:
    """The text of an HTML fragment: paragraphs and list items on lines of their own, entities resolved."""
    text = html.unescape(_TAG.sub("", _BREAK.sub("\n", markup.replace("\n", " "))))
    return _LINES.sub("\n", _SPACES.sub(" ", text)).strip()


def texts(model: Mapping[str, Any]) -> Iterator[Text]:
    """Every documentation string of a service's model, in the model's own order."""
    if markup := model.get("documentation"):
        yield Text("service", model["metadata"].get("serviceId", ""), None, markup)
    for name, operation in model["operations"].items():
        if markup := operation.get("documentation"):
            yield Text("operation", name, None, markup)
    for name, shape in model["shapes"].items():
        if markup := shape.get("documentation"):
            yield Text("shape", name, None, markup)
        for member, reference in shape.get("members", {}).items():
            if markup := reference.get("documentation"):
                yield Text("member", name, member, markup)


def models() -> dict[str, Path]:
    """The newest model file of each service, by the service's name, in order."""
    spec = importlib.util.find_spec("botocore")
    if spec is None or spec.origin is None:
        raise SystemExit("botocore is not installed: pip install botocore")
    files = sorted((Path(spec.origin).parent / "data").glob("*/*/service-2.json*"))
    return {file.parts[-3]: file for file in files}


def read(file: Path) -> Mapping[str, Any]:
    """A model; botocore ships them compressed, older ones did not."""
    content = file.read_bytes()
    model: Mapping[str, Any] = json.loads(gzip.decompress(content) if file.suffix == ".gz" else content)
    return model


def write_service(path: Path, service: str, model: Mapping[str, Any], seen: set[bytes]) -> int:
    """Writes the service's texts that are not in `seen`, adds them to it, and returns how many there were."""
    written = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        for entry in texts(model):
            text = plain(entry.markup)
            digest = blake2b(text.encode(), digest_size=16).digest()
            if not text or digest in seen:
                continue
            seen.add(digest)
            place = f"{entry.name}.{entry.member}" if entry.member else entry.name
            row = {
                "id": f"{service}/{entry.kind}/{place}",
                "service": service,
                "kind": entry.kind,
                "name": entry.name,
                "member": entry.member,
                "text": text,
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            written += 1
    return written


def generate(out: Path, services: Mapping[str, Path]) -> dict[str, int]:
    """Writes out/data/docs/<service>.ndjson and returns the texts of each; a service without any text gets no file."""
    folder = out / "data" / "docs"
    folder.mkdir(parents=True, exist_ok=True)
    seen: set[bytes] = set()
    counts: dict[str, int] = {}
    for service in sorted(services):
        path = folder / f"{service}.ndjson"
        counts[service] = write_service(path, service, read(services[service]), seen)
        if not counts[service]:
            path.unlink()
    return counts


def main() -> None:
    """Reads the command line; prints one line a service."""
    parser = argparse.ArgumentParser(description="Write the documentation strings of cloud services as NDJSON.")
    parser.add_argument("out", type=Path, help="the folder that gets data/docs/<service>.ndjson")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--service", action="append", metavar="NAME", help=f"may be repeated (default: {', '.join(DEFAULT_SERVICES)})")
    choice.add_argument("--full", action="store_true", help="every service, some 200 000 texts")
    arguments = parser.parse_args()
    known = models()
    wanted = list(known) if arguments.full else arguments.service or list(DEFAULT_SERVICES)
    if unknown := sorted(set(wanted) - set(known)):
        parser.error(f"botocore has no service {', '.join(unknown)}")
    counts = generate(arguments.out, {service: known[service] for service in wanted})
    for service, count in counts.items():
        print(f"{service:<40}{count:>8}")
    print(f"{'all':<40}{sum(counts.values()):>8}")


if __name__ == "__main__":
    main()

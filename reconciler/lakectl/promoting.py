"""What `promote` and `rollback` share: a request to whoever reconciles, or a commit that says it in the spec."""

import argparse

from reconciler.lakectl.errors import GitRefused, ObjectUnknown, UsageInvalid
from reconciler.lakectl.here import Here
from reconciler.lakectl.names import find_object, unknown_object
from reconciler.lakectl.options import Parser
from reconciler.lakectl.own_commit import followed
from reconciler.lakectl.request_command import add_request_options, carry_out
from reconciler.lakectl.session import Session
from reconciler.lakectl.words import short
from reconciler.lakectl.work_tree import git, identity, uncommitted_specs
from specs.resource import Resource


def add_options(parser: Parser, *, generation: str) -> None:
    """generation: what it means, and what leaving it out does."""
    parser.add_argument("index", metavar="INDEX", help="its name, or Index/NAME")
    parser.add_argument("generation", metavar="GENERATION", nargs="?", help=generation)
    parser.add_argument("--write-spec", action="store_true", help="write it into the spec of the Index, and commit that")
    add_request_options(parser, reason="by hand")


def run(args: argparse.Namespace, session: Session, verb: str, model: str | None = None, *, auto: bool = False) -> int:
    """model: that is to serve, in the place of a generation. auto: nothing is chosen any more. 0 done or queued, 1 refused or failed.

    Raises UsageInvalid, GitRefused, ObjectUnknown.
    """
    if auto and (args.write_spec or args.generation is not None or model is not None):
        raise UsageInvalid(f"lakectl {verb}: --auto goes with neither a GENERATION nor --model nor --write-spec.")
    if model is not None and (args.write_spec or args.generation is not None):
        raise UsageInvalid(
            f"lakectl {verb}: --model goes with neither a GENERATION nor --write-spec.",
            remedy="For good, name the model under `embed` in the spec of the Index.",
        )
    name = find_object(args.index if "/" in args.index else f"Index/{args.index}", session)
    if args.write_spec:
        return _written(args, session, verb, name)
    payload = {"generation": args.generation, "model": model, "auto": True if auto else None}
    return carry_out(session, args, verb, name, {field: value for field, value in payload.items() if value is not None})


def _written(args: argparse.Namespace, session: Session, verb: str, name: str) -> int:
    from specs.kinds.index_generation import IndexGenerationSpec  # here, because a request should not pay for pydantic

    if session.url is not None:
        raise UsageInvalid(f"lakectl {verb} --write-spec works on the repository, not through --url or LAKEHOUSE_URL.")
    here = session.here()
    generation = args.generation or (_former(here, name) if verb == "rollback" else None)
    if generation is None:
        raise UsageInvalid(f"lakectl {verb} --write-spec: name the generation that is to serve.")
    builds = _declared(here, f"IndexGeneration/{generation}").spec_as(IndexGenerationSpec).index
    if f"Index/{builds}" != name:
        raise UsageInvalid(f"lakectl {verb} --write-spec: IndexGeneration/{generation} is of Index/{builds}, not of {name}.")
    path = _declared(here, name).origin.path
    made = _commit(here, path, name.partition("/")[2], generation, args.reason)
    if args.output == "table":
        session.terminal.line(f"{path} says `serve: {{generation: {generation}}}` since {short(made)}; `lakectl undo` takes it back.")
    return followed(here, {"object": name, "generation": generation, "path": path, "commit": made}, args, session)


def _former(here: Here, name: str) -> str | None:
    """The generation that served before. None where nothing did, or a build without a name. Raises UsageInvalid for another model."""
    from reconciler.lakectl.reading_here import open_here

    state, _ = open_here(here)
    record = state.catalog.index(name.partition("/")[2])
    if record is None or record.previous is None:
        return None
    model = record.corpus_of(record.previous).model
    if record.serving is not None and model != record.corpus_of(record.serving).model:
        raise UsageInvalid(
            f"lakectl rollback --write-spec: another model served before, {model}.",
            remedy="Name it under `embed` in the spec of the Index.",
        )
    return record.previous.generation


def _declared(here: Here, name: str) -> Resource:
    """What declares an object. Raises ObjectUnknown."""
    from reconciler.lakectl.specs_here import read_specs

    specs = read_specs(here)
    desired = specs.desired(name)
    if desired is None or desired.resource is None:
        raise unknown_object(name, specs.names())
    return desired.resource


def _commit(here: Here, path: str, index: str, generation: str, reason: str) -> str:
    """The new commit, of this file alone. Raises GitRefused with everything as it was."""
    from reconciler.lakectl.spec_text import with_serve
    from specs.parse import parse_file

    if uncommitted_specs(here.root, [path]):
        raise GitRefused(f"{path} is changed and not committed.", remedy="Commit it, or put it aside with `git stash`.")
    place = here.root / path
    before = place.read_bytes()
    try:
        after = with_serve(before.decode(), index, generation).encode()
    except KeyError as error:
        raise ObjectUnknown(f"{path} declares no Index {index} any more.") from error
    if parse_file(path, after).errors:
        raise GitRefused(f"{path} cannot be changed by itself.", remedy=f"Write `serve: {{generation: {generation}}}` into it by hand.")
    if after == before:
        raise GitRefused(f"{path} says `serve: {{generation: {generation}}}` already.")
    place.write_bytes(after)
    try:
        git(here.root, "commit", "-m", f"Serve {generation} of Index/{index}\n\n{reason}", "--", path, options=identity(here.root))
    except GitRefused:
        place.write_bytes(before)
        raise
    return git(here.root, "rev-parse", "HEAD")

"""The files of a new repository, and how they are put in place: nothing that exists is ever overwritten."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from reconciler.checking import check_offline
from reconciler.footprint import CACHE_FOLDER
from reconciler.lakectl.errors import InTheWay
from reconciler.lakectl.work_tree import git, identity, not_ignored, pattern
from reconciler.place import Place
from reconciler.sources.directory import DirectorySource

SCHEMA = ".schemas/lakehouse.json"
EDITOR_LINE = "# yaml-language-server: $schema=../.schemas/lakehouse.json"

SETTINGS = """\
# The few settings of this lakehouse; `lakectl explain settings` lists them all with their defaults.
# They are read from the watched commit: a change takes effect when it is committed.

# The Bucket that keeps the state: catalog, statuses, events, requests.
state: {bucket: primary}

# Where the daemon answers.
# listen: 127.0.0.1:8484

# The share of a kind's objects that one commit may remove before somebody has to approve it.
# maxPrune: 0.3
"""

BUCKET = f"""\
{EDITOR_LINE}
# Where the lake is kept: a folder beside the specs, ignored by git.
apiVersion: lakehouse/v1
kind: Bucket
metadata: {{name: primary}}
spec: {{local: {{path: lake}}}}
"""

EXAMPLE = f"""\
{EDITOR_LINE}
# Every *.yaml below specs/ is read, several documents a file. Uncomment, adapt, `lakectl plan`, commit.
#
# # A table, from the files that match; new and changed files are followed without a commit.
# apiVersion: lakehouse/v1
# kind: Dataset
# metadata: {{name: notes}}
# spec:
#   description: What people wrote down
#   bucket: primary
#   source: {{files: "data/notes/*.csv"}}
#   primaryKey: [note_id]                 # with write: upsert, a later file's row replaces the earlier one
#   write: upsert
# ---
# # Searchable by meaning: `lakectl search notes "what was said about prices"`.
# apiVersion: lakehouse/v1
# kind: Index
# metadata: {{name: notes}}
# spec:
#   dataset: notes
#   text: [text]
#   embed: {{model: builtin}}
"""

_PRE_COMMIT = """\
#!/bin/sh
# Lakehouse: checks the staged specs before a commit. Only errors stop it; `git commit --no-verify` passes it by.
git diff --cached --quiet -- specs lakehouse.yaml && exit 0
if [ -x {python} ] && {python} -P -c 'import reconciler.lakectl' 2>/dev/null; then
    {python} -P -m reconciler.lakectl plan --offline --staged
elif command -v lakectl >/dev/null 2>&1; then
    lakectl plan --offline --staged
else
    echo "pre-commit: lakectl is not to be found, the specs are not checked" >&2
    exit 0
fi
[ $? -eq 2 ] && exit 1
exit 0
"""

_POKE = """\
#!/bin/sh
# Lakehouse: tells a running daemon at once that there is a new commit; it would find out by itself, too. Never fails.
root=$(git rev-parse --show-toplevel 2>/dev/null) || exit 0
socket="$root/.lakehouse/daemon.sock"
[ -S "$socket" ] || exit 0
python={python}
[ -x "$python" ] || python=python3
"$python" -I -S - "$socket" >/dev/null 2>&1 <<'END'
import socket, sys
line = socket.socket(socket.AF_UNIX)
line.settimeout(1)
line.connect(sys.argv[1])
END
exit 0
"""


def hooks() -> dict[str, str]:
    """The hooks' texts by name; they call this very interpreter."""
    python = shlex.quote(sys.executable)
    poke = _POKE.format(python=python)
    return {"pre-commit": _PRE_COMMIT.format(python=python), "post-commit": poke, "post-merge": poke}


def check_free(root: Path, names: Mapping[str, str]) -> None:
    """Raises InTheWay, naming every file that exists already."""
    there = [name for name in names if (root / name).exists() or (root / name).is_symlink()]
    if there:
        raise InTheWay(
            f"{', '.join(there)} {'exists' if len(there) == 1 else 'exist'} already in {root}; nothing was written.",
            remedy="Move it away, or choose another folder.",
        )


def write_files(root: Path, files: Mapping[str, str]) -> None:
    """Writes new files. Raises FileExistsError where somebody was faster."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)


def ignore(root: Path, data_root: Path, *more: Path) -> bool:
    """Adds to .gitignore what git does not ignore: the folders of all local buckets that the specs name, the cache, and more.

    Whether any were lacking.
    """
    named = check_offline(Place(DirectorySource(root), data_root)).folders.values()
    missing = list(dict.fromkeys(map(pattern, not_ignored(root, [*named, data_root / CACHE_FOLDER, *more]))))
    path = root / ".gitignore"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if missing:
        lead = text if not text or text.endswith("\n") else f"{text}\n"
        path.write_text(lead + "# what lakectl makes; specs and data are the source\n" + "\n".join(missing) + "\n", encoding="utf-8")
    return bool(missing)


def ensure_git(root: Path) -> bool:
    """A repository at this very folder; whether it had to be made."""
    if (root / ".git").exists():
        return False
    git(root, "init", "--quiet")
    return True


def install_hooks(root: Path) -> tuple[list[str], list[str]]:
    """Hooks that were written, and those that were not because others are there (or hooks are kept outside of the repository)."""
    folder = (root / git(root, "rev-parse", "--git-path", "hooks")).resolve()
    own = (root / git(root, "rev-parse", "--git-common-dir")).resolve()
    written, kept = [], []
    for name, text in hooks().items():
        path = folder / name
        if own not in path.parents or path.exists():
            kept.append(name)
            continue
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
        written.append(name)
    return written, kept


def schema_text() -> str:
    """The schema of documents of any kind."""
    import json

    from specs.schema import json_schemas

    return json.dumps(json_schemas()["lakehouse.json"], indent=1) + "\n"


def commit_all(root: Path, paths: list[str], message: str) -> str:
    """Commits these paths, whatever else is staged, as lakectl where git knows nobody. Returns the commit. Raises GitRefused."""
    git(root, "add", "--", *paths)
    # what was just written needs no check by the hook that was written with it
    git(root, "commit", "--quiet", "--no-verify", "-m", message, "--", *paths, options=identity(root))
    return git(root, "rev-parse", "HEAD")

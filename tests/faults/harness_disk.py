"""A folder on a disk that can lose its power: it knows what was synced, and a cut leaves that, and of the rest what a seed likes.

What is durable: a file's content as of its last fsync, and a folder's names as of its own. A file that was synced under a name that was
not is lost; a name that was synced before its content leads to an empty or torn file; a name that was removed may come back. Renames
happen whole or not at all. Everything else about the folder is the real file system.
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

OPEN, CLOSE = os.open, os.close
Tree = dict[str, "Tree | bytes"]


@dataclass
class _Now:
    """The folder as it is: names by folder, and where each file is."""

    names: dict[int, dict[str, int]] = field(default_factory=dict)
    paths: dict[int, Path] = field(default_factory=dict)


class Disk:
    """What is below `root`, which exists; whatever is there already is durable."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        self._held: dict[int, int] = {}  # a descriptor of every node known: its number is not given to another meanwhile
        self._content: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        self.trust()

    def synced(self, descriptor: int) -> None:
        """As fsync of a file or a folder would. Anything elsewhere is ignored."""
        if self._mine(descriptor):
            self._remember(descriptor)

    def cut(self, random: Random) -> None:
        """The power goes and comes back. No process may have anything open here."""
        self._settle(self._after(random))

    def close(self) -> None:
        """Lets go of the files."""
        for descriptor in self._held.values():
            CLOSE(descriptor)
        self._held.clear()

    def _mine(self, descriptor: int) -> bool:
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        return path == str(self.root) or path.startswith(f"{self.root}/")

    def _remember(self, descriptor: int) -> int:
        held = OPEN(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        found = os.fstat(held)
        if found.st_ino in self._held:
            CLOSE(held)
            held = self._held[found.st_ino]
        else:
            self._held[found.st_ino] = held
        if stat.S_ISDIR(found.st_mode):
            self._names[found.st_ino] = {name: self._hold(name, held) for name in sorted(os.listdir(held))}  # noqa: PTH208  (a descriptor)
        else:
            self._content[found.st_ino] = os.pread(held, found.st_size, 0)
        return found.st_ino

    def _hold(self, name: str, folder: int) -> int:
        held = OPEN(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
        number = os.fstat(held).st_ino
        if number in self._held:
            CLOSE(held)
        else:
            self._held[number] = held
        return number

    def trust(self) -> None:
        """Whatever is there is durable."""
        self.close()
        self._content.clear()
        self._names.clear()
        for path in (self.root, *sorted(self.root.rglob("*"))):
            descriptor = OPEN(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._remember(descriptor)
            finally:
                CLOSE(descriptor)

    def _now(self) -> _Now:
        now = _Now()
        for path in (self.root, *sorted(self.root.rglob("*"))):
            number = path.stat().st_ino
            now.paths[number] = path
            if path.is_dir():
                now.names[number] = {entry.name: entry.lstat().st_ino for entry in path.iterdir()}
        return now

    def _after(self, random: Random) -> Tree:
        now = self._now()
        moved: dict[int, bool] = {}  # by node: whether its last change of name came through

        def folder(number: int) -> Tree:
            durable, present = self._names.get(number, {}), now.names.get(number, {})
            tree: Tree = {}
            for name in sorted({*durable, *present}):
                node = durable.get(name)
                if node != present.get(name):
                    changed = present.get(name, node)
                    assert changed is not None
                    if moved.setdefault(changed, random.random() < 0.5):
                        node = present.get(name)
                if node is not None:
                    tree[name] = folder(node) if node in now.names or node in self._names else self._torn(node, now, random)
            return tree

        return folder(self.root.stat().st_ino)

    def _torn(self, node: int, now: _Now, random: Random) -> bytes:
        """A file's content: what was synced, and of what came after it nothing, all, a part, or a part that reads as zeros."""
        durable = self._content.get(node, b"")
        present = now.paths[node].read_bytes() if node in now.paths else os.pread(self._held[node], 1 << 24, 0)
        if not present.startswith(durable):
            return random.choice([durable, present])
        more = present[len(durable) :]
        kept = more[: random.choice([0, len(more), random.randint(0, len(more))])]
        lost = random.randint(0, len(kept)) if random.random() < 0.3 else 0
        return durable + kept[: len(kept) - lost] + bytes(lost)

    def _settle(self, tree: Tree) -> None:
        self.close()
        for path in self.root.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        _write(self.root, tree)
        self.trust()


def _write(folder: Path, tree: Tree) -> None:
    for name, node in tree.items():
        path = folder / name
        if isinstance(node, bytes):
            path.write_bytes(node)
        else:
            path.mkdir()
            _write(path, node)

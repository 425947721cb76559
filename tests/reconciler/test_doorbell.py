"""The doorbell: pokes arrive, a dead daemon's socket is replaced, and its modes are nobody else's."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

from reconciler.doorbell import doorbell


async def ring(path: Path) -> None:
    _, writer = await asyncio.open_unix_connection(path)
    writer.close()


def at_door(path: Path, then: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    async def scenario() -> None:
        poked = asyncio.Event()
        async with doorbell(path, poked.set):
            await asyncio.wait_for(then(poked), 30)

    asyncio.run(scenario())


def test_whoever_connects_pokes(tmp_path: Path) -> None:
    path = tmp_path / "new" / "daemon.sock"

    async def scenario(poked: asyncio.Event) -> None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for _ in range(2):
            poked.clear()
            await ring(path)
            await poked.wait()

    at_door(path, scenario)
    assert not path.exists()


def test_a_socket_that_was_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "daemon.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))

    async def scenario(poked: asyncio.Event) -> None:
        await ring(path)
        await poked.wait()

    at_door(path, scenario)


def test_files_that_others_make_meanwhile_keep_their_modes(tmp_path: Path) -> None:
    """A umask is of the whole process: files of other threads would lose modes, and folders could not be entered."""
    umask = os.umask(0o022)
    os.umask(umask)
    over = threading.Event()
    modes: set[int] = set()

    def make_folders() -> None:
        number = 0
        while not over.is_set():
            (folder := tmp_path / f"{number}").mkdir()
            modes.add(stat.S_IMODE(folder.stat().st_mode))
            number += 1

    async def nothing(poked: asyncio.Event) -> None:
        await asyncio.sleep(0)

    other = threading.Thread(target=make_folders)
    other.start()
    try:
        for _ in range(50):
            at_door(tmp_path / "daemon.sock", nothing)
    finally:
        over.set()
        other.join()
    assert modes == {0o777 & ~umask}

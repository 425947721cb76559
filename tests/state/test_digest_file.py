from __future__ import annotations

from pathlib import Path

from state.digest_file import GrowingFile, sha256_bytes, sha256_file


def test_a_file_that_grows_is_digested_piece_by_piece(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb", buffering=0) as file:
        growing = GrowingFile(path)
        growing.follow()
        for number in range(3):
            file.write(bytes([number]) * (300_000 * number + 1))
            growing.follow()
    growing.follow()
    assert growing.close() == sha256_file(path) == sha256_bytes(path.read_bytes())

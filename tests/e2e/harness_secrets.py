"""Files of secrets and tokens, which only their owner may read."""

from __future__ import annotations

import os
from pathlib import Path


def write_private(path: Path, text: str) -> Path:
    """A file that nobody else may read, with the folder that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o600)
    path.write_text(text)
    return path


def write_secrets(text: str) -> Path:
    """This user's file, as `XDG_CONFIG_HOME` says where it is."""
    return write_private(Path(os.environ["XDG_CONFIG_HOME"], "lakehouse", "secrets.toml"), text)


def keep_keys(access: str, secret: str) -> Path:
    """This user's file holds the keys of a service, under the name `lake-keys`."""
    return write_secrets(f'[lake-keys]\naccess_key_id = "{access}"\nsecret_access_key = "{secret}"\n')

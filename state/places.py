"""Where buckets are: as a spec says it and the catalog remembers it (`BucketPlace`), and as any process of a machine opens it
(`BucketConfig`). Names secrets, holds none. Opens nothing: that is `buckets.py`, where to read next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, cast

ServiceKind = Literal["s3", "gcs", "azure"]
Backend = Literal["local", "memory", "s3", "gcs", "azure"]
BACKENDS: tuple[Backend, ...] = ("local", "memory", "s3", "gcs", "azure")
TIMEOUT = 30.0
_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class Service:
    """Where a bucket is on an object service, and how it is reached.

    Args:
        bucket: its name there (Azure: of the container).
        endpoint: the server's URL; None for the service's own.
        region: as the service names it; None for its default.
        account: of Azure.
        secret: the name of the credentials; None for unsigned requests.
    """

    bucket: str
    endpoint: str | None = None
    region: str | None = None
    account: str | None = None
    secret: str | None = None

    def to_dict(self) -> dict[str, object]:
        """JSON-able; the inverse of `from_dict`."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Service:
        """Raises TypeError where the bucket is missing."""
        return cls(**document)


@dataclass(frozen=True, slots=True)
class BucketConfig:
    """Where a bucket is, for any process of this machine.

    Args:
        root: an absolute path (local), or whose memory it is: a memory bucket with a root is one bucket for all of this process,
            without one it is another each time.
        prefix: put before every key, without slashes at its ends.
        service: of s3, gcs and azure.
        timeout: seconds that one operation may take, its retries included.
        rescue: the bucket that answers reads which this one cannot.
    """

    name: str
    backend: Backend
    root: str | None = None
    prefix: str = ""
    service: Service | None = None
    timeout: float = TIMEOUT
    rescue: str | None = None

    def below(self, other: BucketConfig) -> str | None:
        """Where in the other bucket this one lies: the start of keys there, "" for the same place; None if it lies elsewhere.

        As far as names tell: one server may have several. Memory is shared by none.
        """
        if (self.backend, self._server) != (other.backend, other._server) or (self.backend == "memory" and self != other):
            return None
        ours, theirs = (PurePosixPath(config.root or "", config.prefix) for config in (self, other))
        return ours.relative_to(theirs).as_posix().removeprefix(".") if ours.is_relative_to(theirs) else None

    def address(self, key: str) -> str:
        """Where an object lies, as other programs call it: an absolute path, or a URL such as s3://bucket/key."""
        path = PurePosixPath(self.prefix, key)
        if self.service is None:
            return str(PurePosixPath(self.root or "/", path)) if self.backend == "local" else f"{self.backend}:{path}"
        schemes = {"s3": "s3", "gcs": "gs", "azure": "az"}
        return f"{schemes[self.backend]}://{self.service.bucket}/{path}"

    @property
    def _server(self) -> tuple[object, ...]:
        if self.service is None:
            return ()
        scheme, _, host = (self.service.endpoint or "").lower().partition("://")
        return (self.service.bucket, self.service.account, scheme, host.removesuffix(_PORTS.get(scheme, "")))

    def to_dict(self) -> dict[str, object]:
        """JSON-able; the inverse of `from_dict`."""
        service = None if self.service is None else asdict(self.service)
        return {name: getattr(self, name) for name in self.__match_args__} | {"service": service}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> BucketConfig:
        """Raises KeyError where a field is missing. `open_store` judges the values."""
        service = document.get("service")
        return cls(
            name=str(document["name"]),
            backend=cast(Backend, document["backend"]),
            root=document["root"],
            prefix=document.get("prefix", ""),
            service=None if service is None else Service.from_dict(service),
            timeout=document.get("timeout", TIMEOUT),
            rescue=document.get("rescue"),
        )


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """Where a bucket is, as its spec says it and the catalog remembers it: a relative `path` counts from the data root."""

    backend: Backend
    path: str | None = None
    prefix: str = ""
    service: Service | None = None
    timeout: float = TIMEOUT
    rescue: str | None = None

    def to_dict(self) -> dict[str, object]:
        """JSON-able, without what is as it is by default; the inverse of `from_dict`."""
        document: dict[str, object] = {"backend": self.backend, "path": self.path, "prefix": self.prefix}
        if self.service is not None:
            document["service"] = self.service.to_dict()
        if self.timeout != TIMEOUT:
            document["timeout"] = self.timeout
        if self.rescue is not None:
            document["rescue"] = self.rescue
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> BucketPlace:
        """Raises KeyError where the backend is missing."""
        service = document.get("service")
        return cls(
            backend=cast(Backend, document["backend"]),
            path=document.get("path"),
            prefix=document.get("prefix", ""),
            service=None if service is None else Service.from_dict(service),
            timeout=document.get("timeout", TIMEOUT),
            rescue=document.get("rescue"),
        )

    def config(self, name: str, data_root: Path) -> BucketConfig:
        """What opens the bucket in any process."""
        root = {"local": lambda: str((data_root / (self.path or "")).resolve()), "memory": lambda: str(data_root)}.get(self.backend)
        return BucketConfig(name, self.backend, root and root(), self.prefix, self.service, self.timeout, self.rescue)

    def holds_the_same(self, other: BucketPlace) -> bool:
        """Whether both name one place, however it is reached: a server that moved and another key change none of its objects."""
        names = tuple(place.service and (place.service.bucket, place.service.account) for place in (self, other))
        return (self.backend, self.path, self.prefix, names[0]) == (other.backend, other.path, other.prefix, names[1])

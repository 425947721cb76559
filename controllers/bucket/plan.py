"""What a Bucket needs next; pure. A bucket is opened once and tried before anything trusts it; one that holds tables
cannot be pointed elsewhere, since their files would seem lost."""

from dataclasses import dataclass

from controllers.outcome import Failed, Outcome, Ready, Stalled, Waiting
from controllers.step import Work
from specs.kinds.bucket import BucketSpec, SecretReference
from specs.resource import Key, Resource
from state import reasons
from state.mirrors import Lag
from state.places import BACKENDS, Backend, BucketConfig, BucketPlace, Service

IN_TIME = 4.0
"""Seconds by which a mirror may be behind without anything to do: its daemon comes by in between."""


@dataclass(frozen=True, slots=True)
class Observed:
    """The world as a Bucket sees it.

    Args:
        recorded: the place that the catalog remembers; None before the first opening.
        attached: the configuration that this process uses; None if it uses none.
        wanted: the configuration that the spec asks for.
        holds: whose data lies here; only asked for where the spec names another place than the recorded one.
        problem: what a light look at the store found wrong.
        mirror: how far the rescue bucket is behind; None where none is kept mirrored, or cannot be yet.
        rescued: whether the rescue bucket is open, if there is one.
        declared: whether a spec declares it, so that it will be open soon.
        unfit: why it cannot be one.
        overdue: whether it lacked something at the last look already.
        pause: seconds until another look at the mirror is due.
    """

    recorded: BucketPlace | None
    attached: BucketConfig | None
    wanted: BucketConfig
    holds: tuple[str, ...] = ()
    problem: str | None = None
    mirror: Lag | None = None
    rescued: bool = True
    declared: bool = True
    unfit: str | None = None
    overdue: bool = False
    pause: float | None = None


@dataclass(frozen=True, slots=True)
class Mirror:
    """Copies what the rescue bucket lacks."""

    why: str
    lag: Lag

    @property
    def work(self) -> Work:
        """See `Step`."""
        return Work("mirror", self.lag.size)

    def summary(self) -> str:
        """See `Step`."""
        return f"copy {_objects(self.lag)} to bucket {self.lag.bucket}"


@dataclass(frozen=True, slots=True)
class Open:
    """Opens the bucket, tries it, and remembers it."""

    why: str
    config: BucketConfig
    place: BucketPlace
    work: Work | None = None

    def summary(self) -> str:
        """See `Step`."""
        return f"open {words(self.place)}"


def place(spec: BucketSpec) -> BucketPlace:
    """The spec's place."""
    path = spec.local.path if spec.local else None
    rescue = spec.rescue.bucket if spec.rescue else None
    return BucketPlace(_backend(spec), path, spec.prefix.strip("/"), _service(spec), spec.timeout.total_seconds(), rescue)


def _service(spec: BucketSpec) -> Service | None:
    if spec.s3 is not None:
        return Service(spec.s3.bucket, spec.s3.endpoint, spec.s3.region, None, _secret(spec.s3.credentials))
    if spec.gcs is not None:
        return Service(spec.gcs.bucket, spec.gcs.endpoint, None, None, _secret(spec.gcs.credentials))
    if spec.azure is not None:
        return Service(spec.azure.container, spec.azure.endpoint, None, spec.azure.account, _secret(spec.azure.credentials))
    return None


def _secret(reference: SecretReference | None) -> str | None:
    return None if reference is None else reference.secret


def words(where: BucketPlace) -> str:
    """For people: `local folder lake`, `s3 bucket archive at http://127.0.0.1:8333`."""
    if where.service is None:
        text = f"local folder {where.path}" if where.backend == "local" else f"{where.backend} bucket"
    else:
        text = f"{where.backend} bucket {where.service.bucket}" + (f" at {where.service.endpoint}" if where.service.endpoint else "")
    return f"{text}, prefix {where.prefix}" if where.prefix else text


def plan(resource: Resource, observed: Observed) -> tuple[Open | Mirror, ...]:
    """Open, unless it is open as wanted, or cannot be, or may not be moved, or is rescued by none that could; then copy what its mirror
    lacks."""
    spec = resource.spec_as(BucketSpec)
    wanted = observed.wanted
    if moved(spec, observed) or observed.unfit is not None:
        return ()
    if observed.attached != wanted:
        return (Open("it is not open yet", wanted, place(spec)),)
    if observed.recorded != place(spec):
        return (Open("the catalog does not know it yet", wanted, place(spec)),)
    lag = observed.mirror
    if lag is not None and observed.problem is None and (lag.seconds > IN_TIME or observed.overdue):
        return (Mirror("its rescue bucket lacks them", lag),)
    return ()


def conclude(resource: Resource, observed: Observed) -> Outcome:
    """The ending when nothing is left to do."""
    spec = resource.spec_as(BucketSpec)
    if moved(spec, observed):
        return Stalled(
            reasons.STATE_IMMUTABLE,
            f"{', '.join(observed.holds[:3])} has data at the former place; undo the change, or declare a bucket of another name",
        )
    if observed.unfit is not None:
        return Stalled(reasons.INVALID_SPEC, observed.unfit)
    if observed.problem is not None:
        return Failed(reasons.BUCKET_UNAVAILABLE, observed.problem)
    if spec.rescue is None:
        return Ready(words(place(spec)))
    rescue = Key("Bucket", spec.rescue.bucket)
    if not observed.rescued and not observed.declared:
        message = f"{rescue} is not there; declare it, or name another bucket in `rescue`"
        return Waiting(reasons.REFERENCE_MISSING, message, blocked_by=str(rescue))
    if not spec.rescue.mirror:
        return Ready(words(place(spec)))
    if not observed.rescued:
        return Waiting(reasons.DEPENDENCY_NOT_READY, f"{rescue} is not open, so that nothing is mirrored", blocked_by=str(rescue))
    lag = observed.mirror
    if lag is not None and lag.damaged:
        first, *more = lag.damaged
        others = f" (and {len(more)} more)" if more else ""
        return Failed(reasons.OBJECT_CORRUPT, f"{first}{others} is not what the catalog says, and was not copied to {rescue}")
    return Ready(f"{words(place(spec))}, mirrored to {rescue}", seconds=observed.pause)


def _objects(lag: Lag) -> str:
    return f"{lag.objects} object{'s' if lag.objects != 1 else ''} ({lag.size / 1e6:.1f} MB)"


def moved(spec: BucketSpec, observed: Observed) -> bool:
    """Whether the spec points elsewhere while data lies here."""
    return observed.recorded is not None and not observed.recorded.holds_the_same(place(spec)) and bool(observed.holds)


def _backend(spec: BucketSpec) -> Backend:
    return next(name for name in BACKENDS if getattr(spec, name) is not None)

"""What roles and profiles may do, told by the daemon if there is one, else in this process by the specs at HEAD and the open state."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reconciler.lakectl.reading_here import daemon_of, open_here
from reconciler.lakectl.session import Session

if TYPE_CHECKING:
    from reconciler.access import Access
    from reconciler.opening import State


def access_document(session: Session, verb: str, name: str, who: str) -> dict[str, Any]:
    """The document of GET /access/explain. Raises DaemonProblem, TableUnknown, IndexUnknown, and what opening the state raises."""
    client = daemon_of(session)
    if client is not None:
        answered: dict[str, Any] = client.get("/access/explain", {"verb": verb, "name": name, "as": who})
        return answered
    state, _ = open_here(session.here())
    return _access(state).explain(verb, name, who)  # type: ignore[arg-type]


def tests_document(session: Session, policy: str | None) -> Mapping[str, Any]:
    """The document of POST /policies/test. Raises DaemonProblem, PolicyUnknown, and what opening the state raises."""
    client = daemon_of(session)
    if client is not None:
        answered: dict[str, Any] = client.post("/policies/test", {} if policy is None else {"policy": policy})
        return answered
    state, settings = open_here(session.here())

    async def test() -> Mapping[str, Any]:
        from reconciler.reading import reading

        async with reading(state, settings) as readers:
            return await _access(state).test(policy, readers.queries)

    return asyncio.run(test())


def _access(state: "State") -> "Access":
    from reconciler.access import Access
    from reconciler.lakectl.readers_here import directory_here

    world, book, directory = directory_here(state)
    return Access(world, state.catalog, book, directory.profile)

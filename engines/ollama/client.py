"""One Ollama server, asked: facts, embeddings, chats, loading and unloading. Blocking, thread-safe.

Every request has a time limit, its errors are ours (`translation.py`), and `num_ctx` is sent with each, always the same for a model: the
server would load it anew for another. Repeated, with growing random pauses, is only what may be asked twice: facts, embeddings, unloading;
never a chat. No redirect is followed, no proxy
used, and no connection kept: there is nothing to close.

It refuses to know which models should be loaded (`activation.py`), and what texts mean (`embedder.py`). Source of endpoints and fields:
github.com/ollama/ollama/blob/main/docs/api.md. Next: `chat.py`.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.errors import ModelAnswerInvalid, ServerAbsent, ServerRefused, ServerSlow
from engines.ollama.facts import Loaded, ModelFacts, Pulled, facts_of
from engines.ollama.names import same, whole
from engines.ollama.server import Server

if TYPE_CHECKING:
    from ollama import ChatResponse, Client

OLDEST = (0, 6, 4)
"""The first version whose `/api/show` tells what a model is able to do; `/api/embed` and schemas for answers are older."""
NEWEST = (1, 0, 0)
"""From here on the API may be another one: it is asked, and said."""
_TRIES = 3
_PAUSE = 0.2
"""Seconds before the second try, at most; doubled before each further one."""

_Answer = TypeVar("_Answer")


class OllamaClient:
    """See above. sleep, rng: for pauses."""

    def __init__(self, server: Server, sleep: Callable[[float], None] = time.sleep, rng: random.Random | None = None) -> None:
        self.server = server
        self._sleep = sleep
        self._rng = rng or random.Random()

    @cached_property
    def _facts(self) -> Client:
        return self._client(self.server.facts_seconds)

    @cached_property
    def _calls(self) -> Client:
        return self._client(self.server.call_seconds)

    @cached_property
    def _loads(self) -> Client:
        return self._client(self.server.load_seconds)

    def _client(self, seconds: float) -> Client:
        import httpx
        from ollama import Client

        logging.getLogger("httpx").setLevel(logging.WARNING)  # else a line a request
        timeout, limits = httpx.Timeout(seconds, connect=self.server.facts_seconds), httpx.Limits(max_keepalive_connections=0)
        return Client(self.server.url, timeout=timeout, limits=limits, follow_redirects=False, trust_env=False)

    def version(self) -> str:
        """Of the server. Raises ServerRefused for one that is too old; `NEWEST` is for whoever tells people."""
        import httpx

        def ask() -> str:
            limits = httpx.Timeout(self.server.facts_seconds)
            answer = httpx.get(f"{self.server.url.rstrip('/')}/api/version", timeout=limits, follow_redirects=False, trust_env=False)
            return str(answer.raise_for_status().json()["version"])

        told = self._asked(ask)
        if (0,) < numbers(told) < OLDEST:
            raise ServerRefused(
                f"Ollama at {self.server.url} is of version {told}; at least {'.'.join(map(str, OLDEST))} is needed.",
                remedy="Install a newer Ollama.",
            )
        return told

    def pulled(self) -> tuple[Pulled, ...]:
        """The models that the server has, by name."""
        return self._asked(lambda: tuple(sorted(map(_pulled, self._facts.list().models), key=lambda model: model.name)))

    def loaded(self) -> tuple[Loaded, ...]:
        """The models that are in memory now, those included that are about to go."""
        return self._asked(lambda: tuple(sorted(map(_loaded, self._facts.ps().models), key=lambda model: model.name)))

    def facts(self, model: str) -> ModelFacts:
        """Of one model. Raises ModelMissing."""
        from engines.ollama.translation import missing

        found = next((pulled for pulled in self.pulled() if same(pulled.name, model)), None)
        if found is None:
            raise missing(self.server.url, model)
        return self.shown(found)

    def shown(self, pulled: Pulled) -> ModelFacts:
        """What the server tells of a model that it has. Raises ModelMissing."""

        def ask() -> ModelFacts:
            shown = self._facts.show(pulled.name)
            family = shown.details.family if shown.details is not None else None
            return facts_of(pulled, shown.modelinfo or {}, tuple(shown.capabilities or ()), family)

        return self._asked(ask, pulled.name)

    def embed(self, model: str, texts: Sequence[str], context: int) -> tuple[list[NDArray[np.float32]], int]:
        """A vector for each text, of whatever length and numbers, and the tokens that were read of all. One request.

        Raises TextTooLong where one has more tokens than `context`, as far as the server heeds `truncate`.
        """

        def ask() -> tuple[list[NDArray[np.float32]], int]:
            answer = self._calls.embed(model, list(texts), truncate=False, options=options(context), keep_alive=self.server.keep_seconds)
            vectors = [np.asarray(vector, np.float32) for vector in answer.embeddings]
            if len(vectors) != len(texts):
                raise ModelAnswerInvalid(
                    f"{model} gave {len(vectors)} vectors for {len(texts)} texts.", remedy="Try another version of Ollama."
                )
            return vectors, answer.prompt_eval_count or 0

        return self._asked(ask, model)

    def chat(
        self, model: str, messages: Sequence[Mapping[str, str]], context: int, schema: Mapping[str, Any] | None = None
    ) -> Generator[ChatResponse, None, None]:
        """The pieces of an answer as they come; closing the iterator ends the answer at the server. Never repeated once it began."""
        from engines.ollama.translation import translated

        with translated(self.server.url, model):
            yield from self._calls.chat(
                model,
                list(messages),
                stream=True,
                format=None if schema is None else dict(schema),
                options=options(context),
                keep_alive=self.server.keep_seconds,
            )

    def load(self, model: ModelFacts, context: int) -> None:
        """Into memory; returns once it is there, or the server says why not."""

        def ask() -> None:
            if model.kind == "embedding":
                self._loads.embed(model.name, [], options=options(context), keep_alive=self.server.keep_seconds)
            else:
                self._loads.generate(model.name, options=options(context), keep_alive=self.server.keep_seconds)

        self._asked(ask, model.name, tries=1)

    def unload(self, model: str) -> None:
        """Asks that it go; it is gone when `loaded` does not name it any more, after its last answer."""
        self._asked(lambda: self._facts.generate(model, keep_alive=0), model)

    def _asked(self, ask: Callable[[], _Answer], model: str | None = None, tries: int = _TRIES) -> _Answer:
        """Again where the connection broke, or the server has too much to do; not where it took too long, nor where nobody listens."""
        from engines.ollama.translation import translated

        for number in range(tries):
            try:
                with translated(self.server.url, model):
                    return ask()
            except (ServerAbsent, ServerSlow) as error:
                if number + 1 == tries or not _passing(error):
                    raise
                self._sleep(self._rng.uniform(0, _PAUSE * 2**number))
        raise AssertionError("a try returns or raises")


def options(context: int) -> dict[str, int]:
    """Of every request. num_batch: some versions cut a text to it in silence, where it is less."""
    return {"num_ctx": context, "num_batch": context}


def numbers(version: str) -> tuple[int, ...]:
    """As in 0.12.3 or 0.12.3-rc1; a build from sources is 0.0.0."""
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    parts = tuple(map(int, found.groups())) if found else ()
    return parts if any(parts) else ()


def _passing(error: Exception) -> bool:
    import httpx

    return not isinstance(error.__cause__, ConnectionError | httpx.ConnectError | httpx.TimeoutException)


def _pulled(told: Any) -> Pulled:
    if not told.model or not told.digest:
        raise ValueError("a model without name or digest")
    return Pulled(whole(told.model), told.digest, int(told.size or 0))


def _loaded(told: Any) -> Loaded:
    name = told.model or told.name
    if not name:
        raise ValueError("a model without a name")
    return Loaded(whole(name), told.digest or "", int(told.size or 0), int(told.size_vram or 0), told.expires_at)

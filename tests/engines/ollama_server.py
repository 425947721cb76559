"""A server that speaks Ollama's HTTP API on 127.0.0.1, with models that compute nothing: for tests of our client over real HTTP.

`DOCUMENTED` is the part of the API that we use: fields of requests and answers. Source: docs/api.md, docs/api/errors.mdx, api/types.go and
server/routes.go of github.com/ollama/ollama, commit fb30760 (2026-08-21). The server answers 400 to a field that is not in it, so that a
request that the real server would not understand fails here too.

What a test sets: VRAM, how long loading and going take, silent truncation, garbage, connections that break, other clients.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import threading
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

GB = 10**9


class Ticks:
    """A clock for `OllamaModels`: each look is ten seconds after the one before, so that nothing that was asked of the server holds."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 10
        return self.now


@dataclass(frozen=True)
class Documented:
    """An endpoint. errors: statuses with their texts."""

    method: str
    asks: frozenset[str]
    answers: frozenset[str]
    errors: tuple[tuple[int, str], ...] = ()


_DETAILS = ("parent_model", "format", "family", "families", "parameter_size", "quantization_level")
_TIMES = ("total_duration", "load_duration", "prompt_eval_count")
_NOT_FOUND = (404, "model '{model}' not found")
_BUSY = (503, "server busy, please try again.  maximum pending requests exceeded")
_NO_MEMORY = (500, "llama runner process has terminated: cudaMalloc failed: out of memory")
_TOO_LONG = (400, "the input length exceeds the context length")


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


DOCUMENTED: dict[str, Documented] = {
    "/api/version": Documented("GET", _names(""), _names("version")),
    "/api/tags": Documented("GET", _names(""), _names("models")),
    "/api/ps": Documented("GET", _names(""), _names("models")),
    "/api/show": Documented(
        "POST", _names("model verbose"), _names("modelfile parameters template details model_info capabilities"), (_NOT_FOUND,)
    ),
    "/api/embed": Documented(
        "POST",
        _names("model input truncate options keep_alive dimensions"),
        _names("model embeddings total_duration load_duration prompt_eval_count"),
        (_NOT_FOUND, _TOO_LONG, _BUSY, _NO_MEMORY),
    ),
    "/api/generate": Documented(
        "POST",
        _names("model prompt suffix images think format options system template stream raw keep_alive context"),
        _names("model created_at response done done_reason context total_duration load_duration prompt_eval_count eval_count"),
        (_NOT_FOUND, _BUSY, _NO_MEMORY),
    ),
    "/api/chat": Documented(
        "POST",
        _names("model messages tools think format options stream keep_alive"),
        _names("model created_at message done done_reason total_duration load_duration prompt_eval_count eval_count"),
        (_NOT_FOUND, _BUSY, _NO_MEMORY),
    ),
}
MODEL_FIELDS: dict[str, frozenset[str]] = {
    "/api/tags": _names("name model modified_at size digest details"),
    "/api/ps": _names("name model size digest details expires_at size_vram context_length"),
}
"""Of each of `models`."""
OPTIONS = _names("num_ctx num_batch temperature")


@dataclass
class Model:
    """One that was pulled. words: tokens of each; cuts: whether it cuts what is too long though it was asked not to.

    answers: what its chats say, in order, the last one again and again; None is an answer that breaks off in the middle.
    """

    kind: str = "embedding"
    dimension: int = 32
    context: int = 512
    vram: int = GB
    release: int = 1
    words: int = 1
    cuts: bool = False
    answers: list[str | None] = field(default_factory=lambda: ["It is so."])
    tells_dimension: bool = True
    bad: Callable[[list[list[float]]], Any] | None = None

    def digest(self, name: str) -> str:
        """Of its weights."""
        return hashlib.sha256(f"{name} {self.release}".encode()).hexdigest()


class OllamaServer:
    """Runs in a thread of its own. Everything may be read and set from tests while it runs."""

    def __init__(self, **models: Model) -> None:
        self.models = {_whole(name.replace("__", "/").replace("_", "-")): model for name, model in models.items()}
        self.version = "0.12.3"
        self.vram = 64 * GB
        self.loaded: dict[str, int] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.faults: dict[str, str] = {}
        """By path: "hang", "garbage", "busy", "drop", "list" (JSON of another form)."""
        self.most: Counter[str] = Counter()
        """Models that were loaded at once, at most: by kind, and "all"."""
        self.cancelled = 0
        self.loading = threading.Event()
        self.loading.set()
        """Loading ends while it is set."""
        self.going = threading.Event()
        self.going.set()
        """What is unloaded is gone while it is set; else it is "Stopping…"."""
        self.speaking = threading.Event()
        self.speaking.set()
        """Chats go on while it is set; else they pause after their first piece."""
        self.on_unload: Callable[[str], None] = lambda name: None
        self._busy: Counter[str] = Counter()
        self._port = 0
        gc.freeze()  # so that `close` looks through what came since
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._runner: web.AppRunner | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Again on the same port."""
        self._do(self._start())

    def stop(self) -> None:
        """Breaks every connection, as a killed process does; forgets what was loaded."""
        self._do(self._stop())

    def close(self) -> None:
        """The thread too."""
        self.loading.set()
        self.going.set()
        self.speaking.set()
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        with warnings.catch_warnings():  # of connections that were half accepted when it was killed
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
        gc.unfreeze()

    def load(self, name: str) -> None:
        """As another client does."""
        self._now_loaded(_whole(name), 4096)

    def bodies(self, path: str) -> list[dict[str, Any]]:
        """What was asked of an endpoint."""
        return [body for asked, body in self.asked if asked == path]

    # -- the loop's

    def _do(self, work: Awaitable[None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(20)  # type: ignore[arg-type]

    async def _start(self) -> None:
        app = web.Application(middlewares=[self._faulty])
        app.router.add_get("/api/version", self._version)
        app.router.add_get("/api/tags", self._tags)
        app.router.add_get("/api/ps", self._ps)
        app.router.add_post("/api/show", self._show)
        app.router.add_post("/api/embed", self._embed)
        app.router.add_post("/api/generate", self._generate)
        app.router.add_post("/api/chat", self._chat)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            self._abort()
            await runner.cleanup()
            self._abort()  # what came meanwhile
            await asyncio.sleep(0.02)  # transports are closed by the loop's next rounds
        self.loaded.clear()

    def _abort(self) -> None:
        """Every connection, those included that no handler has yet."""
        for transport in list(vars(self._loop)["_transports"].values()):
            transport.abort()

    @web.middleware
    async def _faulty(self, request: web.Request, handler: Any) -> web.StreamResponse:
        path = request.path
        body = await request.json() if request.method == "POST" else {}
        self.asked.append((path, body))
        unknown = set(body) - DOCUMENTED[path].asks
        unknown |= {f"options.{name}" for name in set(body.get("options") or {}) - OPTIONS}
        if unknown:
            return web.json_response({"error": f"unknown fields {sorted(unknown)}"}, status=400)
        match self.faults.get(path):
            case "hang":
                await asyncio.sleep(30)
            case "garbage":
                return web.Response(text="<html>hello</html>", content_type="text/html")
            case "list":
                return web.json_response([1, 2])
            case "busy":
                return web.json_response({"error": _BUSY[1]}, status=_BUSY[0])
            case "drop":
                assert request.transport is not None
                request.transport.abort()
        return await handler(request)

    async def _answer(self, path: str, document: dict[str, Any]) -> web.Response:
        assert set(document) <= DOCUMENTED[path].answers, set(document) - DOCUMENTED[path].answers
        for model in document.get("models", ()):
            assert set(model) <= MODEL_FIELDS[path]
        return web.Response(text=json.dumps(document), content_type="application/json")

    async def _version(self, _: web.Request) -> web.Response:
        return await self._answer("/api/version", {"version": self.version})

    async def _tags(self, _: web.Request) -> web.Response:
        found = [
            {
                "name": name,
                "model": name,
                "modified_at": "2026-01-01T00:00:00Z",
                "size": model.vram,
                "digest": model.digest(name),
                "details": _details(model),
            }
            for name, model in self.models.items()
        ]
        return await self._answer("/api/tags", {"models": found})

    async def _ps(self, _: web.Request) -> web.Response:
        found = [
            {
                "name": name, "model": name, "size": self.models[name].vram, "digest": self.models[name].digest(name),
                "details": _details(self.models[name]), "expires_at": "2036-01-01T00:00:00Z", "size_vram": self.models[name].vram,
                "context_length": context,
            }
            for name, context in self.loaded.items()
        ]  # fmt: skip
        return await self._answer("/api/ps", {"models": found})

    async def _show(self, request: web.Request) -> web.Response:
        body = await request.json()
        model = self.models.get(_whole(body["model"]))
        if model is None:
            return _error(_NOT_FOUND, model=body["model"])
        info: dict[str, Any] = {"general.architecture": "test", "test.context_length": model.context}
        if model.tells_dimension:
            info["test.embedding_length"] = model.dimension
        capability = "embedding" if model.kind == "embedding" else "completion"
        told = {
            "modelfile": "",
            "parameters": "",
            "template": "",
            "details": _details(model),
            "model_info": info,
            "capabilities": [capability],
        }
        return await self._answer("/api/show", told)

    async def _embed(self, request: web.Request) -> web.Response:
        body = await request.json()
        name, model, problem = await self._ready(body)
        if problem is not None:
            return problem
        with self._working(name):
            texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
            context = min(model.context, body.get("options", {}).get("num_ctx", 4096))
            vectors, total = [], 0
            for text in texts:
                words = text.split()
                count = len(words) * model.words + 2
                if count > context:
                    if body.get("truncate") is False and not model.cuts:
                        return _error(_TOO_LONG)
                    words, count = words[: (context - 2) // model.words], context
                total += count
                vectors.append(_vector(words, model.dimension))
            answer = {"model": body["model"], "embeddings": model.bad(vectors) if model.bad else vectors, **dict.fromkeys(_TIMES, 1)}
            return await self._answer("/api/embed", answer | {"prompt_eval_count": total})

    async def _generate(self, request: web.Request) -> web.Response:
        body = await request.json()
        name = _whole(body["model"])
        said = {"model": body["model"], "created_at": "2026-01-01T00:00:00Z", "response": "", "done": True}
        if body.get("keep_alive") == 0 and not body.get("prompt"):
            if name not in self.models:
                return _error(_NOT_FOUND, model=body["model"])
            asyncio.get_running_loop().create_task(self._unload(name))
            return await self._answer("/api/generate", said | {"done_reason": "unload"})
        name, model, problem = await self._ready(body)
        if problem is not None:
            return problem
        if model.kind == "embedding":
            return web.json_response({"error": f'"{body["model"]}" does not support generate'}, status=400)
        return await self._answer("/api/generate", said | {"done_reason": "load"})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        name, model, problem = await self._ready(body)
        if problem is not None:
            return problem
        text = model.answers[0] if len(model.answers) == 1 else model.answers.pop(0)
        with self._working(name):
            response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
            await response.prepare(request)
            common = {"model": body["model"], "created_at": "2026-01-01T00:00:00Z"}
            try:
                for piece in _pieces(text or "It is "):
                    await _line(response, {**common, "message": {"role": "assistant", "content": piece}, "done": False})
                    await self._set(self.speaking)
                if text is None:
                    assert request.transport is not None
                    request.transport.abort()
                    return response
                read = min(sum(len(message["content"].split()) for message in body["messages"]), body["options"]["num_ctx"])
                last = {
                    "done": True,
                    "done_reason": "stop",
                    **dict.fromkeys(_TIMES, 1),
                    "prompt_eval_count": read,
                    "eval_count": len(text.split()),
                }
                assert set(common) | set(last) | {"message"} <= DOCUMENTED["/api/chat"].answers
                await _line(response, {**common, "message": {"role": "assistant", "content": ""}, **last})
            except (asyncio.CancelledError, ConnectionResetError):
                self.cancelled += 1
                raise
            await response.write_eof()
            return response

    async def _ready(self, body: dict[str, Any]) -> tuple[str, Model, web.Response | None]:
        name = _whole(body["model"])
        model = self.models.get(name)
        if model is None:
            return name, Model(), _error(_NOT_FOUND, model=body["model"])
        if name not in self.loaded:
            await self._set(self.loading)
            left = self.vram - sum(self.models[other].vram for other in self.loaded)
            if model.vram > left:
                return name, model, _error(_NO_MEMORY)
            self._now_loaded(name, body.get("options", {}).get("num_ctx", 4096))
        return name, model, None

    def _now_loaded(self, name: str, context: int) -> None:
        self.loaded[name] = context
        kinds = Counter(self.models[other].kind for other in self.loaded)
        for kind, count in [*kinds.items(), ("all", len(self.loaded))]:
            self.most[kind] = max(self.most[kind], count)

    async def _unload(self, name: str) -> None:
        """Gone after its last answer."""
        while self._busy[name]:  # noqa: ASYNC110  (set by threads)
            await asyncio.sleep(0.005)
        await self._set(self.going)
        self.loaded.pop(name, None)
        self.on_unload(name)

    @contextmanager
    def _working(self, name: str) -> Iterator[None]:
        self._busy[name] += 1
        try:
            yield
        finally:
            self._busy[name] -= 1

    async def _set(self, event: threading.Event) -> None:
        while not event.is_set():  # noqa: ASYNC110  (set by threads)
            await asyncio.sleep(0.005)


def _whole(name: str) -> str:
    return name if ":" in name else f"{name}:latest"


def _details(model: Model) -> dict[str, Any]:
    told = ("", "gguf", "test", ["test"], "1B", "Q4_0")
    return dict(zip(_DETAILS, told, strict=True))


def _error(documented: tuple[int, str], **values: str) -> web.Response:
    return web.json_response({"error": documented[1].format(**values)}, status=documented[0])


def _vector(words: list[str], dimension: int) -> list[float]:
    """Texts that share words are near one another."""
    vector = [0.001] * dimension
    for word in words:
        vector[int.from_bytes(hashlib.sha256(word.lower().encode()).digest()[:4], "big") % dimension] += 1.0
    length = sum(value * value for value in vector) ** 0.5
    return [value / length for value in vector]


def _pieces(text: str) -> list[str]:
    return [word if at == 0 else f" {word}" for at, word in enumerate(text.split(" "))]


async def _line(response: web.StreamResponse, document: dict[str, Any]) -> None:
    await response.write(json.dumps(document).encode() + b"\n")

"""Errors of the `ollama` package and of the HTTP client beneath it, as ours, whatever an answer makes it raise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from ollama import ResponseError

from engines.errors import (
    EngineError,
    ModelAnswerInvalid,
    ModelMemory,
    ModelMissing,
    ModelUnavailable,
    ServerAbsent,
    ServerSlow,
)
from engines.ollama.errors import TextTooLong

_NO_MEMORY = re.compile(r"out of memory|more system memory|cudamalloc failed|unable to allocate|insufficient memory", re.IGNORECASE)
_NOT_FOUND, _BUSY = 404, 503
_LONGEST = 300
_TOO_LONG = "exceeds the context length"


@contextmanager
def translated(url: str, model: str | None = None) -> Iterator[None]:
    """Raises ServerAbsent, ServerSlow, ModelMissing, ModelMemory, ModelAnswerInvalid, TextTooLong, ModelUnavailable."""
    try:
        yield
    except EngineError:
        raise
    except httpx.TimeoutException as error:
        raise ServerSlow(
            f"Ollama at {url} did not answer in time{_of(model)}.",
            remedy="See what it is doing by `ollama ps`, or raise `models.ollama.timeout`.",
        ) from error
    except (ConnectionError, httpx.HTTPError) as error:
        raise absent(url, error) from error
    except ResponseError as error:
        raise _answered(error, url, model) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:  # of an answer that is no JSON, or has other fields
        raise ModelAnswerInvalid(
            f"Ollama at {url} answered what is of no use{_of(model)}: {_short(error)}", remedy="Is another program listening there?"
        ) from error


def absent(url: str, error: Exception) -> ServerAbsent:
    """That nobody answers, or that the connection broke."""
    how = "broke off" if isinstance(error, httpx.HTTPError) and not isinstance(error, httpx.ConnectError) else "does not answer"
    return ServerAbsent(f"Ollama at {url} {how}.", remedy="Start it by `ollama serve`, or set `models.ollama.url`.")


def missing(url: str, model: str) -> ModelMissing:
    """That the server does not have the model."""
    return ModelMissing(f"Ollama at {url} has no model {model}.", remedy=f"`ollama pull {model}`")


def _answered(error: ResponseError, url: str, model: str | None) -> EngineError:
    text = str(error.error)
    if _NO_MEMORY.search(text):
        return ModelMemory(
            f"Ollama has no memory for {model}: {_short(text)}", remedy="Use a smaller model, or unload others by `ollama stop MODEL`."
        )
    if _TOO_LONG in text:
        return TextTooLong(text)
    if error.status_code == _NOT_FOUND and model is not None and "not found" in text:
        return missing(url, model)
    if error.status_code == _BUSY:
        return ServerSlow(f"Ollama at {url} takes no more requests: {_short(text)}", remedy="Try again in a moment.")
    return ModelUnavailable(f"Ollama at {url} refused{_of(model)}: {_short(text)}", remedy="`journalctl -u ollama` tells more.")


def _of(model: str | None) -> str:
    return "" if model is None else f", asked for {model}"


def _short(what: object) -> str:
    """One line of it, since a server may answer anything."""
    text = " ".join(str(what).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"

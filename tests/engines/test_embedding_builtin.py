"""The built-in embedder gives wordllama's own vectors, from any thread, without a network and without importing wordllama."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from engines.embedding import builtin
from engines.embedding.registry import fingerprint, open_embedder
from engines.errors import EngineUnsupported, ModelUnavailable, ServerAbsent

TEXTS = [
    "Java developer in Chicago",
    "a",
    " ",
    "  two   spaces  and\ttabs\n\nand lines ",
    "Größe: 5 µm; naïve café",
    "漢字かな交じり文",
    "😀🙏 emoji",
    "x" * 3000,
    "literal <s> token </s> and \u2581 sign",
    "The quick brown fox. " * 200,
    "http://example.com/?q=1&b=2#frag {json: [1, 2]} C++ && ||",
]


@pytest.fixture
def quiet() -> Iterator[None]:
    """wordllama configures the root logger when it is imported."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


@pytest.mark.usefixtures("quiet")
@pytest.mark.filterwarnings("ignore")
def test_it_is_wordllama() -> None:
    import wordllama

    bare = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
    expected = bare.embed(TEXTS, norm=True)
    np.testing.assert_allclose(open_embedder().embed(TEXTS), expected, atol=1e-6)
    for text in TEXTS:
        assert open_embedder().embed([text])[0] == pytest.approx(bare.embed(text, norm=True)[0], abs=1e-6)
        assert builtin.load().tokens(text) == len(bare.tokenize([text])[0].ids)


@pytest.mark.usefixtures("quiet")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", [64, 128])
def test_a_shortened_one_is_wordllama_shortened(size: int) -> None:
    import wordllama

    bare = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True, trunc_dim=size)
    model = open_embedder(f"builtin-{size}")
    np.testing.assert_allclose(model.embed(TEXTS), bare.embed(TEXTS, norm=True), atol=1e-6)
    assert (model.name, model.dimension) == (f"builtin-{size}", size)
    assert model.fingerprint == fingerprint(f"builtin-{size}")
    assert len({fingerprint(name) for name in builtin.SIZES}) == 3, "models of their own"
    with pytest.raises(EngineUnsupported, match="builtin-100"):
        open_embedder("builtin-100")


def test_vectors_have_length_one_and_an_empty_text_has_none() -> None:
    vectors = open_embedder().embed([*TEXTS, ""])
    assert vectors.shape == (len(TEXTS) + 1, 256)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors[:-1], axis=1), 1, atol=1e-6)
    assert not vectors[-1].any()
    assert open_embedder().embed([]).shape == (0, 256)


def test_more_texts_than_a_batch_keep_their_order() -> None:
    texts = [f"number {number}" for number in range(builtin._BATCH + 10)]
    vectors = open_embedder().embed(texts)
    np.testing.assert_array_equal(vectors[builtin._BATCH + 3], open_embedder().embed([texts[builtin._BATCH + 3]])[0])


def test_a_text_longer_than_a_slice_is_averaged_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "word and other words " * 20
    whole = open_embedder().embed([text])
    monkeypatch.setattr(builtin, "_SLICE", 7)
    np.testing.assert_allclose(open_embedder().embed([text]), whole, atol=1e-6)


def test_meaning_shows_in_the_cosine() -> None:
    query, near, far = open_embedder().embed(["software engineer", "computer programmer", "banana bread recipe"])
    assert query @ near > query @ far


def test_threads_share_one_embedder_and_get_the_same_vectors() -> None:
    expected = open_embedder().embed(TEXTS)
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda _: (open_embedder(), open_embedder().embed(TEXTS)), range(16)))
    assert len({id(embedder) for embedder, _ in results}) == 1
    for _, vectors in results:
        np.testing.assert_array_equal(vectors, expected)


def test_offsets_are_characters_of_the_text() -> None:
    text = "héllo 😀  wörld"
    offsets = open_embedder().offsets(text)
    assert "".join(text[start:end] for start, end in dict.fromkeys(offsets)) == text


def test_the_fingerprint_names_everything_the_vectors_depend_on() -> None:
    name, model, pooling, digest, dimension, norm = open_embedder().fingerprint.split("/")
    assert (name, model, pooling, dimension, norm) == ("builtin", "l2_supercat_256", "1", "256", "unit")
    assert len(digest) == 16
    assert builtin.load().fingerprint == open_embedder().fingerprint == fingerprint()


def test_wordllama_itself_is_not_imported_and_a_fork_gives_no_warning() -> None:
    code = (
        "import os, sys\n"
        "from engines.embedding.registry import open_embedder\n"
        "open_embedder().embed(['a b'] * 2000)\n"
        "assert 'wordllama' not in sys.modules\n"
        "child = os.fork()\n"
        "open_embedder().embed(['a b'] * 2000)\n"
        "os._exit(0) if child == 0 else os.waitpid(child, 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin, "find_spec", lambda name: None)
    with pytest.raises(ModelUnavailable) as caught:
        builtin.load()
    assert "wordllama" in caught.value.explain()


@pytest.mark.parametrize("damaged", ["weights", "tokenizer"])
def test_damaged_files_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, damaged: str) -> None:
    broken = tmp_path / damaged
    broken.write_bytes(b"nothing of the kind")
    files = builtin._files()._replace(**{damaged: broken})
    monkeypatch.setattr(builtin, "_files", lambda: files)
    with pytest.raises(ModelUnavailable, match=f"cannot be read from {broken}"):
        builtin.load()


def test_missing_files_have_no_fingerprint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(builtin, "_files", lambda: builtin._Files(tmp_path / "weights", tmp_path / "tokenizer"))
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        builtin.fingerprint()


def test_models_of_a_server_need_one() -> None:
    with pytest.raises(ServerAbsent, match="No model server is known"):
        open_embedder({"ollama": "nomic-embed-text"})

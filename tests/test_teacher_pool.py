"""A teacher's embeddings, each made once."""

import numpy as np
import pyarrow as pa
import pytest

from cluster.teacher_pool import SCALE, fill_pool, open_pool
from csgen.errors import InputError

TEXTS = pa.table({"query": ["red", "blue", "red"], "passage": ["a rose", "the sky", "blue"]})


class CountingEncoder:
    """Unit vectors of 4 numbers by the text's bytes."""

    dim = 4

    def __init__(self):
        self.texts = []

    def encode(self, texts):
        self.texts += texts
        vectors = np.array([[len(t), t.count("e"), ord(t[0]), 1.0] for t in texts], np.float32).reshape(-1, 4)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "pool")


def test_each_distinct_text_is_embedded_once(folder):
    encoder = CountingEncoder()
    fill_pool(folder, "teacher", encoder, TEXTS)
    fill_pool(folder, "teacher", encoder, TEXTS)
    assert sorted(encoder.texts) == ["a rose", "blue", "red", "the sky"]


def test_workers_share_the_texts(folder):
    encoders = [CountingEncoder() for _ in range(3)]
    for worker, encoder in enumerate(encoders):
        fill_pool(folder, "teacher", encoder, TEXTS, (worker, 3))
    assert sorted(text for encoder in encoders for text in encoder.texts) == ["a rose", "blue", "red", "the sky"]


def test_embeddings_are_the_teachers(folder):
    encoder = CountingEncoder()
    fill_pool(folder, "teacher", encoder, TEXTS)
    texts = ["the sky", "red", "the sky"]
    assert open_pool(folder).encode(texts) == pytest.approx(encoder.encode(texts), abs=1e-3)


def test_a_score_is_twenty_times_the_cosine(folder):
    encoder = CountingEncoder()
    fill_pool(folder, "teacher", encoder, TEXTS)
    queries, passages = (encoder.encode(TEXTS[side].to_pylist()) for side in ("query", "passage"))
    assert open_pool(folder).score(TEXTS["query"], TEXTS["passage"]) == pytest.approx(
        SCALE * (queries * passages).sum(axis=1), abs=0.02
    )


def test_fewer_directions_keep_what_tells_texts_apart(folder):
    fill_pool(folder, "teacher", CountingEncoder(), TEXTS)
    whole, reduced = open_pool(folder), open_pool(folder).reduced(3)
    texts = ["a rose", "blue", "red", "the sky"]
    assert reduced.encode(texts).shape == (4, 3)
    assert reduced.encode(texts) @ reduced.encode(texts).T == pytest.approx(
        whole.encode(texts) @ whole.encode(texts).T, abs=0.02
    )


def test_a_student_that_is_wider_than_its_teacher_is_refused(folder):
    fill_pool(folder, "teacher", CountingEncoder(), TEXTS)
    with pytest.raises(InputError, match=r"have 4 numbers and the encoder's 8"):
        open_pool(folder).reduced(8)


def test_a_folder_of_another_teacher_is_refused(folder):
    fill_pool(folder, "teacher", CountingEncoder(), TEXTS)
    with pytest.raises(InputError, match="another teacher's embeddings"):
        fill_pool(folder, "other", CountingEncoder(), TEXTS)

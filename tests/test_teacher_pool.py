"""A teacher's embeddings, each made once."""

from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from cluster.teacher_pool import SCALE, fill_pool, teacher_of
from csgen.errors import InputError

IDS = {"query_id": ["1", "2", "1"], "passage_id": ["7", "8", "9"]}
TEXTS = pa.table(IDS | {"query": ["red", "blue", "red"], "passage": ["a rose", "the sky", "blue"]})
GERMAN = pa.table(IDS | {"query": ["rot", "blau", "rot"], "passage": ["eine Rose", "der Himmel", "blau"]})


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
    fill_pool(folder, "teacher", lambda: encoder, TEXTS)
    fill_pool(folder, "teacher", lambda: encoder, TEXTS)
    assert sorted(encoder.texts) == ["a rose", "blue", "red", "the sky"]


def test_workers_share_the_texts(folder):
    encoders = [CountingEncoder() for _ in range(3)]
    for worker, encoder in enumerate(encoders):
        fill_pool(folder, "teacher", partial(as_it_is, encoder), TEXTS, (worker, 3))
    assert sorted(text for encoder in encoders for text in encoder.texts) == ["a rose", "blue", "red", "the sky"]


def as_it_is(encoder):
    return encoder


def embed(teacher, table, side):
    return teacher.embed(table.combine_chunks().to_batches()[0], side)


def test_embeddings_are_the_teachers(folder):
    encoder = CountingEncoder()
    fill_pool(folder, "teacher", lambda: encoder, TEXTS)
    expected = encoder.encode(TEXTS["passage"].to_pylist())
    assert embed(teacher_of(folder, TEXTS), TEXTS, "passage") == pytest.approx(expected, abs=1e-3)


def test_originals_are_found_by_the_ids_of_their_translations(folder):
    fill_pool(folder, "teacher", CountingEncoder, TEXTS)
    english, german = teacher_of(folder, TEXTS), teacher_of(folder, TEXTS, by_ids=True)
    for side in ("query", "passage"):
        assert (embed(german, GERMAN, side) == embed(english, TEXTS, side)).all()


def test_an_id_that_the_originals_lack_is_refused(folder):
    fill_pool(folder, "teacher", CountingEncoder, TEXTS)
    with pytest.raises(InputError, match="a passage that --teacher-pairs lacks"):
        embed(teacher_of(folder, TEXTS.slice(0, 1), by_ids=True), GERMAN, "passage")


def test_a_score_is_twenty_times_the_cosine(folder):
    encoder = CountingEncoder()
    fill_pool(folder, "teacher", lambda: encoder, TEXTS)
    queries, passages = (encoder.encode(TEXTS[side].to_pylist()) for side in ("query", "passage"))
    expected = SCALE * (queries * passages).sum(axis=1)
    assert teacher_of(folder, TEXTS).score(TEXTS) == pytest.approx(expected, abs=0.02)


def test_fewer_directions_keep_what_tells_texts_apart(folder):
    fill_pool(folder, "teacher", CountingEncoder, TEXTS)
    whole = teacher_of(folder, TEXTS)
    vectors, reduced = (embed(one, TEXTS, "passage") for one in (whole, whole.reduced(3)))
    assert reduced.shape == (3, 3)
    assert reduced @ reduced.T == pytest.approx(vectors @ vectors.T, abs=0.02)


def test_what_else_a_pool_holds_changes_no_directions(folder, tmp_path):
    more = pa.table({"query": ["a", "bb", "ccc"], "passage": ["eeee", "fe", "g"]} | IDS)
    fill_pool(folder, "teacher", CountingEncoder, TEXTS)
    alone = embed(teacher_of(folder, TEXTS).reduced(3), TEXTS, "passage")
    fill_pool(folder, "teacher", CountingEncoder, more)
    assert (embed(teacher_of(folder, TEXTS).reduced(3), TEXTS, "passage") == alone).all()


def test_a_teacher_is_not_loaded_where_the_pool_holds_all(folder):
    fill_pool(folder, "teacher", CountingEncoder, TEXTS)
    fill_pool(folder, "teacher", lambda: pytest.fail("loaded"), TEXTS)


def test_a_student_that_is_wider_than_its_teacher_is_refused(folder):
    fill_pool(folder, "teacher", CountingEncoder, TEXTS)
    with pytest.raises(InputError, match=r"have 4 numbers and the encoder's 8"):
        teacher_of(folder, TEXTS).reduced(8)


def test_a_folder_of_another_teacher_is_refused(folder):
    fill_pool(folder, "teacher", CountingEncoder, TEXTS)
    with pytest.raises(InputError, match="another teacher's embeddings"):
        fill_pool(folder, "other", CountingEncoder, TEXTS)

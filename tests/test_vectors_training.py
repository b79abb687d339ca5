"""Training that all segments share: the same for any number of threads, refused where it cannot do."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from toy_vectors import clustered, make_trained, sort_all

from csgen.errors import InputError
from indexing.vectors.centroids import Centroids, assign_exactly, find_centroids
from indexing.vectors.choice import choose
from indexing.vectors.config import VectorConfig
from indexing.vectors.training import load_trained, train

faiss = pytest.importorskip("faiss")

LISTED = ("ivf", "ivf-pq", "sq8", "rabitq")


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


@pytest.mark.parametrize("kind", LISTED)
def test_files_are_the_same_for_any_number_of_threads(kind, tmp_path):
    sample = clustered(1, 1500)
    choice = choose(1500, 24, VectorConfig(kind=kind, seed=3))
    before = faiss.omp_get_max_threads()
    try:
        for num_threads in (1, 3):
            faiss.omp_set_num_threads(num_threads)
            train(sample, choice, str(tmp_path / str(num_threads)), num_threads=num_threads)
    finally:
        faiss.omp_set_num_threads(before)
    assert contents(tmp_path / "1") == contents(tmp_path / "3")


def test_another_seed_gives_other_centroids(tmp_path):
    one, other = (make_trained(tmp_path / str(seed), clustered(1, 500), kind="ivf", seed=seed) for seed in (1, 2))
    assert one.fingerprint != other.fingerprint
    assert not np.array_equal(one.lists.centroids.matrix, other.lists.centroids.matrix)


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_kinds_without_lists_need_no_sample(kind, tmp_path):
    trained = train(None, choose(100, 8, VectorConfig(kind=kind)), str(tmp_path))
    assert trained.lists is None
    assert [path.name for path in tmp_path.iterdir()] == ["trained.json"]


def test_loaded_training_is_what_was_trained(tmp_path):
    trained, loaded = make_trained(tmp_path, clustered(1, 500), kind="rabitq"), load_trained(str(tmp_path))
    assert (loaded.choice, loaded.fingerprint) == (trained.choice, trained.fingerprint)
    np.testing.assert_array_equal(loaded.lists.centroids.matrix, trained.lists.centroids.matrix)


def test_each_vector_goes_to_the_centroid_with_the_largest_product():
    centroids, vectors = clustered(1, 300), clustered(2, 9000)
    expected = sort_all(vectors, centroids, 1)[:, 0]
    np.testing.assert_array_equal(assign_exactly(vectors, centroids, num_threads=2), expected)


def test_nearest_lists_do_not_depend_on_the_other_queries():
    centroids, queries = Centroids.of(clustered(1, 700)), clustered(2, 70)
    nearest = centroids.find(queries, 30)
    np.testing.assert_array_equal(nearest.ids, sort_all(queries, centroids.matrix, 30))
    for query in range(9):
        alone = centroids.find(queries[query : query + 1], 30)
        np.testing.assert_array_equal(alone.scores[0], nearest.scores[query])


def test_probes_hold_the_share_of_the_nearest_that_is_wanted(tmp_path):
    sample, probes = clustered(1, 4000), {}
    for recall in (0.5, 0.9, 0.99):
        choice = make_trained(tmp_path / str(recall), sample, kind="ivf", recall=recall).choice
        probes[recall] = choice.probes
        lists = assign_exactly(sample, np.load(tmp_path / str(recall) / "centroids.npy"), num_threads=1)
        nearest = sort_all(sample, sample, 101)[:, 1:]
        looked_into = sort_all(sample, np.load(tmp_path / str(recall) / "centroids.npy"), choice.probes)
        held = np.mean([np.isin(lists[own], some).mean() for own, some in zip(nearest, looked_into, strict=True)])
        assert held > recall - 0.03
        assert f"of which a query looks into {choice.probes}: they hold" in choice.reason
    assert 8 <= probes[0.5] <= probes[0.9] < probes[0.99]


def test_probes_that_are_given_are_kept(tmp_path):
    assert make_trained(tmp_path, clustered(1, 500), kind="ivf", probes=3).choice.probes == 3


@pytest.mark.parametrize("rows", [1, 2, 12])
def test_few_vectors_have_probes_too(tmp_path, rows):
    choice = make_trained(tmp_path, clustered(1, rows), kind="ivf").choice
    assert 1 <= choice.probes <= choice.num_lists


def test_many_equal_centroids_are_told_apart_by_their_numbers():
    centroids = Centroids.of(np.ones((900, 6), np.float32))
    np.testing.assert_array_equal(centroids.find(np.ones((5, 6), np.float32), 4).ids, np.tile(range(4), (5, 1)))


def test_centroids_lie_in_the_middle_of_well_parted_clusters():
    centres = np.eye(6, dtype=np.float32)
    rng = np.random.default_rng(0)
    sample = np.repeat(centres, 100, axis=0) + 0.01 * rng.standard_normal((600, 6)).astype(np.float32)
    sample = sample[rng.permutation(600)]
    found = find_centroids(sample, 30, 0, partial(assign_exactly, num_threads=1))
    assert (sort_all(found, centres, 1)[:, 0] == np.argmax(found, axis=1)).all()
    assert (found.max(axis=1) > 0.99).all()
    assert set(np.argmax(found, axis=1)) == set(range(6))


def test_a_sample_of_equal_vectors_still_gives_as_many_lists():
    found = find_centroids(np.ones((50, 3), np.float32), 9, 0, partial(assign_exactly, num_threads=1))
    assert found.shape == (9, 3)
    assert np.isfinite(found).all()


def test_too_small_a_sample_is_refused(tmp_path):
    choice = choose(5000, 24, VectorConfig(kind="ivf", num_lists=100))
    with pytest.raises(InputError, match=r"100 lists of kind ivf need 100 training vectors or more, got 99"):
        train(clustered(1, 99), choice, str(tmp_path))


def test_sample_that_is_not_finite_is_refused_by_its_row(tmp_path):
    sample = clustered(1, 500)
    sample[44, 2] = np.nan
    with pytest.raises(InputError, match="row 44 of the training sample is not finite"):
        make_trained(tmp_path, sample, kind="ivf")


def test_altered_or_missing_file_is_named(tmp_path):
    make_trained(tmp_path, clustered(1, 500), kind="ivf")
    path = tmp_path / "centroids.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"centroids\.npy: altered since training"):
        load_trained(str(tmp_path))
    path.unlink()
    with pytest.raises(InputError, match=r"centroids\.npy: missing"):
        load_trained(str(tmp_path))


def test_folder_without_whole_notes_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a folder of trained centroids"):
        load_trained(str(tmp_path))
    (tmp_path / "trained.json").write_text(json.dumps({"choice": {"kind": "flat"}, "files": {}}))
    with pytest.raises(InputError, match=r"trained\.json: altered"):
        load_trained(str(tmp_path))

"""Which kind of vector index is chosen, with which numbers, and the reason given."""

import pytest

from csgen.errors import InputError
from indexing.vectors.choice import choose
from indexing.vectors.config import VectorConfig


def chosen(num_vectors=1_000_000, dim=384, **options):
    return choose(num_vectors, dim, VectorConfig.from_options(options))


def test_few_vectors_are_searched_one_and_all():
    choice = chosen(num_vectors=20_000)
    assert choice.kind == "flat"
    assert choice.reason == (
        "20,000 x 384: a flat search reads 30.7 MB a query, some 2.6 ms, so no other kind is worth its losses"
    )


def test_recall_of_one_is_flat_whatever_the_size():
    assert chosen(num_vectors=50_000_000, recall=1).kind == "flat"


def test_reason_can_be_checked():
    assert chosen(memory_gb=4).reason == (
        "1,000,000 x 384: a flat search reads 1.5 GB a query, some 128.0 ms; ivf takes 1.6 GB of memory of the 4.0 GB "
        "wanted, in 4,000 lists (4.0 times the square root of the number of vectors; FAISS's guidelines say 4 to 16)"
    )


@pytest.mark.parametrize(
    ("memory_gb", "kind"),
    [(None, "ivf"), (1.6, "ivf"), (1.0, "sq8"), (0.3, "ivf-pq"), (0.075, "ivf-pq"), (0.07, "rabitq"), (0.01, "rabitq")],
)
def test_less_memory_gives_smaller_codes(memory_gb, kind):
    choice = chosen(**({} if memory_gb is None else {"memory_gb": memory_gb}))
    assert choice.kind == kind
    assert memory_gb in (None, 0.01) or choice.vector_bytes * 1e6 <= memory_gb * 1e9


def test_bytes_a_vector_limit_as_memory_does():
    choice = chosen(vector_bytes=80)
    assert (choice.kind, choice.code_bytes, choice.vector_bytes) == ("ivf-pq", 64, 72)


def test_reason_tells_when_nothing_is_small_enough():
    choice = chosen(vector_bytes=10)
    assert "the least of all kinds, but more than is wanted of the 10.0 MB wanted" in choice.reason


def test_float16_takes_half_the_memory():
    assert chosen(kind="flat", stored="float16").vector_bytes == 768


def test_given_numbers_are_kept():
    choice = chosen(kind="ivf-pq", num_lists=100, probes=7, code_bytes=48, refine_factor=3, train_vectors=9_000, seed=5)
    assert (choice.num_lists, choice.probes, choice.code_bytes, choice.refine_factor) == (100, 7, 48, 3)
    assert (choice.train_vectors, choice.seed) == (9_000, 5)


def test_given_numbers_of_a_graph_are_kept():
    choice = chosen(kind="hnsw", links=16, ef_construction=80, ef_search=90)
    assert (choice.links, choice.ef_construction, choice.ef_search) == (16, 80, 90)


def test_lists_follow_the_square_root_and_have_enough_training_vectors():
    assert chosen(kind="ivf").num_lists == 4_000
    assert chosen(kind="ivf").train_vectors == 256_000
    assert chosen(kind="ivf", num_vectors=1_000).num_lists == 25
    assert chosen(kind="ivf", num_vectors=1).num_lists == 1
    assert chosen(kind="ivf", train_vectors=39_000).num_lists == 1_000


def test_higher_recall_looks_further():
    assert chosen(kind="hnsw", recall=0.9).ef_search < chosen(kind="hnsw", recall=0.99).ef_search
    assert chosen(kind="rabitq", recall=0.9).refine_factor < chosen(kind="rabitq", recall=0.99).refine_factor


def test_probes_are_no_more_than_lists():
    assert chosen(kind="ivf", num_vectors=100, probes=1000).probes == chosen(kind="ivf", num_vectors=100).num_lists


def test_probes_are_open_until_training():
    assert chosen(kind="ivf").probes == 0


def test_code_size_that_does_not_divide_the_dimensions_is_refused():
    with pytest.raises(InputError, match=r"--code-bytes 50 must divide the 384 dimensions: give 32, 48, 64"):
        chosen(kind="ivf-pq", code_bytes=50)


def test_option_that_the_kind_has_not_is_refused():
    with pytest.raises(InputError, match="--probes says nothing for --kind flat"):
        chosen(kind="flat", probes=3)


@pytest.mark.parametrize("option", [{"recall": 0}, {"recall": 1.1}, {"memory_gb": 0}, {"kind": "lsh"}, {"links": 1}])
def test_option_out_of_range_is_refused(option):
    with pytest.raises(InputError, match=f"--{next(iter(option)).replace('_', '-')}"):
        VectorConfig.from_options(option)


def test_no_vectors_are_refused():
    with pytest.raises(InputError, match="got 0 x 384"):
        chosen(num_vectors=0)

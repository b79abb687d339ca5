"""Search of an index: equal to sorting all passages for any cut into segments and shards; what it says of itself."""

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_index import Toy, WordEncoder, batch_of, delete, identify, make_index, open_toy

from csgen.errors import InputError
from indexing.index.index import Index
from indexing.index.query import SearchOptions, SearchRequest
from indexing.index.score_offsets import ScoreOffsets
from indexing.passages import Filter
from indexing.store import Store

pytest.importorskip("faiss")

SETTINGS = settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
WORDS = ("red", "house", "houses", "tree", "the", "Denver", "old")
LANGUAGES = ("de", "en", "it")


@pytest.fixture(autouse=True, scope="module")
def no_flushing():
    """Nothing here outlives a power failure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def search(index, queries=None, *, filter=None, num_threads=None, **options):  # noqa: A002
    """A search; queries: texts, an array of vectors, or a dictionary of SearchRequest's fields."""
    if not isinstance(queries, dict):
        queries = {"vectors": queries} if isinstance(queries, np.ndarray) else {"texts": queries}
    options, wanted = SearchOptions.from_options(options), Filter.from_options(filter or {})
    return index.search(SearchRequest(**queries, options=options, filter=wanted), num_threads=num_threads)


def whole_numbers(rng, *shape, most=1):
    """Floats of which sums and products are exact, and often equal."""
    return rng.integers(-most, most + 1, shape).astype(np.float32)


@st.composite
def toys(draw):
    """Passages whose ids begin alike and come in no order, some vectors; owners, shards and deletes."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    num_passages = draw(st.integers(1, 40))
    order = rng.permutation(num_passages)
    rows = [
        (
            f"{rng.choice(LANGUAGES)}/passage {number}",
            " ".join(rng.choice(WORDS, rng.integers(1, 6))),
            {"year": int(rng.integers(2000, 2004))},
        )
        for number in order
    ]
    toy = Toy(batch_of(rows), whole_numbers(rng, num_passages, 3))
    owners = rng.integers(0, draw(st.integers(1, 6)), num_passages)
    deleted = [address for address in toy.addresses if rng.random() < draw(st.sampled_from([0, 0.3]))]
    return toy, {"owners": owners, "num_shards": draw(st.integers(1, 3)), "deleted": deleted}, rng


@st.composite
def filters(draw, toy):
    some = st.lists(st.sampled_from(toy.addresses), max_size=12)
    return {
        "languages": draw(st.none() | st.lists(st.sampled_from([*LANGUAGES, "fr"]), max_size=3)),
        "addresses": draw(st.none() | some),
        "passage_ids": draw(st.none() | some.map(lambda found: [address.partition("/")[2] for address in found])),
        "where": draw(st.none() | st.sampled_from([("year>=2001",), ("year=2002",), ("year in 2000,2003",)])),
    }


def is_allowed(toy, row, wanted, deleted):
    address, year = toy.addresses[row], toy.passages.column("year")[row].as_py()
    language, _, passage_id = address.partition("/")
    years = {"year>=2001": {2001, 2002, 2003}, "year=2002": {2002}, "year in 2000,2003": {2000, 2003}}
    return (
        address not in deleted
        and (wanted["languages"] is None or language in wanted["languages"])
        and (wanted["addresses"] is None or address in wanted["addresses"])
        and (wanted["passage_ids"] is None or passage_id in wanted["passage_ids"])
        and (wanted["where"] is None or year in years[wanted["where"][0]])
    )


@SETTINGS
@given(toys(), st.integers(1, 50), st.data())
def test_dense_search_gives_what_sorting_all_passages_gives_for_any_cut_filter_and_deletes(made, top_k, data):
    toy, cut, rng = made
    wanted, queries = data.draw(filters(toy)), whole_numbers(rng, 3, 3)
    rows = [row for row in range(len(toy.vectors)) if is_allowed(toy, row, wanted, cut["deleted"])]
    with tempfile.TemporaryDirectory() as folder:
        result = search(open_toy(f"{folder}/index", toy, lexical=False, **cut), queries, filter=wanted, top_k=top_k)
        found = result.addresses
    scores = queries @ toy.vectors.T
    for query in range(3):
        expected = sorted(rows, key=lambda row: (-scores[query, row], toy.addresses[row]))[:top_k]
        assert found[query] == [toy.addresses[row] for row in expected]
        assert result.scores[query, : len(expected)].tolist() == scores[query, expected].tolist()
    assert (result.done.allowed, result.done.over_size) == (len(rows), top_k > len(rows))


@cache
def write_offsets():
    """A file of offsets that change the order of languages."""
    path = str(Path(tempfile.mkdtemp(prefix="csgen-index-"), "offsets.json"))
    same = {"before": 0, "after": 0}
    content = {
        "kind": "affine",
        "encoder": None,
        "learnt_from": "nothing",
        "judgements": {},
        "effect": {"queries": 1, "reciprocal_rank": same, "recall": same, "shares": {}},
        "languages": {"de": {"scale": 0.5, "shift": 2}, "en": {"shift": -1}},
    }
    ScoreOffsets.model_validate(content).write(path)
    return path


KINDS = (
    {"mode": "lexical"},
    {"mode": "lexical", "least_hits": {"each": 2}},
    {"mode": "hybrid", "weights": {"dense": 2}, "candidates": 7},
    {"mode": "hybrid", "least_shares": {"de": 0.5, "it": 0.25}},
    {"mode": "dense", "least_hits": {"it": 3, "each": 1}},
    {"mode": "dense", "offsets": "OFFSETS"},
    {"mode": "hybrid", "offsets": "OFFSETS", "least_hits": {"each": 1}, "expansion_weight": 0.5},
)


@SETTINGS
@given(toys(), st.sampled_from(KINDS), st.integers(6, 50), st.data())
def test_every_mode_gives_the_same_for_any_cut_as_for_one_segment(made, options, top_k, data):
    toy, cut, rng = made
    options = {name: write_offsets() if value == "OFFSETS" else value for name, value in options.items()}
    wanted = data.draw(filters(toy)) | {"languages": None}
    texts = [" ".join(rng.choice(WORDS, 3)) for _ in range(6)]
    queries = {"texts": texts[:3], "vectors": whole_numbers(rng, 3, 3)}
    if options["mode"] == "hybrid":
        queries |= {"expansions": [*texts[3:5], ""], "expansion_vectors": whole_numbers(rng, 3, 3)}
    missing = {*options.get("least_hits", {}), *options.get("least_shares", {})} - {"each"} - {*languages_of(toy)}
    if missing:
        return
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name, own in (("cut", cut), ("whole", {"deleted": cut["deleted"]})):
            index = open_toy(f"{folder}/{name}", toy, **own)
            result = search(index, queries, filter=wanted, top_k=top_k, **options)
            results.append((result.addresses, result.scores, result.ranks))
    (found, scores, ranks), (expected, expected_scores, expected_ranks) = results
    assert found == expected
    np.testing.assert_array_equal(scores, expected_scores)
    np.testing.assert_array_equal(ranks, expected_ranks)


def languages_of(toy):
    return sorted({address.partition("/")[0] for address in toy.addresses})


@pytest.fixture(scope="module")
def twins():
    """200 passages with one vector, and 20 others that are worse, in no order, and an index of them in 7 segments."""
    rng = np.random.default_rng(5)
    rows = [(f"en/passage {number}", "text") for number in rng.permutation(220)]
    same = np.array([int(address.rpartition(" ")[2]) < 200 for address, _ in rows])
    vectors = np.where(same[:, None], 1, -1) * np.ones((220, 4))
    vectors[~same] += rng.random((20, 4)) / 2
    toy = Toy(batch_of(rows), vectors.astype(np.float32))
    with tempfile.TemporaryDirectory() as folder:
        yield open_toy(f"{folder}/index", toy, rng.integers(0, 7, 220), lexical=False)


@pytest.mark.parametrize("top_k", [1, 3, 30, 195, 199, 200, 205, 220])
def test_more_equal_scores_than_hits_go_by_address(twins, top_k):
    found = search(twins, np.ones((2, 4), np.float32), top_k=top_k).addresses
    expected = sorted(f"en/passage {number}" for number in range(200))[:top_k]
    assert found[0][:200] == found[1][:200] == expected
    assert len(found[0]) == top_k


def test_scores_that_float32_cannot_tell_apart_go_by_address(tmp_path):
    vectors = np.array([[1, 1e-8], [1, 2e-8], [1, 0], [0.5, 0]], np.float32)
    toy = Toy(batch_of([("en/b", "x"), ("en/c", "x"), ("en/a", "x"), ("en/d", "x")]), vectors)
    result = search(open_toy(tmp_path / "index", toy), np.ones((1, 2), np.float32), top_k=2)
    assert result.addresses == [["en/a", "en/b"]]
    assert result.scores.tolist() == [[1, 1]]


def ordinary(num_passages=300, dim=16, seed=1):
    """Passages in three languages, of which Italian has every thirtieth alone; with metadata and vectors of chance."""
    rng = np.random.default_rng(seed)
    languages = ["it" if number % 30 == 0 else ("de", "en")[number % 2] for number in range(num_passages)]
    rows = [
        (f"{language}/{number}", f"word{number % 50} common", {"year": 2000 + number % 20, "section": f"s{number % 3}"})
        for number, language in enumerate(languages)
    ]
    return Toy(batch_of(rows), rng.standard_normal((num_passages, dim)).astype(np.float32))


@pytest.fixture(scope="module")
def index():
    """Six segments of `ordinary` passages in three shards."""
    toy = ordinary()
    with tempfile.TemporaryDirectory() as folder:
        yield open_toy(f"{folder}/index", toy, np.arange(300) // 50, num_shards=3)


QUERIES = np.random.default_rng(7).standard_normal((5, 16)).astype(np.float32)


def test_a_query_has_the_same_hits_alone_and_for_any_number_of_threads(index):
    together = search(index, {"texts": ["word3 common"] * 5, "vectors": QUERIES}, mode="hybrid", num_threads=2)
    for query in range(5):
        alone = search(index, {"texts": ["word3 common"], "vectors": QUERIES[query : query + 1]}, mode="hybrid")
        assert alone.addresses[0] == together.addresses[query]
        np.testing.assert_array_equal(alone.scores[0], together.scores[query])


@pytest.mark.parametrize("kind", ["ivf", "sq8"])
def test_kinds_with_lists_give_the_same_for_any_cut(tmp_path, kind):
    toy, options = ordinary(600), {"kind": kind, "num_lists": 8, "probes": 2, "lexical": False}
    whole = open_toy(tmp_path / "whole", toy, **options)
    cut = open_toy(tmp_path / "cut", toy, np.arange(600) % 7, num_shards=2, **options)
    found, expected = search(cut, QUERIES), search(whole, QUERIES)
    assert found.addresses == expected.addresses
    assert all(found.done.cut_off)
    assert found.done.exact_scores
    assert max(found.done.examined) < 600
    assert not search(cut, QUERIES, refine_factor=0).done.exact_scores or kind == "ivf"


def test_several_threads_may_share_an_index(index):
    expected = search(index, QUERIES).addresses
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: search(Index.open(index.folder), QUERIES).addresses, range(3)))
        found += list(threads.map(lambda _: search(index, QUERIES).addresses, range(8)))
    assert found == [expected] * 11


# What a search says of itself.


def test_result_says_what_was_done(index):
    done = search(index, QUERIES, top_k=4, filter={"where": ("year=2003",)}).done
    assert (done.index_version, done.shards_asked, done.shards_answered) == (2, 3, 3)
    assert (done.segments, done.segments_searched, done.passages, done.allowed) == (6, 6, 300, 15)
    assert (done.over_size, done.exact_scores, done.lists, done.lost) == (False, True, ("dense",), None)
    assert done.examined == (15,) * 5
    assert search(index, QUERIES).done.examined == (300,) * 5
    assert done.cut_off == (False,) * 5
    assert (done.truncated_texts, done.untranslated, done.languages_without_offset) == (0, (), ())


def test_segments_without_a_passage_that_may_be_found_are_not_searched(index):
    assert search(index, QUERIES, filter={"addresses": ("en/101", "de/104")}).done.segments_searched == 1


def test_lexical_search_does_not_tell_how_much_it_examined(index):
    assert search(index, ["word3"], mode="lexical").done.examined == (None,)


def test_more_hits_asked_for_than_there_are_is_told_and_needs_no_more_room(index):
    for mode in ("dense", "lexical", "hybrid"):
        result = search(index, {"texts": ["common"], "vectors": QUERIES[:1]}, mode=mode, top_k=10**9)
        assert result.done.over_size
        assert len(result.addresses[0]) == 300
        assert result.numbers.shape == (1, 300)


def test_no_query_and_no_allowed_passage_give_no_hit(index):
    assert search(index, QUERIES[:0]).addresses == []
    for mode in ("dense", "lexical", "hybrid"):
        for wanted in ({"languages": ()}, {"addresses": ("de/nothing",)}, {"languages": ("fr",)}):
            queries = {"texts": ["common"] * 2, "vectors": QUERIES[:2]}
            result = search(index, queries, mode=mode, filter=wanted, least_hits={"each": 1})
            assert (result.addresses, result.done.allowed) == ([[], []], 0)


def test_an_empty_index_gives_no_hit(tmp_path):
    toy = Toy(batch_of([]), np.zeros((0, 4), np.float32))
    empty = open_toy(tmp_path / "index", toy)
    for mode in ("dense", "lexical", "hybrid"):
        result = search(empty, {"texts": ["red"], "vectors": QUERIES[:1, :4]}, mode=mode)
        assert result.addresses == [[]]
        assert (result.done.segments, result.done.over_size, result.read().num_rows) == (0, True, 0)


def test_ids_are_segment_number_and_row(index):
    result = search(index, QUERIES, top_k=1, filter={"addresses": ("en/101",)})
    assert result.ids.tolist() == [[3 << 32 | 1]] * 5
    assert search(index, QUERIES[:1], filter={"addresses": ()}).ids.tolist() == [[]]


def test_hits_come_as_a_table_with_the_columns_asked_for(index):
    result = search(index, QUERIES, top_k=2)
    table = result.read(("language", "passage_id", "title", "text", "year"))
    assert table["query"].to_pylist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert table["rank"].to_pylist() == [1, 2] * 5
    assert table["title"].null_count == 10
    for row, address in zip(table.to_pylist(), chain(*result.addresses), strict=True):
        assert f"{row['language']}/{row['passage_id']}" == address
        assert row["year"] == 2000 + int(row["passage_id"]) % 20
    assert search(index, QUERIES).read(()).column_names == ["query", "rank", "score"]
    with pytest.raises(InputError, match="no field 'size'; there are language, passage_id, title, text, section, year"):
        result.read(("size",))


def test_json_has_hits_with_their_ranks_in_each_list_and_what_was_done(index):
    query = {"texts": ["word3"], "vectors": QUERIES[:1]}
    found = json.loads(json.dumps(search(index, query, mode="hybrid", candidates=20).to_json()))
    assert set(found["hits"][0]) == {"query", "rank", "score", "language", "passage_id", "text", "ranks"}
    assert (found["index_version"], found["shards_asked"], found["shards_answered"]) == (2, 3, 3)
    assert found["lists"] == ["dense", "lexical"]
    assert {name for hit in found["hits"] for name in hit["ranks"]} == {"dense", "lexical"}
    assert "ranks" not in search(index, query).to_json()["hits"][0]


def test_metadata_that_a_segment_lacks_are_null_there(tmp_path):
    import pyarrow as pa

    from indexing.index.filling import fill_segment
    from indexing.index.opened import OpenSegments

    folder = make_index(tmp_path / "index", Toy(batch_of([("en/1", "x", {"year": 5})]), np.ones((1, 2), np.float32)))
    trained = OpenSegments(Store.open(folder), Store.open(folder).read_version(), Index.open(folder).settings, "cpu")
    with Store.open(folder).write("add") as writer:
        draft = writer.new_segment(0)
        more = Toy(batch_of([("en/2", "x", {"size": "big"})]), np.ones((1, 2), np.float32))
        filled = fill_segment(draft.folder, more, trained._trained, lexical=True, source="toy")
        draft.seal(filled.passages, filled.facts, filled.files)
        writer.publish()
    result = search(Index.open(folder), np.ones((1, 2), np.float32))
    assert result.read(("year", "size"))["year"].to_pylist() == [5, None]
    assert result.read(("size",))["size"].to_pylist() == [None, "big"]
    assert result.read(("year",))["year"].type == pa.int64()
    assert search(Index.open(folder), np.ones((1, 2), np.float32), filter={"where": ("size=big",)}).addresses == [
        ["en/2"]
    ]
    with pytest.raises(InputError, match="no field 'colour'"):
        search(Index.open(folder), np.ones((1, 2), np.float32), filter={"where": ("colour=red",)})


# Languages.


def test_a_small_language_gets_the_hits_that_it_is_to_have_at_least(index):
    before = search(index, QUERIES, top_k=10)
    few = [sum(one.startswith("it/") for one in hits) for hits in before.addresses]
    assert min(few) < 2
    for options in ({"least_hits": {"it": 3}}, {"least_shares": {"it": 0.3}}, {"least_hits": {"each": 3}}):
        result = search(index, QUERIES, top_k=10, **options)
        for hits, scores in zip(result.addresses, result.scores.tolist(), strict=True):
            assert sum(one.startswith("it/") for one in hits) >= 3
            assert scores == sorted(scores, reverse=True)
            assert len(hits) == 10


def test_what_languages_do_not_take_goes_to_the_best_of_all(index):
    plain, best = search(index, QUERIES, top_k=300), search(index, QUERIES, top_k=10, least_hits={"it": 2})
    for hits, everything in zip(best.addresses, plain.addresses, strict=True):
        italian = [one for one in everything if one.startswith("it/")][:2]
        others = [one for one in everything if one not in italian][:8]
        assert hits == [one for one in everything if one in italian or one in others]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"least_hits": {"fr": 1}}, "--least-hits: 'fr' is not among the languages searched: de, en, it"),
        (
            {"least_hits": {"it": 5, "each": 3}},
            r"--least-hits: 11 hits in all \(de 3, en 3, it 5\) are more than top_k, 10",
        ),
        ({"least_shares": {"each": 0.5}}, "--least-shares: 15 hits in all"),
        ({"least_shares": {"it": 1.5}}, r"--least-shares: must be in \[0, 1\]"),
        ({"least_hits": {"it": 1}, "least_shares": {"it": 0.1}}, "--least-hits and --least-shares: give one of them"),
    ],
)
def test_least_hits_that_cannot_be_are_refused(index, options, message):
    with pytest.raises(InputError, match=message):
        search(index, QUERIES, **options)


def test_offsets_change_scores_by_language_before_they_are_merged(index):
    plain, mapped = search(index, QUERIES, top_k=300), search(index, QUERIES, top_k=300, offsets=write_offsets())
    maps = {"de": lambda s: np.float32(s * 0.5 + 2), "en": lambda s: np.float32(s - 1), "it": lambda s: s}
    for query in range(5):
        scores = {
            address: maps[address[:2]](float(score))
            for address, score in zip(plain.addresses[query], plain.scores[query], strict=True)
        }
        assert mapped.addresses[query] == sorted(scores, key=lambda one: (-scores[one], one))
    assert mapped.done.languages_without_offset == ("it",)


# Texts, expansions, translation.


@pytest.fixture(scope="module")
def worded():
    """German, English and Italian passages, an encoder for which translations mean the same, and an index of them."""
    texts = {
        "en": ["the red house", "a green garden", "the old bridge over the river"],
        "de": ["das rote Haus", "ein Garten", "die alte Brücke"],
        "it": ["la casa rossa", "un giardino"],
    }
    rows = [(f"{language}/p{number}", text) for language, own in texts.items() for number, text in enumerate(own)]
    meanings = {"Haus": "house", "casa": "house", "Garten": "garden", "giardino": "garden", "Brücke": "bridge"}
    encoder = WordEncoder(meanings=meanings)
    toy = Toy(batch_of(rows), encoder.encode([text for _, text in rows]))
    with tempfile.TemporaryDirectory() as folder:
        yield open_toy(f"{folder}/index", toy, np.arange(8) % 3, encoder=identify(encoder))


def test_texts_are_encoded_and_those_cut_off_are_counted(worded):
    result = search(worded, ["house", "garden " * 9], top_k=3)
    assert {address[:2] for address in result.addresses[1]} == {"de", "en", "it"}
    assert all(address.endswith("p0") for address in result.addresses[0])
    assert result.done.truncated_texts == 1


def test_vectors_are_taken_in_place_of_texts_where_both_are_given(worded):
    vectors = worded.encode(["garden"])[0]
    both = search(worded, {"texts": ["Haus"], "vectors": vectors}, mode="hybrid", top_k=3)
    assert both.ranks[0, 0].tolist() != [0, 0, 0]
    dense = search(worded, {"texts": ["Haus"], "vectors": vectors}, top_k=3)
    assert dense.addresses == search(worded, ["garden"], top_k=3).addresses


def test_lexical_search_finds_words_as_they_are_in_each_language(worded):
    assert search(worded, ["Haus"], mode="lexical").addresses == [["de/p0"]]
    assert search(worded, ["garden bridge"], mode="lexical").addresses == [["en/p1", "en/p2"]]


def test_translated_search_translates_where_the_lexicon_leads(worded, sample_lexicon):
    options = {"mode": "translated", "query_language": "en", "lexicon": sample_lexicon}
    result = search(worded, ["house"], **options)
    assert {*result.addresses[0]} >= {"de/p0", "en/p0", "it/p0"}
    assert result.done.untranslated == ("en",)
    assert search(worded, ["house"], filter={"languages": ("de",)}, **options).addresses == [["de/p0"]]
    german = search(worded, ["Haus"], mode="translated", query_language="ja", lexicon=sample_lexicon)
    assert german.done.untranslated == ()


def test_hybrid_search_may_fuse_all_three_ways(worded, sample_lexicon):
    ways = ("dense", "lexical", "translated")
    options = {"mode": "hybrid", "ways": ways, "query_language": "en", "lexicon": sample_lexicon}
    result = search(worded, ["house"], **options)
    assert result.done.lists == ways
    assert {*result.addresses[0][:3]} == {"de/p0", "en/p0", "it/p0"}
    assert result.addresses[0][0] == "en/p0", "which all three found"


def test_expansions_are_a_second_form_of_the_queries_that_is_fused(worded):
    queries = {"texts": ["bridge", "bridge"], "expansions": ["garden", " "]}
    result = search(worded, queries, mode="lexical", top_k=5)
    assert result.done.lists == ("lexical", "lexical of expansions")
    assert result.addresses == [["en/p1", "en/p2"], ["en/p2"]], "a tie of two first ranks goes by address"
    assert result.ranks[:, 0, :2].tolist() == [[0, 1], [1, 0]]
    heavier = search(worded, queries, mode="lexical", expansion_weight=0.5)
    assert heavier.addresses[0] == ["en/p2", "en/p1"]


def test_expansions_of_dense_search_are_encoded_or_vectors(worded):
    texts = search(worded, {"texts": ["bridge"], "expansions": ["garden"]}, top_k=8)
    vectors = {"vectors": worded.encode(["bridge"])[0], "expansion_vectors": worded.encode(["garden"])[0]}
    given = search(worded, vectors, top_k=8)
    assert texts.addresses == given.addresses
    assert texts.addresses != search(worded, ["bridge"], top_k=8).addresses
    assert texts.done.examined == (16,), "both forms"


def test_no_expansion_at_all_is_a_plain_search(worded):
    assert search(worded, {"texts": ["bridge"], "expansions": [""]}).done.lists == ("dense",)


# What is refused.


@pytest.mark.parametrize(
    ("queries", "options", "message"),
    [
        ({}, {}, "a search needs queries: texts, vectors or both"),
        ({"texts": ["a", " "]}, {}, r"query 1 \(from 0\) is empty"),
        ({"texts": ["a"], "vectors": QUERIES}, {}, "1 queries, but 5 vectors: give one each"),
        ({"vectors": QUERIES}, {"mode": "lexical"}, "lexical search needs the queries' texts"),
        ({"vectors": QUERIES}, {"mode": "hybrid"}, "lexical search needs the queries' texts"),
        ({"vectors": QUERIES[:, :9]}, {}, r"queries must be of shape \(queries, 16\), got \(5, 9\)"),
        ({"vectors": QUERIES * np.nan}, {}, r"query 0 \(from 0\) has numbers that are not finite"),
        ({"texts": ["a"]}, {}, "its vectors came from files: give the queries' vectors"),
        ({"texts": ["a"], "expansions": []}, {"mode": "lexical"}, "1 queries, but 0 expansions: give one each"),
        (
            {"texts": ["a"], "vectors": QUERIES[:1], "expansion_vectors": QUERIES[:1]},
            {"mode": "hybrid"},
            "lexical search needs the expansions' texts beside their vectors",
        ),
        ({"texts": ["a"]}, {"mode": "translated"}, "translated search needs --lexicon and --query-language"),
        ({"texts": ["a"]}, {"mode": "lexical", "offsets": "x"}, "--offsets: there are dense scores in the mode dense"),
        ({"texts": ["a"]}, {"weights": {"bm25": 1}}, "--weights: 'bm25' is not among the ways dense, lexical"),
        ({"texts": ["a"]}, {"weights": {"dense": 0}}, "--weights: must be over 0"),
        ({"texts": ["a"]}, {"ways": ("dense", "dense")}, "--ways dense,dense: names a way twice"),
        ({"vectors": QUERIES}, {"top_k": 0}, "--top-k: input should be greater than or equal to 1, got 0"),
        ({"vectors": QUERIES}, {"offsets": "nowhere.json"}, "nowhere.json: no such file"),
    ],
)
def test_requests_that_cannot_be_are_refused(index, queries, options, message):
    with pytest.raises(InputError, match=message):
        search(index, queries, **options)


def test_an_index_without_a_lexical_part_says_so(tmp_path):
    plain = open_toy(tmp_path / "index", ordinary(10), lexical=False)
    with pytest.raises(InputError, match="was built without a lexical part: search by --mode dense"):
        search(plain, ["a"], mode="lexical")


def test_another_encoder_than_the_indexs_is_refused_and_both_are_named(worded):
    with pytest.raises(InputError, match=r"was made with the encoder toy \(hash .*\), not with other \(hash"):
        Index.open(worded.folder, encoder=identify(WordEncoder(), "other"))


def test_offsets_of_another_encoder_are_refused(worded):
    with pytest.raises(InputError, match="offsets of the encoder with hash None, the index has that with"):
        search(worded, ["house"], offsets=write_offsets())


def test_a_file_that_is_no_offsets_is_refused(index, tmp_path):
    (tmp_path / "offsets.json").write_text('{"kind": "shift"}')
    with pytest.raises(InputError, match=r"offsets\.json: not a file of score offsets: encoder: Field required"):
        search(index, QUERIES, offsets=str(tmp_path / "offsets.json"))


# Versions, faults and repair.


def test_an_open_index_stays_as_it_was_and_older_versions_can_be_opened(tmp_path):
    toy = ordinary(40)
    folder = make_index(tmp_path / "index", toy, np.arange(40) % 3)
    before = Index.open(folder)
    best = search(before, QUERIES[:1], top_k=1).addresses[0]
    delete(Store.open(folder), best)
    after = Index.open(folder)
    assert best == search(before, QUERIES[:1], top_k=1).addresses[0]
    assert best != search(after, QUERIES[:1], top_k=1).addresses[0]
    assert (len(before), len(after), sum(after.count_languages().values())) == (40, 39, 39)
    assert best == search(Index.open(folder, 2), QUERIES[:1], top_k=1).addresses[0]
    with pytest.raises(InputError, match="no version 9"):
        Index.open(folder, 9)


def test_an_index_that_was_searched_outlives_its_files(tmp_path):
    import shutil

    index = open_toy(tmp_path / "index", ordinary(40), np.arange(40) % 3)
    queries = {"texts": ["common"], "vectors": QUERIES[:1]}
    expected = search(index, queries, mode="hybrid").addresses
    shutil.rmtree(tmp_path / "index")
    assert search(index, queries, mode="hybrid").addresses == expected


def test_opening_reads_no_segment(tmp_path):
    folder = make_index(tmp_path / "index", ordinary(40))
    index = Index.open(folder)
    (folder / "segments/00000001/addresses.arrow").unlink()
    assert len(index) == 40
    with pytest.raises(InputError, match=r"addresses\.arrow: No such file or directory: restore the index"):
        search(index, QUERIES)


def test_a_damaged_segment_is_named_and_the_rest_can_be_searched(tmp_path):
    toy = ordinary(60)
    folder = make_index(tmp_path / "index", toy, np.arange(60) // 20, num_shards=3)
    vectors = folder / "segments/00000002/vectors.npy"
    content = vectors.read_bytes()
    faults = {
        "missing": vectors.unlink,
        "truncated": lambda: vectors.write_bytes(content[:-100]),
        "altered": lambda: vectors.write_bytes(b"x" + content[1:]),
    }
    for fault, damage in faults.items():
        damage()
        if fault != "altered":
            with pytest.raises(InputError, match=rf"segments/00000002/vectors\.npy .segment 00000002. is {fault}"):
                Index.open(folder)
        with pytest.raises(InputError, match=r"segments/00000002/vectors\.npy"):
            search(Index.open(folder, hashes=True), QUERIES)
        index = Index.open(folder, repair=True)
        result = search(index, {"texts": ["common"], "vectors": QUERIES[:1]}, mode="hybrid", top_k=60)
        assert sorted(result.addresses[0]) == sorted(toy.addresses[:20] + toy.addresses[40:])
        assert (result.done.shards_asked, result.done.shards_answered, result.done.segments) == (3, 2, 3)
        assert result.done.lost.startswith("lost 1 of 3 segments, 20 of 60 passages: segments/00000002")
        assert fault in result.done.lost
        assert index.repair.lost_passages == 20


def test_a_whole_index_opened_for_repair_has_lost_nothing(index):
    repaired = Index.open(index.folder, repair=True)
    assert (repaired.repair.lost, search(repaired, QUERIES).done.lost) == ((), None)
    assert search(repaired, QUERIES).addresses == search(index, QUERIES).addresses


def test_what_all_segments_share_cannot_be_repaired(tmp_path):
    folder = make_index(tmp_path / "index", ordinary(300), kind="ivf", num_lists=4, lexical=False)
    centroids = next(folder.glob("trained/*/centroids.npy"))
    centroids.write_bytes(centroids.read_bytes()[:-4] + b"abcd")
    with pytest.raises(InputError, match=r"centroids\.npy: altered since training"):
        Index.open(folder, repair=True)


def test_searching_loads_neither_ray_nor_torch(index):
    code = (
        "import sys, numpy as np; from indexing.index.index import Index; from indexing.index.query import *; "
        f"Index.open({str(index.folder)!r}).search(SearchRequest(vectors=np.ones((1, 16), np.float32))); "
        "print({'ray', 'torch', 'transformers'} & {*sys.modules})"
    )
    root = Path(__file__).parents[1]
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"

"""The lexical part of segments: BM25 over any cut of the passages equals BM25 over one index of all of them."""

import shutil
from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_passages import batch, write, write_whole

from csgen.errors import InputError
from csgen.lexicon.entries import read_entries
from csgen.sources.collection import join_titles, read_collection
from csgen.sources.sample import SAMPLE_FOLDER
from indexing import structured
from indexing.analysis import Analyser
from indexing.lexical import Bm25, LexicalIndex
from indexing.passages import (
    LexicalPart,
    LexicalSearch,
    TranslatedSearch,
    merge_hits,
    segments,
    terms,
    write_lexical,
)
from indexing.passages.strings import as_strings, read_first_bytes
from indexing.passages.terms import file_name
from indexing.postings import Counted, count_terms, invert
from indexing.ranking import NO_HIT, Asked, rank
from indexing.structured import TranslatedIndex
from indexing.translation import Translations

patient = settings(deadline=None, max_examples=15)
WORDS = ("cat", "dogs", "house", "tree", "the", "houses", "Denver")
GERMAN = ("Katze", "Haus", "der", "Denver", "alte Katze", "Baum")
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join), max_size=12)
QUERIES = st.lists(st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join), min_size=1, max_size=4)


def series(values):
    return pl.Series(values, dtype=pl.String)


@cache
def translations():
    columns = {"source_language": "de", "target_language": "en"}
    pairs = [
        ("Katze", "cat", 1.0),
        ("Haus", "house", 0.75),
        ("Haus", "cat house", 0.25),
        ("alte Katze", "old cat", 1.0),
    ]
    rows = [{**columns, "source": source, "target": target, "weight": weight} for source, target, weight in pairs]
    return Translations.between(pl.DataFrame(rows), "de", "en")


@st.composite
def collections(draw):
    """English passages with ids in any order, and the segment that each goes to."""
    texts = draw(TEXTS)
    places = draw(st.permutations(range(len(texts))))
    owners = draw(st.lists(st.integers(0, 2), min_size=len(texts), max_size=len(texts)))
    return [(f"en/passage {place}", text) for place, text in zip(places, texts, strict=True)], owners


def segment(folder, passages, owners):
    """The parts of three segments, of which some may be empty."""
    parts = []
    for number in range(3):
        own = [passage for passage, owner in zip(passages, owners, strict=True) if owner == number]
        columns = {
            "language": [a[:2] for a, _ in own],
            "passage_id": [a[3:] for a, _ in own],
            "text": [t for _, t in own],
        }
        rows = pa.record_batch({name: pa.array(values, pa.string()) for name, values in columns.items()})
        parts.append(write_whole(folder / str(number), rows))
    return parts


def addresses_of(parts, hits):
    """The addresses of each query's hits, "" behind the last."""
    return [
        [
            "" if row == NO_HIT else parts[number].table.addresses([row])[0].as_py()
            for number, row in zip(*hit, strict=True)
        ]
        for hit in zip(hits.segments.tolist(), hits.rows.tolist(), strict=True)
    ]


def bitmaps_of(parts, allowed):
    """Bitmaps of the segments' rows, by the addresses that are allowed."""
    tables = [part.table for part in parts]
    kept = [[address in allowed for address in t.addresses(np.arange(len(t))).to_pylist()] for t in tables]
    return [np.packbits(np.array(rows, np.bool_), bitorder="little") for rows in kept]


def expect(ordered, hits):
    """The addresses of hits in an index of passages ordered by address."""
    return [["" if row == NO_HIT else ordered[row][0] for row in rows] for rows in hits[0].tolist()]


@patient
@given(collections(), QUERIES, st.integers(1, 15), st.data())
def test_any_cut_into_segments_finds_what_one_index_finds(tmp_path_factory, made, queries, top_k, data):
    passages, owners = made
    parts = segment(tmp_path_factory.mktemp("cut"), passages, owners)
    ordered = sorted(passages)
    parameters = data.draw(st.sampled_from([Bm25(), Bm25(1.2, 0.75), Bm25(0.0, 0.0)]))
    one = LexicalIndex.build(series([text for _, text in ordered]), "en", parameters)
    search = LexicalSearch(parts, "en", parameters)
    found, expected = search.search(series(queries), top_k), one.search(series(queries), top_k)
    assert addresses_of(parts, found) == expect(ordered, expected)
    np.testing.assert_array_equal(found.scores, expected[1])
    allowed = set(data.draw(st.lists(st.sampled_from([a for a, _ in passages]))) if passages else [])
    among = one.search(series(queries), top_k, np.array([address in allowed for address, _ in ordered], np.bool_))
    found = search.search(series(queries), top_k, bitmaps_of(parts, allowed))
    assert addresses_of(parts, found) == expect(ordered, among)
    np.testing.assert_array_equal(found.scores, among[1])


@patient
@given(
    collections(),
    st.lists(st.lists(st.sampled_from(GERMAN), max_size=4).map(" ".join), min_size=1, max_size=4),
    st.integers(1, 15),
)
def test_translated_queries_find_what_one_translated_index_finds(tmp_path_factory, made, queries, top_k):
    passages, owners = made
    parts = segment(tmp_path_factory.mktemp("cut"), passages, owners)
    ordered = sorted(passages)
    one = TranslatedIndex.build(series([text for _, text in ordered]), translations())
    search = TranslatedSearch(parts, translations())
    found, expected = search.search(series(queries), top_k), one.search(series(queries), top_k)
    np.testing.assert_allclose(found.scores, expected[1], rtol=1e-5)
    scores = np.pad(expected[1], ((0, 0), (1, 1)), constant_values=(np.inf, -1))
    apart = np.abs(np.diff(scores, axis=1)) > 1e-5 * expected[1].max(initial=1)  # rounding may part equal scores
    apart = apart[:, :-1] & apart[:, 1:]
    apart[:, -1:] = False  # the last may be one of several
    pairs = zip(addresses_of(parts, found), expect(ordered, expected), apart.tolist(), strict=True)
    for ours, theirs, clear in pairs:
        assert [a for a, sure in zip(ours, clear, strict=True) if sure] == [
            a for a, sure in zip(theirs, clear, strict=True) if sure
        ]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Three segments: English and German, German alone, none of either."""
    folder = tmp_path_factory.mktemp("mixed")
    return [
        write_whole(folder / "0", batch("en/2 red house", "de/2 rotes Haus", "en/1 red red tree")),
        write_whole(folder / "1", batch("de/1 rotes Haus", "de/3 Baum")),
        write_whole(folder / "2", batch("fr/1 maison rouge")),
    ]


def test_hits_are_of_the_language_alone(mixed):
    hits = LexicalSearch(mixed, "de").search(series(["rote Häuser", "Baum", "red", ""]), 10)
    assert addresses_of(mixed, hits) == [["de/1", "de/2", ""], ["de/3", "", ""], [""] * 3, [""] * 3]
    assert hits.segments.tolist()[0] == [1, 0, NO_HIT]
    assert (hits.segments.dtype, hits.rows.dtype, hits.scores.dtype) == (np.int32, np.int64, np.float32)


def test_a_language_of_no_segment_has_no_hits(mixed):
    assert LexicalSearch(mixed, "it").search(series(["rosso"]), 10).rows.shape == (1, 0)
    assert LexicalSearch([], "it").search(series(["rosso"]), 10).rows.shape == (1, 0)


def test_no_queries_have_no_rows(mixed):
    assert LexicalSearch(mixed, "de").search(series([]), 10).rows.shape == (0, 3)
    assert TranslatedSearch(mixed, translations()).search(series([]), 10).rows.shape == (0, 2)


def test_excluded_passages_still_count_in_the_statistics(mixed):
    search, none = LexicalSearch(mixed, "de"), np.zeros(1, np.uint8)
    all_hits, fewer = (search.search(series(["Haus"]), 1, allowed) for allowed in (None, [None, none, None]))
    assert addresses_of(mixed, all_hits) == [["de/1"]]
    assert addresses_of(mixed, fewer) == [["de/2"]]
    assert fewer.scores == all_hits.scores


def test_a_title_is_searched_before_its_text(tmp_path):
    part = write_whole(tmp_path, batch("en/1 house", "en/2 tree", title=["Red", None]))
    hits = LexicalSearch([part], "en").search(series(["red", "house"]), 1)
    expected = LexicalIndex.build(series(["Red house", "tree"]), "en").search(series(["red", "house"]), 1)
    np.testing.assert_array_equal(hits.scores, expected[1])


def test_equal_scores_are_ordered_by_address_across_segments(tmp_path):
    ids = ["same beginning b", "b", "same beginning a", "same beginning c", "a", "ä"]
    passages = [(f"en/{passage_id}", "house") for passage_id in ids]
    parts = segment(tmp_path, [*passages, ("en/z", "tree")], [0, 0, 1, 1, 2, 2, 0])
    for top_k in range(1, 7):
        hits = LexicalSearch(parts, "en").search(series(["house"]), top_k)
        assert addresses_of(parts, hits) == [sorted(address for address, _ in passages)[:top_k]]


def test_bitmaps_of_another_size_are_refused(mixed):
    search = LexicalSearch(mixed, "de")
    with pytest.raises(ValueError, match="a bitmap or None for each of 3 segments"):
        search.search(series(["Haus"]), 1, [None])
    with pytest.raises(ValueError, match=r"3 rows need 1 bytes, got \(2,\)"):
        search.search(series(["Haus"]), 1, [np.zeros(2, np.uint8), None, None])


def test_bitmaps_of_the_search_before_make_no_difference(mixed):
    search, queries = LexicalSearch(mixed, "de"), series(["Haus", "Baum"])
    whole = search.search(queries, 2)
    for first, second in [(0, 3), (2, 1), (0, 3)]:
        bitmaps = [np.array([first], np.uint8), np.array([second], np.uint8), None]
        for _ in range(2):
            fresh = LexicalSearch(mixed, "de").search(queries, 2, bitmaps)
            np.testing.assert_array_equal(search.search(queries, 2, bitmaps).rows, fresh.rows)
    np.testing.assert_array_equal(search.search(queries, 2).rows, whole.rows)


def test_top_k_must_be_positive(mixed):
    with pytest.raises(ValueError, match="top_k must be 1 or more, got 0"):
        LexicalSearch(mixed, "de").search(series(["Haus"]), 0)


def test_chunks_make_no_difference(mixed, monkeypatch):
    queries = series(["red house", "tree", "", "house tree red", "Denver"])
    german = series(["Haus", "alte Katze Haus", "", "Denver Haus", "Baum"])
    searches = [(LexicalSearch(mixed, "en"), queries), (TranslatedSearch(mixed, translations()), german)]
    whole = [search.search(texts, 2) for search, texts in searches]
    monkeypatch.setattr(segments, "_CHUNK_HITS", 1)
    monkeypatch.setattr(structured, "_CHUNK_POSTINGS", 1)
    for (search, texts), expected in zip(searches, whole, strict=True):
        found = search.search(texts, 2)
        np.testing.assert_array_equal(found.rows, expected.rows)
        np.testing.assert_array_equal(found.scores, expected.scores)
    assert whole[1].rows[0, 0] != NO_HIT


@patient
@given(TEXTS, st.integers(1, 4))
def test_files_do_not_depend_on_how_many_passages_are_analysed_at_a_time(tmp_path_factory, texts, size):
    folder = tmp_path_factory.mktemp("chunks")
    table = write(folder, batch(*(f"en/{number} {text}" for number, text in enumerate(["red", *texts]))))
    write_lexical(folder, table)
    whole = (folder / file_name("en")).read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(terms, "_CHUNK_PASSAGES", size)
        write_lexical(folder, table)
    assert (folder / file_name("en")).read_bytes() == whole


def test_terms_with_the_same_hash_are_told_apart(tmp_path, monkeypatch):
    passages = [(f"en/{number}", f"word{number} common") for number in range(30)]
    monkeypatch.setattr(terms, "hash_strings", lambda strings: np.full(len(strings), 7, np.uint64))
    monkeypatch.setattr("indexing.passages.strings.hash_strings", lambda strings: np.full(len(strings), 7, np.uint64))
    parts = segment(tmp_path, passages, [0] * 30)
    hits = LexicalSearch(parts, "en").search(series([f"word{number}" for number in range(31)]), 2)
    assert addresses_of(parts, hits) == [*([f"en/{number}", ""] for number in range(30)), ["", ""]]


def test_wide_pair_numbers_give_the_same_hits():
    found = Analyser("en").find_terms(series(["red house", "red red tree", "house"]))
    counts = invert([count_terms(found)], len(found.vocabulary))
    weights = Bm25().saturation(counts.frequencies, counts.lengths, 2.0)
    places = np.arange(len(found.vocabulary))
    asked = Asked(np.array([0, len(places)]), counts.offsets[:-1], counts.offsets[1:], np.ones(len(places), np.float32))
    wide = replace(counts, pairs=counts.pairs.astype(np.uint32))
    narrow_hits, wide_hits = (rank([source.ask(asked, weights)], 3)[0] for source in (counts, wide))
    np.testing.assert_array_equal(narrow_hits[0], wide_hits[0])
    np.testing.assert_array_equal(narrow_hits[1], wide_hits[1])


def test_more_pairs_than_16_bits_name_have_wider_numbers():
    num = (1 << 16) + 1
    numbers = np.arange(1, num + 1)
    chunk = Counted(np.arange(num + 1), np.zeros(num, np.int32), numbers.astype(np.uint32), numbers)
    counts = invert([chunk], 1)
    assert counts.pairs.dtype == np.uint32
    np.testing.assert_array_equal(counts.frequencies[counts.pairs], numbers)
    assert (
        invert([replace(chunk, lengths=np.full(num, 1), frequencies=np.ones(num, np.uint32))], 1).pairs.dtype
        == np.uint16
    )


class Addresses:
    """Rows with addresses, in memory."""

    def __init__(self, addresses):
        self._addresses = as_strings(addresses)
        self.order_keys = read_first_bytes(self._addresses)

    def addresses(self, rows):
        return self._addresses.take(pa.array(rows))


@patient
@given(st.lists(st.lists(st.tuples(st.text("ab", max_size=12), st.integers(-2, 2)), max_size=6), max_size=4), st.data())
def test_merging_is_sorting_by_score_and_address(found, data):
    width = data.draw(st.integers(0, 12))
    tables = [Addresses([address for address, _ in hits]) for hits in found]
    rows = [np.array([[*range(len(hits)), NO_HIT]], np.int64) for hits in found]
    scores = [np.array([[*(score for _, score in hits), 0]], np.float32) for hits in found]
    merged = merge_hits(list(zip(rows, scores, strict=True)), tables, width)
    everything = sorted((-score, address) for hits in found for address, score in hits)[:width]
    expected = [*everything, *[(0, None)] * (width - len(everything))] if found else []
    ours = [
        (-score, None if row == NO_HIT else found[number][row][0])
        for number, row, score in zip(*(array.ravel().tolist() for array in vars(merged).values()), strict=True)
    ]
    assert ours == expected


@pytest.mark.parametrize("language", ["en", "ar", "ja"])
def test_the_carried_sample_is_found_as_by_one_index(tmp_path, language):
    sample = read_collection(str(SAMPLE_FOLDER))
    passages = join_titles(sample.passages(language)).sort("_id")
    rows = [(f"{language}/{passage_id}", text) for passage_id, text in passages.rows()]
    parts = segment(tmp_path, rows, [number % 3 for number in range(len(rows))])
    queries = sample.queries(language)["text"]
    expected = LexicalIndex.build(passages["text"], language).search(queries, 10)
    found = LexicalSearch(parts, language).search(queries, 10)
    assert addresses_of(parts, found) == expect(rows, expected)
    np.testing.assert_array_equal(found.scores, expected[1])


def test_the_carried_sample_is_found_across_languages_as_by_one_index(tmp_path, sample_lexicon):
    sample = read_collection(str(SAMPLE_FOLDER))
    passages = join_titles(sample.passages("de")).sort("_id")
    rows = [(f"de/{passage_id}", text) for passage_id, text in passages.rows()]
    parts = segment(tmp_path, rows, [number % 3 for number in range(len(rows))])
    into_german = Translations.between(read_entries(sample_lexicon), "en", "de")
    queries = sample.queries("en")["text"]
    expected = TranslatedIndex.build(passages["text"], into_german).search(queries, 10)
    found = TranslatedSearch(parts, into_german).search(queries, 10)
    np.testing.assert_allclose(found.scores, expected[1], rtol=1e-5)
    first = [addresses[0] for addresses in addresses_of(parts, found)]
    assert first == [addresses[0] for addresses in expect(rows, expected)]


def test_a_missing_file_is_named(mixed, tmp_path):
    shutil.copytree(mixed[0].table.folder, tmp_path / "segment")
    (tmp_path / "segment" / file_name("en")).unlink()
    with pytest.raises(InputError, match=r"lexical-en.arrow: no such file"):
        LexicalPart.open(tmp_path / "segment", mixed[0].table)


def test_a_file_cut_short_anywhere_is_named(mixed, tmp_path):
    shutil.copytree(mixed[0].table.folder, tmp_path / "segment")
    path = tmp_path / "segment" / file_name("en")
    content = path.read_bytes()
    for size in range(0, len(content), 131):
        path.write_bytes(content[:size])
        part = LexicalPart.open(tmp_path / "segment", mixed[0].table)
        with pytest.raises(InputError, match=r"lexical-en.arrow: damaged, altered or cut short"):
            LexicalSearch([part], "en")


def test_a_file_of_another_segment_is_named(mixed, tmp_path):
    shutil.copytree(mixed[0].table.folder, tmp_path / "segment")
    shutil.copy(mixed[1].table.folder / file_name("de"), tmp_path / "segment")
    part = LexicalPart.open(tmp_path / "segment", mixed[0].table)
    with pytest.raises(InputError, match=r"lexical-de.arrow: of another kind or version"):
        LexicalSearch([part], "de")


def test_a_language_without_an_analyser_is_refused(tmp_path):
    table = write(tmp_path, batch("xx/1 text"))
    with pytest.raises(InputError, match="unknown language 'xx'"):
        write_lexical(tmp_path, table)

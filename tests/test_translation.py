"""Translations out of a lexicon, their matching in queries, and BM25 of translated words."""

import math
import sys
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.errors import InputError
from csgen.lexicon.build import LexiconBuildConfig, build_lexicon
from csgen.lexicon.entries import read_entries
from indexing import structured, translation
from indexing.lexical import Bm25, Index, LexicalIndex
from indexing.ranking import NO_HIT
from indexing.structured import TranslatedIndex
from indexing.translation import NO_SOURCE, SELF, Matches, Translations

DATA = Path(__file__).parents[2] / "shared" / "data"
patient = settings(deadline=None, max_examples=25)
WORDS = ("Katze", "Hund", "Haus", "Baum", "Fluss", "Denver", "2019", "der", "alte Katze")
ENGLISH = ("cat", "dog", "house", "tree", "river", "Denver", "2019", "the", "building")


def series(texts: list[str]) -> pl.Series:
    return pl.Series(texts, dtype=pl.String)


def lexicon(*rows: str) -> pl.DataFrame:
    """Entries given as "en>de house=Haus 0.5"."""
    columns: dict[str, list[str | float]] = {
        name: [] for name in ("source_language", "target_language", "source", "target", "weight")
    }
    for row in rows:
        languages, pair, weight = row.split("|")
        for name, value in zip(columns, (*languages.split(">"), *pair.split("="), float(weight)), strict=True):
            columns[name].append(value)
    return pl.DataFrame(columns, schema_overrides={"weight": pl.Float64})


GERMAN = lexicon(
    "de>en|Katze=cat|1",
    "de>en|Hund=dog|1",
    "de>en|Haus=house|0.75",
    "de>en|Haus=building|0.25",
    "de>en|Baum=tree|1",
    "de>en|alte Katze=old cat|1",
)


@cache
def german() -> Translations:
    return Translations.between(GERMAN, "de", "en")


def meanings(translations: Translations, source: str) -> dict[str, float]:
    """A source's translations without itself, and their probabilities scaled as if it were none."""
    found = translations.table.filter(source=source)
    assert found["weight"].sum() == pytest.approx(1)
    scaled = {target: round(weight * (1 + SELF), 6) for target, weight in found.select("target", "weight").rows()}
    return {target: weight for target, weight in scaled.items() if target.lower() != source}


def items_of(translations: Translations, query: str) -> list[str]:
    """What stands in a query: sources in brackets, stems behind ~, what has neither as it is."""
    matches = translations.match(series([query]))
    sources = [f"[{source}]" for source in translations.table["source"].unique().sort()]
    names = [*sources, *(f"~{stem}" for stem in translations.stems["source"].unique().sort())]
    unmatched = iter(matches.unmatched)
    return [next(unmatched) if source == NO_SOURCE else names[source] for source in matches.sources]


def hits_of(index: Index, query: str, top_k: int = 10) -> list[int]:
    rows, _ = index.search(series([query]), top_k)
    return rows[rows != NO_HIT].tolist()


def test_entries_in_the_direction_of_the_query_come_first() -> None:
    entries = lexicon("de>en|Haus=house|0.75", "de>en|Haus=building|0.25", "en>de|home=Haus|1")
    assert meanings(Translations.between(entries, "de", "en"), "haus") == {"house": 0.75, "building": 0.25}


def test_entries_of_the_other_direction_are_turned_round_and_scaled() -> None:
    entries = lexicon("en>de|house=Haus|0.6", "en>de|building=Haus|0.2", "en>de|building=Bau|0.8")
    assert meanings(Translations.between(entries, "de", "en"), "haus") == {"house": 0.75, "building": 0.25}


def test_two_languages_meet_through_english() -> None:
    entries = lexicon(
        "en>de|house=Haus|1",
        "en>de|home=Haus|1",
        "en>fr|house=maison|1",
        "en>fr|home=foyer|0.5",
        "en>fr|home=domicile|0.5",
    )
    found = Translations.between(entries, "de", "fr").table.filter(source="haus")
    weights = dict(found.select("target", "weight").rows())
    assert weights["maison"] == pytest.approx(1 / 2 / (1 + SELF))
    assert weights["foyer"] == weights["domicile"] == pytest.approx(1 / 4 / (1 + SELF))
    assert weights["house"] == weights["home"] == pytest.approx(1 / 2 * SELF / (1 + SELF))


def test_a_word_without_an_english_one_may_be_english_itself() -> None:
    entries = lexicon("en>de|house=Haus|1", "en>fr|house=maison|1", "en>fr|team=équipe|1")
    assert "équipe" in Translations.between(entries, "de", "fr").table.filter(source="team")["target"]


def test_regions_make_no_difference() -> None:
    entries = lexicon("en>pt-BR|train=trem|1")
    for language in ("pt", "pt-BR", "pt-PT"):
        assert meanings(Translations.between(entries, "en", language), "train") == {"trem": 1}
    assert meanings(Translations.between(entries, "pt-PT", "en-GB"), "trem") == {"train": 1}


def test_the_same_language_is_not_translated() -> None:
    assert Translations.between(GERMAN, "de", "de-AT").table.is_empty()


def test_a_lexicon_without_a_way_is_refused_and_says_what_it_has() -> None:
    with pytest.raises(InputError, match="from French to Russian neither directly nor through English; it has de-en"):
        Translations.between(GERMAN, "fr", "ru")
    with pytest.raises(InputError, match="it has no entries"):
        Translations.between(GERMAN.clear(), "de", "en")


def test_light_translations_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = lexicon(*(f"de>en|Ding=thing{i}|{0.5**i}" for i in range(1, 20)))
    assert len(Translations.between(entries, "de", "en").table) == 6  # with itself, they have .97 of the mass
    monkeypatch.setattr(translation, "MAX_TRANSLATIONS", 3)
    table = Translations.between(entries, "de", "en").table
    assert table["target"].to_list() == ["thing1", "thing2", "Ding"]
    assert table["weight"].sum() == pytest.approx(1)


def test_the_order_of_entries_makes_no_difference() -> None:
    entries = lexicon(*(f"en>de|w{i % 7}=x{i % 11}|{1 / (i + 3)}" for i in range(300)))
    table = Translations.between(entries, "de", "en").table
    for seed in range(3):
        assert Translations.between(entries.sample(fraction=1, shuffle=True, seed=seed), "de", "en").table.equals(table)


def test_the_longest_source_is_taken() -> None:
    assert items_of(german(), "Die ALTE Katze, Katze") == ["[alte katze]", "[katze]"]


def test_sources_of_equal_length_are_taken_from_the_left() -> None:
    translations = Translations.between(lexicon("de>en|a1 b1=x|1", "de>en|b1 c1=y|1", "de>en|c1 d1=z|1"), "de", "en")
    assert items_of(translations, "a1 b1 c1 d1") == ["[a1 b1]", "[c1 d1]"]
    assert items_of(translations, "b1 c1 d1") == ["[b1 c1]", "d1"]


def test_phrases_do_not_reach_from_one_query_into_the_next() -> None:
    matches = german().match(series(["alte", "", "Katze"]))
    assert matches.offsets.tolist() == [0, 1, 1, 2]
    assert matches.unmatched.to_list() == ["alte"]


def test_stop_words_count_only_within_phrases() -> None:
    translations = Translations.between(lexicon("de>en|Haus der Tiere=zoo|1", "de>en|der=the|1"), "de", "en")
    assert items_of(translations, "Haus der Tiere der Haus") == ["[haus der tiere]", "haus"]


def test_a_word_is_found_by_its_stem_if_not_as_it_is() -> None:
    translations = Translations.between(
        lexicon("de>en|Häuser=houses|1", "de>en|Hauses=house|1", "de>en|Hund=dog|1"), "de", "en"
    )
    assert items_of(translations, "Haus Hauses Hunden") == ["~haus", "[hauses]", "~hund"]
    assert set(translations.stems.filter(source="haus")["target"]) == {"houses", "house", "Häuser", "Hauses"}


def test_characters_that_are_stop_words_are_not_translated_alone() -> None:
    translations = Translations.between(lexicon("zh>en|的=of|1", "zh>en|的士=taxi|1", "zh>en|国=state|1"), "zh", "en")
    assert items_of(translations, "国的的士") == ["[国]", "的", "[的 士]"]


def test_words_of_no_source_stay() -> None:
    assert items_of(german(), "Katze Denver 2019") == ["[katze]", "denver", "2019"]


def test_scripts_without_spaces_are_matched_by_characters() -> None:
    translations = Translations.between(
        lexicon("zh>en|人工=artificial|1", "zh>en|人工智能=AI|1", "zh>en|國=state|1"), "zh", "en"
    )
    assert items_of(translations, "学人工智能人工好国") == ["学", "[人 工 智 能]", "[人 工]", "好", "[国]"]


def test_neighbouring_characters_without_a_source_stay_together_within_their_word() -> None:
    translations = Translations.between(lexicon("ko>en|학교=school|1"), "ko", "en")
    assert items_of(translations, "서울 대학 학교에서") == ["서울", "대학", "[학 교]", "에서"]


def test_no_queries_have_no_items() -> None:
    matches = german().match(series([]))
    assert isinstance(matches, Matches)
    assert (matches.offsets.tolist(), matches.sources.tolist(), matches.unmatched.to_list()) == ([0], [], [])


def test_scores_are_bm25_of_the_weighted_frequencies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translation, "SELF", 0.0)
    passages = series(["house house building", "building tree", "tree", "river"])
    index = TranslatedIndex.build(passages, Translations.between(GERMAN, "de", "en"), Bm25(1.2, 0.75))
    rows, scores = index.search(series(["Haus"]), 4)
    idf = math.log(1 + (4 - 1.25 + 0.5) / (1.25 + 0.5))  # df = .75 * 1 + .25 * 2
    damping = [1.2 * (0.25 + 0.75 * length / 1.75) for length in (3, 2)]
    expected = [idf * 1.75 / (1.75 + damping[0]), idf * 0.25 / (0.25 + damping[1]), 0, 0]
    assert rows.tolist() == [[0, 1, NO_HIT, NO_HIT]]
    np.testing.assert_allclose(scores, [expected], rtol=1e-6)
    assert (rows.dtype, scores.dtype) == (np.int64, np.float32)


def test_a_translation_of_several_terms_shares_its_probability_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translation, "SELF", 0.0)
    translations = Translations.between(lexicon("de>en|Zug=goods train|1"), "de", "en")
    index = TranslatedIndex.build(series(["train", "goods", "goods train", "tree"]), translations, Bm25(1.2, 0))
    rows, scores = index.search(series(["Zug"]), 3)
    idf = math.log(1 + (4 - 2 + 0.5) / (2 + 0.5))
    assert rows.tolist() == [[2, 0, 1]]
    np.testing.assert_allclose(scores, [[idf / 2.2, idf * 0.5 / 1.7, idf * 0.5 / 1.7]], rtol=1e-6)


def test_names_numbers_and_inflected_forms_find_their_passages() -> None:
    index = TranslatedIndex.build(series(["a cat", "two dogs", "Denver", "in 2019"]), german())
    assert hits_of(index, "Katzen") == [0]
    assert hits_of(index, "Hunde") == [1]
    assert hits_of(index, "Denver") == [2]
    assert hits_of(index, "2019") == [3]
    assert hits_of(index, "Auto") == []


def test_a_word_may_stay_as_it_is_beside_its_translations() -> None:
    index = TranslatedIndex.build(series(["Hund", "dog", "tree"]), german())
    assert hits_of(index, "Hund") == [1, 0]


def test_translations_into_stop_words_alone_find_nothing() -> None:
    index = TranslatedIndex.build(
        series(["the cat", "which"]), Translations.between(lexicon("de>en|Dies=the|1"), "de", "en")
    )
    assert hits_of(index, "Dies Dies") == []


@pytest.mark.parametrize("passages", [[], [""], ["", "the"]])
def test_passages_without_a_term_have_no_hits(passages: list[str]) -> None:
    index = TranslatedIndex.build(series(passages), german())
    rows, scores = index.search(series(["Katze", "Denver", ""]), 5)
    assert rows.shape == scores.shape == (3, len(passages))
    assert (rows == NO_HIT).all()
    assert index.search(series([]), 5)[0].shape == (0, len(passages))


def test_missing_scipy_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(InputError, match=r"pip install 'csgen\[lexical\]'"):
        TranslatedIndex.build(series(["cat"]), german())


def texts(words: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.lists(st.sampled_from(words), max_size=8).map(" ".join), max_size=10)


@patient
@given(texts(ENGLISH), texts(ENGLISH), st.integers(1, 12))
def test_without_translations_it_is_bm25(passages: list[str], queries: list[str], top_k: int) -> None:
    identity = Translations.between(GERMAN, "en", "en")
    rows, scores = LexicalIndex.build(series(passages), "en").search(series(queries), top_k)
    found_rows, found_scores = TranslatedIndex.build(series(passages), identity).search(series(queries), top_k)
    np.testing.assert_allclose(found_scores, scores, rtol=1e-5)
    apart = np.diff(scores, axis=1, prepend=np.inf) < -1e-5 * scores  # rounding may part or join equal scores
    apart[:, :-1] &= apart[:, 1:]
    np.testing.assert_array_equal(found_rows[:, :-1][apart[:, :-1]], rows[:, :-1][apart[:, :-1]])


@patient
@given(texts(("学校", "教育部好", "的", "linux")), texts(("学校", "教育部好", "的", "linux")))
def test_without_translations_it_is_bm25_in_scripts_without_spaces(passages: list[str], queries: list[str]) -> None:
    identity = Translations.between(GERMAN, "zh", "zh")
    expected = LexicalIndex.build(series(passages), "zh").search(series(queries), 12)[1]
    found = TranslatedIndex.build(series(passages), identity).search(series(queries), 12)[1]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@patient
@given(texts(ENGLISH), texts(WORDS), st.integers(1, 12), st.integers(0, 2**10 - 1))
def test_search_among_allowed_is_the_full_ranking_without_the_others(
    passages: list[str], queries: list[str], top_k: int, bits: int
) -> None:
    index = TranslatedIndex.build(series(passages), german())
    allowed = np.array([bits >> row & 1 for row in range(len(passages))], np.bool_)
    all_rows, all_scores = index.search(series(queries), max(len(passages), 1))
    rows, scores = index.search(series(queries), top_k, allowed)
    for q in range(len(queries)):
        kept = [i for i, row in enumerate(all_rows[q]) if row != NO_HIT and allowed[row]][: rows.shape[1]]
        assert rows[q, : len(kept)].tolist() == all_rows[q, kept].tolist()
        assert scores[q, : len(kept)].tolist() == all_scores[q, kept].tolist()
        assert (rows[q, len(kept) :] == NO_HIT).all()


@patient
@given(texts(ENGLISH), texts(WORDS), st.integers(1, 12), st.integers(0, 6))
def test_batches_and_chunks_make_no_difference(
    passages: list[str], queries: list[str], top_k: int, chunk_bits: int
) -> None:
    index = TranslatedIndex.build(series(passages), german())
    rows, scores = index.search(series(queries), top_k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structured, "_CHUNK_POSTINGS", 1 << chunk_bits)
        chunked = index.search(series(queries), top_k)
    alone = [index.search(series([query]), top_k) for query in queries]
    np.testing.assert_array_equal(chunked[0], rows)
    np.testing.assert_array_equal(chunked[1], scores)
    for q in range(len(queries)):
        np.testing.assert_array_equal(alone[q][0][0], rows[q])
        np.testing.assert_array_equal(alone[q][1][0], scores[q])


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
def test_german_questions_find_english_passages_of_xquad_by_muse(tmp_path: Path) -> None:
    source = f"muse:en-de:{DATA / 'lexicons' / 'muse' / 'en-de.tsv.xz'}"
    build_lexicon(LexiconBuildConfig(sources=(source,), output=str(tmp_path / "lexicon")))
    translations = Translations.between(read_entries(str(tmp_path / "lexicon")), "de", "en")
    passages, queries, qrels = (
        pl.read_ndjson(DATA / "xquad-r" / "en" / "passages.jsonl.gz"),
        pl.read_ndjson(DATA / "xquad-r" / "de" / "queries.jsonl.gz"),
        pl.read_csv(DATA / "xquad-r" / "qrels" / "test.tsv", separator="\t"),
    )
    true = queries.join(qrels, left_on="_id", right_on="query-id", maintain_order="left")["corpus-id"].to_numpy()
    reciprocal = []
    for index in (LexicalIndex.build(passages["text"], "en"), TranslatedIndex.build(passages["text"], translations)):
        rows, scores = index.search(queries["text"], 10)
        found = (passages["_id"].to_numpy()[rows] == true[:, None]) & (scores > 0)
        reciprocal.append((found / np.arange(1, 11)).max(axis=1).mean())
    assert reciprocal == pytest.approx([0.44, 0.86], abs=0.01)

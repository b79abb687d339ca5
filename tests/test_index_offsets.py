"""Languages' score offsets: what is learnt from judged queries, and what it does."""

import json
import os
import tempfile

import numpy as np
import pytest
from toy_index import Toy, batch_of, identify, make_index, open_toy

from csgen.errors import InputError
from indexing.index.index import Index
from indexing.index.offsets import OffsetsConfig, learn_offsets
from indexing.index.query import SearchOptions, SearchRequest
from indexing.index.score_offsets import ScoreMap, ScoreOffsets

pytest.importorskip("faiss")

CONCEPTS, DIM = 40, 8
SCALES = {"de": 0.5, "en": 1.0, "it": 0.9}  # what an encoder multiplies a language's vectors with, and so its scores
RNG = np.random.default_rng(3)
MEANINGS = RNG.standard_normal((CONCEPTS, DIM))


def near(meaning, scale=1.0):
    vector = meaning / np.linalg.norm(meaning) + 0.2 * RNG.standard_normal(DIM)
    return (scale * vector / np.linalg.norm(vector)).astype(np.float32)


PASSAGES = {f"{one}/p{n}": near(MEANINGS[n], scale) for one, scale in SCALES.items() for n in range(CONCEPTS)}
QUERIES = {f"{language} query {n}": near(MEANINGS[n]) for language in ("de", "en") for n in range(CONCEPTS)}


class Lookup:
    """Knows the vectors of the queries."""

    dim, max_length, truncated = DIM, 8, 0

    def encode(self, texts):
        return np.array([QUERIES[text] for text in texts])


def write_collection(folder, judged):
    """Queries in German and English; p0, p1, ... are the passages, each the answer to the query of its number."""
    for language in SCALES:
        (folder / language).mkdir(parents=True)
        names = {"passages": [f"p{n}" for n in range(CONCEPTS)], "queries": [f"q{n}" for n in range(CONCEPTS)]}
        for kind, ids in names.items():
            lines = [json.dumps({"_id": one, "text": f"{language} query {one[1:]}"}) for one in ids]
            (folder / language / f"{kind}.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "qrels").mkdir()
    lines = ["query-id\tcorpus-id\tscore", *(f"q{n}\tp{n}\t1" for n in judged)]
    (folder / "qrels/dev.tsv").write_text("\n".join(lines) + "\n")
    described = {"name": "toy", "languages": ["de", "en"], "passage_languages": [*SCALES], "licence": "", "source": ""}
    (folder / "collection.json").write_text(json.dumps(described))
    return str(folder)


@pytest.fixture(autouse=True, scope="module")
def no_flushing():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def toy_of(addresses):
    rows = [(address, "text") for address in addresses]
    return Toy(batch_of(rows), np.array([PASSAGES[address] for address in addresses]))


@pytest.fixture(scope="module")
def index():
    with tempfile.TemporaryDirectory() as folder:
        yield open_toy(f"{folder}/index", toy_of([*PASSAGES]), encoder=identify(Lookup()), lexical=False)


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return write_collection(tmp_path_factory.mktemp("judged") / "toy", range(CONCEPTS))


def learn(index, collection, **options):
    return learn_offsets(index, OffsetsConfig.from_options({"collection": collection, "candidates": 20} | options))


def mean_scores(language, relevant):
    """The mean score of queries with their passages in a language, or with the best of the others among twenty."""
    found = []
    for name, query in QUERIES.items():
        number = int(name.rpartition(" ")[2])
        scores = {n: float(query @ PASSAGES[f"{language}/p{n}"]) for n in range(CONCEPTS)}
        best = sorted(scores, key=lambda n: -scores[n])[:20]
        found += [scores[number]] if relevant else [scores[n] for n in best if n != number]
    return np.mean(found)


def test_a_shift_makes_the_mean_score_of_relevant_passages_the_same(index, collection):
    offsets = learn(index, collection)
    means = {language: mean_scores(language, True) for language in SCALES}
    for language, own in offsets.languages.items():
        assert own.scale == 1
        assert own.shift == pytest.approx(np.mean([*means.values()]) - means[language], abs=1e-6)
    assert offsets.judgements == dict.fromkeys(SCALES, 2 * CONCEPTS)


def test_an_affine_map_makes_that_of_the_best_others_the_same_too(index, collection):
    offsets = learn(index, collection, kind="affine")
    for relevant in (True, False):
        mapped = [own.scale * mean_scores(one, relevant) + own.shift for one, own in offsets.languages.items()]
        np.testing.assert_allclose(mapped, mapped[0], atol=1e-6)


def test_a_logistic_shift_raises_languages_that_the_encoder_scores_lower(index, collection):
    offsets = learn(index, collection, kind="logistic")
    shifts = {language: own.shift for language, own in offsets.languages.items()}
    assert shifts["de"] > shifts["it"] > shifts["en"]
    assert sum(shifts.values()) == pytest.approx(0)
    assert {own.scale for own in offsets.languages.values()} == {1}


@pytest.mark.parametrize("kind", ["shift", "affine", "logistic"])
def test_effect_is_told_with_scores_as_they_are_and_mapped(index, collection, kind):
    effect = learn(index, collection, kind=kind).effect
    assert effect.queries == 2 * CONCEPTS
    assert effect.recall.after > effect.recall.before + 0.1
    assert effect.shares["de"].before < 0.1 < effect.shares["de"].after
    assert sum(one.after for one in effect.shares.values()) == pytest.approx(1)
    assert 0 < effect.reciprocal_rank.before <= 1


def test_effect_before_is_that_of_a_plain_search(index, collection):
    effect = learn(index, collection).effect
    vectors = np.array([*QUERIES.values()])
    found = index.search(SearchRequest(vectors=vectors, options=SearchOptions.from_options({"top_k": 10}))).addresses
    numbers = [int(name.rpartition(" ")[2]) for name in QUERIES]
    ranks = [
        [one.rpartition("/p")[2] for one in hits].index(str(n)) + 1 for hits, n in zip(found, numbers, strict=True)
    ]
    assert effect.reciprocal_rank.before == pytest.approx(np.mean(1 / np.array(ranks)))
    recall = [sum(one.endswith(f"/p{n}") for one in hits) / 3 for hits, n in zip(found, numbers, strict=True)]
    assert effect.recall.before == pytest.approx(np.mean(recall))
    italian = np.mean([one.startswith("it/") for hits in found for one in hits])
    assert effect.shares["it"].before == pytest.approx(italian)


def test_effect_is_measured_on_queries_from_which_nothing_was_learnt(index, tmp_path):
    one = write_collection(tmp_path / "one", [7])
    offsets = learn(index, one)
    assert offsets.languages["de"].shift > 0
    assert offsets.effect.recall.before == offsets.effect.recall.after, "the other half of the queries is empty"


@pytest.mark.parametrize("kind", ["affine", "logistic"])
def test_what_is_learnt_does_not_depend_on_the_cut(index, collection, tmp_path, kind):
    owners = np.arange(len(PASSAGES)) % 5
    cut = open_toy(
        tmp_path / "index", toy_of([*PASSAGES]), owners, num_shards=2, encoder=identify(Lookup()), lexical=False
    )
    assert learn(cut, collection, kind=kind) == learn(index, collection, kind=kind)


def test_searches_use_what_was_learnt(index, collection, tmp_path):
    path = str(tmp_path / "offsets.json")
    offsets = learn(index, collection)
    offsets.write(path)
    assert ScoreOffsets.read(path) == offsets
    shares = []
    for options in ({}, {"offsets": path}):
        request = SearchRequest(texts=[*QUERIES], options=SearchOptions.from_options(options))
        hits = [one for found in index.search(request).addresses for one in found]
        shares.append(np.mean([one.startswith("de/") for one in hits]))
    assert shares[0] < 0.1 < shares[1]
    assert shares[1] == pytest.approx(offsets.effect.shares["de"].after, abs=0.1)


def test_a_language_without_judgements_gets_no_offset(collection, tmp_path):
    addresses = [one for one in PASSAGES if not one.startswith("it/")]
    toy = toy_of(addresses)
    rows = [(address, "text") for address in addresses] + [("fr/other", "text")]
    toy = Toy(batch_of(rows), np.concatenate([toy.vectors, toy.vectors[:1]]))
    index = open_toy(tmp_path / "index", toy, encoder=identify(Lookup()), lexical=False)
    offsets = learn(index, collection)
    assert set(offsets.languages) == {"de", "en"}
    assert offsets.judgements["fr"] == 0
    offsets.write(str(tmp_path / "offsets.json"))
    options = SearchOptions.from_options({"offsets": str(tmp_path / "offsets.json")})
    done = index.search(SearchRequest(texts=["de query 1"], options=options)).done
    assert done.languages_without_offset == ("fr",)


def test_a_collection_of_which_the_index_has_nothing_is_refused(collection, tmp_path):
    toy = Toy(batch_of([("de/other", "text")]), np.ones((1, DIM), np.float32))
    index = open_toy(tmp_path / "index", toy, encoder=identify(Lookup()), lexical=False)
    with pytest.raises(InputError, match="no query of the split 'dev' has a relevant passage in the index"):
        learn(index, collection)


def test_an_index_of_vectors_from_files_is_refused(collection, tmp_path):
    folder = make_index(tmp_path / "index", toy_of([*PASSAGES]), lexical=False)
    with pytest.raises(InputError, match="its vectors came from files"):
        learn(Index.open(folder), collection)


def test_a_language_without_a_map_keeps_its_scores(index, collection):
    offsets = learn(index, collection).model_copy(update={"languages": {"de": ScoreMap(scale=2, shift=1)}})
    scores = np.array([[0.25, -1]], np.float32)
    assert offsets.apply("de", scores).tolist() == [[1.5, -1]]
    assert offsets.apply("en", scores).tolist() == [[0.25, -1]]

"""`csgen parallel`: pairs in the other languages of a parallel collection."""

import polars as pl
import pytest

from cluster.cli import main
from csgen.errors import InputError
from csgen.sources.collection import Description, write_collection
from csgen.sources.parallel import ParallelConfig, put_into_languages

IDS = [f"{number}" for number in range(6)]


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Six texts in English and German; Italian lacks the last two."""
    folder = str(tmp_path_factory.mktemp("parallel") / "collection")
    known = {"en": IDS, "de": IDS, "it": IDS[:4]}
    queries, passages = (
        {
            language: pl.DataFrame({"_id": ids, "text": [f"{language} {kind} {one}" for one in ids]})
            for language, ids in known.items()
        }
        for kind in ("query", "passage")
    )
    qrels = {"train": pl.DataFrame({"query_id": IDS, "passage_id": IDS, "score": [1] * len(IDS)})}
    description = Description(name="toy", languages=("en", "de", "it"), licence="none", source="made here")
    write_collection(folder, description, queries, passages, qrels)
    return folder


@pytest.fixture(scope="module")
def pairs():
    rows = [(one, other, int(k == 0)) for k in range(3) for one, other in zip(IDS, IDS[k:] + IDS[:k], strict=True)]
    return pl.DataFrame(rows, ["query_id", "passage_id", "label"], orient="row")


def put(pairs, collection, **options):
    config = ParallelConfig.from_options({"pairs": "-", "collection": collection, "output": "x.parquet"} | options)
    return put_into_languages(pairs, config)


def test_same_puts_each_query_and_its_passages_into_each_language_that_has_them(pairs, collection):
    found, counts = put(pairs, collection, languages=("de", "it"))
    assert found["query_language"].to_list() == found["passage_language"].to_list()
    counts_of = found.group_by("query_language").agg(pl.col("query_id").n_unique())
    assert dict(counts_of.iter_rows()) == {"de": 6, "it": 4}
    assert counts["queries left out"] == 0


def test_texts_are_those_of_the_ids_in_the_language(pairs, collection):
    found, _ = put(pairs, collection, languages=("de", "it"))
    rows = found.select("passage_language", "passage_id", "passage").rows()
    assert all(text == f"{language} passage {one}" for language, one, text in rows)
    assert all(
        text.startswith(f"{language} query") for language, text in found.select("query_language", "query").rows()
    )


def test_a_negative_that_lacks_the_language_is_replaced_by_one_that_has_it(pairs, collection):
    found, counts = put(pairs, collection, languages=("it",))
    sizes = found.group_by("query_id").agg(pl.len(), pl.col("label").sum(), pl.col("passage_id").n_unique())
    assert set(sizes.select("len", "label", "passage_id").rows()) == {(3, 1, 3)}
    assert counts["negatives drawn"] > 0


def test_drawn_gives_each_query_one_language_and_its_passages_one(pairs, collection):
    found, _ = put(pairs, collection, languages=("en", "de", "it"), mix="drawn")
    drawn = found.group_by("query_id").agg(pl.col("query_language").n_unique(), pl.col("passage_language").n_unique())
    assert set(drawn.select("query_language", "passage_language").rows()) == {(1, 1)}


def test_one_gives_each_query_and_its_passages_a_single_language(pairs, collection):
    found, _ = put(pairs, collection, languages=("en", "de", "it"), mix="one")
    languages = found.group_by("query_id").agg(pl.col("query_language", "passage_language").unique())
    assert all(len(asked) == 1 and asked == answered for asked, answered in languages.drop("query_id").rows())


def test_one_draws_poor_languages_the_oftener(pairs, collection):
    counts = {"de": 0, "it": 0}
    for seed in range(100):
        found, _ = put(pairs, collection, languages=("de", "it"), mix="one", seed=seed)
        shared = found.filter(pl.col("query_id").is_in(IDS[:4])).unique("query_id")
        for language in shared["query_language"]:
            counts[language] += 1
    assert counts["it"] / counts["de"] == pytest.approx(6 / 4, rel=0.25)  # one by 4 queries, one by 6


def test_the_draws_do_not_depend_on_the_order_of_rows(pairs, collection):
    there, _ = put(pairs, collection, languages=("en", "de", "it"), mix="drawn", seed=3)
    back, _ = put(pairs.reverse(), collection, languages=("en", "de", "it"), mix="drawn", seed=3)
    assert there.equals(back)


def test_another_seed_draws_other_languages(pairs, collection):
    one, other = (put(pairs, collection, languages=("en", "de"), mix="drawn", seed=seed)[0] for seed in (0, 1))
    assert not one.equals(other)


def test_a_language_that_the_collection_lacks_is_refused(pairs, collection):
    with pytest.raises(InputError, match=r"no queries in fr; there are en, de, it"):
        put(pairs, collection, languages=("fr",))


def test_the_command_writes_pairs_that_can_be_trained_on(collection, tmp_path, capsys):
    output = str(tmp_path / "pairs.parquet")
    arguments = [collection, "--collection", collection, "--languages", "de", "--positives-only", "--output", output]
    assert main(["parallel", *arguments]) == 0
    assert "6 pairs, 6 queries" in capsys.readouterr().out
    assert pl.read_parquet(output)["label"].to_list() == [1] * 6
    assert main(["parallel", *arguments]) == 2

"""Pairs laid out in files that workers map: what `load_pairs` gives, whatever happened to an earlier attempt."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_collection import write_collection
from toy_training import sample_table, sample_tokenizer, toy_source

from cluster.cli import main
from cluster.training import spool
from cluster.training.config import RerankerConfig
from cluster.training.examples import FACTS, index_queries, load_pairs
from cluster.training.spool import map_here, open_spool, spool_pairs
from cluster.training_report import read_history
from csgen.errors import InputError
from csgen.sources.parquet import write_pairs

pytest_plugins = ["toy_models"]

IDENTITY = {"pairs": {"a.parquet": {"xxh3_128": "00"}}}


def lay_out(path, folder, map_parts=map_here, identity=IDENTITY, split="train", language="en", indexed=True):
    spool_pairs(str(path), str(folder), map_parts, split=split, language=language, indexed=indexed, identity=identity)
    return open_spool(str(folder))


def refuse_to_write(*_):
    raise AssertionError("nothing was to be written")


def backwards(write, job, indices):
    """Parts written in another order, as tasks may be."""
    return [write(job, index) for index in reversed(indices)]


def assert_same(mapped, held):
    assert mapped.texts.combine_chunks().equals(held.texts.combine_chunks())
    assert (mapped.content, mapped.language_names) == (held.content, held.language_names)
    for name in (*FACTS, "languages"):
        one, other = getattr(mapped, name), getattr(held, name)
        assert (one is None) == (other is None)
        assert one is None or (one.dtype == other.dtype and (one == other).all())
    if mapped.index is not None:
        index = vars(index_queries(held))
        assert all((values == index[name]).all() for name, values in vars(mapped.index).items())


@pytest.fixture
def pairs(tmp_path):
    """A folder of three files, with languages and scores."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    table = sample_table(("en", "de"), num_queries=20)
    table = table.append_column("score", pa.array(np.linspace(0, 1, len(table)), pa.float32()))
    for k, start in enumerate((0, 30, 170)):
        write_pairs(table.slice(start, (30, 140, 30)[k]), str(folder / f"{k}.parquet"))
    return folder


def test_pairs_that_were_laid_out_are_those_in_memory(pairs, tmp_path):
    mapped = lay_out(pairs, tmp_path / "out", backwards)
    assert_same(mapped, load_pairs(str(pairs)))
    assert len(list((tmp_path / "out").glob("part-*.arrow"))) == 3
    assert isinstance(mapped.keys.base, np.memmap)
    assert isinstance(mapped.index.known.base, np.memmap)


def test_pairs_that_stand_alone_need_no_index_and_no_positive(tmp_path):
    table = sample_table(num_queries=4)
    write_pairs(table.set_column(4, "label", pa.array([0] * len(table), pa.int8())), str(tmp_path / "pairs.parquet"))
    assert lay_out(tmp_path / "pairs.parquet", tmp_path / "out", indexed=False).index is None
    with pytest.raises(InputError, match="none of the 20 pairs has a label above 0"):
        lay_out(tmp_path / "pairs.parquet", tmp_path / "out")


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\r\n"), max_size=6)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.lists(st.tuples(TEXTS, TEXTS, st.integers(-128, 127)), min_size=1, max_size=5), min_size=1), st.data()
)
def test_any_pairs_in_any_files_are_laid_out_as_they_are(tmp_path_factory, files, data):
    folder = tmp_path_factory.mktemp("any")
    (folder / "pairs").mkdir()
    for k, rows in enumerate(files):
        lines = [f"q{k}\t{query}\tp{n}\t{passage}\t{label}" for n, (query, passage, label) in enumerate(rows)]
        text = "\n".join(["query_id\tquery\tpassage_id\tpassage\tlabel", *lines, ""])
        (folder / f"pairs/{k:03}.tsv").write_text(text, encoding="utf-8", newline="")
    held = load_pairs(str(folder / "pairs"))
    indexed = bool((held.labels > 0).any())
    assert_same(lay_out(folder / "pairs", folder / "out", backwards, indexed=indexed), held)


def test_a_collections_pairs_are_joined_once_and_not_kept(tmp_path):
    collection = write_collection(tmp_path / "toy")
    mapped = lay_out(collection, tmp_path / "out", split="test", language="de")
    assert_same(mapped, load_pairs(collection, split="test", language="de"))
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_parts_are_no_more_than_files_that_a_worker_may_open(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "MAX_PARTS", 2)
    assert_same(lay_out(pairs, tmp_path / "out"), load_pairs(str(pairs)))
    assert len(list((tmp_path / "out").glob("part-*.arrow"))) == 2


def test_batches_from_files_have_the_bytes_of_batches_from_memory(pairs, sample_lexicon, tmp_path):
    config = RerankerConfig.from_options({"batch_size": 8, "micro_batch_size": 4, "steps": 20, "max_tokens": 64})
    tokenizer = sample_tokenizer()
    found = (load_pairs(str(pairs)), lay_out(pairs, tmp_path / "out"))
    sources = [toy_source(config, held, tokenizer, sample_lexicon) for held in found]
    steps = [list(source.steps(3, 7)) for source in sources]
    for (one, chunks), (other, mapped) in zip(*steps, strict=True):
        assert (one.rows == other.rows).all()
        assert torch.equal(one.scores, other.scores)
        for a, b in zip(chunks, mapped, strict=True):
            assert torch.equal(a.tokens.ids, b.tokens.ids)
            assert torch.equal(a.twins, b.twins)
            assert torch.equal(a.labels, b.labels)
            assert a.names == b.names


KILLED = """
import os, signal, sys
from cluster.training.spool import spool_pairs

def map_parts(write, job, indices):
    yield write(job, 0)
    os.kill(os.getpid(), signal.SIGKILL)

spool_pairs(sys.argv[1], sys.argv[2], map_parts, split="train", language="en", indexed=True, identity={})
"""


def test_what_a_kill_left_is_laid_out_anew(pairs, tmp_path):
    folder = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", KILLED, str(pairs), str(folder)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [file.name for file in folder.iterdir()] == ["part-00000.arrow"]
    assert_same(lay_out(pairs, folder, identity={}), load_pairs(str(pairs)))


def test_what_is_whole_is_taken_as_it_is(pairs, tmp_path):
    lay_out(pairs, tmp_path / "out")
    assert_same(lay_out(pairs, tmp_path / "out", refuse_to_write), load_pairs(str(pairs)))


def test_what_was_laid_out_of_other_pairs_is_not_taken(pairs, tmp_path):
    lay_out(pairs, tmp_path / "out")
    other = tmp_path / "other.parquet"
    write_pairs(sample_table(num_queries=7), str(other))
    assert_same(lay_out(other, tmp_path / "out", identity={"pairs": "others"}), load_pairs(str(other)))


@pytest.mark.parametrize("name", ["part-00001.arrow", "keys.npy"])
def test_what_was_cut_short_is_laid_out_anew(name, pairs, tmp_path):
    lay_out(pairs, tmp_path / "out")
    file = tmp_path / "out" / name
    file.write_bytes(file.read_bytes()[:-1])
    assert_same(lay_out(pairs, tmp_path / "out"), load_pairs(str(pairs)))


def test_a_bad_row_is_refused_by_its_place(tmp_path):
    lines = ["query_id\tquery\tpassage_id\tpassage\tlabel", "q\ta\tp\tb\t1", "q\ta\tp\tb\tone", ""]
    (tmp_path / "pairs.tsv").write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"pairs\.tsv:3: label: "):
        lay_out(tmp_path / "pairs.tsv", tmp_path / "out")


def test_pairs_without_a_row_are_refused(tmp_path):
    (tmp_path / "pairs.tsv").write_text("query_id\tquery\tpassage_id\tpassage\tlabel\n")
    with pytest.raises(InputError, match=r"pairs\.tsv: no good row in it"):
        lay_out(tmp_path / "pairs.tsv", tmp_path / "out")


def test_one_process_lays_large_pairs_out_and_trains_alike(pairs, toys, tmp_path, monkeypatch):
    flags = ["--steps=4", "--batch-size=4", "--micro-batch-size=2", "--negatives=2", "--quiet"]
    command = ["train", "reranker", str(pairs), "--model", toys.reranker("bert"), *flags, "--output"]
    assert main([*command, str(tmp_path / "held")]) == 0
    monkeypatch.setattr("cluster.training_pairs.LARGE_BYTES", 0)
    opened = []
    monkeypatch.setattr("cluster.training_pairs.open_spool", lambda folder: opened.append(folder) or open_spool(folder))
    assert main([*command, str(tmp_path / "mapped")]) == 0
    losses = [[line["loss"] for line in read_history(str(tmp_path / name))] for name in ("held", "mapped")]
    assert losses[0] == losses[1]
    assert opened
    assert not Path(opened[0]).exists()

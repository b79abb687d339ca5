"""The switching job: its files, their sameness after crashes and restarts, and what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from csgen.errors import CsgenError, InputError
from csgen.lexicon.build import LexiconBuildConfig, build_lexicon
from csgen.manifest import Manifest
from csgen.switch_job import SwitchConfig, open_job, run_here, run_shard, run_switch
from csgen.unswitch import UnswitchConfig, unswitch
from csgen.verify import VerifyConfig, verify

NUM_PAIRS = 1000


@pytest.fixture(scope="module")
def lexicon(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lexicon") / "sample"
    build_lexicon(LexiconBuildConfig.from_options({"sources": ("sample",), "output": str(folder)}))
    return str(folder)


def make_pairs(num_pairs=NUM_PAIRS):
    passage = "You can renew the Passport at the office, free of charge; the fee for a new one is 45.50. "
    return pa.table(
        {
            "query_id": [f"q{k % 50}" for k in range(num_pairs)],
            "query": [f"how do I renew passport number {k}" for k in range(num_pairs)],
            "passage_id": [f"p{k}" for k in range(num_pairs)],
            "passage": [passage * (k % 4) for k in range(num_pairs)],
            "label": pa.array([int(k % 5 == 0) for k in range(num_pairs)], pa.int8()),
        }
    )


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.parquet"
    pq.write_table(make_pairs(), path, row_group_size=300)
    return str(path)


def configure(pairs, lexicon, output, **options):
    given = {
        "pairs": pairs,
        "lexicon": lexicon,
        "output": str(output),
        "languages": ("de", "it"),
        "rows_per_shard": 130,
    }
    return SwitchConfig.from_options(given | options)


def switch(config, run_shards=run_here):
    return run_switch(open_job(config), run_shards, lambda part: None)


def read_parts(folder):
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("part-*.parquet"))])


def files_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def test_every_pair_comes_out_once_and_in_order(pairs, lexicon, tmp_path):
    switch(configure(pairs, lexicon, tmp_path / "out"))
    result, before = read_parts(tmp_path / "out"), pq.read_table(pairs)
    assert result.select(["query_id", "passage_id", "label"]).equals(before.select(["query_id", "passage_id", "label"]))
    assert not result["passage"].equals(before["passage"])


def test_rows_do_not_depend_on_the_size_of_shards(pairs, lexicon, tmp_path):
    switch(configure(pairs, lexicon, tmp_path / "a", rows_per_shard=7))
    switch(configure(pairs, lexicon, tmp_path / "b", rows_per_shard=5000))
    assert read_parts(tmp_path / "a").equals(read_parts(tmp_path / "b"))


def test_shards_done_in_another_order_give_the_same_files(pairs, lexicon, tmp_path):
    switch(configure(pairs, lexicon, tmp_path / "a"))
    switch(configure(pairs, lexicon, tmp_path / "b"), lambda job, indices: run_here(job, indices[::-1]))
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_the_manifest_tells_what_was_made(pairs, lexicon, tmp_path):
    manifest = switch(configure(pairs, lexicon, tmp_path / "out"))
    assert manifest == Manifest.read(str(tmp_path / "out"))
    assert sum(f["rows"] for f in manifest.files.values()) == manifest.counts["pairs"] == NUM_PAIRS
    assert manifest.counts["passage"]["realised_ratio"] > 0.1


def test_a_job_that_failed_midway_resumes_and_ends_with_the_same_files(pairs, lexicon, tmp_path):
    def fail_after_three(job, indices):
        for index in indices[:3]:
            yield run_shard(job, index)
        raise CsgenError("worker lost")

    config = configure(pairs, lexicon, tmp_path / "out")
    with pytest.raises(CsgenError, match="worker lost"):
        switch(config, fail_after_three)
    assert not (tmp_path / "out" / "manifest.json").exists()
    redone = []
    switch(config, lambda job, indices: run_here(job, redone.extend(indices) or indices))
    switch(configure(pairs, lexicon, tmp_path / "whole"))
    assert redone == list(range(3, 10))
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


KILLED = """
import sys, time
from csgen.switch_job import *
config = SwitchConfig.from_options({"pairs": sys.argv[1], "lexicon": sys.argv[2], "output": sys.argv[3],
    "languages": ("de", "it"), "rows_per_shard": 130})
def slowly(job, indices):
    for index in indices:
        yield run_shard(job, index)
        time.sleep(0.3)
run_switch(open_job(config), slowly, lambda part: None)
"""


def test_a_killed_process_resumes_and_ends_with_the_same_files(pairs, lexicon, tmp_path):
    output = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", KILLED, pairs, lexicon, str(output)])
    while len(list(output.glob("part-*.parquet"))) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (output / "manifest.json").exists()
    (output / "part-00003.parquet.99.partial").write_bytes(b"half")  # what a kill in mid-write leaves
    switch(configure(pairs, lexicon, output))
    switch(configure(pairs, lexicon, tmp_path / "whole"))
    assert files_of(output) == files_of(tmp_path / "whole")


def start_and_fail(config):
    def fail(job, indices):
        yield run_shard(job, indices[0])
        raise CsgenError("worker lost")

    with pytest.raises(CsgenError):
        switch(config, fail)


def test_a_changed_seed_is_refused_on_resume(pairs, lexicon, tmp_path):
    start_and_fail(configure(pairs, lexicon, tmp_path / "out", seed=1))
    with pytest.raises(InputError, match="--seed was 1, is 2"):
        switch(configure(pairs, lexicon, tmp_path / "out", seed=2))


def test_a_changed_input_is_refused_on_resume(pairs, lexicon, tmp_path):
    start_and_fail(configure(pairs, lexicon, tmp_path / "out"))
    pq.write_table(make_pairs(900), pairs)
    with pytest.raises(InputError, match=r"input .*pairs.parquet was"):
        switch(configure(pairs, lexicon, tmp_path / "out"))


def test_a_changed_lexicon_is_refused_on_resume(pairs, lexicon, tmp_path):
    start_and_fail(configure(pairs, lexicon, tmp_path / "out"))
    other = tmp_path / "other.tsv"
    other.write_text("passport\tPass\nfee\ttassa\n")
    sources = (f"tsv:en-de:{other}", f"tsv:en-it:{other}")
    with pytest.raises(InputError, match="two sources"):
        LexiconBuildConfig.from_options({"sources": (sources[0], sources[0]), "output": "x"})
    build_lexicon(LexiconBuildConfig.from_options({"sources": sources, "output": str(tmp_path / "lexicon2")}))
    with pytest.raises(InputError, match="lexicon was"):
        switch(configure(pairs, str(tmp_path / "lexicon2"), tmp_path / "out"))


def test_a_finished_output_is_not_overwritten(pairs, lexicon, tmp_path):
    config = configure(pairs, lexicon, tmp_path / "out")
    switch(config)
    with pytest.raises(InputError, match="holds a finished output; remove it first"):
        switch(config)


def test_a_folder_of_other_things_is_not_written_into(pairs, lexicon, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="no unfinished job"):
        switch(configure(pairs, lexicon, tmp_path / "out"))


def test_an_input_that_changes_while_it_is_read_fails(pairs, lexicon, tmp_path):
    def change_between(job, indices):
        yield run_shard(job, indices[0])
        os.utime(pairs, ns=(1, 1))
        yield run_shard(job, indices[1])

    with pytest.raises(CsgenError, match=r"pairs.parquet: changed since the job began"):
        switch(configure(pairs, lexicon, tmp_path / "out"), change_between)


def bad_lines(tmp_path):
    rows = [json.dumps(row) for row in make_pairs(20).to_pylist()]
    rows[4] = '{"query_id": "q"'
    rows[9] = rows[9].replace('"p9"', "null")
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def test_a_bad_row_is_named_and_nothing_is_left(lexicon, tmp_path):
    with pytest.raises(InputError, match=r"bad.jsonl:5: .*--on-error skip"):
        switch(configure(bad_lines(tmp_path), lexicon, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_skipped_rows_are_counted_and_kept_in_a_file_with_their_reasons(lexicon, tmp_path):
    manifest = switch(configure(bad_lines(tmp_path), lexicon, tmp_path / "out", on_error="skip"))
    rejects = [json.loads(line) for line in (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()]
    assert [r["row"] for r in rejects] == [5, 10]
    assert "passage_id" in rejects[1]["reason"]
    assert (manifest.counts["pairs"], manifest.counts["rejects"]) == (18, 2)


def test_more_bad_rows_than_allowed_fail_the_job(lexicon, tmp_path):
    with pytest.raises(InputError, match="more than 1 bad rows"):
        switch(configure(bad_lines(tmp_path), lexicon, tmp_path / "out", on_error="skip", max_errors=1))
    assert not (tmp_path / "out").exists()


def test_unswitching_restores_the_original_pairs(pairs, lexicon, tmp_path):
    switch(configure(pairs, lexicon, tmp_path / "out", spans=True))
    restored = str(tmp_path / "original.parquet")
    unswitch(UnswitchConfig.from_options({"switched": str(tmp_path / "out"), "output": restored}))
    assert pq.read_table(restored).equals(pq.read_table(pairs))


def test_an_output_without_spans_cannot_be_unswitched(pairs, lexicon, tmp_path):
    switch(configure(pairs, lexicon, tmp_path / "out"))
    with pytest.raises(InputError, match="no column query_switches"):
        unswitch(
            UnswitchConfig.from_options({"switched": str(tmp_path / "out"), "output": str(tmp_path / "o.parquet")})
        )


def test_verify_finds_nothing_in_a_good_output(pairs, lexicon, tmp_path):
    switch(configure(pairs, lexicon, tmp_path / "out"))
    assert verify(VerifyConfig.from_options({"folder": str(tmp_path / "out")})) == []


def test_verify_names_a_part_with_a_flipped_bit(pairs, lexicon, tmp_path):
    switch(configure(pairs, lexicon, tmp_path / "out"))
    part = tmp_path / "out" / "part-00002.parquet"
    data = bytearray(part.read_bytes())
    data[100] ^= 1
    part.write_bytes(data)
    assert [d.name for d in verify(VerifyConfig.from_options({"folder": str(tmp_path / "out")}))] == [
        "part-00002.parquet"
    ]


def test_verify_names_a_part_whose_rows_another_seed_made(pairs, lexicon, tmp_path):
    switch(configure(pairs, lexicon, tmp_path / "out"))
    switch(configure(pairs, lexicon, tmp_path / "other", seed=9))
    good, other = (Manifest.read(str(tmp_path / name)) for name in ("out", "other"))
    name = "part-00001.parquet"
    (tmp_path / "out" / name).write_bytes((tmp_path / "other" / name).read_bytes())
    good.model_copy(update={"files": good.files | {name: other.files[name]}}).write(str(tmp_path / "out"))
    found = verify(VerifyConfig.from_options({"folder": str(tmp_path / "out")}))
    assert [(d.name, d.reason) for d in found] == [(name, "its rows differ when computed anew")]


def test_verify_refuses_a_changed_input(pairs, lexicon, tmp_path):
    switch(configure(pairs, lexicon, tmp_path / "out"))
    pq.write_table(make_pairs(900), pairs)
    with pytest.raises(InputError, match="its inputs changed"):
        verify(VerifyConfig.from_options({"folder": str(tmp_path / "out")}))


def test_a_beir_folder_is_joined_switched_and_verified(lexicon, tmp_path):
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": "d1", "title": "Fees", "text": "the fee for a passport"}\n')
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "passport fee"}\n')
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    manifest = switch(configure(str(folder), lexicon, tmp_path / "out", probability=1.0))
    assert manifest.counts["pairs"] == 1
    assert verify(VerifyConfig.from_options({"folder": str(tmp_path / "out")})) == []
    assert sorted(files_of(tmp_path / "out")) == ["manifest.json", "part-00000.parquet"]


def test_a_target_ratio_is_reached(pairs, lexicon, tmp_path):
    manifest = switch(configure(pairs, lexicon, tmp_path / "out", target_ratio=0.2))
    assert manifest.counts["target_ratio"] == 0.2
    assert manifest.counts["passage"]["realised_ratio"] == pytest.approx(0.2, abs=0.02)


def test_a_target_ratio_beyond_the_lexicon_is_refused(pairs, lexicon, tmp_path):
    with pytest.raises(InputError, match=r"at most 0\.\d+ of the query tokens"):
        open_job(configure(pairs, lexicon, tmp_path / "out", target_ratio=0.99))


def test_a_full_disk_fails_clearly_and_can_be_gone_on_from(pairs, lexicon, tmp_path):
    output = tmp_path / "small"
    output.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(output)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        with pytest.raises(CsgenError, match="cannot be written: No space left on device"):
            switch(configure(pairs, lexicon, output))
        assert not (output / "manifest.json").exists()
        subprocess.run(["mount", "-o", "remount,size=8m", str(output)], check=True)
        assert switch(configure(pairs, lexicon, output)).counts["pairs"] == NUM_PAIRS
    finally:
        subprocess.run(["umount", str(output)], check=True)


def test_an_output_below_a_file_fails_clearly(pairs, lexicon, tmp_path):
    with pytest.raises(CsgenError, match="cannot be written"):
        switch(configure(pairs, lexicon, Path(pairs) / "out"))


@pytest.mark.parametrize("scheme", ["memory://job-test", "file://{tmp}/by-uri"])
def test_output_may_be_a_uri(pairs, lexicon, tmp_path, scheme):
    uri = scheme.format(tmp=tmp_path)
    switch(configure(pairs, lexicon, uri))
    assert Manifest.read(uri).counts["pairs"] == NUM_PAIRS

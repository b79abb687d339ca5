"""Shards on a real Ray: sameness for any number of workers, workers that die, errors that come through."""

import os
import signal
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray.cloudpickle
from test_switch_job import configure, files_of, make_pairs, switch

from csgen.errors import InputError
from csgen.job import map_shards
from csgen.switch_job import run_shard

# Workers cannot import test files.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.parquet"
    pq.write_table(make_pairs(), path, row_group_size=200)
    return str(path)


def on_ray(workers):
    return lambda job, indices: map_shards(run_shard, job, indices, workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_files_do_not_depend_on_the_number_of_workers(ray_session, pairs, sample_lexicon, tmp_path, workers):
    switch(configure(pairs, sample_lexicon, tmp_path / "ray"), on_ray(workers))
    switch(configure(pairs, sample_lexicon, tmp_path / "here"))
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "here")


def test_a_killed_worker_loses_and_doubles_nothing(ray_session, pairs, sample_lexicon, tmp_path):
    killed = tmp_path / "killed"

    def die_once(job, index):
        part = run_shard(job, index) if index == 2 else None
        if part and not Path(killed).exists():
            Path(killed).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return part or run_shard(job, index)

    switch(
        configure(pairs, sample_lexicon, tmp_path / "ray"), lambda job, indices: map_shards(die_once, job, indices, 2)
    )
    switch(configure(pairs, sample_lexicon, tmp_path / "here"))
    assert killed.exists()
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "here")


def test_bad_input_in_a_worker_is_named_and_nothing_is_left(ray_session, sample_lexicon, tmp_path):
    lines = ["query_id\tquery\tpassage_id\tpassage\tlabel"] + [f"q{k}\ta\tp{k}\tb\t1" for k in range(20)]
    lines[7] = "q6\ta\tp6\tb\tmaybe"
    for name in ("a.tsv", "b.tsv"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_text("\n".join(lines if name == "b.tsv" else lines[:5]) + "\n")
    with pytest.raises(InputError, match=r"b.tsv:8: label"):
        switch(configure(str(tmp_path / "in"), sample_lexicon, tmp_path / "out"), on_ray(2))
    assert not (tmp_path / "out").exists()

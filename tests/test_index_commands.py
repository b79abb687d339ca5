"""csgen index: its commands from end to end with the carried encoder, here and on Ray; what they say and refuse."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import faiss
import numpy as np
import pytest
import ray.cloudpickle
from test_index_building import content_of, make, passages, vectors_of, write_input
from toy_collection import write_collection

from cluster.cli import main
from cluster.indexing_job import find_encoder, map_on_actors, place_on_ray
from csgen.errors import CsgenError, InputError
from indexing.models.carried import BASE, ENCODER, find_carried
from indexing.store import Store

# Workers cannot import test files.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def tell(csgen):
    """Runs a command that has to end well; gives its JSON."""

    def run(*arguments):
        code, output, errors = csgen(*arguments, "--format", "json")
        assert code == 0, errors
        return json.loads(output)

    return run


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return write_collection(tmp_path_factory.mktemp("collection") / "toy")


@pytest.fixture(scope="module")
def encoded(collection, tmp_path_factory):
    """An index of the toy collection with the carried encoder, to be copied before it is changed."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("encoded") / "index"
    assert main(["index", "build", collection, "--num-shards", "2", "--output", str(folder)]) == 0
    return folder


@pytest.fixture
def index(encoded, tmp_path):
    shutil.copytree(encoded, tmp_path / "index")
    return tmp_path / "index"


@pytest.fixture
def plain(tmp_path):
    """An index of 40 passages with vectors from a file, and the path of its input."""
    path = write_input(tmp_path / "input", passages(40))
    make(path, tmp_path / "plain", lexical=True)
    return tmp_path / "plain", path


# With an encoder


def test_a_text_finds_itself_and_the_answer_says_what_was_searched(tell, index):
    found = tell("index", "search", index, "die alte Brücke", "the red house", "--top-k", "3")
    best = {hit["query"]: hit for hit in found["hits"] if hit["rank"] == 1}
    assert [(best[n]["language"], best[n]["passage_id"]) for n in (0, 1)] == [("de", "p2"), ("en", "p0")]
    assert (best[0]["text"], best[0]["score"]) == ("die alte Brücke", pytest.approx(1, abs=1e-5))
    assert (found["index_version"], found["shards_asked"], found["shards_answered"]) == (2, 2, 2)


def test_words_are_searched_too_and_languages_filtered(tell, index):
    found = tell("index", "search", index, "red house", "--mode", "lexical", "--languages", "en,de")
    assert [(hit["language"], hit["passage_id"]) for hit in found["hits"]] == [("en", "p0")]


def test_passages_are_added_by_the_encoder_that_the_index_names(tell, index, tmp_path):
    (tmp_path / "more.jsonl").write_text(
        json.dumps({"language": "en", "passage_id": "p0", "text": "a blue car"}) + "\n"
    )
    report = tell("index", "add", index, tmp_path / "more.jsonl")
    assert (report["passages"], report["replaced"], report["version"]) == (1, 1, 3)
    assert tell("index", "search", index, "a blue car", "--top-k", "1")["hits"][0]["passage_id"] == "p0"


def test_another_encoder_is_refused_and_both_are_named(csgen, index, collection, tmp_path):
    other = shutil.copytree(find_carried(ENCODER), tmp_path / "other")
    settings = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(settings | {"note": "another"}))
    for arguments in (
        ["add", index, collection],
        ["search", index, "a text"],
        ["offsets", index, collection, "--output", tmp_path / "offsets.json"],
    ):
        code, output, errors = csgen("index", *arguments, "--encoder", other)
        assert (code, output) == (2, "")
        assert f"was made with the encoder {ENCODER} (hash " in errors
        assert f"not with {other} (hash " in errors


def test_the_indexs_encoder_may_lie_elsewhere_now(csgen, tell, collection, tmp_path):
    first, now = (tmp_path / name for name in ("first", "now"))
    shutil.copytree(find_carried(ENCODER), first)
    tell("index", "build", collection, "--encoder", first, "--output", tmp_path / "index")
    first.rename(now)
    for arguments in (["search", tmp_path / "index", "the red house"], ["add", tmp_path / "index", collection]):
        code, _, errors = csgen("index", *arguments)
        assert (code, f"{first}: no such folder" in errors, "--encoder" in errors) == (2, True, True)
        assert tell("index", *arguments, "--encoder", now)


def test_offsets_are_learnt_told_and_used(csgen, tell, index, collection, tmp_path):
    path = tmp_path / "offsets.json"
    code, shown, errors = csgen("index", "offsets", index, collection, "--split", "test", "--output", path)
    assert code == 0, errors
    assert "MRR@10" in shown
    learnt = json.loads(path.read_text())
    assert set(learnt["languages"]) <= {"en", "de", "it"}
    plain, mapped = (
        tell("index", "search", index, "the red house", "--top-k", "12", *more)["hits"]
        for more in ([], ["--offsets", path])
    )
    maps = {one: learnt["languages"].get(one, {"scale": 1, "shift": 0}) for one in ("en", "de", "it")}
    scores = {(hit["language"], hit["passage_id"]): hit["score"] for hit in plain}
    for hit in mapped:
        own = maps[hit["language"]]
        score = own["scale"] * scores[hit["language"], hit["passage_id"]] + own["shift"]
        assert hit["score"] == pytest.approx(score, abs=1e-5)
    code, _, errors = csgen("index", "offsets", index, collection, "--split", "test", "--output", path)
    assert (code, errors) == (2, f"csgen: {path}: exists already; remove it first or give another --output\n")


def test_an_encoder_on_ray_gives_the_bytes_of_one_process(collection, tmp_path, ray_session):
    source = find_encoder(BASE, "fp32", None, None, "auto")
    make(collection, tmp_path / "here", source=source, piece_passages=2)
    make(collection, tmp_path / "ray", place_on_ray(2, "auto"), source=source, piece_passages=2)
    assert content_of(tmp_path / "ray") == content_of(tmp_path / "here")


# Commands


def test_the_life_of_an_index(tell, plain, tmp_path):
    index, path = plain
    assert tell("index", "info", index, "--check")["passages"] == 40
    report = tell("index", "delete", index, "--passages", "en/p3,de/p4,de/p5")
    assert (report["deleted"], report["not_found"]) == (2, 1)
    assert tell("index", "delete", index, "--where", "year=2001", "--languages", "it")["deleted"] == 2
    report = tell("index", "compact", index, "--whole")
    assert (report["passages"], report["purged"]) == (36, 4)
    told = tell("index", "info", index)
    assert (told["passages"], told["deleted"], told["operation"]) == (36, 0, "compact")
    assert sum(shard["passages"] for shard in told["shards"]) == 36
    tell("index", "snapshot", index, "--output", tmp_path / "snapshot")
    tell("index", "add", index, path, "--vectors", path.with_name("vectors.npy"))
    assert tell("index", "info", index)["passages"] == 40
    tell("index", "restore", tmp_path / "snapshot", "--output", tmp_path / "restored")
    assert tell("index", "info", tmp_path / "restored", "--check")["passages"] == 36


def test_vectors_are_queries(tell, plain, tmp_path):
    index, _ = plain
    np.save(tmp_path / "queries.npy", vectors_of(40)[[5, 9]])
    found = tell(
        "index", "search", index, "--vectors", tmp_path / "queries.npy", "--top-k", "1", "--columns", "passage_id,year"
    )
    assert [(hit["passage_id"], hit["year"]) for hit in found["hits"]] == [("p5", 2000), ("p9", 2004)]


def test_queries_come_from_a_file(tell, plain, tmp_path):
    (tmp_path / "queries.txt").write_text("passage 5\npassage 9\n")
    found = tell("index", "search", plain[0], "--queries-file", tmp_path / "queries.txt", "--mode", "lexical")
    assert {hit["query"]: hit["passage_id"] for hit in found["hits"] if hit["rank"] == 1} == {0: "p5", 1: "p9"}


def test_people_get_tables(csgen, plain):
    index, _ = plain
    shown = csgen("index", "search", index, "passage 5", "--mode", "lexical")[1]
    assert "passage 5" in shown
    assert "2 of 2 shards" in shown
    shown = csgen("index", "info", index)[1]
    assert "40 (de 13, en 14, it 13), and 0 deleted" in shown
    assert "year (int64)" in shown


def test_the_reason_for_the_kind_and_what_is_left_out_are_told(csgen, tmp_path):
    rows = passages(10)
    rows[3]["text"] = ""
    path = write_input(tmp_path / "input", rows)
    given = ["--vectors", path.with_name("vectors.npy"), "--on-error", "skip", "--languages", "en,de"]
    code, shown, _ = csgen("index", "build", path, *given, "--output", tmp_path / "index")
    assert code == 0
    assert "so no other kind is worth its losses" in shown
    assert "6 passages in 1 segment:" in shown
    assert "1 bad passage set aside (1 x text: is empty, and there is no title)" in shown
    assert "3 passages in other languages left out" in shown


def test_an_encoder_and_vectors_are_one_too_many(csgen, plain, tmp_path):
    index, path = plain
    for arguments in (["build", path, "--output", tmp_path / "index"], ["add", index, path]):
        code, _, errors = csgen("index", *arguments, "--encoder", BASE, "--vectors", path.with_name("vectors.npy"))
        assert (code, errors) == (2, "csgen: --encoder or --vectors: give one of them\n")


def test_an_index_of_vectors_from_files_asks_for_more_of_them(csgen, plain):
    code, _, errors = csgen("index", "add", *plain)
    assert (code, "its vectors came from files: give --vectors in place of an encoder" in errors) == (2, True)


def test_a_file_that_was_altered_is_named_with_exit_1(csgen, plain):
    index, _ = plain
    path = index / "segments" / "00000001" / "vectors.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert csgen("index", "info", index)[0] == 0
    code, _, errors = csgen("index", "info", index, "--check")
    assert (code, "segments/00000001/vectors.npy (segment 00000001) is altered" in errors) == (1, True)


def test_a_segment_that_was_cut_short_is_named_and_a_search_without_it_says_what_is_lost(csgen, plain):
    index, _ = plain
    path = index / "segments" / "00000001" / "vectors.npy"
    path.write_bytes(path.read_bytes()[:-1])
    query = ["index", "search", index, "passage 5", "--mode", "lexical"]
    code, _, errors = csgen(*query)
    assert (code, "segments/00000001/vectors.npy (segment 00000001) is truncated: " in errors) == (2, True)
    code, shown, _ = csgen(*query, "--repair")
    assert (code, "lost 1 of 5 segments, 10 of 40 passages: segments/00000001/vectors.npy" in shown) == (0, True)
    assert "1 of 2 shards, 4 of 5 segments; 30 of 30 passages could be hits" in shown


def test_a_second_writer_is_refused_and_told_who_is_at_it(csgen, plain):
    index, path = plain
    given = ["--vectors", path.with_name("vectors.npy")]
    with Store.open(index).write("compact"):
        for arguments in (["delete", index, "--languages", "en"], ["compact", index], ["add", index, path, *given]):
            code, _, errors = csgen("index", *arguments)
            assert (code, f"process {os.getpid()} on " in errors, "(compact, since " in errors) == (2, True, True)
    assert csgen("index", "add", index, path, *given)[0] == 0


# On Ray


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_bytes_do_not_depend_on_rays_workers(workers, tmp_path, ray_session):
    path = write_input(tmp_path / "input", passages(40))
    make(path, tmp_path / "here", lexical=True)
    make(path, tmp_path / "ray", place_on_ray(workers, "auto"), lexical=True)
    assert content_of(tmp_path / "ray") == content_of(tmp_path / "here")


def test_bad_input_in_a_worker_is_named(tmp_path, ray_session):
    vectors = vectors_of(40)
    vectors[30] = np.inf
    path = write_input(tmp_path / "input", passages(40), vectors)
    with pytest.raises(InputError, match=r"vectors.npy: row 30 \(from 0\) is not finite"):
        make(path, tmp_path / "index", place_on_ray(2, "auto"))


def square(job, number):
    """A task that kills its process the first time that it gets the number 3, and refuses 99."""
    killed = Path(job)
    if number == 3 and not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 99:
        raise InputError("99 is too much")
    if number == 98:
        raise ValueError("98")
    return number * number, os.getpid()


HALF = {"num_cpus": 0.5}


def test_actors_keep_their_process_and_do_each_task_once_though_one_dies(tmp_path, ray_session):
    found = list(map_on_actors(2, HALF, square, str(tmp_path / "killed"), list(range(8))))
    assert sorted(result for result, _ in found) == [number * number for number in range(8)]
    assert (tmp_path / "killed").exists()
    assert len({process for _, process in found}) <= 3


def test_what_an_actor_raises_is_raised_here(tmp_path, ray_session):
    (tmp_path / "killed").touch()
    with pytest.raises(InputError, match="99 is too much"):
        list(map_on_actors(1, HALF, square, str(tmp_path / "killed"), [1, 99]))
    with pytest.raises(CsgenError, match="a worker failed: ValueError: 98"):
        list(map_on_actors(1, HALF, square, str(tmp_path / "killed"), [98]))


@pytest.mark.skipif(hasattr(faiss, "StandardGpuResources"), reason="this FAISS can work on a GPU")
def test_a_search_on_a_gpu_without_support_says_what_to_install(csgen, plain, tmp_path):
    np.save(tmp_path / "queries.npy", vectors_of(2))
    code, _, errors = csgen("index", "search", plain[0], "--vectors", tmp_path / "queries.npy", "--device", "gpu")
    assert code == 2
    assert "pip install 'csgen[gpu]'" in errors

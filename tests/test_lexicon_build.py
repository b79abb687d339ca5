"""Building a lexicon, showing a word of it, and its coverage of a corpus."""

import hashlib
import json
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from cluster.commands import lexicon as lexicon_command
from cluster.terminal import Terminal
from csgen.errors import InputError
from csgen.lexicon.build import LexiconBuildConfig, build_lexicon
from csgen.lexicon.coverage import coverage
from csgen.lexicon.entries import ENTRY_SCHEMA, read_entries, show_word
from csgen.lexicon.reading import read_here
from csgen.lexicon.sources import LexiconSource
from csgen.manifest import Manifest
from csgen.readers import formats, pieces

DATA = Path(__file__).parents[1].parent / "shared" / "data" / "lexicons"

MUSE = "the die\nthe der\nhouse haus\nhouse gebäude\nberlin berlin\nBerlin, berlin\n"
TSV = "house\tmaison\t3\nhouse\tlogis\t1\ntown hall\tmairie\nbroken line\n" + "".join(
    f"w{n}\tm{n}\n" for n in range(20)
)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "en-de.txt").write_text(MUSE)
    (tmp_path / "fr.tsv").write_text(TSV)
    return tmp_path


def config(folder, *specs, **options):
    named = [spec.replace("@", f"{folder}/") for spec in specs]
    return LexiconBuildConfig.from_options({"sources": named, "output": str(folder / "lexicon")} | options)


def build(folder, *specs, **options):
    made = config(folder, *specs, **options)
    build_lexicon(made)
    return made.output


def test_entries_carry_languages_weight_rank_origin_and_licence(files):
    entries = read_entries(build(files, "muse:eng-deu:@en-de.txt", "tsv:en-fr:@fr.tsv", source_licence="CC0"))
    assert entries.filter(source="house").rows() == [
        ("house", "en", "haus", "de", 0.5, 1, "muse:en-de.txt", "CC BY-NC 4.0"),
        ("house", "en", "gebäude", "de", 0.5, 2, "muse:en-de.txt", "CC BY-NC 4.0"),
        ("house", "en", "maison", "fr", 0.75, 1, "tsv:fr.tsv", "CC0"),
        ("house", "en", "logis", "fr", 0.25, 2, "tsv:fr.tsv", "CC0"),
    ]


def test_file_has_the_schema_of_the_format(files):
    output = build(files, "muse:en-de:@en-de.txt")
    assert pq.read_schema(f"{output}/entries.parquet").equals(ENTRY_SCHEMA)


def test_manifest_counts_what_came_of_each_source(files):
    output = build(files, "muse:en-de:@en-de.txt", "tsv:en-fr:@fr.tsv")
    counts = Manifest.read(output).counts
    assert counts["languages"] == {"en-de": {"words": 2, "entries": 4}, "en-fr": {"words": 22, "entries": 23}}
    assert counts["origins"]["muse:en-de:en-de.txt"] == {
        "lines": 6,
        "blank": 0,
        "punctuation taken off": 1,
        "pairs": 6,
        "malformed": {},
        "malformed_examples": [],
        "dropped": {"identical source and target": 2},
        "entries": 4,
    }
    assert counts["origins"]["tsv:en-fr:fr.tsv"]["malformed_examples"] == [
        "fr.tsv:4: expected 2 or 3 fields separated by tabs"
    ]


def test_every_malformed_line_stands_among_the_rejects(files):
    output = build(files, "muse:en-de:@en-de.txt", "tsv:en-fr:@fr.tsv")
    rejects = Path(output, "rejects.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in rejects] == [
        {"path": "fr.tsv", "row": 4, "reason": "expected 2 or 3 fields separated by tabs"}
    ]


def test_manifest_hashes_inputs_and_every_file(files):
    output = build(files, "muse:en-de:@en-de.txt")
    manifest = Manifest.read(output)
    assert manifest.inputs["muse:en-de:en-de.txt"]["files"]["en-de.txt"]["bytes"] == len(MUSE.encode())
    written = {str(p.relative_to(output)) for p in Path(output).rglob("*") if p.is_file()}
    assert written == set(manifest.files) | {"manifest.json"}


def test_output_depends_neither_on_the_folder_nor_on_the_order_of_sources(files, tmp_path_factory):
    other = tmp_path_factory.mktemp("elsewhere")
    for name in ("en-de.txt", "fr.tsv"):
        (other / name).write_bytes((files / name).read_bytes())
    first = build(files, "muse:en-de:@en-de.txt", "tsv:en-fr:@fr.tsv")
    second = build(other, "tsv:en-fr:@fr.tsv", "muse:en-de:@en-de.txt")
    assert _digests(first) == _digests(second)
    assert str(files) not in Path(first, "manifest.json").read_text()


def _digests(folder):
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_identical_pairs_stay_if_asked(files):
    entries = read_entries(build(files, "muse:en-de:@en-de.txt", identical="keep"))
    assert entries.filter(source="berlin")["target"].to_list() == ["berlin"]


def test_finished_output_is_not_overwritten(files):
    build(files, "muse:en-de:@en-de.txt")
    with pytest.raises(InputError, match="holds a finished output"):
        build(files, "muse:en-de:@en-de.txt")


def test_file_with_many_malformed_lines_is_refused_and_nothing_written(files):
    (files / "prose.txt").write_text("Once upon a time there was a word list.\n" * 9 + "the die\n")
    message = r"prose\.txt:1: expected 2 words.*; 9 of 10 lines are malformed, above --max-malformed 0\.1: is it a muse"
    with pytest.raises(InputError, match=message):
        build(files, "muse:en-de:@prose.txt")
    assert not (files / "lexicon").exists()


def test_malformed_lines_up_to_the_given_share_are_dropped(files):
    (files / "half.txt").write_text("the die\nno pair here\n")
    assert len(read_entries(build(files, "muse:en-de:@half.txt", max_malformed=0.5))) == 1


def test_sources_without_a_single_entry_are_refused(files):
    (files / "same.txt").write_text("berlin berlin\n")
    with pytest.raises(InputError, match=r"no entries are left.*identical"):
        build(files, "muse:en-de:@same.txt")


@pytest.mark.parametrize(
    "spec", ["muse", "muse:en-de", "muse:en:x", "muse:en-de:", "word2vec:en-de:x", "sample:en-de:x"]
)
def test_spec_of_another_form_is_refused(tmp_path, spec):
    with pytest.raises(InputError, match=r"expected KIND:SRC-TGT:PATH.*got '" + spec):
        config(tmp_path, spec)


def test_unknown_language_of_a_spec_is_refused(tmp_path):
    with pytest.raises(InputError, match="unknown language 'germn': did you mean de"):
        config(tmp_path, "muse:en-germn:x")


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.txt: no such file"):
        build(tmp_path, "muse:en-de:@nothing.txt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": []}, "--sources: .*at least 1"),
        ({"sources": ["muse:en-de:a/x", "muse:en-de:b/x"]}, "both named muse:en-de:x"),
        ({"source_licence": "CC0"}, "--source-licence is for tsv, csv, .* sources"),
        ({"max_malformed": 1.5}, "--max-malformed: .*less than or equal to 1, got 1.5"),
        ({"identical": "maybe"}, "--identical"),
    ],
)
def test_wrong_option_is_named(options, message):
    with pytest.raises(InputError, match=message):
        LexiconBuildConfig.from_options({"sources": ["muse:en-de:x"], "output": "y"} | options)


def test_spec_may_be_a_uri_and_a_target_may_have_a_region():
    source = LexiconSource.parse("tsv:eng-pt-BR:s3://bucket/folder/words.tsv.gz")
    assert (source.target_languages, source.path, source.origin) == (
        ("pt-BR",),
        "s3://bucket/folder/words.tsv.gz",
        "tsv:words.tsv.gz",
    )


def test_carried_sample_builds_into_all_its_languages(tmp_path):
    entries = read_entries(build(tmp_path, "sample"))
    assert set(entries["target_language"]) == {"ar", "de", "fr", "it", "ja", "ru"}
    assert set(entries["licence"]) == {"Apache-2.0"}


@pytest.mark.skipif(not DATA.is_dir(), reason="the real lexicons of ../shared/data are not here")
def test_real_sources_of_three_kinds_build_together(tmp_path):
    output = build(
        tmp_path,
        f"muse:en-ja:{DATA}/muse/en-ja.tsv.xz",
        f"freedict:en-it:{DATA}/freedict/eng-ita.tsv.xz",
        f"tsv:en-sw:{DATA}/omw/en-sw.tsv.xz",
    )
    targets = [target for word in ("House", "and") for target in show_word(output, word)["target"]]
    assert {"casa", "nyumba", "そして"} <= set(targets)


# --- showing a word ---


def test_word_is_shown_in_any_case_the_heaviest_translation_first(files):
    output = build(files, "tsv:en-fr:@fr.tsv")
    assert show_word(output, "HOUSE")["target"].to_list() == ["maison", "logis"]
    assert show_word(output, " Town  hall ")["target"].to_list() == ["mairie"]


def test_absent_word_names_near_matches(files):
    output = build(files, "tsv:en-fr:@fr.tsv")
    with pytest.raises(InputError, match="no entry for 'hosue'; did you mean house"):
        show_word(output, "hosue")
    with pytest.raises(InputError, match=r"no entry for 'zzzz'$"):
        show_word(output, "zzzz")


def test_folder_of_another_stage_is_no_lexicon(tmp_path):
    Manifest(stage="fetch", config={}, inputs={}, counts={}, files={}).write(str(tmp_path))
    with pytest.raises(InputError, match="expected a lexicon, got the output of csgen fetch"):
        read_entries(str(tmp_path))


def test_unfinished_folder_is_no_lexicon(files):
    output = Path(build(files, "tsv:en-fr:@fr.tsv"))
    (output / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"no manifest\.json"):
        read_entries(str(output))


def test_damaged_entries_are_refused(files):
    output = Path(build(files, "tsv:en-fr:@fr.tsv"))
    (output / "entries.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(InputError, match="damaged"):
        read_entries(str(output))


def test_counts_are_plain_json(files):
    counts = build_lexicon(config(files, "muse:en-de:@en-de.txt"))
    assert json.loads(json.dumps(counts)) == counts


# --- coverage ---


def entries_of(*pairs):
    return pl.DataFrame(
        [(s, "en", t) for s, t in pairs], schema=["source", "source_language", "target_language"], orient="row"
    )


def tokens(**counts):
    return pl.DataFrame({"token": list(counts), "count": list(counts.values())})


def test_coverage_counts_distinct_and_running_tokens_folded():
    covered = coverage(
        entries_of(("house", "de"), ("HOUSE", "de"), ("the dog", "de")), tokens(House=3, house=3, dog=2, the=2)
    )
    assert covered.filter(band="all").rows() == [("en", "de", "all", 3, 1 / 3, 10, 0.6)]


def test_coverage_has_a_row_for_each_language_and_band():
    counts = tokens(**{f"w{n:05}": 20_000 - n for n in range(10_001)})
    covered = coverage(entries_of(("w00000", "de"), ("w00100", "fr"), ("w10000", "fr")), counts)
    assert covered.select("target_language", "band", "distinct_tokens", "distinct_ratio").rows() == [
        ("de", "all", 10_001, 1 / 10_001),
        ("de", "1-100", 100, 0.01),
        ("de", "101-1k", 900, 0.0),
        ("de", "1k-10k", 9_000, 0.0),
        ("de", ">10k", 1, 0.0),
        ("fr", "all", 10_001, 2 / 10_001),
        ("fr", "1-100", 100, 0.0),
        ("fr", "101-1k", 900, 1 / 900),
        ("fr", "1k-10k", 9_000, 0.0),
        ("fr", ">10k", 1, 1.0),
    ]


def test_bands_beyond_the_last_rank_are_left_out():
    assert coverage(entries_of(("a", "de")), tokens(a=1))["band"].to_list() == ["all", "1-100"]


# --- sources of several kinds, in pieces ---


def test_another_lexicon_is_a_source_with_its_own_origins_and_licences(files):
    first = build(files, "muse:en-de:@en-de.txt")
    entries = read_entries(build(files, "lexicon:@lexicon", "tsv:en-fr:@fr.tsv", output=str(files / "both")))
    of_first = entries.filter(target_language="de")
    assert of_first.equals(read_entries(first))
    assert set(entries["target_language"]) == {"de", "fr"}


def test_another_lexicon_may_be_taken_in_one_pair_of_languages(files):
    build(files, "muse:en-de:@en-de.txt", "tsv:en-fr:@fr.tsv")
    entries = read_entries(build(files, "lexicon:en-fr:@lexicon", output=str(files / "french")))
    assert set(entries["target_language"]) == {"fr"}


@pytest.mark.parametrize(
    ("spec", "name", "targets"),
    [
        ("lexicon:/a/lexicon", "lexicon:lexicon", ()),
        ("lexicon:s3://bucket/b", "lexicon:b", ()),
        ("lexicon:en-de:s3://bucket/b", "lexicon:en-de:b", ("de",)),
        ("wiktextract:en-de,ita:x/dump.jsonl.gz", "wiktextract:en-de,it:dump.jsonl.gz", ("de", "it")),
    ],
)
def test_source_is_named_without_its_folder(spec, name, targets):
    source = LexiconSource.parse(spec)
    assert (source.name, source.target_languages) == (name, targets)


def test_word_list_has_one_target_language():
    with pytest.raises(InputError, match="a muse source has one target language"):
        LexiconSource.parse("muse:en-de,it:x")


def write_dump(path):
    """Wikidata's JSON: 3000 items with an English and a German label, and a broken line, the last."""
    items = [
        {
            "type": "item",
            "id": f"Q{n}",
            "labels": {x: {"language": x, "value": f"{x} {n % 900} {n}"} for x in ("en", "de")},
            "descriptions": {},
            "aliases": {},
            "claims": {},
            "sitelinks": {},
        }
        for n in range(3000)
    ]
    lines = [json.dumps(item, separators=(",", ":")) for item in items]
    path.write_text("[\n" + ",\n".join(lines) + ',\n{"type":"item","labels":{"en":{"de":\n]\n')


def test_dump_is_read_into_several_languages_in_one_pass(tmp_path):
    items = [{x: f"{x} name {n}" for x in ("en", "de", "it")} for n in range(5)]
    lines = [
        json.dumps({"type": "item", "id": f"Q{n}", "labels": {x: {"language": x, "value": v} for x, v in item.items()}})
        for n, item in enumerate(items)
    ]
    (tmp_path / "dump.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
    entries = read_entries(build(tmp_path, "wikidata:en-it,de:@dump.json"))
    assert dict(entries["target_language"].value_counts().iter_rows()) == {"de": 5, "it": 5}
    assert set(entries["licence"]) == {"CC0-1.0"}


def split_small(source_format, path):
    return pieces.split_file(path, 1 << 17) if path.endswith(".json") else [pieces.Piece(path)]


@pytest.mark.parametrize("order", [1, -1])
def test_pieces_give_the_same_bytes_as_the_whole_in_any_order(tmp_path, monkeypatch, order):
    write_dump(tmp_path / "dump.json")
    whole = config(tmp_path, "wikidata:en-de:@dump.json", output=str(tmp_path / "whole"))
    build_lexicon(whole)

    def read_shuffled(job, indices):
        assert len(indices) > 3
        yield from read_here(job, indices[::order])

    monkeypatch.setattr(formats.Format, "split", split_small)
    parted = config(tmp_path, "wikidata:en-de:@dump.json", output=str(tmp_path / "parted"))
    counts = build_lexicon(parted, read_shuffled)
    assert _digests(tmp_path / "parted") == _digests(tmp_path / "whole")
    (origin,) = counts["origins"].values()
    assert origin["malformed_examples"][0].startswith("dump.json:3002:")


def test_pieces_read_on_ray_give_the_same_bytes(tmp_path, monkeypatch, ray_session):
    write_dump(tmp_path / "dump.json")
    specs = ("wikidata:en-de:@dump.json", "tsv:en-fr:@fr.tsv")
    (tmp_path / "fr.tsv").write_text(TSV)
    build_lexicon(config(tmp_path, *specs, output=str(tmp_path / "here")))
    monkeypatch.setattr(lexicon_command, "SMALL_BYTES", 0)
    placed, read_on_ray = [], lexicon_command._read_on_ray

    def note(job, indices, workers):
        placed.extend(indices)
        return read_on_ray(job, indices, workers)

    monkeypatch.setattr(lexicon_command, "_read_on_ray", note)
    monkeypatch.setattr(formats.Format, "split", split_small)
    lexicon_command.build(config(tmp_path, *specs, output=str(tmp_path / "ray"), workers=2), Terminal(quiet=True))
    assert len(placed) > 3
    assert _digests(tmp_path / "ray") == _digests(tmp_path / "here")

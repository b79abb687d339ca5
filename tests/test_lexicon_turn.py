"""Lexicons with source and target exchanged."""

import json

import pytest

from cluster.cli import main
from csgen.errors import InputError
from csgen.lexicon.build import LexiconBuildConfig, build_lexicon
from csgen.lexicon.entries import read_entries
from csgen.lexicon.table import read_table
from csgen.lexicon.turn import TurnConfig, turn_lexicon
from csgen.manifest import Manifest


@pytest.fixture
def turn(tmp_path):
    """Builds a lexicon of texts by the name of their file, en-de unless it is LANGUAGES.tsv, and turns it."""

    def run(**files):
        specs = []
        for name, text in files.items():
            (tmp_path / f"{name}.tsv").write_text(text)
            languages = name.replace("_", "-") if "_" in name else "en-de"
            specs.append(f"tsv:{languages}:{tmp_path}/{name}.tsv")
        source = str(tmp_path / "lexicon")
        build_lexicon(LexiconBuildConfig(sources=tuple(specs), output=source, source_licence="CC0"))
        output = str(tmp_path / "turned")
        turn_lexicon(TurnConfig(lexicon=source, output=output))
        return output

    return run


def entries_of(folder):
    return {
        (row["source_language"], row["source"], row["target_language"], row["target"]): (row["weight"], row["rank"])
        for row in read_entries(folder).iter_rows(named=True)
    }


def test_source_and_target_are_exchanged_with_their_languages(turn):
    assert entries_of(turn(en_de="house\tHaus\n", en_it="house\tcasa\n")) == {
        ("de", "Haus", "en", "house"): (1.0, 1),
        ("it", "casa", "en", "house"): (1.0, 1),
    }


def test_weights_are_kept_but_for_a_words_sum(turn):
    found = entries_of(turn(a="house\tHaus\t3\nhouse\tGebäude\t1\nbuilding\tGebäude\t1\n"))
    assert found["de", "Haus", "en", "house"] == (1.0, 1)
    assert found["de", "Gebäude", "en", "building"] == (0.8, 1)
    assert found["de", "Gebäude", "en", "house"] == (0.2, 2)


def test_words_that_differ_in_letter_case_alone_become_one_with_all_origins(turn):
    folder = turn(a="house\tHaus\n", b="house\thaus\nhome\thaus\n")
    assert Manifest.read(folder).counts["joined"] == 1
    house = read_entries(folder).filter(target="house").row(0, named=True)
    assert (house["source"], house["weight"]) == ("Haus", 0.5)
    assert (house["origin"], house["licence"]) == ("tsv:a.tsv; tsv:b.tsv", "CC0; CC0")


def test_what_is_too_long_to_be_a_source_is_dropped_and_counted(turn):
    folder = turn(a="house\tein Haus mit sehr viel Platz\nhouse\tHaus\n")
    assert Manifest.read(folder).counts["dropped"] == {"source of more than 5 words": 1}
    assert len(read_entries(folder)) == 1


def test_each_language_has_its_compiled_table(turn):
    folder = turn(en_de="house\tHaus\n", en_it="house\tcasa\n")
    for language, word in (("de", "haus"), ("it", "casa")):
        table = read_table(folder, language)
        assert table.count_translations(table.find_words([word]), "en").tolist() == [1]


def test_a_lexicon_turned_twice_has_its_own_words_again(sample_lexicon, tmp_path):
    for name, lexicon in (("once", sample_lexicon), ("twice", tmp_path / "once")):
        turn_lexicon(TurnConfig(lexicon=str(lexicon), output=str(tmp_path / name)))
    folded = [
        {tuple(text.lower() for text in key) for key in entries_of(f)} for f in (sample_lexicon, tmp_path / "twice")
    ]
    assert folded[0] == folded[1]


def test_a_finished_output_is_refused(sample_lexicon, tmp_path):
    config = TurnConfig(lexicon=sample_lexicon, output=str(tmp_path / "turned"))
    turn_lexicon(config)
    with pytest.raises(InputError, match="holds a finished output"):
        turn_lexicon(config)


def test_the_command_tells_words_and_entries_by_languages(sample_lexicon, tmp_path, capsys):
    arguments = ["lexicon", "turn", sample_lexicon, "--output", str(tmp_path / "turned"), "--format", "json"]
    assert main(arguments) == 0
    summary = json.loads(capsys.readouterr().out)
    assert "de-en" in summary["languages"]
    assert summary["entries"] == sum(numbers["entries"] for numbers in summary["languages"].values())

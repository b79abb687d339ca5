"""Lexicons from links: symmetrisation, phrases, probabilities and filters."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csgen.errors import InputError
from csgen.induction.aligner import Links
from csgen.induction.parallel import Bitext
from csgen.induction.phrases import LexiconOptions, _symmetrise, extract_lexicon

patient = settings(deadline=None, max_examples=50)  # the first example compiles

ALL = LexiconOptions(min_phrase_count=1, min_probability=0, discount=0)


def lexicon(*sentences, options=ALL, languages=("en", "de")):
    """The lexicon of (source, target, links as "0-0 1-2"), which are both directions' alike: one a word at most."""
    source, target, linked = zip(*sentences, strict=True)
    text = Bitext.from_texts(pl.Series(source), pl.Series(target), *languages)
    assert len(text) == len(sentences)
    forward, backward = np.full(len(text.target.tokens), -1, np.int16), np.full(len(text.source.tokens), -1, np.int16)
    for k, pairs in enumerate(linked):
        for i, j in (map(int, pair.split("-")) for pair in pairs.split()):
            forward[text.target.offsets[k] + j] = i
            backward[text.source.offsets[k] + i] = j
    ones = [np.ones(len(links), np.float32) for links in (forward, backward)]
    return extract_lexicon(text, Links(forward, ones[0], backward, ones[1]), options)


def pairs(found):
    return set(found.select("source", "target").rows())


def symmetrised(forward, backward, grow=True):
    links = _symmetrise(np.array(forward, np.int16), np.array(backward, np.int16), grow)
    return sorted(zip(*(axis.tolist() for axis in links.nonzero()), strict=True))


# --- Symmetrisation ---


def test_the_intersection_holds_what_both_directions_link():
    assert symmetrised([0, 1, 1], [0, 2, -1], grow=False) == [(0, 0), (1, 2)]


def test_growing_adds_neighbours_whose_word_has_no_link_yet():
    assert symmetrised([0, 0], [0]) == [(0, 0), (0, 1)]


def test_growing_adds_no_link_between_linked_words():
    assert symmetrised([0, 1], [0, 1]) == [(0, 0), (1, 1)]


def test_the_final_step_links_words_far_from_others():
    assert symmetrised([0, -1, -1, 3], [0, -1, -1, -1]) == [(0, 0), (3, 3)]


@patient
@given(st.data())
def test_symmetrised_links_lie_between_intersection_and_union(data):
    n, m = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    forward = data.draw(st.lists(st.integers(-1, n - 1), min_size=m, max_size=m))
    backward = data.draw(st.lists(st.integers(-1, m - 1), min_size=n, max_size=n))
    one, other = {(i, j) for j, i in enumerate(forward) if i >= 0}, {(i, j) for i, j in enumerate(backward) if j >= 0}
    assert one & other <= set(symmetrised(forward, backward)) <= one | other


# --- Phrases ---


def test_words_and_phrases_are_those_that_are_linked_to_each_other_alone():
    found = lexicon(("the red house", "das rote Haus", "0-0 1-1 2-2"))
    assert pairs(found) == {
        ("the", "das"),
        ("red", "rote"),
        ("house", "Haus"),
        ("the red", "das rote"),
        ("red house", "rote Haus"),
        ("the red house", "das rote Haus"),
    }


def test_a_phrase_may_change_its_order():
    found = lexicon(("see red wine", "vedi vino rosso", "0-0 1-2 2-1"), languages=("en", "it"))
    assert ("red wine", "vino rosso") in pairs(found)
    assert not {source for source, _ in pairs(found)} & {"see red"}


def test_words_without_links_stand_inside_phrases_alone():
    found = lexicon(("toolkit", "jeu de outils", "0-0"), languages=("en", "fr"))
    assert pairs(found) == {("toolkit", "jeu")}
    found = lexicon(("tool box", "boîte à outils", "0-2 1-0"), languages=("en", "fr"))
    assert ("tool box", "boîte à outils") in pairs(found)


def test_phrases_have_no_more_words_than_asked_for():
    sentence = ("a b c d", "w x y z", "0-0 1-1 2-2 3-3")
    assert max(source.count(" ") for source, _ in pairs(lexicon(sentence))) == 2
    words = lexicon(sentence, options=LexiconOptions(max_words=1, min_probability=0))
    assert pairs(words) == {("a", "w"), ("b", "x"), ("c", "y"), ("d", "z")}


def reference(source, target, links, longest=3):
    """Every pair of spans that links to itself alone and begins and ends with linked words."""
    found = set()
    for a in range(len(source)):
        for b in range(a, min(a + longest, len(source))):
            for c in range(len(target)):
                for d in range(c, min(c + longest, len(target))):
                    inside = {(i, j) for i, j in links if a <= i <= b and c <= j <= d}
                    touching = {(i, j) for i, j in links if a <= i <= b or c <= j <= d}
                    ends = {a, b} <= {i for i, _ in inside} and {c, d} <= {j for _, j in inside}
                    if inside == touching and ends:
                        found.add((" ".join(source[a : b + 1]), " ".join(target[c : d + 1])))
    return found


@patient
@given(st.lists(st.integers(-1, 5), min_size=1, max_size=6))
def test_phrases_equal_those_of_trying_all_spans(backward):
    kept = {}  # one link at most of each target word, as both directions agree
    for i, j in enumerate(backward):
        if j >= 0:
            kept.setdefault(j, i)
    links = {(i, j) for j, i in kept.items()}
    source, target = [f"s{i}" for i in range(len(backward))], [f"t{j}" for j in range(6)]
    found = lexicon((" ".join(source), " ".join(target), " ".join(f"{i}-{j}" for i, j in links)))
    assert pairs(found) == reference(source, target, links)


def test_phrases_without_spaces_are_joined():
    pytest.importorskip("icu4py")
    found = lexicon(("red book", "赤い本", "0-0 1-1"), languages=("en", "ja"))
    assert ("red book", "赤い本") in pairs(found)


def test_elided_words_are_written_with_the_next_and_end_no_phrase():
    found = lexicon(("the image of x", "l'image d'x", "0-0 1-1 2-2 3-3"), languages=("en", "fr"))
    assert ("the image", "l'image") in pairs(found)
    assert not {target for source, target in pairs(found) if source == "image of"}


# --- Probabilities and filters ---

HOUSES = [(f"house {k}", f"{word} {k}", "0-0") for k, word in enumerate(["Haus", "Haus", "Haus", "Gebäude"])]


def test_weights_are_the_shares_of_a_source_and_the_likeliest_comes_first():
    found = lexicon(*HOUSES)
    assert found.rows() == [(1, "house", "Haus", 0.75, 3), (2, "house", "Gebäude", 0.25, 1)]


def test_the_discount_is_taken_off_each_count():
    found = lexicon(*HOUSES, options=LexiconOptions(discount=0.5))
    assert found["weight"].to_list() == [0.625, 0.125]


@pytest.mark.parametrize(
    "options",
    [{"min_count": 2}, {"min_probability": 0.3}, {"max_translations": 1}],
    ids=["count", "probability", "translations"],
)
def test_unlikely_translations_are_left_out(options):
    assert pairs(lexicon(*HOUSES, options=LexiconOptions(**options))) == {("house", "Haus")}


def test_phrases_must_be_seen_more_often_than_words():
    found = lexicon(("red house", "rotes Haus", "0-0 1-1"), options=LexiconOptions())
    assert pairs(found) == {("red", "rotes"), ("house", "Haus")}


def test_the_intersection_may_be_asked_for():
    found = lexicon(*HOUSES, options=LexiconOptions(symmetrisation="intersection", discount=0))
    assert found["weight"].to_list() == [0.75, 0.25]


def test_no_links_make_an_empty_lexicon():
    found = lexicon(("a", "b", ""))
    assert found.schema == pl.Schema(
        {"line": pl.Int64, "source": pl.String, "target": pl.String, "weight": pl.Float64, "count": pl.Int64}
    )
    assert found.is_empty()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"max_words": 4}, r"max_words must be 1 to 3, got 4"), ({"discount": 1.0}, r"discount must be in \[0, 1\)")],
)
def test_options_must_be_within_their_range(options, message):
    with pytest.raises(InputError, match=message):
        LexiconOptions(**options)

"""Word links: what the aligner learns, that a seed fixes them, and eflomal behind the same interface."""

import sys

import numpy as np
import polars as pl
import pytest

from csgen.errors import InputError
from csgen.induction.aligner import AlignerOptions, align
from csgen.induction.candidates import find_candidates, find_place
from csgen.induction.eflomal import align_with_eflomal
from csgen.induction.parallel import Bitext


def bitext(source, target, languages=("en", "de")):
    return Bitext.from_texts(pl.Series(source, dtype=pl.String), pl.Series(target, dtype=pl.String), *languages)


def made_up(pairs=400, words=60, seed=1):
    """Sentences of made-up words `sN`, whose translations `tN` stand in the order of the neighbours swapped."""
    draws = np.random.default_rng(seed)
    source, target = [], []
    for _ in range(pairs):
        chosen = draws.choice(words, draws.integers(3, 9), replace=False)
        swapped = np.concatenate([chosen[k : k + 2][::-1] for k in range(0, len(chosen), 2)])
        source.append(" ".join(f"s{word}" for word in chosen))
        target.append(" ".join(f"t{word}" for word in swapped))
    return bitext(source, target)


def accuracy(text, links):
    """The share of words linked to their translation, in both directions."""
    hits = []
    for one, other, linked in (
        (text.target, text.source, links.forward),
        (text.source, text.target, links.backward),
    ):
        sentence = np.repeat(np.arange(len(text)), np.diff(one.offsets))
        partners = other.tokens[other.offsets[sentence] + np.maximum(linked, 0)]
        pairs = zip(one.words.gather(one.tokens), other.words.gather(partners), linked, strict=True)
        hits.append(np.mean([word[1:] == partner[1:] and at >= 0 for word, partner, at in pairs]))
    return min(hits)


def test_words_find_their_translations():
    text = made_up()
    assert accuracy(text, align(text)) > 0.97


def test_a_seed_gives_the_same_links():
    text, options = made_up(100), AlignerOptions(sweeps=3, chains=2)
    first, again = align(text, 7, options), align(text, 7, options)
    assert all(
        getattr(first, name).tobytes() == getattr(again, name).tobytes()
        for name in ("forward", "forward_probability", "backward", "backward_probability")
    )


def test_another_seed_draws_otherwise():
    text, options = made_up(100), AlignerOptions(sweeps=3, chains=2)
    probabilities = [align(text, seed, options).forward_probability for seed in (1, 2)]
    assert not np.array_equal(*probabilities)


def test_probabilities_lie_between_none_and_all():
    links = align(made_up(50), options=AlignerOptions(sweeps=2, chains=1))
    for probability in (links.forward_probability, links.backward_probability):
        assert 0 <= probability.min() <= probability.max() <= 1.00001


def test_links_point_into_the_sentence():
    text = made_up(50)
    links = align(text, options=AlignerOptions(sweeps=2, chains=1))
    lengths = np.repeat(np.diff(text.source.offsets), np.diff(text.target.offsets))
    assert ((links.forward >= -1) & (links.forward < lengths)).all()


def test_equal_words_are_linked_though_seen_once():
    text = bitext(["the tool Gimp draws", "a tool"], ["das Werkzeug zeichnet Gimp", "ein Werkzeug"])
    links = align(text)
    assert links.forward[3] == 2
    assert links.backward[2] == 3


def test_candidates_are_pairs_that_meet():
    text = bitext(["red house", "green"], ["rotes Haus", "grün"])
    found = find_candidates(text)
    number = (
        {word: k for k, word in enumerate(text.source.words)},
        {word: k for k, word in enumerate(text.target.words)},
    )

    def meets(source, target):
        return found.keys[find_place(found.keys, number[0][source], number[1][target])] != 0

    assert meets("red", "haus")
    assert not meets("red", "grün")


def test_no_sentences_have_no_links():
    links = align(bitext([], []))
    assert len(links.forward) == len(links.backward) == 0


@pytest.mark.parametrize("options", [{"sweeps": 0}, {"chains": 0}, {"chains": 65}])
def test_options_must_be_within_their_range(options):
    with pytest.raises(InputError, match="sweeps must be 1 or more and chains 1 to 64"):
        AlignerOptions(**options)


@pytest.mark.parametrize(("pairs", "sweeps"), [(0, 40), (10_000, 30), (10_000_000, 10)])
def test_smaller_texts_are_swept_more_often(pairs, sweeps):
    assert AlignerOptions().sweeps_over(pairs) == sweeps


# --- eflomal ---


def test_eflomal_gives_the_same_kind_of_links():
    pytest.importorskip("eflomal")
    text = made_up()
    links = align_with_eflomal(text)
    assert links.forward.dtype == np.int16
    assert accuracy(text, links) > 0.9


def test_without_eflomal_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "eflomal", None)
    with pytest.raises(InputError, match=r"pip install 'csgen\[eflomal\]'"):
        align_with_eflomal(made_up(3))

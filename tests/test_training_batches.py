"""Groups, their order, twins, tokens and words: what a step of training is given."""

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_training import HashTeacher, sample_table, sample_tokenizer

from cluster.training.batches import Batch, Prefetch, example_weights, make_source
from cluster.training.config import BaseConfig, EncoderConfig, RerankerConfig, TrainingConfig
from cluster.training.examples import load_pairs, make_groups
from cluster.training.layouts import MaskedLayout, PairLayout, TextLayout
from cluster.training.order import Order
from cluster.training.schedules import Curriculum, Schedule, learning_rate_factor, weigh_gaps
from cluster.training.tokens import Tokeniser
from cluster.training.twins import TwinMaker
from csgen.errors import InputError
from csgen.lexicon.table import read_table
from csgen.sources.parquet import write_pairs
from csgen.switching.policy import Policy
from csgen.switching.switcher import Switcher

POLICY = Policy(languages=("de", "it"), probability=0.5, seed=3)


@pytest.fixture(scope="module")
def tokenizer():
    return sample_tokenizer()


def written(table, folder, name="pairs"):
    path = str(folder / f"{name}.parquet")
    write_pairs(table, path)
    return path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return load_pairs(written(sample_table(), tmp_path_factory.mktemp("pairs")))


def load(rows, tmp_path, name="pairs"):
    """Pairs of (query id, passage id, label) whose texts are their ids."""
    columns = {"query_id": [r[0] for r in rows], "query": [r[0] for r in rows], "passage_id": [r[1] for r in rows]}
    labels = pa.array([r[2] for r in rows], pa.int8())
    return load_pairs(written(pa.table(columns | {"passage": columns["passage_id"], "label": labels}), tmp_path, name))


def group_ids(groups, epoch=0):
    """The groups as query id -> passage ids."""
    rows = groups.rows(np.arange(len(groups.first_rows)), epoch)
    ids = groups.pairs.take(rows.ravel()).to_pydict()
    queries = np.array(ids["query_id"]).reshape(rows.shape)[:, 0].tolist()
    return dict(zip(queries, np.array(ids["passage_id"]).reshape(rows.shape).tolist(), strict=True))


def maker(lexicon, share=0.5, policy=POLICY, **curriculum):
    return TwinMaker(policy, read_table(lexicon, "en"), Curriculum(Schedule({0.0: share}), **curriculum))


def source_of(pairs, tokenizer, twin_maker=None, **options):
    config = RerankerConfig.from_options({"batch_size": 8, "micro_batch_size": 4, "steps": 20} | options)
    return make_source(config, pairs, PairLayout(Tokeniser(tokenizer, config.max_tokens)), twin_maker)


def texts_of(tokens, tokenizer):
    parts = torch.tensor_split(tokens.ids, tokens.offsets[1:-1])
    return [tokenizer.decode(part, skip_special_tokens=True) for part in parts]


# Pairs and groups


def test_rows_are_taken_in_the_order_asked_for_from_several_batches(tmp_path):
    pairs = load([(f"q{k}", f"p{k}", 1) for k in range(200_000)], tmp_path)
    assert len(pairs.texts.to_batches()) > 1
    rows = np.array([199_999, 0, 70_000, 0])
    assert pairs.take(rows).column("query_id").to_pylist() == ["q199999", "q0", "q70000", "q0"]


def test_a_groups_first_passage_is_the_positive_and_the_others_are_the_querys_negatives(tmp_path):
    pairs = load([("a", "1", 0), ("a", "2", 1), ("b", "1", 1), ("a", "3", 0), ("b", "4", 0), ("b", "5", 0)], tmp_path)
    found = group_ids(make_groups(pairs, 2, seed=0))
    assert found["a"][0] == "2"
    assert set(found["a"][1:]) == {"1", "3"}
    assert found["b"][0] == "1"
    assert set(found["b"][1:]) == {"4", "5"}


def test_each_positive_of_a_query_has_a_group(tmp_path):
    groups = make_groups(load([("a", "1", 1), ("a", "2", 1), ("a", "3", 0)], tmp_path), 1, seed=0)
    assert groups.rows(np.array([0, 1]), 0).tolist() == [[0, 2], [1, 2]]


def test_negatives_are_drawn_anew_in_each_epoch(tmp_path):
    pairs = load([("a", "p", 1), *(("a", f"n{k}", 0) for k in range(50))], tmp_path)
    groups = make_groups(pairs, 5, seed=0)
    drawn = [frozenset(group_ids(groups, epoch)["a"]) for epoch in range(4)]
    assert len(set(drawn)) == 4
    assert all(len(d) == 6 for d in drawn)


def test_a_query_with_too_few_negatives_is_filled_with_passages_of_others(tmp_path):
    pairs = load([("a", "1", 1), ("a", "2", 0), *((f"q{k}", f"p{k}", 1) for k in range(6))], tmp_path)
    groups = make_groups(pairs, 3, seed=0)
    found = group_ids(groups)["a"]
    assert groups.num_short == 7
    assert found[:2] == ["1", "2"]
    assert len(set(found)) == 4


def test_groups_do_not_depend_on_the_order_of_rows(tmp_path):
    rows = [(f"q{k % 7}", f"p{k}", int(k < 7)) for k in range(40)]
    one = group_ids(make_groups(load(rows, tmp_path, "one"), 6, seed=1), epoch=2)
    other = group_ids(make_groups(load(rows[::-1], tmp_path, "other"), 6, seed=1), epoch=2)
    assert one == other


def test_queries_without_a_positive_are_counted(tmp_path):
    assert make_groups(load([("a", "1", 1), ("b", "2", 0), ("b", "3", 0)], tmp_path), 1, seed=0).num_unanswered == 1


def test_pairs_without_a_positive_are_refused(tmp_path):
    with pytest.raises(InputError, match="none of the 1 pairs has a label above 0"):
        make_groups(load([("a", "1", 0)], tmp_path), 1, seed=0)


def test_too_few_passages_to_fill_up_with_are_refused(tmp_path):
    groups = make_groups(load([("a", "1", 1), ("b", "2", 1)], tmp_path), 3, seed=0)
    with pytest.raises(InputError, match="give fewer --negatives"):
        groups.rows(np.array([0]), 0)


# Order


def order_of(num, batch_size=4, seed=0, **arrays):
    facts = {
        "keys": np.arange(num, dtype=np.uint64) + np.uint64(1),
        "lengths": np.zeros(num, np.int32),
        "languages": np.zeros(num, np.int16),
        "weights": np.ones(num),
    }
    return Order(**facts | arrays, batch_size=batch_size, seed=seed)


@settings(deadline=None)
@given(st.integers(4, 300), st.integers(1, 4), st.integers(0, 5))
def test_an_epoch_takes_each_example_once_but_for_those_that_fill_no_batch(num, batch_size, epoch):
    order = order_of(num, batch_size)
    steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
    taken = np.concatenate([order.batch(step)[1] for step in steps])
    assert len(taken) == num // batch_size * batch_size
    assert len(set(taken)) == len(taken)


def test_a_batch_depends_on_seed_and_step_alone():
    one, other = order_of(100, seed=1), order_of(100, seed=1)
    for step in (60, 3, 26, 0):
        assert one.batch(step)[0] == step // 25
        assert (one.batch(step)[1] == other.batch(step)[1]).all()
    assert not (order_of(100, seed=2).batch(3)[1] == one.batch(3)[1]).all()
    assert not (one.batch(28)[1] == one.batch(3)[1]).all()


def test_batches_hold_examples_of_like_lengths():
    lengths = np.arange(1000, dtype=np.int32)
    batches = [order_of(1000, 10, lengths=lengths).batch(step)[1] for step in range(100)]
    spread = np.mean([np.ptp(lengths[batch]) for batch in batches])
    assert spread < 40  # of any ten of a thousand it would be about 800


def test_every_batch_has_the_languages_in_their_shares_however_long_their_texts_are():
    languages = np.repeat([0, 1, 1, 1], 100).astype(np.int16)
    lengths = np.arange(400, dtype=np.int32) + 1000 * languages
    order = order_of(400, 20, languages=languages, lengths=lengths)
    shares = [np.mean(languages[order.batch(step)[1]] == 0) for step in range(20)]
    assert min(shares) >= 0.2
    assert max(shares) <= 0.3


def test_weights_say_how_often_an_example_comes_to_within_one():
    weights = np.where(np.arange(100) < 20, 3.0, 1.0)
    order = order_of(100, 10, weights=weights)
    counts = np.bincount(np.concatenate([order.batch(step)[1] for step in range(10)]), minlength=100)
    expected = weights / weights.sum() * 100
    assert counts.sum() == 100
    assert (abs(counts - expected) < 1).all()


def test_fewer_examples_than_a_batch_are_refused():
    with pytest.raises(InputError, match="3 examples do not fill one batch of 4: give a smaller --batch-size"):
        order_of(3)


def test_weights_of_a_language_that_no_pair_has_are_refused(pairs):
    with pytest.raises(InputError, match=r"no pair is fr-fr; the pairs' languages are en-en"):
        example_weights(make_groups(pairs, 1, 0), {"fr-fr": 2.0})


# Schedules


def test_a_schedule_is_linear_between_its_points_and_level_outside():
    schedule = Schedule({0.2: 0.0, 0.6: 1.0})
    assert [schedule.at(p) for p in (0, 0.2, 0.4, 0.6, 1)] == pytest.approx([0, 0, 0.5, 1, 1])


def test_the_learning_rate_warms_up_and_decays_in_lines():
    factors = [learning_rate_factor(step, 10, 4) for step in range(10)]
    assert factors == pytest.approx([0.25, 0.5, 0.75, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])


def test_a_curriculum_moves_probability_and_language_weights():
    curriculum = Curriculum(Schedule({0.0: 1.0}), Schedule({0.0: 0.0, 1.0: 0.8}), {"it": 5.0})
    half = curriculum.policy_at(POLICY, 0.5)
    assert half.probability == pytest.approx(0.4)
    assert half.language_weights == {"it": 3.0}


def test_a_language_at_half_of_the_best_ones_figure_comes_twice_as_often():
    assert weigh_gaps({"de": 0.4, "it": 0.2, "ru": 0.0}) == {"de": 1.0, "it": 2.0, "ru": 4.0}
    assert weigh_gaps({"de": 0.0}) == {"de": 1.0}


def test_final_weights_of_a_language_that_is_not_drawn_are_refused(sample_lexicon):
    with pytest.raises(InputError, match="--final-language-weights: ru is not among the target languages"):
        maker(sample_lexicon, final_language_weights={"ru": 2.0})


# Twins


def test_the_switched_share_is_what_was_asked_for_and_others_are_switched_in_the_next_epoch(sample_lexicon):
    keys = np.arange(10_000, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    chosen = [maker(sample_lexicon, 0.3).choose(keys, epoch, 0.0) for epoch in (0, 1)]
    assert [part.mean() for part in chosen] == pytest.approx([0.3, 0.3], abs=0.02)
    assert (chosen[0] & chosen[1]).mean() == pytest.approx(0.09, abs=0.02)


def test_a_groups_query_is_switched_once_for_all_its_passages(pairs, tokenizer, sample_lexicon):
    source = source_of(pairs, tokenizer, maker(sample_lexicon, 1.0))
    chunk = source.chunk(source.batch(0), 0)
    twins = texts_of(chunk.tokens, tokenizer)[20:]
    assert len(twins) == 20
    queries = [text.split(" [SEP] ")[0] for text in twins]
    parts = torch.tensor_split(chunk.tokens.ids, chunk.tokens.offsets[1:-1])[20:]
    types = torch.tensor_split(chunk.tokens.types, chunk.tokens.offsets[1:-1])[20:]
    queries = [tuple(ids[kind == 0].tolist()) for ids, kind in zip(parts, types, strict=True)]
    assert [len(set(queries[k : k + 5])) for k in (0, 5, 10, 15)] == [1, 1, 1, 1]


def test_single_pairs_come_out_as_the_offline_switch_writes_them(pairs, sample_lexicon):
    texts = pairs.take(np.arange(10))
    twins = maker(sample_lexicon).switch(texts, 1, epoch=2, progress=0, spans=False)
    offline = Switcher(POLICY, read_table(sample_lexicon, "en")).switch(texts, epoch=2)
    assert twins.texts["query"].equals(offline.texts["query"])
    assert twins.texts["passage"].equals(offline.texts["passage"])


def test_twins_differ_from_epoch_to_epoch_and_not_from_call_to_call(pairs, sample_lexicon):
    def switched(epoch):
        twins = maker(sample_lexicon).switch(pairs.take(np.arange(10)), 5, epoch, 0.0, spans=False)
        return twins.texts["passage"].to_pylist()

    assert switched(0) == switched(0)
    assert switched(0) != switched(1)


def test_replaced_examples_stand_in_their_originals_place(pairs, tokenizer, sample_lexicon):
    plain = source_of(pairs, tokenizer)
    replaced = source_of(pairs, tokenizer, maker(sample_lexicon, 0.5), switched="replace")
    batch = replaced.batch(0)
    for number in range(2):
        before, after = plain.chunk(batch, number), replaced.chunk(batch, number)
        assert len(after.twins) == 0
        same = [
            a == b for a, b in zip(texts_of(before.tokens, tokenizer), texts_of(after.tokens, tokenizer), strict=True)
        ]
        by_example = np.array(same).reshape(4, 5).all(axis=1)
        assert (by_example == ~batch.switched[replaced.part(number)]).all()


# Chunks


def test_chunks_are_the_same_for_any_number_of_workers(pairs, tokenizer, sample_lexicon):
    source = source_of(pairs, tokenizer, maker(sample_lexicon))
    alone = {c.number: c for _, chunks in source.steps(5, 6) for c in chunks}
    shared = {c.number: c for rank in (0, 1) for _, chunks in source.steps(5, 6, rank, 2) for c in chunks}
    assert sorted(alone) == sorted(shared) == [0, 1]
    for number, chunk in alone.items():
        assert torch.equal(chunk.tokens.ids, shared[number].tokens.ids)
        assert torch.equal(chunk.twins, shared[number].twins)
        assert chunk.names == shared[number].names
        assert chunk.seed == shared[number].seed


def test_a_chunks_tokens_are_the_tokenizers_own(pairs, tokenizer):
    source = source_of(pairs, tokenizer, max_tokens=40)
    batch = source.batch(0)
    chunk = source.chunk(batch, 1)
    texts = pairs.take(batch.rows[source.part(1)].ravel())
    own = tokenizer(
        texts.column("query").to_pylist(),
        texts.column("passage").to_pylist(),
        truncation="longest_first",
        max_length=40,
    )
    assert [part.tolist() for part in torch.tensor_split(chunk.tokens.ids, chunk.tokens.offsets[1:-1])] == own[
        "input_ids"
    ]
    assert chunk.tokens.types.tolist() == [kind for part in own["token_type_ids"] for kind in part]


def test_texts_that_were_cut_are_counted(pairs, tokenizer):
    assert source_of(pairs, tokenizer, max_tokens=20).chunk(source_of(pairs, tokenizer).batch(0), 0).num_truncated == 20
    assert source_of(pairs, tokenizer, max_tokens=512).chunk(source_of(pairs, tokenizer).batch(0), 0).num_truncated == 0


def test_labels_and_names_stand_with_their_pairs(pairs, tokenizer):
    source = source_of(pairs, tokenizer)
    chunk = source.chunk(source.batch(0), 0)
    assert chunk.labels.tolist() == [[1, 0, 0, 0, 0]] * 4
    positives = [chunk.names[k] for k in range(0, 20, 5)]
    assert all(name.replace("q", "p").split("/")[0] == name.split("/")[1] for name in positives)


def test_a_query_is_not_set_against_its_own_positive_in_another_group():
    # Groups: a with 1, 2; b with 3, 1 (a's positive as b's negative); a again with 4, 5.
    hashes = np.array([[1, 2], [3, 1], [4, 5]], np.uint64)
    batch = Batch(
        0,
        0,
        0.0,
        hashes.astype(np.int64),
        np.zeros(3, bool),
        np.zeros(0, np.int64),
        torch.zeros(3, 2),
        None,
        np.array([7, 8, 7], np.uint64),
        hashes,
    )
    assert batch.excluded().int().tolist() == [[0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]]


# Encoders: texts, words and teachers


def encoder_source(pairs, tokenizer, twin_maker, **layout):
    config = EncoderConfig(batch_size=8, micro_batch_size=8, steps=20, negatives=1)
    return make_source(config, pairs, TextLayout(Tokeniser(tokenizer, 512), **layout), twin_maker)


def test_an_encoders_texts_stand_side_by_side_and_unswitched_sides_have_no_twin(pairs, tokenizer, sample_lexicon):
    twin_maker = maker(sample_lexicon, 1.0, POLICY.model_copy(update={"sides": "query"}))
    source = encoder_source(pairs, tokenizer, twin_maker, twin_sides=("query",))
    assert len(source.chunk(source.batch(0), 0).tokens.lengths) == 8 + 16 + 8


def test_words_pair_each_switched_word_with_what_it_stood_for(pairs, tokenizer, sample_lexicon):
    source = encoder_source(
        pairs, tokenizer, maker(sample_lexicon, 1.0), twin_sides=("query", "passage"), needs_spans=True
    )
    chunk = source.chunk(source.batch(0), 0)
    ids, words = chunk.tokens.ids, chunk.words
    assert words.count > 100
    lexicon = pl.read_parquet(f"{sample_lexicon}/entries.parquet")
    known = set(zip(lexicon["source"].str.to_lowercase(), lexicon["target"].str.to_lowercase(), strict=True))
    normalise = tokenizer.backend_tokenizer.normalizer.normalize_str
    known = {(normalise(source), normalise(target)) for source, target in known}
    found = [
        tuple(tokenizer.decode(ids[part == k]).replace(" ##", "") for part in (words.english, words.twins))
        for k in range(words.count)
    ]
    whole = [pair for pair in found if "'" not in pair[0] + pair[1] and "-" not in pair[0] + pair[1]]
    assert len(whole) > 0.9 * len(found)
    assert [pair for pair in whole if pair not in known] == []


def test_a_prompt_stands_before_every_text_and_moves_no_word(pairs, tokenizer, sample_lexicon):
    layout = {"twin_sides": ("query", "passage"), "needs_spans": True}
    sources = [encoder_source(pairs, tokenizer, maker(sample_lexicon, 1.0), prompt=p, **layout) for p in ("", "the: ")]
    plain, prompted = (source.chunk(source.batch(0), 0) for source in sources)
    assert all(text.startswith("the : ") for text in texts_of(prompted.tokens, tokenizer))
    assert (prompted.tokens.lengths - plain.tokens.lengths == 2).all()
    for name in ("english", "twins"):
        before, after = getattr(plain.words, name), getattr(prompted.words, name)
        assert torch.equal(before[before >= 0], after[after >= 0])
        assert torch.equal(plain.tokens.ids[before >= 0], prompted.tokens.ids[after >= 0])


def test_words_that_the_limit_cuts_off_are_left_out(pairs, tokenizer, sample_lexicon):
    twin_maker = maker(sample_lexicon, 1.0)
    sources = [
        make_source(
            EncoderConfig(batch_size=8, micro_batch_size=8, steps=20, negatives=1),
            pairs,
            TextLayout(Tokeniser(tokenizer, limit), ("query", "passage"), needs_spans=True),
            twin_maker,
        )
        for limit in (12, 512)
    ]
    short, long = (source.chunk(source.batch(0), 0).words for source in sources)
    assert 0 < short.count < long.count
    for words in (short.english, short.twins):
        assert set(words[words >= 0].tolist()) == set(range(short.count))


def test_a_teacher_sees_the_originals_even_where_they_are_replaced(pairs, tokenizer, sample_lexicon):
    config = EncoderConfig(batch_size=8, micro_batch_size=4, steps=20, negatives=1, switched="replace", teach=1)
    layout = TextLayout(Tokeniser(tokenizer, 512), teacher=HashTeacher())
    source = make_source(config, pairs, layout, maker(sample_lexicon, 1.0))
    batch = source.batch(0)
    texts = pairs.take(batch.rows[:4].ravel()).to_pydict()
    expected = HashTeacher().encode([*texts["query"][::2], *texts["passage"]])
    assert np.array_equal(source.chunk(batch, 0).teacher.numpy(), expected)


# Masks


def masked_chunk(pairs, tokenizer, step=0, twin_maker=None, **layout):
    config = BaseConfig(batch_size=60, micro_batch_size=60, steps=20)
    source = make_source(config, pairs, MaskedLayout(Tokeniser(tokenizer, 512), 0.15, **layout), twin_maker)
    return source.chunk(source.batch(step), 0)


def test_masks_hide_the_asked_share_of_tokens_and_never_special_ones(pairs, tokenizer):
    chunk = masked_chunk(pairs, tokenizer)
    told = chunk.masked
    special = torch.isin(told.token_ids, torch.tensor(tokenizer.all_special_ids))
    hidden = chunk.tokens.ids[told.places]
    assert len(told.places) / len(chunk.tokens.ids) == pytest.approx(0.15, abs=0.02)
    assert not (special & (told.token_ids != tokenizer.unk_token_id)).any()
    assert (hidden == tokenizer.mask_token_id).float().mean().item() == pytest.approx(0.8, abs=0.05)
    assert (hidden == told.token_ids).float().mean().item() == pytest.approx(0.1, abs=0.04)


def test_masks_are_drawn_anew_in_each_epoch_and_the_same_for_the_same_step(pairs, tokenizer):
    places = [masked_chunk(pairs, tokenizer, step).masked.places for step in (0, 0, 5)]
    assert torch.equal(places[0], places[1])
    assert not torch.equal(places[0], places[2])


def test_a_base_models_words_are_found_on_both_sides_of_its_sequences(pairs, tokenizer, sample_lexicon):
    config = BaseConfig(batch_size=8, micro_batch_size=8, steps=20, switched="beside")
    layout = MaskedLayout(Tokeniser(tokenizer, 512), 0.15, needs_spans=True)
    source = make_source(config, pairs, layout, maker(sample_lexicon, 1.0))
    chunk = source.chunk(source.batch(0), 0)
    sequences = torch.repeat_interleave(torch.arange(16), chunk.tokens.lengths)
    assert (sequences[chunk.words.english >= 0] < 8).all()
    assert (sequences[chunk.words.twins >= 0] >= 8).all()
    assert set(chunk.tokens.types[chunk.words.twins >= 0].tolist()) == {0, 1}


# Prefetching


def test_waiting_is_measured_and_an_error_in_the_thread_is_seen():
    def items():
        yield "first", []
        raise InputError("pairs.parquet:7: bad row")

    made = Prefetch(items())
    taken = iter(made)
    assert next(taken) == ("first", [])
    with pytest.raises(InputError, match=r"pairs\.parquet:7"):
        next(taken)
    assert made.waited_s > 0


def test_a_prefetch_that_is_closed_stops_its_thread():
    def endless():
        while True:
            yield "item", []

    made = Prefetch(endless(), ahead=2)
    next(iter(made))
    made.close()
    assert not made._thread.is_alive()


# Configuration


def test_the_papers_recipe_is_the_papers():
    config = RerankerConfig.from_options({"preset": "paper-2023"})
    facts = (config.learning_rate, config.weight_decay, config.warmup_steps, config.batch_size, config.steps)
    assert facts == (2e-5, 0.01, 5000, 64, 200_000)
    assert (config.max_tokens, config.pointwise, config.listwise, config.width) == (512, 1, 0, 1)


@pytest.mark.parametrize("given", [0.25, {0.0: 0.25}, {"0.25": ""}])
def test_a_schedule_may_be_a_number_alone(given):
    assert RerankerConfig.from_options({"switched_share": given}).switched_share == {0.0: 0.25}


def test_options_beside_a_preset_win():
    assert RerankerConfig.from_options({"preset": "paper-2023", "steps": 10}).steps == 10


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (RerankerConfig, {"listwise": 0}, "all losses have weight 0"),
        (RerankerConfig, {"negatives": 0}, "need groups: give --negatives"),
        (RerankerConfig, {"batch_size": 10, "micro_batch_size": 4}, "multiple of --micro-batch-size, got 10 and 4"),
        (RerankerConfig, {"patience": 2}, "--patience needs --select"),
        (RerankerConfig, {"switched_share": 1.5}, r"0.0=1.5 must lie in \[0, 1\]"),
        (TrainingConfig, {"example_weights": {"en": 0}}, "weights must be above 0, got en=0"),
        (EncoderConfig, {"preset": "paper-2023"}, "is a reranker's recipe"),
        (EncoderConfig, {"negatives": 0, "margin": 1}, "need groups"),
        (TrainingConfig, {"learning_rate": -1}, "--learning-rate"),
    ],
)
def test_options_that_contradict_are_refused(kind, options, message):
    with pytest.raises(InputError, match=message):
        kind.from_options(options)


def test_what_makes_no_difference_to_the_outcome_is_no_part_of_a_runs_identity():
    config = RerankerConfig()
    assert config.model_copy(update={"keep_checkpoints": 9}).identity() == config.identity()
    assert config.model_copy(update={"learning_rate": 1e-3}).identity() != config.identity()

"""The ten claims: each verdict comes out all three ways, and the arithmetic under them."""

import numpy as np
import pytest
from toy_claims import LEVELS, make_evidence, toy_level

from eval.claims.correlation import correlate_distance
from eval.claims.evidence import Ratio
from eval.claims.judging import Verdict, judge
from eval.claims.lines import gap_share
from eval.claims.research import compare_variants, list_goals
from eval.claims.rules import CLAIMS
from eval.measuring.distance import DISTANCES, language_distance
from eval.measuring.significance import holm, paired_t

BY_NUMBER = {claim.number: claim for claim in CLAIMS}
FAILURES = {
    1: {"ML-CS": {"MLIR": 0.5}},
    2: {"ML-CS": {"MoIR": 0.75}},
    3: {"zero-shot": {"MLIR": 0.79}},
    5: {"translated": {"MoIR": 1.3}},
    6: {"BL-CS": {"CLIR": 0.75}},
    7: {"translate-test": {"CLIR": 0.7}},
    8: {"ML-CS": {"grown": 0.55}},
    9: {"p 1": {"CLIR": 0.45}},
    10: {"translate-test": {"MoIR": 0.8}},
}
NEEDED = {
    1: "ml_cs", 2: "zero_shot", 3: "zero_shot", 4: "ml_cs", 5: "translated",
    6: "bl_cs", 7: "translate_test", 8: "ml_cs", 9: "ratios", 10: "translate_test",
}  # fmt: skip


def judge_toy(number, **world):
    return judge(BY_NUMBER[number], make_evidence(**world), 1)


def figures_of(judgement):
    return {finding.label: finding for finding in judgement.findings}


@pytest.mark.parametrize("number", BY_NUMBER)
def test_a_claim_holds_where_its_rule_is_met(number):
    judgement = judge_toy(number)
    assert judgement.verdict == Verdict.HOLDS, judgement


@pytest.mark.parametrize("number", FAILURES)
def test_a_claim_does_not_hold_where_it_is_not(number):
    judgement = judge_toy(number, changes=FAILURES[number])
    assert judgement.verdict == Verdict.FAILS
    assert any(note.startswith("not so: ") for note in judgement.notes)


def test_distance_does_not_matter_where_all_pairs_drop_and_gain_alike():
    # No two pairs alike, but in an order that has nothing to do with their distance.
    def level(levels, system, setting, cell):
        order = sum(map(ord, cell)) % 7 / 100
        return levels["grown" if cell == "xx-en.7" else setting] - order * (setting == "CLIR" and system != "ML-CS")

    assert judge_toy(4, level=level).verdict == Verdict.FAILS


@pytest.mark.parametrize("number", NEEDED)
def test_a_claim_is_not_measurable_without_a_role(number):
    judgement = judge_toy(number, without=(NEEDED[number],))
    assert judgement.verdict == Verdict.UNKNOWN
    assert NEEDED[number].split("_")[0] in " ".join(judgement.notes)


def test_what_is_missing_is_named_where_the_rest_decides():
    judgement = judge_toy(2, without=("bl_cs",))
    assert judgement.verdict == Verdict.HOLDS
    assert any(
        note.startswith("left out: BL-CS − zero-shot, MoIR of own languages: no bl_cs") for note in judgement.notes
    )


def test_a_significant_gain_in_moir_is_told_as_one():
    notes = judge_toy(2, changes={"ML-CS": {"MoIR": 0.85}}).notes
    assert "not so: ML-CS − zero-shot, MoIR is significantly higher" in notes


def test_no_difference_is_told_apart_from_too_few_queries():
    notes = judge_toy(2).notes
    assert "ML-CS − zero-shot, MoIR: interval within ±1 point" in notes


def test_unseen_languages_do_not_decide():
    def level(levels, system, setting, cell):
        return 0.0 if "pl" in cell and system == "ML-CS" else toy_level(levels, system, setting, cell)

    assert judge_toy(1, level=level).verdict == Verdict.HOLDS


def test_english_does_not_count_on_the_side_of_translate_test():
    def level(levels, system, setting, cell):
        return 5.0 if (system, cell) == ("translate-test", "en-en") else toy_level(levels, system, setting, cell)

    assert judge_toy(10, level=level).verdict == Verdict.HOLDS


def test_several_tests_are_corrected_together():
    found = [one for one in judge_toy(7).findings if one.condition]
    assert [one.p_holm for one in found] == pytest.approx(holm([one.figure.p for one in found]).tolist())


def test_what_does_not_decide_is_not_corrected():
    assert all(one.p_holm is None for one in judge_toy(7).findings if one.condition is None)


# Arithmetic.


def test_a_difference_is_the_mean_over_cells_of_the_systems_differences():
    evidence = make_evidence()
    moir = evidence.scope("MoIR")
    figure = evidence.estimate([evidence.difference("translated", "zero-shot", moir)], 1)[0]
    own = np.asarray(moir)
    by_query = (evidence.values["translated"] - evidence.values["zero-shot"])[0][own].mean(axis=0)
    assert figure.value == pytest.approx(0.04)
    assert figure.p == pytest.approx(float(paired_t(by_query)))


def test_the_share_of_the_gap_is_what_is_gained_of_what_could_be():
    # Zero-shot and translated drop alike with distance; in CLIR .4 and .8 at distance 0: a gap of .4. mix: .3 of it.
    evidence = make_evidence()
    share = evidence.estimate([gap_share(evidence, "mix")], 1)[0]
    assert share.value == pytest.approx(0.75)
    assert share.low < 0.75 < share.high


def test_the_interval_of_a_share_is_that_of_its_linear_form():
    evidence = make_evidence()
    ratio = gap_share(evidence, "mix")
    share = evidence.estimate([ratio], 1)[0]
    gap = evidence.spread(ratio.denominator).mean(axis=0)
    gain = evidence.spread(ratio.numerator).mean(axis=0)
    error = np.std((gain - 0.75 * gap) / gap.mean(), ddof=1) / len(gap) ** 0.5
    assert share.high - share.low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_there_is_no_share_of_a_gap_that_is_not_there():
    evidence = make_evidence({"translated": {"CLIR": 0.4}})
    assert evidence.estimate([gap_share(evidence, "mix")], 1)[0].value is None


def test_seeds_are_paired_where_both_systems_have_the_same():
    evidence = make_evidence(seeds={"ML-CS": (1, 2), "zero-shot": (1, 2)})
    values = evidence.spread(evidence.difference("ML-CS", "zero-shot", evidence.scope("MoIR")))
    own = np.asarray(evidence.scope("MoIR"))
    wanted = (evidence.values["ML-CS"] - evidence.values["zero-shot"])[:, own].mean(axis=1)
    assert values == pytest.approx(wanted)


def test_of_other_seeds_the_mean_counts():
    evidence = make_evidence(seeds={"zero-shot": (1, 2)})
    contrast = evidence.difference("ML-CS", "zero-shot", evidence.scope("MoIR"))
    assert evidence.spread(contrast).shape == (1, 60)


def test_queries_that_a_cell_lacks_count_for_the_others_alone():
    evidence = make_evidence()
    place = evidence.cells["cell"].index_of("en-en")
    for values in evidence.values.values():
        values[:, place, :20] = np.nan
    contrast = evidence.average("zero-shot", evidence.scope("MoIR"))
    wanted = np.nanmean(evidence.values["zero-shot"][0][np.asarray(evidence.scope("MoIR"))], axis=1).mean()
    assert evidence.spread(contrast).mean() == pytest.approx(wanted)


def test_contrasts_add_up_by_system():
    evidence = make_evidence()
    moir, clir = evidence.scope("MoIR"), evidence.scope("CLIR")
    both = evidence.average("zero-shot", moir) - evidence.average("zero-shot", clir)
    assert evidence.level(both) == pytest.approx(
        evidence.level(evidence.average("zero-shot", moir)) - evidence.level(evidence.average("zero-shot", clir))
    )


# The correlation with distance.

PAIRS = [(a, b) for a in ("en", "de", "fr", "ja", "ru") for b in ("en", "de", "fr", "ja", "ru") if a != b]


def distances():
    return [float(DISTANCES.index(language_distance(*pair))) for pair in PAIRS]


def test_values_in_the_order_of_distance_correlate_wholly():
    assert correlate_distance(PAIRS, distances(), 1).rho == pytest.approx(1)


def test_values_against_the_order_of_distance_correlate_wholly_the_other_way():
    assert correlate_distance(PAIRS, [-x for x in distances()], 1).rho == pytest.approx(-1)


def test_p_is_the_share_of_the_orders_of_languages_that_do_as_well():
    # 120 orders; the one that swaps en and de, which are as far from all others, gives the same.
    found = correlate_distance(PAIRS, distances(), 1)
    assert found.p * 120 == pytest.approx(round(found.p * 120))
    assert 2 / 120 <= found.p < 0.05


def test_many_languages_are_permuted_by_draws():
    pairs = [(a, "en") for a in ("de", "fr", "it", "ja", "ko", "ru", "uk", "pl", "fi")]
    values = [float(DISTANCES.index(language_distance(*pair))) for pair in pairs]
    assert correlate_distance(pairs, values, 1) == correlate_distance(pairs, values, 1)


def test_fewer_than_five_languages_do_not_correlate():
    assert correlate_distance([("en", "de"), ("en", "ja"), ("de", "ru")], [1.0, 2.0, 3.0], 1) is None


# Variants and goals.


def test_variants_are_held_against_ml_cs_in_each_setting():
    found = {(one.system, one.setting): one for one in compare_variants(make_evidence(), 1)}
    assert {setting for system, setting in found if system == "mix"} == {"MoIR", "CLIR", "MLIR"}
    assert found["mix", "MLIR"].figure.value == pytest.approx(0.05)


def test_variants_are_corrected_within_their_kind():
    own = [one for one in compare_variants(make_evidence(), 1) if one.kind == "alignment"]
    assert [one.p_holm for one in own] == pytest.approx(holm([one.figure.p for one in own]).tolist())


def goals_of(evidence):
    return [goal.reached for goal in list_goals(evidence, compare_variants(evidence, 1), 1)]


def test_goals_are_reached_by_the_point_estimate():
    levels = {"mix": {"CLIR": LEVELS["translated"]["CLIR"]}}
    assert goals_of(make_evidence(levels)) == [True] * 6


def test_goals_are_missed():
    worse = {"MoIR": 0.7, "CLIR": 0.3, "MLIR": 0.51}
    assert goals_of(make_evidence({"ML-CS": worse, "mix": {"CLIR": 0.1}, "scores": {"CLIR": 0.1}})) == [False] * 6


def test_goals_without_roles_are_not_measurable():
    assert goals_of(make_evidence(without=("ml_cs", "best", "alignment"))) == [None] * 6


def test_a_ratio_of_nothing_known_is_not_known():
    evidence = make_evidence()
    nothing = evidence.average("zero-shot", evidence.scope("CLIR")) * 0.0
    assert evidence.estimate([Ratio(nothing, nothing), None], 1) == evidence.estimate([None, None], 1)

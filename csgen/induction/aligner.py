"""A word aligner: Gibbs sampling of word links, under a model of translations, word order and fertility.

The model is that of Östling and Tiedemann (2016, https://ufal.mff.cuni.cz/pbml/106/art-ostling-tiedemann.pdf): a hidden
Markov model with fertilities under sparse priors. It differs in that it begins with IBM Model 1's links, knows that
equal words translate each other, and draws numbers by their place, so that a seed gives the same links everywhere.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from csgen.errors import InputError
from csgen.induction.candidates import (
    NULL,
    Candidates,
    Text,
    find_candidates,
    find_place,
    longest_sentence,
    split_key,
)
from csgen.induction.kernels import compiled
from csgen.induction.parallel import Bitext
from csgen.switching.primitives import GOLDEN, mix

MAX_JUMP = 50  # words between the places of neighbours' translations; longer jumps count as these
MAX_FERTILITY = 8  # links of one word; more count as these
ROUNDS = 3  # over each sentence at the end, whose probabilities are averaged

_SPARSE = np.float32(0.001)  # pseudo-count of any translation
_IDENTICAL = np.float32(0.3)  # and of an equal word
_FERTILITY_PRIOR = 2.0  # occurrences with usual fertilities that every word is taken to have had
_WITHOUT_FERTILITY = 3  # sweeps before fertilities play a part
_NONE = -1


@dataclass(frozen=True)
class Links:
    """Which word each word is linked to, by the models of both directions.

    Positions are within the sentence; -1: to none. Probabilities are in [0, 1].
    """

    forward: NDArray[np.int16]  # (target words,): position of the source word that it translates
    forward_probability: NDArray[np.float32]
    backward: NDArray[np.int16]  # (source words,): position of the target word that it translates
    backward_probability: NDArray[np.float32]


@dataclass(frozen=True)
class AlignerOptions:
    """How long to sample. More chains give steadier links, and sweeps better ones; time grows with both."""

    sweeps: int | None = None  # over the text; none: 10 to 40, the more the smaller it is
    chains: int = 4  # independent ones, whose probabilities are averaged

    def __post_init__(self) -> None:
        if (self.sweeps is not None and self.sweeps < 1) or not 1 <= self.chains <= 64:
            raise InputError(f"sweeps must be 1 or more and chains 1 to 64, got {self.sweeps} and {self.chains}")

    def sweeps_over(self, pairs: int) -> int:
        """The number of sweeps for a text of so many sentence pairs."""
        return self.sweeps or round(min(40.0, max(10.0, 3000 / math.sqrt(max(1, pairs)))))


def align(bitext: Bitext, seed: int = 1, options: AlignerOptions | None = None) -> Links:
    """Links of both directions. The same for the same text and seed, whatever the machine's threads."""
    options = options or AlignerOptions()
    candidates = find_candidates(bitext)
    sides = bitext.source, bitext.target
    sweeps = options.sweeps_over(len(bitext))

    def sample(backward: int) -> Any:
        source, target = sides[::-1] if backward else sides
        text = Text(source.tokens, source.offsets, target.tokens, target.offsets)
        state = _start(candidates, len(source.words), len(target.words), len(target.tokens), backward, options.chains)
        key = np.uint64((2 * seed + backward) & 0xFFFFFFFFFFFFFFFF)
        first = np.ascontiguousarray(candidates.values[:, backward])
        return _sample(text, candidates.keys, first, candidates.nulls[backward], state, backward == 1, sweeps, key)

    with ThreadPoolExecutor(2) as pool:
        forward, backward = pool.map(sample, (0, 1))
    return Links(*forward, *backward)


class _State(NamedTuple):
    """What the chains have drawn, and counts of it that include the priors. The last place's counts stay 0."""

    links: Any  # (chains, target words): position of the source word, or -1
    pairs: Any  # (places + 1, chains)
    sources: Any  # (source vocabulary, chains)
    nulls: Any  # (target vocabulary, chains): words that translate none
    null_sums: Any  # (chains,)
    jumps: Any  # (chains, 2 * MAX_JUMP + 1): probabilities
    fertilities: Any  # (source vocabulary, chains, MAX_FERTILITY + 1): p(f + 1 links) / p(f links)


class _Work(NamedTuple):
    """Room for one sentence pair."""

    places: Any  # (target words, source words): in the table of candidates, or its length
    weights: Any  # (source words,): what of a link's probability depends on the source word alone
    linked: Any  # (source words,): links
    cumulative: Any  # (source words + 1,)
    sums: Any  # (target words, source words + 1): of probabilities; behind the last source word: of none
    jumps: Any  # (2 * longest + 1,): the chain's probabilities of jumps by length, from -longest on


def _start(candidates: Candidates, sources: int, targets: int, tokens: int, backward: int, chains: int) -> _State:
    priors = np.where(candidates.keys != 0, _SPARSE + _IDENTICAL * candidates.identical, 0).astype(np.float32)
    return _State(
        np.full((chains, tokens), _NONE, np.int16),
        np.repeat(np.append(priors, np.float32(0))[:, None], chains, axis=1),
        np.repeat(_sum_priors(candidates.keys, priors, sources, backward == 1)[:, None], chains, axis=1),
        np.full((targets, chains), _SPARSE, np.float32),
        np.full(chains, _SPARSE * targets, np.float64),
        np.full((chains, 2 * MAX_JUMP + 1), 1 / (2 * MAX_JUMP + 1), np.float32),
        np.ones((sources, chains, MAX_FERTILITY + 1), np.float32),
    )


@compiled
def _sum_priors(keys: Any, priors: Any, sources: int, backward: bool) -> Any:
    sums = np.full(sources, _SPARSE, np.float32)
    for x in range(len(keys)):
        if keys[x] != 0:
            s, t = split_key(keys[x])
            sums[t if backward else s] += priors[x]
    return sums


@compiled
def _sample(
    text: Any, keys: Any, first: Any, first_null: Any, state: Any, backward: bool, sweeps: int, seed: Any
) -> Any:
    """Draw first links, sweep, then average probabilities: the likeliest link of each target word, and how likely."""
    size, chains = longest_sentence(text), len(state.links)
    work = _Work(
        np.empty((size, size), np.int64),
        np.empty(size, np.float32),
        np.empty(size, np.int64),
        np.empty(size + 1, np.float32),
        np.empty((size, size + 1), np.float32),
        np.empty(2 * size + 3, np.float32),
    )
    best, probability = np.full(len(text.target), _NONE, np.int16), np.zeros(len(text.target), np.float32)
    for k in range(len(text.source_offsets) - 1):
        _find_places(text, k, keys, backward, work.places)
        for chain in range(chains):
            _draw_first(text, k, first, first_null, state, chain, work, mix(seed + GOLDEN * np.uint64(chain)))
    for sweep in range(1, sweeps + 2):
        last = sweep > sweeps
        for chain in range(chains):
            _estimate(text, state, chain, sweep > _WITHOUT_FERTILITY)
        for k in range(len(text.source_offsets) - 1):
            _find_places(text, k, keys, backward, work.places)
            work.sums[: text.target_offsets[k + 1] - text.target_offsets[k]] = 0
            for chain in range(chains):
                key = mix(seed + GOLDEN * np.uint64(sweep * chains + chain))
                _prepare(text, k, state, chain, work)
                for turn in range(ROUNDS if last else 1):
                    _draw(text, k, state, chain, work, mix(key + np.uint64(turn)), last)
            if last:
                _choose(text, k, work, chains * ROUNDS, best, probability)
    return best, probability


@compiled
def _find_places(text: Any, k: int, keys: Any, backward: bool, places: Any) -> None:
    a, c = text.source_offsets[k], text.target_offsets[k]
    for j in range(text.target_offsets[k + 1] - c):
        for i in range(text.source_offsets[k + 1] - a):
            s, t = text.source[a + i], text.target[c + j]
            at = find_place(keys, t, s) if backward else find_place(keys, s, t)
            places[j, i] = at if keys[at] != 0 else len(keys)


@compiled
def _pick(cumulative: Any, number: int, key: Any, place: int) -> int:
    """An index drawn by cumulative weights."""
    bits = mix(key ^ (GOLDEN * np.uint64(place + 1))) >> np.uint64(40)
    threshold = np.float32(bits) * np.float32(2.0**-24) * cumulative[number - 1]
    i = 0
    while i < number - 1 and cumulative[i] <= threshold:
        i += 1
    return i


@compiled
def _draw_first(text: Any, k: int, first: Any, first_null: Any, state: Any, chain: int, work: Any, key: Any) -> None:
    a, c = text.source_offsets[k], text.target_offsets[k]
    n = text.source_offsets[k + 1] - a
    for j in range(text.target_offsets[k + 1] - c):
        t, total = text.target[c + j], np.float32(0)
        for i in range(n):
            if work.places[j, i] < len(first):
                total += first[work.places[j, i]]
            work.cumulative[i] = total
        work.cumulative[n] = total + np.float32(NULL / (1 - NULL) * n * first_null[t]) + np.float32(1e-12)
        i = _pick(work.cumulative, n + 1, key, c + j)
        if i < n:
            state.links[chain, c + j] = i
            state.pairs[work.places[j, i], chain] += 1
            state.sources[text.source[a + i], chain] += 1
        else:
            state.nulls[t, chain] += 1
            state.null_sums[chain] += 1


@compiled
def _jump(length: int) -> int:
    return min(max(length, -MAX_JUMP), MAX_JUMP) + MAX_JUMP


@compiled
def _estimate(text: Any, state: Any, chain: int, with_fertility: bool) -> None:
    """Probabilities of jumps and fertilities from the chain's links."""
    jumps, words = state.jumps[chain], len(state.sources)
    counts = np.zeros((words, MAX_FERTILITY + 2), np.float32)
    linked = np.zeros(longest_sentence(text), np.int64)
    jumps[:] = 0.5
    for k in range(len(text.source_offsets) - 1):
        a = text.source_offsets[k]
        n, before = text.source_offsets[k + 1] - a, -1
        linked[:n] = 0
        for j in range(text.target_offsets[k], text.target_offsets[k + 1]):
            i = state.links[chain, j]
            if i >= 0:
                jumps[_jump(i - before)] += 1
                linked[i] += 1
                before = i
        jumps[_jump(n - before)] += 1
        for i in range(n):
            counts[text.source[a + i], min(linked[i], MAX_FERTILITY + 1)] += 1
    jumps /= jumps.sum()
    if with_fertility:
        usual = np.ones(MAX_FERTILITY + 2)
        for e in range(words):
            usual += counts[e]
        usual *= _FERTILITY_PRIOR / usual.sum()
        for e in range(words):
            for f in range(MAX_FERTILITY + 1):
                state.fertilities[e, chain, f] = (counts[e, f + 1] + usual[f + 1]) / (counts[e, f] + usual[f])


@compiled
def _weigh(state: Any, chain: int, word: int, linked: int) -> Any:
    return state.fertilities[word, chain, min(linked, MAX_FERTILITY)] / state.sources[word, chain]


@compiled
def _prepare(text: Any, k: int, state: Any, chain: int, work: Any) -> None:
    a = text.source_offsets[k]
    n = text.source_offsets[k + 1] - a
    work.linked[:n] = 0
    for j in range(text.target_offsets[k], text.target_offsets[k + 1]):
        if state.links[chain, j] >= 0:
            work.linked[state.links[chain, j]] += 1
    for i in range(n):
        work.weights[i] = _weigh(state, chain, text.source[a + i], work.linked[i])
    for length in range(-n - 1, n + 2):
        work.jumps[n + 1 + length] = state.jumps[chain, _jump(length)]


@compiled
def _draw(text: Any, k: int, state: Any, chain: int, work: Any, key: Any, summing: bool) -> None:
    """Draw the link of each target word of sentence pair k anew, given all other links."""
    c = text.target_offsets[k]
    n, m = text.source_offsets[k + 1] - text.source_offsets[k], text.target_offsets[k + 1] - c
    links, cumulative, middle, before = state.links[chain, c : c + m], work.cumulative, n + 1, -1
    for j in range(m):
        after = n
        for y in range(j + 1, m):
            if links[y] >= 0:
                after = links[y]
                break
        t = text.target[c + j]
        _count(text, k, state, chain, work, j, links[j], -1)
        total = np.float32(0)
        for i in range(n):
            lexical = state.pairs[work.places[j, i], chain] * work.weights[i]
            total += lexical * work.jumps[middle + i - before] * work.jumps[middle + after - i]
            cumulative[i] = total
        null = np.float32(NULL * state.nulls[t, chain] / state.null_sums[chain])
        cumulative[n] = total + null * work.jumps[middle + after - before]
        if summing:
            work.sums[j, 0] += cumulative[0] / cumulative[n]
            for i in range(1, n + 1):
                work.sums[j, i] += (cumulative[i] - cumulative[i - 1]) / cumulative[n]
        i = _pick(cumulative, n + 1, key, c + j)
        links[j] = i if i < n and work.places[j, i] < len(state.pairs) - 1 else _NONE
        _count(text, k, state, chain, work, j, links[j], 1)
        if links[j] >= 0:
            before = links[j]


@compiled
def _count(text: Any, k: int, state: Any, chain: int, work: Any, j: int, i: int, number: int) -> None:
    """Add a link between target word j and source word i, or take it away."""
    if i < 0:
        state.nulls[text.target[text.target_offsets[k] + j], chain] += number
        state.null_sums[chain] += number
        return
    word = text.source[text.source_offsets[k] + i]
    state.pairs[work.places[j, i], chain] += number
    state.sources[word, chain] += number
    work.linked[i] += number
    work.weights[i] = _weigh(state, chain, word, work.linked[i])


@compiled
def _choose(text: Any, k: int, work: Any, draws: int, best: Any, probability: Any) -> None:
    c, n = text.target_offsets[k], text.source_offsets[k + 1] - text.source_offsets[k]
    for j in range(text.target_offsets[k + 1] - c):
        chosen = n  # none, where it is as likely
        for i in range(n):
            if work.sums[j, i] > work.sums[j, chosen]:
                chosen = i
        best[c + j] = chosen if chosen < n else _NONE
        probability[c + j] = work.sums[j, chosen] / draws

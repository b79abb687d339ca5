"""A word aligner: hidden Markov models of both directions that learn to agree, under sparse Dirichlet priors.

The model is Vogel, Ney and Tillmann's (1996, https://aclanthology.org/C96-2141), trained jointly as in Liang, Taskar and
Klein (2006, https://aclanthology.org/N06-1014) by variational Bayes. It draws nothing at random. Knows no text.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from csgen.induction.parallel import Bitext
from csgen.switching.primitives import mix


@dataclass(frozen=True)
class Links:
    """Which word each word is linked to, by both directions' models.

    Positions are within the sentence; -1: to none. Probabilities in [0, 1].
    """

    forward: NDArray[np.int16]  # (target words,): position of the source word that it comes from
    forward_probability: NDArray[np.float32]
    backward: NDArray[np.int16]  # (source words,): position of the target word that it comes from
    backward_probability: NDArray[np.float32]


@dataclass(frozen=True)
class AlignerOptions:
    word_iterations: int = 5
    order_iterations: int = 5
    prior: float = 0.01
    null: float = 0.2
    same: float = 1.0
    agree: float = 1.0
    decode: int = 0


compiled = njit(cache=True, nogil=True)
MAX_JUMP = 50
_F, _B, _CF, _CB = 0, 1, 2, 3


def align(bitext: Bitext, options: AlignerOptions | None = None) -> Links:
    """Links of both directions. The same for the same text, whatever the machine's threads."""
    o = options or AlignerOptions()
    s, t = bitext.source, bitext.target
    args = (s.tokens, s.offsets, t.tokens, t.offsets)
    keys = _cooccurrences(*args, s.frequencies, t.frequencies)
    values = np.zeros((len(keys), 4), np.float32)
    same = _same(bitext)
    nullf = (t.frequencies / t.frequencies.sum()).astype(np.float32)
    nullb = (s.frequencies / s.frequencies.sum()).astype(np.float32)
    _start(keys, values, same, len(s.words), len(t.words), o.same)
    width = 2 * MAX_JUMP + 1
    jf, jb = np.ones(width, np.float32), np.ones(width, np.float32)
    gf, gfp = np.zeros(len(t.tokens), np.int16), np.zeros(len(t.tokens), np.float32)
    gb, gbp = np.zeros(len(s.tokens), np.int16), np.zeros(len(s.tokens), np.float32)
    n = o.word_iterations + o.order_iterations
    for it in range(n + 1):
        values[:, 2:] = 0
        cnf, cnb = np.zeros_like(nullf), np.zeros_like(nullb)
        cjf, cjb = np.zeros(width), np.zeros(width)
        hmm = it >= o.word_iterations
        last = it == n
        _expect(*args, keys, values, nullf, nullb, cnf, cnb, jf, jb, cjf, cjb, np.float32(o.null), hmm, o.agree, last, o.decode, gf, gfp, gb, gbp)
        if last:
            break
        _maximise(keys, values, same, o.same, cnf, cnb, nullf, nullb, o.prior)
        if hmm:
            jf = ((cjf + 1.0) / (cjf + 1.0).sum()).astype(np.float32)
            jb = ((cjb + 1.0) / (cjb + 1.0).sum()).astype(np.float32)
    return Links(gf, gfp, gb, gbp)


def _same(bitext: Bitext) -> Any:
    import polars as pl
    a = pl.DataFrame({"w": bitext.source.words}).with_row_index("i")
    b = pl.DataFrame({"w": bitext.target.words}).with_row_index("j")
    j = a.join(b, on="w").filter((pl.col("w").str.len_chars() > 1))
    out = np.full(len(bitext.source.words), -1, np.int32)
    out[j["i"].to_numpy()] = j["j"].to_numpy()
    return out


@compiled
def _slot(keys: Any, s: int, t: int) -> int:
    """Where the pair is, or the free place where it would be."""
    key = (np.uint64(s + 1) << np.uint64(32)) | np.uint64(t + 1)
    mask = np.uint64(len(keys) - 1)
    at = mix(key) & mask
    while keys[at] != np.uint64(0) and keys[at] != key:
        at = (at + np.uint64(1)) & mask
    return np.int64(at)


@compiled
def _cooccurrences(source: Any, so: Any, target: Any, to: Any, fs: Any, ft: Any) -> Any:
    cap = 1 << 16
    keys, counts, used = np.zeros(cap, np.uint64), np.zeros(cap, np.uint8), 0
    for k in range(len(so) - 1):
        for i in range(so[k], so[k + 1]):
            for j in range(to[k], to[k + 1]):
                at = _slot(keys, source[i], target[j])
                if keys[at] == 0:
                    keys[at] = (np.uint64(source[i] + 1) << np.uint64(32)) | np.uint64(target[j] + 1)
                    used += 1
                if counts[at] < 2:
                    counts[at] += 1
        if used * 2 > cap:
            cap *= 4
            nk, nc = np.zeros(cap, np.uint64), np.zeros(cap, np.uint8)
            for x in range(len(keys)):
                if keys[x] != 0:
                    at = _slot(nk, np.int64(keys[x] >> np.uint64(32)) - 1, np.int64(keys[x] & np.uint64(0xFFFFFFFF)) - 1)
                    nk[at], nc[at] = keys[x], counts[x]
            keys, counts = nk, nc
    kept = 0
    for x in range(len(keys)):
        if keys[x] != 0:
            s, t = np.int64(keys[x] >> np.uint64(32)) - 1, np.int64(keys[x] & np.uint64(0xFFFFFFFF)) - 1
            if counts[x] < 2 and fs[s] > 1 and ft[t] > 1:
                counts[x] = 0
            else:
                kept += 1
    cap = 1024
    while cap < kept * 5 // 3:
        cap *= 2
    nk = np.zeros(cap, np.uint64)
    for x in range(len(keys)):
        if keys[x] != 0 and counts[x] > 0:
            at = _slot(nk, np.int64(keys[x] >> np.uint64(32)) - 1, np.int64(keys[x] & np.uint64(0xFFFFFFFF)) - 1)
            nk[at] = keys[x]
    return nk


@compiled
def _start(keys: Any, values: Any, same: Any, ns: int, nt: int, bonus: float) -> None:
    rows, cols = np.zeros(ns), np.zeros(nt)
    for x in range(len(keys)):
        if keys[x] != 0:
            s, t = np.int64(keys[x] >> np.uint64(32)) - 1, np.int64(keys[x] & np.uint64(0xFFFFFFFF)) - 1
            w = 1.0 + 10.0 * bonus * (same[s] == t)
            rows[s] += w
            cols[t] += w
    for x in range(len(keys)):
        if keys[x] != 0:
            s, t = np.int64(keys[x] >> np.uint64(32)) - 1, np.int64(keys[x] & np.uint64(0xFFFFFFFF)) - 1
            w = 1.0 + 10.0 * bonus * (same[s] == t)
            values[x, 0] = 0.01 * w
            values[x, 1] = 0.01 * w


@compiled
def _digamma(x: float) -> float:
    r = 0.0
    while x < 6.0:
        r -= 1.0 / x
        x += 1.0
    f = 1.0 / (x * x)
    return r + math.log(x) - 0.5 / x - f * (1.0 / 12 - f * (1.0 / 120 - f / 252))


@compiled
def _maximise(keys: Any, values: Any, same: Any, bonus: float, cnf: Any, cnb: Any, nullf: Any, nullb: Any, prior: float) -> None:
    ns, nt = len(nullb), len(nullf)
    rows, cols = np.zeros(ns), np.zeros(nt)
    for x in range(len(keys)):
        if keys[x] != 0:
            s, t = np.int64(keys[x] >> np.uint64(32)) - 1, np.int64(keys[x] & np.uint64(0xFFFFFFFF)) - 1
            extra = prior + bonus * (same[s] == t)
            rows[s] += values[x, 2] + extra
            cols[t] += values[x, 3] + extra
    for s in range(ns):
        rows[s] = _digamma(rows[s]+1e-9)
    for t in range(nt):
        cols[t] = _digamma(cols[t]+1e-9)
    for x in range(len(keys)):
        if keys[x] != 0:
            s, t = np.int64(keys[x] >> np.uint64(32)) - 1, np.int64(keys[x] & np.uint64(0xFFFFFFFF)) - 1
            extra = prior + bonus * (same[s] == t)
            values[x, 0] = math.exp(_digamma(values[x, 2] + extra) - rows[s])
            values[x, 1] = math.exp(_digamma(values[x, 3] + extra) - cols[t])
    total = cnf.sum() + prior * nt
    for t in range(nt):
        nullf[t] = math.exp(_digamma(cnf[t] + prior) - _digamma(total))
    total = cnb.sum() + prior * ns
    for s in range(ns):
        nullb[s] = math.exp(_digamma(cnb[s] + prior) - _digamma(total))


@compiled
def _words_only(e: Any, enull: Any, null: float, n: int, m: int, g: Any, gn: Any) -> None:
    for j in range(m):
        z = np.float32(0)
        for i in range(n):
            z += e[j, i]
        z = z * (np.float32(1) - null) / np.float32(n) + null * enull[j]
        f = (np.float32(1) - null) / np.float32(n) / z
        for i in range(n):
            g[j, i] = e[j, i] * f
        gn[j] = null * enull[j] / z


@compiled
def _with_order(e: Any, enull: Any, null: float, n: int, m: int, jump: Any, norm: Any, alpha: Any, anull: Any, beta: Any, next_beta: Any, bnull: Any, v: Any, scale: Any, g: Any, gn: Any, cj: Any, D: int) -> None:
    keep = np.float32(1) - null
    # start from position -1
    z = np.float32(0)
    for d in range(n):
        z += jump[D + 1 + d]
    tot = np.float32(0)
    for k in range(n):
        alpha[0, k] = keep * jump[D + 1 + k] / z * e[0, k]
        anull[0, k] = null * jump[D + 1 + k] / z * enull[0]
        tot += alpha[0, k] + anull[0, k]
    scale[0] = np.float32(1) / tot
    for k in range(n):
        alpha[0, k] *= scale[0]
        anull[0, k] *= scale[0]
    for i in range(n):
        z = np.float32(0)
        for k in range(n):
            z += jump[D + k - i]
        norm[i] = np.float32(1) / z
    for j in range(1, m):
        for k in range(n):
            v[k] = np.float32(0)
        for i in range(n):
            a = (alpha[j - 1, i] + anull[j - 1, i]) * norm[i]
            for k in range(n):
                v[k] += a * jump[D - i + k]
        tot = np.float32(0)
        for k in range(n):
            alpha[j, k] = keep * v[k] * e[j, k]
            anull[j, k] = null * (alpha[j - 1, k] + anull[j - 1, k]) * enull[j]
            tot += alpha[j, k] + anull[j, k]
        scale[j] = np.float32(1) / tot
        for k in range(n):
            alpha[j, k] *= scale[j]
            anull[j, k] *= scale[j]
    for k in range(n):
        beta[k] = np.float32(1)  # of both states: what follows depends on the position alone
    for j in range(m - 1, -1, -1):
        gnj = np.float32(0)
        for k in range(n):
            g[j, k] = alpha[j, k] * beta[k]
            gnj += anull[j, k] * beta[k]
        gn[j] = gnj
        if j == 0:
            break
        for k in range(n):
            v[k] = keep * e[j, k] * beta[k] * scale[j]
        for i in range(n):
            a = (alpha[j - 1, i] + anull[j - 1, i]) * norm[i]
            b = np.float32(0)
            for k in range(n):
                b += jump[D - i + k] * v[k]
            for k in range(n):
                cj[D - i + k] += a * jump[D - i + k] * v[k]
            next_beta[i] = b * norm[i] + null * enull[j] * beta[i] * scale[j]
        for i in range(n):
            beta[i] = next_beta[i]


@compiled
def _expect(source: Any, so: Any, target: Any, to: Any, keys: Any, values: Any, nullf: Any, nullb: Any, cnf: Any, cnb: Any, jf: Any, jb: Any, cjf: Any, cjb: Any, null: float, hmm: bool, agree: float, last: bool, decode: int, gf: Any, gfp: Any, gb: Any, gbp: Any) -> None:
    M = 0
    for k in range(len(so) - 1):
        M = max(M, so[k + 1] - so[k], to[k + 1] - to[k])
    D = M + 1
    K = (len(jf) - 1) // 2
    wf, wb = np.empty(2 * D + 1, np.float32), np.empty(2 * D + 1, np.float32)
    for d in range(-D, D + 1):
        x = min(max(d, -K), K) + K
        share = np.float32(1)
        wf[d + D], wb[d + D] = jf[x] * share, jb[x] * share
    xf, xb = np.zeros(2 * D + 1, np.float32), np.zeros(2 * D + 1, np.float32)
    ef, eb = np.empty((M, M), np.float32), np.empty((M, M), np.float32)
    pf, pb = np.empty((M, M), np.float32), np.empty((M, M), np.float32)
    pnf, pnb = np.empty(M, np.float32), np.empty(M, np.float32)
    nf, nb = np.empty(M, np.float32), np.empty(M, np.float32)
    slots = np.empty((M, M), np.int64)
    alpha, anull = np.empty((M, M), np.float32), np.empty((M, M), np.float32)
    beta, nbeta, v, norm, scale = np.empty(M, np.float32), np.empty(M, np.float32), np.empty(M, np.float32), np.empty(M, np.float32), np.empty(M, np.float32)
    tiny = np.float32(1e-9)
    for k in range(len(so) - 1):
        a, c = so[k], to[k]
        n, m = so[k + 1] - a, to[k + 1] - c
        for j in range(m):
            nf[j] = nullf[target[c + j]] + tiny
        for i in range(n):
            nb[i] = nullb[source[a + i]] + tiny
        for i in range(n):
            for j in range(m):
                at = _slot(keys, source[a + i], target[c + j])
                if keys[at] == 0:
                    slots[i, j] = -1
                    ef[j, i] = eb[i, j] = tiny
                else:
                    slots[i, j] = at
                    ef[j, i], eb[i, j] = values[at, 0] + tiny, values[at, 1] + tiny
        if hmm:
            _with_order(ef, nf, null, n, m, wf, norm, alpha, anull, beta, nbeta, beta, v, scale, pf, pnf, xf, D)
            _with_order(eb, nb, null, m, n, wb, norm, alpha, anull, beta, nbeta, beta, v, scale, pb, pnb, xb, D)
        else:
            _words_only(ef, nf, null, n, m, pf, pnf)
            _words_only(eb, nb, null, m, n, pb, pnb)
        if last:
            for j in range(m):
                best, at = pnf[j], -1
                for i in range(n):
                    p = pf[j, i] if decode == 0 else math.sqrt(pf[j, i] * pb[i, j])
                    if p > best:
                        best, at = p, i
                gf[c + j], gfp[c + j] = at, best
            for i in range(n):
                best, at = pnb[i], -1
                for j in range(m):
                    p = pb[i, j] if decode == 0 else math.sqrt(pf[j, i] * pb[i, j])
                    if p > best:
                        best, at = p, j
                gb[a + i], gbp[a + i] = at, best
            continue
        for i in range(n):
            for j in range(m):
                at = slots[i, j]
                if at >= 0:
                    f, b = pf[j, i], pb[i, j]
                    both = f * b
                    values[at, 2] += np.float32(agree) * both + np.float32(1 - agree) * f
                    values[at, 3] += np.float32(agree) * both + np.float32(1 - agree) * b
        for j in range(m):
            cnf[target[c + j]] += pnf[j]
        for i in range(n):
            cnb[source[a + i]] += pnb[i]
        if k % 256 == 255 or k == len(so) - 2:
            for d in range(-D, D + 1):
                x = min(max(d, -K), K) + K
                cjf[x] += xf[d + D]
                cjb[x] += xb[d + D]
                xf[d + D] = xb[d + D] = 0

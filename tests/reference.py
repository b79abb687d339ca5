"""The switcher in plain Python, to hold the kernel against: obvious before fast."""

from collections import defaultdict
from fractions import Fraction
from itertools import accumulate

from csgen.characters import DIGIT, GLUE, LOWER, SPACE, UNSPACED, UPPER, WORD, class_of, fold
from csgen.switching.switcher import mix

MASK, GOLDEN, BLANK = (1 << 64) - 1, 0x9E3779B97F4A7C15, " \t\n\v\f\r"
SALTS = {"query": 0x7175657279, "passage": 0x70617373616765}


def kind(character):
    return class_of(ord(character))


def hash_bytes(data, seed):
    state = mix((seed + len(data)) & MASK)
    for k in range(0, len(data), 8):
        state = mix(state ^ int.from_bytes(data[k : k + 8], "little"))
    return state


def words_of(text):
    """(start, end) of every word, in characters."""
    spans, at = [], 0
    while at < len(text):
        end = at
        while end < len(text) and (
            kind(text[end]) & WORD
            or (end > at and kind(text[end]) & GLUE and end + 1 < len(text) and kind(text[end + 1]) & WORD)
        ):
            end += 1
        if end > at:
            spans.append((at, end))
        at = max(end, at + 1)
    return spans


def lexicon_of(entries):
    """key -> language -> [(target, upper bound of the draw)], heaviest first."""
    weights = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for entry in entries:
        key = " ".join(fold(entry["source"]).split())
        weights[key][entry["target_language"]][entry["target"]].append((entry["weight"], entry["rank"]))
    lexicon = {}
    for key, languages in weights.items():
        lexicon[key] = {}
        for language, targets in languages.items():
            ranked = sorted((-sum(sorted(w for w, _ in v)), min(r for _, r in v), t) for t, v in targets.items())
            total = -sum(w for w, _, _ in ranked)
            bounds = [min(round(b / total * 2**32), 2**32 - 1) for b in accumulate(-w for w, _, _ in ranked)]
            lexicon[key][language] = [(t, bound) for (_, _, t), bound in zip(ranked, bounds, strict=True)]
    return lexicon


def draw_language(policy, languages, draw):
    weights = [policy.language_weights.get(language, 1.0) for language in languages]
    sums = list(accumulate(weights))
    bounds = [round(b / sums[-1] * 2**32) for b in sums]
    return sum(draw >= bound for bound in bounds[:-1]), bounds


def draw_again(policy, languages, translations, bounds, draw):
    sizes = {
        k: b - a
        for k, (a, b) in enumerate(zip([0, *bounds], bounds, strict=False))
        if languages[k] in translations and (languages[k] != policy.source_language or policy.policy == "synonym")
    }
    mark = draw * sum(sizes.values()) >> 32
    for k, size in sizes.items():
        if mark < size:
            return k
        mark -= size
    return None


def draw_target(policy, targets, draw):
    if policy.policy == "synonym":
        picked = draw * (len(targets) + 1) >> 32
        return targets[picked - 1][0] if picked else None
    if policy.translation == "best":
        return targets[0][0]
    if policy.translation == "uniform":
        return targets[draw * len(targets) >> 32][0]
    return next((t for t, bound in targets if draw < bound), targets[-1][0])


def chunk_kinds(chunk):
    kinds = {"code"} if chunk[0] in "/-" or set(chunk) & set("_\\`^{|}~<=>") else set()
    kinds |= {"code"} if "()" in chunk or "::" in chunk else set()
    plain = [c.isascii() and c.isalnum() for c in chunk]
    dotted = any(c == "." and 0 < k < len(chunk) - 1 and plain[k - 1] and plain[k + 1] for k, c in enumerate(chunk))
    return kinds | ({"urls"} if "@" in chunk or "://" in chunk or dotted else set())


def is_protected(policy, text, start, end):
    a, b = start, end
    while a > 0 and not kind(text[a - 1]) & SPACE:
        a -= 1
    while b < len(text) and not kind(text[b]) & SPACE:
        b += 1
    kinds = chunk_kinds(text[a:b])
    after_lower = False
    for character in text[start:end]:
        after_lower = bool(kind(character) & WORD and (after_lower or kind(character) & LOWER))
        if after_lower and kind(character) & UPPER:
            kinds.add("code")
    before = text[:start]
    while before and before[-1] in BLANK + "\"'([" and before[-1] != "\n":
        before = before[:-1]
    if kind(text[start]) & UPPER and before and before[-1] not in ".!?:\n":
        kinds.add("names")
    return bool(kinds & set(policy.protect))


def carry_case(policy, target, source):
    uppers, lowers = (sum(bool(kind(c) & bit) for c in source) for bit in (UPPER, LOWER))
    if policy.case == "lower":
        return target.lower()
    if uppers > 1 and not lowers:
        return target.upper()
    return target[0].title() + target[1:] if kind(source[0]) & UPPER else target


def longest(policy, languages, lexicon, text, spans, t, language):
    """(number of words, translations by language) of the longest phrase at token t that can be used; 0: unknown."""
    prefixes = {" ".join(key.split(" ")[:n]) for key in lexicon for n in range(1, 6)}
    words_known = {word for key in lexicon for word in key.split(" ")}
    best, n = None, 0
    while n < policy.max_words and t + n < len(spans):
        start, end = spans[t + n]
        word = fold(text[start:end])
        gap = text[spans[t + n - 1][1] : start] if n else " "
        if not gap or any(not kind(c) & SPACE for c in gap) or word not in words_known:
            break
        if "numbers" in policy.protect and any(kind(c) & DIGIT for c in word):
            return (-1, {}) if n == 0 else best
        key = " ".join(fold(text[a:b]) for a, b in spans[t : t + n + 1])
        if key not in prefixes:
            break
        n += 1
        wanted = {language} if policy.policy == "phrase" or not policy.redraw else {language, *languages}
        if n == 1 or any(x in lexicon.get(key, {}) for x in wanted):
            best = (n, lexicon.get(key, {}))
    return best or (0, {})


def switch(policy, entries, pair, side, epoch=0, find_words=words_of):
    """(new text, [(start, end, source, language)] in bytes of the new text)."""
    text, lexicon, languages = pair[side], lexicon_of(entries), policy.languages_of(side)
    if not policy.switches(side):
        return text, []
    key = hash_bytes(pair["query_id"].encode(), mix((policy.seed + epoch * GOLDEN) & MASK))
    key = mix(hash_bytes(pair["passage_id"].encode(), key) ^ SALTS[side])
    spans, new, switches, done, t = find_words(text), "", [], 0, 0
    while t < len(spans):
        draw = mix((key + (t + 1) * GOLDEN) & MASK)
        low = mix(key) >> 32 if policy.policy == "phrase" else draw & 0xFFFFFFFF
        k, bounds = draw_language(policy, languages, low)
        step, target = 1, None
        stays = languages[k] == policy.source_language and policy.policy != "synonym"
        if (draw >> 32) < round(Fraction(policy.probability_of(side)) * 2**32) and not stays:
            words, translations = longest(policy, languages, lexicon, text, spans, t, languages[k])
            again = mix(draw)
            if words > 0 and languages[k] not in translations:
                redraw = policy.redraw and policy.policy != "phrase"
                k = draw_again(policy, languages, translations, bounds, again & 0xFFFFFFFF) if redraw else None
            if words > 0 and k is not None:
                start, end = spans[t][0], spans[t + words - 1][1]
                if not is_protected(policy, text, start, end):
                    target = draw_target(policy, translations[languages[k]], again >> 32)
        if target is not None:
            target = carry_case(policy, target, text[start:end])
            new, switches = append(new, text[done:start], switches)
            begin = len(new.encode())
            new = join(new, target)
            switches.append((begin, len(new.encode()), text[start:end], languages[k]))
            done, step = end, words
        t += step
    return append(new, text[done:], switches)


def append(new, gap, switches):
    """Put unswitched text behind a switch; a space that this needs belongs to the switch."""
    joined = join(new, gap)
    if len(joined) > len(new) + len(gap):
        begin, end, *rest = switches[-1]
        switches = [*switches[:-1], (begin, end + 1, *rest)]
    return joined, switches


def join(left, right):
    """Put two pieces together, with a space where two words would touch that the script does not run together."""
    both = kind(left[-1]) & kind(right[0]) if left and right else 0
    return f"{left} {right}" if both & WORD and not both & UNSPACED else left + right

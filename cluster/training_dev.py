"""What a run is measured by while it goes on: RR@10 of a collection's queries in MoIR, CLIR and MLIR.

Candidates are found once, by BM25 in English, and taken over into the other languages by their ids; a query's answers
are always among them. Knows models by what scores texts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from cluster.training.models import Embedder, Scorer, move
from cluster.training.tokens import Text, Tokeniser
from cluster.training_options import Dev
from csgen.errors import CsgenError, InputError
from csgen.sources.draws import counter, hash_texts, mix
from eval.benchmark import Benchmark, Reading
from eval.measuring.measures import Measurer
from eval.results import SETTINGS
from eval.settings import Cell, Setting, bilingual_cell, multilingual_cell
from eval.systems import take_over
from indexing.lexical import LexicalIndex
from indexing.models.batches import Batch as Tokens
from indexing.models.batches import fill_packed

ENGLISH = "en"
MEASURE = "RR@10"
MEAN = "mean"  # of the settings
BUDGET_TOKENS = 8192  # of a batch

Scores = NDArray[np.float32]
ScorePairs = Callable[[list[str], list[str]], Scores]  # queries and passages, (num_pairs,) each


@dataclass(frozen=True)
class _DevCell:
    """Pairs of a cell in the order of their ids, and what tells good orders from bad ones."""

    setting: Setting
    pairs: pl.DataFrame  # query_id, passage_id, query, passage
    measurer: Measurer


@dataclass(frozen=True)
class DevSet:
    """The cells that a run is measured by."""

    cells: tuple[_DevCell, ...]

    @property
    def num_pairs(self) -> int:
        return sum(len(cell.pairs) for cell in self.cells)

    def measure(self, score: ScorePairs) -> dict[str, float]:
        """RR@10 by setting, the mean of the setting's cells; and "mean", that of the settings."""
        found: dict[str, list[float]] = {}
        for cell in self.cells:
            scores = score(cell.pairs["query"].to_list(), cell.pairs["passage"].to_list())
            if not np.isfinite(scores).all():
                raise CsgenError(
                    "the model gives scores that are no numbers to the pairs of --dev: its weights have run away; "
                    "the newest checkpoint is kept; lower --learning-rate and begin anew"
                )
            run = cell.pairs.select("query_id", "passage_id", score=pl.Series(scores, dtype=pl.Float64))
            mean = cell.measurer.measure(run)[MEASURE].mean()
            found.setdefault(cell.setting, []).append(float(mean))  # type: ignore[arg-type]
        figures = {setting: float(np.mean(values)) for setting, values in found.items()}
        return figures | {MEAN: float(np.mean(list(figures.values())))}


def open_dev(options: Dev, seed: int) -> DevSet:
    """Read a collection and find the candidates; a language or split that it lacks is an InputError."""
    benchmark = Benchmark("dev", options.dev, options.dev_split, "leave-out")
    both = [language for language in benchmark.query_languages if language in benchmark.passage_languages]
    languages = options.dev_languages or tuple(both)
    if unknown := sorted({*languages} - {*both}):
        raise InputError(
            f"--dev-languages: {options.dev} has no queries and passages in {', '.join(unknown)}; "
            f"it has {', '.join(both)}"
        )
    if ENGLISH not in both:
        raise InputError(f"--dev {options.dev}: candidates are found in English, in which it has no texts")
    hits = _find_candidates(benchmark, options, seed)
    cells = [_open_cell(benchmark.read(cell), hits, options.dev_candidates) for cell in _list_cells(languages, seed)]
    return DevSet(tuple(cell for cell in cells if len(cell.pairs)))


def _list_cells(languages: tuple[str, ...], seed: int) -> list[Cell]:
    """Each language and each two languages; and all at once, queries and passages in a language of their own each."""
    cells = [bilingual_cell(query, passage) for query, passage in product(languages, languages)]
    if len(languages) > 1:
        cells.append(multilingual_cell("xx-xx", languages, str(len(languages)), ENGLISH, seed))
    return sorted(cells, key=lambda cell: SETTINGS.index(cell.setting))


def _find_candidates(benchmark: Benchmark, options: Dev, seed: int) -> pl.DataFrame:
    """`query_id, passage_id, score` of some queries in English, drawn by their ids."""
    queries = benchmark.queries(ENGLISH)
    salt = mix(np.full(1, counter(seed + 1)))[0]
    drawn = queries.with_columns(draw=pl.Series(mix(hash_texts(queries["id"]) ^ salt), dtype=pl.UInt64))
    queries = drawn.sort("draw", "id").head(options.dev_queries)
    passages = benchmark.passages(ENGLISH)
    rows, scores = LexicalIndex.build(passages["text"], ENGLISH).search(queries["text"], options.dev_candidates)
    found = rows >= 0
    hits = pl.DataFrame(
        {
            "query_id": queries["id"].gather(np.nonzero(found)[0]),
            "passage_id": passages["id"].gather(rows[found]),
            "score": scores[found].astype(np.float64),
        }
    )
    answers = benchmark.qrels.filter(pl.col("score") > 0, pl.col("query_id").is_in(queries["id"].implode()))
    answers = answers.select("query_id", "passage_id", score=pl.lit(float("inf")))
    return pl.concat([answers, hits]).unique(["query_id", "passage_id"], keep="first", maintain_order=True)


def _open_cell(reading: Reading, hits: pl.DataFrame, num_candidates: int) -> _DevCell:
    own = take_over(hits, reading).sort(["query_id", "score", "passage_id"], descending=[False, True, False])
    own = own.filter(pl.int_range(pl.len()).over("query_id") < num_candidates)
    queries = reading.queries.select("query_id", query="text")
    passages = reading.passage_texts(own["passage_id"]).select("passage_id", "passage")
    pairs = own.join(queries, on="query_id").join(passages, on="passage_id").sort("query_id", "passage_id")
    qrels = reading.qrels.join(pairs, on="query_id", how="semi")
    return _DevCell(reading.cell.setting, pairs.drop("score"), Measurer(qrels, [MEASURE]))


def score_with_reranker(model: Scorer, tokeniser: Tokeniser, device: torch.device) -> ScorePairs:
    """Logits of pairs by a model as it stands, in batches of like lengths."""
    return lambda queries, passages: _run(
        lambda tokens: model.score(tokens)[:, None], list(zip(queries, passages, strict=True)), tokeniser, device
    )[:, 0]


def score_with_encoder(model: Embedder, tokeniser: Tokeniser, device: torch.device) -> ScorePairs:
    """Inner products of embeddings; each distinct text is embedded once."""

    def score(queries: list[str], passages: list[str]) -> Scores:
        number: dict[str, int] = {}
        places = [np.array([number.setdefault(text, len(number)) for text in side]) for side in (queries, passages)]
        vectors = _run(lambda tokens: model.embed(tokens)[0], list(number), tokeniser, device)
        found: Scores = (vectors[places[0]] * vectors[places[1]]).sum(axis=1)
        return found

    return score


def _run(
    compute: Callable[[Tokens], torch.Tensor], texts: Sequence[Text],
    tokeniser: Tokeniser, device: torch.device,
) -> Scores:  # fmt: skip
    """(num_texts, width) float32 of texts or pairs of texts."""
    tokens = tokeniser.encode(texts).tokens
    found: Scores | None = None
    for rows in fill_packed(tokens.lengths.numpy(), BUDGET_TOKENS):
        values = compute(move(_take(tokens, rows), device)).float().cpu().numpy()
        if found is None:
            found = np.empty((len(tokens.lengths), values.shape[1]), np.float32)
        found[rows] = values
    return np.empty((0, 1), np.float32) if found is None else found


def _take(tokens: Tokens, rows: NDArray[np.int64]) -> Tokens:
    """Some of the sequences, in the order of `rows`."""
    chosen = torch.from_numpy(rows)
    lengths = tokens.lengths[chosen]
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    places = torch.arange(int(offsets[-1])) + (tokens.firsts[chosen] - offsets[:-1]).repeat_interleave(lengths)
    return Tokens(tokens.ids[places], offsets, None if tokens.types is None else tokens.types[places])

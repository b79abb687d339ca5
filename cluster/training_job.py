"""The stage `train`: what a run is made of, what each worker does, and a run in this process.

Knows no Ray: `work` is a plain function of the options, and cluster.training_ray places its calls.
"""

import logging
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from cluster.models import hash_model
from cluster.teacher_pool import PooledTeacher, fill_pool, teacher_of
from cluster.training.batches import BatchSource, make_source
from cluster.training.examples import Groups, Pairs, load_pairs
from cluster.training.loop import Outcome, Progress, Run, train
from cluster.training.objectives import EncoderObjective, RerankerObjective
from cluster.training.spool import map_here
from cluster.training.tokens import Tokeniser
from cluster.training.twins import TwinMaker
from cluster.training.workers import Workers
from cluster.training_dev import DevSet, open_dev, score_with_encoder, score_with_reranker
from cluster.training_models import (
    hash_weights,
    limit_tokens,
    make_layout,
    make_objective,
    make_tokeniser,
    save_model,
    start_model,
)
from cluster.training_options import TrainingOptions
from cluster.training_output import CHECKPOINTS, Ending, check_output, claim_output, find_inputs, finish
from cluster.training_pairs import TEACHER_VECTORS, are_large, lay_out_pairs, open_pairs, remove_spools
from cluster.training_report import History
from csgen.files import hash_file, join
from csgen.lexicon.lemmas import lexicon_table
from csgen.manifest import MANIFEST_NAME, Manifest
from csgen.planning import SAMPLE_ROWS, sample_pairs, solve_for_target
from csgen.sources.pairs import normalise
from csgen.sources.rows import refuse
from csgen.switch_job import read_protected_words
from csgen.switching.policy import SIDES
from indexing.encoder import Encoder
from indexing.models.checkpoint import Checkpoint

log = logging.getLogger(__name__)
OnStep = Callable[[Mapping[str, Any]], None]  # of the first worker: what its history says of a step


@dataclass(frozen=True)
class OpenedRun:
    """A run on one worker, ready to go."""

    options: TrainingOptions
    checkpoint: Checkpoint
    max_tokens: int
    run: Run


def open_run(options: TrainingOptions, laid_out: str | None = None) -> OpenedRun:
    """Load pairs, model and lexicon; what does not fit together is an InputError. Writes a teacher's embeddings alone.

    `laid_out`: the folder that holds the pairs; None: they are read into memory.
    """
    recipe, place = options.recipe, options.place
    device = torch.device("cuda", torch.cuda.current_device()) if place.gpus else torch.device("cpu")
    pairs = open_pairs(options, laid_out)
    checkpoint = start_model(options.kind, place.model, recipe.seed)
    max_tokens = limit_tokens(recipe, checkpoint)
    maker = open_twin_maker(options)
    policy = None if maker is None else maker.policy
    objective = make_objective(options, checkpoint, policy)
    originals = load_pairs(options.teacher.teacher_pairs) if options.teacher.teacher_pairs else None
    identity = describe_inputs(options, hash_weights(checkpoint.model)) | {
        "tokens of an input": max_tokens,
        "teacher's texts": None if originals is None else originals.content,
    }
    tokeniser = make_tokeniser(checkpoint, max_tokens)
    teacher = None
    if options.teaches or (options.distils and options.teacher.teacher and pairs.scores is None):
        teacher = open_teacher(options, pairs if originals is None else originals)
    if teacher is not None and options.distils and pairs.scores is None:
        pairs = replace(pairs, scores=teacher.score(pairs.texts))
    if teacher is not None and options.teaches:
        teacher = teacher.reduced(int(checkpoint.model.config.hidden_size))
    source = make_source(recipe, pairs, make_layout(options, tokeniser, policy, teacher), maker)
    threads = torch.get_num_threads()
    dev = open_dev(options.dev, recipe.seed) if options.dev.dev and Workers.current().rank == 0 else None
    torch.set_num_threads(threads)  # of OpenMP, whose number Numba sets anew when BM25 is compiled
    evaluate = None if not options.dev.dev else partial(_measure, dev, objective, tokeniser, device)
    folder = join(place.output, CHECKPOINTS)
    run = Run(recipe, objective, source, folder, identity, evaluate, device=device)
    return OpenedRun(options, checkpoint, max_tokens, run)


def _measure(dev: DevSet | None, objective: Any, tokeniser: Tokeniser, device: torch.device) -> Mapping[str, float]:
    """The figures of the model as it stands; asked of the first worker alone, which alone has a `dev`."""
    assert dev is not None
    if isinstance(objective, RerankerObjective):
        return dev.measure(score_with_reranker(objective.model, tokeniser, device))
    assert isinstance(objective, EncoderObjective)
    return dev.measure(score_with_encoder(objective.model, tokeniser, device))


def open_teacher(options: TrainingOptions, read: Pairs) -> PooledTeacher:
    """The teacher's embeddings of what it reads; what the pool lacks is made first, by all workers together."""
    given, workers = options.teacher, Workers.current()
    folder = given.teacher_vectors or str(claim_output(options) / TEACHER_VECTORS)
    device = "cuda" if options.place.gpus else "cpu"
    load = partial(Encoder.load, given.teacher, precision=given.teacher_precision, device=device)
    name = f"{hash_model(given.teacher)} {given.teacher_precision}"
    fill_pool(folder, name, load, read.texts, (workers.rank, workers.size))
    workers.agree(None)
    return teacher_of(folder, read.texts, by_ids=bool(given.teacher_pairs))


def open_twin_maker(options: TrainingOptions) -> TwinMaker | None:
    """What switches on the fly, its target ratio solved for a probability; None without a lexicon."""
    policy = options.switching.to_policy(options.recipe.seed)
    if policy is None:
        return None
    table = lexicon_table(options.switching.lexicon, policy).without(read_protected_words(policy))
    if policy.target_ratio is not None:
        with tempfile.TemporaryDirectory() as folder:
            pairs = normalise(options.place.pairs, folder, refuse, options.place.split, policy.source_language)
            policy = solve_for_target(policy, table, sample_pairs(pairs, SAMPLE_ROWS))
    return TwinMaker(policy, table, options.recipe.curriculum)


def describe_inputs(options: TrainingOptions, first_weights: str) -> dict[str, Any]:
    """What a run is made of, beside options and pairs; what must be the same for it to be gone on with."""
    switching, dev = options.switching, options.dev
    weights = {"languages": switching.language_weights, "examples": options.recipe.example_weights}
    policy = switching.to_policy(options.recipe.seed)
    return {
        "kind": options.kind,
        "first weights": first_weights,
        "lexicon": hash_file(join(switching.lexicon, MANIFEST_NAME)) if switching.lexicon else None,
        "protected words": [] if policy is None else read_protected_words(policy),
        "teacher": hash_model(options.teacher.teacher) if options.teacher.teacher else None,
        "dev": dev.model_dump(mode="json") if dev.dev else None,
        "weights by --gaps": weights if options.gaps.gaps else None,
    }


def work(options: TrainingOptions, on_step: OnStep | None = None, laid_out: str | None = None) -> Ending | None:
    """What each worker does: open the run, train, and on the first one save the model and tell how it ended."""
    opened, workers, folder = open_run(options, laid_out), Workers.current(), options.place.output
    truncated = [0]  # inputs, of this worker
    if workers.rank:
        train(replace(opened.run, on_step=lambda progress: truncated.append(progress.num_truncated)))
        workers.sum(torch.tensor(truncated[-1], device=opened.run.device))
        return None
    log_run(opened)
    done = (opened.run.checkpoints().steps() or [0])[-1]
    with History.resume(folder, done, "tensorboard" in options.place.curves) as history:

        def note(progress: Progress) -> None:
            line = history.add(progress)
            if on_step is not None:
                on_step(line)

        outcome = train(replace(opened.run, on_step=note))
        history.fill(outcome.state)
    figures = measure_outcome(opened.run, outcome)
    truncated.append(int(workers.sum(torch.tensor(history.num_truncated, device=opened.run.device))))
    save_model(options, opened.checkpoint, opened.max_tokens)
    return describe_ending(opened, outcome, figures, truncated[-1])


def log_run(opened: OpenedRun) -> None:
    """Say what is about to be trained on what, and what people should know of the data."""
    source = opened.run.source
    pairs = source.examples.pairs
    resumed = opened.run.checkpoints().steps()
    log.info(
        "%s: %d pairs, %d steps of %d examples%s",
        opened.options.kind, len(pairs), source.num_steps, source.order.batch_size,
        f", going on from step {resumed[-1]}" if resumed else "",
    )  # fmt: skip
    if isinstance(source.examples, Groups):
        if source.examples.num_short:
            log.info("%d groups have too few negatives and borrow from others", source.examples.num_short)
        if source.examples.num_unanswered:
            log.info("%d queries have no positive and are left out", source.examples.num_unanswered)


def measure_outcome(run: Run, outcome: Outcome) -> dict[str, float]:
    """The figures of the weights that were kept; measured anew where they are a mean of several steps'."""
    if run.evaluate is None:
        return {}
    found = [e.figures for e in outcome.state.evaluations if outcome.weights_of == (e.step,)]
    if found:
        return dict(found[-1])
    with torch.no_grad():
        return dict(run.evaluate())


def describe_ending(opened: OpenedRun, outcome: Outcome, figures: Mapping[str, float], num_truncated: int) -> Ending:
    state, source = outcome.state, opened.run.source
    policy = None if source.twin_maker is None else source.twin_maker.policy
    known = [language for pair in source.examples.pairs.language_names for language in _split_pair(pair)]
    known = known or [opened.options.switching.source_language]
    if policy is not None:
        known += [language for side in SIDES for language in policy.languages_of(side)]
    return Ending(
        steps=state.step,
        num_steps=source.num_steps,
        weights_of=outcome.weights_of,
        stopped_early=outcome.stopped_early,
        last_loss=state.losses[-1] if state.losses else float("nan"),
        figures=dict(figures),
        counts=_count(source) | {"truncated": num_truncated},
        max_tokens=opened.max_tokens,
        policy=None if policy is None else policy.model_dump(mode="json"),
        languages=tuple(dict.fromkeys(known)),
    )


def _split_pair(name: str) -> list[str]:
    """The languages in a query-passage name such as en-de; a tag with a region, as in pt-BR-en, stays whole."""
    return re.findall(r"[a-z]{2,3}(?:-[A-Z][A-Za-z]*)?", name)


def _count(source: BatchSource) -> dict[str, int]:
    examples, pairs = source.examples, source.examples.pairs
    counts = {"pairs": len(pairs), "examples": len(examples.first_rows)}
    if isinstance(examples, Groups):
        counts |= {"short_groups": examples.num_short, "unanswered_queries": examples.num_unanswered}
    return counts


def run_training(options: TrainingOptions, on_step: OnStep | None = None) -> Manifest:
    """Train in this process and write the output; going on from what an earlier run of the same options left."""
    check_output(options)
    inputs = find_inputs(options)
    laid_out = lay_out_pairs(options, inputs, map_here) if are_large(inputs) else None
    ending = work(options, on_step, laid_out)
    assert ending is not None
    remove_spools(options)
    return finish(options, inputs, ending)

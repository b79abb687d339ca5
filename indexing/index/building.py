"""Building an index from passages, in two stages of tasks: pieces with their vectors; then training and segments.

What comes out is a function of the input and the options, for any number of workers and after a crash at any point.
Everything lies in INDEX.building until it is published at once.
"""

from pathlib import Path
from typing import Any

from csgen.errors import InputError
from csgen.files import refuse_finished
from csgen.manifest import MANIFEST_NAME
from indexing.index.filling import open_trained
from indexing.index.inputs import PassageInput, find_input
from indexing.index.job import Job, open_job
from indexing.index.options import BuildConfig
from indexing.index.pieces import Reading
from indexing.index.running import HERE, Place, Progress, no_progress
from indexing.index.settings import IndexSettings, Sharding
from indexing.index.sources import VectorSource
from indexing.index.stages import (
    NewSegment,
    Prepared,
    encode,
    fill_segments,
    prepare,
    seal_segments,
    seal_trained,
    train_once,
    write_rejects,
)
from indexing.store import Store
from indexing.store.folder import claim_folder, local_folder
from indexing.vectors.choice import Choice, choose
from indexing.vectors.config import VectorConfig

Report = dict[str, Any]


def build(
    config: BuildConfig, vectors: VectorConfig, source: VectorSource, place: Place = HERE,
    progress: Progress = no_progress,
) -> Report:  # fmt: skip
    """Build the index and return a report of it, as JSON holds it.

    Killed, it goes on from where it was, given the same options and input; others are an InputError that says what
    differs. The index is not there before it is whole.
    """
    root = local_folder(config.output)
    with open_job(root, "build") as job:
        if not job.is_known:
            _require_room(root, False)
        given = find_input(config.passages, config.languages, config.metadata)
        sharding = choose_sharding(config, given)
        identity = _describe(config, vectors, given, source)
        if report := job.find_published(identity):
            return report
        _require_room(root, job.is_begun)
        is_new = job.begin(identity)
        with job.gone_if_refused(is_new):
            reading = Reading(str(job.folder), given, sharding, config.piece_passages, config.most_rejects)
            prepared = prepare(reading, source, config.on_duplicate, place, progress)
            choice = choose_kind(prepared.num_passages, source.dim, vectors)
        with job.gone_if_refused(is_new and source.encoder is None):
            truncated = encode(prepared, source, place, progress)
        trained = train_once(prepared, choice, place)
        settings = IndexSettings(
            encoder=source.encoder, sharding=sharding, segment_passages=config.segment_passages,
            lexical=config.lexical, vectors=vectors, choice=open_trained(trained).choice,
        )  # fmt: skip
        segments = fill_segments(prepared, trained, config.segment_passages, config.lexical, place, progress)
        report = prepared.describe() | {"truncated": truncated, "ignored_columns": list(given.ignored_columns)}
        return _publish(job, settings, prepared, trained, segments, report)


def choose_sharding(config: BuildConfig, given: PassageInput) -> Sharding:
    """How passages are sharded: by language, those that are known beforehand have places of their own."""
    if config.shard_by == "address":
        return Sharding(by="address", num_shards=config.num_shards or 1)
    known = given.languages or tuple(dict.fromkeys(file.language for file in given.files if file.language))
    if not known and config.num_shards is None:
        raise InputError("--shard-by language: give --num-shards, or --languages, each of which then has a shard")
    return Sharding(by="language", num_shards=config.num_shards or len(known), languages=known)


def choose_kind(num_passages: int, dim: int, vectors: VectorConfig) -> Choice:
    """The kind of vectors for so many passages; an InputError where they are too few to train it."""
    choice = choose(num_passages, dim, vectors)
    least = choice.least_train_vectors
    if choice.train_vectors < least:
        raise InputError(
            f"{choice.num_lists:,} lists of kind {choice.kind} need {least:,} training vectors or more, got "
            f"{choice.train_vectors:,} of {num_passages:,} passages: take --kind flat, fewer --num-lists or more "
            "--train-vectors"
        )
    return choice


def describe_training(vectors: VectorConfig) -> dict[str, Any]:
    """What a version says of its training beside the files."""
    return {"vectors": vectors.model_dump(mode="json")}


def _require_room(root: Path, is_begun: bool) -> None:
    """Refuse a finished index, or a folder of something else. What this job has created is still empty."""
    if is_begun and (not (root / MANIFEST_NAME).exists() or Store.open(root).read_version().number == 1):
        return
    refuse_finished(str(root))
    if root.exists():
        claim_folder(root)


def _describe(config: BuildConfig, vectors: VectorConfig, given: PassageInput, source: VectorSource) -> dict[str, Any]:
    """What must be the same for an unfinished build to be gone on with, flat, by name."""
    options = {f"--{name.replace('_', '-')}": value for name, value in vectors.model_dump(mode="json").items()}
    inputs = {f"input {path}": mark for path, mark in given.fingerprints().items()}
    return {"operation": "build"} | config.describe() | options | inputs | source.describe()


def _publish(
    job: Job, settings: IndexSettings, prepared: Prepared, trained: str, segments: list[NewSegment], report: Report
) -> Report:
    root = job.root
    if (root / MANIFEST_NAME).exists():
        store = Store.open(root)
        if store.read_version().settings != settings.to_json():
            raise InputError.at(str(root), None, "was begun by another release of csgen: remove it, and build it anew")
    else:
        store = Store.create(root, settings.to_json())
    with store.write(job.operation) as writer:
        version = writer.base.number + 1
        seal_trained(writer, trained, describe_training(settings.vectors))
        seal_segments(writer, segments)
        rejects = write_rejects(root, version, prepared.given.rejects)
        report = {"index": str(root), "version": version, "segments": len(segments)} | report
        report |= {"kind": settings.choice.kind, "reason": settings.choice.reason, "rejects_file": rejects}
        job.announce(version, report)
        writer.publish()
    job.remove()
    return report

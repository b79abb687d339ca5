"""Where a run's pairs lie while it lasts: laid out in its output folder where they are large or shared, else in memory.

Knows no Ray: `map_parts` says where the parts are written.
"""

import logging
import shutil
from collections.abc import Mapping
from typing import Any

from cluster.training.examples import Pairs, load_pairs
from cluster.training.spool import MapParts, open_spool, spool_pairs
from cluster.training_options import TrainingOptions
from cluster.training_output import claim_output
from csgen.files import fingerprint, join

log = logging.getLogger(__name__)

SPOOL = "_pairs"
TEACHER_VECTORS = "_teacher"  # a teacher's embeddings of them
LARGE_BYTES = 512 << 20  # of the input's files; in memory they take two to four times as much


def are_large(inputs: Mapping[str, Any]) -> bool:
    """Whether the pairs are better not held in memory; `inputs` as `find_inputs` gives them."""
    return bool(sum(fingerprint(path)["bytes"] for path in inputs["pairs"]) > LARGE_BYTES)


def lay_out_pairs(options: TrainingOptions, inputs: Mapping[str, Any], map_parts: MapParts) -> str:
    """The folder with the pairs laid out for all workers; what a run that was killed left is taken where it fits."""
    place = options.place
    folder = join(place.output, SPOOL)
    claim_output(options)
    log.info("laying the pairs out in %s, until the run ends", folder)
    spool_pairs(
        place.pairs,
        folder,
        map_parts,
        split=place.split,
        language=options.switching.source_language,
        indexed=options.recipe.negatives > 0,
        identity={"files": inputs["pairs"]},
    )
    return folder


def open_pairs(options: TrainingOptions, folder: str | None) -> Pairs:
    """The pairs of a run: those laid out in a folder, or without one, read into memory."""
    if folder is not None:
        return open_spool(folder)
    return load_pairs(options.place.pairs, split=options.place.split, language=options.switching.source_language)


def remove_spools(options: TrainingOptions) -> None:
    """Remove what was laid out, if anything was: at a run's end, since one that is not finished may go on with it."""
    for name in (SPOOL, TEACHER_VECTORS):
        shutil.rmtree(join(options.place.output, name), ignore_errors=True)

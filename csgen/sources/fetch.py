"""The stage `csgen fetch`: a parallel collection from Debian, the carried sample or ir_datasets, and pairs to train on.

Knows the layout of what it writes; the sources know how to come by it.
"""

import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import polars as pl
import pyarrow.parquet as pq
from pydantic import Field, field_validator, model_validator

from csgen.config import StageConfig
from csgen.errors import InputError
from csgen.files import join, refuse_finished, replace_file
from csgen.languages import parse_language
from csgen.manifest import Manifest, describe_files
from csgen.schema import pair_schema
from csgen.sources.debian import DebianDescriptions, fetch_descriptions
from csgen.sources.duplicates import Rows, find_near_duplicates
from csgen.sources.negatives import pair_with_negatives
from csgen.sources.sample import read_english, sample_description, sample_files
from csgen.sources.splits import assign_splits, contains_query, group_rows

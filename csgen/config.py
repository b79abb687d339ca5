"""The base of every stage's configuration: frozen, strict, read from flags and YAML alike."""

from collections.abc import Mapping
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from csgen.errors import InputError
from csgen.files import open_input


class StageConfig(BaseModel):
    """Options of one stage. Every field carries a description with its unit and range.

    The command line's flags are generated from the fields, and `--config FILE.yaml` sets the same ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Validate `options`; an unknown key or a value out of range is an InputError that names the option."""
        try:
            return cls.model_validate(dict(options))
        except ValidationError as error:
            raise InputError("; ".join(_explain(detail) for detail in error.errors())) from error


def _explain(detail: Any) -> str:
    name, *inner = detail["loc"] or ("options",)
    option = f"--{name.replace('_', '-')}" + "".join(f", {key}" for key in inner if isinstance(key, str))
    if detail["type"] == "extra_forbidden":
        return f"{option}: no such option"
    if detail["type"] == "missing":
        return f"{option} is required"
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    return f"{option}: {detail['msg'][0].lower()}{detail['msg'][1:]}, got {detail['input']!r}"


def read_yaml(path: str) -> dict[str, Any]:
    """The mapping in a YAML file."""
    try:
        with open_input(path) as stream:
            options = yaml.safe_load(stream)
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {error}") from error
    if not isinstance(options, dict):
        raise InputError(f"{path}: expected a mapping of options, got {type(options).__name__}")
    return options

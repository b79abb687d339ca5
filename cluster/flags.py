"""Flags generated from the fields of configuration models, and the YAML file that sets the same fields.

Checks names alone: values are for the models to judge, so that a flag and a line of YAML are refused in the same words.
"""

import argparse
import difflib
import types
from collections.abc import Sequence
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from csgen.config import StageConfig, read_yaml
from csgen.errors import InputError

Models = Sequence[type[StageConfig]]
EMPTY_LIST = "none"
METAVARS = {int: "N", float: "X", dict: "A=X,B=Y"}


class Flags(argparse.ArgumentParser):
    """The flags of the models' fields; those named in `positionals` are arguments without a flag."""

    def __init__(self, prog: str, summary: str, models: Models, positionals: Sequence[str]) -> None:
        self._fields = {name: field for model in models for name, field in model.model_fields.items()}
        self._unflagged = positionals
        shown = "".join(f" {_placeholder(name, self._fields[name])}" for name in positionals)
        super().__init__(
            prog=prog,
            usage=f"{prog}{shown} [options]",
            description=f"{summary[0].upper()}{summary[1:]}.",
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,  # what is not given is not passed on: a policy has its own defaults
        )
        for name in positionals:
            self._add_positional(name, self._fields[name])
        self.add_argument("--config", metavar="FILE.yaml", help="file that sets the same options; a flag wins")
        for name, field in self._fields.items():
            if name not in positionals:
                self._add_flag(name, field)

    def read(self, arguments: Sequence[str]) -> dict[str, Any]:
        """The options given by flags, positional arguments and `--config`, not yet validated."""
        found, rest = self.parse_known_intermixed_args(arguments)
        if rest:
            self._refuse(next((word for word in rest if word.startswith("-")), rest[0]))
        given = {name: value for name, value in vars(found).items() if value not in (None, [])}
        path = given.pop("config", None)
        options = self._read_config(path) if path else {}
        options |= {name: _parse(self._fields[name], value) for name, value in given.items()}
        for name in self._unflagged:
            if name not in options and self._fields[name].is_required():
                self.error(f"{_placeholder(name, self._fields[name])} is required: {self._fields[name].description}")
        return options

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")

    def _add_positional(self, name: str, field: FieldInfo) -> None:
        # Never required here, since the YAML file may set it.
        many = _kind(field) is tuple
        self.add_argument(
            name, nargs="*" if many else "?", metavar=_placeholder(name, field), help=_help(field), default=None
        )

    def _add_flag(self, name: str, field: FieldInfo) -> None:
        flag = f"--{name.replace('_', '-')}"
        if _kind(field) is bool:
            self.add_argument(flag, action=_YesNo, help=_help(field))
        else:
            self.add_argument(flag, metavar=_metavar(name, field), help=_help(field))

    def _read_config(self, path: str) -> dict[str, Any]:
        options = read_yaml(path)
        for key in options:
            if key not in self._fields:
                raise InputError(f"{path}: {key}: no such option{_suggest(str(key), list(self._fields))}")
        return {key: _parse(self._fields[key], value) for key, value in options.items()}

    def _refuse(self, word: str) -> NoReturn:
        if not word.startswith("-"):
            self.error(f"unexpected argument {word!r}")
        known = [name for name in self._option_string_actions if name.startswith("--")]
        self.error(f"unknown option {word}{_suggest(word.partition('=')[0], known)}")


class _YesNo(argparse.BooleanOptionalAction):
    """`--x/--no-x`; the default stands in our own help text."""

    def format_usage(self) -> str:
        return "/".join(self.option_strings)


def _suggest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _annotation(field: FieldInfo) -> Any:
    """The field's type without `| None`."""
    kind = field.annotation
    if get_origin(kind) in (Union, types.UnionType):
        return next(part for part in get_args(kind) if part is not type(None))
    return kind


def _kind(field: FieldInfo) -> Any:
    kind = _annotation(field)
    return get_origin(kind) or kind


def _parse(field: FieldInfo, value: Any) -> Any:
    """The value of a flag's text, or of YAML's; text that does not fit stays text, for the model to refuse."""
    kind = _kind(field)
    if not isinstance(value, str):
        return value
    if kind is tuple:
        return () if value == EMPTY_LIST else tuple(part.strip() for part in value.split(",") if part.strip())
    if kind is dict:
        pairs = (part.partition("=") for part in value.split(",") if part.strip())
        return {name.strip(): number.strip() for name, _, number in pairs}
    if kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            return value
    return value


def _placeholder(name: str, field: FieldInfo) -> str:
    return name.upper() + "..." * (_kind(field) is tuple)


def _metavar(name: str, field: FieldInfo) -> str:
    kind = _kind(field)
    if kind is tuple:
        choices = _choices(get_args(_annotation(field))[0])
        return ",".join(choices) if choices else "A,B"
    choices = _choices(_annotation(field))
    return "{" + ",".join(choices) + "}" if choices else METAVARS.get(kind, name.rpartition("_")[2].upper())


def _choices(kind: Any) -> list[str]:
    return [str(choice) for choice in get_args(kind)] if get_origin(kind) is Literal else []


def _help(field: FieldInfo) -> str:
    default = "required" if field.is_required() else _default(field.get_default(call_default_factory=True))
    text = (field.description or "").rstrip(".")
    return f"{text} ({default})".replace("%", "%%") if default else text.replace("%", "%%")


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return f"default: {'yes' if value else 'no'}"
    if isinstance(value, tuple):
        value = ",".join(value)
    return "" if value in (None, "", {}) else f"default: {value}"

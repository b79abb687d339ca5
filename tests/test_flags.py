"""Flags generated from configuration models, and the YAML file that sets the same options."""

from typing import Literal, get_type_hints

import pytest
from pydantic import Field

from cluster.cli import COMMANDS
from cluster.flags import Flags
from csgen.config import StageConfig
from csgen.errors import InputError


class Soup(StageConfig):
    kettle: str = Field(description="where it is cooked")
    num_bowls: int = Field(4, ge=1, le=9, description="bowls to fill, 1 to 9")
    salt_ratio: float | None = Field(None, ge=0, le=1, description="share of salt, in [0, 1]")
    hot: bool = Field(True, description="100 % hot")
    spices: tuple[str, ...] = Field(("pepper", "thyme"), description="what goes in")
    weights: dict[str, float] = Field({}, description="how much of each")
    style: Literal["thick", "thin"] | None = Field(None, description="how it runs")


class Kitchen(StageConfig):
    sources: tuple[str, ...] = Field(min_length=1, description="what to cook")


def read(*arguments, models=(Soup,), positionals=("kettle",)):
    return Flags("soup", "cook a soup", models, positionals).read(arguments)


def test_what_is_not_given_is_not_passed_on():
    assert read("big") == {"kettle": "big"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--num-bowls", "3"], {"num_bowls": 3}),
        (["--num-bowls=3"], {"num_bowls": 3}),
        (["--salt-ratio", "0.5"], {"salt_ratio": 0.5}),
        (["--salt-ratio", "-1"], {"salt_ratio": -1.0}),
        (["--hot"], {"hot": True}),
        (["--no-hot"], {"hot": False}),
        (["--spices", "mace, dill"], {"spices": ("mace", "dill")}),
        (["--spices", "none"], {"spices": ()}),
        (["--weights", "a=2,b=1.5"], {"weights": {"a": "2", "b": "1.5"}}),
        (["--style", "thin"], {"style": "thin"}),
    ],
)
def test_texts_become_values_of_the_field(arguments, expected):
    assert read("k", *arguments) == {"kettle": "k"} | expected
    assert read(*arguments, "k") == {"kettle": "k"} | expected


def test_read_options_make_a_model():
    options = read("k", "--weights", "a=2,b=1.5", "--spices", "none", "--num-bowls", "3")
    assert Soup.from_options(options) == Soup(kettle="k", num_bowls=3, spices=(), weights={"a": 2.0, "b": 1.5})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num-bowls", "10"], "--num-bowls: input should be less than or equal to 9, got 10"),
        (["--num-bowls", "many"], "--num-bowls: input should be a valid integer"),
        (["--salt-ratio", "1.5"], "--salt-ratio: input should be less than or equal to 1, got 1.5"),
        (["--weights", "a=much"], "--weights, a: input should be a valid number"),
        (["--style", "lumpy"], "--style: input should be 'thick' or 'thin', got 'lumpy'"),
    ],
)
def test_values_are_refused_by_the_model_in_the_words_of_the_flag(arguments, message):
    with pytest.raises(InputError) as caught:
        Soup.from_options(read("k", *arguments))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["k", "--num-bowl", "3"], "unknown option --num-bowl; did you mean --num-bowls?; see soup --help"),
        (["k", "--num-bowl=3"], "unknown option --num-bowl=3; did you mean --num-bowls?; see soup --help"),
        (["k", "--zzz"], "unknown option --zzz; see soup --help"),
        (["k", "l"], "unexpected argument 'l'; see soup --help"),
        (["k", "--num-bowls"], "argument --num-bowls: expected one argument; see soup --help"),
        ([], "KETTLE is required: where it is cooked; see soup --help"),
    ],
)
def test_names_are_refused_by_the_flags(arguments, message):
    with pytest.raises(InputError) as caught:
        read(*arguments)
    assert str(caught.value) == message


def test_several_positional_arguments_stand_before_and_behind_flags():
    models = (Kitchen, Soup)
    options = read("a", "b", "--kettle", "k", "c", models=models, positionals=("sources",))
    assert options == {"sources": ["a", "b", "c"], "kettle": "k"}


def test_yaml_sets_the_same_options(tmp_path):
    path = tmp_path / "soup.yaml"
    path.write_text("kettle: big\nnum_bowls: 3\nspices: [mace]\nweights: {a: 2}\nhot: false\n")
    expected = {"kettle": "big", "num_bowls": 3, "spices": ["mace"], "weights": {"a": 2}, "hot": False}
    assert read("--config", str(path)) == expected


def test_yaml_takes_the_texts_that_flags_take(tmp_path):
    path = tmp_path / "soup.yaml"
    path.write_text("kettle: k\nspices: mace,dill\nweights: a=2\n")
    assert read("--config", str(path)) == {"kettle": "k", "spices": ("mace", "dill"), "weights": {"a": "2"}}


def test_a_flag_wins_over_yaml(tmp_path):
    path = tmp_path / "soup.yaml"
    path.write_text("kettle: small\nnum_bowls: 3\n")
    assert read("big", "--num-bowls", "5", "--config", str(path)) == {"kettle": "big", "num_bowls": 5}


def test_an_unknown_key_of_yaml_is_refused_with_the_nearest(tmp_path):
    path = tmp_path / "soup.yaml"
    path.write_text("num_bowl: 3\n")
    with pytest.raises(InputError) as caught:
        read("k", "--config", str(path))
    assert str(caught.value) == f"{path}: num_bowl: no such option; did you mean num_bowls?"


def test_help_tells_description_default_and_choices():
    text = " ".join(Flags("soup", "cook a soup", [Soup], ["kettle"]).format_help().split())
    assert "usage: soup KETTLE [options] Cook a soup." in text
    assert "KETTLE where it is cooked (required)" in text
    assert "--num-bowls N bowls to fill, 1 to 9 (default: 4)" in text
    assert "--hot, --no-hot 100 % hot (default: yes)" in text
    assert "--spices A,B what goes in (default: pepper,thyme)" in text
    assert "--style {thick,thin} how it runs" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_bound_of_a_number_stands_in_its_help(name):
    hints = get_type_hints(COMMANDS[name].load())
    models = [model for key, model in hints.items() if key != "return"]
    missing = [
        f"--{field_name}: {bound}"
        for model in models
        for field_name, field in model.model_fields.items()
        for rule in field.metadata
        for bound in [getattr(rule, side, None) for side in ("ge", "gt", "le", "lt")]
        if bound is not None and bound < 1 << 62 and str(bound) not in (field.description or "")
    ]
    assert missing == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_described(name):
    hints = get_type_hints(COMMANDS[name].load())
    assert all(f.description for k, model in hints.items() if k != "return" for f in model.model_fields.values())

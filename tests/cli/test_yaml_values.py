"""Values of YAML files and of `--set`: what they mean is up to the field."""

from dataclasses import dataclass, field

import pytest
import yaml

from fourdthinker.cli.trainer_settings import resolve_settings
from fourdthinker.cli.yaml_values import parse_document, parse_value
from fourdthinker.modeling.errors import InputError


@dataclass
class Settings:
    save_strategy: str = field(default="steps", metadata={"choices": ["no", "off", "steps"]})
    run_name: str | None = None
    bf16: bool | None = True
    use_cpu: bool = False
    max_steps: int = 5
    learning_rate: float = 0.1
    max_length: int | None = 1024
    names: list[str] | None = None
    weights: list[float] | None = None
    kwargs: dict | str | None = None


def from_file(text):
    return resolve_settings((Settings,), parse_document(text))


def from_set(text):
    name, _, value = text.partition("=")
    return resolve_settings((Settings,), {name: parse_value(value)})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("save_strategy", "no", "no"),
        ("save_strategy", "off", "off"),
        ("save_strategy", '"no"', "no"),
        *(("run_name", word, word) for word in ("yes", "On", "1.10", "007", "12:30", "1e5", "2026-13-45", "0x10")),
        ("run_name", "null", None),
        ("run_name", "true", "true"),
        ("run_name", "'null'", "null"),
        ("bf16", "no", False),
        ("bf16", "null", None),
        *(("use_cpu", word, True) for word in ("yes", "on", "true", "True", "ON")),
        *(("use_cpu", word, False) for word in ("no", "off", "false", "Off")),
        *(("learning_rate", number, 1e-5) for number in ("1e-5", "1.0e-5", "0.00001", "1E-5")),
        ("max_steps", "012", 12),
        ("max_length", "null", None),
        ("max_length", "~", None),
        ("max_steps", "null", 5),
        ("names", "[no, off, 1.10]", ["no", "off", "1.10"]),
        ("weights", "[1, 2e-1]", [1.0, 0.2]),
    ],
)
def test_a_value_means_what_its_field_takes(name, text, value):
    assert from_file(f"{name}: {text}")[name] == value
    assert from_set(f"{name}={text}")[name] == value


def test_nothing_after_the_colon_is_null():
    assert from_file("max_length:\nmax_steps:\n") == {**from_file("max_steps: 5"), "max_length": None}


def test_inside_a_mapping_yaml_says_what_a_value_is():
    text = '{"use_reentrant": no, "rate": 1e-6, "name": "no"}'
    for values in (from_file(f"kwargs: {text}"), from_set(f"kwargs={text}")):
        assert yaml.safe_load(values["kwargs"]) == {"use_reentrant": False, "rate": "1e-06", "name": "no"}
    assert parse_document("kwargs: {rate: 1e-6, again: [on, 1.10]}")["kwargs"] == {"rate": 1e-6, "again": [True, 1.1]}


@pytest.mark.parametrize("text", ["a: b", "#1", "- x", "*x", "%", "a, b", "@home", "!x", "| x"])
def test_set_takes_text_as_it_was_typed(text):
    assert from_set(f"run_name={text}")["run_name"] == text


def test_numbers_that_are_numbers_stay_numbers_in_what_is_recorded():
    text = "steps: 3\nshare: 0.5\nwhole: 1.0\nrate: 1.0e-3\nflag: true\non: no\nmany: .inf\n"
    values = {"steps": 3, "share": 0.5, "whole": 1.0, "rate": 0.001, "flag": True, "on": "no", "many": float("inf")}
    assert parse_document(text) == values


def test_merged_mappings_are_read():
    assert parse_document("base: &base {a: no}\n<<: *base\n")["a"] == "no"


@pytest.mark.parametrize("text", ["[unclosed", "{a: ", '"open', "[a] b"])
def test_what_looks_like_yaml_must_be_yaml(text):
    with pytest.raises(yaml.YAMLError):
        parse_value(text)


def test_a_value_that_a_field_does_not_take_is_named():
    with pytest.raises(InputError, match="--use_cpu.*maybe"):
        from_file("use_cpu: maybe")
    with pytest.raises(InputError, match="--max_steps.*invalid int value: '1:30'"):
        from_file("max_steps: 1:30")

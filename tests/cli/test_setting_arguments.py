"""Fields of the trainers as options of the commands, read from source text without importing a library."""

import argparse
import dataclasses
import re
import subprocess
import sys
from typing import get_type_hints

import pytest

from fourdthinker.cli.main import OneLineParser, main
from fourdthinker.cli.setting_arguments import add_setting_arguments
from fourdthinker.cli.setting_fields import UNKNOWN, read_fields, read_groups
from fourdthinker.cli.trainer_settings import check_settings, find_value_fault, resolve_settings
from fourdthinker.cli.training_run import add_run_arguments, read_run
from fourdthinker.modeling.errors import InputError
from fourdthinker.trainers import DIFTConfig, LatentGRPOConfig
from fourdthinker.trainers.common.model_settings import ModelSettings

CONFIGS = {"dift": DIFTConfig, "grpo": LatentGRPOConfig}
PLACES = ["--model", "m", "--dataset", "d", "--output", "o"]


def run_of(*argv: str, stage: str = "dift"):
    parser = OneLineParser(prog="fourdthinker", allow_abbrev=False)
    add_run_arguments(parser, stage)
    return read_run(parser.parse_args(list(argv)))


def dataclass_fields(stage: str) -> dict[str, tuple[dataclasses.Field, object]]:
    classes = (CONFIGS[stage], ModelSettings)
    return {
        field.name: (field, get_type_hints(one)[field.name])
        for one in classes
        for field in dataclasses.fields(one)
        if field.init
    }


@pytest.mark.parametrize("stage", CONFIGS)
def test_the_source_text_names_every_field_of_the_dataclasses(stage):
    assert read_fields(stage).keys() == dataclass_fields(stage).keys()


@pytest.mark.slow
@pytest.mark.parametrize("stage", CONFIGS)
def test_defaults_and_choices_are_those_of_the_dataclasses(stage):
    read = read_fields(stage)
    for name, (field, _) in dataclass_fields(stage).items():
        if read[name].default is not UNKNOWN:
            assert read[name].default == field.default, name
        declared = field.metadata.get("choices")
        if declared and read[name].choices:
            assert read[name].choices == tuple(map(str, declared)), name
    own = [name for name, field in read.items() if field.owner == CONFIGS[stage].__name__]
    assert own and not [name for name in own if dataclass_fields(stage)[name][0].metadata.get("choices") and not
                        read[name].choices]  # fmt: skip


@pytest.mark.parametrize("stage", CONFIGS)
def test_every_default_passes_the_check_of_its_field(stage):
    for name, (field, _) in dataclass_fields(stage).items():
        default = field.default_factory() if field.default is dataclasses.MISSING else field.default
        default = getattr(default, "value", default)
        if default != "":
            assert find_value_fault(read_fields(stage)[name], default) is None, name


@pytest.mark.parametrize("stage", CONFIGS)
def test_values_of_the_wrong_kind_are_rejected_by_the_check_and_by_the_dataclass_alike(stage):
    fields = read_fields(stage)
    wrong = {"int": "1.5", "float": "fast", "bool": "maybe"}
    for name, field in fields.items():
        value = "sometimes" if field.choices else wrong.get(field.kinds[0]) if len(field.kinds) == 1 else None
        if value is None or name == "output_dir":
            continue
        assert find_value_fault(field, value), name
    for name in ("max_steps", "learning_rate", "use_cpu", "lora_r", "dtype", "log_level"):
        value = "sometimes" if fields[name].choices else wrong.get(fields[name].kinds[0], "sometimes")
        with pytest.raises(InputError, match=name):
            resolve_settings((CONFIGS[stage], ModelSettings), {name: value})


def test_the_words_of_trl_make_a_run():
    run = run_of(
        *("--learning_rate", "1e-5", "--num_train_epochs", "2", "--model_name_or_path", "M"),
        *("--dataset_name", "D", "--output_dir", "O", "--use-peft", "--lora_target_modules", "q_proj", "v_proj"),
        *("--report_to", "wandb", "--save_strategy", "no", "--no_dataloader_pin_memory", "--bf16=false"),
    )
    assert (run.model, run.dataset, str(run.output)) == ("M", "D", "O")
    values = resolve_settings((DIFTConfig, ModelSettings), run.settings)
    assert values["learning_rate"] == 1e-5 and values["num_train_epochs"] == 2 and values["use_peft"] is True
    assert values["lora_target_modules"] == ["q_proj", "v_proj"] and values["report_to"] == "wandb"
    assert (values["save_strategy"], values["dataloader_pin_memory"], values["bf16"]) == ("no", False, False)


@pytest.mark.parametrize("stage", CONFIGS)
def test_every_field_is_an_option_and_its_default_comes_back(stage):
    known = dataclass_fields(stage)
    argv = list(PLACES)
    expected = {}
    for name, field in read_fields(stage).items():
        default = field.default
        if default in (UNKNOWN, None, "") or name in ("output_dir", "model_name_or_path"):
            continue
        text = str(default).lower() if isinstance(default, bool) else str(default)
        argv += [f"--{name}={text}"]
        expected[name] = default
    assert len(expected) > 90
    expected["include_num_input_tokens_seen"] = False  # transformers takes the word and the bool for the same
    values = resolve_settings((CONFIGS[stage], ModelSettings), run_of(*argv, stage=stage).settings)
    assert {name: (value, values[name]) for name, value in expected.items() if values[name] != value} == {}
    assert values.keys() == known.keys()


def test_the_file_holds_the_words_of_trl_and_the_command_line_wins(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("model_name_or_path: M\ndataset_name: D\noutput_dir: O\nlearning_rate: 1e-3\nseed: 3\n")
    run = run_of("--config", str(path), "--learning_rate", "1e-4", "--model", "other")
    assert (run.model, run.dataset, str(run.output)) == ("other", "D", "O")
    assert run.settings == {"learning_rate": "1e-4", "seed": 3}
    path.write_text("model: a\nmodel_name_or_path: b\n")
    with pytest.raises(InputError, match="model and model_name_or_path are two names of one setting"):
        run_of("--config", str(path))


def test_set_and_options_take_the_same_values_and_the_later_wins():
    argv = [*PLACES, "--seed", "1", "--set", "seed=2", "--set", "run_name=a=b", "--report_to", "wandb", "tensorboard"]
    run = run_of(*argv, "--max_length", "null", "--lora_target_modules", "[q_proj, v_proj]")
    assert run.settings == {"seed": 2, "run_name": "a=b", "report_to": ["wandb", "tensorboard"], "max_length": None,
                            "lora_target_modules": ["q_proj", "v_proj"]}  # fmt: skip
    assert resolve_settings((DIFTConfig,), {"report_to": ["wandb", "tensorboard"]})["report_to"] == [
        "wandb",
        "tensorboard",
    ]
    assert run_of(*PLACES).settings == {}, "what one command line says is not kept for the next"


@pytest.mark.parametrize("argv", [["--set", "seed"], ["--set", "names=[a"], ["--run_name", "[a"]])
def test_values_that_cannot_be_read_are_named(argv):
    with pytest.raises(InputError, match=argv[0]):
        run_of(*PLACES, *argv)


def test_an_unknown_option_names_the_closest_one(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["dift", *PLACES, "--lerning_rate", "1"])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "unrecognized argument --lerning_rate: did you mean --learning_rate?" in line


@pytest.mark.parametrize("option", ["--latent_size", "--latent-size"])
def test_the_number_of_latents_is_chosen_elsewhere(option, capsys):
    assert main(["dift", *PLACES, option, "8"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("'latent_size': choose it for the model, by `fourdthinker init --latent-size`")
    with pytest.raises(SystemExit):
        main(["init", "--tiny", "--latent_size", "8", "--output", "o"])
    assert "did you mean --latent-size?" in capsys.readouterr().err


def test_the_bottleneck_is_refused_for_attention_that_takes_no_mask():
    with pytest.raises(InputError, match="answer_sees: latents needs attn_implementation sdpa or eager, not flash"):
        check_settings("dift", {"answer_sees": "latents", "attn_implementation": "flash_attention_2"})


def test_a_learning_rate_of_the_tower_is_taken_without_an_optimizer():
    check_settings("dift", {"freeze_vision": False, "vision_learning_rate": 1e-5})


def help_text(option: str, command: str) -> str:
    """What a process prints that must not import torch."""
    code = f"""
import sys
from fourdthinker.cli.main import main
try:
    main(["{command}", "{option}"])
except SystemExit as stop:
    assert stop.code == 0
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.medium
@pytest.mark.parametrize("stage", CONFIGS)
def test_help_shows_our_fields_in_groups_and_help_all_every_field(stage):
    short, full = help_text("--help", stage), help_text("--help-all", stage)
    own = [name for names in read_groups(stage).values() for name in names]
    assert own and [name for name in own if not re.search(rf"--{name.replace('_', '[-_]')}\b", short)] == []
    assert "parameters that control latents:" in short and "fields of TRL's" not in short
    assert "--adam_beta1" not in short and "--lora_r" not in short
    missing = [name for name in read_fields(stage) if not re.search(rf"--{name.replace('_', '[-_]')}\b", full)]
    assert missing == []
    for heading in ("fields of the model, adapters", "fields of TRL's", "fields of transformers'"):
        assert heading in full


def test_an_option_of_the_command_itself_stands_for_the_field_of_its_name():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int)
    add_setting_arguments(parser, "dift")
    assert parser.parse_args(["--seed", "4"]).seed == 4

"""The YAML files that ship: each is read by the command that it is for, and says what its name promises."""

import argparse
import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser
from accelerate.utils import DistributedType
from trl import get_peft_config

from fourdthinker.cli.main import main
from fourdthinker.cli.packaged_recipes import find_recipe, recipe_names, recipe_stage
from fourdthinker.cli.training_run import add_run_arguments, build_config, read_run
from fourdthinker.hub_cards.settings import describe_settings
from fourdthinker.modeling import load_model
from fourdthinker.trainers import DIFTConfig, LatentGRPOConfig
from fourdthinker.trainers.common.model_settings import ModelSettings
from fourdthinker.trainers.dift.bottleneck import blinded_share

ROOT = Path(__file__).resolve().parents[1]
ACCELERATE = sorted((ROOT / "recipes" / "accelerate").glob("*.yaml"))
RUNS = sorted(path for path in (ROOT / "recipes").rglob("*.yaml") if path not in ACCELERATE)
# The published hyper-parameters of DIFT (arXiv 2605.05997 and its scripts); the batch is that of all GPUs.
PUBLISHED = {
    "ce_loss_weight": 0.1,
    "sim_loss_weight": 1.0,
    "num_train_epochs": 1,
    "learning_rate": 1e-5,
    "lr_scheduler_type": "linear",
    "warmup_steps": 10,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
    "activation_checkpointing": True,
    "save_steps": 1000,
    "save_total_limit": 1,
    "seed": 42,
    "self_feeding": "none",
}
# And those of 4DRL, without `top_p` and the length of completions, of which the recipes say why.
PUBLISHED_4DRL = {
    "num_generations": 8,
    "temperature": 1.0,
    "beta": 0.01,
    "epsilon": 0.2,
    "num_iterations": 1,
    "reward_weights": [1.0, 0.2],
    "num_train_epochs": 1,
    "lr_scheduler_type": "linear",
    "activation_checkpointing": True,
    "save_steps": 100,
    "seed": 42,
}


# And those of MLLM-4D's three stages (its launch scripts, and what the paper alone says); steps and batches see below.
PUBLISHED_MLLM4D = {
    "sft": {"learning_rate": 2e-5, "lr_scheduler_type": "cosine", "warmup_steps": 0.01, "num_train_epochs": 1},
    "cold_start": {"learning_rate": 2e-5, "lr_scheduler_type": "cosine", "warmup_steps": 0.03, "num_train_epochs": 1},
    "grpo": {
        "learning_rate": 1e-4,
        "beta": 0.001,
        "num_generations": 12,
        "temperature": 1.0,
        "max_completion_length": 4096,
        "max_steps": 15000,
        "reward_funcs": ["spatiotemporal_reward"],
        "center_scale": "metric",
    },
}
MLLM4D = ROOT / "recipes" / "mllm4d"
MLLM4D_GPUS = {"sft": 8, "cold_start": 4, "grpo": 6}


def name(path: Path) -> str:
    return path.relative_to(ROOT / "recipes").as_posix()


def parsed(path: Path) -> tuple:
    """What the command makes of a recipe. None asks for bf16 itself, so that a machine without GPU reads it too."""
    parser = argparse.ArgumentParser()
    stage = recipe_stage(path.relative_to(ROOT / "recipes").with_suffix("").as_posix())
    config_class = {"dift": DIFTConfig, "grpo": LatentGRPOConfig}[stage]
    add_run_arguments(parser, stage)
    run = read_run(parser.parse_args(["--config", str(path)]))
    with pytest.MonkeyPatch.context() as patch:
        if path == MLLM4D / "grpo.yaml":  # its groups are spread over its GPUs, so it is no recipe for one process
            patch.setattr(LatentGRPOConfig, "world_size", MLLM4D_GPUS["grpo"])
        return run, *build_config((config_class, ModelSettings), run)


@pytest.mark.parametrize("path", RUNS, ids=name)
def test_every_recipe_is_read(path):
    run, config, settings = parsed(path)
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert (run.model, run.dataset, str(run.output)) == (written["model"], written["dataset"], written["output"])
    assert not Path(run.model).is_absolute() and not run.output.is_absolute()
    if settings.use_peft:
        assert get_peft_config(settings).r == settings.lora_r
    assert config.bf16 is False or not config.use_cpu


@pytest.mark.parametrize(("recipe", "processes"), [("eight_gpus", 8), ("one_gpu", 1)])
def test_recipes_say_what_was_published(recipe, processes):
    _, config, settings = parsed(ROOT / "recipes" / "dift" / f"{recipe}.yaml")
    assert {field: getattr(config, field) for field in PUBLISHED} == PUBLISHED
    assert config.per_device_train_batch_size * config.gradient_accumulation_steps * processes == 8
    assert not settings.use_peft and not settings.load_in_4bit


def test_qlora_trains_an_adapter_on_four_bits():
    _, config, settings = parsed(ROOT / "recipes" / "dift" / "qlora.yaml")
    assert settings.use_peft and settings.load_in_4bit and settings.bnb_4bit_quant_type == "nf4"
    assert config.learning_rate > 1e-5, "an adapter starts at nothing"
    quantization = settings.load_arguments()["quantization_config"]
    assert quantization.load_in_4bit and "visual" in quantization.llm_int8_skip_modules, "its features are targets"


def test_the_second_stage_goes_on_from_the_first():
    first, *_ = parsed(ROOT / "recipes" / "dift" / "eight_gpus.yaml")
    second, config, _ = parsed(ROOT / "recipes" / "dift" / "self_fed.yaml")
    assert second.model == str(first.output) != str(second.output)
    assert config.self_feeding == "sequential" and config.eval_generations
    third, config, settings = parsed(ROOT / "recipes" / "dift" / "bottleneck.yaml")
    assert third.model == str(second.output) != str(third.output)
    assert config.answer_sees == "latents" and settings.attn_implementation == "sdpa"
    assert config.self_feeding == "exact" and config.teacher_forcing == 1.0
    assert blinded_share(config, 0, config.max_steps) == 0 and blinded_share(config, 500, config.max_steps) == 1


@pytest.mark.parametrize(("recipe", "arm"), [("bottleneck", "bottleneck_8"), ("text_only", "text")])
def test_the_demo_of_the_future_trains_an_arm_of_the_study(recipe, arm, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "latents"))
    plan = import_module("plan").read_plan(ROOT / "benchmarks" / "latents" / "study.yaml")
    arm = plan.arms[arm]
    expected = import_module("cells").make_config(plan, arm, 0, round(arm.steps * plan.steps), tmp_path, tmp_path)
    _, config, _ = parsed(ROOT / "recipes" / "demo" / "future" / f"{recipe}.yaml")
    mine, theirs = describe_settings(config), describe_settings(expected)
    assert mine == theirs and mine["max_steps"] == 900


@pytest.mark.parametrize(("recipe", "processes", "prompts"), [("eight_gpus", 8, 128), ("one_gpu", 1, 16)])
def test_recipes_of_4drl_say_what_was_published(recipe, processes, prompts):
    _, config, settings = parsed(ROOT / "recipes" / "grpo" / f"{recipe}.yaml")
    assert {field: getattr(config, field) for field in PUBLISHED_4DRL} == PUBLISHED_4DRL
    assert config.learning_rate == (1e-5 if settings.use_peft else 1e-6)
    assert settings.use_peft == (recipe == "one_gpu")
    at_once = config.per_device_train_batch_size
    assert at_once * config.gradient_accumulation_steps * processes == prompts * config.num_generations
    assert at_once * config.steps_per_generation == 64, "in a rollout, as published"


def test_4drl_goes_on_from_dift():
    for recipe in ("eight_gpus", "one_gpu"):
        first, *_ = parsed(ROOT / "recipes" / "dift" / f"{recipe}.yaml")
        second, *_ = parsed(ROOT / "recipes" / "grpo" / f"{recipe}.yaml")
        assert second.model == str(first.output) != str(second.output)


@pytest.mark.parametrize("stage", PUBLISHED_MLLM4D)
def test_recipes_of_mllm4d_say_what_was_published(stage):
    run, config, settings = parsed(MLLM4D / f"{stage}.yaml")
    assert {field: getattr(config, field) for field in PUBLISHED_MLLM4D[stage]} == PUBLISHED_MLLM4D[stage]
    assert run.dataset_config == f"mllm4d_{stage}" and settings.use_peft and config.activation_checkpointing
    at_once = config.per_device_train_batch_size * MLLM4D_GPUS[stage] * config.gradient_accumulation_steps
    if stage == "grpo":
        assert at_once == config.generation_batch_size == 24 and not config.latents
        return
    assert at_once == {"sft": 64, "cold_start": 32}[stage] and config.drop_imagery and config.pack_rows
    assert (settings.lora_r, settings.lora_alpha) == (128, 256)
    assert settings.lora_target_modules == ["q_proj", "k_proj", "v_proj", "o_proj"]


@pytest.mark.parametrize("folder", [MLLM4D, MLLM4D / "demo"], ids=["published", "demo"])
def test_stages_of_mllm4d_go_on_from_each_other(folder):
    runs = [parsed(folder / f"{stage}.yaml")[0] for stage in PUBLISHED_MLLM4D]
    assert [run.model for run in runs[1:]] == [str(run.output) for run in runs[:-1]]
    assert len({run.output for run in runs}) == 3


@pytest.mark.parametrize("path", ACCELERATE, ids=name)
def test_accelerate_knows_every_word_of_its_files(path):
    config = load_config_from_file(str(path))  # refuses unknown names itself, but none inside these two
    known = {action.dest for action in launch_command_parser()._actions}
    assert {*config.fsdp_config, *config.deepspeed_config} <= known
    assert config.num_machines == 1


def accelerate_file(stem: str):
    return load_config_from_file(str(ROOT / "recipes" / "accelerate" / f"{stem}.yaml"))


@pytest.mark.parametrize("stage", [2, 3])
def test_zero_shards_what_its_stage_says(stage):
    config = accelerate_file(f"zero{stage}")
    assert config.distributed_type == DistributedType.DEEPSPEED and config.num_processes == 8
    assert config.deepspeed_config["zero_stage"] == stage
    assert stage == 2 or config.deepspeed_config["zero3_save_16bit_model"], "or what is saved holds no weights"


def test_fsdp2_shards_by_layer_and_saves_whole_weights():
    config = accelerate_file("fsdp2")
    assert config.distributed_type == DistributedType.FSDP and config.num_processes == 8
    assert config.fsdp_config["fsdp_version"] == 2
    assert config.fsdp_config["fsdp_state_dict_type"] == "FULL_STATE_DICT"
    assert config.fsdp_config["fsdp_auto_wrap_policy"] == "TRANSFORMER_BASED_WRAP"
    assert not config.fsdp_config["fsdp_cpu_ram_efficient_loading"], "each process precomputes targets"


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_models_name_the_layers_to_shard_by(tiny_folders, family):
    """The file names none, so that it holds for both families."""
    model = load_model(tiny_folders(family))[0]
    layers = (model.model.language_model.layers[0], model.model.visual.blocks[0])
    assert set(model._no_split_modules) == {type(layer).__name__ for layer in layers}


def test_two_cpu_processes_are_two():
    config = accelerate_file("two_cpu_processes")
    assert config.num_processes == 2 and config.mixed_precision == "no"
    # MULTI_CPU would start one, unless there is MPI.
    assert config.distributed_type == DistributedType.MULTI_GPU


def test_recipes_are_found_by_name_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [find_recipe(recipe) for recipe in recipe_names()] == sorted(RUNS)
    parser = argparse.ArgumentParser()
    add_run_arguments(parser, "dift")
    named = ["--recipe", "mllm4d/demo/sft", "--model", "m", "--dataset", "d", "--set", "max_steps=2"]
    run = read_run(parser.parse_args(named))
    written = yaml.safe_load((MLLM4D / "demo" / "sft.yaml").read_text(encoding="utf-8"))
    assert (run.model, run.dataset, str(run.output)) == ("m", "d", written["output"])
    assert run.settings["max_steps"] == 2 and run.settings["learning_rate"] == written["learning_rate"]


@pytest.mark.parametrize("recipe", ["demo/difft", "accelerate/fsdp2", "../setup", "demo/dift.yaml"])
def test_an_unknown_recipe_lists_those_there_are(recipe, capsys):
    assert main(["dift", "--recipe", recipe]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"no recipe {recipe!r}" in line and all(known in line for known in recipe_names())
    assert "accelerate/" not in line.replace(recipe, "")
    assert recipe != "demo/difft" or "did you mean 'demo/dift'?" in line


@pytest.mark.parametrize(
    ("command", "recipe"), [("dift", "demo/grpo"), ("dift", "grpo/one_gpu"), ("grpo", "mllm4d/demo/sft")]
)
def test_a_recipe_of_the_other_command_is_named_as_such(command, recipe, capsys):
    other = {"dift": "grpo", "grpo": "dift"}[command]
    assert main([command, "--recipe", recipe]) == 2
    assert capsys.readouterr().err == (
        f"fourdthinker: error: the recipe {recipe} belongs to `{other}`, not to `{command}`: "
        f"run `fourdthinker {other} --recipe {recipe}`\n"
    )
    # Named as a file, it is told by the first setting that only the other command has.
    assert main([command, "--config", str(find_recipe(recipe))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "unknown setting " in line and line.endswith(f": it belongs to `fourdthinker {other}`")


def test_recipes_dir_prints_where_accelerate_finds_its_files(capsys):
    assert main(["recipes-dir"]) == 0
    assert (Path(capsys.readouterr().out.strip()) / "accelerate" / "fsdp2.yaml").is_file()


def test_the_documents_name_recipes_that_are_there():
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    text = "\n".join(document.read_text(encoding="utf-8") for document in documents)
    named = set(re.findall(r"--recipe ([a-z0-9_/]+)", text))
    assert {"demo/dift", "dift/qlora"} <= named <= set(recipe_names())
    files = re.findall(r"accelerate/\w+\.yaml", text)
    assert files and [file for file in files if not (ROOT / "recipes" / file).is_file()] == []

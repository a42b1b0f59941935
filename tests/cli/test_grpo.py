"""`fourdthinker grpo`: from a recipe and rows to a folder that loads, and one line for what cannot be."""

import io
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet
import pytest
import torch
import yaml
from datasets import Dataset, Image, List
from PIL import Image as Picture

from fourdthinker.cli.main import main
from fourdthinker.dataset_builders import loading
from fourdthinker.dataset_builders.sources.video_reader import read_frames
from fourdthinker.modeling import load_model

SETTINGS = {
    "per_device_train_batch_size": 4,
    "num_generations": 2,
    "max_completion_length": 8,
    "max_steps": 2,
    "learning_rate": "1e-3",
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "save_strategy": "no",
}
# A random model earns no reward; the entropy bonus gives every step a gradient that depends on its rollouts.
MOVING = {"entropy_coef": 1.0, "learning_rate": 1e-2}
LORA = {"use_peft": True, "lora_r": 4, "lora_alpha": 8}


def png(shade):
    file = io.BytesIO()
    Picture.new("RGB", (56, 56), (shade, 0, 0)).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


@pytest.fixture
def dataset(tmp_path):
    rows = Dataset.from_list(
        [
            {
                "id": f"row-{number}",
                "question": f"Which way, {number}?",
                "options": ["left", "right", "up", "down"],
                "answer": "A",
                "frames": [png(number), png(number + 40)],
                "timestamps": [0.0, 0.5],
            }
            for number in range(4)
        ]
    ).cast_column("frames", List(Image()))
    folder = tmp_path / "data"
    (folder / "grpo").mkdir(parents=True)
    rows.to_parquet(folder / "grpo" / "train-00000.parquet")
    card = {"configs": [{"config_name": "grpo", "data_files": [{"split": "train", "path": "grpo/train-*.parquet"}]}]}
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(card)}---\n")
    return folder


@pytest.fixture
def recipe(tmp_path, tiny_model_folder, dataset):
    def write(**changes):
        places = {"model": str(tiny_model_folder), "dataset": str(dataset), "output": str(tmp_path / "out")}
        path = tmp_path / "grpo.yaml"
        path.write_text(yaml.safe_dump({**places, **SETTINGS, **changes}))
        return path

    return write


@pytest.mark.medium
def test_a_recipe_gives_a_folder_that_loads_and_tells_its_training(recipe, tmp_path, tiny_model_folder):
    assert main(["grpo", "--config", str(recipe()), "--set", "max_steps=1"]) == 0
    out = tmp_path / "out"
    model, processor = load_model(out)
    start, _ = load_model(tiny_model_folder)
    assert model.state_dict().keys() == start.state_dict().keys()
    assert processor.tokenizer.convert_tokens_to_ids("<|latent_pad|>") == model.config.latent_token_id
    log = json.loads((out / "training_log.json").read_text())
    assert [entry["step"] for entry in log["log_history"] if "reward" in entry] == [1]
    assert log["settings"]["learning_rate"] == "1e-3"
    assert not list(out.glob("*.bin")) and not (tmp_path / "out-checkpoints").exists()


@pytest.mark.parametrize("last", [1, 2, 3])
@pytest.mark.slow
def test_an_interrupted_run_goes_on_and_ends_like_an_undisturbed_one(recipe, tmp_path, last):
    """An epoch is two steps: the interruption falls within the first, between them, and within the second."""
    path = str(recipe(save_strategy="steps", save_steps=1, max_steps=4, **MOVING))
    assert main(["grpo", "--config", path]) == 0
    weights = {name: weight.clone() for name, weight in load_model(tmp_path / "out")[0].state_dict().items()}
    # What a kill during the next step leaves behind: the checkpoints until then and no output.
    (tmp_path / "out").rename(tmp_path / "undisturbed")
    for late in range(last + 1, 5):
        (tmp_path / "out-checkpoints" / f"checkpoint-{late}").rename(tmp_path / f"checkpoint-{late}")
    assert main(["grpo", "--config", path]) == 0
    resumed = load_model(tmp_path / "out")[0].state_dict()
    start = load_model(tmp_path / f"checkpoint-{last + 1}")[0].state_dict()
    assert last == 3 or max((weights[name] - start[name]).abs().max() for name in weights) > 1e-3
    assert max((weights[name] - resumed[name]).abs().max() for name in weights) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [LORA, {"gradient_accumulation_steps": 2, "num_iterations": 2, "save_steps": 2, "beta": 0.0}],
    ids=str,
)
def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(recipe, tmp_path, capsys, settings):
    saving = {"save_strategy": "steps", "save_steps": 1, "max_steps": 6, **MOVING, **settings}
    assert main(["grpo", "--config", str(recipe(**saving, output=str(tmp_path / "undisturbed")))]) == 0
    command = [sys.executable, "-m", "fourdthinker.cli", "grpo", "--config", str(recipe(**saving))]
    checkpoints, second = tmp_path / "out-checkpoints", 2 * saving["save_steps"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        # As soon as the second appears, most likely before it is whole.
        while process.poll() is None and not (checkpoints / f"checkpoint-{second}").exists():
            time.sleep(0.005)
        process.kill()
    assert process.returncode == -signal.SIGKILL and not (tmp_path / "out").exists()
    # And one that certainly is not whole, of which transformers would take the weights and lose the rest.
    torn = checkpoints / f"checkpoint-{second + saving['save_steps']}"
    shutil.copytree(checkpoints / f"checkpoint-{saving['save_steps']}", torn)
    for name in ("complete", "trainer_state.json", "optimizer.pt"):
        (torn / name).unlink()
    assert main(["grpo", "--config", str(recipe(**saving))]) == 0
    printed = capsys.readouterr().err
    assert f"{torn.name} is not complete" in printed and "resuming from" in printed
    start, undisturbed, resumed = (
        load_model(folder)[0].state_dict()
        for folder in (recipe_model(recipe()), tmp_path / "undisturbed", tmp_path / "out")
    )
    for name, weight in undisturbed.items():
        assert torch.equal(weight, resumed[name]), name
    assert max((undisturbed[name] - start[name]).abs().max() for name in start) > 1e-3
    losses = [
        [entry["loss"] for entry in json.loads((tmp_path / name / "training_log.json").read_text())["log_history"][:6]]
        for name in ("undisturbed", "out")
    ]
    assert losses[0] == losses[1]


def recipe_model(path):
    return yaml.safe_load(path.read_text())["model"]


def test_checkpoints_within_the_use_of_one_rollout_are_rejected(recipe, capsys):
    path = recipe(save_strategy="steps", save_steps=3, num_iterations=2)
    assert main(["grpo", "--config", str(path)]) == 2
    assert "save_steps is 3, but completions serve for 2 steps" in capsys.readouterr().err


@pytest.mark.slow
def test_a_recipe_with_lora_gives_an_adapter_that_opens_as_a_model(recipe, tmp_path, tiny_model_folder):
    assert main(["grpo", "--config", str(recipe(**LORA, **MOVING, max_steps=1))]) == 0
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()
    before, after = (load_model(folder)[0].state_dict() for folder in (tiny_model_folder, tmp_path / "out"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "model.language_model.layers.0.mlp.down_proj.weight" in changed
    assert not [name for name in changed if "visual" in name]
    config = load_model(tiny_model_folder)[0].config
    latent = {config.latent_start_token_id, config.latent_token_id, config.latent_end_token_id}
    table = "model.language_model.embed_tokens.weight"
    moved = set((before[table] != after[table]).any(1).nonzero()[:, 0].tolist())
    assert config.latent_start_token_id in moved and moved <= latent


@pytest.mark.slow
@pytest.mark.parametrize("completions", [2, 8])
def test_two_processes_roll_out_their_own_prompts_and_draw_their_own_tokens(recipe, tmp_path, launch, completions):
    """Two prompts for each process; and one prompt for both, which they must not answer alike."""
    path = recipe(num_generations=completions, max_steps=1, log_completions=True, latent_gradient=True, **MOVING)
    printed = launch("grpo", path)
    assert printed.count("trained model in") == printed.count("rollouts sample with") == 1
    table = tmp_path / "out-checkpoints" / "completions" / "completions_00001.parquet"
    rows = pyarrow.parquet.read_table(table).to_pydict()
    prompts = [json.dumps(prompt) for prompt in rows["prompt"]]
    assert len(prompts) == 8 and len(set(prompts)) == 8 // completions
    assert len({message["content"] for (message,) in rows["completion"]}) == 8
    log = json.loads((tmp_path / "out" / "training_log.json").read_text())["log_history"]
    assert log[0]["rollout_seconds"] > 0 and load_model(tmp_path / "out")


@pytest.mark.slow
def test_sharded_weights_train_like_whole_ones(recipe, tmp_path, launch):
    """FSDP2: processes whose completions differ in length run every module equally often, the tower among them."""
    model, processor = load_model(recipe_model(recipe()))
    model.generation_config.eos_token_id = list(range(0, 256, 2))  # every fourth token ends a turn
    model.save_pretrained(tmp_path / "brief")
    processor.save_pretrained(tmp_path / "brief")
    # A large epsilon, so that Adam does not divide by next to nothing, which would magnify rounding.
    settings = {**MOVING, "adam_epsilon": 0.01, "model": str(tmp_path / "brief"), "max_completion_length": 24}
    launch("grpo", recipe(**settings, output=str(tmp_path / "whole")))
    launch("grpo", recipe(**settings), sharded=True)
    log = json.loads((tmp_path / "out" / "training_log.json").read_text())["log_history"]
    assert log[0]["completions/min_length"] < log[0]["completions/max_length"]
    whole, sharded = (load_model(tmp_path / name)[0].state_dict() for name in ("whole", "out"))
    start = model.state_dict()
    assert max((whole[name] - start[name]).abs().max() for name in start) > 1e-3
    for name, weight in sharded.items():
        torch.testing.assert_close(weight, whole[name], atol=1e-5, rtol=0, msg=name)


@pytest.mark.slow
def test_a_prompt_whose_video_is_gone_stops_or_is_skipped(recipe, tmp_path, capsys):
    lines = []
    for number in range(4):
        names = [f"frame-{number}-{index}.png" for index in range(2)]
        for name in names:
            (tmp_path / name).write_bytes(png(number)["bytes"])
        answers = {**dict(zip("ABCD", ["left", "right", "up", "down"], strict=True)), "Correct": "A"}
        lines.append({"Type": "abs_dir", "Question": f"Which way, {number}?", **answers, "frame_paths": names})
    path = tmp_path / "published.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "frame-2-1.png").unlink()
    run = ["grpo", "--config", str(recipe(dataset=str(path), max_steps=1))]
    assert main(run) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "1 of 4 rows cannot be trained on; the first is" in error and "frames 2 is not there" in error
    assert not (tmp_path / "out").exists()
    assert main([*run, "--on-bad-row", "skip"]) == 0
    assert load_model(tmp_path / "out")


@pytest.mark.slow
def test_checkpoints_of_another_recipe_are_not_mixed_in(recipe, capsys):
    assert main(["grpo", "--config", str(recipe(save_strategy="steps", save_steps=1, max_steps=1))]) == 0
    other = recipe(save_strategy="steps", save_steps=1, max_steps=1, beta=0.5)
    assert main(["grpo", "--config", str(other)]) == 2
    assert "holds checkpoints of another run" in capsys.readouterr().err


@pytest.fixture
def published(tmp_path, make_video):
    """A published file: two rows with a video, one with frames, and one whose video is gone."""
    columns = {"Type": "abs_dir", "Question": "Which way?", "A": "l", "B": "r", "C": "u", "D": "d", "Correct": "A"}
    make_video(tmp_path / "first.mp4", 2)
    make_video(tmp_path / "second.mp4", 3, shade=100)
    for number in range(2):
        Picture.new("RGB", (56, 56), (100 * number, 0, 0)).save(tmp_path / f"{number}.png")
    media = [
        {"video_path": "first.mp4"},
        {"video_path": "second.mp4"},
        {"frame_paths": ["0.png", "1.png"]},
        {"video_path": "gone.mp4"},
    ]
    lines = [{"id": f"row-{number}", **columns, **medium} for number, medium in enumerate(media)]
    path = tmp_path / "published.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.mark.slow
def test_published_files_with_videos_train_as_they_are(recipe, published, tmp_path, capsys, monkeypatch):
    decoded = []
    monkeypatch.setattr(
        loading, "read_frames", lambda file, **how: decoded.append(Path(file).name) or read_frames(file, **how)
    )
    path = str(recipe(dataset=str(published), num_train_epochs=1, max_steps=-1, per_device_train_batch_size=6))
    assert main(["grpo", "--config", path]) == 2
    printed = capsys.readouterr().err
    assert "1 of 4 rows cannot be trained on; the first is row-3: its video is not there" in printed
    assert not (tmp_path / "out").exists()
    assert main(["grpo", "--config", path, "--on-bad-row", "skip"]) == 0
    log = json.loads((tmp_path / "out" / "training_log.json").read_text())["log_history"]
    assert [entry["step"] for entry in log if "reward" in entry] == [1]  # three prompts, two completions each
    assert sorted(decoded) == ["first.mp4", "second.mp4"]


@pytest.fixture
def two_videos(recipe, published):
    """The published rows without the one whose video is gone, and a recipe for one epoch of them."""
    published.write_text("\n".join(published.read_text().splitlines()[:3]))
    return str(recipe(dataset=str(published), num_train_epochs=1, max_steps=-1, per_device_train_batch_size=4))


@pytest.mark.slow
def test_a_damaged_video_stops_the_run_or_is_skipped(two_videos, tmp_path, capsys):
    video = tmp_path / "second.mp4"
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    assert main(["grpo", "--config", two_videos]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "1 of 3 rows cannot be trained on; the first is row-1: its video is damaged: " in error
    assert "second.mp4" in error and "--on-bad-row skip" in error
    assert not (tmp_path / "out").exists()
    assert main(["grpo", "--config", two_videos, "--on-bad-row", "skip"]) == 0
    assert load_model(tmp_path / "out")


@pytest.mark.slow
def test_a_video_damaged_further_in_stops_the_run_in_one_line(two_videos, tmp_path, capsys):
    video = tmp_path / "second.mp4"
    whole = video.read_bytes()
    index = whole.index(b"moov") - 4  # the pictures stand before it
    video.write_bytes(whole[: index - 60] + bytes(60) + whole[index:])
    for skip in ([], ["--on-bad-row", "skip"]):
        assert main(["grpo", "--config", two_videos, *skip, "--set", "per_device_train_batch_size=6"]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("fourdthinker: error: row row-1: ") and "second.mp4" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.medium
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lerning_rate": 1}, "did you mean 'learning_rate'"),
        ({"learning_rate": "fast"}, "invalid float value: 'fast'"),
        ({"output_dir": "x"}, "output and output_dir are two names of one setting"),
        ({"latent_mask": "none"}, "invalid choice: 'none'"),
        ({"num_generations": 3}, "num_generations is 3, which does not divide the 4 completions"),
        ({"use_vllm": True}, "set use_vllm"),
        (
            {"latent_gradient": True, "latents": False},
            "latent_gradient goes through latents, and latents false leaves",
        ),
        (
            {"reward_funcs": ["speed_reward"]},
            "reward_funcs has 'speed_reward': choose from accuracy_reward, format_reward",
        ),
        ({"reward_funcs": ["format_reward"] * 2}, "name at least one, and each once"),
        (
            {"reward_funcs": ["format_reward"], "reward_weights": [1, 2]},
            "reward_weights [1, 2] do not fit the rewards",
        ),
        ({"reward_weights": [1, 2, 3]}, "do not fit the rewards accuracy_reward, format_reward: give one weight"),
        ({"reward_funcs": ["spatiotemporal_reward"]}, "train_dataset has no column camera_centers, object_centers"),
        ({"center_scale": "inches"}, "invalid choice: 'inches'"),
        ({"dataset": "no/such/folder"}, "cannot read train rows for 'grpo' from no/such/folder"),
        (
            {"dataset": "x.jsonl", "dataset_config": "mllm4d_grpo"},
            "rows for 'mllm4d_grpo' from x.jsonl: there is no such",
        ),
        ({"dataset_config": "mllm4d_grpo"}, "cannot read train rows for 'mllm4d_grpo'"),
        ({"model": None}, "no model given"),
        ({"num_iterations": 0}, "num_iterations is 0: give 1 or more"),
        ({"max_completion_length": 0}, "max_completion_length is 0: give 1 or more"),
        ({"temperature": 0}, "temperature is 0.0: give a positive number"),
        ({"top_p": 5}, "top_p is 5.0: give a share above 0"),
    ],
)
def test_bad_recipes_end_in_one_line(recipe, tmp_path, capsys, changes, words):
    assert main(["grpo", "--config", str(recipe(**changes))]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("fourdthinker: error: ") and words in error
    assert not (tmp_path / "out").exists() and not (tmp_path / "out-checkpoints").exists()

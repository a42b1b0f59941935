"""`fourdthinker dift`: from a recipe and rows to a folder that loads, and one line for what cannot be."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image, ImageFile
from safetensors.torch import load_file

from fourdthinker.cli.main import main
from fourdthinker.dataset_builders.fourd_cot import write_dataset
from fourdthinker.modeling import load_model
from fourdthinker.modeling.errors import InputError

SETTINGS = {
    "per_device_train_batch_size": 2,
    "max_steps": 2,
    "learning_rate": "1e-3",
    "logging_steps": 1,
    "warmup_steps": 0,
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "save_strategy": "no",
}
SELF_FED = {"self_feeding": "parallel", "self_feed_passes": 3}
LORA = {"use_peft": True, "lora_r": 4, "lora_alpha": 8, "learning_rate": "1e-2"}


def make_row(number):
    draw = np.random.default_rng(number)
    images = [Image.fromarray(draw.integers(0, 255, (56, 56, 3), dtype=np.uint8)) for _ in range(3)]
    return {
        "id": f"row-{number}",
        "source": "test",
        "task": "camera_motion",
        "question": f"Which way, {number}?",
        "options": ["left", "right", "up", "down"],
        "answer": "B",
        "frames": images[:2],
        "timestamps": [0.0, 0.5],
        "facts": "{}",
        "response": "<think>I picture it <output_image>. It is right</think><answer>B. right</answer>",
        "imagery": images[2:],
        "imagery_timestamps": [0.5],
    }


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [make_row(number) for number in range(7)]
    write_dataset({"dift": {"train": rows[:4], "test": rows[4:]}}, folder)
    return folder


@pytest.fixture
def recipe(tmp_path, tiny_model_folder, dataset):
    def write(**changes):
        places = {"model": str(tiny_model_folder), "dataset": str(dataset), "output": str(tmp_path / "out")}
        path = tmp_path / "dift.yaml"
        path.write_text(yaml.safe_dump({**places, **SETTINGS, **changes}))
        return path

    return write


def assert_trained(out, start_folder):
    model, processor = load_model(out)
    start, _ = load_model(start_folder)
    before, after = start.state_dict(), model.state_dict()
    assert before.keys() == after.keys()
    assert not torch.equal(before["model.language_model.norm.weight"], after["model.language_model.norm.weight"])
    assert processor.tokenizer.convert_tokens_to_ids("<|latent_pad|>") == model.config.latent_token_id
    log = json.loads((out / "training_log.json").read_text())
    assert [entry["step"] for entry in log["log_history"] if "sim_loss" in entry] == [1, 2]
    assert log["settings"]["self_feed_passes"] == 3
    assert str(out.parent) not in json.dumps(log), "a folder that may be published names no place of this machine"
    assert json.loads((out / "training_args.json").read_text())["self_feed_passes"] == 3
    assert not list(out.glob("*.bin")) and not out.with_name("out-checkpoints").exists()


@pytest.mark.medium
def test_a_recipe_gives_a_folder_that_loads_and_tells_its_training(recipe, tmp_path, tiny_model_folder):
    path = recipe(**SELF_FED, self_feed_gradient=1, ce_loss_weight=1.0)
    assert main(["dift", "--config", str(path)]) == 0
    assert_trained(tmp_path / "out", tiny_model_folder)
    assert load_model(tmp_path / "out")[0].config.ce_loss_weight == 1.0


@pytest.mark.slow
def test_the_installed_command_does_the_same(recipe, tmp_path, tiny_model_folder):
    command = Path(sys.executable).with_name("fourdthinker")
    run = [str(command), "dift", "--config", str(recipe(**SELF_FED))]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == f"trained model in {tmp_path / 'out'}"
    assert_trained(tmp_path / "out", tiny_model_folder)


@pytest.mark.slow
def test_the_installed_command_ends_an_unknown_key_in_one_line(recipe, tmp_path):
    command = Path(sys.executable).with_name("fourdthinker")
    run = [str(command), "dift", "--config", str(recipe(self_feed=1))]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("fourdthinker: error: unknown setting 'self_feed': did you mean 'self_feed")


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{**SELF_FED, "latent_norm": "match", "teacher_forcing": 0.5}, {**LORA, "latent_norm": "match"}],
    ids=str,
)
def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(recipe, tmp_path, capsys, settings):
    saving = {"save_strategy": "steps", "save_steps": 1, "max_steps": 6, **settings}
    assert main(["dift", "--config", str(recipe(**saving, output=str(tmp_path / "undisturbed")))]) == 0
    command = [sys.executable, "-m", "fourdthinker.cli", "dift", "--config", str(recipe(**saving))]
    checkpoints = tmp_path / "out-checkpoints"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        # As soon as the third appears, most likely before it is whole.
        while process.poll() is None and not (checkpoints / "checkpoint-3").exists():
            time.sleep(0.005)
        process.kill()
    assert process.returncode == -signal.SIGKILL and not (tmp_path / "out").exists()
    # And one that certainly is not whole, of which transformers would take the weights and lose the rest.
    shutil.copytree(checkpoints / "checkpoint-2", checkpoints / "checkpoint-4")
    for name in ("complete", "trainer_state.json", "optimizer.pt"):
        (checkpoints / "checkpoint-4" / name).unlink()
    assert main(["dift", "--config", str(recipe(**saving))]) == 0
    printed = capsys.readouterr().err
    assert "checkpoint-4 is not complete" in printed and "resuming from" in printed
    undisturbed, resumed = (load_model(tmp_path / name)[0] for name in ("undisturbed", "out"))
    for name, weight in undisturbed.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name
    assert undisturbed.config.latent_target_norm == resumed.config.latent_target_norm
    losses = [
        [entry["loss"] for entry in json.loads((tmp_path / name / "training_log.json").read_text())["log_history"][:6]]
        for name in ("undisturbed", "out")
    ]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_old_checkpoints_go_when_the_new_one_is_whole(recipe, tmp_path, monkeypatch):
    saving = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 1, "max_steps": 3}
    checkpoints, stock = tmp_path / "out-checkpoints", shutil.rmtree

    def interrupted(path, *args, **kwargs):
        if Path(path).name == "checkpoint-1":
            raise KeyboardInterrupt
        stock(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", interrupted)
        assert main(["dift", "--config", str(recipe(**saving))]) == 130
    whole = {path.parent.name for path in checkpoints.glob("*/complete")}
    assert whole == {"checkpoint-2"} and (checkpoints / "checkpoint-1").is_dir()
    assert main(["dift", "--config", str(recipe(**saving))]) == 0
    assert [path.name for path in checkpoints.glob("checkpoint-*")] == ["checkpoint-3"]


@pytest.mark.slow
def test_the_best_checkpoint_is_kept_beside_the_newest(recipe, tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 1, "max_steps": 3}
    best = {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss", "greater_is_better": True}
    held_out = {"eval_strategy": "steps", "eval_steps": 1, "eval_generations": 0}
    assert main(["dift", "--config", str(recipe(**saving, **best, **held_out))]) == 0
    log = json.loads((tmp_path / "out" / "training_log.json").read_text())["log_history"]
    losses = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
    assert losses[0] == max(losses), "so the first is taken for the best"
    kept = {path.name for path in (tmp_path / "out-checkpoints").glob("checkpoint-*")}
    assert kept == {"checkpoint-1", "checkpoint-3"}


@pytest.mark.slow
def test_published_files_train_as_they_are(recipe, tmp_path, capsys):
    lines = []
    for number in range(3):
        row = make_row(number)
        for name in ("frames", "imagery"):
            row[name] = [image.save(tmp_path / f"{name}-{number}-{i}.png") for i, image in enumerate(row[name])]
        lines.append(
            {
                "id": row["id"],
                "text_input": row["question"],
                "text_output": row["response"],
                "image_input": [f"frames-{number}-{i}.png" for i in range(len(row["frames"]))],
                "image_output": [f"imagery-{number}-{i}.png" for i in range(len(row["imagery"]))],
            }
        )
    lines[1]["image_output"] = ["gone.png"]
    path = tmp_path / "published.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    assert main(["dift", "--config", str(recipe(dataset=str(path)))]) == 2
    printed = capsys.readouterr().err
    assert "1 of 3 rows cannot be trained on; the first is row-1: imagery 1 is not there" in printed
    assert main(["dift", "--config", str(recipe(dataset=str(path))), "--on-bad-row", "skip"]) == 0
    assert load_model(tmp_path / "out")


@pytest.mark.medium
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lerning_rate": 1}, "did you mean 'learning_rate'"),
        ({"learning_rate": "fast"}, "invalid float value: 'fast'"),
        ({"self_feed_passes": 0}, "self_feed_passes is 0"),
        ({"max_length": 64}, "leave max_length unset"),
        ({"dataset": "no/such/folder"}, "cannot read train rows for 'dift' from no/such/folder"),
        ({"model": "no/such/model"}, "no/such/model"),
        ({"output": None}, "no output given"),
        ({"learning_rate": "nan"}, "learning_rate is nan: give a number of 0 or more"),
        ({"seed": -1}, "seed is -1: give one between 0 and 4294967295"),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size is 0: give 1 or more"),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps is 0: give 1 or more"),
        ({"use_peft": True, "lora_r": 0}, "lora_r is 0: give 1 or more"),
        ({"report_to": "notebook"}, "report_to: unknown tracker 'notebook'"),
        ({"report_to": "dvclive"}, "report_to: dvclive needs dvclive, which is not installed"),
        ({"attn_implementation": "flash_attention_2"}, "flash_attention_2 needs flash-attn, which is not installed"),
        ({"attn_implementation": "foo"}, "attn_implementation is 'foo': choose one of eager, "),
        ({"attn_implementation": "paged|foo"}, "attn_implementation is 'paged|foo': choose one of eager, "),
    ],
)
def test_bad_recipes_end_in_one_line(recipe, tmp_path, capsys, changes, words):
    assert main(["dift", "--config", str(recipe(**changes))]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("fourdthinker: error: ") and words in error
    assert not (tmp_path / "out").exists() and not (tmp_path / "out-checkpoints").exists()


def test_an_output_that_no_training_wrote_is_kept(recipe, tmp_path, capsys):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "clip.mp4").write_bytes(b"mine")
    assert main(["dift", "--config", str(recipe())]) == 2
    assert f"{folder} exists already and holds no model" in capsys.readouterr().err.strip().splitlines()[-1]
    assert [path.name for path in folder.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.slow
def test_a_row_that_cannot_be_collated_is_named_and_leaves_nothing(recipe, tmp_path, capsys, workers, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)  # lmms-eval, where it is imported, sets it
    folder = tmp_path / "bad"
    folder.mkdir()
    png = io.BytesIO()
    make_row(1)["imagery"][0].save(png, "PNG")
    cut_off = {"bytes": png.getvalue()[: png.tell() // 2], "path": None}  # behind its header, so it shows when decoded
    rows = [make_row(0), {**make_row(1), "imagery": [cut_off]}]
    write_dataset({"dift": {"train": rows}}, folder)
    path = recipe(dataset=str(folder), dataloader_num_workers=workers, save_strategy="steps", save_steps=1)
    assert main(["dift", "--config", str(path)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("fourdthinker: error: row row-1: imagery 1 cannot be decoded ")
    assert not (tmp_path / "out").exists() and not (tmp_path / "out-checkpoints").exists()


@pytest.fixture
def adapter(recipe, tmp_path):
    assert main(["dift", "--config", str(recipe(**LORA, latent_norm="match"))]) == 0
    return tmp_path / "out"


@pytest.mark.slow
def test_a_recipe_with_lora_gives_an_adapter_that_opens_as_a_model(adapter, tiny_model_folder):
    saved = load_file(adapter / "adapter_model.safetensors")
    assert not (adapter / "model.safetensors").exists()
    assert saved and not [name for name in saved if "visual" in name]
    assert any("embed_tokens" in name for name in saved), "the latent tokens, which no backbone knows"
    model, processor = load_model(adapter)
    start, _ = load_model(tiny_model_folder)
    before, after = start.state_dict(), model.state_dict()
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "model.language_model.layers.0.self_attn.q_proj.weight" in changed
    assert not [name for name in changed if "visual" in name or "norm" in name]
    table = "model.language_model.embed_tokens.weight"
    rows = (before[table] != after[table]).any(1).nonzero()[:, 0].tolist()
    config = model.config
    assert rows == sorted([config.latent_token_id, config.latent_start_token_id, config.latent_end_token_id])
    assert not any(weight.requires_grad for weight in model.model.visual.parameters())
    assert all(weight.requires_grad for weight in model.model.language_model.parameters())
    assert config.latent_norm == "match" and config.latent_target_norm > 0, "the configuration travels with it"
    card = (adapter / "README.md").read_text()
    assert str(tiny_model_folder) in card
    assert f"{sum(weight.numel() for weight in saved.values()):,} of this adapter" in card
    assert f"{sum(weight.numel() for weight in start.parameters()):,} of its base model" in card
    modes = {path.stat().st_mode for path in adapter.iterdir() if path.suffix in (".safetensors", ".json")}
    assert len(modes) == 1 and not (adapter / "training_args.bin").exists()


@pytest.mark.medium
def test_an_adapter_of_a_quantized_base_opens_on_the_base_as_it_is(adapter):
    file = adapter / "config.json"
    quantized = {"load_in_4bit": True, "quant_method": "bitsandbytes"}
    file.write_text(json.dumps({**json.loads(file.read_text()), "quantization_config": quantized}))
    model, _ = load_model(adapter)
    assert not hasattr(model.config, "quantization_config")


@pytest.mark.medium
def test_an_adapter_whose_base_is_gone_says_so(adapter):
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "base_model_name_or_path": "/gone/model"}))
    with pytest.raises(InputError, match="is an adapter of /gone/model, which cannot be read here"):
        load_model(adapter)


@pytest.mark.slow
def test_an_adapter_on_top_of_an_adapter_opens_with_both(adapter, recipe, tmp_path, tiny_model_folder):
    """Stages that each train an adapter, one after the other."""
    still = {**LORA, "learning_rate": 0.0, "model": str(adapter), "output": str(tmp_path / "further")}
    path = recipe(**still)
    assert main(["dift", "--config", str(path)]) == 0
    below, both = (load_model(folder)[0].state_dict() for folder in (adapter, tmp_path / "further"))
    assert all(torch.equal(below[name], both[name]) for name in below), "the second stage learned nothing"
    start = load_model(tiny_model_folder)[0].state_dict()
    assert any(not torch.equal(start[name], both[name]) for name in start), "nor was the first lost"
    card = (tmp_path / "further" / "README.md").read_text()
    assert str(adapter) in card


@pytest.mark.slow
def test_flags_stand_for_settings(recipe, tmp_path):
    cache = tmp_path / "cache"
    path = recipe(feature_cache=str(cache))
    assert main(["dift", "--config", str(path), "--precompute-targets"]) == 0
    assert list(cache.rglob("*.safetensors"))
    assert main(["dift", "--config", str(path), "--drop-imagery", "--output", str(tmp_path / "text")]) == 0
    log = json.loads((tmp_path / "text" / "training_log.json").read_text())
    assert log["log_history"][0]["sim_loss"] == 0 and "cosine_1" not in log["log_history"][0]


@pytest.mark.slow
def test_held_out_rows_are_answered_as_training_goes_and_the_plot_shows_it(recipe, tmp_path):
    held_out = {"eval_strategy": "steps", "eval_steps": 1, "eval_generations": 2, "eval_max_new_tokens": 8}
    assert main(["dift", "--config", str(recipe(**held_out))]) == 0
    log = json.loads((tmp_path / "out" / "training_log.json").read_text())["log_history"]
    assert [entry["step"] for entry in log if "eval_accuracy" in entry] == [1, 2]
    assert [entry["step"] for entry in log if "eval_loss" in entry] == [1, 2]
    with Image.open(tmp_path / "out" / "training.png") as plot:
        assert plot.width > 800 and plot.convert("L").getextrema()[0] < 100


def test_no_held_out_rows_is_said_in_one_line(recipe, tmp_path, capsys):
    path = recipe(eval_strategy="steps", eval_steps=1)
    (tmp_path / "nothing").mkdir()
    assert main(["dift", "--config", str(path), "--eval-dataset", str(tmp_path / "nothing")]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "cannot read test rows for 'dift'" in error
    assert error.endswith("training goes on without them by --set eval_strategy=no")


@pytest.mark.slow
def test_trackers_get_what_is_logged(recipe, tmp_path):
    pytest.importorskip("wandb")
    offline = {**os.environ, "WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "WANDB_SILENT": "true"}
    command = [sys.executable, "-m", "fourdthinker.cli", "dift", "--config", str(recipe(report_to="wandb"))]
    done = subprocess.run(command, env=offline, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    (record,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    content = record.read_bytes()
    for name in (b"train/cosine_1", b"train/norm_ratio", b"train/sim_loss", b"train/tokens_per_second"):
        assert name in content


@pytest.mark.slow
def test_two_processes_give_one_folder_and_one_log(recipe, tmp_path, tiny_model_folder, launch):
    printed = launch("dift", recipe(**SELF_FED), by_accelerate=True)
    assert printed.count("trained model in") == 1
    assert_trained(tmp_path / "out", tiny_model_folder)


@pytest.mark.slow
def test_sharded_weights_train_resume_and_are_saved_whole(recipe, tmp_path, launch):
    """FSDP2 on rows of which one has no imagery, against one process with all the weights."""
    rows = [make_row(number) for number in range(4)]
    rows[0] = {**rows[0], "response": "<answer>B. right</answer>", "imagery": [], "imagery_timestamps": []}
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    write_dataset({"dift": {"train": rows}}, mixed)
    settings = {"dataset": str(mixed), "feature_cache": str(tmp_path / "cache"), "precompute_targets": True}
    # A large epsilon, so that Adam does not divide by next to nothing, which would magnify rounding.
    settings |= {"adam_epsilon": 0.01, "learning_rate": 0.01, "save_strategy": "steps", "save_steps": 1}
    alone = recipe(**settings, output=str(tmp_path / "alone"), per_device_train_batch_size=2)
    assert main(["dift", "--config", str(alone)]) == 0
    path = recipe(**settings, per_device_train_batch_size=1)
    launch("dift", path, sharded=True)
    # As if it had been killed while it saved the second step.
    first = load_model(tmp_path / "out")[0].state_dict()
    shutil.rmtree(tmp_path / "out")
    for name in ("complete", "trainer_state.json"):
        (tmp_path / "out-checkpoints" / "checkpoint-2" / name).unlink()
    printed = launch("dift", path, sharded=True)
    assert printed.count("resuming from") == printed.count("checkpoint-2 is not complete") == 1
    model, _ = load_model(tmp_path / "out")
    expected = load_model(tmp_path / "alone")[0].state_dict()
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weight, expected[name], atol=1e-5, rtol=0, msg=name)
        torch.testing.assert_close(weight, first[name], atol=1e-6, rtol=0, msg=name)
    names = {name: {path.name for path in (tmp_path / name).iterdir()} for name in ("alone", "out")}
    assert names["alone"] == names["out"], "the code of our class, not of the one that torch makes of it"
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["auto_map"]["AutoModel"].endswith(".FourDThinkerForConditionalGeneration")

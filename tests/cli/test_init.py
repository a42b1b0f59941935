"""`fourdthinker init`: a model from a checkpoint, from the package, or from nothing."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from fourdthinker.cli import init
from fourdthinker.cli.main import main, parse_command
from fourdthinker.modeling import load_model
from fourdthinker.modeling.configuration_latent import LATENT_FIELDS
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.tiny.qwen2_5_vl import build_processor, build_tokenizer, tiny_config
from fourdthinker.modeling.tokens import LATENT_TOKENS
from fourdthinker.trainers.pretraining.phases import retrain
from fourdthinker.trainers.pretraining.pretraining import PretrainingConfig

SHIPPED = Path(__file__).parents[2] / "modeling" / "tiny" / "backbone"
TRAINED = SHIPPED.with_name("trained")
NOT_STOCK = {*LATENT_FIELDS, "model_type", "auto_map", "architectures"}


@pytest.fixture
def stock(tmp_path):
    """A stock Qwen2.5-VL folder, its tokenizer already with the latent tokens."""
    folder = tmp_path / "stock"
    tokenizer = build_tokenizer(["The camera pans left.", "A red ball moves right."] * 3, 400)
    fields = tiny_config(tokenizer).to_dict()
    config = Qwen2_5_VLConfig(**{name: value for name, value in fields.items() if name not in NOT_STOCK})
    torch.manual_seed(0)
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    build_processor(tokenizer).save_pretrained(folder)
    return folder


def last_error(capsys) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_a_stock_checkpoint_becomes_a_model_of_ours(stock, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["init", "--backbone", str(stock), "--output", str(out), "--latent-size", "6"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"model in {out}"
    model, processor = load_model(out)
    assert model.config.latent_size == 6
    assert processor.tokenizer.convert_tokens_to_ids("<|latent_pad|>") == model.config.latent_token_id
    weights = {name.removeprefix("model."): weight for name, weight in load_file(stock / "model.safetensors").items()}
    ours = {name.removeprefix("model."): weight for name, weight in model.state_dict().items()}
    key = "visual.merger.mlp.0.weight"
    assert torch.equal(weights[key], ours[key])


def test_the_latent_size_is_four_by_default(stock, tmp_path):
    assert main(["init", "--backbone", str(stock), "--output", str(tmp_path / "out")]) == 0
    assert load_model(tmp_path / "out")[0].config.latent_size == 4


def test_the_tiny_backbone_takes_another_latent_size(tmp_path):
    assert main(["init", "--tiny", "--latent-size", "8", "--output", str(tmp_path / "out")]) == 0
    assert load_model(tmp_path / "out")[0].config.latent_size == 8


def test_an_output_that_exists_is_left_as_it_is(stock, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert main(["init", "--backbone", str(stock), "--output", str(out)]) == 2
    assert f"{out} exists already" in last_error(capsys)
    assert [path.name for path in out.iterdir()] == ["notes.txt"]
    file = out / "notes.txt"
    assert main(["init", "--backbone", str(stock), "--output", str(file)]) == 2
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--backbone", "no/such/model"], "no/such/model"),
        (["--backbone", "STOCK", "--retrain"], "--retrain goes with --tiny"),
        (["--backbone", "STOCK", "--latent-size", "0"], "--latent-size must be at least 1, got 0"),
        (["--tiny", "--retrain", "--steps", "0"], "--steps must be at least 1, got 0"),
        (["--tiny", "--retrain", "--seed", "-1"], "--seed must be between 0 and 2147483647, got -1"),
        (["--tiny", "--steps", "5"], "--steps goes with --retrain"),
        (["--tiny", "--clips", "5"], "--clips goes with --retrain"),
        (["--trained", "--latent-size", "2"], "--latent-size goes with --backbone or with --tiny alone"),
        (["--tiny", "--retrain", "--latent-size", "2"], "--latent-size goes with --backbone or with --tiny alone"),
    ],
)
def test_what_does_not_go_together_ends_in_one_line(stock, tmp_path, capsys, options, words):
    options = [str(stock) if option == "STOCK" else option for option in options]
    assert main(["init", *options, "--output", str(tmp_path / "out")]) == 2
    error = last_error(capsys)
    assert error.startswith("fourdthinker: error: ") and words in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stock"]


@pytest.mark.parametrize("options", [[], ["--tiny", "--backbone", "x"], ["--tiny", "--trained"]])
def test_the_origin_is_one_alone(tmp_path, capsys, options):
    with pytest.raises(SystemExit) as ended:
        main(["init", *options, "--output", str(tmp_path / "out")])
    assert ended.value.code == 2 and len(capsys.readouterr().err.strip().splitlines()) == 1


def assert_tiny(folder):
    """What every tiny backbone is: small, in bf16 safetensors, with a real tokenizer and our tokens last."""
    model, processor = load_model(folder)
    assert 2_000_000 <= model.num_parameters() <= 5_000_000
    (weights,) = folder.glob("*.safetensors")
    assert weights.stat().st_size <= 10_000_000
    assert {weight.dtype for weight in load_file(weights).values()} == {torch.bfloat16}
    tokenizer = processor.tokenizer
    assert tokenizer.convert_ids_to_tokens(list(range(len(tokenizer) - 3, len(tokenizer)))) == list(LATENT_TOKENS)
    sentence = "Which way does the blue ball move? Ünïcödé, 東京."
    assert tokenizer.decode(tokenizer(sentence)["input_ids"]) == sentence
    turn = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "Describe the video."}]}]
    text = processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    assert text.endswith("<|im_start|>assistant\n") and "<|video_pad|>" in text
    log = json.loads((folder / "training_log.json").read_text())
    assert "train_loss" in log["log_history"][-1]
    assert str(folder) in (folder / "README.md").read_text()
    return model, log


def test_the_tiny_backbone_is_copied_out_of_the_package(tmp_path):
    out = tmp_path / "out"
    assert main(["init", "--tiny", "--output", str(out)]) == 0
    _, log = assert_tiny(out)
    for name in ("model.safetensors", "tokenizer.json", "training_log.json"):
        assert (out / name).read_bytes() == (SHIPPED / name).read_bytes(), name
    card = (out / "README.md").read_text()
    printed = tmp_path / "printed.yaml"
    printed.write_text(re.search(r"```yaml\n(.*?)```", card, re.DOTALL)[1])
    again = parse_command("init", init, ["--config", str(printed), "--output", str(out)])
    assert again.tiny and again.retrain
    assert again.steps == log["config"]["steps"] and again.clips == log["config"]["clips"]
    losses = [entry["loss"] for entry in log["log_history"] if "loss" in entry]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.medium
def test_the_trained_model_answers_about_its_clip_with_imagery(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["init", "--trained", "--output", str(out)]) == 0
    assert_tiny(out)
    for name in ("model.safetensors", "tokenizer.json", "training_log.json", "eval_results.json", "example.mp4"):
        assert (out / name).read_bytes() == (TRAINED / name).read_bytes(), name
    accuracy = json.loads((out / "eval_results.json").read_text())["tasks"]["fourd_world"]["accuracy"]
    card = (out / "README.md").read_text()
    assert f"| {100 * accuracy:.1f} % (" in card and "](assets/imagery.jpg)" in card
    assert (out / "assets" / "imagery.jpg").read_bytes() == (TRAINED / "assets" / "imagery.jpg").read_bytes()
    capsys.readouterr()
    question = ["Which way does the camera move between 0.0 s and 3.5 s?", "--model", str(out), "--json"]
    options = ["--options", "Pedestal Up", "Truck Left", "Pedestal Down", "Truck Right"]
    assert main(["ask", str(out / "example.mp4"), *question, *options]) == 0
    response = json.loads(capsys.readouterr().out)
    assert response["answer"] == "Truck Right" and [block["latents"] for block in response["blocks"]] == [4, 4]


def test_the_shipped_models_differ_in_what_dift_trains():
    """The frozen vision tower, the tokenizer and the processor are the same: rows of one train the other."""
    before, after = (load_file(folder / "model.safetensors") for folder in (SHIPPED, TRAINED))
    assert before.keys() == after.keys()
    for name in before:
        assert torch.equal(before[name], after[name]) == ("visual" in name), name
    for name in ("tokenizer.json", "processor_config.json", "chat_template.jinja"):
        assert (SHIPPED / name).read_bytes() == (TRAINED / name).read_bytes(), name


@pytest.mark.slow
def test_the_tiny_backbone_can_be_trained_anew(tmp_path):
    pytest.importorskip("pybullet", reason="needs the extra `world`")
    out = tmp_path / "out"
    more = ["--clips", "64", "--output", str(out)]
    assert main(["init", "--tiny", "--retrain", "--steps", "2", "3", "--perception-steps", "2", *more]) == 0
    _, log = assert_tiny(out)
    assert log["config"]["steps"] == [2, 3] and log["config"]["clips"] == 64
    assert [(entry["leg"], entry["step"]) for entry in log["log_history"]] == [(1, 2), (2, 3)]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.slow
def test_an_interrupted_training_goes_on_with_the_leg_that_is_missing(tmp_path):
    pytest.importorskip("pybullet", reason="needs the extra `world`")
    config = PretrainingConfig(clips=64, perception_steps=2, steps=(2, 3))
    whole = (retrain(config, tmp_path) / "model.safetensors").read_bytes()
    first = tmp_path / "leg-1" / "model.safetensors"
    written = first.stat().st_mtime_ns
    shutil.rmtree(tmp_path / "leg-2")
    assert (retrain(config, tmp_path) / "model.safetensors").read_bytes() == whole != first.read_bytes()
    assert first.stat().st_mtime_ns == written
    assert retrain(PretrainingConfig(clips=64, perception_steps=2, steps=(2, 3), workers=1), tmp_path), (
        "workers change no weight"
    )
    with pytest.raises(InputError, match=r"other settings: steps was \[2, 3\] and is now \[2, 4\]; set that back"):
        retrain(PretrainingConfig(clips=64, perception_steps=2, steps=(2, 4)), tmp_path)

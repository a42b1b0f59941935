"""Trainers made in Python are protected as the commands are: killed and resumed, rows checked, a plot in the end."""

import subprocess
import sys
import time
from inspect import signature

import pytest
import torch
from datasets import Dataset
from PIL import Image
from trl import GRPOTrainer, SFTTrainer

from fourdthinker.modeling import load_model
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.response_template import RESPONSE_TEMPLATE
from fourdthinker.trainers import DIFTCollator, DIFTConfig, DIFTTrainer, LatentGRPOConfig, LatentGRPOTrainer
from fourdthinker.trainers.common.dataset_columns import adopt_trl_columns
from fourdthinker.trainers.common.row_validation import validate_rows

FIXED = {"use_cpu": True, "bf16": False, "report_to": "none", "disable_tqdm": True}
SCRIPT = """
import sys

from datasets import load_from_disk

from fourdthinker.trainers import DIFTConfig, DIFTTrainer

model, rows, out, total = sys.argv[1:]
settings = dict(per_device_train_batch_size=1, save_strategy="steps", save_steps=1, save_total_limit=2, warmup_steps=0)
settings |= dict(logging_steps=2)
args = DIFTConfig(out, max_steps=int(total), use_cpu=True, bf16=False, report_to="none", **settings)
trainer = DIFTTrainer(model, args=args, train_dataset=load_from_disk(rows))
trainer.train(resume_from_checkpoint=True)
print("began at", trainer.state.log_history[0]["step"] if trainer.state.log_history else 0)
trainer.save_model(out + "-model")
"""


@pytest.fixture(scope="module")
def family():
    """A run is protected alike for both."""
    return "qwen2_5_vl"


@pytest.fixture
def rows(dift_dataset, make_dift_row):
    return dift_dataset([make_dift_row(number, 1) for number in range(3)])


@pytest.fixture
def plain_rows():
    """Rows in TRL's columns."""
    shades = [Image.new("RGB", (56, 56), (80 * number, 0, 0)) for number in range(2)]
    turns = [[{"role": "user", "content": f"Which way, {number}?"}] for number in range(2)]
    return Dataset.from_list([{"prompt": turn, "images": shades} for turn in turns])


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_last_complete_checkpoint(tiny_model_folder, rows, tmp_path):
    rows.save_to_disk(tmp_path / "rows")

    def command(out, total):
        return [sys.executable, "-c", SCRIPT, *map(str, (tiny_model_folder, tmp_path / "rows", tmp_path / out, total))]

    process = subprocess.Popen(command("out", 8), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (tmp_path / "out/checkpoint-2/complete").exists():
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (tmp_path / "out-model").exists()
    torn = tmp_path / "out/checkpoint-99"
    torn.mkdir()
    again = subprocess.run(command("out", 8), capture_output=True, text=True, check=True)
    assert f"{torn} is not complete and is removed" in again.stderr and not torn.exists()
    subprocess.run(command("undisturbed", 8), capture_output=True, check=True)
    weights = [load_model(tmp_path / name)[0].state_dict() for name in ("out-model", "undisturbed-model")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    assert sorted(path.name for path in (tmp_path / "out").glob("checkpoint-*")) == ["checkpoint-7", "checkpoint-8"]
    assert (tmp_path / "out" / "training.png").stat().st_size > 1000


def test_a_checkpoint_that_was_cut_off_is_not_resumed_from(tiny_model_folder, rows, tmp_path):
    args = DIFTConfig(str(tmp_path), max_steps=1, save_strategy="no", **FIXED)
    trainer = DIFTTrainer(tiny_model_folder, args=args, train_dataset=rows)
    (tmp_path / "checkpoint-1").mkdir()
    with pytest.raises(InputError, match="checkpoint-1 has no file `complete`, so it was cut off"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    assert (tmp_path / "checkpoint-1").is_dir(), "only asking for the newest removes torn ones"


@pytest.mark.parametrize("stage", ["dift", "grpo"])
def test_rows_are_checked_before_a_model_is_loaded(dift_dataset, make_dift_row, tmp_path, stage):
    rows = dift_dataset([make_dift_row(0), make_dift_row(1, question="")])
    config, trainer = {"dift": (DIFTConfig, DIFTTrainer), "grpo": (LatentGRPOConfig, LatentGRPOTrainer)}[stage]
    args = config(str(tmp_path), **FIXED)
    with pytest.raises(InputError, match="1 of 2 rows cannot be trained on; the first is row-1: question is empty"):
        trainer("no such folder", args=args, train_dataset=rows)


def test_bad_rows_are_left_out_if_the_settings_say_so(tiny_model_folder, dift_dataset, make_dift_row, tmp_path):
    rows = dift_dataset([make_dift_row(0), make_dift_row(1, question="")])
    args = DIFTConfig(str(tmp_path), on_bad_row="skip", **FIXED)
    assert DIFTTrainer(tiny_model_folder, args=args, train_dataset=rows).train_dataset["id"] == ["row-0"]


def test_settings_and_processor_come_with_the_models_path(tiny_model_folder, rows, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    trainer = DIFTTrainer(str(tiny_model_folder), train_dataset=rows)
    assert trainer.args.output_dir == f"{tiny_model_folder.name}-DIFT"
    assert trainer.model.dtype == torch.float32 and trainer.processing_class.tokenizer is not None
    model, _ = load_model(tiny_model_folder)
    again = DIFTTrainer(model, args=DIFTConfig("out", **FIXED), train_dataset=rows)
    assert type(again.processing_class) is type(trainer.processing_class)


def test_arguments_may_be_given_in_trls_order(tiny_model_folder, rows, tmp_path):
    model, processor = load_model(tiny_model_folder)
    collator = DIFTCollator(processor, latent_size=4)
    trainer = DIFTTrainer(model, DIFTConfig(str(tmp_path), **FIXED), collator, rows, rows, processor)
    assert trainer.data_collator is collator and trainer.processing_class is processor
    assert len(trainer.train_dataset) == len(trainer.eval_dataset) == 3
    for ours, theirs, count in ((DIFTTrainer, SFTTrainer, 7), (LatentGRPOTrainer, GRPOTrainer, 7)):
        first, expected = (list(signature(one.__init__).parameters)[:count] for one in (ours, theirs))
        assert first == expected


@pytest.mark.parametrize("column", ["images", "frames"])
def test_images_may_be_file_names(tmp_path, column):
    names = [str(tmp_path / f"{number}.png") for number in range(2)]
    for name in names:
        Image.new("RGB", (56, 56), (80, 0, 0)).save(name)
    texts = {"prompt": "Which way?", "completion": "<answer>Left.</answer>"}
    if column == "frames":
        texts = {"id": "a", "question": "Which way?", "options": [], "timestamps": [0.0, 1.0], "imagery": names[:1]}
        texts["response"] = "<output_image><answer>Left.</answer>"
    rows = Dataset.from_list([{**texts, column: names}])
    adopted = validate_rows(adopt_trl_columns(rows, "dift"), "dift")
    assert [image.getpixel((0, 0)) for image in adopted[0]["frames"]] == [(80, 0, 0)] * 2
    gone = Dataset.from_list([{**texts, column: [*names[:1], str(tmp_path / "gone.png")]}])
    with pytest.raises(InputError, match="frames 2 is not there"):
        validate_rows(adopt_trl_columns(gone, "dift"), "dift")


@pytest.mark.medium
def test_rows_in_trls_columns_train_with_a_reward_that_reads_no_answer(tiny_model_folder, plain_rows, tmp_path):
    seen = []

    def short(completions, completion_ids, prompts, **columns):
        seen.extend(columns["question"])
        # The whole text, which TRL would split into reasoning and answer by the tokenizer's template.
        assert trainer.processing_class.tokenizer.response_template is None
        texts = trainer.processing_class.batch_decode(completion_ids, skip_special_tokens=True)
        assert [turns[0]["content"] for turns in completions] == texts
        return [-float(len(ids)) for ids in completion_ids]

    settings = {"num_generations": 2, "per_device_train_batch_size": 4, "max_completion_length": 4, "beta": 0.0}
    args = LatentGRPOConfig(str(tmp_path), max_steps=1, save_strategy="no", **settings, **FIXED)
    trainer = LatentGRPOTrainer(str(tiny_model_folder), short, args, plain_rows)
    assert trainer.train_dataset[1]["timestamps"] == [0.0, 1.0] and trainer.train_dataset[1]["options"] == []
    trainer.train()
    assert set(seen) == {"Which way, 0?", "Which way, 1?"}
    assert trainer.processing_class.tokenizer.response_template == RESPONSE_TEMPLATE
    with pytest.raises(InputError, match="train_dataset has no column answer"):
        LatentGRPOTrainer(str(tiny_model_folder), args=args, train_dataset=plain_rows)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["", "import fourdthinker.cli.main"])
def test_importing_the_trainers_registers_our_classes(tiny_model_folder, first):
    script = f"""
import sys

{first}
import fourdthinker.trainers
from transformers import AutoModelForImageTextToText

print(type(AutoModelForImageTextToText.from_pretrained(sys.argv[1])).__module__)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tiny_model_folder)], capture_output=True, text=True)
    assert done.stdout.startswith("fourdthinker.modeling."), done.stderr

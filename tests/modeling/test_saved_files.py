"""What a saved folder brings its readers: files that all may read, safe weights, and left padding."""

import json
import os
import shutil

import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from fourdthinker.modeling import load_model
from fourdthinker.modeling.errors import InputError


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def family(request):
    return request.param


def test_pickled_weights_are_rejected_in_one_line(tiny_model_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"pickled weights \(pytorch_model.bin\)"):
        load_model(folder)
    with pytest.raises(OSError, match="no file named model.safetensors"):
        AutoModelForImageTextToText.from_pretrained(folder)


@pytest.mark.medium
def test_a_pickled_adapter_ends_in_one_line(tiny_model, tiny_processor, tmp_path):
    adapter = get_peft_model(tiny_model, LoraConfig(r=2, target_modules=["q_proj"]))
    for part in (adapter, tiny_model.config, tiny_processor):
        part.save_pretrained(tmp_path)
    torch.save(load_file(tmp_path / "adapter_model.safetensors"), tmp_path / "adapter_model.bin")
    assert load_model(tmp_path), "a pickle beside safetensors is left alone"
    (tmp_path / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"pickled weights \(adapter_model.bin\)"):
        load_model(tmp_path)
    (tmp_path / "adapter_model.bin").unlink()
    with pytest.raises(InputError, match="no readable weights"):
        load_model(tmp_path)


def test_torn_weights_end_in_one_line(tiny_model_folder, tmp_path):
    shutil.copytree(tiny_model_folder, tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match="no readable weights"):
        load_model(tmp_path / "model")


def test_weights_are_as_readable_as_the_other_files(tiny_model, tiny_processor, tmp_path):
    before = os.umask(0o027)
    try:
        tiny_model.save_pretrained(tmp_path, max_shard_size="100KB")
        tiny_processor.save_pretrained(tmp_path)
    finally:
        os.umask(before)
    weights = list(tmp_path.glob("*.safetensors"))
    assert len(weights) > 1
    assert {path.stat().st_mode & 0o777 for path in [*weights, tmp_path / "config.json"]} == {0o640}


def test_stock_generation_on_a_batch_answers_as_alone(tiny_model_folder, family):
    """With the stock classes as saved: no argument says on which side to pad."""
    model = AutoModelForImageTextToText.from_pretrained(tiny_model_folder)
    processor = AutoProcessor.from_pretrained(tiny_model_folder)
    frames = [Image.new("RGB", (56, 56), (30 * number, 0, 0)) for number in range(4)]

    def answer(*questions):
        video = {"type": "video", "video": frames}
        turns = [[{"role": "user", "content": [video, {"type": "text", "text": text}]}] for text in questions]
        inputs = processor.apply_chat_template(
            turns, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True, padding=True
        )
        output = model.generate(**inputs, max_new_tokens=10, do_sample=False)
        return processor.batch_decode(output[:, inputs["input_ids"].shape[1] :])

    short, long = "Which way?", "Which way does the camera move between the first and the last of these frames?"
    assert answer(short, long) == answer(short) + answer(long)


@pytest.mark.medium
@pytest.mark.parametrize(
    "suggested", [{"temperature": 0.7}, {"num_return_sequences": 2}, {"top_k": 5, "num_beams": 0}]
)
def test_a_generation_config_that_transformers_rejects_keeps_its_tokens(tiny_model_folder, tmp_path, suggested):
    """It must not stop the saving of a model that was trained from it."""
    shutil.copytree(tiny_model_folder, tmp_path / "odd")
    file = tmp_path / "odd" / "generation_config.json"
    fields = {**json.loads(file.read_text()), "eos_token_id": [3, 5], "pad_token_id": 4}
    file.write_text(json.dumps({**fields, "num_return_sequences": 2}))
    load_model(tmp_path / "odd")[0].save_pretrained(tmp_path / "saved")
    again = json.loads((tmp_path / "saved" / "generation_config.json").read_text())
    assert again["eos_token_id"] == [3, 5] and again["pad_token_id"] == 4
    assert again.get("num_return_sequences") in (None, 1)


DEEP = "[" * 100_000 + "]" * 100_000


def broken_config(folder, name):
    (folder / "config.json").write_text("[1, 2]")


def other_shapes(folder, name):
    fields = json.loads((folder / "config.json").read_text())
    fields["text_config"]["intermediate_size"] += 8
    (folder / "config.json").write_text(json.dumps(fields))


def no_token_id(folder, name):
    fields = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps({**fields, name: "</s>"}))


def no_tokenizer(folder, name):
    (folder / "tokenizer.json").unlink()


def deep_config(folder, name):
    (folder / name).write_text(DEEP)


def config_of_odd_kinds(folder, name):
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**fields, name: 3}))


def odd_tokenizer(folder, content):
    (folder / "tokenizer_config.json").write_text(content)


def adapter_config(folder, content):
    (folder / "adapter_config.json").write_text(content)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("spoil", "argument", "words"),
    [
        (broken_config, None, "its config.json is no JSON object"),
        (other_shapes, None, "weights are mismatched, such as "),
        (no_token_id, "eos_token_id", "eos_token_id '</s>': write the id of a token"),
        (no_token_id, "pad_token_id", "pad_token_id '</s>': write the id of a token"),
        (no_tokenizer, None, r"tokenizer without <\|video_pad\|>"),
        (adapter_config, "{ half", "adapter_config.json names no base model"),
        (adapter_config, '{"peft_type": "LORA"}', "adapter_config.json names no base model"),
        (adapter_config, '{"base_model_name_or_path": null}', "adapter_config.json names no base model"),
        (adapter_config, DEEP, "adapter_config.json names no base model"),
        (deep_config, "config.json", "its config.json is nested too deeply"),
        (deep_config, "generation_config.json", "its generation_config.json is nested too deeply"),
        (config_of_odd_kinds, "text_config", "its config.json has a value of another kind"),
        (config_of_odd_kinds, "vision_config", "its config.json has a value of another kind"),
        (odd_tokenizer, DEEP, "no readable processor"),
        (odd_tokenizer, '{"tokenizer_class": 7}', "no readable processor"),
    ],
)
def test_a_spoiled_folder_ends_in_one_line(tiny_model_folder, tmp_path, spoil, argument, words):
    folder = tmp_path / "spoiled"
    shutil.copytree(tiny_model_folder, folder)
    spoil(folder, argument)
    with pytest.raises(InputError, match=words) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)

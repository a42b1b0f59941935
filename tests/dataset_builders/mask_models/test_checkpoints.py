"""Checkpoints of mask models that are missing, cut off or of another kind: one line, before any work."""

import json
import shutil

import pytest

from fourdthinker.dataset_builders.mask_models.checkpoints import KINDS, find_checkpoint
from fourdthinker.dataset_builders.mask_models.tiny import write_tiny_mask_model
from fourdthinker.modeling.errors import InputError


@pytest.fixture(scope="module")
def tracker(tmp_path_factory):
    return write_tiny_mask_model("sam3_tracker", tmp_path_factory.mktemp("mask") / "tiny")


def refuse(kind, name, *parts):
    with pytest.raises(InputError) as caught:
        find_checkpoint(kind, name)
    line = str(caught.value)
    assert "\n" not in line and all(part in line for part in parts), line


def test_a_folder_is_taken_and_another_one_differs(tracker, tmp_path):
    found = find_checkpoint("sam3_tracker", str(tracker))
    assert (found.name, found.weight_bytes) == ("tiny", (tracker / "model.safetensors").stat().st_size)
    copy = shutil.copytree(tracker, tmp_path / "copy")
    assert find_checkpoint("sam3_tracker", str(copy)).digest == found.digest, "a copy is the same model"
    other = write_tiny_mask_model("sam3_tracker", tmp_path / "other", seed=1)
    assert find_checkpoint("sam3_tracker", str(other)).digest != found.digest


@pytest.mark.parametrize("kind", KINDS)
def test_missing_weights_name_the_remedy(kind, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    hub = KINDS[kind].checkpoint
    refuse(kind, None, f"--objects {kind} needs the weights of {hub}", f"hf download {hub}", "--objects flow")


def test_broken_folders_are_named(tracker, tmp_path):
    folder = shutil.copytree(tracker, tmp_path / "broken")
    refuse("sam2", str(folder), "is a sam3_tracker_video model", "sam2_video")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    refuse("sam3_tracker", str(folder), "model.safetensors cannot be read", "download it again")
    (folder / "model.safetensors").unlink()
    refuse("sam3_tracker", str(folder), "lacks model.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    refuse("sam3_tracker", str(folder), "lacks model-00001-of-00002.safetensors")
    (folder / "config.json").write_text("{", encoding="utf-8")
    refuse("sam3_tracker", str(folder), "no readable config.json")


@pytest.mark.parametrize("name", ["./no/such/folder", "../../x", "/no/such", "nothing", "a/b/c"])
def test_paths_that_are_no_folder_are_not_looked_for_on_the_hub(name):
    refuse("sam2", name, "is no folder with a model")

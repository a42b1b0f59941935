"""Features of the frozen tower, computed once: the same training, fewer passes, and nothing stale."""

import os
import time
from pathlib import Path

import pytest
import torch
from accelerate import PartialState
from datasets import Dataset
from safetensors.torch import save_file

from fourdthinker.modeling import load_model
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.processing import conversation_text
from fourdthinker.trainers import DIFTConfig, DIFTTrainer
from fourdthinker.trainers.common.images import keep_images_encoded
from fourdthinker.trainers.common.video_inputs import EncodedVideo
from fourdthinker.trainers.dift.cached_videos import encode_cached, pack_videos
from fourdthinker.trainers.dift.dift_collator import DIFTCollator
from fourdthinker.trainers.dift.feature_cache import FeatureCache


@pytest.fixture
def make_trainer(make_dift_trainer, tmp_path):
    """A trainer and a list that grows with every pass of its tower."""

    def make(rows, **settings):
        towers = []
        trainer = make_dift_trainer(
            rows,
            prepare=lambda model: model.model.visual.register_forward_hook(lambda *_: towers.append(1)),
            feature_cache=str(tmp_path / "cache"),
            **settings,
        )
        return trainer, towers

    return make


@pytest.fixture
def rows(make_dift_row):
    return [make_dift_row(number, number % 3) for number in range(4)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kept", "passes", "settings"),
    [
        ({"precompute_targets": True}, 1, {"self_feeding": "parallel", "latent_norm": "match"}),
        ({"precompute_videos": True}, 1, {}),
        ({"precompute_targets": True, "precompute_videos": True}, 0, {"self_feeding": "parallel"}),
    ],
    ids=str,
)
def test_training_is_the_same_with_fewer_passes_of_the_tower(make_trainer, rows, kept, passes, settings):
    weights, logs = [], []
    for changes in ({}, kept):
        trainer, towers = make_trainer(rows, max_steps=3, learning_rate=1e-3, **settings, **changes)
        towers.clear()
        trainer.train()
        assert len(towers) == 3 * (passes if changes else 2)
        weights.append(trainer.model.state_dict())
        logs.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert logs[0] == pytest.approx(logs[1], abs=1e-5)
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, atol=1e-4, rtol=0, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"latent_pooling": "region"}, {"latent_pooling": "grid"}], ids=str)
def test_another_pooling_has_targets_of_its_own(make_trainer, rows, changes):
    losses = []
    for settings in ({}, changes, {**changes, "precompute_targets": True}, {"precompute_targets": True}):
        trainer, _ = make_trainer(rows, **settings)
        batch = trainer.data_collator(list(trainer.train_dataset))
        losses.append(trainer.compute_loss(trainer.model, batch).item())
    assert losses[0] == pytest.approx(losses[3], abs=1e-5) and losses[1] == pytest.approx(losses[2], abs=1e-5)


@pytest.mark.medium
def test_what_is_there_is_not_computed_again_and_what_changed_is(make_trainer, rows, make_dift_row):
    kept = {"precompute_targets": True, "precompute_videos": True}
    trainer, towers = make_trainer(rows, **kept)
    assert len(towers) == 2
    files = sorted(Path(trainer.args.feature_cache).rglob("*.safetensors"))
    before = {file: file.stat().st_mtime_ns for file in files}
    time.sleep(0.01)
    _, towers = make_trainer(rows, **kept)
    assert not towers
    # One that an interruption left out, and one that shows something else.
    files[0].unlink()
    other = [*rows[:3], {**rows[3], "frames": make_dift_row(9)["frames"][: len(rows[3]["frames"])]}]
    _, towers = make_trainer(other, **kept)
    assert towers
    after = {file: file.stat().st_mtime_ns for file in Path(trainer.args.feature_cache).rglob("*.safetensors")}
    assert {file: after[file] for file in files[1:]} == {file: before[file] for file in files[1:]}
    assert len(after) == len(before) + 1


def test_another_tower_has_features_of_its_own(tiny_model_folder, dift_dataset, rows, tmp_path):
    model, processor = load_model(tiny_model_folder)
    dataset, found = keep_images_encoded(dift_dataset(rows)), []
    for precision in (None, torch.bfloat16, None):
        kept = FeatureCache(model, processor, tmp_path, precision).add_videos(dataset)
        found.append(set(kept["video_features_file"]))
        if precision:
            with torch.no_grad():
                next(model.model.visual.parameters()).mul_(1.5)
    assert len(set.union(*found)) == 3 * len(rows)


@pytest.mark.medium
def test_whatever_features_follow_from_is_in_their_name(tiny_model_folder, dift_dataset, rows, tmp_path):
    """Another size of pictures, number of latents or mask: none may be answered with what was kept before."""
    model, processor = load_model(tiny_model_folder)
    dataset, found = keep_images_encoded(dift_dataset(rows)), []

    def keep(name, data=dataset):
        cache = FeatureCache(model, processor, tmp_path)
        kept = cache.add_videos(data) if name == "videos" else cache.add_targets(data)
        found.append(frozenset(kept["video_features_file" if name == "videos" else "latent_targets_file"]))

    keep("targets")
    keep("videos")
    processor.image_processor.size["longest_edge"] //= 2
    keep("targets")
    processor.video_processor.size["longest_edge"] //= 2
    keep("videos")
    model.config.latent_size = 2
    keep("targets")
    model.config.latent_pooling = "region"
    keep("targets")
    masked = [{**row, "imagery_masks": [mask.point(lambda _: 0) for mask in row["imagery_masks"]]} for row in rows]
    for row in masked:
        for mask in row["imagery_masks"]:
            mask.putpixel((0, 0), 255)
    keep("targets", keep_images_encoded(dift_dataset(masked)))
    assert len(set(found)) == len(found)


def test_processes_share_the_work_whatever_the_others_have_written(
    tiny_model_folder, dift_dataset, rows, tmp_path, monkeypatch
):
    model, processor = load_model(tiny_model_folder)
    dataset = keep_images_encoded(dift_dataset(rows))
    process_state = PartialState()._shared_state  # what accelerate knows of the processes there are
    monkeypatch.setitem(process_state, "num_processes", 2)
    for process in (0, 1):
        monkeypatch.setitem(process_state, "process_index", process)
        cache = FeatureCache(model, processor, tmp_path)
        if process == 0:
            with pytest.raises(InputError, match="folder that all machines share"):
                cache.add_videos(dataset)  # alone, as with folders that are not shared
            assert 0 < len(list(tmp_path.rglob("*.safetensors"))) < len(rows)
        else:
            assert all(map(os.path.exists, cache.add_videos(dataset)["video_features_file"]))


def test_rows_without_masks_are_named_before_the_first_step(make_trainer, rows):
    trainer, _ = make_trainer(rows)
    dataset = trainer.train_dataset.remove_columns("imagery_masks")
    trainer.model.config.latent_pooling = "region"
    cache = FeatureCache(trainer.model, trainer.processing_class, trainer.args.feature_cache)
    with pytest.raises(InputError, match="imagery_masks"):
        cache.add_targets(dataset)


@pytest.mark.parametrize("side", ["left", "right"])
def test_rows_with_kept_videos_are_encoded_as_with_their_frames(side, tiny_model_folder, dift_dataset, rows, tmp_path):
    model, processor = load_model(tiny_model_folder)
    dataset = keep_images_encoded(dift_dataset(rows))
    collator = DIFTCollator(processor, model.config.latent_size, padding_side=side, answers=True)
    expected = collator(list(dataset))
    kept = FeatureCache(model, processor, tmp_path).add_videos(dataset).remove_columns(["frames", "timestamps"])
    batch = collator(list(kept))
    assert set(batch) == set(expected) - {"pixel_values_videos"} | {"mm_encoder_outputs"}
    for name in set(batch) & set(expected):
        torch.testing.assert_close(batch[name], torch.as_tensor(expected[name]), atol=0, rtol=0, msg=name)
    assert len({int(row.sum()) for row in batch["attention_mask"]}) > 1  # rows of several lengths


def test_tokens_are_kept_where_the_marks_around_the_placeholder_are_replaced_too(tiny_model_folder, tmp_path):
    """As transformers 5.2 does for Qwen3-VL: a time before the first mark, and a pair of marks for each grid."""
    _, processor = load_model(tiny_model_folder)
    mark, end = "<|vision_start|>", "<|vision_end|>"
    grid = f"{mark}<|video_pad|><|video_pad|>{end}"
    first, second = (conversation_text(processor, question) for question in ("Which?", "Which way does it go then?"))

    def encode_old(text):
        tokens = processor.tokenizer(
            text.replace(f"{mark}<|video_pad|>{end}", f"<0.2 seconds>{grid}<1.2 seconds>{grid}"), return_tensors="pt"
        )
        return {**tokens, "mm_token_type_ids": 2 * (tokens["input_ids"] == processor.video_token_id)}

    video = EncodedVideo(torch.tensor([[2, 2, 4]]), None, torch.zeros(4, 8))
    (kept,) = pack_videos(processor, first, encode_old(first), [video])
    save_file(kept, tmp_path / "video.safetensors")
    batch, expected = encode_cached(processor, [second], [str(tmp_path / "video.safetensors")]), encode_old(second)
    for name in ("input_ids", "attention_mask", "mm_token_type_ids"):
        assert torch.equal(batch[name], expected[name])


@pytest.mark.medium
def test_videos_whose_features_are_kept_are_not_read_while_training(tiny_model_folder, make_video, tmp_path):
    """Rows that name a file would decode it at every step."""
    files = [Path(make_video(tmp_path / f"{number}.mp4", 2 + number)) for number in range(2)]
    rows = Dataset.from_dict(
        {
            "prompt": ["Which way?", "What moves?"],
            "videos": [str(file) for file in files],
            "completion": [f"<answer>{answer}</answer>" for answer in ("Left", "A cup")],
        }
    )
    model, processor = load_model(tiny_model_folder)
    config = DIFTConfig(
        str(tmp_path / "out"),
        use_cpu=True,
        bf16=False,
        max_steps=2,
        save_strategy="no",
        report_to="none",
        precompute_videos=True,
        feature_cache=str(tmp_path / "cache"),
    )
    trainer = DIFTTrainer(model, args=config, train_dataset=rows, processing_class=processor)
    for file in files:
        file.unlink()
    assert trainer.train().global_step == 2
    for file in (tmp_path / "cache").rglob("*.safetensors"):
        file.unlink()
    with pytest.raises(InputError, match="the precomputed features .* cannot be read"):
        trainer.data_collator(list(trainer.train_dataset))

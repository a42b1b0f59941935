"""A published row's video gives a rollout the same input that DIFT and evaluation make of these frames."""

import json
from types import SimpleNamespace

import pytest
import torch

from fourdthinker.dataset_builders.sources.published_jsonl import read_published
from fourdthinker.dataset_builders.sources.video_reader import read_frames
from fourdthinker.eval_tasks import predict as evaluation
from fourdthinker.modeling.processing import conversation_text, encode
from fourdthinker.trainers import DIFTCollator
from fourdthinker.trainers.grpo.rollout import encode_prompts, group_prompts

ROW = {"Type": "abs_dir", "Question": "Which way?", "A": "l", "B": "r", "C": "u", "D": "d", "Correct": "C"}


@pytest.fixture
def rows(tmp_path, make_video):
    """One clip, larger than a model takes: as a video, and as the frames that were taken out of it."""
    clip = read_frames(make_video(tmp_path / "clip.mp4", 4, size=(640, 480)), fps=1)
    names = [f"{number}.png" for number in range(len(clip.frames))]
    for name, frame in zip(names, clip.frames, strict=True):
        frame.save(tmp_path / name)
    lines = [{**ROW, "video_path": "clip.mp4"}, {**ROW, "frame_paths": names}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return read_published(tmp_path / "rows.jsonl", "grpo")


def assert_same(batch, other, names):
    for name in names:
        torch.testing.assert_close(torch.as_tensor(batch[name]), torch.as_tensor(other[name]), rtol=0, atol=0)


@pytest.mark.medium
def test_a_video_is_encoded_the_same_in_rollouts_in_dift_and_in_evaluation(
    rows, tiny_processor, monkeypatch, tmp_path
):
    prompts = encode_prompts(tiny_processor, [rows[0]])
    seconds = ["second_per_grid_ts"] if "second_per_grid_ts" in prompts else []
    seen = ["pixel_values_videos", "video_grid_thw", *seconds]
    assert prompts["video_grid_thw"][0, 0] == 2

    assert_same(encode_prompts(tiny_processor, [rows[1]]), prompts, [*seen, "input_ids"])
    clip = read_frames(tmp_path / "clip.mp4", fps=1)
    text = conversation_text(tiny_processor, ROW["Question"], [ROW[letter] for letter in "ABCD"])
    assert_same(encode(tiny_processor, [text], [clip]), prompts, [*seen, "input_ids"])

    taught = {**rows[0], "response": "<think>So.</think><answer>C</answer>", "imagery": []}
    batch = DIFTCollator(tiny_processor, latent_size=4)([taught])
    assert_same(batch, prompts, seen)
    length = prompts["input_ids"].shape[1] - 1  # DIFT learns the line break that opens the answer
    assert torch.equal(batch["input_ids"][0, :length], prompts["input_ids"][0, :length])

    encoded = []
    monkeypatch.setattr(
        evaluation, "decode_greedily", lambda model, inputs, *_, **__: encoded.append(inputs) or STOPPED
    )
    evaluation.predict(SilentModel(), tiny_processor, rows.select([0]), progress=False)
    assert_same(encoded[0], prompts, [*seen, "input_ids"])


STOPPED = SimpleNamespace(sequences=torch.zeros(1, 0, dtype=torch.long))


class SilentModel(torch.nn.Module):
    device = torch.device("cpu")


def test_completions_of_a_video_are_one_prompt(rows):
    prompts, numbers = group_prompts(rows.__getitems__([0, 0, 0]))
    assert len(prompts) == 1 and numbers == [0, 0, 0]

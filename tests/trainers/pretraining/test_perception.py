"""The read-out that teaches the tiny vision tower: its targets, its order of cells, and that it learns."""

import numpy as np
import pytest
import torch

pytest.importorskip("pybullet", reason="needs the extra `world`")

from fourdthinker.dataset_builders.sources.world_descriptions import CELLS
from fourdthinker.dataset_builders.world import World
from fourdthinker.dataset_builders.world.cells import CELL_NUMBERS, CONTENTS, cell_targets
from fourdthinker.modeling.tiny.qwen2_5_vl import build_processor, build_tokenizer, tiny_backbone_config
from fourdthinker.trainers.pretraining.perception import by_token, cell_losses, teach_tower


@pytest.fixture(scope="module")
def clips():
    with World() as world:
        return [world.clip(seed) for seed in range(12)]


def test_cells_hold_contents_depth_and_motion_of_their_pixels(clips):
    seen = 0
    for clip in clips:
        targets = cell_targets(clip, CELLS).astype(np.float64)
        assert targets.shape == (len(clip.rgb) // 2, CELLS, CELLS, CELL_NUMBERS)
        shares = targets[..., : len(CONTENTS)]
        np.testing.assert_allclose(shares.sum(-1), 1, atol=2e-3)
        side = clip.rgb.shape[1] // CELLS
        for index, name in enumerate(clip.names):
            mask = (clip.masks[2] == index).reshape(CELLS, side, CELLS, side).mean(axis=(1, 3))
            others = [other for other in clip.names if other.split()[0] == name.split()[0] and other != name]
            assert not others, "colours tell the objects of a clip apart"
            np.testing.assert_allclose(shares[1, ..., CONTENTS.index(name.split()[0])], mask, atol=1e-3)
            # An object that fills nearly all of a cell moves as its centre does, but for its turning in perspective.
            for row, column in zip(*np.nonzero(mask > 0.9), strict=True):
                ends = [
                    np.append(clip.centres[frame, index], 1) @ np.linalg.inv(clip.camera_to_world[frame]).T
                    for frame in (2, 3)
                ]
                pixels = [(end[:3] @ clip.intrinsics.T)[:2] / end[2] for end in ends]
                went = pixels[1] - pixels[0]
                assert np.linalg.norm(targets[1, row, column, -2:] - went) <= 1 + 0.35 * np.linalg.norm(went)
                seen += 1
    assert seen >= 5


def test_cells_are_grouped_as_the_tower_merges_its_patches():
    targets = np.zeros((1, 1, CELLS, CELLS, CELL_NUMBERS))
    targets[..., 0] = np.arange(CELLS * CELLS).reshape(CELLS, CELLS)
    assert by_token(targets)[..., 0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


def test_a_perfect_reading_costs_nothing():
    shares = torch.tensor([0.25, 0.75] + [1e-9] * (len(CONTENTS) - 2))
    targets = torch.cat([shares, torch.tensor([2.0, 1.5, -0.5])]).expand(3, 4, -1)
    read = torch.cat([shares.log(), torch.tensor([2.0 - 2.3, 1.5, -0.5])]).repeat(3, 4)
    assert [round(float(part), 5) for part in cell_losses(read, targets)] == [0.0, 0.0, 0.0]
    contents, depth, motion = cell_losses(read + 1, targets)
    assert round(float(contents), 5) == 0.0, "a softmax does not see what all have in common"
    assert (round(float(depth), 5), round(float(motion), 5)) == (1.0, 1.0)


@pytest.mark.slow
def test_a_tower_learns_what_its_cells_show(clips):
    torch.manual_seed(0)
    tokenizer = build_tokenizer(["The camera."], 400)
    from fourdthinker.modeling import FourDThinkerForConditionalGeneration

    tower = FourDThinkerForConditionalGeneration(tiny_backbone_config(tokenizer)).model.visual
    processor = build_processor(tokenizer).video_processor
    before = {name: weight.clone() for name, weight in tower.state_dict().items()}
    frames, targets = [clip.rgb for clip in clips], [cell_targets(clip, CELLS) for clip in clips]
    log = teach_tower(tower, processor, frames, targets, steps=400, batch_size=12)
    first, last = log
    for part in ("contents", "log_depth"):
        assert last[f"perception_{part}"] < 0.5 * first[f"perception_{part}"]
    assert last["perception_motion"] < first["perception_motion"]
    assert all((weight != before[name]).any() for name, weight in tower.state_dict().items())

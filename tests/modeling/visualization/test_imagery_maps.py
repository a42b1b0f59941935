"""Where in the video a latent points."""

import pytest
import torch

from fourdthinker.modeling.visualization.imagery_maps import imagery_maps


def test_a_latent_that_is_a_visual_token_points_at_it(prompts, tiny_model):
    inputs = prompts([0])
    grid = inputs["video_grid_thw"]
    with torch.no_grad():
        (features,) = tiny_model.get_video_features(
            inputs["pixel_values_videos"], grid, return_dict=True
        ).pooler_output
    time, rows, columns = grid[0, 0].item(), grid[0, 1].item() // 2, grid[0, 2].item() // 2
    chosen = [(0, 0, 1), (time - 1, rows - 1, 0)]
    numbers = [(t * rows + row) * columns + column for t, row, column in chosen]
    maps = imagery_maps(tiny_model, inputs, torch.stack([3 * features[numbers[0]], -features[numbers[1]]]))
    assert maps.shape == (2, time, rows, columns)
    assert maps[0][chosen[0]] == pytest.approx(1.0, abs=1e-6) and maps[0].argmax() == numbers[0]
    assert maps[1][chosen[1]] == pytest.approx(-1.0, abs=1e-6) and maps[1].argmin() == numbers[1]
    assert maps.abs().max() <= 1 + 1e-6

"""Targets of a latent block: the part of the imagery frame that each latent covers."""

import pytest
import torch

from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.latent_pooling import pool_features


def test_pooling_of_a_ramp_takes_contiguous_groups():
    ramp = torch.arange(252.0)[:, None].expand(-1, 8)
    assert pool_features([ramp], 4)[0, :, 0].tolist() == [31.0, 94.0, 157.0, 220.0]  # rows 0-62, 63-125, …


def test_pooling_drops_the_tail():
    ramp = torch.arange(252.0)[:, None].expand(-1, 8).clone()
    expected = [15.0 + 31 * k for k in range(8)]  # 8 groups of 31, the last 4 rows dropped
    assert pool_features([ramp], 8)[0, :, 0].tolist() == expected
    ramp[-4:] = 1e6
    assert pool_features([ramp], 8)[0, :, 0].tolist() == expected


def test_pooling_takes_images_of_different_sizes():
    small, large = torch.ones(4, 8), torch.full((30, 8), 2.0)
    pooled = pool_features((small, large), 4)
    assert pooled.shape == (2, 4, 8)
    assert pooled[0].eq(1).all()
    assert pooled[1].eq(2).all()


def test_image_smaller_than_its_latents_is_rejected():
    with pytest.raises(InputError, match="larger frame"):
        pool_features([torch.ones(3, 8)], 4)


@pytest.mark.parametrize("pooling", ["average", "grid"])
def test_every_latent_is_the_mean_of_its_part(pooling):
    rows, columns = 6, 8
    place = torch.stack(torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij"), -1).flatten(0, 1)
    (pooled,) = pool_features([place], 4, pooling, [(rows, columns)])
    expected = {
        # Bands of 12 tokens, a row and a half; quarters of the frame.
        "average": [place[12 * k : 12 * (k + 1)].mean(0).tolist() for k in range(4)],
        "grid": [[1.0, 1.5], [1.0, 5.5], [4.0, 1.5], [4.0, 5.5]],
    }
    assert pooled.tolist() == expected[pooling]


@pytest.mark.parametrize(("latents", "cells"), [(1, (1, 1)), (4, (2, 2)), (5, (1, 5)), (6, (2, 3)), (8, (2, 4))])
def test_cells_are_nearly_square(latents, cells):
    column = torch.arange(12.0).repeat(12)[:, None]
    row = torch.arange(12.0).repeat_interleave(12)[:, None]
    (pooled,) = pool_features([torch.cat([row, column], 1)], latents, "grid", [(12, 12)])
    assert (len(pooled[:, 0].unique()), len(pooled[:, 1].unique())) == cells


def test_cells_cover_a_frame_that_they_do_not_divide():
    image = torch.zeros(15, 1, requires_grad=True)
    pool_features([image], 4, "grid", [(3, 5)]).sum().backward()
    assert (image.grad > 0).all()


def test_cells_take_images_of_different_sizes():
    images = (torch.ones(4, 8), torch.full((30, 8), 2.0))
    pooled = pool_features(images, 4, "grid", [(2, 2), (5, 6)])
    assert pooled.shape == (2, 4, 8)
    assert pooled[0].eq(1).all() and pooled[1].eq(2).all()


def test_the_model_pools_as_its_configuration_says(tiny_model, imagery):
    bands = tiny_model.imagery_targets(imagery["pixel_values_latent"], imagery["image_grid_thw_latent"])
    tiny_model.config.latent_pooling = "grid"
    cells = tiny_model.imagery_targets(imagery["pixel_values_latent"], imagery["image_grid_thw_latent"])
    assert bands.shape == cells.shape
    # Frames of 2 x 2 tokens have one token in each band and in each cell; the larger one has not.
    assert torch.equal(bands[[0, 2]], cells[[0, 2]]) and not torch.allclose(bands[1], cells[1])


def grid_positions(rows, columns):
    axes = torch.meshgrid(torch.arange(float(rows)), torch.arange(float(columns)), indexing="ij")
    return torch.stack(axes, -1).flatten(0, 1)


def region_pooled(mask, latents):
    """The mean position of each latent's part of a mask, given as a picture of bools."""
    return pool_features([grid_positions(*mask.shape)], latents, "region", [mask.shape], mask.flatten())[0]


def test_parts_of_a_region_are_contiguous_in_raster_order():
    mask = torch.zeros(8, 8, dtype=torch.bool)
    for row, column in ((0, 0), (0, 6), (6, 0), (6, 6)):
        mask[row : row + 2, column : column + 2] = True
    assert region_pooled(mask, 4).tolist() == [[0, 3.5], [1, 3.5], [6, 3.5], [7, 3.5]]


def test_what_is_outside_a_region_does_not_count():
    image, mask = torch.zeros(64, 4), torch.zeros(8, 8, dtype=torch.bool)
    mask[2:5, 3:7] = True
    image[~mask.flatten()] = 1e6
    image[mask.flatten()] = 2.0
    assert pool_features([image], 4, "region", [(8, 8)], mask.flatten()).eq(2).all()


def test_one_latent_is_the_mean_of_the_region():
    mask = torch.zeros(5, 7, dtype=torch.bool)
    mask[1, 2:5] = mask[4, 6] = True
    assert region_pooled(mask, 1).tolist() == [[1.75, 3.75]]


def test_parts_of_any_region_cover_it():
    draw = torch.Generator().manual_seed(0)
    for _ in range(50):
        mask = torch.rand(9, 12, generator=draw) < 0.3
        image = torch.zeros(108, 1, requires_grad=True)
        pooled = pool_features([image], 4, "region", [(9, 12)], mask.flatten())
        pooled.sum().backward()
        assert torch.equal(image.grad[:, 0] > 0, mask.flatten())
        torch.testing.assert_close(image.grad.sum(), torch.tensor(4.0))


def test_a_region_of_few_tokens_gives_each_to_several_latents():
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[1, 1] = mask[3, 2] = True
    assert region_pooled(mask, 4).tolist() == [[1, 1], [1, 1], [3, 2], [3, 2]]


@pytest.mark.parametrize("masks", [None, torch.ones(15, dtype=torch.bool), torch.zeros(16, dtype=torch.bool)])
def test_regions_that_are_missing_or_empty_are_rejected(masks):
    with pytest.raises(InputError, match="mask"):
        pool_features([torch.ones(16, 8)], 4, "region", [(4, 4)], masks)


def test_the_model_pools_regions(tiny_model, imagery):
    inputs = {name: imagery[name] for name in ("pixel_values_latent", "image_grid_thw_latent")}
    bands = tiny_model.imagery_targets(**inputs)
    tiny_model.config.latent_pooling = "region"
    sizes = (imagery["image_grid_thw_latent"].prod(1) // 4).tolist()
    whole = tiny_model.imagery_targets(**inputs, latent_masks=torch.ones(sum(sizes), dtype=torch.bool))
    # Parts of a whole frame are its bands, but for the tail that those drop.
    torch.testing.assert_close(whole[[0, 2]], bands[[0, 2]])
    corner = torch.zeros(sum(sizes), dtype=torch.bool)
    corner[[0, sizes[0], sizes[0] + sizes[1]]] = True
    corners = tiny_model.imagery_targets(**inputs, latent_masks=corner)
    assert torch.equal(corners[0], whole[0][:1].expand(4, -1))
    with pytest.raises(InputError, match="latent_masks"):
        tiny_model.imagery_targets(**inputs)

"""Frames made into model input: how large they may be."""

import numpy as np
import pytest
from PIL import Image

from fourdthinker.modeling.processing import MAX_PIXELS, Clip, conversation_text, encode, encode_imagery
from fourdthinker.modeling.tiny.qwen2_5_vl import TINY_MAX_PIXELS, build_processor


def patch_grids(processor, height, width) -> list[tuple[int, int]]:
    """Patch rows and columns of a video's frames and of an imagery frame, given frames of this size."""
    image = Image.fromarray(np.zeros((height, width, 3), np.uint8))
    text = conversation_text(processor, "Which way?", ("a", "b", "c", "d"))
    video = encode(processor, [text], [Clip([image] * 4, [0.0, 0.5, 1.0, 1.5])])["video_grid_thw"]
    imagery = encode_imagery(processor, [image])["image_grid_thw_latent"]
    return [tuple(grid[0, 1:].tolist()) for grid in (video, imagery)]


def test_a_lone_frame_is_one_temporal_grid(tiny_processor):
    text = conversation_text(tiny_processor, "Which way?")
    batch = encode(tiny_processor, [text], [Clip([Image.new("RGB", (64, 64))], [2.5])])
    assert batch["video_grid_thw"].tolist() == [[1, 4, 4]]


@pytest.mark.parametrize("family", ["qwen3_vl"], indirect=True)
def test_qwen3_vl_counts_a_frame_and_not_the_whole_video(tiny_processor):
    (rows, columns), imagery = patch_grids(tiny_processor, 1000, 1300)
    assert (rows, columns) == imagery
    assert 0.8 * MAX_PIXELS < rows * columns * 16**2 <= MAX_PIXELS
    assert rows % 2 == columns % 2 == 0


def test_frames_of_rows_for_a_backbone_stay_as_they_are(tiny_processor, family):
    pytest.importorskip("pycocotools", reason="rows of videos need the data extra")
    from fourdthinker.dataset_builders.pipeline.settings import TOKEN_PIXELS
    from fourdthinker.dataset_builders.questions.evidence import seen_size

    processor = build_processor(tiny_processor.tokenizer) if family == "qwen2_5_vl" else tiny_processor
    for size in ((1920, 1080), (368, 480), (256, 192)):
        width, height = seen_size(size, TOKEN_PIXELS[family])
        patch = TOKEN_PIXELS[family] // 2
        assert patch_grids(processor, height, width)[0] == (height // patch, width // patch)


@pytest.mark.parametrize("family", ["qwen3_vl"], indirect=True)
def test_frames_below_one_token_are_enlarged_in_proportion(tiny_processor):
    video, _ = patch_grids(tiny_processor, 28, 84)  # tokens of 32 pixels a side
    assert video == (2, 6)


# 4DThinker's limit is 256 patches of 28 x 28 a frame, in patches of 14 x 14: 4 x 256.
@pytest.mark.parametrize(
    ("longest_edge", "largest"), [(56 * 56, 4 * 4), (MAX_PIXELS, 4 * 256), (64 * MAX_PIXELS, 4 * 256)]
)
def test_the_lower_of_the_published_limit_and_the_processors_own_holds(tiny_processor, longest_edge, largest):
    processor = build_processor(tiny_processor.tokenizer, max_pixels=longest_edge)
    for rows, columns in patch_grids(processor, 1000, 1300):
        assert largest / 2 <= rows * columns <= largest
    assert patch_grids(processor, 56, 56) == [(4, 4), (4, 4)]


@pytest.mark.parametrize("longest_edge", [56 * 56, MAX_PIXELS])
@pytest.mark.parametrize("latent_size", [1, 4, 6])
def test_an_imagery_frame_has_at_least_a_token_a_latent(tiny_processor, longest_edge, latent_size):
    processor = build_processor(tiny_processor.tokenizer, max_pixels=longest_edge)
    sizes = [(1280, 720), (854, 480), (720, 1280), (640, 480), (56, 28), (16, 9), (1000, 60), (30, 30), (1, 1)]
    frames = [Image.new("RGB", size) for size in sizes]
    batch = encode_imagery(processor, frames, latent_size=latent_size)
    merged = processor.image_processor.merge_size**2
    for size, tokens in zip(sizes, (batch["image_grid_thw_latent"].prod(1) // merged).tolist(), strict=True):
        assert tokens >= latent_size, size


def test_frames_with_enough_tokens_stay_as_they_were(tiny_processor):
    for size in [(56, 56), (84, 56), (300, 200)]:
        bare, pooled = (encode_imagery(tiny_processor, [Image.new("RGB", size)], latent_size=k) for k in (1, 4))
        assert bare["image_grid_thw_latent"].equal(pooled["image_grid_thw_latent"]), size


@pytest.mark.parametrize("size", [(480, 480), (1280, 720), (720, 1280), (640, 480), (1280, 536)])
def test_the_tiny_model_sees_wide_frames_in_four_tokens_or_more(tiny_processor, size):
    processor = build_processor(tiny_processor.tokenizer, max_pixels=TINY_MAX_PIXELS)
    for rows, columns in patch_grids(processor, size[1], size[0]):
        assert 4 * 4 <= rows * columns <= 8 * 4
        if size[0] == size[1]:
            assert (rows, columns) == (4, 4)


def imagery_mask(box, size=(112, 112)):
    mask = Image.new("L", size)
    mask.paste(255, box)
    return mask


@pytest.mark.parametrize("family", ["qwen2_5_vl"], indirect=True)  # the boxes are in its tokens
@pytest.mark.parametrize(
    ("box", "covered"),
    [
        ((0, 0, 56, 56), [0, 1, 4, 5]),  # a quarter of the frame, in tokens of 28 pixels a side
        ((56, 28, 84, 56), [6]),
        ((0, 0, 33, 28), [0]),  # a token and a sixth
        ((54, 0, 58, 4), [1, 2]),  # a speck over a border, which covers two alike
        ((0, 0, 112, 112), list(range(16))),
        ((0, 0, 0, 0), []),
    ],
)
def test_masks_become_the_tokens_that_they_cover(tiny_processor, box, covered):
    frames = [Image.new("RGB", (56, 56)), Image.new("RGB", (112, 112))]
    batch = encode_imagery(tiny_processor, frames, [imagery_mask((0, 0, 1, 1), (56, 56)), imagery_mask(box)])
    assert batch["latent_masks"].shape == (4 + 16,)
    assert batch["latent_masks"].nonzero().flatten().tolist() == [0, *(4 + token for token in covered)]


def test_masks_follow_a_frame_that_is_made_smaller(tiny_processor):
    frame, mask = Image.new("RGB", (1300, 1000)), imagery_mask((650, 0, 1300, 500), (1300, 1000))
    batch = encode_imagery(tiny_processor, [frame], [mask])
    _, height, width = (batch["image_grid_thw_latent"][0] // 2).tolist()
    image = batch["latent_masks"].view(height, width)
    assert image[: height // 2 - 1, width // 2 + 1 :].all()
    assert not image[height // 2 + 1 :].any() and not image[:, : width // 2 - 1].any()

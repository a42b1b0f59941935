"""The four mask models of transformers, tiny and random, on real frames: what comes back, and that nothing stays."""

import gc

import numpy as np
import pytest
from PIL import Image

for needed in ("cv2", "pycocotools"):
    pytest.importorskip(needed, reason="masks need the data extra")
from fourdthinker.dataset_builders.geometry.masks import decode_mask  # noqa: E402
from fourdthinker.dataset_builders.mask_models.checkpoints import KINDS, find_checkpoint  # noqa: E402
from fourdthinker.dataset_builders.mask_models.masklets import MAX_OBJECTS  # noqa: E402
from fourdthinker.dataset_builders.mask_models.sessions import (  # noqa: E402
    cut_name,
    follow_seeds,
    load_mask_model,
    segment_by_names,
)
from fourdthinker.dataset_builders.mask_models.tiny import write_tiny_mask_model  # noqa: E402
from fourdthinker.dataset_builders.pipeline.settings import OBJECT_SOURCES  # noqa: E402

SEEDED = ["sam2", "sam3_tracker", pytest.param("edgetam", marks=pytest.mark.slow)]  # timm takes seconds to import


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Loads a tiny model of a kind; EdgeTAM's backbone is timm's."""

    def make(kind):
        if kind == "edgetam":
            pytest.importorskip("timm")
        folder = write_tiny_mask_model(kind, tmp_path_factory.mktemp("mask") / kind)
        return load_mask_model(find_checkpoint(kind, str(folder)))

    return make


@pytest.fixture(scope="module")
def sam3(load):
    return load("sam3")


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)) for _ in range(8)]


def test_every_kind_can_be_named():
    assert set(KINDS) < set(OBJECT_SOURCES)


@pytest.mark.medium
def test_several_names_in_one_session(sam3, frames):
    found = segment_by_names(sam3, frames, ["red square", "dog"])
    assert {masklet.name for masklet in found} <= {"red square", "dog"} and 1 < len(found) <= MAX_OBJECTS
    for masklet in found:
        assert set(masklet.masks) == set(masklet.scores) <= set(range(len(frames)))
        assert all(decode_mask(mask).shape == (60, 80) for mask in masklet.masks.values())


@pytest.mark.medium
def test_a_name_longer_than_the_text_model_is_cut(sam3, frames):
    long = " ".join(["dog"] * 50)
    assert cut_name(sam3.processor.tokenizer, long) == " ".join(["dog"] * 30)  # and two marks
    assert cut_name(sam3.processor.tokenizer, "red dog") == "red dog"
    assert {masklet.name for masklet in segment_by_names(sam3, frames[:3], [long])} == {long}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SEEDED)
def test_seeds_are_followed_forward_and_back(load, frames, kind):
    mask = np.zeros((60, 80), bool)
    mask[10:40, 20:50] = True
    # The first object is sure in two frames, the second in one of them, the third in another one.
    seeds = [{3: mask, 4: mask}, {4: ~mask}, {6: mask}]
    found = follow_seeds(load(kind), frames, seeds, ["square", "rest", "late"])
    assert [masklet.name for masklet in found] == ["square", "rest", "late"]
    for masklet, start in zip(found, (4, 4, 6), strict=True):
        assert {0, start, len(frames) - 1} <= set(masklet.masks), "both ends of the clip are reached"
        assert masklet.scores[start] > 0.99
    seed = decode_mask(found[0].masks[4])
    assert (seed & mask).sum() / (seed | mask).sum() > 0.8, "the frame of the seed gives the seed back"


@pytest.mark.slow
def test_frames_are_kept_on_the_cpu_and_sessions_are_freed(sam3, frames):
    """Objects that torch and transformers made for a clip are gone when the clip is."""
    import torch
    from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoInferenceSession

    def held():
        gc.collect()
        kept = [item for item in gc.get_objects() if type(item) in (torch.Tensor, Sam3VideoInferenceSession)]
        return len(kept), sum(item.numel() for item in kept if type(item) is torch.Tensor)

    segment_by_names(sam3, frames, ["dog"])
    before = held()
    for _ in range(3):
        segment_by_names(sam3, frames, ["dog"])
    assert held() == before

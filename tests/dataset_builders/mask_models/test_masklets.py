"""What mask models find, cleaned: duplicates, too many objects, masks that go over to something else, names."""

import numpy as np
import pytest

for needed in ("cv2", "pycocotools"):
    pytest.importorskip(needed, reason="masks need the data extra")
from fourdthinker.dataset_builders.clip_record import ObjectTrack  # noqa: E402
from fourdthinker.dataset_builders.geometry.masks import decode_mask, encode_mask  # noqa: E402
from fourdthinker.dataset_builders.mask_models.masklets import (  # noqa: E402
    MAX_OBJECTS,
    Masklet,
    keep_steady,
    masklet_iou,
    merge_duplicates,
    to_tracks,
)
from fourdthinker.dataset_builders.mask_models.objects import choose_masks  # noqa: E402


def box(left, top=20, side=12, size=(64, 96)):
    mask = np.zeros(size, bool)
    mask[top : top + side, left : left + side] = True
    return encode_mask(mask)


def masklet(name, lefts, score=0.9, first=0, **where):
    masks = {first + number: box(left, **where) for number, left in enumerate(lefts)}
    return Masklet(name, masks, dict.fromkeys(masks, score))


def test_duplicates_of_other_names_are_merged_and_fill_each_others_gaps():
    dog = masklet("dog", range(10, 16), 0.9)
    animal = masklet("animal", range(10, 20), 0.6)
    cat = masklet("cat", range(60, 66), 0.8)
    assert masklet_iou(dog, animal) == 1.0 and masklet_iou(dog, cat) == 0.0
    merged = merge_duplicates([animal, cat, dog])
    assert [item.name for item in merged] == ["dog", "cat"]
    assert sorted(merged[0].masks) == list(range(10)), "frames that the better one lacks come from the other one"
    assert merged[0].scores[0] == 0.9 and merged[0].scores[9] == 0.6


def test_what_only_touches_is_not_merged():
    # 12 pixels wide, 3 apart: 9 / 15 of intersection over union.
    assert len(merge_duplicates([masklet("dog", [10] * 5), masklet("cat", [13] * 5)])) == 2
    # 2 apart: 10 / 14.
    assert len(merge_duplicates([masklet("dog", [10] * 5), masklet("cat", [12] * 5)])) == 1


def test_at_most_ten_objects_are_kept_the_heaviest():
    found = [masklet("thing", [40 * (n % 2)] * 3, top=3 * n, side=2 + n // 4) for n in range(15)]
    kept = merge_duplicates(found)
    assert len(kept) == MAX_OBJECTS == 10
    assert min(item.weight for item in kept) >= max(item.weight for item in found if item not in kept)


def test_a_jump_to_another_object_ends_the_track():
    """Intersection 0 and an area of twenty times between neighbours: fault 10."""
    before, after = masklet("dog", range(10, 20)), masklet("dog", [40] * 4, side=52, top=0, first=10)
    jumped = Masklet("dog", before.masks | after.masks)
    keep_steady(jumped)
    assert sorted(jumped.masks) == list(range(10)) and jumped.sure == set(range(10))


def test_a_jump_of_place_alone_ends_it_too_and_a_fast_object_goes_on():
    jumped = masklet("dog", [10, 11, 12, 70, 71])
    keep_steady(jumped)
    assert sorted(jumped.masks) == [0, 1, 2]
    fast = masklet("dog", range(0, 80, 10))
    keep_steady(fast)
    assert len(fast.masks) == 8
    hidden = Masklet("dog", {0: box(10), 1: box(14), 6: box(34), 7: box(38)})
    keep_steady(hidden)
    assert sorted(hidden.masks) == [0, 1, 6, 7], "what was hidden for a while went on"


def test_masks_of_a_part_are_kept_but_not_sure():
    part = masklet("dog", range(10, 20))
    part.masks[5] = box(15, side=9)  # 0.56 of the area
    keep_steady(part)
    assert 5 in part.masks and part.sure == set(range(10)) - {5}


def test_specks_and_nothing():
    speck = masklet("dog", range(10, 14), side=2)  # under 0.001 of 64 x 96 is 6 pixels
    keep_steady(speck)
    assert speck.masks == {} == speck.scores
    empty = Masklet("dog", {})
    keep_steady(empty)
    assert empty.sure == set()


def test_only_the_windows_frames_become_tracks_and_names_tell_twins_apart():
    found = [masklet("dog", range(60, 66)), masklet("dog", range(10, 16)), masklet("cat", range(30, 36))]
    for item in found:
        keep_steady(item)
    right, left, cat = to_tracks(found, [0, 2, 5], {"made": "1"}, {"static_size": 0.01})
    assert (right.name, left.name, cat.name) == ("dog on the right", "dog on the left", "cat")
    assert [len(track.masks) for track in (right, left, cat)] == [3, 3, 3] and right.sure.all()
    assert decode_mask(cat.masks[1])[25, 33] and cat.errors == {"static_size": 0.01, "score": 0.9}
    three = to_tracks([masklet("dog", [left] * 3) for left in (0, 40, 80)], [0, 1], {}, {})
    assert not any(track.sure.any() for track in three), "no question could name one of three dogs"


def test_a_model_takes_over_what_it_has_followed():
    seen = [box(left) for left in range(10, 18)]
    track = ObjectTrack("moving object", tuple(seen), np.ones(8, bool), {"flow": "1"}, {"static_size": 0.02})
    flow = Masklet(track.name, {2 * n: mask for n, mask in enumerate(seen)})
    dense = {n: box(10 + n // 2 + 1) for n in range(15)}
    found = Masklet(track.name, dense, dict.fromkeys(dense, 0.8))
    refined = choose_masks(track, flow, found, range(0, 16, 2), {"model": "2"})
    assert refined.masks == tuple(dense[n] for n in range(0, 15, 2)) and refined.sure.all()
    assert refined.made_by == {"flow": "1", "model": "2"} and refined.errors == {"static_size": 0.02, "score": 0.8}
    drifts = Masklet(track.name, {n: box(10 + n // 2 + (n > 9) * 9) for n in range(15)})
    assert choose_masks(track, flow, drifts, range(0, 16, 2), {}).sure.tolist() == [True] * 5 + [False] * 3
    away = Masklet(track.name, {n: box(60) for n in range(15)})
    assert choose_masks(track, flow, away, range(0, 16, 2), {}) is track
    assert choose_masks(track, flow, Masklet(track.name, {}), range(0, 16, 2), {}) is track

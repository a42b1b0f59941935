"""Stages of one window, from results of earlier stages on."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="masks need the data extra")
from fourdthinker.dataset_builders.clip_record import CameraPoses, ObjectTrack, Window  # noqa: E402
from fourdthinker.dataset_builders.geometry.masks import encode_mask  # noqa: E402
from fourdthinker.dataset_builders.pipeline.record_json import camera_to_json, track_to_json  # noqa: E402
from fourdthinker.dataset_builders.pipeline.settings import BuildSettings  # noqa: E402
from fourdthinker.dataset_builders.pipeline.stage_files import Fault, StageResult  # noqa: E402
from fourdthinker.dataset_builders.pipeline.stage_tasks import Video, WindowTask  # noqa: E402

SIZE, FRAMES = (160, 96), 12
UNCLEAR = Fault("poses", "unclear", "the camera may turn or move", "give another clip")


def facts_of_a_mover(objects: str, camera: CameraPoses | None) -> StageResult:
    """What the stage `facts` makes of a square that goes right, in a window with or without poses."""
    masks = []
    for number in range(FRAMES):
        mask = np.zeros(SIZE[::-1], bool)
        mask[40:60, 20 + 8 * number : 40 + 8 * number] = True
        masks.append(encode_mask(mask))
    track = ObjectTrack("moving object", tuple(masks), np.ones(FRAMES, bool))
    window = Window(0, 0.0, 1.1, tuple(0.1 * number for number in range(FRAMES)))
    settings = BuildSettings(objects=objects)
    task = WindowTask(Video(Path("a.mp4"), "a.mp4", "a", {}), 0, None, window, settings, "facts")
    poses = {"size": list(SIZE), "camera": None if camera is None else camera_to_json(camera)}
    task.results["poses"] = StageResult(task.key("poses"), poses, UNCLEAR if camera is None else None)
    found = {"size": list(SIZE), "objects": [track_to_json(track)], "resting": []}
    task.results["objects"] = StageResult(task.key("objects"), found, None)
    task.run(lambda *_: None)
    return task.results["facts"]


def labels(result: StageResult) -> set[str]:
    return {fact["label"] for fact in result.value["facts"]["objects"] if fact["label"] is not None}


def test_what_flow_finds_before_an_unknown_camera_is_not_said_to_move():
    """A near thing at rest shifts before a moving camera as a mover would; masks of a user name true objects."""
    intrinsics = np.array([[128.0, 0, 80], [0, 128, 48], [0, 0, 1]])
    still = CameraPoses("still", np.tile(np.eye(4), (FRAMES, 1, 1)), intrinsics)
    assert "Moving Right" in labels(facts_of_a_mover("flow", still))
    assert "Moving Right" in labels(facts_of_a_mover("files", None))
    unknown = facts_of_a_mover("flow", None)
    assert labels(unknown) == set() and unknown.fault.code == "unclear"
    assert "1 found that may stand still, nearer to the camera" in unknown.fault.reason
    assert unknown.fault.remedy == UNCLEAR.remedy, "what mends the poses mends the clip"

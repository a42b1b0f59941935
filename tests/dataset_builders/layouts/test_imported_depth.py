"""Questions about space from depth that comes with a clip: the places and answers of the scene itself."""

import numpy as np
import pytest

for needed in ("pycolmap", "cv2", "pycocotools", "scenedetect", "OpenEXR"):
    pytest.importorskip(needed, reason="rows of videos need the data extra")
from fourdthinker.dataset_builders.pipeline.record_json import window_from_json  # noqa: E402
from fourdthinker.dataset_builders.pipeline.settings import BuildSettings  # noqa: E402
from fourdthinker.dataset_builders.pipeline.stage_runner import list_videos  # noqa: E402
from fourdthinker.dataset_builders.pipeline.stage_tasks import ShotsTask, WindowTask  # noqa: E402

from .written_layouts import RATE  # noqa: E402

pytestmark = pytest.mark.slow
MOVER, RESTING = 0, 1


def run_stages(source, objects="flow", fps=None):
    """The record of the first window after all of its stages, in this process."""
    settings, made = BuildSettings(objects=objects), []
    (video, *_) = list_videos(source, "auto", fps)
    ShotsTask(video, settings).run(lambda step, value=None: made.append(value))
    window = window_from_json(made[-1][1].value["windows"][0])
    task = WindowTask(video, 0, None, window, settings, "facts")
    task.run(lambda step, value=None: None)
    assert task.fault is None or task.fault.code == "unclear", task.fault
    return task.record


def test_vipe(layouts, scene):
    record = run_stages(layouts("vipe"))
    facts = {(fact["task"], fact["object"]): fact for fact in record.facts["space"]}
    assert record.depth.metric and record.depth.scale_error == 0.1
    assert "Turns to the right" in facts["abs_ori", -1]["answer"]
    # Nearer, then a turn, then nearer again.
    assert facts["rel_dis", RESTING]["answer"].startswith("(1) Becomes smaller.")
    sideways = facts["object_camera_sideways", MOVER]
    assert sideways["answer"] == "To the Right" and facts["abs_dir", MOVER]["answer"] == "(1) Shifts to the right."
    numbers = [round(record.window.timestamps[index] * RATE) for index in sideways["frames"]]
    for place, number in zip(sideways["object_centers"], numbers, strict=True):
        pose = scene.poses[numbers[0]]
        local = (scene.mover[number] - pose[:3, 3]) @ pose[:3, :3]
        # A board has no depth: its middle lies as far before what is taken for it as a thing of its size is deep.
        assert np.linalg.norm(local - place) < 0.5 and abs(local[0] - place[0]) < 0.15


@pytest.mark.parametrize("layout", ["megasam", "stereo4d"])
def test_layouts_without_masks_tell_of_the_camera(layouts, layout):
    record = run_stages(layouts(layout), objects="none", fps=RATE if layout == "megasam" else None)
    facts = {fact["task"]: fact for fact in record.facts["space"]}
    assert record.depth.metric and record.depth.scale_error == (0.1 if layout == "megasam" else 0.0)
    assert facts["camera_direction"]["answer"] == "Forward"
    assert "Turns to the right" in facts["abs_ori"]["answer"]

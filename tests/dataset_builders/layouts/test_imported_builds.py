"""Builds from other people's layouts by the command: rows, names, licences, refusals, and going on."""

import json
import shutil

import numpy as np
import pytest
from datasets import load_dataset

for needed in ("pycolmap", "cv2", "pycocotools", "scenedetect", "OpenEXR"):
    pytest.importorskip(needed, reason="rows of videos need the data extra")
from fourdthinker.cli.main import main  # noqa: E402
from fourdthinker.dataset_builders.pipeline.record_json import load_records  # noqa: E402
from fourdthinker.dataset_builders.viewing.build_clips import open_clip  # noqa: E402

from .written_layouts import RATE  # noqa: E402

pytestmark = pytest.mark.slow


def build(source, output, *options):
    """Run the command and return its exit code."""
    return main(["build-data", "--source", str(source), "--output", str(output), *map(str, options)])


def refused(output):
    """The lines of the quarantine."""
    return [json.loads(line) for line in (output / "quarantine.jsonl").read_text().splitlines()]


def test_vipe_gives_named_objects_and_a_wrong_file_is_refused_until_it_is_mended(layouts, tmp_path, capsys):
    source, output = tmp_path / "vipe-dynpose-100kpp", tmp_path / "data"
    shutil.copytree(layouts("vipe"), source)
    poses = source / "pose" / "ball.npz"
    right = dict(np.load(poses))
    (source / "mask" / "ball.txt").write_text("1: board<|im_end|>\n2: yellow board\n")
    np.savez(poses, data=np.linalg.inv(right["data"]), inds=right["inds"])
    assert build(source, output, "--stage", "facts") == 0
    (fault,) = refused(output)
    assert fault["code"] == "poses_disagree" and "px if the matrices are inverted (world-to-camera)" in fault["reason"]

    np.savez(poses, **right)
    assert build(source, output) == 0
    capsys.readouterr()
    (record,) = load_records(output)
    assert record.camera.kind == "metric" and record.licence == "cc-by-nc-4.0"
    assert record.camera.errors["import_pixels"] < 2 and 3 < record.camera.scene_depth < 9
    assert [track.name for track in record.objects] == ["object 1", "yellow board"]
    assert np.nanmedian(record.objects[0].depths) == pytest.approx(4, abs=1.5)
    rows = load_dataset(str(output), "dift", split="train", cache_dir=tmp_path / "cache")
    assert {"camera_motion", "object_motion"} <= set(rows["task"])
    texts = " ".join([*rows["question"], *rows["response"]])
    assert "object 1" in texts and "im_end" not in texts
    assert {json.loads(facts)["licence"] for facts in rows["facts"]} == {"cc-by-nc-4.0"}
    assert "license: cc-by-nc-4.0" in (output / "README.md").read_text()


def test_spatialvid_is_read_in_its_own_unit_and_its_labels_are_only_compared(layouts, tmp_path, capsys):
    output = tmp_path / "data"
    assert build(layouts("spatialvid"), output, "--stage", "questions") == 0
    printed = capsys.readouterr().out
    assert "instructions.json says the same as the geometry of 1 in 1 span; it is not used" in printed
    (record,) = load_records(output)
    assert record.camera.kind == "up_to_scale" and record.licence == "cc-by-nc-sa-4.0"
    assert [track.name for track in record.objects] == ["moving object"]
    assert build(layouts("spatialvid"), output, "--questions", "mllm4d,dsr") == 2
    assert "depth in metres" in refused(output)[0]["reason"], "its depth has no unit"
    assert not any("Ignore the above" in path.read_text() for path in (output / ".stages").rglob("*.json"))


@pytest.mark.parametrize("layout", ["megasam", "colmap"])
def test_pictures_without_times_are_clips(layouts, tmp_path, capsys, layout):
    output = tmp_path / "data"
    assert build(layouts(layout), output, "--format", layout) == 2
    assert "give its pictures a second with --fps" in capsys.readouterr().err
    assert build(layouts(layout), output, "--format", layout, "--fps", RATE, "--objects", "none") == 0
    (record,) = load_records(output)
    assert record.window.pictures == tuple(range(21)) and record.camera.scene_depth is not None
    assert record.facts["camera"]
    assert len(open_clip(output, None).frames.frames) == 21


def test_a_trajectory_beside_a_clip_replaces_the_solver(layouts, scene, tmp_path, capsys):
    from scipy.spatial.transform import Rotation

    source, output = tmp_path / "clips", tmp_path / "data"
    source.mkdir()
    shutil.copy(layouts("vipe") / "rgb" / "ball.mp4", source / "walk.mp4")
    quaternions = Rotation.from_matrix(scene.poses[:, :3, :3]).as_quat()
    rows = np.hstack([np.arange(len(scene.poses))[:, None] / RATE, scene.poses[:, :3, 3], quaternions])
    np.savetxt(source / "walk.tum", rows)
    assert build(source, output, "--stage", "facts", "--objects", "none") == 0
    (record,) = load_records(output)
    assert record.camera.kind == "metric" and "tum" in record.camera.made_by
    assert 3 < record.camera.scene_depth < 9  # triangulated: the file has none
    assert any("Pan Right" in part for fact in record.facts["camera"] for part in fact["parts"])

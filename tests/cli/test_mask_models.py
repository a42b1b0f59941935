"""`build-data --objects` with mask models: what is refused before any work, and what is redone."""

import json

import pytest

for needed in ("pycolmap", "cv2", "pycocotools", "scenedetect"):
    pytest.importorskip(needed, reason="rows of videos need the data extra")
from fourdthinker.cli.main import main  # noqa: E402
from fourdthinker.dataset_builders.mask_models.checkpoints import find_checkpoint  # noqa: E402
from fourdthinker.dataset_builders.mask_models.tiny import write_tiny_mask_model  # noqa: E402
from fourdthinker.dataset_builders.pipeline.object_sources import Footage, describe_masks, find_movers  # noqa: E402
from fourdthinker.dataset_builders.pipeline.record_json import load_records, track_to_json  # noqa: E402
from fourdthinker.dataset_builders.pipeline.settings import BuildSettings  # noqa: E402
from fourdthinker.dataset_builders.sources.windows import find_windows, read_window  # noqa: E402

from ..made_clips import film_still_camera  # noqa: E402


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    film_still_camera(folder / "mover.mp4", seed=2, step=8)
    return folder


def build(*argv):
    return main(["build-data", *map(str, argv)])


@pytest.mark.parametrize(
    "options,parts",
    [
        (["--objects", "sam2"], ["weights of facebook/sam2.1-hiera-tiny", "hf download", "--objects flow"]),
        (["--objects", "sam3"], ["looks for things by name", "--names"]),
        (["--objects-model", "some/model"], ["--objects-model goes with --objects sam3"]),
        (["--objects", "edgetam", "--objects-model", "./nothing"], ["./nothing is no folder"]),
    ],
)
def test_what_is_missing_is_said_before_any_work(source, tmp_path, capsys, monkeypatch, options, parts):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    output = tmp_path / "data"
    assert build("--source", source, "--output", output, *options) == 2
    line = capsys.readouterr().err.strip()
    assert "\n" not in line and all(part in line for part in parts), line
    assert not output.exists()


@pytest.mark.parametrize("names", ['{"*": []}', '{"*": [3]}', '{"*": "<script>"}', "{}x", '{"*": ["dog", ""]}'])
def test_names_that_are_none(source, tmp_path, capsys, names):
    file = tmp_path / "names.json"
    file.write_text(names, encoding="utf-8")
    assert build("--source", source, "--output", tmp_path / "data", "--names", file) == 2
    line = capsys.readouterr().err.strip()
    assert "\n" not in line and ("--names" in line or "plain words" in line)
    assert not (tmp_path / "data").exists()


@pytest.mark.slow
def test_a_build_by_names(source, tmp_path):
    """A tiny random model finds something: its tracks are in the records, and only what changed is redone."""
    output, names = tmp_path / "data", tmp_path / "names.json"
    names.write_text(json.dumps({"mover.mp4": ["red square", "dog"], "*": "car"}), encoding="utf-8")
    model = write_tiny_mask_model("sam3", tmp_path / "sam3")
    argv = ["--source", source, "--output", output, "--stage", "objects", "--objects", "sam3", "--names", names]
    assert build(*argv, "--objects-model", model) == 0
    (record,) = load_records(output)
    assert record.objects and {track.name.partition(" on the")[0] for track in record.objects} <= {"red square", "dog"}
    for track in record.objects:
        assert track.made_by["Sam3VideoModel"].startswith("sam3 ") and len(track.masks) == len(track.sure)
        assert all(mask is None or mask["size"] == [192, 256] for mask in track.masks)
    objects = output / ".stages" / "mover" / "000" / "objects.json"
    state = objects.stat().st_mtime_ns
    names.write_text(json.dumps({"mover.mp4": ["red square", "dog"], "*": "van"}), encoding="utf-8")
    assert build(*argv, "--objects-model", model) == 0 and objects.stat().st_mtime_ns == state


@pytest.mark.medium
def test_what_objects_depend_on(source, tmp_path):
    first, second = (write_tiny_mask_model("sam3", tmp_path / str(seed), seed=seed) for seed in (0, 1))
    video = source / "mover.mp4"

    def described(model, **names):
        return describe_masks(
            BuildSettings(objects="sam3", mask_model=find_checkpoint("sam3", str(model)), names=names),
            video,
            "mover.mp4",
        )

    same = described(first, **{"*": ("dog",), "mover.mp4": ("cat",)})
    assert same == described(first, **{"*": ("cow",), "mover.mp4": ("cat",)})
    assert same != described(first, **{"*": ("dog",)}) and same != described(second, **{"mover.mp4": ("cat",)})
    assert describe_masks(BuildSettings(names={"*": ("dog",)}), video, "mover.mp4") == {}


@pytest.mark.medium
def test_a_seeded_model_that_follows_something_else_changes_nothing(source, tmp_path):
    """A random model does; what becomes of a good one's masks is tested beside `choose_masks`."""
    video = source / "mover.mp4"
    (window,) = find_windows(video)
    clip = read_window(video, window)
    model = find_checkpoint("sam2", str(write_tiny_mask_model("sam2", tmp_path / "sam2")))
    settings = [BuildSettings(objects="flow"), BuildSettings(objects="sam2", mask_model=model)]
    (flow,), (track,) = (find_movers(one, Footage(video, "mover.mp4", window, clip), None) for one in settings)
    assert flow.sure.sum() > 5 and track_to_json(track) == track_to_json(flow)

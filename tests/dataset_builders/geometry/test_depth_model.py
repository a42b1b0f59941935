"""Depth by a model of transformers: which are taken, what they give, and a build that takes its metre from one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

for needed in ("pycolmap", "cv2", "pycocotools", "scenedetect"):
    pytest.importorskip(needed, reason="rows of videos need the data extra")
from datasets import load_dataset  # noqa: E402
from transformers import (  # noqa: E402
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTImageProcessor,
)

from fourdthinker.cli.main import main  # noqa: E402
from fourdthinker.dataset_builders.clip_record import Window  # noqa: E402
from fourdthinker.dataset_builders.geometry.depth_model import find_depth_model, predict_depth  # noqa: E402
from fourdthinker.dataset_builders.pipeline.record_json import load_records  # noqa: E402
from fourdthinker.dataset_builders.pipeline.settings import BuildSettings  # noqa: E402
from fourdthinker.dataset_builders.pipeline.stage_files import StageResult  # noqa: E402
from fourdthinker.dataset_builders.pipeline.stage_tasks import Video, WindowTask  # noqa: E402
from fourdthinker.eval_tasks.benchmarks.dsr_bench import read_dsr_bench  # noqa: E402
from fourdthinker.modeling.errors import InputError  # noqa: E402

from ...made_clips import draw_masks, film_still_camera  # noqa: E402

METRES = 8.0  # that the flat model gives


def save_model(folder, kind="metric", flat=False):
    """A tiny random Depth Anything; a flat one gives the same distance everywhere."""
    torch.manual_seed(0)
    stages = [f"stage{number}" for number in range(1, 5)]
    backbone = Dinov2Config(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=70,
        patch_size=14,
        out_features=stages,
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=32,
        neck_hidden_sizes=[8] * 4,
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=20,
        patch_size=14,
    )
    model = DepthAnythingForDepthEstimation(config)
    if flat:
        with torch.no_grad():
            model.head.conv3.weight.zero_()
            model.head.conv3.bias.fill_(float(np.log(METRES / (20 - METRES))))
    model.save_pretrained(folder)
    DPTImageProcessor(size={"height": 70, "width": 70}, ensure_multiple_of=14).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("flat"), flat=True)


@pytest.mark.medium
def test_a_random_model_gives_a_map_for_each_frame(tmp_path):
    name = save_model(tmp_path)
    model = find_depth_model(name)
    rng = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 256, (192, 256, 3), dtype=np.uint8)) for _ in range(2)]
    depth = predict_depth(frames, model)
    assert depth.maps.shape == (2, 120, 160) and depth.metric and depth.scale_error > 0
    assert (depth.maps > 0).all() and depth.made_by["depth"] == model.made_by


def test_models_without_metres_are_refused(tmp_path):
    with pytest.raises(InputError, match="depth without a unit: name a metric model"):
        find_depth_model(save_model(tmp_path / "relative", kind="relative"))
    with pytest.raises(InputError, match="is no folder with a model"):
        find_depth_model(str(tmp_path / "nowhere"))
    Dinov2Config().save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="dinov2 is no model of depth"):
        find_depth_model(str(tmp_path / "other"))


def test_models_that_are_not_whole_are_refused_before_any_work(tmp_path):
    folder = Path(save_model(tmp_path / "cut"))
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(InputError, match=r"model\.safetensors cannot be read"):
        find_depth_model(str(folder))
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"lacks model\.safetensors"):
        find_depth_model(str(folder))
    for file in folder.glob("*processor_config.json"):
        file.unlink()
    with pytest.raises(InputError, match="no whole model"):
        find_depth_model(str(folder))


def test_depth_is_made_anew_by_other_weights_in_the_same_folder(tmp_path):
    name = save_model(tmp_path / "model")
    video = Video(tmp_path / "clip.mp4", "clip.mp4", "clip", {"size": 1})
    window = Window(0, 0.0, 1.0, (0.0, 0.1))

    def keys():
        task = WindowTask(video, 0, None, window, BuildSettings(depth=find_depth_model(name)), "facts")
        task.results = {stage: StageResult("", {}) for stage in ("poses", "objects")}
        return task.key("objects"), task.key("depth")

    objects, depth = keys()
    assert keys() == (objects, depth)
    save_model(tmp_path / "model", flat=True)
    assert keys()[0] == objects and keys()[1] != depth


@pytest.mark.slow
def test_a_build_asks_about_space_and_other_questions_redo_no_depth(tmp_path, flat, capsys):
    source, output = tmp_path / "clips", tmp_path / "data"
    source.mkdir()
    film_still_camera(source / "mover.mp4", seed=2, step=8)
    draw_masks(source / "mover.masks", step=8)
    command = ["build-data", "--source", str(source), "--output", str(output), "--objects", "files", "--depth", flat]
    assert main([*command, "--questions", "mllm4d,dsr", "--records"]) == 0
    assert f"DSR_BENCH_ROOT={output / 'dsr'}" in capsys.readouterr().out
    (record,) = load_records(output)
    assert np.allclose(record.depth.maps, METRES, rtol=0.01)
    tasks = {name: set(load_dataset(str(output), name, split="train")["task"]) for name in ("dift", "mllm4d_sft")}
    assert "abs_dir" in tasks["dift"] and "object_camera_sideways" in tasks["mllm4d_sft"]
    # A still camera does not tell its focal length, and with it nothing of lengths across the view.
    assert "object_distance" not in tasks["mllm4d_sft"]
    rows = {row["task"]: row for row in read_dsr_bench(output / "dsr")}
    direction = rows["abs_dir"]
    assert direction["options"]["ABCD".index(direction["answer"])] == "(1) Shifts to the right."

    depth = output / ".stages" / "mover" / "000" / "depth.json"
    before = depth.stat().st_mtime_ns
    assert main([*command, "--questions", "camera,object"]) == 0
    assert depth.stat().st_mtime_ns == before
    assert {path.parent.name for path in output.glob("*/train-*.parquet")} == {"dift", "grpo"}

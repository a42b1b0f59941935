"""Settings and fixtures of the whole suite: tiny models, rows, small videos."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

# Before any library reads them: no network, no telemetry, no warning about forked tokenizers.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Tests ask models anew; those of the journal name a folder of their own.
os.environ.setdefault("FOURDTHINKER_JOURNAL", "none")

import pytest

SHARED_DATA = Path(__file__).parents[1] / "../shared/data"
TWO_PROCESSES = Path(__file__).with_name("two_processes.py")
SENTENCES = (
    "The camera pans left while the red ball moves right.",
    "Which way does the blue cube move? It stays where it is.",
    "<think>First the ball is near the left edge, later it is in the middle.</think><answer>B. Pan Right</answer>",
    "A. Pan Left\nB. Pan Right\nC. Tilt Up\nD. Tilt Down",
    "First, think about the reasoning process with mental imagery of the relevant object or region, then provide "
    "the user with the answer. Put the reasoning in <think>...</think> and only the final answer in "
    "<answer>...</answer>.",
)


@pytest.fixture
def shared_file():
    """Finds a file of real data beside the project by its path below `data`, and skips where there is none."""

    def find(name):
        path = SHARED_DATA / name
        if not path.exists():
            pytest.skip(f"{path.name} is not here: it is handed out beside the project, not with it")
        return path

    return find


@pytest.fixture
def hub():
    """An empty Hub on loopback; clients are processes of their own, with `hub.environment(home)`."""
    from .local_hub import LocalHub

    server = LocalHub().start()
    yield server
    server.stop()


@pytest.fixture
def run_python(tmp_path):
    """Runs Python with arguments, on one thread, to its end without an error."""

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done

    return run


@pytest.fixture
def in_two_processes(tmp_path, run_python):
    """Runs a script in two processes that share gradients or, sharded, weights, and gives what they said."""

    def run(script, *arguments, sharded=False):
        file = tmp_path / "script.py"
        file.write_text(script)
        done = run_python(TWO_PROCESSES, "sharded" if sharded else "whole", file, *arguments)
        return done.stdout + done.stderr

    return run


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory):
    """Makes, once for each family, a folder with a random model of 125,000 parameters, a real small tokenizer and the
    stock processor."""
    import torch

    from fourdthinker.modeling.loading import FAMILIES
    from fourdthinker.modeling.tiny.qwen2_5_vl import build_processor, build_tokenizer, tiny_config
    from fourdthinker.modeling.tiny.qwen3_vl import build_qwen3_vl_processor, tiny_qwen3_vl_config

    makers = {
        "qwen2_5_vl": (tiny_config, build_processor),
        "qwen3_vl": (tiny_qwen3_vl_config, build_qwen3_vl_processor),
    }

    @cache
    def make(family):
        make_config, make_processor = makers[family]
        folder = tmp_path_factory.mktemp("tiny") / "model"
        tokenizer = build_tokenizer(SENTENCES * 2, vocab_size=512)
        torch.manual_seed(0)
        model = FAMILIES[family](make_config(tokenizer))
        with torch.no_grad():
            for parameter in model.parameters():
                # Larger than the usual start, so that random logits differ enough to tell right from wrong.
                if parameter.dim() > 1:
                    parameter.normal_(std=0.2)
        model.eval().save_pretrained(folder)
        make_processor(tokenizer).save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="module")
def family():
    """Which backbone the tiny model is of; folders of tests that hold for several override it."""
    return "qwen2_5_vl"


@pytest.fixture(scope="module")
def tiny_model_folder(tiny_folders, family):
    """A folder with the tiny model of a family."""
    return tiny_folders(family)


@pytest.fixture
def tiny_model(tiny_model_folder):
    from fourdthinker.modeling import load_model

    return load_model(tiny_model_folder)[0]


@pytest.fixture(scope="module")
def tiny_processor(tiny_model_folder):
    from transformers import AutoProcessor

    return AutoProcessor.from_pretrained(tiny_model_folder)


@pytest.fixture(scope="session")
def make_video():
    """Writes a video file of flat frames, each of its own brightness."""
    import av
    import numpy as np

    def make(path, seconds, rate=4, shade=0, size=(64, 48)):
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=rate)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            for number in range(int(seconds * rate)):
                pixels = np.full((size[1], size[0], 3), (shade + 10 * number) % 240, dtype=np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
        return str(path)

    return make


@pytest.fixture(scope="session")
def wall_clip():
    """Renders a scene in which camera poses can be found: textured walls facing the camera at 3, 4 and 6 m, each to
    one side of the next, seen from camera-to-world poses `(T, 4, 4)` with a focal length of 300 pixels."""
    import numpy as np
    from PIL import Image

    from fourdthinker.modeling.processing import Clip

    @cache
    def texture(seed):
        """Blobs of many sizes, for features to find."""
        rng = np.random.default_rng(seed)
        noise = [Image.fromarray(rng.integers(0, 256, (size, size), dtype=np.uint8)) for size in (16, 64, 128)]
        return np.mean([np.asarray(layer.resize((512, 512), Image.BICUBIC)) for layer in noise], axis=0)

    def render(poses, size=(320, 240), rate=5):
        width, height = size
        walls = [(3.0, -3.0, -0.6, texture(0)), (4.0, 0.5, 4.0, texture(1)), (6.0, -9.0, 9.0, texture(2))]
        rows, columns = np.mgrid[:height, :width]
        rays = np.stack([(columns - width / 2) / 300, (rows - height / 2) / 300, np.ones((height, width))], axis=-1)
        frames = []
        for pose in poses:
            directions, origin = rays @ pose[:3, :3].T, pose[:3, 3]
            pixels = np.zeros((height, width))
            for depth, left, right, pattern in reversed(walls):  # far to near
                points = origin + directions * ((depth - origin[2]) / directions[..., 2])[..., None]
                hit = (points[..., 0] > left) & (points[..., 0] < right)
                u, v = ((points[..., axis] * 90).astype(int) % 512 for axis in (0, 1))
                pixels[hit] = pattern[v, u][hit]
            frames.append(Image.fromarray(pixels.astype(np.uint8)).convert("RGB"))
        return Clip(frames, [index / rate for index in range(len(frames))])

    return render

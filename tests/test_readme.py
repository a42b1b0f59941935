"""The README's own lines, run as printed from an empty folder with 16:9 clips made on the spot."""

import re
import shlex
from pathlib import Path

import av
import numpy as np
import pytest
from datasets import load_dataset

from fourdthinker.cli.main import main
from fourdthinker.modeling import load_model

README = Path(__file__).parents[1] / "README.md"
TRAINING = ("dift", "grpo")


def console_lines(section: str) -> list[str]:
    """The lines of the `console` blocks under a heading, continued ones joined."""
    text = README.read_text(encoding="utf-8")
    (body,) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"```console\n(.*?)```", body, re.DOTALL)
    return "".join(blocks).replace("\\\n", " ").splitlines()


def write_video(path, clip, rate) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "12"})
        stream.width, stream.height = clip.frames[0].size
        stream.pix_fmt = "yuv420p"
        for frame in clip.frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())


def truck(wall_clip, metres):
    """1.6 s of a camera that moves sideways by so many metres, its frames 16:9."""
    poses = np.tile(np.eye(4), (8, 1, 1))
    poses[:, 0, 3] = np.linspace(0, metres, 8)
    poses[:, 1, 3] = 0.05 * np.sin(np.arange(8))
    for pose, angle in zip(poses, np.radians(4) * np.sin(np.arange(8)), strict=True):
        pose[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    return wall_clip(poses, size=(480, 270))


@pytest.mark.slow
def test_use_it_works_as_printed(tmp_path, monkeypatch, capsys, wall_clip):
    pytest.importorskip("pycolmap", reason="poses need the data extra")
    monkeypatch.chdir(tmp_path)
    Path("videos").mkdir()
    for name, metres in (("right.mp4", 1.0), ("left.mp4", -1.0)):
        write_video(f"videos/{name}", truck(wall_clip, metres), rate=5)
    Path("clip.mp4").write_bytes(Path("videos/right.mp4").read_bytes())
    try_first = re.search(r"Append `(--set max_steps=\d)`", README.read_text(encoding="utf-8"))[1]

    lines = [line for line in console_lines("Use it") if not re.match(r"pip|lmms_eval|fourdthinker eval", line)]
    printed = {}
    for line in lines:
        program, command, *arguments = shlex.split(line)
        assert program == "fourdthinker"
        more = try_first.split() if command in TRAINING else []
        assert main([command, *arguments, *more]) == 0, line
        printed[command] = capsys.readouterr().out

    reasoning, _, answer = printed["ask"].partition("\n\nAnswer: ")
    options = shlex.split(next(line for line in lines if "--options" in line).partition("--options")[2])
    assert "[imagery 1: 4 latents]" in reasoning and answer.strip() in options
    rows = load_dataset("data", "dift", split="train", cache_dir="cache")
    assert {row["options"]["ABCD".index(row["answer"])] for row in rows} == {"Truck Right", "Truck Left"}
    assert all(frame.size == (480, 270) for row in rows for frame in row["frames"])
    for folder in ("tiny", "trained", "dift", "grpo"):
        model, _ = load_model(Path("models") / folder)
        assert model.config.latent_size == 4
    assert not list(Path("models").glob("*-checkpoints"))

"""`fourdthinker ask`: a question about a video, answered in words a reader can follow."""

import json

import av
import numpy as np
import pytest

from fourdthinker.cli.ask import parsed, shown
from fourdthinker.cli.main import main
from fourdthinker.modeling.tokens import latent_block


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 56, 56, "yuv420p"
        for index in range(12):
            picture = np.full((56, 56, 3), 20 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_response_is_shown_readably():
    response = f"<think>I picture it {latent_block(4)} and {latent_block(4)}. It pans.</think><answer>B. Up</answer>"
    assert shown(response) == (
        "I picture it [imagery 1: 4 latents] and [imagery 2: 4 latents]. It pans.\n\nAnswer: B. Up"
    )
    assert shown("no tags at all") == "no tags at all"
    assert shown("<think>cut off") == "<think>cut off"


def test_response_is_taken_apart():
    response = f"<think>I picture it {latent_block(4)}, then {latent_block(2)}.</think><answer>B. Up</answer>"
    told = parsed(response)
    assert told["answer"] == "B. Up"
    assert [block["latents"] for block in told["blocks"]] == [4, 2]
    notes = [told["reasoning"][block["start"] : block["end"]] for block in told["blocks"]]
    assert notes == ["[imagery 1: 4 latents]", "[imagery 2: 2 latents]"]
    assert parsed("<think>cut off") == {"answer": None, "reasoning": "<think>cut off", "blocks": []}


def test_json_is_one_object(video, tiny_model_folder, capsys):
    arguments = ["ask", str(video), "Which way?", "--model", str(tiny_model_folder), "--max-new-tokens", "8", "--json"]
    assert main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"answer", "reasoning", "blocks", "seconds"}
    assert set(told["seconds"]) == {"video", "model", "answer"} and min(told["seconds"].values()) > 0


@pytest.mark.parametrize("more", [[], ["--frames", "3"], ["--fps", "5"], ["--options", "up", "down", "in", "out"]])
def test_asks_a_model(video, tiny_model_folder, capsys, more):
    arguments = ["ask", str(video), "Which way?", "--model", str(tiny_model_folder), "--max-new-tokens", "12"]
    assert main([*arguments, *more]) == 0
    assert "<|latent" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"video": "missing.mp4"}, "missing.mp4"),
        ({"model": "nowhere"}, "nowhere"),
        ({"more": ["--frames", "0"]}, "at least 1"),
        ({"more": ["--fps", "-1"]}, "more than 0"),
        ({"more": ["--max-new-tokens", "0"]}, "--max-new-tokens"),
        ({"question": " "}, "question is empty"),
    ],
)
def test_bad_input_is_one_line(video, tiny_model_folder, capsys, change, words):
    arguments = {"video": str(video), "question": "Which way?", "model": str(tiny_model_folder), "more": [], **change}
    command = ["ask", arguments["video"], arguments["question"], "--model", arguments["model"], *arguments["more"]]
    assert main(command) == 2
    told = capsys.readouterr().err
    assert told.startswith("fourdthinker: error: ") and told.count("\n") == 1 and words in told

"""`fourdthinker ask`: a question about a video, answered in words a reader can follow."""

import json
import shutil

import av
import numpy as np
import pytest
import torch
from PIL import Image

from fourdthinker.cli.main import main
from fourdthinker.dataset_builders.sources.video_reader import read_frames
from fourdthinker.modeling.processing import conversation_text, encode
from fourdthinker.modeling.readable_response import ResponseStreamer, format_response_text, parse_response_text
from fourdthinker.modeling.tokens import latent_block
from fourdthinker.modeling.visualization.imagery_picture import find_words_around


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 56, 56, "yuv420p"
        for index in range(12):
            pixels = np.full((56, 56, 3), 20 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_response_is_shown_readably():
    response = f"<think>I picture it {latent_block(4)} and {latent_block(4)}. It pans.</think><answer>B. Up</answer>"
    assert format_response_text(response) == (
        "I picture it [imagery 1: 4 latents] and [imagery 2: 4 latents]. It pans.\n\nAnswer: B. Up"
    )
    assert format_response_text("no tags at all") == "no tags at all"
    assert format_response_text("<think>cut off") == "cut off"


@pytest.mark.parametrize(
    "response",
    [
        f"<think>It is {latent_block(4)} and {latent_block(4)}. It pans.</think><answer>B. Up</answer><|im_end|>",
        f"<think>\nFirst.\n\n\nThen {latent_block(2)}</think>\n<answer> Pan Left\n</answer>",
        "no tags: 3 < 5 <b> and <thin ice>",
        "<think>cut in a block <|latent_start|><|latent_pad|>",
        "",
    ],
)
def test_a_response_is_printed_while_it_is_written(tiny_processor, response):
    tokenizer, written = tiny_processor.tokenizer, []
    streamer = ResponseStreamer(tokenizer, written.append)
    ids = tokenizer(response)["input_ids"]
    streamer.put(torch.tensor([[1, 2, 3]]))  # the prompt
    for token in ids:
        streamer.put(torch.tensor([token]))
    streamer.end()
    assert "".join(written) == format_response_text(response) + "\n"
    assert len(ids) < 10 or sum(map(bool, written)) > 3, "in pieces, not all at the end"


def test_response_is_taken_apart():
    response = f"<think>I picture it {latent_block(4)}, then {latent_block(2)}.</think><answer>B. Up</answer>"
    parsed = parse_response_text(response)
    assert parsed["answer"] == "B. Up"
    assert [block["latents"] for block in parsed["blocks"]] == [4, 2]
    notes = [parsed["text"][block["start"] : block["end"]] for block in parsed["blocks"]]
    assert notes == ["[imagery 1: 4 latents]", "[imagery 2: 2 latents]"]
    cut_off = "<think>cut off"
    assert parse_response_text(cut_off) == {"answer": None, "reasoning": cut_off, "text": cut_off, "blocks": []}
    # Words that look like a note are words, and a block is one wherever it stands.
    odd = parse_response_text(f"<think>[imagery 1: 9 latents]</think><answer>A {latent_block(3)}</answer>")
    assert [block["latents"] for block in odd["blocks"]] == [3]
    assert odd["text"][odd["blocks"][0]["start"] :].startswith("[imagery 1: 3 latents]</answer>")


def test_json_is_one_object(video, tiny_model_folder, capsys):
    arguments = ["ask", str(video), "Which way?", "--model", str(tiny_model_folder), "--max-new-tokens", "8", "--json"]
    assert main(arguments) == 0
    response = json.loads(capsys.readouterr().out)
    assert set(response) == {"answer", "reasoning", "text", "blocks", "seconds"}
    assert set(response["seconds"]) == {"video", "model", "answer"} and min(response["seconds"].values()) > 0


@pytest.mark.medium
def test_the_answer_is_the_same_whatever_the_checkpoint_suggests(video, tiny_model_folder, tmp_path, capsys):
    arguments = ["ask", str(video), "Which way?", "--max-new-tokens", "12", "--model"]
    assert main([*arguments, str(tiny_model_folder)]) == 0
    answer = capsys.readouterr().out
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    file = folder / "generation_config.json"
    own = json.loads(file.read_text())
    some = {"use_cache": False, "no_repeat_ngram_size": 1}
    for suggested in (some, {"num_return_sequences": 2, "do_sample": True}, {"num_return_sequences": 2}):
        file.write_text(json.dumps({**own, **suggested}))
        assert main([*arguments, str(folder)]) == 0
        assert capsys.readouterr().out == answer


@pytest.fixture
def make_first_word(tiny_model, tiny_processor, video, tmp_path):
    """Saves a model whose response to a question about `video` begins with a given token."""

    def save(token, options=()):
        clip = read_frames(video, max_frames=8)
        inputs = encode(tiny_processor, [conversation_text(tiny_processor, "Which way?", options)], [clip])
        with torch.no_grad():
            state = tiny_model(**inputs).last_hidden_state[0, -1]
            tiny_model.lm_head.weight[token] = 100 * state / state.norm()
        tiny_model.save_pretrained(tmp_path / "model")
        tiny_processor.save_pretrained(tmp_path / "model")
        return tmp_path / "model"

    return save


@pytest.fixture
def imagining(tiny_model, make_first_word):
    """The folder of a model whose first word about `video` opens a latent block."""
    return make_first_word(tiny_model.config.latent_start_token_id)


@pytest.mark.medium
@pytest.mark.parametrize("more", [[], ["--json"]])
@pytest.mark.parametrize(("word", "is_option"), [("B", True), ("E", False)])
def test_a_response_that_chooses_no_option_is_reported(
    video, make_first_word, tiny_processor, capsys, word, is_option, more
):
    options = ["up", "down"]
    model = make_first_word(tiny_processor.tokenizer.convert_tokens_to_ids(word), options)
    arguments = ["ask", str(video), "Which way?", "--model", str(model), "--max-new-tokens", "1", *more]
    line = "fourdthinker: the response chooses none of the given options\n"
    capsys.readouterr()
    assert main([*arguments, "--options", *options]) == 0
    captured = capsys.readouterr()
    assert captured.err.count(line) == (not is_option)
    assert (json.loads(captured.out)["text"] if more else captured.out.strip()) == word
    assert main(arguments) == 0, "a question without options has no such line"
    assert line not in capsys.readouterr().err


@pytest.mark.medium
def test_imagery_is_drawn_and_the_answer_printed(video, imagining, tmp_path, capsys):
    image_path = tmp_path / "new" / "imagery.png"
    arguments = ["ask", str(video), "Which way?", "--model", str(imagining), "--max-new-tokens", "12"]
    assert main([*arguments, "--imagery", str(image_path)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("[imagery 1: 4 latents]") and str(image_path) in captured.err
    with Image.open(image_path) as drawn:
        # Four rows of panels a block, wide enough for four times of the video.
        assert drawn.width > 1000 and drawn.height > 900
        assert len(drawn.convert("RGB").getcolors(1 << 24)) > 100, "heat over frames"
    assert list(image_path.parent.iterdir()) == [image_path]


def test_nothing_imagined_is_said_and_nothing_written(video, tiny_model_folder, tmp_path, capsys):
    image_path = tmp_path / "imagery.png"
    arguments = ["ask", str(video), "Which way?", "--model", str(tiny_model_folder), "--max-new-tokens", "2"]
    assert main([*arguments, "--imagery", str(image_path)]) == 0
    assert "no latent block" in capsys.readouterr().err
    assert not image_path.exists()


def test_words_around_a_block_are_cut_at_words():
    text = "one two three " * 20 + "[imagery 1: 4 latents]" + " four five six" * 20
    start = text.index("[")
    words = find_words_around(text, start, start + len("[imagery 1: 4 latents]"))
    assert words.startswith("… ") and words.endswith(" …") and len(words) < 190
    assert "two three [imagery 1: 4 latents] four five" in words
    assert find_words_around("<think>a [imagery 1: 4 latents]</think><answer>b", 9, 31) == "a [imagery 1: 4 latents] b"
    assert find_words_around("a [imagery 1: 4 latents]", 2, 24) == "a [imagery 1: 4 latents]"
    for text in ("at 1.0 s [imagery 1: 4 latents]. It pans", "it ([imagery 1: 4 latents]), then"):
        start = text.index("[imagery")
        assert find_words_around(text, start, start + len("[imagery 1: 4 latents]")) == text, (
            "spaced as it was written"
        )


@pytest.mark.medium
@pytest.mark.parametrize(
    "more", [[], ["--frames", "3"], ["--fps", "5"], ["--options", "up", "down"], ["--options", *"zyxwvutsrq"]]
)
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
        ({"question": "What is <|video_pad|>?"}, "question has the token <|video_pad|> in its words: take it out"),
        ({"question": "What is <|image_pad|>?"}, "question has the token <|image_pad|> in its words: take it out"),
        ({"question": "<|im_end|>"}, "question has the token <|im_end|>"),
        ({"question": "\udcff?"}, "question has \\udcff, which is no character: write it in UTF-8"),
        ({"more": ["--options", "up", "<|latent_pad|>"]}, "options 2 has the token <|latent_pad|>"),
        ({"more": ["--options", "up", ""]}, "options 2 is empty"),
        ({"more": ["--options", "up"]}, "options has 1 entry: give 2 to 10"),
        ({"more": ["--options", *"abcdefghijk"]}, "options has 11 entries: give 2 to 10"),
        ({"more": ["--options", "A", "A"]}, "options 2 is 'A', the same as options 1: give each once"),
        ({"more": ["--options", "go up", "Go  UP."]}, "options 2 is 'Go  UP.', the same as options 1"),
        ({"more": ["--imagery", "out.txt"]}, "out.txt"),
        ({"more": ["--imagery", "out"]}, "ends in .png"),
        ({"more": ["--device", "cuda:77"]}, "--device cuda:77 cannot be used here"),
        ({"more": ["--device", "meta"]}, "--device meta holds no values"),
    ],
)
def test_bad_input_is_one_line(video, tiny_model_folder, capsys, change, words):
    arguments = {"video": str(video), "question": "Which way?", "model": str(tiny_model_folder), "more": [], **change}
    command = ["ask", arguments["video"], arguments["question"], "--model", arguments["model"], *arguments["more"]]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith("fourdthinker: error: ") and error.count("\n") == 1 and words in error

"""The processor that travels with a checkpoint: videos in chat messages, the prompt suffix, responses read back."""

import sys

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.processing import Clip, conversation_text, encode
from fourdthinker.modeling.prompts import PROMPT_SUFFIX, question_text
from fourdthinker.modeling.tokens import format_options, latent_block
from fourdthinker.modeling.video_decoding import read_frames
from fourdthinker.trainers import DIFTCollator
from fourdthinker.trainers.grpo.rollout import encode_prompts

QUESTION, OPTIONS = "Which way does the camera move?", ["Left", "Right", "Up", "Down"]
ASKED = f"{QUESTION}\n\n{format_options(OPTIONS)}"
ENCODED = {"tokenize": True, "add_generation_prompt": True, "return_dict": True, "return_tensors": "pt"}


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def family(request):
    return request.param


@pytest.fixture(scope="module")
def video(make_video, tmp_path_factory):
    """Four seconds and a quarter, of frames that are larger than a model takes."""
    return make_video(tmp_path_factory.mktemp("video") / "clip.mp4", seconds=4.25, size=(512, 448))


def ask(video, text=ASKED, **block) -> list[dict]:
    content = [{"type": "video", "video": video, **block}, {"type": "text", "text": text}]
    return [{"role": "user", "content": content}]


def assert_equal(batch, other):
    assert batch.keys() == other.keys()
    for name, values in other.items():
        assert torch.equal(torch.as_tensor(batch[name]), torch.as_tensor(values)), name


def test_a_video_file_becomes_what_training_saw(tiny_processor, video):
    clip = read_frames(video, fps=1, max_frames=50)
    row = {"question": QUESTION, "options": OPTIONS, "frames": clip.frames, "timestamps": clip.timestamps}
    batch = tiny_processor.apply_chat_template(ask(video), **ENCODED)
    assert_equal(batch, encode_prompts(tiny_processor, [row]))
    taught = DIFTCollator(tiny_processor, latent_size=4)(
        [{**row, "response": "<think>So.</think><answer>C. Up</answer>", "imagery": []}]
    )
    length = batch["input_ids"].shape[1] - 1  # DIFT learns the line break that opens the answer
    assert torch.equal(taught["input_ids"][0, :length], batch["input_ids"][0, :length])
    assert torch.equal(taught["pixel_values_videos"], batch["pixel_values_videos"])


@pytest.mark.medium
@pytest.mark.parametrize("kind", ["images", "arrays", "tensor", "paths", "clip"])
def test_frames_with_their_times_become_what_training_saw(tiny_processor, video, kind, tmp_path):
    clip = read_frames(video, times=[0.5, 1.0, 2.5, 4.0])
    arrays = np.stack([np.asarray(frame) for frame in clip.frames])
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for path, frame in zip(paths, clip.frames, strict=True):
        frame.save(path)
    tensor = torch.tensor(arrays).permute(0, 3, 1, 2)
    frames = {"images": clip.frames, "arrays": arrays, "tensor": tensor, "paths": paths, "clip": clip}[kind]
    expected = encode(tiny_processor, [conversation_text(tiny_processor, QUESTION, OPTIONS)], [clip])
    batch = tiny_processor.apply_chat_template(ask(frames, timestamps=clip.timestamps), **ENCODED)
    assert_equal(batch, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("block", "settings", "sampling"),
    [
        ({}, {}, {"fps": 1, "max_frames": 50}),
        ({"fps": 2}, {}, {"fps": 2, "max_frames": 50}),
        ({}, {"fps": 2}, {"fps": 2, "max_frames": 50}),
        ({}, {"processor_kwargs": {"num_frames": 3}}, {"max_frames": 3}),
        ({"num_frames": 4}, {"videos_kwargs": {"fps": 2}}, {"fps": 2, "max_frames": 4}),
        ({"timestamps": [1.0, 3.0]}, {}, {"times": [1.0, 3.0]}),
        ({"start_time": 1.0, "end_time": 3.0}, {}, {"times": [1.0, 2.0, 3.0]}),
        ({"start_time": 2.0, "num_frames": 3}, {}, {"times": [2.0, 3.0, 4.0]}),
        ({"end_time": 9.0}, {}, {"fps": 1, "max_frames": 50}),
    ],
)
def test_a_file_is_sampled_as_asked(tiny_processor, video, block, settings, sampling):
    clip = read_frames(video, **sampling)
    expected = encode(tiny_processor, [conversation_text(tiny_processor, QUESTION, OPTIONS)], [clip])
    assert_equal(tiny_processor.apply_chat_template(ask(video, **block), **ENCODED, **settings), expected)


def test_frames_without_times_are_one_a_second_or_as_many_as_said(tiny_processor):
    frames = [Image.new("RGB", (56, 56), (30 * number, 0, 0)) for number in range(4)]
    texts = [conversation_text(tiny_processor, QUESTION, OPTIONS)]
    for block, times in (({}, [0, 1, 2, 3]), ({"fps": 2}, [0, 0.5, 1, 1.5])):
        batch = tiny_processor.apply_chat_template(ask(frames, **block), **ENCODED)
        assert_equal(batch, encode(tiny_processor, texts, [Clip(frames, times)]))


@pytest.mark.slow
def test_a_batch_is_padded_on_the_side_that_is_asked_for(tiny_processor, video):
    clips = [read_frames(video, fps=fps, max_frames=50) for fps in (1, 2)]
    texts = [conversation_text(tiny_processor, question) for question in ("Which way?", QUESTION)]
    several = [ask(video, "Which way?", fps=1), ask(video, QUESTION, fps=2)]
    for side in ("left", "right"):
        batch = tiny_processor.apply_chat_template(several, **ENCODED, padding=True, padding_side=side)
        assert_equal(batch, encode(tiny_processor, texts, clips, side))
    batch = tiny_processor.apply_chat_template(several, **ENCODED)
    assert_equal(batch, encode(tiny_processor, texts, clips, "left"))
    lists = tiny_processor.apply_chat_template(several, tokenize=True, add_generation_prompt=True)
    rows = zip(texts, clips, strict=True)
    alone = [encode(tiny_processor, [text], [clip])["input_ids"][0].tolist() for text, clip in rows]
    assert lists == alone, "without tensors nothing is padded"


def test_the_suffix_goes_once_to_the_last_question_and_can_be_left_out(tiny_processor, video):
    earlier = [*ask(video, "First?"), {"role": "assistant", "content": "<answer>Left</answer>"}]
    messages = [*earlier, {"role": "user", "content": "And then?"}]
    text = tiny_processor.apply_chat_template(messages, add_generation_prompt=True)
    assert text.count(PROMPT_SUFFIX) == 1 and f"And then?{PROMPT_SUFFIX}<|im_end|>" in text
    assert messages[-1]["content"] == "And then?", "the caller's messages stay as they are"
    once = tiny_processor.apply_chat_template(ask(video, question_text(QUESTION, OPTIONS)), **ENCODED)
    assert_equal(once, tiny_processor.apply_chat_template(ask(video), **ENCODED))
    bare = tiny_processor.apply_chat_template(ask(video), **ENCODED, add_prompt_suffix=False)
    assert PROMPT_SUFFIX not in tiny_processor.decode(bare["input_ids"][0])
    placeholder = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": QUESTION}]}]
    assert PROMPT_SUFFIX not in tiny_processor.apply_chat_template(placeholder)
    assert PROMPT_SUFFIX in tiny_processor.apply_chat_template(placeholder, add_prompt_suffix=True)


def test_texts_and_images_go_the_stock_way(tiny_processor):
    stock_class = next(
        kind for kind in type(tiny_processor).__mro__ if kind.__module__.startswith("transformers.models.")
    )
    stock = stock_class(
        tiny_processor.image_processor,
        tiny_processor.tokenizer,
        tiny_processor.video_processor,
        chat_template=tiny_processor.chat_template,
    )
    image = {"type": "image", "image": Image.new("RGB", (64, 64), "red")}
    text = {"type": "text", "text": QUESTION}
    for content in ([text], [image, text]):
        for messages in ([{"role": "user", "content": content}], [[{"role": "user", "content": content}]] * 2):
            ours, theirs = (one.apply_chat_template(messages, **ENCODED) for one in (tiny_processor, stock))
            assert_equal(ours, theirs)


@pytest.mark.parametrize(
    ("block", "settings", "words"),
    [
        ({"video": "nowhere.mp4"}, {}, "nowhere.mp4 does not exist"),
        ({"video": "https://example.org/clip.mp4"}, {}, "download the video and give its path"),
        ({"video": []}, {}, "a clip has no frames"),
        ({"video": [np.zeros((56, 56, 3))]}, {}, "frames 1 is an array of float64"),
        ({"video": ["nowhere.png"]}, {}, "frames 1 (nowhere.png) cannot be decoded"),
        ({"timestamps": [2.0, 1.0]}, {}, "increasing order"),
        ({"fps": -1}, {}, "fps is -1"),
        ({"start_time": 9.0}, {}, "nothing to show from 9 s on"),
        ({"start_time": 3.0, "end_time": 2.0}, {}, "it must start before it ends"),
        ({}, {"num_frames": "two"}, "num_frames is 'two'"),
        ({}, {"do_sample_frames": True}, "do_sample_frames=True is not taken for a video"),
        ({}, {"videos_kwargs": {"size": {"longest_edge": 9}}}, "size={'longest_edge': 9} is not taken"),
        ({}, {"truncation": True}, "truncation=True is not taken"),
        ({}, {"max_pixels": 784}, "max_pixels=784 is not taken"),
        ({}, {"processor_kwargs": {"min_pixels": 784}}, "min_pixels=784 is not taken"),
        ({"resized_height": 28}, {}, "a video block has resized_height, and a video is encoded as in training"),
        ({}, {"padding": "max_length"}, "padding='max_length' is not taken"),
        ({}, {"return_tensors": "np"}, "return_tensors is 'np'"),
        ({"text": "What is <|video_pad|>?"}, {}, "has the token <|video_pad|> in its words"),
    ],
)
def test_bad_input_is_one_line(tiny_processor, video, block, settings, words):
    block = dict(block)
    messages = ask(block.pop("video", video), block.pop("text", ASKED), **block)
    with pytest.raises(InputError) as raised:
        tiny_processor.apply_chat_template(messages, **{**ENCODED, **settings})
    assert words in str(raised.value) and "\n" not in str(raised.value)


def test_keys_of_nothing_are_no_keys(tiny_processor, video):
    """As `datasets` gives the blocks of a column, of which each has the keys of all."""
    messages = ask(video, ASKED)
    keys = {key for block in messages[0]["content"] for key in block}
    padded = [{**messages[0], "content": [{**dict.fromkeys(keys), **block} for block in messages[0]["content"]]}]
    ours, plain = (tiny_processor.apply_chat_template(one, **ENCODED) for one in (padded, messages))
    assert_equal(ours, plain)


def test_images_stand_beside_a_video(tiny_processor, video):
    (message,) = ask(video)
    beside = {"role": "user", "content": [{"type": "image", "image": Image.new("RGB", (64, 64), "red")}]}
    both = tiny_processor.apply_chat_template([beside, message], **ENCODED)
    for alone, names in ((beside, ("pixel_values", "image_grid_thw")), (message, ("pixel_values_videos",))):
        encoded = tiny_processor.apply_chat_template([alone], **ENCODED)
        for name in names:
            assert torch.equal(both[name], encoded[name]), name


def test_a_video_block_without_a_video_is_one_line(tiny_processor, video):
    (message,) = ask(video)
    with pytest.raises(InputError, match="names no video"):
        tiny_processor.apply_chat_template([message, {"role": "user", "content": [{"type": "video"}]}], **ENCODED)


def test_without_pyav_frames_still_work_and_a_file_says_what_is_missing(tiny_processor, video, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match="cannot be decoded without PyAV: run `pip install av`"):
        tiny_processor.apply_chat_template(ask(video), **ENCODED)
    assert tiny_processor.apply_chat_template(ask([Image.new("RGB", (56, 56))] * 2), **ENCODED)["input_ids"].numel()


def test_half_precision_leaves_the_seconds_exact(tiny_processor, video):
    batch = tiny_processor.apply_chat_template(ask(video, timestamps=[0.0, 0.5, 1.0, 2.0]), **ENCODED)
    half = batch.to(dtype=torch.bfloat16)
    assert half["pixel_values_videos"].dtype == torch.bfloat16
    if "second_per_grid_ts" in batch:
        assert half["second_per_grid_ts"].tolist() == batch["second_per_grid_ts"].tolist()
        assert half["second_per_grid_ts"].bfloat16().tolist() != half["second_per_grid_ts"].tolist()


def test_latent_blocks_are_notes_where_special_tokens_are_skipped(tiny_processor):
    response = f"<think>It is {latent_block(4)} here and {latent_block(2)}.</think><answer>B. Up</answer>"
    ids = tiny_processor.tokenizer(f"{response}<|im_end|>")["input_ids"]
    words = "<think>It is [imagery 1: 4 latents] here and [imagery 2: 2 latents].</think><answer>B. Up</answer>"
    assert tiny_processor.decode(ids, skip_special_tokens=True) == words
    assert tiny_processor.decode(torch.tensor([ids, ids]), skip_special_tokens=True) == [words] * 2
    assert tiny_processor.batch_decode([ids, ids[:3]], skip_special_tokens=True)[0] == words
    assert tiny_processor.post_process_image_text_to_text(torch.tensor([ids])) == [words]
    assert tiny_processor.decode(ids) == f"{response}<|im_end|>", "with special tokens they stay as they are"
    (kept,) = tiny_processor.post_process_image_text_to_text([ids], skip_special_tokens=False)
    assert kept == words, "a response has notes in either case"
    cut_off = tiny_processor.tokenizer("So <|latent_end|> it <|latent_start|><|latent_pad|>")["input_ids"]
    assert tiny_processor.decode(cut_off, skip_special_tokens=True) == "So  it [imagery 1: 1 latents]"
    plain = tiny_processor.tokenizer("Nur Wörter – 字.<|im_end|>")["input_ids"]
    assert tiny_processor.decode(plain, skip_special_tokens=True) == "Nur Wörter – 字."
    assert tiny_processor.decode(plain[0]) == tiny_processor.tokenizer.decode(plain[0])


def test_a_response_is_read_from_ids_and_from_text(tiny_processor):
    response = f"<think>It is {latent_block(4)} here.</think><answer>B. Up</answer>"
    ids = tiny_processor.tokenizer(f"{response}<|im_end|><|endoftext|>")["input_ids"]
    read = tiny_processor.read_response(torch.tensor(ids))
    assert read == tiny_processor.read_response(response)
    assert (read["reasoning"], read["answer"]) == ("It is [imagery 1: 4 latents] here.", "B. Up")
    (block,) = read["blocks"]
    assert block["latents"] == 4 and read["text"][block["start"] : block["end"]] == "[imagery 1: 4 latents]"


def test_stock_names_keep_their_meaning(tiny_processor):
    """Methods that we override exist upstream under these names; `parse_response` is not one of them."""
    stock = transformers.ProcessorMixin
    for name in ("apply_chat_template", "decode", "batch_decode", "post_process_image_text_to_text"):
        assert hasattr(stock, name)
    assert not hasattr(stock, "read_response")
    assert getattr(type(tiny_processor), "parse_response", None) is getattr(stock, "parse_response", None)

"""The response template: stock parsing, streams and pipelines split a response into reasoning and answer."""

import json

import pytest
from transformers import AutoProcessor, pipeline

from fourdthinker.cli.init import TINY_BACKBONE, TINY_TRAINED
from fourdthinker.modeling import load_model
from fourdthinker.modeling.processing import conversation_text
from fourdthinker.modeling.response_template import RESPONSE_TEMPLATE
from fourdthinker.modeling.tokens import latent_block

BLOCK = latent_block(4)
CUT_BLOCK = BLOCK[: BLOCK.index("<|latent_end|>")]
WAYS = {
    "whole": (f"<think>I see {BLOCK} it.</think>\n<answer>B. Pan</answer><|im_end|>", f"I see {BLOCK} it.", "B. Pan"),
    "spaced": (" <think> I see. </think> <answer> B. Pan </answer>\n<|im_end|><|endoftext|>", "I see.", "B. Pan"),
    "cut in thought": ("<think>I see it and", "I see it and", ""),
    "cut in a latent block": (f"<think>I see {CUT_BLOCK}", f"I see {CUT_BLOCK}", ""),
    "cut in the answer": ("<think>I see.</think><answer>B. P", "I see.", "B. P"),
    "without tags": ("It goes left.\n\nIf a < b, right.<|im_end|>", None, "It goes left.\n\nIf a < b, right."),
    "answer only": ("<answer>B. Pan</answer><|im_end|>", None, "B. Pan"),
    "thought that ends the turn": ("<think>I see.<|im_end|>", "I see.", ""),
    "words outside of both": ("<think>I see.</think>So: <answer>B</answer>", "I see.", "So: B"),
    "nothing": ("", None, ""),
}
CLIP = [{"type": "video", "video": str(TINY_TRAINED / "example.mp4"), "fps": 2}]
QUESTION = (
    "Which way does the camera move between 0.0 s and 3.5 s?\n\n"
    "A. Pedestal Up\nB. Truck Left\nC. Pedestal Down\nD. Truck Right"
)


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def family(request):
    return request.param


@pytest.fixture
def parser_of():
    pytest.importorskip("transformers.utils.chat_parsing", reason="before transformers 5.13 there are no templates")

    def make(processor):
        # The prompt itself speaks of both tags.
        prefix = conversation_text(processor, "Which way?", ("left", "right"))
        assert "<think>" in prefix and "<answer>" in prefix
        return processor.tokenizer.get_response_parser(prefix=prefix)

    return make


@pytest.mark.parametrize("way", WAYS)
def test_a_response_is_split_the_same_as_a_whole_and_as_a_stream(tiny_processor, parser_of, way):
    response, reasoning, content = WAYS[way]
    expected = {"role": "assistant", "content": content}
    expected |= {"reasoning_content": reasoning} if reasoning else {}
    for pieces in ([response], list(response)):
        parser = parser_of(tiny_processor)
        events = [event for piece in pieces for event in parser.feed(piece)]
        message, last = parser.finalize()
        assert message == expected, pieces
        streamed = {"reasoning_content": "", "content": ""}
        for event in (*events, *last):
            if event["type"] == "region_chunk":
                streamed[event["field"]] += event["text"]
        assert streamed == {"reasoning_content": reasoning or "", "content": content}, pieces


def test_ids_with_their_prompt_are_split(tiny_processor, parser_of):
    processor = tiny_processor
    prompt = conversation_text(processor, "Which way?", ("left", "right"))
    response, reasoning, content = WAYS["whole"]
    ids = processor.tokenizer(response)["input_ids"]
    parsed = processor.parse_response(ids, prefix=processor.tokenizer(prompt)["input_ids"])
    assert (parsed["reasoning_content"], parsed["content"]) == (reasoning, content)


def test_pipelines_get_prompts_with_their_marks_and_responses_with_notes(tiny_processor):
    processor = tiny_processor
    prompt = conversation_text(processor, "Which way?", ("left", "right"))
    ids = [processor.tokenizer(text)["input_ids"] for text in (prompt, prompt + WAYS["whole"][0] + "<|endoftext|>")]
    shown_prompt, shown = processor.post_process_image_text_to_text(ids, skip_special_tokens=False)
    assert shown_prompt == prompt
    noted = "<think>I see [imagery 1: 4 latents] it.</think>\n<answer>B. Pan</answer>"
    assert shown == prompt + noted
    assert processor.post_process_image_text_to_text([ids[1][len(ids[0]) :]], skip_special_tokens=False) == [noted]


def test_every_saved_folder_brings_the_template(tiny_model_folder, tmp_path):
    for folder in (tiny_model_folder, TINY_BACKBONE, TINY_TRAINED):
        assert json.loads((folder / "tokenizer_config.json").read_text())["response_template"] == RESPONSE_TEMPLATE
    load_model(tiny_model_folder)[1].save_pretrained(tmp_path / "ours")
    AutoProcessor.from_pretrained(tiny_model_folder).save_pretrained(tmp_path / "stock")
    for name in ("ours", "stock"):
        saved = json.loads((tmp_path / name / "tokenizer_config.json").read_text())
        assert saved["response_template"] == RESPONSE_TEMPLATE, name


def test_a_folder_of_an_earlier_version_gets_the_template(tiny_model_folder, tmp_path):
    load_model(tiny_model_folder)[1].save_pretrained(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    fields = json.loads(file.read_text())
    del fields["response_template"]
    file.write_text(json.dumps(fields))
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).symlink_to(tiny_model_folder / name)
    load_model(tmp_path)[1].save_pretrained(tmp_path / "again")
    saved = json.loads((tmp_path / "again" / "tokenizer_config.json").read_text())
    assert saved["response_template"] == RESPONSE_TEMPLATE


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2_5_vl"], indirect=True)
def test_a_stock_pipeline_gives_reasoning_and_answer_apart(parser_of, family):
    load_model(TINY_TRAINED)  # which registers our classes
    ask = pipeline("image-text-to-text", str(TINY_TRAINED))
    messages = [{"role": "user", "content": [*CLIP, {"type": "text", "text": QUESTION}]}]
    settings = {"generate_kwargs": {"do_sample": False}}
    message = ask(text=messages, max_new_tokens=200, **settings)[0]["generated_text"][-1]
    assert message["content"] == "Truck Right"
    assert "[imagery 1: 4 latents]" in message["reasoning_content"]
    assert "<" not in message["reasoning_content"]
    cut = ask(text=messages, max_new_tokens=12, **settings)[0]["generated_text"][-1]
    assert cut["content"] == "" and message["reasoning_content"].startswith(cut["reasoning_content"])
    text = ask(text=messages, max_new_tokens=200, return_full_text=False, **settings)[0]["generated_text"]
    assert text.startswith("<think>") and text.endswith("<answer>Truck Right</answer>")

"""Restricted choice: the option with the highest log-prob after the model's own reasoning and latents."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fourdthinker.dataset_builders import read_row_file
from fourdthinker.eval_tasks.choice import (
    check_reading,
    complete_by_choice,
    open_answer,
    score_options,
    split_candidates,
)
from fourdthinker.eval_tasks.diagnosis.diagnosis import diagnose
from fourdthinker.eval_tasks.predict import decode_greedily, predict
from fourdthinker.modeling import load_model
from fourdthinker.modeling.clip import Clip
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.processing import encode
from fourdthinker.modeling.tokens import latent_block

from ..built_checkpoints import build_checkpoint, make_questions

BLOCK = latent_block(4)
TRAINED = Path(__file__).parents[2] / "modeling/tiny/trained"


@pytest.mark.parametrize(
    ("response", "opened"),
    [
        (f"<think>I picture {BLOCK}.</think><answer>B. left</answer>", f"<think>I picture {BLOCK}.</think><answer>"),
        (f"<think>I picture {BLOCK}. It is", f"<think>I picture {BLOCK}. It is</think><answer>"),
        ("<think>It is left.</think> B. left", "<think>It is left.</think><answer>"),
        ("<answer>B</answer><answer>C</answer>", "<answer>"),
        (f"{BLOCK}B", BLOCK),
        ("I cannot say.", ""),
    ],
)
def test_an_answer_begins_after_the_reasoning_however_the_response_ends(response, opened):
    assert open_answer(response) == opened


def test_an_unknown_reading_is_refused():
    with pytest.raises(InputError, match="'letters'.*response, choice"):
        check_reading("letters")


@pytest.mark.parametrize(("opened", "end"), [("<think>So.</think><answer>", "</answer>"), (BLOCK, "<|im_end|>")])
def test_candidates_are_letters_and_texts_with_what_ends_them(tiny_processor, opened, end):
    tokenizer = tiny_processor.tokenizer
    found = split_candidates(tokenizer, opened, ["Arc Left", "Boom"])
    expected = {"marked": ["A.", "B."], "letters": [f"A{end}", f"B{end}"], "texts": [f"Arc Left{end}", f"Boom{end}"]}
    for kind, endings in expected.items():
        read = [tokenizer.decode(found.shared + tail) for tail in getattr(found, kind)]
        assert read == [f"{opened}{ending}" for ending in endings]


@pytest.mark.slow
def test_words_that_begin_with_the_letter_of_an_option_are_no_vote_for_it(tmp_path):
    """The shipped model answers in words. With "Dolly In" among them it was read as D wherever that stood."""
    model, processor = load_model(TRAINED, dtype=torch.float32)
    shutil.copy(TRAINED / "example.mp4", tmp_path)
    words = ["Pan Right", "Arc Left", "Boom Up", "Dolly In"]
    question = "Which way does the camera move between 0.0 s and 3.5 s?"
    lines = [
        {"video": "example.mp4", "question": question, "options": words[first:] + words[:first], "answer": "A"}
        for first in range(4)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    rows = read_row_file(tmp_path / "rows.jsonl", "grpo")
    chosen = predict(model, processor, rows, 4, 176, progress=False, reading="choice")
    answers = [text.rpartition("<answer>")[2].removesuffix("</answer>") for text in chosen]
    assert {answer[0] for answer in answers} == {*"ABCD"} and len({answer[3:] for answer in answers}) == 1


@pytest.mark.parametrize("kind", ["carry", "ignore"])
@pytest.mark.slow
def test_a_model_that_answers_with_a_letter_is_read_alike_in_both_ways(kind):
    model, processor = build_checkpoint(kind)
    rows = make_questions(12, seed=1)
    said, chosen = (
        predict(model, processor, rows, 5, 12, progress=False, reading=reading) for reading in ("response", "choice")
    )
    assert [text[-1] for text in said] == [text.rpartition(">")[2][0] for text in chosen]
    assert len({text[-1] for text in said}) == 4


def test_an_answer_without_a_letter_is_read_by_its_likeliest_option(monkeypatch):
    model, processor = build_checkpoint("carry")
    rows = make_questions(8, seed=3)
    letters = processor.tokenizer.convert_tokens_to_ids([*"ABCD"])
    # The same weights, but a word that no option has is always likelier than any letter.
    bias = torch.zeros(model.config.get_text_config().vocab_size)
    bias[processor.tokenizer.convert_tokens_to_ids("?")] = 1e4
    head = model.lm_head.forward

    def prefer_another_word(states):
        logits = head(states)
        return torch.where(torch.isin(logits.argmax(-1, keepdim=True), torch.tensor(letters)), logits + bias, logits)

    right = predict(model, processor, rows, 8, 12, progress=False)
    monkeypatch.setattr(model.lm_head, "forward", prefer_another_word)
    broken = predict(model, processor, rows, 8, 12, progress=False)
    assert not any(text[-1] in "ABCD" for text in broken)
    chosen = predict(model, processor, rows, 8, 12, progress=False, reading="choice")
    assert [text.rpartition(">")[2][0] for text in chosen] == [text[-1] for text in right]


@pytest.mark.parametrize("answer_sees", ["all", "latents"])
def test_scores_are_those_of_each_row_alone(tiny_model, tiny_processor, answer_sees):
    """Rows of different lengths, with and without video and latents; options by text and by letter."""
    torch.manual_seed(0)
    model, tokenizer = tiny_model.eval(), tiny_processor.tokenizer
    model.config.answer_sees = answer_sees
    model.config.turn_token_id = tokenizer.convert_tokens_to_ids("<|im_start|>")
    video = "<|vision_start|><|video_pad|><|vision_end|>"
    asked = [f"{video}Where?", "Which way now, and how far?"]
    prompts = [f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n" for text in asked]
    opened = [f"<think>I see {BLOCK} it.</think><answer>", "<answer>"]
    options = [["left", "right up"], ["near", "far", "between"]]
    frames = [Image.fromarray(np.random.default_rng(n).integers(0, 255, (56, 56, 3), np.uint8)) for n in range(4)]
    clip = Clip(frames, (0.0, 0.5, 1.0, 1.5))
    vectors = torch.randn(4, model.config.get_text_config().hidden_size)
    latents = [vectors, vectors[:0]]
    candidates = [split_candidates(tokenizer, *pair) for pair in zip(opened, options, strict=True)]
    together = score_options(model, dict(encode(tiny_processor, prompts, [clip])), candidates, latents)
    for row, (prompt, found) in enumerate(zip(prompts, candidates, strict=True)):
        inputs = dict(encode(tiny_processor, [prompt], [clip][: 1 - row]))
        start = inputs.pop("input_ids")[0].tolist() + found.shared
        context = {name: inputs[name] for name in inputs if name not in ("attention_mask", "mm_token_type_ids")}
        for number, text in enumerate(found.texts):
            said = []
            for tail in (text, found.letters[number], found.marked[number]):
                context["latent_embeds"] = latents[row] if len(latents[row]) else None
                logprobs = model(input_ids=torch.tensor([start + tail]), **context).logits[0].log_softmax(-1)
                said.append(sum(logprobs[len(start) + place - 1, token] for place, token in enumerate(tail)))
            torch.testing.assert_close(together[row, number], torch.stack(said).logsumexp(0), rtol=1e-5, atol=1e-5)


@pytest.mark.medium
def test_latents_that_carry_the_answer_survive_without_the_video_and_the_first_alone_says_it():
    rows = make_questions(24, seed=5, imagery=True)
    controls = ["blind", "reread", "first", "other"]
    diagnosis, _ = diagnose(*build_checkpoint("carry"), rows, controls, 16, 12, progress=False, reading="choice")
    numbers = diagnosis["controls"]
    assert diagnosis["reading"] == "choice" and diagnosis["own"]["parse_failures"] == 0
    assert numbers["reread"]["changed_answers"] == numbers["first"]["changed_answers"] == 0
    assert numbers["blind"]["changed_answers"] > 0.4 and numbers["other"]["changed_answers"] > 0.4


@pytest.mark.medium
def test_latents_of_a_model_that_looks_at_the_video_say_nothing_when_reread():
    rows = make_questions(24, seed=5)
    diagnosis, _ = diagnose(
        *build_checkpoint("markers"), rows, ["reread", "first"], 16, 12, progress=False, reading="choice"
    )
    assert diagnosis["controls"]["reread"]["changed_answers"] > 0.4
    assert diagnosis["controls"]["first"]["changed_answers"] == 0


def test_rows_without_options_keep_their_responses():
    model, processor = build_checkpoint("carry")
    inputs = dict(encode(processor, ["<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"], []))
    output = decode_greedily(model, inputs, 6)
    responses = complete_by_choice(model, processor, inputs, output, [()])
    assert "<answer>" not in responses[0]

"""Batched answers equal those of each row alone, and stay in the order of the rows."""

import io
import sys

import pytest
import torch
from PIL import Image
from transformers import GenerationConfig

from fourdthinker.eval_tasks import fourd_world
from fourdthinker.eval_tasks.latents import LATENTS, latent_transform
from fourdthinker.eval_tasks.predict import predict
from fourdthinker.modeling import load_model
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.tokens import LATENT_START, latent_block


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def family(request):
    """Answers are made the same way with either backbone."""
    return request.param


@pytest.fixture
def rows(world_folder):
    return fourd_world.read_rows(world_folder)


@pytest.fixture
def answers(talking, rows):
    return predict(*talking, rows, batch_size=8, max_new_tokens=12, progress=False)


@pytest.mark.medium
@pytest.mark.parametrize("batch_size", [1, 3])
def test_answers_do_not_depend_on_the_batch_size(talking, rows, answers, batch_size):
    assert len(set(answers)) > 1, "the model says one thing to all rows, which tests nothing"
    assert predict(*talking, rows, batch_size, 12, progress=False) == answers


@pytest.mark.medium
def test_answers_stand_in_the_order_of_the_rows(talking, rows, answers):
    backwards = rows.select(range(len(rows) - 1, -1, -1))
    assert predict(*talking, backwards, 3, 12, progress=False) == answers[::-1]


SUGGESTIONS = [
    {"do_sample": True, "temperature": 5.0, "top_p": 0.9, "repetition_penalty": 5.0},
    {"no_repeat_ngram_size": 1},
    {"num_return_sequences": 2, "do_sample": True},
    {"use_cache": False},
    {"min_new_tokens": 12, "bad_words_ids": [[token] for token in range(300)]},
    {"suppress_tokens": list(range(300)), "begin_suppress_tokens": list(range(300, 500))},
    {"max_length": 3, "max_time": 1e-9, "stop_strings": ["e"]},
    {"num_beams": 2, "guidance_scale": 3.0, "prefill_chunk_size": 4},
]


@pytest.mark.medium
@pytest.mark.parametrize("suggested", SUGGESTIONS, ids=lambda suggested: next(iter(suggested)))
def test_decoding_is_greedy_whatever_the_checkpoint_suggests(talking, rows, answers, suggested):
    model, processor = talking
    own = model.generation_config
    model.generation_config = GenerationConfig(**{**own.to_dict(), **suggested})
    before = model.generation_config.to_dict()
    try:
        torch.manual_seed(0)
        assert predict(model, processor, rows, 8, 12, progress=False) == answers
        assert model.generation_config.to_dict() == before
    finally:
        model.generation_config = own


def test_the_checkpoint_says_where_a_response_ends(talking, rows, answers):
    model, processor = talking
    own = model.generation_config
    words = processor.tokenizer(answers[0])["input_ids"]
    model.generation_config = GenerationConfig(**{**own.to_dict(), "eos_token_id": words[3]})
    try:
        (cut,) = predict(model, processor, rows.select([0]), 1, 12, progress=False)
        assert processor.tokenizer(cut)["input_ids"] == words[: words.index(words[3]) + 1]
    finally:
        model.generation_config = own


@pytest.mark.medium
def test_a_row_that_cannot_be_decoded_is_missing_and_the_others_are_answered(talking, rows, answers, caplog):
    broken = rows.to_list()
    broken[2]["frames"][1] = {"bytes": b"no image", "path": None}
    broken[5]["frames"][0] = {"bytes": None, "path": "/nowhere.png"}
    got = predict(*talking, broken, 3, 12, progress=False)
    assert [index for index, answer in enumerate(got) if answer is None] == [2, 5]
    assert [answer for answer in got if answer is not None] == [a for i, a in enumerate(answers) if i not in (2, 5)]
    assert f"row {broken[2]['id']} was not asked" in caplog.text


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_goes_to_stderr_where_it_is_a_terminal(talking, rows, capsys, monkeypatch):
    predict(*talking, rows.select([0]), 1, 1)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr", Terminal())
    predict(*talking, rows.select([0]), 1, 1)
    assert "answers" in sys.stderr.getvalue() and capsys.readouterr().out == ""


def test_a_model_in_training_stays_in_training(talking, rows):
    model, _ = talking
    model.train()
    try:
        predict(*talking, rows.select([0]), 1, 1, progress=False)
        assert model.training
    finally:
        model.eval()


def test_zero_and_shuffled_latents():
    states = torch.arange(1.0, 13.0).view(3, 1, 4)
    assert latent_transform("own") is None
    assert latent_transform("zero")(states).eq(0).all()
    shuffled = latent_transform("shuffled")(states)
    assert not shuffled.equal(states)
    assert shuffled.sort(-1).values.equal(states)
    assert latent_transform("shuffled")(states[1:2]).equal(shuffled[1:2])
    with pytest.raises(InputError, match="unknown latents 'none'"):
        latent_transform("none")


def test_an_empty_batch_is_rejected(talking, rows):
    with pytest.raises(InputError, match="must be positive"):
        predict(*talking, rows, batch_size=0)


@pytest.mark.medium
def test_image_sizes_may_differ_between_rows(talking, rows):
    mixed = rows.to_list()
    mixed[0]["frames"] = [Image.new("RGB", (84, 28), (index * 40, 0, 0)) for index in range(4)]
    mixed[0]["timestamps"] = [0.0, 0.5, 1.0, 1.5]
    together = predict(*talking, mixed, 8, 12, progress=False)
    assert together == predict(*talking, mixed, 1, 12, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2_5_vl"], indirect=True)  # the one whose random model happens to imagine
def test_what_is_fed_back_changes_what_is_said_after_a_latent_block(talking_model_folder, rows, only_letters):
    model, processor = load_model(talking_model_folder)
    only_letters(model, processor, also=[LATENT_START])
    rows = rows.select(range(4))
    answers = {
        latents: predict(model, processor, rows, 4, 28, latent_transform(latents), progress=False)
        for latents in LATENTS
    }
    assert any(latent_block(4) in answer for answer in answers["own"]), "no latents, so nothing is tested"
    assert (
        answers["own"] != answers["zero"]
        and answers["own"] != answers["shuffled"]
        and answers["zero"] != answers["shuffled"]
    )
    assert predict(model, processor, rows, 3, 28, latent_transform("shuffled"), progress=False) == answers["shuffled"]


def test_both_stages_of_training_and_the_evaluation_ask_in_the_same_tokens(talking, rows):
    from fourdthinker.eval_tasks.conversations import decode, row_prompt
    from fourdthinker.modeling.processing import encode
    from fourdthinker.trainers.dift.dift_collator import DIFTCollator
    from fourdthinker.trainers.grpo.rollout import encode_prompts

    _, processor = talking
    row = rows[0]
    conversation = decode(processor, row_prompt(row, fourd_world.FOURD_WORLD).messages(), {})
    asked = encode(processor, [conversation.text], conversation.clips, "left")["input_ids"][0].tolist()
    assert encode_prompts(processor, [row])["input_ids"][0].tolist() == asked
    supervised = {**row, "response": "<think>It moves.</think><answer>A. left</answer>", "imagery": []}
    batch = DIFTCollator(processor, latent_size=4)([supervised])
    assert batch["input_ids"][0].tolist()[: len(asked)] == asked

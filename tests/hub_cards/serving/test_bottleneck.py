"""Served answers that see latents alone: each is what its request gets alone, and what `generate` gives."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from fourdthinker.eval_tasks.predict import decode_greedily
from fourdthinker.hub_cards.serving.batch import Batch

from .test_engine import answer, engine, family, random_request  # noqa: F401


@pytest.fixture(params=[True, False], ids=["question", "no question"])
def blind(served, request):
    """Rows open two blocks at most, so that the cache of an answer is cropped."""
    model, processor = served
    model.config.answer_sees, model.config.answer_sees_question = "latents", request.param
    model.config.latent_blocks = 2
    model.config.turn_token_id = processor.tokenizer.convert_tokens_to_ids("<|im_start|>")
    yield
    model.config.answer_sees = "all"


@pytest.mark.medium
def test_mixed_requests_get_what_each_gets_alone(engine, blind, monkeypatch):  # noqa: F811
    requests = [random_request(seed) for seed in range(8)]
    requests = [(messages, replace(settings, max_tokens=30)) for messages, settings in requests]
    alone = engine(batch=1)
    expected = [answer(alone, *one) for one in requests]
    assert max(len(blocks) for _, blocks, _ in expected) == 2
    dropped = []
    seen_columns = Batch._seen_columns

    def watch(batch, tokens):
        before = batch._cache.get_seq_length()
        seen = seen_columns(batch, tokens)
        dropped.append(before - batch._cache.get_seq_length())
        return seen

    monkeypatch.setattr(Batch, "_seen_columns", watch)
    monkeypatch.setattr("fourdthinker.hub_cards.serving.engine._CHUNK", 7)
    crowded = engine(batch=4, waiting=40, slice_steps=3)
    delays = [random.Random(0).random() * 0.4 for _ in requests]

    def run(number):
        time.sleep(delays[number])
        return answer(crowded, *requests[number])

    with ThreadPoolExecutor(len(requests)) as pool:
        together = list(pool.map(run, range(len(requests))))
    assert max(dropped) > 0, "no cache was cropped"
    for number, (one, other) in enumerate(zip(together, expected, strict=True)):
        assert one == other, f"request {number}"


@pytest.mark.medium
def test_greedy_answers_are_those_of_generate(engine, served, blind):  # noqa: F811
    running = engine()
    for seed in range(6):
        messages, settings = random_request(seed)
        settings = replace(settings, temperature=0.0, imagery=False, max_tokens=30)
        prompt = running.encode(messages)
        ids = decode_greedily(served[0], prompt.inputs.to(served[0].device), 30).sequences[0, prompt.length :]
        _, blocks, (_, _, written) = answer(running, messages, settings)
        assert written == len(ids) and len(blocks) == (ids == served[0].config.latent_start_token_id).sum()

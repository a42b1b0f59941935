"""The engine: each answer is the one that its request would get alone, whoever comes and goes beside it."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from PIL import Image

from fourdthinker.eval_tasks.predict import decode_greedily
from fourdthinker.hub_cards.serving.engine import Engine
from fourdthinker.hub_cards.serving.events import Busy, Finish, ImageryBlock, ModelFailure, Stopping, TextDelta
from fourdthinker.hub_cards.serving.response_text import ResponseText
from fourdthinker.hub_cards.serving.settings import GenerationSettings, Limits
from fourdthinker.modeling.clip import Clip
from fourdthinker.modeling.latent_rules import LatentRules

WORDS = "Which way does the camera move while the red ball moves right or left ?".split()


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def family(request):
    return request.param


@pytest.fixture
def engine(served):
    engines = []

    def start(**limits):
        engines.append(Engine(*served, Limits(**limits)))
        return engines[-1]

    yield start
    for one in engines:
        one.close()


@pytest.fixture
def no_ends(ban_ends):
    with ban_ends():
        yield


def noise(rng, size):
    return Image.frombytes("RGB", size, rng.randbytes(3 * size[0] * size[1]))


def random_request(seed):
    """Messages and settings of one of many kinds of requests."""
    rng = random.Random(seed)
    question = " ".join(rng.choices(WORDS, k=rng.randint(1, 40)))
    content = [{"type": "text", "text": question}]
    kind = rng.choice(["text", "image", "video", "both"])
    if kind in ("image", "both"):
        content.insert(0, {"type": "image", "image": noise(rng, rng.choice([(56, 56), (84, 56), (64, 96)]))})
    if kind in ("video", "both"):
        count = rng.randint(1, 8)
        frames = [noise(rng, (56, 56)) for _ in range(count)]
        content.insert(0, {"type": "video", "video": Clip(frames, [0.5 * n for n in range(count)])})
    settings = GenerationSettings(
        max_tokens=rng.randint(1, 60),
        temperature=rng.choice([0.0, 0.0, 0.7, 1.3]),
        top_p=rng.choice([1.0, 0.9]),
        seed=rng.randrange(1000),
        imagery=rng.random() < 0.3,
    )
    return [{"role": "user", "content": content}], settings


def answer(engine, messages, settings):
    """What a client sees: texts, blocks with the places of their maps, and how it ended."""
    texts, blocks, finish = {"reasoning_content": "", "content": ""}, [], None
    for event in engine.stream(engine.encode(messages), settings):
        if isinstance(event, TextDelta):
            texts[event.field] += event.text
        elif isinstance(event, ImageryBlock):
            assert len(texts[event.field]) == event.start
            texts[event.field] += event.note
            maps = [(one.kind, one.medium, one.start, round(one.cosine, 3)) for one in event.maps]
            blocks.append((event.number, event.latents, maps))
        else:
            finish = (event.reason, event.prompt_tokens, event.completion_tokens)
    return texts, blocks, finish


@pytest.mark.slow
def test_32_mixed_requests_in_random_arrival_get_what_each_gets_alone(engine):
    requests = [random_request(seed) for seed in range(32)]
    alone = engine(batch=1)
    expected = [answer(alone, *one) for one in requests]
    assert sum(bool(blocks) for _, blocks, _ in expected) >= 5
    assert len({str(one) for one in expected}) > 25

    crowded = engine(batch=7, waiting=40, slice_steps=3)
    rng = random.Random(0)
    delays = [rng.random() * 0.8 for _ in requests]

    def run(number):
        time.sleep(delays[number])
        return answer(crowded, *requests[number])

    with ThreadPoolExecutor(32) as pool:
        together = list(pool.map(run, range(32)))
    assert crowded.counters.tokens > 2 * crowded.counters.steps, "they did not share steps"
    for number, (one, other) in enumerate(zip(together, expected, strict=True)):
        assert one == other, f"request {number}"


@pytest.mark.slow
def test_greedy_answers_are_those_of_generate(engine, served):
    """The loop over a batch with rows at any stage decodes what transformers' own decodes for a row."""
    model, processor = served
    running = engine()
    for seed in range(12):
        messages, settings = random_request(seed)
        settings = replace(settings, temperature=0.0, imagery=False, max_tokens=40)
        prompt = running.encode(messages)
        output = decode_greedily(model, prompt.inputs.to(model.device), 40)
        ids = output.sequences[0, prompt.length :].tolist()
        writer, text = ResponseText(processor.tokenizer, LatentRules.from_config(model.config)), ""
        ends = (model.generation_config.eos_token_id, processor.tokenizer.convert_tokens_to_ids("<|im_end|>"))
        for token in ids:
            if token in ends:
                break
            text += "".join(getattr(event, "text", getattr(event, "note", "")) for event in writer.add(token))
        text += "".join(getattr(event, "text", getattr(event, "note", "")) for event in writer.finish())
        texts, _, _ = answer(running, messages, settings)
        assert texts["content"] == text, f"request {seed}"


@pytest.mark.medium
def test_a_long_prompt_is_read_in_pieces_that_change_nothing(engine, served, monkeypatch):
    messages = random_request(5)[0]
    messages[0]["content"].append(
        {"type": "video", "video": Clip([noise(random.Random(1), (84, 84))] * 6, [*range(6)])}
    )
    messages[0]["content"].append({"type": "text", "text": " ".join(WORDS * 5)})
    settings = GenerationSettings(max_tokens=30)
    whole = answer(engine(), messages, settings)
    monkeypatch.setattr("fourdthinker.hub_cards.serving.engine._CHUNK", 7)
    assert answer(engine(), messages, settings) == whole


def test_a_newcomer_starts_before_a_long_answer_ends(engine, no_ends):
    running = engine(batch=4)
    endless = GenerationSettings(max_tokens=100_000)
    prompt = running.encode([{"role": "user", "content": "Which way?"}])
    first = running.stream(prompt, replace(endless, temperature=1.0, seed=3))
    next(first)
    steps = running.counters.steps
    newcomer = running.stream(prompt, replace(endless, temperature=1.0, seed=4))
    next(newcomer)
    assert running.running == 2
    assert running.counters.steps - steps < 200
    first.close()
    newcomer.close()


def test_who_goes_away_frees_the_place(engine, no_ends):
    running = engine(batch=1)
    prompt = running.encode([{"role": "user", "content": "Which way?"}])
    endless = GenerationSettings(max_tokens=100_000, temperature=1.0)
    stream = running.stream(prompt, endless)
    next(stream)
    stream.close()
    *_, last = running.stream(prompt, GenerationSettings(max_tokens=3))
    assert isinstance(last, Finish)
    assert running.counters.cancelled == 1
    assert wait_until(lambda: running.running == 0)


def test_a_full_queue_and_a_stopping_engine_turn_away(engine, no_ends):
    running = engine(batch=1, waiting=2)
    prompt = running.encode([{"role": "user", "content": "Which way?"}])
    endless = GenerationSettings(max_tokens=100_000, temperature=1.0)
    ended = []
    busy = running.stream(prompt, endless)
    next(busy)
    for _ in range(2):
        running.submit(prompt, endless, ended.append)
    with pytest.raises(Busy):
        running.submit(prompt, endless, ended.append)
    running.stop()
    assert [type(one) for one in ended] == [Stopping, Stopping]
    with pytest.raises(Stopping):
        running.submit(prompt, endless, ended.append)
    next(busy)  # goes on
    threading.Thread(target=running.close).start()
    with pytest.raises(Stopping):
        list(busy)


def test_a_model_that_fails_once_answers_the_next(engine, served, monkeypatch):
    running = engine()
    prompt = running.encode([{"role": "user", "content": "Which way?"}])
    settings = GenerationSettings(max_tokens=5)
    expected = [event for event in running.stream(prompt, settings) if not isinstance(event, Finish)]
    model = served[0]
    forward, calls = model.forward, []

    def fail_at_third(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("out of memory at /secret/place")
        return forward(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(model, "forward", fail_at_third)
        with pytest.raises(ModelFailure) as caught:
            list(running.stream(prompt, settings))
    assert "secret" not in str(caught.value)
    assert [event for event in running.stream(prompt, settings) if not isinstance(event, Finish)] == expected
    assert running.counters.failed == 1


def wait_until(holds, seconds=30):
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    return holds()

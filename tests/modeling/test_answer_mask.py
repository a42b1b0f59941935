"""The answer bottleneck: its mask, the cropped cache that equals it, and what it keeps from the answer."""

import pytest
import torch

from fourdthinker.eval_tasks.sampling import RowSampler, Sampling
from fourdthinker.modeling.answer_mask import ANSWER, FREE, LATENT, PADDING, QUESTION, VISION, token_roles
from fourdthinker.modeling.cache_name import CACHE_NAME
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.latent_rules import LatentRules

from .test_generation_latent import STEPS, EndAt, completion, replay_inputs


@pytest.fixture(params=["question", "no question"])
def blind_model(tiny_model, tiny_processor, request):
    """The tiny model with a bottleneck; rows open two blocks at most."""
    config = tiny_model.config
    config.answer_sees, config.answer_sees_question = "latents", request.param == "question"
    config.turn_token_id = tiny_processor.tokenizer.convert_tokens_to_ids("<|im_start|>")
    return tiny_model


def cache_of(output):
    return output[CACHE_NAME]


def cached_columns(output):
    return cache_of(output).layers[0].keys.shape[2]


def replayed(model, inputs, output):
    """Logits of a training pass at the generated tokens."""
    with torch.no_grad():
        logits = model(**replay_inputs(inputs, output.sequences), latent_embeds=torch.cat(output.latent_embeds)).logits
    return logits[:, inputs["input_ids"].shape[1] - 1 : -1]


def test_roles_of_a_row(prompts, tiny_model, tiny_processor):
    config = tiny_model.config
    config.turn_token_id = tiny_processor.tokenizer.convert_tokens_to_ids("<|im_start|>")
    inputs = prompts([1, 2])
    start, pad, end = config.latent_start_token_id, config.latent_token_id, config.latent_end_token_id
    response = torch.tensor([[5, start, pad, pad, end, 6, start, pad, end, 7]] * 2)
    ids = torch.cat([inputs["input_ids"], response], 1)
    mask = torch.cat([inputs["attention_mask"], torch.ones_like(response)], 1)
    roles = token_roles(ids, config, mask)
    expected = [FREE, FREE, LATENT, LATENT, ANSWER, ANSWER, FREE, LATENT, ANSWER, ANSWER]
    assert roles[:, -10:].tolist() == [expected] * 2
    assert torch.equal(roles == PADDING, mask == 0)
    text = tiny_processor.tokenizer
    for row in range(2):
        question = text.decode(ids[row][roles[row] == QUESTION])
        assert question.startswith("<|im_start|>system") and question.endswith("<|im_end|>\n")
        assert text.decode(ids[row][roles[row] == FREE]).startswith("<|im_start|>assistant\n")
        seen = ids[row][roles[row] == VISION]
        assert (ids[row] == config.video_token_id).sum() <= len(seen)
        assert "video_pad" not in question and "Which" in question or "Does" in question


@pytest.mark.medium
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("blocks", [2, None], ids=["cropped", "masked"])
def test_decoding_equals_the_training_mask(prompts, generate_at, blind_model, attention, blocks):
    blind_model.set_attn_implementation(attention)
    blind_model.config.latent_blocks = blocks
    inputs, steps = prompts(), ([2, 9], [5, 12], [3, 9])
    output = generate_at(inputs, steps, max_new_tokens=24)
    decoded = torch.stack(output.logits, dim=1)
    torch.testing.assert_close(decoded, replayed(blind_model, inputs, output), atol=1e-5, rtol=0)
    full = inputs["input_ids"].shape[1] + 23
    assert cached_columns(output) == full if blocks is None else cached_columns(output) < full
    blind_model.config.answer_sees = "all"
    assert (replayed(blind_model, inputs, output) - decoded).abs().max() > 1e-2, "the mask makes a difference"


@pytest.mark.medium
def test_a_batch_decodes_what_each_row_decodes_alone(prompts, generate_at, blind_model):
    blind_model.config.latent_blocks = 2
    steps = ([2, 9], [5, 12], [3, 9])
    together = generate_at(prompts(), steps, max_new_tokens=24)
    twice = generate_at(
        prompts([0]), [steps[0]] * 2, max_new_tokens=24, num_return_sequences=2, do_sample=True, top_k=1
    )
    for row in range(3):
        inputs = prompts([row])
        single = generate_at(inputs, [steps[row]], max_new_tokens=24)
        assert torch.equal(completion(together, prompts())[row], completion(single, inputs)[0])
        torch.testing.assert_close(together.latent_embeds[row], single.latent_embeds[0], atol=2e-5, rtol=0)
        if row == 0:
            assert torch.equal(twice.sequences, single.sequences.expand(2, -1))


@pytest.mark.medium
def test_the_cropped_cache_keeps_latents_question_and_answer(prompts, generate_at, blind_model):
    blind_model.config.latent_blocks = 1
    inputs = prompts([0])
    output = generate_at(inputs, [[2]], max_new_tokens=16)
    with torch.no_grad():
        roles = token_roles(output.sequences[:, :-1], blind_model.config)
    seen = [LATENT, ANSWER, QUESTION] if blind_model.config.answer_sees_question else [LATENT, ANSWER]
    assert cached_columns(output) == int(torch.isin(roles, torch.tensor(seen)).sum())
    with pytest.raises(InputError, match="the cache was cropped"):
        generate_at({**inputs, "input_ids": output.sequences, "cache": cache_of(output)}, [[]])


@pytest.mark.medium
def test_rows_that_have_ended_hold_no_columns(prompts, generate_at, blind_model):
    blind_model.config.latent_blocks = 1
    eos = blind_model.config.get_text_config().eos_token_id
    inputs = prompts([0, 1])
    ending = EndAt(eos, inputs["input_ids"].shape[1] + 1)
    options = {"processors": [ending], "eos_token_id": eos, "pad_token_id": eos, "max_new_tokens": 20}
    output = generate_at(inputs, ([], [3]), **options)
    assert cached_columns(output) < inputs["input_ids"].shape[1]
    alone = generate_at(prompts([1]), [[3]], **{**options, "processors": [EndAt(eos, None)]})
    assert torch.equal(completion(output, inputs)[1], completion(alone, prompts([1]))[0])


@pytest.mark.medium
def test_no_block_opens_after_the_last(prompts, generate_at, blind_model):
    blind_model.config.latent_blocks = 1
    start = blind_model.config.latent_start_token_id

    def long_for_blocks(_, inputs, logits):
        logits[..., start] = logits.max(-1).values + 1
        return logits

    blind_model.lm_head.register_forward_hook(long_for_blocks)
    inputs = prompts([0, 1])
    rules = LatentRules.from_config(blind_model.config)
    sampler = RowSampler(Sampling(top_p=0.5), ["0" * 15, "1" * 15], rules)  # which the start token alone would pass
    for processors in ([], [sampler]):
        ids = completion(generate_at(inputs, ([], []), processors=processors), inputs)
        assert (ids == start).sum(1).tolist() == [1, 1]
        assert len(set(ids[0].tolist())) > 4


@pytest.mark.medium
def test_a_prompt_with_a_closed_block_goes_on_where_it_stopped(prompts, generate_at, blind_model):
    blind_model.config.latent_blocks = 1
    inputs = prompts([0])
    whole = generate_at(inputs, STEPS[:1])
    for cut in (5, 8, 12):  # inside the block, with its end, after it
        begun = replay_inputs(inputs, whole.sequences[:, : inputs["input_ids"].shape[1] + cut])
        latents = whole.latent_embeds[0][: min(cut - 3, 4)]
        rest = generate_at({**begun, "latent_embeds": latents}, [[]], max_new_tokens=16 - cut)
        assert torch.equal(rest.sequences, whole.sequences)


def test_without_latents_no_video_reaches_the_answer(prompts, blind_model):
    """So what it knows came through latents, and not through the question's states, which follow the video."""
    inputs, config = prompts([0]), blind_model.config
    text = torch.tensor([[5, config.latent_start_token_id, config.latent_end_token_id, 6, 7, 8]])
    ids = torch.cat([inputs["input_ids"], text], 1)
    whole = {**replay_inputs(inputs, ids), "use_cache": False}
    answer = token_roles(ids, config)[0] == ANSWER
    assert answer.sum() == 4

    @torch.no_grad()
    def logits_of(video):
        return blind_model(**{**whole, "pixel_values_videos": video}).logits[0]

    video = inputs["pixel_values_videos"]
    one, other = logits_of(video), logits_of(video.flip(0))
    torch.testing.assert_close(one[answer], other[answer], atol=1e-6, rtol=0)
    assert (one - other)[~answer].abs().max() > 1e-2
    config.answer_sees = "all"
    assert (logits_of(video) - logits_of(video.flip(0)))[answer].abs().max() > 1e-2


def test_what_cannot_be_masked_is_rejected(prompts, generate_at, blind_model):
    inputs, config = prompts([0]), blind_model.config
    with pytest.raises(InputError, match="static"):
        generate_at(inputs, STEPS[:1], cache_implementation="static")
    begun = generate_at(inputs, [[]], max_new_tokens=2)
    with torch.no_grad(), pytest.raises(InputError, match="behind a cache"):
        blind_model(input_ids=inputs["input_ids"][:, -1:], **{CACHE_NAME: cache_of(begun)}, use_cache=True)
    mask = torch.ones(1, begun.sequences.shape[1], dtype=torch.long)
    with pytest.raises(InputError, match="whole prompts as input_ids"):
        generate_at({"input_ids": begun.sequences[:, -1:], "attention_mask": mask, "cache": cache_of(begun)}, [[]])
    config.get_text_config()._attn_implementation = "flash_attention_2"
    with pytest.raises(InputError, match="attn_implementation"):
        generate_at(inputs, STEPS[:1])
    config.get_text_config()._attn_implementation = "sdpa"
    config.turn_token_id = None
    with pytest.raises(InputError, match="turn_token_id"):
        generate_at(inputs, STEPS[:1])


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"answer_sees": "video"}, "choose one of all, latents"), ({"latent_blocks": 0}, "latent_blocks is 0")],
    ids=str,
)
def test_configurations_that_mean_nothing_are_rejected(tiny_model, fields, words):
    with pytest.raises(InputError, match=words):
        type(tiny_model.config)(**fields)

"""Decoding waits for the device no more often than the stock loop does, and its forward compiles to one graph."""

import collections
import inspect

import pytest
import torch
from torch._dynamo.utils import counters
from torch.overrides import TorchFunctionMode
from transformers import CompileConfig

STEPS = ([2], [5], [3, 9])
# What needs a value on the host, and so waits until the device has computed it.
WAITING = frozenset(
    "item tolist numpy cpu nonzero argwhere masked_select unique unique_consecutive equal allclose is_nonzero "
    "bincount __bool__ __int__ __float__ __index__ __contains__".split()
)


class WaitCounter(TorchFunctionMode):
    """Counts what waits for the device, indexing by a mask included."""

    def __init__(self):
        super().__init__()
        self.seen = collections.Counter()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", str(function))
        index = args[1] if name in ("__getitem__", "__setitem__") else ()
        parts = index if isinstance(index, tuple) else (index,)
        if name in WAITING or any(isinstance(part, torch.Tensor) and part.dtype == torch.bool for part in parts):
            self.seen[name] += 1
        return function(*args, **(kwargs or {}))


@pytest.fixture
def count_waits(prompts, generate_at):
    """Counts what twelve more tokens wait for."""

    def count(model, **options):
        known = inspect.signature(model.forward).parameters  # without `mm_token_type_ids` in older stock models
        inputs = {name: values for name, values in prompts().items() if name in known}
        seen = []
        for tokens in (12, 24):
            with WaitCounter() as counter:
                generate_at(inputs, STEPS, model=model, max_new_tokens=tokens, **options)
            seen.append(counter.seen)
        return seen[1] - seen[0]

    return count


@pytest.mark.medium
@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_a_token_waits_for_the_device_as_often_as_in_the_stock_loop(tiny_model, stock_model, count_waits, cache):
    stock_model.config.latent_start_token_id = tiny_model.config.latent_start_token_id
    tiny_model.config.latent_norm, tiny_model.config.latent_target_norm = "match", 3.0
    stock, ours = (count_waits(model, cache_implementation=cache) for model in (stock_model, tiny_model))
    assert stock.total() >= 12, "the stock loop asks after each token whether all rows have ended"
    assert ours == stock


@pytest.mark.medium
def test_more_steps_than_the_first_buffer_holds(prompts, generate_at, tiny_model):
    inputs = prompts([0, 1])
    steps = ([2, 150], [140])
    output = generate_at(inputs, steps, max_new_tokens=160)
    assert [len(latents) for latents in output.latent_embeds] == [8, 4]
    short = generate_at(inputs, ([2], []), max_new_tokens=16)
    assert torch.equal(output.latent_embeds[0][:4], short.latent_embeds[0])
    states = torch.stack(output.latent_embeds[0].split(4))
    assert states.isfinite().all() and not torch.allclose(states[0], states[1])


@pytest.mark.slow
def test_a_static_cache_compiles_to_one_graph_and_never_again(prompts, generate_at):
    compiled = CompileConfig(fullgraph=True, backend="eager", mode=None)  # an error on a graph break
    compiled._compile_all_devices = True
    torch.compiler.reset()
    counters.clear()
    options = {"cache_implementation": "static", "compile_config": compiled}
    expected = generate_at(prompts(), STEPS)
    generate_at(prompts(), STEPS, **options)
    warm = dict(counters["stats"])
    assert warm["unique_graphs"] == 1
    # Other phases of other rows, as many latents more, and the same graph.
    generate_at(prompts(), ([1, 8], [], [3]), **options)
    output = generate_at(prompts(), STEPS, **options)
    assert dict(counters["stats"]) == warm and not counters["graph_break"]
    assert torch.equal(output.sequences, expected.sequences)
    for one, other in zip(output.latent_embeds, expected.latent_embeds, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)

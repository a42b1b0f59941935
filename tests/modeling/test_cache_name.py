"""Forward and generate take the cache under either of its argument names."""

import inspect
import warnings

import pytest
import torch
from transformers import DynamicCache
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils import logging

from fourdthinker.modeling.cache_name import CACHE_NAME, CACHE_NAMES
from fourdthinker.modeling.errors import InputError

IDS = torch.tensor([[5, 9, 20, 33, 41]])


@pytest.fixture
def no_warnings(caplog):
    """Fail on Python warnings and on lines that transformers logs about the cache."""
    logging.enable_propagation()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(cache|past_key_values).*")
        yield
    logging.disable_propagation()
    assert [record.message for record in caplog.records if "past_key_values" in record.message] == []


def test_name_is_the_installed_transformers_own():
    assert CACHE_NAME in CausalLMOutputWithPast.__dataclass_fields__
    assert len([name for name in CACHE_NAMES if name in CausalLMOutputWithPast.__dataclass_fields__]) == 1


def test_stock_methods_take_it(tiny_model):
    """Where transformers moves the name again, this fails before a model does."""
    for model, method in (
        (tiny_model, "prepare_inputs_for_generation"),
        (tiny_model.model, "compute_3d_position_ids"),
    ):
        stock = next(
            vars(one)[method]
            for one in type(model).__mro__
            if one.__module__.startswith("transformers.") and method in vars(one)
        )
        assert CACHE_NAME in inspect.signature(stock).parameters, method


@pytest.mark.parametrize("name", CACHE_NAMES)
def test_forward_takes_either_name_without_warnings(tiny_model, name, no_warnings):
    with torch.no_grad():
        whole = tiny_model(input_ids=IDS)
        for model in (tiny_model, tiny_model.model):
            cache = DynamicCache(config=tiny_model.config.get_text_config())
            model(input_ids=IDS[:, :3], use_cache=True, **{name: cache})
            rest = model(input_ids=IDS[:, 3:], use_cache=True, **{name: cache})
            assert cache.get_seq_length() == 5
            assert getattr(rest, CACHE_NAME) is cache
            states = rest.last_hidden_state
            torch.testing.assert_close(states, whole.last_hidden_state[:, 3:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", CACHE_NAMES)
def test_generate_continues_from_a_cache_of_either_name_without_warnings(tiny_model, name, no_warnings):
    options = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    whole = tiny_model.generate(input_ids=IDS, **options)
    cache = DynamicCache(config=tiny_model.config.get_text_config())
    with torch.no_grad():
        tiny_model(input_ids=IDS[:, :-1], use_cache=True, cache=cache)
    continued = tiny_model.generate(input_ids=IDS, **{name: cache}, **options)
    assert torch.equal(continued, whole)
    assert cache.get_seq_length() == whole.shape[1] - 1


def test_both_names_at_once_are_rejected(tiny_model):
    caches = {name: DynamicCache(config=tiny_model.config.get_text_config()) for name in CACHE_NAMES}
    for call in (tiny_model, tiny_model.model, tiny_model.generate):
        with pytest.raises(InputError, match="give one of them"):
            call(input_ids=IDS, **caches)

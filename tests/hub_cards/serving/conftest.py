"""A served endpoint of a random tiny model that opens latent blocks."""

import threading
import time
from contextlib import contextmanager

import pytest
import torch


@pytest.fixture(scope="module")
def served(tiny_model_folder):
    """A random model that opens a latent block after about every seventh token, and its processor."""
    from fourdthinker.modeling import load_model

    model, processor = load_model(tiny_model_folder, dtype="float32")
    start = model.config.latent_start_token_id

    def open_blocks(_, inputs, logits):
        logits[..., start] = logits.max(-1).values + torch.sin(37 * inputs[0].sum(-1)) - 0.9
        return logits

    model.lm_head.register_forward_hook(open_blocks)
    return model, processor


@pytest.fixture(scope="module")
def ban_ends(served):
    """While it is entered, no answer ends by itself."""
    from fourdthinker.hub_cards.serving.batch import end_tokens

    model, processor = served
    ends = sorted(end_tokens(model, processor.tokenizer))

    def ban(_, inputs, logits):
        logits[..., ends] = -torch.inf
        return logits

    @contextmanager
    def enter():
        hook = model.lm_head.register_forward_hook(ban)
        try:
            yield
        finally:
            hook.remove()

    return enter


@pytest.fixture(scope="module")
def run_server(served):
    """Serves the model on a free port of loopback, in a thread; yields the server and its port."""
    from fourdthinker.hub_cards.serving.app import create_app
    from fourdthinker.hub_cards.serving.engine import Engine
    from fourdthinker.hub_cards.serving.server import GracefulServer, listen
    from fourdthinker.hub_cards.serving.settings import Limits

    @contextmanager
    def run(api_key=None, grace=0.0, **limits):
        engine = Engine(*served, Limits(**limits))
        listening = listen("127.0.0.1", 0)
        port = listening.getsockname()[1]
        server = GracefulServer(create_app(engine, "tiny", api_key), engine, grace)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield server, port
        finally:
            server.handle_exit(15, None)
            server.handle_exit(15, None)
            thread.join(20)
            assert not thread.is_alive()

    return run

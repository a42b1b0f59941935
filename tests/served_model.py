"""A tiny model whose weights are set so that it always says the same, and stock `transformers serve` before it."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import torch
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from fourdthinker.modeling.tiny.qwen2_5_vl import build_processor, build_tokenizer, tiny_config


def write_parrot(folder, text):
    """Write a stock Qwen2.5-VL that answers every prompt with `text`.

    Nothing but the last token passes its layers, so each token has the same successor everywhere.
    """
    tokenizer = build_tokenizer([text, "You are a helpful assistant. user What is it?"] * 3, vocab_size=512)
    chain = [*tokenizer.encode("\n"), *tokenizer.encode(text), tokenizer.convert_tokens_to_ids("<|im_end|>")]
    assert len(set(chain)) == len(chain), "a token that occurs twice would have two successors"
    known = tiny_config(tokenizer, hidden_size=64, layers=1, tie_word_embeddings=False).to_dict()
    shape = {name: value for name, value in known.items() if name not in ("model_type", "architectures", "auto_map")}
    model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(**shape))
    with torch.no_grad():
        for layer in model.model.language_model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        embedding, head = model.get_input_embeddings().weight.zero_(), model.lm_head.weight.zero_()
        for place, (token, successor) in enumerate(zip(chain, chain[1:], strict=False)):
            embedding[token, place] = head[successor, place] = 1.0
    model.generation_config.eos_token_id = chain[-1]
    model.save_pretrained(folder)
    images = Qwen2VLImageProcessor(min_pixels=56 * 56, max_pixels=4 * 56 * 56)
    template = build_processor(tokenizer).chat_template
    Qwen2_5_VLProcessor(images, tokenizer, Qwen2VLVideoProcessor(), chat_template=template).save_pretrained(folder)


@contextmanager
def serve_model(folder, seconds=120, options=()):
    """Start `transformers serve` for a folder, with further options; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder)]
    process = subprocess.Popen(
        [*command, *options, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        limit = time.monotonic() + seconds
        while time.monotonic() < limit and process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.5)
        else:
            raise RuntimeError("transformers serve did not start")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(30)

"""Why there is an endpoint of our own: the stock one does not load our classes. This notes when it does."""

import json
import urllib.request

import pytest


@pytest.mark.slow
def test_transformers_serve_does_not_load_our_folder_yet(tiny_model_folder):
    from ...served_model import serve_model

    body = {"model": str(tiny_model_folder), "max_tokens": 2, "messages": [{"role": "user", "content": "Which way?"}]}
    try:
        with serve_model(tiny_model_folder, options=["--trust-remote-code"]) as address:
            request = urllib.request.Request(
                f"{address}/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=120) as response:
                answer = response.read().decode()
    except (RuntimeError, OSError):  # it ended at its start, or answered with an error
        return
    assert '"choices"' not in answer, (
        "`transformers serve` answers with a folder of ours now: look whether it takes videos and batches requests, "
        "and whether docs/serving.md should name it"
    )

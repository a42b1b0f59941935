"""Requests a minute and time to the first token of the endpoint, against the same server with a batch of one.

    python benchmarks/serve.py                          # a 0.1 B shape at 1, 8, 16 and 32 clients on this machine
    python benchmarks/serve.py --clients 16 --tokens 32 # a short look

Both servers are processes of their own, have the same random weights and are measured by turns, by clients that each
send one streamed request after the other: a clip of 8 frames, a question, and an answer of a fixed length. Beside the
wall clock stands the processor time of the server a request, which other work on the machine changes little.
"""

import argparse
import base64
import http.client
import json
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import torch
from dift import OPTIONS, QUESTION, configuration, make_processor
from measuring import machine

from fourdthinker.hub_cards.serving.app import create_app
from fourdthinker.hub_cards.serving.engine import Engine
from fourdthinker.hub_cards.serving.server import listen, serve
from fourdthinker.hub_cards.serving.settings import Limits
from fourdthinker.modeling import FourDThinkerForConditionalGeneration

SIDE, FRAMES, RATE = 112, 8, 2
QUEUE = 256


@dataclass
class Measured:
    """What one side did with a number of clients."""

    seconds: float = 0.0
    processor_seconds: float = 0.0
    tokens: int = 0
    first: list[float] = field(default_factory=list)


class Served:
    """A server of a model in a process of its own."""

    def __init__(self, model, processor, batch: int, threads: int):
        listening = listen("127.0.0.1", 0)
        self.port = listening.getsockname()[1]
        # Forked, so that both sides have the same weights; nothing has started a thread by now.
        context = multiprocessing.get_context("fork")
        self._process = context.Process(target=run_server, args=(model, processor, batch, threads, listening))
        self._process.start()
        listening.close()

    def processor_seconds(self) -> float:
        """Processor time so far, as Linux counts it."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join(30)


def run_server(model, processor, batch: int, threads: int, listening) -> None:
    """Serve in this process until it is terminated."""
    torch.set_num_threads(threads)
    engine = Engine(model, processor, Limits(batch=batch, waiting=QUEUE))
    serve(create_app(engine, "bench"), engine, listening, 0.0)


def make_video() -> str:
    """A clip as a data URI."""
    rng = np.random.default_rng(0)
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        with av.open(file.name, "w") as container:
            stream = container.add_stream("libx264", rate=RATE)
            stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
            for _ in range(FRAMES):
                frame = av.VideoFrame.from_ndarray(
                    rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8), format="rgb24"
                )
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return "data:video/mp4;base64," + base64.b64encode(Path(file.name).read_bytes()).decode()


def ask(port: int, video: str, number: int, tokens: int) -> tuple[float, int]:
    """Send one request; seconds to its first text, and its tokens."""
    listed = "\n".join(f"{letter}. {option}" for letter, option in zip("ABCD", OPTIONS, strict=False))
    content = [
        {"type": "video_url", "video_url": {"url": video}, "frames": FRAMES},
        {"type": "text", "text": f"{QUESTION} ({number})\n\n{listed}"},
    ]
    settings = {"max_tokens": tokens, "stream": True, "stream_options": {"include_usage": True}}
    body = json.dumps({"messages": [{"role": "user", "content": content}], **settings})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3600)
    started = time.perf_counter()
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    response = connection.getresponse()
    first = time.perf_counter() - started  # the answer's head comes with its first text
    lines = response.read().decode().splitlines()
    connection.close()
    if response.status != 200:
        raise RuntimeError(lines[0])
    usage = next(json.loads(line[6:])["usage"] for line in reversed(lines) if '"usage"' in line)
    return first, usage["completion_tokens"]


def measure(served: Served, measured: Measured, clients: int, requests: int, video: str, tokens: int) -> None:
    """One turn of a side: `clients` at once, each with its share of the requests."""
    numbers, lock = iter(range(requests)), threading.Lock()

    def run() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            first, count = ask(served.port, video, number, tokens)
            with lock:
                measured.first.append(first)
                measured.tokens += count

    threads = [threading.Thread(target=run) for _ in range(clients)]
    started, used = time.perf_counter(), served.processor_seconds()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    measured.seconds += time.perf_counter() - started
    measured.processor_seconds += served.processor_seconds() - used


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 16, 32])
    parser.add_argument("--batch", type=int, default=16, help="batch size of the server (default: 16)")
    parser.add_argument("--tokens", type=int, default=64, help="length of each answer (default: 64)")
    parser.add_argument("--rounds", type=int, default=2, help="turns of each side (default: 2)")
    parser.add_argument("--requests", type=int, default=2, help="requests of each client in a turn (default: 2)")
    parser.add_argument(
        "--alone-requests", type=int, help="requests in a turn to the batch of one (default: as many as to the other)"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of each server")
    parser.add_argument("--hidden", type=int, default=512, help="width of the language model (default: 512)")
    parser.add_argument("--layers", type=int, default=8, help="its depth (default: 8)")
    parser.add_argument("--vocabulary", type=int, default=151_936, help="its tokens (default: 151936)")
    args = parser.parse_args()
    args.accelerator = False
    torch.set_num_threads(1)  # a thread pool would not outlive the fork
    torch.manual_seed(0)
    processor = make_processor()
    model = FourDThinkerForConditionalGeneration(configuration(processor, args)).eval()
    weights = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    sides = {"one": Served(model, processor, 1, args.threads)}
    sides[f"{args.batch}"] = Served(model, processor, args.batch, args.threads)
    print(machine("cpu", "float32").replace("1 threads", f"{args.threads} threads"))
    print(f"{weights:.0f} M weights, {args.tokens} tokens an answer, {FRAMES} frames of {SIDE} x {SIDE}")
    print(
        "\n| clients | batch | requests/min | first token, s (median, slowest) | server's CPU s a request | requests |"
    )
    print("|---|---|---|---|---|---|", flush=True)
    video = make_video()
    try:
        for served in sides.values():
            measure(served, Measured(), 1, 1, video, 4)
        for clients in args.clients:
            compare(sides, clients, args, video)
    finally:
        for served in sides.values():
            served.stop()


def compare(sides: dict[str, Served], clients: int, args: argparse.Namespace, video: str) -> None:
    """Measure both sides by turns at a number of clients."""
    results = {name: Measured() for name in sides}
    for _ in range(args.rounds):
        for name, served in sides.items():
            requests = args.alone_requests if name == "one" and args.alone_requests else clients * args.requests
            measure(served, results[name], clients, requests, video, args.tokens)
    for name, result in results.items():
        count = len(result.first)
        print(
            f"| {clients} | {name} | {60 * count / result.seconds:.1f} | {statistics.median(result.first):.2f}, "
            f"{max(result.first):.2f} | {result.processor_seconds / count:.2f} | {count} |",
            flush=True,
        )
    one, many = results.values()
    by_clock = (len(many.first) / many.seconds) / (len(one.first) / one.seconds)
    by_processor = (one.processor_seconds / len(one.first)) / (many.processor_seconds / len(many.first))
    print(
        f"\n{clients} clients: {by_clock:.1f} times the requests/min, {by_processor:.1f} times as many a CPU s\n",
        flush=True,
    )


if __name__ == "__main__":
    main()

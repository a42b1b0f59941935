"""`fourdthinker ask`: one question about one video."""

import argparse
import json
import re
import time
from pathlib import Path

from ..modeling.errors import InputError
from ..modeling.tokens import show_latent_blocks

SUMMARY = "ask a model one question about a video"
DEFAULT_FRAMES = 8
_BLOCK_NOTE = re.compile(r"\[imagery \d+: (\d+) latents\]")
_RESPONSE = re.compile(r"\s*<think>(.*?)</think>\s*<answer>(.*?)</answer>\s*", re.DOTALL)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("video", metavar="VIDEO", help="a video file")
    parser.add_argument("question", metavar="QUESTION", help="what to ask about it")
    parser.add_argument("--model", required=True, metavar="DIR", help="folder of a saved model")
    sampling = parser.add_mutually_exclusive_group()
    sampling.add_argument(
        "--frames", type=int, help=f"frames to show, evenly spread over the video (default: {DEFAULT_FRAMES})"
    )
    sampling.add_argument("--fps", type=float, help="frames to show per second of video, instead of --frames")
    parser.add_argument("--options", nargs=4, metavar=("A", "B", "C", "D"), help="four answers to choose from")
    parser.add_argument(
        "--max-new-tokens", type=int, default=512, help="longest response, latents included (default: 512)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object: answer, reasoning, latent blocks, seconds"
    )
    parser.add_argument("--device", help="where to run (default: the first GPU if there is one, else cpu)")


def run(args: argparse.Namespace) -> None:
    """Print the reasoning, its latent blocks as notes, and the answer."""
    if args.max_new_tokens < 1:
        raise InputError(f"--max-new-tokens must be at least 1, got {args.max_new_tokens}")
    if not args.question.strip():
        raise InputError("the question is empty; ask something about the video")
    # The video before the model: a wrong file name should not wait for gigabytes of weights.
    from ..dataset_builders.video import read_frames

    started = time.perf_counter()
    frames = None if args.fps is not None else DEFAULT_FRAMES if args.frames is None else args.frames
    clip = read_frames(Path(args.video), fps=args.fps, max_frames=frames)
    decoded = time.perf_counter()

    import torch

    from ..eval_tasks.predict import Prompt, respond
    from ..modeling import load_model
    from ..modeling.processing import conversation_text

    model, processor = load_model(args.model)
    model.to(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    loaded = time.perf_counter()
    text = conversation_text(processor, args.question, args.options or ())
    prompt = Prompt(text, len(clip.frames), lambda: clip)
    (response,) = respond(model, processor, [prompt], 1, args.max_new_tokens, progress=False)
    if args.json:
        seconds = {"video": decoded - started, "model": loaded - decoded, "answer": time.perf_counter() - loaded}
        told = {**parsed(response or ""), "seconds": {name: round(value, 3) for name, value in seconds.items()}}
        print(json.dumps(told, ensure_ascii=False))
    else:
        print(shown(response or ""))


def shown(response: str) -> str:
    """A response made readable: reasoning, an empty line, the answer; as it stands where its tags are not complete."""
    told = parsed(response)
    return told["reasoning"] if told["answer"] is None else f"{told['reasoning']}\n\nAnswer: {told['answer']}"


def parsed(response: str) -> dict:
    """A response taken apart.

    Returns:
        `dict`: `answer`, `None` where the tags are not complete; `reasoning`, in that case the whole response, with a
        note in the place of each latent block; `blocks`, for each the number of `latents` and where its note stands in
        the reasoning (`start`, `end`).
    """
    readable = show_latent_blocks(response)
    match = _RESPONSE.fullmatch(readable)
    reasoning, answer = (match[1].strip(), match[2].strip()) if match else (readable, None)
    blocks = [
        {"latents": int(note[1]), "start": note.start(), "end": note.end()} for note in _BLOCK_NOTE.finditer(reasoning)
    ]
    return {"answer": answer, "reasoning": reasoning, "blocks": blocks}

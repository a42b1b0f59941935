"""`fourdthinker ask`: answer one question about a video."""

import argparse
import json
import sys
import time
from pathlib import Path

from ..modeling.errors import InputError
from ..modeling.row_rules import prompt_fault
from ..modeling.visualization.imagery_picture import check_picture_path, draw_imagery, find_words_around
from .device import choose_device
from .input_checks import check_file, check_model
from .models import add_model_arguments, open_model

DEFAULT_FRAMES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("video", metavar="VIDEO", help="a video file")
    parser.add_argument("question", metavar="QUESTION", help="what to ask about it")
    add_model_arguments(parser)
    sampling = parser.add_mutually_exclusive_group()
    sampling.add_argument(
        "--frames", type=int, help=f"frames to show, evenly spread over the video (default: {DEFAULT_FRAMES})"
    )
    sampling.add_argument("--fps", type=float, help="frames to show per second of video, instead of --frames")
    parser.add_argument(
        "--options", nargs="+", metavar="TEXT", help="two to ten answers to choose from, after VIDEO and QUESTION"
    )
    parser.add_argument(
        "--max-new-tokens", type=int, default=512, help="longest response, latents included (default: 512)"
    )
    parser.add_argument(
        "--imagery",
        metavar="FILE",
        help="draw where in the video each latent block points: a .png, .pdf or .svg file, replaced if there",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object: answer, reasoning, latent blocks, seconds"
    )
    parser.add_argument("--device", help="where to run (default: the first GPU if there is one, else cpu)")


def run(args: argparse.Namespace) -> None:
    """Print the reasoning as it is written, its latent blocks as notes, and the answer."""
    if args.max_new_tokens < 1:
        raise InputError(f"--max-new-tokens must be at least 1, got {args.max_new_tokens}")
    options = args.options or ()
    if fault := prompt_fault(args.question, options):
        raise InputError(fault)
    image_path = None if args.imagery is None else Path(args.imagery)
    if image_path is not None:
        check_picture_path(image_path)
    check_file(args.video, "the video")
    check_model(args.model, revision=args.revision)
    # The video before the model: a wrong file name should not wait for gigabytes of weights.
    from ..dataset_builders.sources.video_reader import read_frames

    started = time.perf_counter()
    frames = None if args.fps is not None else DEFAULT_FRAMES if args.frames is None else args.frames
    clip = read_frames(Path(args.video), fps=args.fps, max_frames=frames)
    decoded = time.perf_counter()

    from ..eval_tasks.answers import extract_answer
    from ..eval_tasks.predict import decode_greedily
    from ..modeling.processing import conversation_text, encode
    from ..modeling.readable_response import ResponseStreamer

    model, processor = open_model(args.model, choose_device(args.device), args.revision)
    loaded = time.perf_counter()
    text = conversation_text(processor, args.question, options)
    inputs = encode(processor, [text], [clip]).to(model.device)
    streamer = None if args.json else ResponseStreamer(processor.tokenizer)
    output = decode_greedily(model, inputs, args.max_new_tokens, streamer=streamer)
    response = processor.read_response(output.sequences[0, inputs["input_ids"].shape[1] :])
    if args.json:
        seconds = {"video": decoded - started, "model": loaded - decoded, "answer": time.perf_counter() - loaded}
        response["seconds"] = {name: round(value, 3) for name, value in seconds.items()}
        print(json.dumps(response, ensure_ascii=False))
    if options and extract_answer(response["text"], options) is None:
        print("fourdthinker: the response chooses none of the given options", file=sys.stderr)
    if image_path is not None:
        _draw(image_path, model, inputs, output.latent_embeds[0], clip, response)


def _draw(path: Path, model, inputs, latents, clip, response: dict) -> None:
    from ..modeling.visualization.imagery_maps import imagery_maps

    counts = [block["latents"] for block in response["blocks"]]
    if not sum(counts):
        print(f"fourdthinker: the response has no latent block, so {path} was not written", file=sys.stderr)
        return
    places = [find_words_around(response["text"], block["start"], block["end"]) for block in response["blocks"]]
    draw_imagery(path, imagery_maps(model, inputs, latents), counts, clip.frames, clip.timestamps, places)
    print(f"imagery in {path}", file=sys.stderr)

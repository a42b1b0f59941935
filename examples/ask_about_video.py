"""Ask a model about a video, and print its reasoning with a note wherever it imagined.

fourdthinker init --trained --output models/trained
python examples/ask_about_video.py models/trained models/trained/example.mp4 \
    "Which way does the camera move between 0.0 s and 3.5 s?" "Pedestal Up" "Truck Left" "Pedestal Down" "Truck Right"
"""

import sys

from fourdthinker.dataset_builders.sources.video_reader import read_frames
from fourdthinker.eval_tasks import extract_answer
from fourdthinker.eval_tasks.predict import predict
from fourdthinker.modeling import load_model
from fourdthinker.modeling.tokens import show_latent_blocks


def main(folder: str, video: str, question: str, *options: str) -> None:
    """Print the response, and the option that it chose."""
    model, processor = load_model(folder)
    clip = read_frames(video, max_frames=8)  # evenly spread, with their true times
    row = {"question": question, "options": options, "frames": clip.frames, "timestamps": clip.timestamps}
    (response,) = predict(model, processor, [row], progress=False)
    print(show_latent_blocks(response))
    if chosen := find_chosen_option(response, options):
        print("chosen:", chosen)


def find_chosen_option(response: str, options: tuple[str, ...]) -> str | None:
    """The text of the option that a response chooses; none without options, where a letter names nothing."""
    letter = extract_answer(response, options) if options else None
    return letter and options["ABCDEFGHIJ".index(letter)]


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Score a model on questions of your own, with its latents and with zeros in their place.

python examples/evaluate.py models/trained rows.jsonl
"""

import sys

from fourdthinker.dataset_builders import read_row_file
from fourdthinker.eval_tasks import format_scores, score
from fourdthinker.eval_tasks.latents import latent_transform
from fourdthinker.eval_tasks.predict import predict
from fourdthinker.modeling import load_model


def main(folder: str, file: str) -> None:
    """Print accuracy with its 95 % interval and chance level, for each task and for all."""
    rows = read_row_file(file, "grpo", report=print)
    keys = rows.select_columns(["task", "options", "answer"]).to_list()
    model, processor = load_model(folder)
    for latents in ("own", "zero"):
        responses = predict(model, processor, rows, batch_size=8, latent_transform=latent_transform(latents))
        scored = [{**key, "response": response} for key, response in zip(keys, responses, strict=True)]
        print(format_scores(score(scored), title=f"{latents} latents"), end="\n\n")


if __name__ == "__main__":
    main(*sys.argv[1:])

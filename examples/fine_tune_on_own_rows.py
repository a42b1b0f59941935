"""Fine-tune a model with DIFT on rows of your own: a JSONL, JSON, CSV or Parquet file.

Paths start from the file's folder; `imagery`, if any, holds an image for each <output_image>. A row, cut in two here:

{"video": "cat.mp4", "question": "Which way does it turn?", "options": ["left", "right"], "answer": "left",
 "response": "It looks at the door <output_image> on its left.", "imagery": ["door.png"]}

python examples/fine_tune_on_own_rows.py models/trained rows.jsonl models/fine_tuned
"""

import sys

from fourdthinker.dataset_builders import read_row_file
from fourdthinker.modeling import load_model
from fourdthinker.trainers import DIFTConfig, DIFTTrainer


def main(folder: str, file: str, output: str) -> None:
    """Train for one epoch and save the model with its processor."""
    rows = read_row_file(file, "dift", report=print)  # prints which columns were taken
    model, processor = load_model(folder)
    args = DIFTConfig(
        output,
        num_train_epochs=1,
        per_device_train_batch_size=2,
        learning_rate=1e-5,
        save_strategy="no",
        report_to="none",
    )
    trainer = DIFTTrainer(model, args=args, train_dataset=rows, processing_class=processor)
    trainer.train()
    trainer.save_model(output)


if __name__ == "__main__":
    main(*sys.argv[1:])

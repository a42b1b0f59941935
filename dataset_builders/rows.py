"""The columns of 4D chain-of-thought rows, on disk and on the Hub."""

from datasets import Features, Image, List, Value

GRPO_FEATURES = Features(
    {
        "id": Value("string"),
        "source": Value("string"),
        "task": Value("string"),
        "question": Value("string"),
        "options": List(Value("string")),
        "answer": Value("string"),
        "frames": List(Image()),
        "timestamps": List(Value("float64")),
        "facts": Value("string"),
    }
)

# Rows from elsewhere may do without; `latent_pooling="region"` then cannot be trained on them.
OPTIONAL_COLUMNS = ("imagery_masks",)

DIFT_FEATURES = Features(
    {
        **GRPO_FEATURES,
        "response": Value("string"),
        "imagery": List(Image()),
        "imagery_timestamps": List(Value("float64")),
        "imagery_masks": List(Image()),
    }
)

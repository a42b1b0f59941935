"""The columns of 4D chain-of-thought rows, on disk and on the Hub."""

from datasets import Features, Image, List, Value

# `facts` is JSON text and not `datasets.Json`, which reads back as a dictionary: such rows can neither be concatenated
# with published ones nor read by what was written for them.
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

# Where camera and object are in the two frames that a question is about, as `spatiotemporal_reward` takes it: for each
# frame [x, y, z] in metres, in the axes of the camera at the first of them, or null.
_CENTERS = {name: List(List(Value("float64"))) for name in ("camera_centers", "object_centers")}
MLLM4D_FEATURES = {
    "mllm4d_sft": Features({**DIFT_FEATURES, **_CENTERS}),
    "mllm4d_cold_start": Features({**DIFT_FEATURES, **_CENTERS}),
    "mllm4d_grpo": Features({**GRPO_FEATURES, **_CENTERS}),
}

"""The number format of the weights while questions are answered. Imports no torch."""

DTYPES = ("float32", "bfloat16", "float16", "auto")


def choose_dtype(dtype: str | None, device: object) -> str:
    """The number format to load weights in, as `from_pretrained` takes it.

    On a CPU it is float32 unless another one is named: half precision is no faster there, and rounds differently in
    batches of another size, so that of two tokens that are almost equally likely another one may be taken. On other
    devices it is the checkpoint's own.

    Args:
        dtype (`str`, *optional*): Such as `"bfloat16"`; `"auto"` is the checkpoint's own.
        device (`torch.device` or `str`): Where the model is going to run.
    """
    return dtype or ("float32" if str(device).partition(":")[0] == "cpu" else "auto")


def dtype_name(model) -> str:
    """The number format of a model's weights, such as `"bfloat16"`, for reports."""
    return str(model.dtype).removeprefix("torch.")

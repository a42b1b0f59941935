"""How a response is split into reasoning and answer, in the declarative form that transformers reads. Pure Python."""

# transformers from 5.13 on reads it from `tokenizer_config.json`: pipelines, `parse_response` and servers then give
# the text of `<think>` as `reasoning_content` and the rest, which is the answer, as `content`. A response without tags
# is content as a whole, one that was cut in its thought has none. Delimiters take the white space around them, so that
# the parts of a stream add up to what the whole gives.
RESPONSE_TEMPLATE = {
    "defaults": {"role": "assistant", "content": ""},
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {
        "reasoning_content": {
            "open_pattern": r"\s*<think>\s*",
            "close_pattern": r"\s*(?:</think>|<\|im_end\|>|<\|endoftext\|>)\s*",
            "repeats": True,
            "join": "\n",
        },
        "content": {
            "close_pattern": r"<answer>\s*|\s*</answer>|\s*(?:<\|im_end\|>|<\|endoftext\|>)\s*",
            "content_args": {"strip": False},
            "repeats": True,
            "join": "",
        },
    },
}

"""The lmms-eval chat model `fourdthinker`."""

import os
from collections import defaultdict
from collections.abc import Callable, Mapping

import torch
from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms
from PIL import Image

from ...modeling import load_model
from ...modeling.errors import InputError
from ...modeling.processing import Clip, decode_image
from ...modeling.row_rules import special_token
from ..latents import latent_transform
from ..predict import MAX_NEW_TOKENS, Prompt, respond


class FourDThinker(lmms):
    """`--model fourdthinker --model_args pretrained=DIR`: a saved model, decoded greedily with its latents.

    Args:
        pretrained (`str`): Folder of a model saved by this package.
        batch_size (`int`, *optional*, defaults to 1): Rows decoded at once; the answers do not depend on it.
        device (`str`, *optional*): Where to run; the first GPU if there is one, else the CPU.
        latents (`str`, *optional*, defaults to `"own"`): `"own"`, `"zero"` or `"shuffled"`, see `latent_transform`.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str,
        batch_size: int | str = 1,
        device: str | None = None,
        latents: str = "own",
        max_batch_size: int | None = None,
    ):
        super().__init__()
        if not str(batch_size).isdecimal():
            raise InputError(f"--batch_size must be a number, got {batch_size!r}")
        self.batch_size = int(batch_size)
        self.latent_transform = latent_transform(latents)
        local_gpu = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device or local_gpu)
        self.model, self.processor = load_model(pretrained)
        self.model.to(self.device)

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Answer requests greedily.

        `until` is ignored: by default it is a blank line, which would cut the reasoning short. Responses end where
        the model ends its turn.
        """
        # One call for each task, as `fourdthinker eval` does it, so that both decode the very same batches.
        groups = defaultdict(list)
        for index, request in enumerate(requests):
            _, _, settings, _, task, split = request.args
            groups[task, split, _greedy_length(settings)].append(index)
        responses = [""] * len(requests)
        for (_, _, max_new_tokens), indices in groups.items():
            prompts = [self._prompt(requests[index]) for index in indices]
            answers = respond(
                self.model,
                self.processor,
                prompts,
                self.batch_size,
                max_new_tokens,
                self.latent_transform,
                progress=self.rank == 0,
            )
            for index, answer in zip(indices, answers, strict=True):
                responses[index] = answer or ""
        return responses

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Not supported: latents are generated, so a fixed continuation has no likelihood of its own."""
        raise NotImplementedError("the model 'fourdthinker' answers generate_until tasks only")

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Not supported."""
        raise NotImplementedError("the model 'fourdthinker' answers single-round tasks only")

    def clean(self) -> None:
        """Called when the answers are in. The base class would delete the model, which its owner may still need."""
        torch.cuda.empty_cache()

    def _prompt(self, request: Instance) -> Prompt:
        _, doc_to_messages, _, doc_id, task, split = request.args
        rows = self.task_dict[task][split]
        if "timestamps" not in rows.column_names:
            raise InputError(f"task {task}: its rows have no `timestamps`, so the times of their frames are unknown")
        messages = doc_to_messages(rows[doc_id])
        return Prompt(
            text=self.processor.apply_chat_template(
                _with_one_video(messages, task), tokenize=False, add_generation_prompt=True
            ),
            n_frames=len(_frames(messages)),
            # Decoded again when the batch is due, so that the frames of all rows are never in memory together.
            clip=lambda: _clip(doc_to_messages, rows[doc_id]),
        )


def _greedy_length(settings: Mapping) -> int:
    if settings.get("do_sample") or float(settings.get("temperature") or 0) > 0:
        raise InputError("the model 'fourdthinker' decodes greedily: set do_sample=false and temperature=0")
    return int(settings.get("max_new_tokens") or MAX_NEW_TOKENS)


def _with_one_video(messages: list[dict], task: str) -> list[dict]:
    """The messages as our chat template takes them: the frames become one video, before the text of their turn."""
    converted = []
    for message in messages:
        for part in message["content"]:
            if part["type"] == "text" and (token := special_token(part["text"])):
                raise InputError(f"task {task}: a prompt has the token {token} in its words: take it out")
            if part["type"] not in ("image", "text"):
                raise InputError(
                    f"task {task}: {part['type']} {part.get('url')!r} is not decoded here; the model 'fourdthinker' "
                    "takes frames as images, with their times in the row's `timestamps`"
                )
        texts = [{"type": "text", "text": part["text"]} for part in message["content"] if part["type"] == "text"]
        video = [{"type": "video"}] if len(texts) < len(message["content"]) else []
        converted.append({"role": message["role"], "content": video + texts})
    if sum(part["type"] == "video" for message in converted for part in message["content"]) != 1:
        raise InputError(f"task {task}: the model 'fourdthinker' needs the frames of one clip in one turn")
    return converted


def _frames(messages: list[dict]) -> list[Image.Image]:
    return [part["url"] for message in messages for part in message["content"] if part["type"] == "image"]


def _clip(doc_to_messages: Callable, doc: Mapping) -> Clip:
    return Clip([decode_image(frame) for frame in _frames(doc_to_messages(doc))], list(doc["timestamps"]))

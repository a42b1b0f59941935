"""The lmms-eval chat model `fourdthinker`, for any task that generates text."""

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms

from ...modeling import load_model
from ...modeling.errors import InputError, first_line
from ..benchmark import FramePolicy
from ..choice import check_reading
from ..controls import check_video_control
from ..conversations import Prompt
from ..journal import open_journal
from ..latents import latent_transform
from ..precision import DTYPES, choose_dtype
from ..predict import BATCH_SIZE, MAX_NEW_TOKENS, respond
from ..sampling import Sampling, sampling_of
from ..shown_frames import describe_frames
from ..unanswered import response_for
from .current_model import note_model
from .messages import convert_messages
from .shown_media import controlled_messages

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

SAMPLING = ("greedy", "task")
_ARGUMENTS = (
    *("pretrained", "peft", "dtype", "attn_implementation", "max_frames", "fps", "max_pixels", "latents", "video"),
    *("max_new_tokens", "sampling", "journal", "reading", "batch_size", "max_batch_size", "device", "revision"),
)


class FourDThinker(lmms):
    """`--model fourdthinker --model_args pretrained=DIR`: a saved model, decoded greedily with its latents.

    Args:
        pretrained (`str`): Folder of a saved model, or its name on the Hub.
        batch_size (`int` or `str`, *optional*, defaults to 1): Conversations decoded at once; in float32 the
            answers do not depend on it, in half precision up to rounding. `"auto"` is `max_batch_size`, or 32. It
            is halved where memory does not suffice.
        device (`str`, *optional*): Where to run; a GPU for each process if there are any, else the CPU.
        max_batch_size (`int`, *optional*): For `"auto"`.
        peft (`str`, *optional*): An adapter that is merged into the model.
        revision (`str`, *optional*): A branch, tag or commit of a model on the Hub; see `load_model`.
        dtype (`str`, *optional*): Such as `"bfloat16"`, or `"auto"` for the checkpoint's own; see `choose_dtype`.
        attn_implementation (`str`, *optional*): Such as `"sdpa"`.
        fps, max_frames, max_pixels (*optional*): Frames a second, frames and pixels of a frame at most, in place of
            what the task's metadata say. `max_frames` without a rate is spread evenly over the video.
        latents (`str`, *optional*, defaults to `"own"`): See `latent_transform`.
        video (`str`, *optional*, defaults to `"own"`): `"none"`, `"first"` or `"shuffled"` as control of the input.
        max_new_tokens (`int`, *optional*): In place of the task's.
        sampling (`str`, *optional*, defaults to `"greedy"`): `"task"` draws the answers of tasks that sample.
        reading (`str`, *optional*, defaults to `"response"`): `"choice"` reads the answer to a document with `options`
            as the likeliest of them, see `complete_by_choice`.
        journal (`str`, *optional*): Folder of finished answers, or `"none"`; see `open_journal`.

    Raises:
        InputError: If an argument is unknown or means nothing.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str | None = None,
        batch_size: int | str = 1,
        device: str | None = None,
        max_batch_size: int | None = None,
        peft: str | None = None,
        dtype: str | None = None,
        attn_implementation: str | None = None,
        fps: float | None = None,
        max_frames: int | None = None,
        max_pixels: int | None = None,
        latents: str = "own",
        video: str = "own",
        max_new_tokens: int | None = None,
        sampling: str = "greedy",
        journal: str | None = None,
        revision: str | None = None,
        reading: str = "response",
        **unknown: Any,
    ):
        super().__init__()
        if unknown or not pretrained:
            wrong = f"unknown argument {next(iter(unknown))!r}" if unknown else "pretrained is missing"
            raise InputError(f"--model_args of fourdthinker: {wrong}; it takes {', '.join(_ARGUMENTS)}")
        for name, value in (
            ("max_frames", max_frames),
            ("max_pixels", max_pixels),
            ("max_new_tokens", max_new_tokens),
        ):
            _check_number(name, value, whole=True)
        _check_number("fps", fps, whole=False)
        if sampling not in SAMPLING:
            raise InputError(f"unknown sampling {sampling!r}: choose one of {', '.join(SAMPLING)}")
        self.batch_size = _batch_size(batch_size, max_batch_size)
        self.frames = FramePolicy(fps, max_frames, max_pixels)
        self.video, self.reading = check_video_control(video), check_reading(reading)
        self.latent_transform = latent_transform(latents)
        self.max_new_tokens, self.sampling = max_new_tokens, sampling
        local_gpu = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device or local_gpu)
        chosen = choose_dtype(dtype, self.device)
        self.model, self.processor = _load(str(pretrained), peft, chosen, attn_implementation, revision)
        self.model.to(self.device)
        self.journal = open_journal(self.model, self.processor, {"latents": latents}, journal)
        self._warned: set[str] = set()
        note_model(self)

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """Answer requests.

        `until` is ignored: by default it is a blank line, which would cut the reasoning short. Responses end where
        the model ends its turn.
        """
        return self._answer([(request, self._first_messages(request)) for request in requests])

    def generate_until_multi_round(self, requests: list[Instance]) -> list[list[str]]:
        """Answer requests in several rounds; one list of answers for each.

        The task sees the answers of earlier rounds with notes in the place of latent blocks: it may quote them.
        """
        outputs: list[list[str]] = []
        for start in range(0, len(requests), self.batch_size):
            outputs += self._answer_rounds(requests[start : start + self.batch_size])
        return outputs

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Not supported: latents are generated, so a fixed continuation has no likelihood of its own."""
        raise NotImplementedError("the model 'fourdthinker' answers tasks that generate text only")

    def clean(self) -> None:
        """Called when the answers are in. The base class would delete the model, which its owner may still need."""
        torch.cuda.empty_cache()

    def describe_frames(self, rows: "Dataset", policy: FramePolicy, as_images: bool = False) -> str:
        """In words, which frames this model is shown of rows of a task that asks for this policy.

        Args:
            rows (`Dataset`): The rows.
            policy (`FramePolicy`): The task's.
            as_images (`bool`, *optional*, defaults to `False`): Whether the task samples the frames itself.
        """
        own = replace(self.frames, fps=None, max_frames=None) if as_images else self.frames
        return describe_frames(rows, own.completed_by(policy), self.video, self.processor)

    def _answer_rounds(self, requests: Sequence[Instance]) -> list[list[str]]:
        outputs: list[list[str]] = [[] for _ in requests]
        notes: list[Any] = [None] * len(requests)
        pending = [(index, self._first_messages(request)) for index, request in enumerate(requests)]
        while pending:
            answers = self._answer([(requests[index], messages) for index, messages in pending])
            for (index, _), answer in zip(pending, answers, strict=True):
                outputs[index].append(answer)
            waiting, pending = [index for index, _ in pending], []
            for index in waiting:
                request = requests[index]
                payload = request.args[1](
                    self._doc(request),
                    round_idx=len(outputs[index]),
                    previous_output=[self.processor.read_response(output)["text"] for output in outputs[index]],
                    previous_round_info=notes[index],
                )
                if not isinstance(payload, tuple) or len(payload) != 4 or payload[1]:
                    continue
                messages, _, _, notes[index] = payload
                pending.append((index, lambda messages=messages: messages))
        return outputs

    def _answer(self, questions: Sequence[tuple[Instance, Callable[[], Sequence[Mapping]]]]) -> list[str]:
        """Answer requests with these messages, those of one task and its settings together."""
        groups = defaultdict(list)
        for index, (request, _) in enumerate(questions):
            _, _, settings, _, task, split = request.args
            policy = self._frame_policy(request)
            groups[task, split, self._length(settings), self._sampling_for(task, settings), policy].append(index)
        responses = [""] * len(questions)
        for (task, split, max_new_tokens, sampling, policy), indices in groups.items():
            prompts = list(self._prompts([questions[index] for index in indices], self.task_dict[task][split], policy))
            answers = respond(
                self.model,
                self.processor,
                prompts,
                self.batch_size,
                max_new_tokens,
                self.latent_transform,
                progress=self.rank == 0,
                max_pixels=policy.max_pixels,
                standing_still=self.video == "first",
                sampling=sampling,
                journal=self.journal,
                reading=self.reading,
                describe_failure=response_for,
            )
            for index, answer in zip(indices, answers, strict=True):
                responses[index] = answer or ""
        return responses

    def _prompts(self, questions: Sequence[tuple], rows: Any, policy: FramePolicy) -> Iterator[Prompt]:
        has_times = "timestamps" in getattr(rows, "column_names", ())
        times = rows.select_columns(["timestamps"]) if has_times else None  # decodes no frame
        offered = rows.select_columns(["options"]) if "options" in getattr(rows, "column_names", ()) else None
        seen: dict[int, int] = defaultdict(int)
        for request, own_messages in questions:
            context, _, _, doc_id, task, _ = request.args

            def messages(request=request, own_messages=own_messages) -> list[dict]:
                shown, number = controlled_messages(own_messages(), self.video, request, rows)
                return convert_messages(shown, policy, times and times[number]["timestamps"])

            length = (len((times and times[doc_id]["timestamps"]) or ()), len(str(context)))
            scope = f"{task} {(request.metadata or {}).get('version')}"
            options = tuple((offered and offered[doc_id]["options"]) or ())
            yield Prompt(messages, length, f"{task} {doc_id}", scope, seen[doc_id], options)
            seen[doc_id] += 1

    def _first_messages(self, request: Instance) -> Callable[[], Sequence[Mapping]]:
        return lambda: request.args[1](self._doc(request))

    def _doc(self, request: Instance) -> Mapping:
        _, _, _, doc_id, task, split = request.args
        return self.task_dict[task][split][doc_id]

    def _frame_policy(self, request: Instance) -> FramePolicy:
        """The model's arguments, and what they leave open from the task's metadata."""
        frames = (request.metadata or {}).get("frames")
        names = ("fps", "max_frames", "max_pixels")
        return self.frames.completed_by(
            FramePolicy(*(frames.get(name) for name in names)) if isinstance(frames, Mapping) else FramePolicy()
        )

    def _length(self, settings: Mapping) -> int:
        return int(self.max_new_tokens or settings.get("max_new_tokens") or MAX_NEW_TOKENS)

    def _sampling_for(self, task: str, settings: Mapping) -> Sampling | None:
        sampling = sampling_of(settings)
        if self.sampling == "task":
            return sampling
        if sampling and task not in self._warned:
            self._warned.add(task)
            logger.warning("task %s samples; it is answered greedily (sampling=task draws answers as it asks)", task)
        return None


def _load(pretrained: str, peft: str | None, dtype: str, attention: str | None, revision: str | None):
    if dtype not in DTYPES:
        raise InputError(f"unknown dtype {dtype!r}: choose one of {', '.join(DTYPES)}")
    settings: dict[str, Any] = {"dtype": dtype, "revision": revision}
    if attention is not None:
        settings["attn_implementation"] = attention
    try:
        return load_model(pretrained, adapter=peft, report=logger.warning, **settings)
    except ImportError as error:
        raise InputError(f"attn_implementation {attention} cannot be used here: {first_line(error)}") from error


def _batch_size(given: int | str, most: int | None) -> int:
    if str(given).partition(":")[0] == "auto":
        return int(most or BATCH_SIZE)
    if not str(given).isdecimal() or int(given) < 1:
        raise InputError(f"--batch_size must be a number above 0 or auto, got {given!r}")
    return int(given)


def _check_number(name: str, value: Any, whole: bool) -> None:
    fits = value is None or (isinstance(value, (int,) if whole else (int, float)) and value > 0)
    if not fits or isinstance(value, bool):
        raise InputError(f"{name} is {value!r}: give a {'whole ' if whole else ''}number above 0")

"""The stage `questions`: what is asked about each clip, with wrong options drawn over the whole dataset."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ..questions.clip_questions import Candidate, ask_about_clip, design_options
from ..questions.object_questions import check_name
from ..questions.option_design import OptionDesign, limit_shares
from .record_json import build_record, clip_folder, window_from_json
from .settings import TOKEN_PIXELS, WINDOW_STAGES, BuildSettings, digest, stage_key
from .stage_files import Fault, StageFiles, StageResult
from .stage_runner import ClipOutcome, VideoOutcome

Counts = dict[str, Counter[str]]
_UNSEEN = Fault(
    "questions",
    "unclear",
    "what moves is not clear in the frames that would be asked about",
    "give another clip",
)


def ask_about_clips(files: StageFiles, settings: BuildSettings, outcomes: Sequence[VideoOutcome]) -> None:
    """Choose what to ask, so that no answer is more than a quarter of its kind, and write each clip's questions.

    Candidates that are left out for it are taken out of the outcomes.

    Args:
        files ([`StageFiles`]): Where records are read and questions are written.
        settings ([`BuildSettings`]): What a user set.
        outcomes (`Sequence[VideoOutcome]`): Of all earlier stages.
    """
    counts = balance_candidates({clip.clip: clip.candidates for _, _, clip in _askable(outcomes)}, settings.seed)
    designs = design_options(counts)
    for outcome, number, clip in _askable(outcomes):
        subject = [[list(candidate), counts[candidate.kind]] for candidate in clip.candidates]
        clip.questions = _ask(files, settings, outcome, number, subject, designs)
        if not clip.questions:
            clip.fault = _UNSEEN


def _ask(
    files: StageFiles,
    settings: BuildSettings,
    outcome: VideoOutcome,
    number: int,
    subject: list,
    designs: Mapping[str, OptionDesign],
) -> int:
    """Write the questions of one clip, unless they are up to date, and return how many there are."""
    clip, folder = outcome.clips[number], clip_folder(outcome.video.name, number)
    stages = {stage: result for stage in WINDOW_STAGES if (result := files.read(folder, stage)) is not None}
    name = settings.names.get(clip.source)
    name = None if name is None else check_name(name)
    # Of a data set; what the user says of plain videos holds for all rows and stands in the card.
    licence = outcome.video.licence(settings) if outcome.video.imported is not None else None
    asked = [clip.clip, name, subject] if licence is None else [clip.clip, name, subject, licence]
    key = stage_key("questions", settings, asked, {made: stages[made].digest for made in stages})
    stored = files.read(folder, "questions")
    if stored is None or stored.key != key or stored.value is None:
        shots = files.load(outcome.video.name, "shots")
        window = window_from_json(shots["windows"][number])
        record = build_record(clip.clip, clip.source, licence, window, stages)
        token = TOKEN_PIXELS[settings.backbone]
        questions = ask_about_clip(record, clip.candidates, designs, settings.frames, settings.seed, name, token)
        stored = StageResult(key, {"questions": questions})
        files.write(folder, "questions", stored)
    return len(stored.value["questions"])


def _askable(outcomes: Sequence[VideoOutcome]) -> Iterator[tuple[VideoOutcome, int, ClipOutcome]]:
    for outcome in outcomes:
        for number, clip in enumerate(outcome.clips):
            if clip.candidates:
                yield outcome, number, clip


def balance_candidates(candidates: Mapping[str, list[Candidate]], seed: int) -> Counts:
    """Take candidates out of their lists, at random, until no answer is more frequent than it may be.

    Args:
        candidates (`Mapping[str, list[Candidate]]`): By clip.
        seed (`int`): Of what is left out.

    Returns:
        `dict[str, Counter]`: For each kind, how often each answer is left.
    """
    for kind, answers in _count(candidates).items():
        kept = limit_shares(answers)
        if kept != dict(answers):
            _leave_out(kind, kept, candidates, seed)
    return _count(candidates)


def _count(candidates: Mapping[str, list[Candidate]]) -> Counts:
    counts: Counts = {}
    for found in candidates.values():
        for candidate in found:
            counts.setdefault(candidate.kind, Counter())[candidate.answer] += 1
    return counts


def _leave_out(kind: str, kept: Mapping[str, int], candidates: Mapping[str, list[Candidate]], seed: int) -> None:
    """Drop candidates of one kind at random until there are as many of each answer as are kept."""
    found: dict[str, list[tuple[str, str, Candidate]]] = {}
    for clip, of_clip in candidates.items():
        for candidate in of_clip:
            if candidate.kind == kind:
                order = digest([seed, clip, candidate.fact])
                found.setdefault(candidate.answer, []).append((order, clip, candidate))
    for answer, places in found.items():
        for _, clip, candidate in sorted(places, key=lambda place: place[0])[kept[answer] :]:
            candidates[clip].remove(candidate)

"""The stage `questions`: what is asked about each clip, with wrong options drawn over the whole dataset."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..clip_record import ClipRecord
from ..mask_models.checkpoints import KINDS
from ..questions.clip_questions import Candidate, ask_about_clip, design_options
from ..questions.object_questions import check_name, name_objects
from ..questions.option_design import OptionDesign, limit_shares
from ..review.honour import Review
from .record_json import build_record, clip_folder, window_from_json
from .settings import TOKEN_PIXELS, WINDOW_STAGES, BuildSettings, digest, stage_key
from .stage_files import Fault, StageFiles, StageResult
from .stage_runner import ClipOutcome, VideoOutcome
from .stage_tasks import Video
from .worker_pool import WorkerPool

if TYPE_CHECKING:
    from ..writer.write_texts import WritingReport

Counts = dict[str, Counter[str]]
_UNSEEN = Fault(
    "questions",
    "unclear",
    "what moves is not clear in the frames that would be asked about",
    "give another clip",
)


_REJECTED = Fault(
    "questions", "unclear", "all that could be asked about it was rejected in a review", "nothing: give other clips"
)


@dataclass(frozen=True)
class DueClip:
    """A clip whose questions are missing or out of date.

    Attributes:
        video ([`Video`]): Whose window it is.
        clip ([`ClipOutcome`]): With its candidates; it takes the number of its questions.
        record ([`ClipRecord`]): All that is known about it.
        folder (`str`): Where its files lie below `.stages`.
        key (`str`): That its questions must have.
        files ([`StageFiles`]): Where they are written.
        settings ([`BuildSettings`]): What a user set.
        designs (`Mapping[str, OptionDesign]`): Of wrong options.
        names (`Mapping[int, str]`): What the user calls its only or first object.
    """

    video: Video
    clip: ClipOutcome
    record: ClipRecord
    folder: str
    key: str
    files: StageFiles
    settings: BuildSettings
    designs: Mapping[str, OptionDesign]
    names: Mapping[int, str]

    def ask(self, record: ClipRecord) -> list[dict[str, Any]]:
        """Its questions, as [`ask_about_clip`] gives them, in the words of a record with names."""
        settings = self.settings
        token = TOKEN_PIXELS[settings.backbone]
        return ask_about_clip(record, self.clip.candidates, self.designs, settings.frames, settings.seed, token)

    def named(self, found: Mapping[int, str]) -> ClipRecord:
        """Its record with the user's names, and what a model has found for other objects."""
        return name_objects(self.record, self.names, found)

    def keep(self, questions: Sequence[Mapping[str, Any]], finished: bool = True) -> None:
        """Write its questions; unfinished ones are asked again by the next build."""
        kept = [{name: value for name, value in question.items() if name != "draft"} for question in questions]
        value: dict[str, Any] = {"questions": kept}
        if not finished:
            value["unfinished"] = True
        self.files.write(self.folder, "questions", StageResult(self.key, value))
        self.clip.questions = len(kept)


def ask_about_clips(
    files: StageFiles, settings: BuildSettings, outcomes: Sequence[VideoOutcome], pool: WorkerPool, review: Review
) -> "WritingReport | None":
    """Choose what to ask, so that no answer is more than a quarter of its kind, and write each clip's questions.

    Candidates that are left out for it are taken out of the outcomes.

    Args:
        files ([`StageFiles`]): Where records are read and questions are written.
        settings ([`BuildSettings`]): What a user set.
        outcomes (`Sequence[VideoOutcome]`): Of all earlier stages.
        pool ([`WorkerPool`]): Who reads the pictures of objects that a model is to name.
        review ([`Review`]): What people have judged; it counts what it changes.

    Returns:
        `WritingReport`: What a language model wrote, if one was to.
    """
    judged = _honour(review, files, settings, outcomes) if review else {}
    counts = balance_candidates({clip.clip: clip.candidates for _, _, clip in _askable(outcomes)}, settings.seed)
    due = _due_clips(files, settings, outcomes, counts, design_options(counts), review, judged)
    report = None
    if settings.writer is None:
        for clip in due:
            clip.keep(clip.ask(clip.named({})))
    else:
        from .written_questions import write_questions

        report = write_questions(due, len(list(_askable(outcomes))), settings.writer, files.folder, pool)
    for _, _, asked in _askable(outcomes):
        if not asked.questions:
            asked.fault = _UNSEEN
    return report


def _due_clips(
    files: StageFiles,
    settings: BuildSettings,
    outcomes: Sequence[VideoOutcome],
    counts: Counts,
    designs: Mapping[str, OptionDesign],
    review: Review,
    judged: Mapping[str, list],
) -> Iterator[DueClip]:
    """Clips whose questions are not up to date, one at a time; the number of the others' is noted."""
    for outcome, number, clip in _askable(outcomes):
        folder = clip_folder(outcome.video.name, number)
        stages = _results(files, folder)
        name = _name_of_mover(settings, clip.source)
        subject = [clip.clip, name, [[list(candidate), counts[candidate.kind]] for candidate in clip.candidates]]
        licence = _licence(settings, outcome)
        if licence is not None:
            subject.append(licence)
        if about := judged.get(clip.clip):
            subject.append(about)
        if settings.writer is not None:
            from ..writer.prompts import PROMPTS

            subject += [settings.writer.model, PROMPTS]
        key = stage_key("questions", settings, subject, {made: stages[made].digest for made in stages})
        stored = files.read(folder, "questions")
        if stored is not None and stored.key == key and stored.value and "unfinished" not in stored.value:
            clip.questions = len(stored.value["questions"])
            continue
        record = _load_record(files, settings, outcome, number, stages)
        record, renamed = review.correct(record) if review else (record, set())
        # Of several things that flow found, the user's name may be meant for any.
        count = len(record.objects or ())
        known = count == 1 or (count and settings.objects != "flow")
        chosen = {0: name} if name is not None and known and 0 not in renamed else {}
        yield DueClip(outcome.video, clip, record, folder, key, files, settings, designs, chosen)


def _honour(
    review: Review, files: StageFiles, settings: BuildSettings, outcomes: Sequence[VideoOutcome]
) -> dict[str, list]:
    """Leave out what was rejected, before it is decided how often each answer may stand.

    Returns:
        `dict[str, list]`: By clip, what of the review its questions depend on.
    """
    judged = {}
    for outcome, number, clip in list(_askable(outcomes)):
        stages = _results(files, clip_folder(outcome.video.name, number))
        record = _load_record(files, settings, outcome, number, stages)
        judged[clip.clip] = review.about(record)
        clip.candidates = review.keep(record, clip.candidates)
        if not clip.candidates:
            clip.fault = _REJECTED
    return judged


def _results(files: StageFiles, folder: str) -> dict[str, StageResult]:
    return {stage: result for stage in WINDOW_STAGES if (result := files.read(folder, stage)) is not None}


def _load_record(
    files: StageFiles,
    settings: BuildSettings,
    outcome: VideoOutcome,
    number: int,
    stages: Mapping[str, StageResult],
) -> ClipRecord:
    shots, clip = files.load(outcome.video.name, "shots"), outcome.clips[number]
    window = window_from_json(shots["windows"][number])
    return build_record(clip.clip, clip.source, _licence(settings, outcome), window, stages)


def _licence(settings: BuildSettings, outcome: VideoOutcome) -> str | None:
    """Of a data set; what the user says of plain videos holds for all rows and stands in the card."""
    return outcome.video.licence(settings) if outcome.video.imported is not None else None


def _name_of_mover(settings: BuildSettings, source: str) -> str | None:
    """What the user calls the moving object of a video; a model that looks for names has named its own."""
    names = settings.names_of(source)
    named = settings.mask_model is not None and KINDS[settings.mask_model.kind].finds_names
    return check_name(names[0]) if names and not named else None


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

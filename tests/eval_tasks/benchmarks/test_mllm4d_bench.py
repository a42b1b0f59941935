"""MLLM4D-Bench from records in the format of MLLM-4D's reinforcement learning: types by wording, paths, faults."""

import json

import pytest

from fourdthinker.dataset_builders.questions.mllm4d import KINDS
from fourdthinker.eval_tasks.benchmarks.mllm4d_bench import TYPES, prompt, read_rows
from fourdthinker.modeling.errors import InputError

OPTIONS = "A. 1.2 m\nB. 0.7 m\nC. 2.9 m\nD. 1.8 m"
SEQUENCE = "During the sequence between <frame 3> and <frame 20>,"
OBSERVER = "the camera (or the observer filming)"
HOW_FAR = "Approximately how far (in meters) did"
WORDINGS = {
    "camera_absolute_distance": f"{HOW_FAR} the camera move between <frame 3> and <frame 20>?",
    "camera_relative_direction": f"{SEQUENCE} what was the primary consistent translation of the camera's movement "
    "relative to its position at the start?",
    "object_absolute_distance": f"{HOW_FAR} the man who moves a cart move between <frame 3> and <frame 20>?",
    "object_camera_absolute_distance": f"What is the approximate distance (in meters) between {OBSERVER} in <frame 3> "
    "and the nearest point of the black dog in <frame 20>?",
    "object_camera_relative_distance": f"{SEQUENCE} is the distance between the black dog and {OBSERVER} getting "
    "closer or farther away?",
    "object_camera_relative_direction": f"{SEQUENCE} is the black dog getting left or right from {OBSERVER} relative "
    "to camera's position at the start?",
}
LONGITUDINAL = (
    f"{SEQUENCE} is the black dog getting closer or farther away from {OBSERVER} relative to camera's position at the "
    "start?"
)


def record(question=WORDINGS["camera_absolute_distance"], **columns):
    return {
        "messages": [
            {"role": "system", "content": "You are a video analysis assistant."},
            {"role": "user", "content": f"<video>\n{question}\nOptions: {OPTIONS}\nOutput the thinking process."},
        ],
        "videos": ["videos/clip 1.mp4"],
        "solution": [{"answer": "B", "camera_center": [[0, 0, 0], [0.1, 0, 0.7]], "object_center": [None, None]}],
        **columns,
    }


@pytest.fixture
def read(tmp_path):
    def read(*records):
        (tmp_path / "bench.jsonl").write_text("\n".join(map(json.dumps, records)))
        return read_rows(tmp_path)

    return read


def test_a_record_in_full(read, tmp_path, make_video):
    (tmp_path / "videos").mkdir()
    made = make_video(tmp_path / "videos/clip 1.mp4", seconds=1)
    assert read(record()) == [
        {
            "id": "bench-1",
            "task": "camera_absolute_distance",
            "question": WORDINGS["camera_absolute_distance"],
            "options": ["1.2 m", "0.7 m", "2.9 m", "1.8 m"],
            "answer": "B",
            "video": made,
            "camera_centers": [[0, 0, 0], [0.1, 0, 0.7]],
            "object_centers": [None, None],
        }
    ]


@pytest.mark.parametrize(("task", "question"), [*WORDINGS.items(), (TYPES[5], LONGITUDINAL)])
def test_the_wording_tells_the_type(read, task, question):
    assert read(record(question))[0]["task"] == task


@pytest.mark.parametrize("kind", KINDS)
def test_questions_about_the_rendered_world_are_of_the_same_types(read, kind):
    question = KINDS[kind].question.format(name="blue can", start="frame 0 (0.0 s)", end="frame 5 (2.5 s)")
    by_wording, by_name = read(record(question), record("Which?", type=kind))
    assert by_wording["task"] == by_name["task"] in TYPES


def test_a_question_of_no_known_wording_is_an_error(read):
    with pytest.raises(InputError, match="row bench-1: of which type is the question 'What colour is it"):
        read(record("What colour is it?"))


def test_ids_are_those_of_the_records_or_count_them(read):
    assert [row["id"] for row in read(record(id="clip-7"), record())] == ["clip-7", "bench-2"]


def test_parts_in_a_message_and_structures_written_as_texts(read):
    said = [{"type": "video", "video": "x.mp4"}, {"type": "text", "text": f"{LONGITUDINAL}\n{OPTIONS}"}]
    solution = json.dumps([{"answer": "(C)"}])
    (row,) = read(record(messages=[{"role": "user", "content": said}], solution=solution, videos="clip.mp4"))
    assert (row["question"], row["answer"], row["camera_centers"]) == (LONGITUDINAL, "C", [None, None])


def test_a_path_of_another_machine_is_found_by_its_end(read, tmp_path, make_video):
    (tmp_path / "test/a").mkdir(parents=True)
    made = make_video(tmp_path / "test/a/clip.mp4", seconds=1)
    rows = read(record(videos=["/data/other/test/a/clip.mp4"]), record(videos=["/data/gone.mp4"]))
    assert [row["video"] for row in rows] == [made, str(tmp_path / "gone.mp4")]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"videos": ["a.mp4", "b.mp4"]}, "name one video file"),
        ({"videos": None}, "no column videos"),
        ({"videos": ["../a.mp4"]}, "leaves the data folder"),
        ({"solution": "B"}, "solution is 'B': write a list of one object"),
        ({"solution": [{"answer": "four"}]}, "answer 'four' is neither"),
        ({"messages": [{"role": "system", "content": "Hello."}]}, "messages has no question of a user"),
        ({"messages": [{"role": "user", "content": LONGITUDINAL}]}, "the question lists no options"),
    ],
)
def test_records_of_another_shape_are_named(read, columns, words):
    with pytest.raises(InputError, match=f"row bench-1: .*{words}"):
        read(record(**columns))


def test_a_folder_without_records_is_an_error(tmp_path):
    with pytest.raises(InputError, match="holds no .jsonl or .json file of records"):
        read_rows(tmp_path)


def test_the_prompt_is_the_published_one():
    assert prompt("How far?", ["1 m", "2 m"]).startswith("\nHow far?\nOptions: A: 1 m\nB: 2 m\nOutput the thinking")

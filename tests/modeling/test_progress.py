"""Progress of long work whose output is a file: few plain lines, none for a short one."""

import threading

from tqdm.auto import tqdm

from fourdthinker.modeling.progress import Progress


def test_each_tenth_prints_one_plain_line(capsys):
    with Progress("videos", 40, seconds=0) as progress:
        for done in range(41):
            progress.reach(done)
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert lines[0] == "videos: 4 of 40 (10%)" and lines[-1] == "videos: 40 of 40 (100%)" and len(lines) == 10
    assert "\r" not in printed.err and not printed.out


def test_short_work_prints_nothing(capsys):
    with Progress("videos", 3) as progress:
        for done in range(4):
            progress.reach(done)
    assert not capsys.readouterr().err


def test_slow_work_prints_a_line_before_a_tenth_is_done(capsys):
    with Progress("videos", 100, silence=0) as progress:
        progress.reach(0)
        progress.reach(1)
    assert capsys.readouterr().err.splitlines() == ["videos: 0 of 100 (0%)", "videos: 1 of 100 (1%)"]


def test_where_no_bar_is_drawn_nothing_waits_for_the_lock_that_forked_processes_share(capsys):
    def advance():
        with Progress("videos", 3) as progress:
            progress.advance(3)

    thread = threading.Thread(target=advance, daemon=True)
    with tqdm.get_lock():  # as if by a forked process that was killed, but this one lets go
        thread.start()
        thread.join(10)
        assert not thread.is_alive()

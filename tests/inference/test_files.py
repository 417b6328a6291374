"""``files.whole``: a file or a folder takes its place whole, or the old one stays."""

import os
import threading

import pytest

from inference import files


class Stopped(Exception):
    pass


@pytest.mark.parametrize("old", [None, b"old"])
def test_a_file_is_replaced_whole_or_stays(tmp_path, old):
    path = tmp_path / "a.json"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(Stopped), files.whole(path) as beside:
        assert beside.suffix == ".json" and beside.parent == tmp_path
        beside.write_text("half")
        raise Stopped
    assert [one.read_bytes() for one in tmp_path.iterdir()] == ([] if old is None else [old])
    with files.whole(path) as beside:
        beside.write_text("new")
    assert [one.read_text() for one in tmp_path.iterdir()] == ["new"]


def test_a_folder_is_replaced_whole_or_stays(tmp_path):
    path = tmp_path / "a"
    for name in ("first", "second"):
        with files.whole(path) as beside:
            beside.mkdir()
            (beside / name).write_text(name)
        assert [one.name for one in path.iterdir()] == [name]
    with pytest.raises(Stopped), files.whole(path) as beside:
        beside.mkdir()
        (beside / "third").write_text("half")
        raise Stopped
    assert [one.name for one in path.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_no_part_of_it(tmp_path):
    left = tmp_path / f".{os.getpid()}-a"
    left.mkdir()
    (left / "old").write_text("")
    with files.whole(tmp_path / "a") as beside:
        beside.mkdir()
    assert list(tmp_path.iterdir()) == [tmp_path / "a"] and not list((tmp_path / "a").iterdir())


def test_a_pipe_is_written_and_stays(tmp_path):
    path, read = tmp_path / "pipe", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: read.append(path.read_text()))
    reader.start()
    with files.whole(path) as beside:
        beside.write_text("through")
    reader.join()
    assert read == ["through"] and path.is_fifo()


def test_folders_that_can_be_written(tmp_path):
    files.check_writable(tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError):
        files.check_writable(tmp_path / "nowhere")

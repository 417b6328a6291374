"""Files are written whole or not at all, and read packed or not."""

import bz2
import gzip
import io
import lzma
import os
import sys
import threading

import pytest

from inference import files

DATA = b"p cnf 2 1\n1 -2 0\n"


def test_a_whole_file_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "counts.json"
    path.write_text("old")
    with files.whole(path) as beside:
        beside.write_text("new")
        assert (path.read_text(), beside.parent, beside.suffix) == ("old", tmp_path, ".json")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("stopped_by", [KeyboardInterrupt, OSError])
@pytest.mark.parametrize("was_there", [False, True])
def test_an_interrupted_block_leaves_the_old_file(tmp_path, stopped_by, was_there):
    path = tmp_path / "counts.json"
    if was_there:
        path.write_text("old")
    with pytest.raises(stopped_by), files.whole(path) as beside:
        beside.write_text("ne")
        raise stopped_by
    assert [one.read_text() for one in tmp_path.iterdir()] == ["old"] * was_there


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    path = tmp_path / "counts.json"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), files.whole(path):
        pass
    assert path.read_text() == "old"


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_folder_is_replaced_as_a_whole(tmp_path, is_stopped):
    path = tmp_path / "run"
    path.mkdir()
    (path / "old").write_text("")

    def replace():
        with files.whole(path) as beside:
            beside.mkdir()
            (beside / "new").write_text("")
            if is_stopped:
                raise KeyboardInterrupt

    if is_stopped:
        pytest.raises(KeyboardInterrupt, replace)
    else:
        replace()
    assert [one.name for one in path.iterdir()] == ["old" if is_stopped else "new"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress, bz2.compress])
@pytest.mark.parametrize("name", ["f.cnf", "f.gz"])
def test_first_octets_tell_how_data_is_packed(tmp_path, monkeypatch, pack, name):
    path = tmp_path / name
    path.write_bytes(pack(DATA))
    assert files.read(path) == files.read(str(path)) == DATA
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(pack(DATA))))
    assert files.read("-") == DATA
    assert files.unpacked(pack(b""), name) == b""


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress])
def test_damaged_packed_data_is_refused_in_one_line(tmp_path, pack):
    path = tmp_path / "f.cnf"
    packed = pack(1000 * DATA)
    damaged = [packed[:-9], packed[:12], packed[:30] + b"damaged" + packed[37:]]
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(files.ParseError) as caught:
            files.read(path)
        assert str(caught.value).startswith(f"{path}:1: expected whole packed data, given ")
        assert "\n" not in str(caught.value)


def test_names_and_missing_files(tmp_path):
    assert (files.name("-"), files.name(tmp_path)) == ("<stdin>", str(tmp_path))
    with pytest.raises(FileNotFoundError):
        files.read(tmp_path / "none")


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

"""One image under two names is found without decoding any image."""

from hypothesis import given
from hypothesis import strategies as st

from benchmark.study.copies import copies, grouped, look_up


def test_all_names_of_a_file_are_one(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "hard").hardlink_to(tmp_path / "a")
    names = ["a", "./a", "folder/../a", "gone/../a", "link", "hard"]
    assert len({look_up(f"{tmp_path}/{name}") for name in names}) == 1
    assert len({look_up(f"{tmp_path}/{name}") for name in ("b", "./b", "gone/../b")}) == 1
    assert look_up(f"{tmp_path}/b") != look_up(f"{tmp_path}/a")
    assert look_up("nul\0byte").size == 0


def test_files_that_differ_in_one_byte_are_not_copies(tmp_path):
    """Files of one size are read in full only if samples of them are equal."""
    content = bytearray(100_000)
    contents = [bytes(content)]
    for place in (0, 1, 50_000, 99_999):
        changed = bytearray(content)
        changed[place] = 1
        contents.append(bytes(changed))
    paths = [str(tmp_path / str(number)) for number in range(7)]
    for path, written in zip(paths, [*contents, contents[3], b""], strict=True):
        (tmp_path / path).write_bytes(written)
    assert copies(paths, [look_up(path) for path in paths]) == [[3, 5]]


@given(st.lists(st.sampled_from([b"a", b"b" * 9000, b"c" * 9000, b"", b"d" * 20_000]), max_size=8))
def test_groups_are_those_of_equal_content(tmp_path_factory, contents):
    folder = tmp_path_factory.mktemp("files")
    paths = [str(folder / str(number)) for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        (folder / path).write_bytes(content)
    twice = {content for content in contents if content and contents.count(content) > 1}
    expected = sorted([place for place, content in enumerate(contents) if content == one] for one in twice)
    assert grouped(paths, [look_up(path) for path in paths]) == expected


def test_links_and_copies_of_a_file_are_one_group(tmp_path):
    (tmp_path / "a").write_bytes(b"1" * 5000)
    (tmp_path / "copy").write_bytes(b"1" * 5000)
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "b").write_bytes(b"2")
    (tmp_path / "b_link").symlink_to("b")
    paths = [str(tmp_path / name) for name in ("link", "b", "copy", "gone", "a", "b_link")]
    assert grouped(paths, [look_up(path) for path in paths]) == [[0, 2, 4], [1, 5]]

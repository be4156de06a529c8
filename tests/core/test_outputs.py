import os

import pytest

from astrolearn.core.outputs import check_outputs, write_outputs


def test_what_can_be_written_passes(tmp_path):
    (tmp_path / "in.fits").touch()
    (tmp_path / "old.reg").touch()
    outputs = [(tmp_path / "a.ecsv", (".ecsv",)), (None, (".reg",)), (str(tmp_path / "old.reg"), (".reg",))]
    check_outputs(outputs, overwrite=True, inputs=(tmp_path / "in.fits", None))
    assert sorted(os.listdir(tmp_path)) == ["in.fits", "old.reg"]


@pytest.mark.parametrize(("name", "error", "message"), [
    ("a.txt", ValueError, r"a\.txt: .* must end in \.ecsv or \.fits"),
    ("folder.fits", IsADirectoryError, r"folder\.fits is a folder"),
    ("old.ecsv", FileExistsError, r"old\.ecsv exists already; use --overwrite"),
    ("nowhere/a.ecsv", FileNotFoundError, r"a\.ecsv: there is no folder .*nowhere"),
])
def test_what_cannot_be_written_is_refused(tmp_path, name, error, message):
    (tmp_path / "folder.fits").mkdir()
    (tmp_path / "old.ecsv").touch()
    with pytest.raises(error, match=message):
        check_outputs([(tmp_path / name, (".ecsv", ".fits"))])


def test_each_file_has_one_role(tmp_path):
    (tmp_path / "in.fits").touch()
    (tmp_path / "link.fits").symlink_to("in.fits")
    with pytest.raises(ValueError, match=r"link\.fits: this file is read, too"):
        check_outputs([(tmp_path / "link.fits", (".fits",))], overwrite=True, inputs=[tmp_path / "in.fits"])
    twice = [(tmp_path / "a.ecsv", (".ecsv",)), (f"{tmp_path}/./a.ecsv", (".ecsv",))]
    with pytest.raises(ValueError, match=r"a\.ecsv: this file is to be written twice"):
        check_outputs(twice)
    with pytest.raises(FileNotFoundError, match=r"no\.fits: no such file"):
        check_outputs([], inputs=[tmp_path / "no.fits"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="no permission"):
        check_outputs([(tmp_path / "a.ecsv", (".ecsv",))])


def texts(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_all_are_written(tmp_path):
    outputs = [(tmp_path / "a.txt", lambda path: path.write_text("a")), (None, None),
               (str(tmp_path / "b.txt"), lambda path: path.write_text(path.suffix))]
    assert write_outputs(outputs) == [tmp_path / "a.txt", tmp_path / "b.txt"]
    assert texts(tmp_path) == {"a.txt": "a", "b.txt": ".txt"}
    assert write_outputs([(None, None)]) == []


@pytest.mark.parametrize("failing", [0, 1, 2])
@pytest.mark.parametrize("overwrite", [False, True])
def test_none_is_written_if_one_fails(tmp_path, failing, overwrite):
    if overwrite:
        for name in "abc":
            (tmp_path / f"{name}.txt").write_text("old")
    before = texts(tmp_path)

    def write(number):
        def content(path):
            path.write_text("half")
            if number == failing:
                raise OSError("disk full")
        return content

    with pytest.raises(OSError, match="disk full"):
        write_outputs([(tmp_path / f"{name}.txt", write(i)) for i, name in enumerate("abc")], overwrite=overwrite)
    assert texts(tmp_path) == before

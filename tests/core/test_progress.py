from astrolearn.core.progress import progress


def test_bar_is_on_standard_error_and_shows_the_time_left(capsys):
    assert list(progress(iter(range(3)), "binning photons", total=3)) == [0, 1, 2]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "binning photons" in shown.err
    assert "3/3" in shown.err
    assert "<" in shown.err  # elapsed<left


def test_silent_when_not_verbose(capsys):
    assert list(progress(range(3), "binning photons", verbose=0)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")

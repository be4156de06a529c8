"""Which benchmarks of a suite are run."""

import pytest

from benchmarks.suite import run_benchmarks


class Report:
    """Says where it was written."""

    def __init__(self, name, written):
        self.name, self.written = name, written

    def write(self, weights):
        self.written.append((self.name, weights))


class Context:
    """What the benchmarks share."""

    weights = "tiny"


def test_all_or_some(capsys):
    written = []
    benchmarks = {name: lambda context, name=name: Report(name, written) for name in "abc"}
    run_benchmarks(benchmarks, None, Context)
    assert written == [("a", "tiny"), ("b", "tiny"), ("c", "tiny")]
    run_benchmarks(benchmarks, ["b"], Context)
    assert written[3:] == [("b", "tiny")]
    assert capsys.readouterr().out.startswith("a: 0 s")


def test_unknown_name_is_told_before_anything_runs():
    with pytest.raises(SystemExit, match="no such benchmark: d; there are a"):
        run_benchmarks({"a": None}, ["a", "d"], None)

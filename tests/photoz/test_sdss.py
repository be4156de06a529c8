"""Galaxies from SkyServer: what is asked, what is done with answers of every kind, and with none."""

import re

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table

from astrolearn.photoz import fetch_sdss_galaxies
from astrolearn.photoz.sdss import _PARTS

FIRST_ID = 1237648702973411328


def survey(n=4000, seed=0):
    """A small survey as SkyServer's answers have it, with an object observed twice and one that lies on another."""
    rng = np.random.default_rng(seed)
    rows = Table()
    rows["specObjID"] = np.uint64(299489952322840576) + np.arange(n, dtype=np.uint64) * np.uint64(2251799813685248 + 17)
    rows["objID"] = np.uint64(FIRST_ID) + np.arange(n, dtype=np.uint64)
    rows["ra"], rows["dec"] = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-0.2, 0.9, n)))
    rows["redshift"], rows["redshift_err"] = rng.uniform(0.01, 0.3, n), 1e-5
    for name in ("run", "rerun", "camcol", "field"):
        rows[name] = 301
    for i, band in enumerate("ugriz"):
        rows[band], rows[f"{band}_err"] = 19.0 - i, 0.02
    rows["r_petro"], rows["extinction_r"] = 17.0, 0.08
    rows["u"][5] = -9999.0
    rows["objID"][1] = rows["objID"][0]
    rows["ra"][3], rows["dec"][3] = rows["ra"][2], rows["dec"][2] + 1 / 3600
    return rows


class SkyServer:
    """Answers queries from a small survey; keeps what was asked."""

    def __init__(self, rows=None):
        self.rows, self.asked = survey() if rows is None else rows, []

    def __call__(self, sql, data_release, timeout):
        self.asked.append(sql)
        remainders = [int(k) for k in re.search(rf"% {_PARTS} IN \(([\d, ]+)\)", sql)[1].split(",")]
        chosen = np.isin(self.rows["specObjID"] % np.uint64(_PARTS), remainders)
        if sql.startswith("SELECT COUNT(*) AS n FROM"):
            return Table({"n": [chosen.sum()]})
        return self.rows[chosen] if chosen.any() else None


def test_identifiers_units_and_duplicates():
    table = fetch_sdss_galaxies(10**6, query=SkyServer(), random_state=1)
    assert len(table) == 3998
    assert table.meta["n_duplicates"] == 2
    assert table["objID"].dtype == table["specObjID"].dtype == np.uint64
    # a number that a float cannot hold
    assert set(survey()["objID"].tolist()) - set(table["objID"].tolist()) == {FIRST_ID + 3}
    assert table["r"].unit == table["r_err"].unit == table["extinction_r"].unit == u.mag
    assert np.isnan(table["u"]).sum() == 1
    assert table["coord"].separation(table["coord"][:1]).max() > 90 * u.deg
    assert {"redshift", "redshift_err", "run", "rerun", "camcol", "field", "r_petro"} < set(table.colnames)


def test_sampling_is_seeded_and_of_the_whole_survey():
    server = SkyServer()
    one, same, other = (fetch_sdss_galaxies(300, query=server, random_state=seed) for seed in (1, 1, 2))
    assert len(one) == 300
    np.testing.assert_array_equal(one["objID"], same["objID"])
    assert len(set(one["objID"]) & set(other["objID"])) < 100
    rows = survey()
    everywhere, drawn = (np.histogram(ra, 6, (0, 360))[0] for ra in (rows["ra"], one["coord"].ra.deg))
    assert np.abs(drawn - 300 * everywhere / 4000).max() < 4 * np.sqrt(50)
    # not more was asked for than was needed
    parts = sum(len(re.search(r"IN \((.+)\)", sql)[1].split(",")) for sql in server.asked[: len(server.asked) // 3])
    assert parts < 0.6 * _PARTS


def test_a_query_does_not_ask_for_half_the_survey():
    server = SkyServer()
    assert len(fetch_sdss_galaxies(10**6, query=server)) == 3998
    for sql in server.asked:
        assert len(re.search(r"IN \((.+)\)", sql)[1].split(",")) <= 250
        assert len(sql) < 3000


def test_selections():
    server = SkyServer()
    fetch_sdss_galaxies(5, query=server)
    assert "p.petroMag_r - p.extinction_r < 17.8" in server.asked[-1]
    fetch_sdss_galaxies(5, selection="menko2024", query=server)
    for condition in ("s.zWarning = 0", "s.zOffset = 0", "s.zErr > 0", "s.z > 1e4 * s.zErr", "s.velDispErr > 0",
                      "s.velDisp > 10 * s.velDispErr"):
        assert condition in server.asked[-1]
    fetch_sdss_galaxies(5, selection="s.z > 0.1", query=server)
    assert "WHERE (s.z > 0.1) AND" in server.asked[-1]
    fetch_sdss_galaxies(5, selection="s.z > 0.1 OR s.z < 0.01", query=server)
    assert "WHERE (s.z > 0.1 OR s.z < 0.01) AND" in server.asked[-1]
    assert "--" not in server.asked[-1]


def nothing(sql, data_release, timeout):
    return None


def html_page(sql, data_release, timeout):
    return Table({"<html><head><title>503 Service Unavailable</title></head>": ["<body>"]})


def no_table(sql, data_release, timeout):
    raise ValueError("astropy.io.ascii could not read the page")


def timeout_error(sql, data_release, timeout):
    raise TimeoutError("read timed out")


def rounded(sql, data_release, timeout):
    rows = survey(10)
    rows["objID"] = rows["objID"].astype(float)
    return rows


@pytest.mark.parametrize(("query", "message"), [
    (nothing, "the server does not say either that there are none"),
    (html_page, "not the table that was asked for, but begins with '<html><head>"),
    (no_table, "not a table .*could not read the page"),
    (timeout_error, "timed out"),
    (rounded, "objID came as float64"),
])  # fmt: skip
def test_answers_that_are_none(query, message, monkeypatch):
    waits = []
    monkeypatch.setattr("astrolearn.photoz.sdss.time.sleep", waits.append)
    with pytest.raises(OSError, match=f"SkyServer gave no usable answer in 3 attempts: .*{message}"):
        fetch_sdss_galaxies(5, query=query, retries=2)
    assert waits == [1, 2]


def test_a_failure_that_passes(monkeypatch):
    monkeypatch.setattr("astrolearn.photoz.sdss.time.sleep", lambda seconds: None)
    server, failures = SkyServer(), iter([html_page, timeout_error])

    def query(*args):
        return next(failures, server)(*args)

    assert len(fetch_sdss_galaxies(5, query=query)) == 5


def test_zero_rows_and_refused_queries():
    with pytest.raises(ValueError, match=r"no galaxy of data release 17 meets the conditions: s\.z > 99"):
        fetch_sdss_galaxies(5, selection="s.z > 99", query=SkyServer(survey(10)[:0]))
    with pytest.raises(ValueError, match="n=0"):
        fetch_sdss_galaxies(0, query=SkyServer())

    def refused(*args):
        raise RuntimeError("{'error_message': 'Incorrect syntax near s'}")

    with pytest.raises(ValueError, match="refuses the query.*Incorrect syntax"):
        fetch_sdss_galaxies(5, selection="s", query=refused)


def csv(rows):
    """What SkyServer sends."""
    lines = [",".join(rows.colnames), *(",".join(str(value) for value in row) for row in rows)]
    return "#Table1\n" + "\n".join(lines) + "\n"


class Answer:
    """What requests gives."""

    def __init__(self, text):
        self.text = text


@pytest.fixture
def answers(monkeypatch):
    """A function that sets what the server sends to astroquery; nothing waits."""
    sdss = pytest.importorskip("astroquery.sdss", reason="needs astroquery")
    monkeypatch.setattr("astrolearn.photoz.sdss.time.sleep", lambda seconds: None)
    sent = []

    def set_answer(answer):
        def request(self, method, url, params=None, **kwargs):
            sent.append((url, params, kwargs))
            return Answer(answer(params["cmd"]) if callable(answer) else answer)

        monkeypatch.setattr(sdss.SDSSClass, "_request", request)
        return sent

    return set_answer


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_through_astroquery(answers):
    sent = answers(csv(survey(30)))
    table = fetch_sdss_galaxies(28, timeout=7)
    assert len(table) == 28
    assert table["objID"].dtype == np.uint64
    assert table["objID"].min() >= FIRST_ID
    url, params, kwargs = sent[0]
    assert "dr17" in url
    assert params["cmd"].strip().startswith("SELECT s.specObjID")
    assert kwargs["timeout"] == 7
    answers(lambda sql: "#Table1\nn\n0\n" if "COUNT" in sql else "#Table1\nobjID,ra\n")
    with pytest.raises(ValueError, match="no galaxy"):
        fetch_sdss_galaxies(5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("answer", [
    "", "The service is unavailable.", "The service is unavailable.\r\n", "<html><body>503</body></html>",
    "<html>\n<head><title>503 Service Unavailable</title></head>\n<body>\nTry again, later\n</body>\n</html>\n",
    csv(survey(30))[:-40],  # cut off within a row
    csv(survey(30)).replace("0.08", "null"),
])  # fmt: skip
def test_pages_that_are_no_table(answers, answer):
    sent = answers(answer)
    with pytest.raises(OSError, match="SkyServer gave no usable answer in 3 attempts"):
        fetch_sdss_galaxies(5, retries=2)
    assert len(sent) >= 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_error_page_loses_no_part_of_the_survey(answers):
    rows, pages = survey(), iter(["The service is unavailable.\r\n"])
    server = SkyServer(rows)

    def answer(sql):
        found = next(pages, None) if server.asked else None  # in place of the second answer
        return found or csv(server(sql, 17, 1))

    answers(answer)
    assert len(fetch_sdss_galaxies(10**6)) == 3998
    assert next(pages, "sent") == "sent"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_empty_cells_are_not_zero(answers):
    answers(csv(survey(30)).replace("19.0,0.02", ",0.02", 1))
    table = fetch_sdss_galaxies(28)
    assert np.isnan(table["u"]).sum() == 2  # and one of -9999
    assert table["u"][~np.isnan(table["u"])].min() == 19 * u.mag


def test_without_astroquery(monkeypatch):
    monkeypatch.setattr("astrolearn.photoz.sdss.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"astrolearn\[sdss\]"):
        fetch_sdss_galaxies(5)


@pytest.mark.remote_data
def test_skyserver():
    table = fetch_sdss_galaxies(20)
    assert len(table) == 20
    assert (np.nan_to_num(table["r_petro"].value) < 17.8).all()
    assert len(np.unique(table["objID"])) == 20


@pytest.mark.remote_data
def test_skyserver_has_the_selection_of_the_talk():
    table = fetch_sdss_galaxies(20, selection="menko2024")
    assert len(table) == 20
    assert (table["redshift"] > 1e4 * table["redshift_err"]).all()


@pytest.mark.remote_data
def test_skyserver_has_none():
    with pytest.raises(ValueError, match="no galaxy"):
        fetch_sdss_galaxies(5, selection="s.z > 99")

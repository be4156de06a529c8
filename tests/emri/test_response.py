"""The detectors' response, against another program, averages over the sky, and a wave that can be delayed by hand."""

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.table import Table

from astrolearn.emri import analytic_kludge, project
from benchmarks.emri.references import kludge_table, overlap, read_reference

DAY = 86400.0


def sources(n, rng):
    return {"theta_S": np.arccos(rng.uniform(-1, 1, n)), "phi_S": rng.uniform(0, 2 * np.pi, n)}


def test_lisa_as_in_the_reference(shared_data):
    data, q = read_reference(shared_data, "ak")
    table = kludge_table(q)
    n = len(data["h_I_lisa"])
    h_plus, h_cross = analytic_kludge(table, n + 64, dtype=torch.float64)
    h = project(h_plus, h_cross, table, "lisa")[0, :, :n]
    # its Doppler shift leaves out the precession of the orbital plane: 0.9995 is what an exact delay agrees to
    assert overlap(h[0], data["h_I_lisa"]) > 0.999
    assert overlap(h[1], data["h_II_lisa"]) > 0.999


@pytest.mark.parametrize("detector", ["tianqin", "lisa"])
def test_sky_averaged_response(detector):
    # 3/20 of the power of each polarisation in each channel (Robson, Cornish & Liu 2019, equation 9, per channel)
    rng = np.random.default_rng(0)
    n, n_samples = 3000, 1024
    plus = torch.ones(n, n_samples, dtype=torch.float64)
    # half of the waves in each polarisation; a day per sample, so that every orientation occurs
    cross = torch.zeros_like(plus)
    cross[::2], plus[::2] = 1, 0
    h = project(plus, cross, sources(n, rng), detector, sample_interval=0.1 * u.day)[..., 100:-100]
    np.testing.assert_allclose(h.square().mean(dim=(0, 2)), 3 / 20, rtol=0.03)


@pytest.mark.parametrize("detector", ["tianqin", "lisa"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_wave_arrives_when_the_detector_is_there(detector, dtype):
    rng = np.random.default_rng(1)
    n, n_samples, start = 3, 65536, 40 * DAY
    where = sources(n, rng)
    time = start + 30.0 * np.arange(n_samples)
    direction = np.stack([np.sin(where["theta_S"]) * np.cos(where["phi_S"]),
                          np.sin(where["theta_S"]) * np.sin(where["phi_S"])])
    year, light_au = 31557600.0, 499.00478384
    position = light_au * np.stack([np.cos(2 * np.pi * time / year), np.sin(2 * np.pi * time / year)])
    arrival = direction.T @ position
    for frequency in (1e-3, 5e-3, 1.3e-2, 0.88 / 60):
        wave = np.cos(2 * np.pi * frequency * np.stack([time] * n))
        late = np.cos(2 * np.pi * frequency * (time + arrival))
        args = {"detector": detector, "start_time": start * u.s}
        nothing = torch.zeros(n, n_samples, dtype=dtype)
        h = project(torch.tensor(wave, dtype=dtype), nothing, where, **args)[..., 100:-100]
        # where it stands, the antenna pattern is that of a constant wave
        antenna = project(torch.ones(n, n_samples, dtype=dtype), nothing, where, **args)[..., 100:-100]
        expected = antenna * torch.tensor(late, dtype=dtype)[:, None, 100:-100]
        assert (h - expected).abs().max() < 3e-3


def test_tianqin_sees_its_own_direction_best():
    # along the normal of the plane both polarisations are received fully, toward the plane only one of them, half
    facing = {"theta_S": [94.7] * u.deg, "phi_S": [120.5] * u.deg}
    one, none = torch.ones(1, 20000), torch.zeros(1, 20000)
    for waves in ((one, none), (none, one)):
        h = project(*waves, facing, "tianqin")[0, :, 100:-100]
        np.testing.assert_allclose(h.square().sum(dim=0), 3 / 4, rtol=1e-3)
    edge_on = {"theta_S": [4.7] * u.deg, "phi_S": [120.5] * u.deg}
    powers = [project(*waves, edge_on, "tianqin")[0, :, 100:-100].square().sum(dim=0).mean()
              for waves in ((one, none), (none, one))]
    np.testing.assert_allclose(sorted(powers), [0, 3 / 16], atol=1e-3)


def test_tianqin_turns_in_3_65_days():
    # the pattern repeats twice in a turn of 3.65 d
    facing = {"theta_S": [94.7] * u.deg, "phi_S": [120.5] * u.deg}
    h = project(torch.ones(1, 2**15), torch.zeros(1, 2**15), facing, "tianqin")[0, 0]
    half_turn = round(3.65 * DAY / 2 / 30)
    torch.testing.assert_close(h[100:10000], h[100 + half_turn : 10000 + half_turn], rtol=0, atol=1e-3)


def test_bad_arguments():
    one = torch.ones(2, 100)
    with pytest.raises(ValueError, match="detector='ligo'"):
        project(one, one, {"theta_S": np.ones(2), "phi_S": np.ones(2)}, "ligo")
    with pytest.raises(ValueError, match="do not fit together"):
        project(one, one[:, :50], {"theta_S": np.ones(2), "phi_S": np.ones(2)}, "lisa")
    with pytest.raises(ValueError, match="do not fit together"):
        project(one, one, {"theta_S": np.ones(3), "phi_S": np.ones(3)}, "lisa")
    with pytest.raises(ValueError, match="phi_S"):
        project(one, one, {"theta_S": np.ones(2)}, "lisa")
    with pytest.raises(u.UnitConversionError, match="theta_S has the unit 'm'"):
        project(one, one, {"theta_S": np.ones(2) * u.m, "phi_S": np.ones(2)}, "lisa")
    with pytest.raises(ValueError, match="sample_interval=0"):
        project(one, one, {"theta_S": np.ones(2), "phi_S": np.ones(2)}, "lisa", sample_interval=0)


def test_waves_from_what_people_have():
    where = {"theta_S": [1.0], "phi_S": [2.0]}
    wave, nothing = np.ones((1, 2000)), np.zeros((1, 2000))
    expected = project(wave, nothing, where, "lisa")
    assert expected.dtype == torch.float64
    for kind in (lambda x: x.astype(">f8"), lambda x: x.astype(int), lambda x: x * u.one, lambda x: x.tolist(),
                 lambda x: torch.tensor(x).int()):
        torch.testing.assert_close(project(kind(wave), kind(nothing), where, "lisa"), expected)
    with pytest.raises(u.UnitConversionError, match="h_plus has the unit 'm'"):
        project(wave * u.m, nothing, where, "lisa")
    with pytest.raises(ValueError, match="start_time"):
        project(wave, nothing, where, "lisa", start_time=[0, 1] * u.s)


def test_rows_keep_their_units():
    table = Table({"theta_S": [60.0, 70.0] * u.deg, "phi_S": [115.0, 20.0] * u.deg})
    wave, nothing = torch.ones(1, 2000), torch.zeros(1, 2000)
    for row in (0, 1):
        torch.testing.assert_close(project(wave, nothing, table[row], "tianqin"),
                                   project(wave, nothing, table[row : row + 1], "tianqin"))

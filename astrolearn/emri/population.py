"""
Populations of inspirals: priors, simulated signals in a detector, and the test groups of Zhang et al. (2022).

Orbits are drawn by how they end: the eccentricity at the plunge and the time that is left until then, from which the
equations are solved backwards. So every signal sweeps through the detector's band within or soon after the data, as
those that can be detected do. A signal is simulated, projected, whitened and scaled to its signal-to-noise ratio (or
given the distance of its redshift), in batches of sixteen that share one set of differential equations; batches come as
a stream, because a thousand signals of three months take 2 GB.
"""

from functools import partial

import astropy.units as u
import numpy as np
import torch
from astropy.cosmology import Planck18
from astropy.table import vstack

from astrolearn.core.inputs import as_quantity
from astrolearn.core.parallel import map_batches
from astrolearn.core.progress import progress
from astrolearn.core.seeding import make_rng
from astrolearn.core.tables import SampleTable
from astrolearn.emri.few import few_waveform
from astrolearn.emri.inspiral import peters_mathews_start
from astrolearn.emri.kerr_inspiral import kerr_start
from astrolearn.emri.noise import signal_to_noise, whiten, whitening_filter
from astrolearn.emri.parameters import COLUMNS, MSUN, Inspirals, read_interval
from astrolearn.emri.response import check_detector, project
from astrolearn.emri.waveforms import analytic_kludge

__all__ = ["EMRIPopulation"]

_BATCH = 16


class EMRIPopulation:
    """
    Simulates signals of extreme-mass-ratio inspirals in a detector.

    Of every prior, a number fixes the parameter and a pair is the range that it is drawn from. Spin directions, source
    directions and inclinations are isotropic; phases are uniform.

    Parameters
    ----------
    detector : {"tianqin", "lisa"}, optional
        Default: TianQin.
    waveform : {"ak", "aak", "few-aak"}, optional
        Analytic kludge (default), augmented (see `analytic_kludge`), or the augmented one of the package
        fastemriwaveforms, which must be installed. The orbits of the latter are drawn with the fluxes of ours, so that
        ``time_to_plunge`` and ``e_plunge`` hold only roughly.
    snr : float, (float, float) or None, optional
        Optimal signal-to-noise ratio over both channels, uniform in a range; it sets the distance. `None`: the distance
        is that of ``redshift``. Default: (50, 120).
    mass_1 : `~astropy.units.Quantity`, float or pair, optional
        Mass of the large black hole, log-uniform; plain numbers in solar masses. Default: 1e5 to 10**6.5.
    mass_2 : `~astropy.units.Quantity`, float or pair, optional
        Mass of the compact object, log-uniform. Default: 10 solar masses.
    spin : float or pair, optional
        Dimensionless spin of the large black hole. Default: (0, 0.98).
    e_plunge : float or pair, optional
        Eccentricity at the plunge. Default: (0.01, 0.2), which at the start of three months of data gives
        eccentricities around 0.2, a tenth of them above 0.5.
    time_to_plunge : float or pair, optional
        From the start of the data to the plunge, in units of the length of the data. Default: (1.05, 4).
    e0_max : float, optional
        Orbits that are more eccentric at the start of the data are drawn again: beyond 0.7 (default; 5 % of the default
        priors) the post-Newtonian expansions and the number of harmonics are no longer good.
    redshift : float, pair or None, optional
        With a redshift the masses are those at the source, and are multiplied by 1 + z; in a range, inspirals occur at
        a constant rate per comoving volume and time at the source. `None` (default): the masses are those in the
        detector frame.
    min_snr : float, optional
        Signals below it are drawn again, where the SNR follows from the redshift. Default: 0.
    mass_index : float, optional
        The density of log ``mass_1`` is proportional to ``mass_1 ** mass_index``. Default: 0.
    n_samples : int, optional
        Length of the series. Default: 262144.
    sample_interval : `~astropy.units.Quantity`, str or float, optional
        Default: 30 s.
    cosmology : `~astropy.cosmology.Cosmology`, optional
        Default: Planck18.

    Raises
    ------
    ValueError
        If a value is outside its range, or neither ``snr`` nor ``redshift`` is given.
    """

    def __init__(
        self,
        *,
        detector="tianqin",
        waveform="ak",
        snr=(50, 120),
        mass_1=(1e5 * u.Msun, 10**6.5 * u.Msun),
        mass_2=10 * u.Msun,
        spin=(0, 0.98),
        e_plunge=(0.01, 0.2),
        time_to_plunge=(1.05, 4),
        e0_max=0.7,
        redshift=None,
        min_snr=0,
        mass_index=0,
        n_samples=262144,
        sample_interval=30 * u.s,
        cosmology=Planck18,
    ):
        if waveform not in _WAVEFORMS:
            raise ValueError(f"waveform={waveform!r} is none of {', '.join(map(repr, _WAVEFORMS))}")
        if (snr is None) == (redshift is None):
            raise ValueError("give either snr or redshift: each sets the distance")
        self.detector = check_detector(detector)
        self.waveform = waveform
        self.snr = None if snr is None else _range(snr, "snr", 0, np.inf, unit=u.one)
        self.mass_1 = _range(mass_1, "mass_1", 0, np.inf, unit=u.Msun)
        self.mass_2 = _range(mass_2, "mass_2", 0, np.inf, unit=u.Msun)
        self.spin = _range(spin, "spin", 0, 0.998)
        self.e_plunge = _range(e_plunge, "e_plunge", 0, 0.9)
        self.time_to_plunge = _range(time_to_plunge, "time_to_plunge", 0, np.inf, unit=u.one)
        if not 0 < e0_max < 1 or n_samples < 1 or not 0 <= min_snr < np.inf or not np.isfinite(mass_index):
            raise ValueError(f"e0_max={e0_max} must be between 0 and 1, n_samples={n_samples} positive, "
                             f"min_snr={min_snr} not negative, and mass_index={mass_index} finite")
        if snr is not None and min_snr:
            raise ValueError("min_snr is for signals at a redshift; with snr, give its range")
        self.e0_max = e0_max
        self.redshift = None if redshift is None else _range(redshift, "redshift", 0, 20)
        self.min_snr = min_snr
        self.mass_index = mass_index
        self.n_samples = n_samples
        self.sample_interval = read_interval(sample_interval) * u.s
        self.cosmology = cosmology

    @classmethod
    def uniform_snr(cls, **kwargs):
        """
        Group 1 of Zhang et al. (2022), table IV: analytic kludge, SNR uniform in 50 to 120, the training prior.

        Parameters
        ----------
        **kwargs
            Of `EMRIPopulation`.
        """
        return cls(**{"snr": (50, 120)} | kwargs)

    @classmethod
    def astrophysical(cls, **kwargs):
        """
        Group 2: an astrophysical population with SNR above 50.

        In the spirit of the model M12 of Babak et al. (2017), 1703.09722: massive black holes of a mass function
        falling as M**-0.3 (Barausse 2012), a spin of 0.98, inspirals of 10 solar masses at a rate per hole that falls
        as M**-0.19 (Amaro-Seoane & Preto 2011), at a constant rate per comoving volume. The redshift ends at 0.25, or
        1.3 Gpc, beyond the sources that reach an SNR of 50 in three months of TianQin (the benchmark of the groups
        gives the distance of the farthest). What the population model says beyond this is our choice.

        Parameters
        ----------
        **kwargs
            Of `EMRIPopulation`.
        """
        own = {"snr": None, "redshift": (0.001, 0.25), "min_snr": 50, "spin": 0.98, "mass_index": -0.49}
        return cls(**own | kwargs)

    @classmethod
    def augmented(cls, **kwargs):
        """
        Group 3: as group 1, with augmented analytic-kludge waveforms.

        Parameters
        ----------
        **kwargs
            Of `EMRIPopulation`.
        """
        return cls(**{"snr": (50, 120), "waveform": "aak"} | kwargs)

    @classmethod
    def at_snr(cls, snr, **kwargs):
        """
        Group 4: one signal-to-noise ratio, in the paper 10, 20, ... 130.

        Parameters
        ----------
        snr : float
            Optimal signal-to-noise ratio.
        **kwargs
            Of `EMRIPopulation`.
        """
        return cls(**{"snr": snr} | kwargs)

    @classmethod
    def at_mass(cls, mass_1, redshift, **kwargs):
        """
        Group 5: one mass (at the source), in the paper 10**4, 10**4.5, ... 10**7, and a spin of 0.98.

        Parameters
        ----------
        mass_1, redshift
            See `EMRIPopulation`.
        **kwargs
            Of `EMRIPopulation`.
        """
        return cls(**{"snr": None, "mass_1": mass_1, "spin": 0.98, "redshift": redshift} | kwargs)

    @classmethod
    def at_spin(cls, spin, redshift, **kwargs):
        """
        Group 6: one spin, in the paper 0, 0.2, 0.4, 0.6, 0.8, 0.98, and a mass of 1e6 solar masses.

        Parameters
        ----------
        spin, redshift
            See `EMRIPopulation`.
        **kwargs
            Of `EMRIPopulation`.
        """
        return cls(**{"snr": None, "mass_1": 1e6 * u.Msun, "spin": spin, "redshift": redshift} | kwargs)

    @classmethod
    def at_redshift(cls, redshift, mass_1, spin, **kwargs):
        """
        Group 7: one redshift, in the paper 0.1, 0.2, 0.3, for (10**5.5, 0.98), (10**6, 0) and (10**6, 0.98).

        Parameters
        ----------
        redshift, mass_1, spin
            See `EMRIPopulation`.
        **kwargs
            Of `EMRIPopulation`.
        """
        return cls(**{"snr": None, "mass_1": mass_1, "spin": spin, "redshift": redshift} | kwargs)

    def sample(self, n, random_state=None, *, n_jobs=None, verbose=0):
        """
        Simulate signals.

        Parameters
        ----------
        n : int
            How many; each takes 2 MB at the default length.
        random_state : int, `numpy.random.Generator`, `numpy.random.RandomState` or None, optional
            Seed. The signals do not depend on ``n_jobs``.
        n_jobs : int or None, optional
            Processes, as for `joblib.Parallel`.
        verbose : int, optional
            With 1, a progress bar.

        Returns
        -------
        signals : SampleTable
            The columns of `analytic_kludge`, ``snr``, ``redshift`` where there is one, and ``signal``: whitened series
            (n, 2, n_samples), float32, without noise.
        """
        batches = progress(self.stream(n, random_state, n_jobs=n_jobs), "simulating signals",
                           total=-(-n // _BATCH), verbose=verbose)
        return SampleTable(vstack(list(batches)))

    def stream(self, n, random_state=None, *, n_jobs=None):
        """
        Simulate signals, sixteen at a time; no more than 32 per process wait for the caller.

        Parameters
        ----------
        n, random_state, n_jobs
            As for `sample`, which gives the same signals.

        Yields
        ------
        signals : SampleTable
            Up to 16 rows of what `sample` returns.
        """
        if n < 1:
            raise ValueError(f"n={n}: at least one signal must be asked for")
        seeds = make_rng(random_state).integers(2**63, size=-(-n // _BATCH))
        batches = [(min(_BATCH, n - i * _BATCH), int(seed)) for i, seed in enumerate(seeds)]
        yield from map_batches(partial(_simulate, self), batches, n_jobs, ahead=2)

    def draw(self, n, random_state=None):
        """
        Draw parameters without simulating the signals; the distance is 1 Gpc where the SNR decides on it.

        Parameters
        ----------
        n : int
            How many.
        random_state : int, `numpy.random.Generator`, `numpy.random.RandomState` or None, optional
            Seed.

        Returns
        -------
        parameters : SampleTable
            The columns of `analytic_kludge`.
        """
        rng = make_rng(random_state)
        parts, found = [], 0
        for _ in range(100):
            table = self._draw_orbits(n, rng)
            table = table[np.array(table["e0"]) <= self.e0_max][: n - found]
            parts.append(table)
            found += len(table)
            if found == n:
                return vstack(parts) if len(parts) > 1 else table
        raise ValueError(f"hardly any orbit of this population begins with e0 <= e0_max = {self.e0_max:g}")

    def _draw_orbits(self, n, rng):
        table = SampleTable()
        masses = _log_power(rng, *self.mass_1, self.mass_index, n)
        small = _log_power(rng, *self.mass_2, 0, n)
        redshift = np.zeros(n)
        if self.redshift is not None:
            redshift = self._redshifts(rng, n)
            masses, small = masses * (1 + redshift), small * (1 + redshift)
        table["mass_1"], table["mass_2"] = masses * u.Msun, small * u.Msun
        table["spin"] = rng.uniform(*self.spin, n)
        e_plunge = rng.uniform(*self.e_plunge, n)
        left = rng.uniform(*self.time_to_plunge, n) * self.n_samples * self.sample_interval.value
        cosine = {name: np.arccos(rng.uniform(-1, 1, n)) for name in ("inclination", "theta_S", "theta_K")}
        angle = {name: rng.uniform(0, 2 * np.pi, n) for name in ("gamma0", "phase0", "phi_S", "phi_K", "alpha0")}
        values = {name: np.ones(n) for name in COLUMNS} | cosine | angle
        values |= {"mass_1": masses * MSUN, "mass_2": small * MSUN, "spin": np.array(table["spin"])}
        inspirals = Inspirals(**values)
        if self.waveform == "ak":
            table["p0"], table["e0"] = peters_mathews_start(inspirals, e_plunge, left)
        else:
            table["p0"], table["e0"], values["inclination"] = kerr_start(inspirals, e_plunge, left)
        for name in list(COLUMNS)[5:-1]:
            table[name] = values[name] * u.rad
        if self.redshift is None:
            table["distance"] = np.ones(n) * u.Gpc
        else:
            table["distance"] = self.cosmology.luminosity_distance(redshift).to(u.Gpc)
            table["redshift"] = redshift
        return table

    def _redshifts(self, rng, n):
        low, high = self.redshift
        if low == high:
            return np.full(n, low)
        z = np.linspace(low, high, 1001)
        density = self.cosmology.differential_comoving_volume(z).value / (1 + z)
        total = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
        return np.interp(rng.uniform(0, total[-1], n), total, z)

    def _signals(self, table):
        interval = self.sample_interval
        h_plus, h_cross = _WAVEFORMS[self.waveform](table, self.n_samples, interval)
        h = project(h_plus, h_cross, table, self.detector, sample_interval=interval)
        return whiten(h, whitening_filter(self.n_samples, interval.value, self.detector))


def _simulate(population, batch):
    """One batch of signals with their parameters."""
    n, seed = batch
    rng = np.random.default_rng(seed)
    parts, found = [], 0
    for _ in range(200):
        table = population.draw(n if population.min_snr == 0 else _BATCH, rng)
        signals = population._signals(table)
        snr = signal_to_noise(signals).cpu()
        if population.snr is not None:
            wanted = torch.from_numpy(rng.uniform(*population.snr, len(table)))
            factor = wanted / snr.clamp(min=1e-300)
            signals *= factor[:, None, None].to(signals)
            table["distance"] = table["distance"] / factor.numpy()
            snr = torch.where(snr > 0, wanted, -1)  # what never enters the band is drawn again
        table["snr"] = snr.numpy()
        keep = np.flatnonzero(table["snr"] >= population.min_snr)[: n - found]
        table, signals = table[keep], signals[torch.from_numpy(keep).to(signals.device)]
        table["signal"] = signals.cpu().numpy()
        parts.append(table)
        found += len(table)
        if found == n:
            return vstack(parts) if len(parts) > 1 else parts[0]
    raise ValueError(f"hardly any signal of this population reaches an SNR of {population.min_snr:g}")


def _few_aak(table, n_samples, interval):
    return few_waveform(Inspirals.from_table(table), n_samples, interval.value)


_WAVEFORMS = {"ak": analytic_kludge, "aak": partial(analytic_kludge, augmented=True), "few-aak": _few_aak}


def _range(value, name, low, high, unit=None):
    """A pair of floats from a number or a pair."""
    is_pair = isinstance(value, (tuple, list)) or (isinstance(value, np.ndarray) and value.ndim == 1)
    pair = tuple(value) if is_pair else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name}={value!r} is neither a number nor a pair")
    pair = tuple(float(as_quantity(x, u.one if unit is None else unit, name).value) for x in pair)
    if not low <= pair[0] <= pair[1] <= high or (unit is not None and pair[0] == 0):
        raise ValueError(f"{name}={value!r} must increase within {low:g} to {high:g}")
    return pair


def _log_power(rng, low, high, index, n):
    """Numbers whose logarithms have a density that is a power of them."""
    uniform = rng.uniform(size=n)
    if index == 0 or low == high:
        return low * (high / low) ** uniform
    return (low**index + uniform * (high**index - low**index)) ** (1 / index)

"""What the benchmarks of source counts share: the measured weights, and networks trained for comparison."""

from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from astrolearn import SourceCountRegressor
from astrolearn.core.weights import find_pretrained
from astrolearn.counts import Instrument, RadioSkySimulator, TalkFamily
from astrolearn.recipes import emu_944mhz

__all__ = ["DEEP", "EMU", "N_PIXELS", "TALK_CUTOUTS", "TALK_SKIES", "Context"]

EMU = Instrument.preset("emu")
DEEP = replace(Instrument.preset("regis2022"), noise=3e-6 * EMU.noise.unit, clean_threshold=15e-6 * EMU.noise.unit)
N_PIXELS = {EMU: emu_944mhz.N_PIXELS, DEEP: 2560}  # both 25 deg2
_SEED = 70
TALK_SKIES, TALK_CUTOUTS = 84, 8400  # the talk has as many cutouts, of 21 images


@dataclass
class Context:
    """
    What the benchmarks share.

    Attributes
    ----------
    regressor : SourceCountRegressor
        The one that is measured.
    weights : dict
        Its name and SHA-256.
    data, cache : `pathlib.Path`
        Folders of the real data, and of the networks that are not shipped.
    n_skies : int
        Fresh skies of each family.
    """

    regressor: SourceCountRegressor
    weights: dict
    data: Path
    cache: Path
    n_skies: int = 50

    @classmethod
    def of(cls, weights, data, cache, skies=None):
        """Context of a weight file, or of the shipped one."""
        path = Path(weights) if weights else Path(find_pretrained("emu-944mhz"))
        named = {"name": path.stem, "sha256": sha256(path.read_bytes()).hexdigest()}
        sizes = {} if skies is None else {"n_skies": skies}
        return cls(SourceCountRegressor.load(path), named, Path(data), Path(cache), **sizes)

    def deep(self):
        """A regressor for a noise of 3 uJy/beam, from the cache or trained by the recipe."""
        path = self.cache / "counts-deep"
        if not (path / "regressor.safetensors").is_file():
            emu_944mhz.train(path, instrument=DEEP, n_pixels=N_PIXELS[DEEP], n_jobs=2)
        return SourceCountRegressor.load(path / "regressor.safetensors")

    def talk(self):
        """The talk's network on as many cutouts as in the talk."""
        cutouts = {"n_skies": TALK_SKIES, "n_cutouts": TALK_CUTOUTS // TALK_SKIES, "batch_size": 64, "max_epochs": 10}
        return self._on_the_talks_family("talk", architecture="regis2022", lr=1e-3, **cutouts)

    def family(self):
        """The default network, trained on skies of the talk's family."""
        return self._on_the_talks_family("family", n_skies=60, max_epochs=60)

    def _on_the_talks_family(self, name, **parameters):
        """From the cache, or trained."""
        path = self.cache / f"counts-{name}.safetensors"
        if not path.is_file():
            simulator = RadioSkySimulator(instrument=EMU, counts=TalkFamily(), n_pixels=N_PIXELS[EMU])
            network = SourceCountRegressor(random_state=_SEED, verbose=1, n_jobs=2, **parameters)
            path.parent.mkdir(parents=True, exist_ok=True)
            network.fit(simulator).set_params(n_jobs=None, verbose=0).save(path, overwrite=True)
        return SourceCountRegressor.load(path)

"""What the recipes of `~astrolearn.PointSourceFinder` share: a training that leaves its weights behind every epoch."""

from safetensors.torch import save_file
from skorch.callbacks import Callback

from astrolearn.core.tables import atomic_write
from astrolearn.sources.finder import PointSourceFinder

__all__ = ["fit_with_checkpoints"]


class _SaveEpoch(Callback):
    """Leaves the network's weights in a file after every epoch: a training that is cut short is not lost."""

    def __init__(self, path):
        self.path = path

    def on_epoch_end(self, net, **kwargs):
        weights = {name: value.contiguous() for name, value in net.module_.state_dict().items()}
        atomic_write(lambda path: save_file(weights, path), self.path, overwrite=True)


class _SavingFinder(PointSourceFinder):
    """A finder that keeps the checkpoint of its last epoch in a folder."""

    folder = None

    def _net_options(self):
        options = super()._net_options()
        options["callbacks"] = [*options["callbacks"], _SaveEpoch(self.folder / "checkpoint.safetensors")]
        return options


def fit_with_checkpoints(maps, folder, *, n_jobs=None, **parameters):
    """
    Train a finder.

    Parameters
    ----------
    maps : iterable
        See `PointSourceFinder.fit`.
    folder : `pathlib.Path`
        Where ``checkpoint.safetensors`` is written after every epoch.
    n_jobs : int, optional
        Processes that prepare maps.
    **parameters
        Of the finder.

    Returns
    -------
    PointSourceFinder
        Fitted.
    """
    saving = _SavingFinder(verbose=1, n_jobs=n_jobs, **parameters)
    saving.folder = folder
    saving.fit(maps)
    # what is shipped is the finder itself: the same weights in the public class
    finder = PointSourceFinder(**parameters)
    weights = {name: value.numpy() for name, value in saving.net_.module_.state_dict().items()}
    finder._restore({"calibration_": saving.calibration_}, weights)
    return finder

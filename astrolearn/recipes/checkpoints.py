"""A training that leaves its weights behind every epoch, for recipes that take long."""

from safetensors.torch import save_file
from skorch.callbacks import Callback

from astrolearn.core.tables import atomic_write

__all__ = ["fit_with_checkpoints"]


class _SaveEpoch(Callback):
    """Leaves the network's weights in a file after every epoch: a training that is cut short is not lost."""

    def __init__(self, path):
        self.path = path

    def on_epoch_end(self, net, **kwargs):
        weights = {name: value.contiguous() for name, value in net.module_.state_dict().items()}
        atomic_write(lambda path: save_file(weights, path), self.path, overwrite=True)


def fit_with_checkpoints(estimator, folder, *data, n_jobs=None):
    """
    Train an estimator.

    Parameters
    ----------
    estimator : NetworkEstimator
        It is fitted in place.
    folder : `pathlib.Path`
        Where ``checkpoint.safetensors`` is written after every epoch.
    *data
        Arguments of its ``fit``.
    n_jobs : int, optional
        Processes that prepare the data.

    Returns
    -------
    NetworkEstimator
        The estimator, fitted, with no other ``n_jobs`` and ``verbose`` than it had.
    """
    own, options = estimator.get_params(deep=False), estimator._net_options

    def with_checkpoint():
        chosen = options()
        return chosen | {"callbacks": [*chosen["callbacks"], _SaveEpoch(folder / "checkpoint.safetensors")]}

    estimator._net_options = with_checkpoint
    try:
        estimator.set_params(verbose=1, n_jobs=n_jobs).fit(*data)
    finally:
        del estimator._net_options
        estimator.set_params(verbose=own["verbose"], n_jobs=own["n_jobs"])
    # the trained net keeps no callback that writes files
    weights = {name: value.numpy() for name, value in estimator.net_.module_.state_dict().items()}
    state = {name: getattr(estimator, name) for name in estimator._fitted_names if hasattr(estimator, name)}
    estimator._restore(state, weights)
    return estimator

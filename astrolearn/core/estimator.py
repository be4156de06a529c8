"""The base of every estimator: scikit-learn's promises, kept by composing a skorch net."""

from abc import ABCMeta, abstractmethod
from functools import partial
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils._param_validation import Interval
from skorch.callbacks import EarlyStopping
from skorch.helper import predefined_split

from astrolearn.core.compute import resolve_device
from astrolearn.core.net import EpochProgress, Net, forward
from astrolearn.core.parallel import map_batches
from astrolearn.core.progress import progress
from astrolearn.core.seeding import seeded_torch
from astrolearn.core.weights import find_pretrained, load_estimator, save_estimator

__all__ = ["NetworkEstimator"]


class NetworkEstimator(BaseEstimator, metaclass=ABCMeta):
    """
    Base of the estimators: trains, runs, saves and loads a network, and knows nothing of what it is for.

    A subclass lists its hyper-parameters in a keyword-only ``__init__``, adds their constraints to
    ``_parameter_constraints``, names in ``_fitted_names`` the attributes that ``fit`` sets beside the network, and
    says in ``_network`` how the untrained network is made. Its ``fit`` calls ``_validate_params()`` and ``_fit_net``;
    its ``predict`` calls ``_forward`` or, for inputs that do not fit in memory, ``_forward_batches``.

    Parameters
    ----------
    device : str or `torch.device`, optional
        Where the network runs. ``"auto"`` (default) is CUDA when there is one, else the CPU.
    batch_size : int, optional
        Samples per batch, in training and prediction.
    max_epochs : int, optional
        Passes over the training data.
    lr : float, optional
        Learning rate.
    random_state : int, `numpy.random.Generator`, `numpy.random.RandomState` or None, optional
        Seed of everything random in ``fit``; the global state of numpy and torch is left alone.
    verbose : int, optional
        With 1, progress bars with the time left. Default: 0.
    n_jobs : int or None, optional
        Processes that predict on the CPU; -1 is one per core. `None` (default) is one, unless a
        `joblib.parallel_config` says otherwise.

    Attributes
    ----------
    net_ : `skorch.NeuralNet`
        The trained network, with the history of its training.
    """

    _parameter_constraints = {
        "device": [str, torch.device],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "random_state": ["random_state", np.random.Generator],
        "verbose": ["verbose"],
        "n_jobs": [None, Integral],
    }
    _fitted_names = ()
    _tabular = False  # whether samples are rows of a 2-D table
    _mixed_precision = False  # whether training in bfloat16 pays: for convolutions, yes; for small dense networks, no

    def __init__(
        self, *, device="auto", batch_size=64, max_epochs=20, lr=1e-3, random_state=None, verbose=0, n_jobs=None
    ):
        self.device = device
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.lr = lr
        self.random_state = random_state
        self.verbose = verbose
        self.n_jobs = n_jobs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = self._tabular
        return tags

    def __sklearn_is_fitted__(self):
        return hasattr(self, "net_")

    def save(self, path, *, overwrite=False):
        """
        Write the fitted estimator to one safetensors file.

        A generator given as ``random_state`` is saved as `None`: it is no part of what was learnt.

        Parameters
        ----------
        path : path-like
            The file to write.
        overwrite : bool, optional
            Whether an existing file may be replaced. Default: no.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        FileExistsError
            If the file exists and ``overwrite`` is false.
        """
        self._require_fitted()
        parameters = self.get_params(deep=False)
        if not isinstance(self.random_state, Integral):
            parameters["random_state"] = None
        parameters["device"] = str(self.device)
        state = {name: getattr(self, name) for name in self._fitted_names if hasattr(self, name)}
        weights = {name: values.cpu().numpy() for name, values in self.net_.module_.state_dict().items()}
        save_estimator(path, type(self).__name__, parameters, state, weights, overwrite=overwrite)

    @classmethod
    def load(cls, path):
        """
        Read a fitted estimator that `save` wrote; its predictions are the same to the last bit.

        Where the device that it was set to does not exist, it is set to ``"auto"``.

        Parameters
        ----------
        path : path-like
            The file to read.

        Returns
        -------
        estimator
            The fitted estimator.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is damaged, is not a weight file, or holds another class.
        """
        parameters, state, weights = load_estimator(path, cls.__name__)
        try:
            resolve_device(parameters["device"])
        except ValueError:
            parameters["device"] = "auto"
        try:
            estimator = cls(**parameters)
            estimator._restore(state, weights)
        except (TypeError, RuntimeError, LookupError, AttributeError) as error:
            raise ValueError(f"{path} does not fit this version of {cls.__name__}: {error}") from error
        return estimator

    @classmethod
    def from_pretrained(cls, name):
        """
        Load weights that come with the package; `astrolearn.list_pretrained` lists them.

        Parameters
        ----------
        name : str
            ``"<name>"`` for the newest weights of that name, or ``"<name>-<number>"``.

        Returns
        -------
        estimator
            The fitted estimator.

        Raises
        ------
        ValueError
            If there are no such weights, or they belong to another estimator.
        """
        return cls.load(find_pretrained(name))

    def _require_fitted(self):
        if not self.__sklearn_is_fitted__():
            name = type(self).__name__
            raise NotFittedError(f"this {name} is not fitted: call fit, or load weights with load or from_pretrained")

    def _restore(self, state, weights):
        """Put back what `save` took: the attributes in ``_fitted_names`` and the network's weights."""
        unknown = state.keys() - set(self._fitted_names)
        if unknown:
            raise LookupError(f"unknown fitted attributes {', '.join(sorted(unknown))}")
        for name, value in state.items():
            setattr(self, name, value)
        with seeded_torch(0):
            self.net_ = self._make_net().initialize()
        self.net_.module_.load_state_dict({name: torch.tensor(values) for name, values in weights.items()})

    @abstractmethod
    def _network(self):
        """What makes the untrained network: a module class, or a `functools.partial` of one (it must be picklable)."""

    def _net_options(self):
        """Further arguments of `skorch.NeuralNet`: criterion, optimizer, callbacks, train_split ..."""
        return {}

    def _make_net(self, validation=None):
        options = {"optimizer": torch.optim.Adam, "train_split": None, "iterator_train__shuffle": True, "callbacks": []}
        options |= self._net_options()
        callbacks = [*options.pop("callbacks")]
        if validation is not None:
            options["train_split"] = predefined_split(validation)
            patience = max(self.max_epochs // 3, 5)
            callbacks.append(EarlyStopping(patience=patience, load_best=True, sink=_say_nothing))
        if self.verbose:
            callbacks.append(EpochProgress(f"training {type(self).__name__}"))
        return Net(
            self._network(),
            lr=self.lr,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            device=str(resolve_device(self.device)),
            mixed_precision=self._mixed_precision,
            callbacks=callbacks,
            verbose=0,
            **options,
        )

    def _fit_net(self, inputs, targets=None, rng=None, validation=None):
        """
        Train a new network on a float32 array, a dict of arrays or a torch dataset; ``rng`` may seed it.

        With ``validation``, a dataset, the network is kept as it was when it did best there.
        """
        with seeded_torch(self.random_state if rng is None else rng, resolve_device(self.device)):
            self.net_ = self._make_net(validation).fit(inputs, targets)

    def _forward_batches(self, batches, total=None, prepare=None):
        """
        Yield the network's output, float32, for each batch: a float32 array, or a dict of arrays.

        With ``prepare`` a batch is whatever this picklable function makes one of; it runs in the processes.
        """
        self._require_fitted()
        device = resolve_device(self.device)
        module = self.net_.module_.to(device).eval()
        n_jobs = self.n_jobs
        if device.type != "cpu":  # several processes would share one GPU and its memory: they only prepare
            batches = batches if prepare is None else map_batches(prepare, batches, n_jobs)
            n_jobs, prepare = 1, None
        outputs = map_batches(partial(_forward, module, device, prepare), batches, n_jobs)
        yield from progress(outputs, f"{type(self).__name__}", total=total, verbose=self.verbose)

    def _forward(self, inputs):
        """The network's output, float32 (n, ...), for a float32 array (n, ...) or a dict of such arrays."""
        n_samples = len(next(iter(inputs.values())) if isinstance(inputs, dict) else inputs)
        starts = range(0, n_samples, self.batch_size)
        batches = (_rows(inputs, slice(start, start + self.batch_size)) for start in starts)
        return np.concatenate(list(self._forward_batches(batches, total=len(starts))))


def _say_nothing(*args):
    """What early stopping writes to."""


def _forward(module, device, prepare, batch):
    return forward(module, device, batch if prepare is None else prepare(batch))


def _rows(inputs, rows):
    if isinstance(inputs, dict):
        return {name: values[rows] for name, values in inputs.items()}
    return inputs[rows]

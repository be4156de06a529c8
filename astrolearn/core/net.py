"""The skorch net that every estimator composes: seeded from outside, fast in training, plain in prediction."""

import skorch
import torch
from skorch.callbacks import Callback
from skorch.dataset import get_len
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

from astrolearn.core.compute import supports_bfloat16, to_channels_last, training_autocast

__all__ = ["EpochProgress", "Net", "OneCycle", "forward"]


class Net(skorch.NeuralNet):
    """
    A `skorch.NeuralNet` that can train in bfloat16.

    Parameters
    ----------
    module : callable
        Makes the network: a `torch.nn.Module` class, or a `functools.partial` of one.
    mixed_precision : bool, optional
        Whether training steps run in bfloat16 and channels-last order where the device supports it (default: no).
        The weights, the loss and every prediction stay in float32.
    **kwargs
        The other arguments of `skorch.NeuralNet`.
    """

    def __init__(self, module, *, mixed_precision=False, **kwargs):
        super().__init__(module, **kwargs)
        self.mixed_precision = mixed_precision

    @property
    def _is_mixed(self):
        return self.mixed_precision and supports_bfloat16(torch.device(self.device))

    def infer(self, x, **fit_params):
        """Run the module on one batch, in mixed precision if the module is training."""
        if not (self._is_mixed and self.module_.training):
            return super().infer(x, **fit_params)
        with training_autocast(torch.device(self.device)):
            output = super().infer(to_channels_last(x), **fit_params)
        return _to_float32(output)

    def on_train_begin(self, *args, **kwargs):
        """Lay the weights out for training."""
        super().on_train_begin(*args, **kwargs)
        if self._is_mixed:
            _set_memory_format(self.module_, torch.channels_last)

    def on_train_end(self, *args, **kwargs):
        """Lay the weights out as a loaded network has them, so that both give the same bits."""
        if self._is_mixed:
            _set_memory_format(self.module_, torch.contiguous_format)
        super().on_train_end(*args, **kwargs)


class OneCycle(Callback):
    """
    Learning rate that rises to that of the net in 15 % of the training, and then falls to nothing.

    What a network learned last is then not lost in the noise of the last steps.
    """

    def on_train_begin(self, net, X=None, **kwargs):
        """Begin the cycle; its length is that of the training."""
        n_batches = -(-get_len(X) // net.batch_size)
        self.schedule_ = OneCycleLR(net.optimizer_, net.lr, total_steps=net.max_epochs * n_batches + 1, pct_start=0.15)

    def on_batch_end(self, net, training=False, **kwargs):
        """Change the rate after each step."""
        if training:
            self.schedule_.step()

    def on_train_end(self, net, **kwargs):
        """Let go of the optimizer."""
        del self.schedule_


class EpochProgress(Callback):
    """
    Progress of a net's training in epochs, with the time left and the latest losses.

    Parameters
    ----------
    description : str
        What is being trained, shown before the bar.
    """

    def __init__(self, description):
        self.description = description

    def on_train_begin(self, net, **kwargs):
        """Start the bar."""
        self.bar_ = tqdm(total=net.max_epochs, desc=self.description, unit="epoch")

    def on_epoch_end(self, net, **kwargs):
        """Advance the bar by one epoch."""
        losses = {name: net.history[-1][name] for name in ("train_loss", "valid_loss") if name in net.history[-1]}
        self.bar_.set_postfix(losses, refresh=False)
        self.bar_.update()

    def on_train_end(self, net, **kwargs):
        """Close the bar, which could not be pickled with the net."""
        self.bar_.close()
        del self.bar_


def forward(module, device, batch):
    """
    Run a network on one batch, in float32 and without gradients.

    Parameters
    ----------
    module : `torch.nn.Module`
        The network, on ``device`` and in evaluation mode.
    device : `torch.device`
        Where to run it.
    batch : `numpy.ndarray` or dict of str to `numpy.ndarray`
        The input; a dict is passed as keyword arguments.

    Returns
    -------
    output : `numpy.ndarray`
        The network's output.
    """
    with torch.inference_mode():
        if isinstance(batch, dict):
            output = module(**{name: torch.tensor(values, device=device) for name, values in batch.items()})
        else:
            output = module(torch.tensor(batch, device=device))
    return output.cpu().numpy()


def _set_memory_format(module, memory_format):
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.clone(memory_format=memory_format)


def _to_float32(output):
    if isinstance(output, (list, tuple)):
        return type(output)(_to_float32(item) for item in output)
    if isinstance(output, dict):
        return {key: _to_float32(item) for key, item in output.items()}
    return output.float()

"""Where a network runs, and in what precision it trains."""

from contextlib import nullcontext

import torch

__all__ = ["resolve_device", "supports_bfloat16", "to_channels_last", "training_autocast"]


def resolve_device(device="auto"):
    """
    Turn a device name into a device of this machine.

    Parameters
    ----------
    device : str or `torch.device`, optional
        A torch device such as ``"cpu"`` or ``"cuda:1"``; ``"auto"`` (default) is CUDA when there is one, else the CPU.

    Returns
    -------
    device : `torch.device`

    Raises
    ------
    ValueError
        If torch knows no such device, or this machine has none.
    """
    if isinstance(device, str) and device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device={device!r} is not a torch device; use 'auto', 'cpu' or 'cuda'") from error
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device={device!r}: this machine has {torch.cuda.device_count()} CUDA devices")
    return resolved


def supports_bfloat16(device):
    """
    Whether a device has instructions for bfloat16, so that training in it is faster than in float32.

    Parameters
    ----------
    device : `torch.device`
        A device of this machine.

    Returns
    -------
    supported : bool
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)  # NVIDIA Ampere and later
    if device.type != "cpu":
        return False
    # Before torch 2.10 there was no public question to ask; float32 is always right.
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def training_autocast(device):
    """
    Context for a training step: bfloat16 autocast where the device supports it, otherwise nothing.

    Parameters
    ----------
    device : `torch.device`
        Where the network trains.

    Returns
    -------
    context : context manager
    """
    if supports_bfloat16(device):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def to_channels_last(value):
    """
    Put image batches in the channels-last order in memory, in which convolutions are faster.

    Parameters
    ----------
    value : `torch.Tensor`, or a dict, list or tuple of tensors
        The input of a network.

    Returns
    -------
    value
        The same, with every 4-D tensor in channels-last order.
    """
    if isinstance(value, dict):
        return {key: to_channels_last(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(to_channels_last(item) for item in value)
    if isinstance(value, torch.Tensor) and value.dim() == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value

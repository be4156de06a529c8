import pytest
import torch

from astrolearn.core.compute import resolve_device, supports_bfloat16, to_channels_last, training_autocast


def test_auto_is_cuda_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device() == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("auto") == torch.device("cuda")


def test_device_object_passes():
    assert resolve_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("device", ["gpu", "cpu:x", None, 1.5])
def test_unknown_device(device):
    with pytest.raises(ValueError, match="is not a torch device"):
        resolve_device(device)


def test_absent_cuda_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match="device='cuda:1': this machine has 0 CUDA devices"):
        resolve_device("cuda:1")


@pytest.mark.parametrize(
    ("capabilities", "expected"), [({}, False), ({"avx512_bf16": True}, True), ({"amx_bf16": True}, True)]
)
def test_bfloat16_on_the_cpu_only_with_its_instructions(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    device = torch.device("cpu")
    assert supports_bfloat16(device) is expected
    with training_autocast(device):
        assert torch.is_autocast_enabled("cpu") is expected
    assert not torch.is_autocast_enabled("cpu")


def test_bfloat16_is_off_where_torch_cannot_tell(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not supports_bfloat16(torch.device("cpu"))
    assert not supports_bfloat16(torch.device("meta"))


def test_only_image_batches_change_their_order():
    images, series = torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4)
    result = to_channels_last({"images": [images], "other": (series, "name")})
    assert result["images"][0].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(result["images"][0], images)
    assert result["other"] == (series, "name")

"""A GPU that is none: real numbers on the CPU, some of which say that they lie on a GPU and are held to it.

`PretendedGpu` watches every call of torch from Python. A tensor that was put on the GPU reports the device `cuda`, what
is computed from it lies there too, and what a GPU refuses is refused: tensors of two devices in one operation,
`.numpy()`, a CPU generator for numbers that are made there. Reading a number back into Python is counted in `waits`,
since a real GPU would make Python wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map_only

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")

_READS = {"item", "tolist", "__bool__", "__float__", "__int__", "__index__", "nonzero", "equal", "allclose"}
_TO_NUMPY = {"numpy", "__array__"}
_CARRIES = {"copy_", "_has_compatible_shallow_copy_type"}
"""What may read one device and write the other."""
_STRICT = {"cat", "stack", "matmul", "mm", "addmm", "linear", "einsum", "concat"}
"""What refuses even single numbers of another device."""


def on_gpu(tensor: Tensor) -> bool:
    """Whether a tensor was put there, or computed from one that was."""
    return bool(tensor.__dict__.get("_on_gpu", False))


def put(tensor: Tensor, there: bool = True) -> Tensor:
    """The same tensor, which says from now on where it lies."""
    tensor.__dict__["_on_gpu"] = there
    return tensor


def place(module: nn.Module) -> None:
    """What `module.to("cuda")` would move: parameters and buffers, and nothing else."""
    for tensor in (*module.parameters(), *module.buffers()):
        put(tensor)


def _is_gpu(device: Any) -> bool:
    return torch.device(device).type == "cuda"


class PretendedGpu(TorchFunctionMode):
    """Inside, `cuda` is a device.

    Attributes:
        waits: how often a number was read back from it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        getter = getattr(getattr(func, "__self__", None), "__name__", "") if func.__name__ == "__get__" else ""
        if getter == "device":
            return GPU if on_gpu(args[0]) else CPU
        if getter == "is_cuda":
            return on_gpu(args[0])
        if func.__name__ == "__set__":
            func(*args)
            return put(args[0], on_gpu(args[1])) if func.__self__.__name__ == "data" else None
        if func in (Tensor.to, Tensor.cpu, Tensor.cuda, Tensor.type_as):
            return self._moved(func, args, kwargs)
        if func is Tensor.__reduce_ex__:  # where a tensor claims to lie is not saved with it
            return func(args[0].detach(), *args[1:])
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        there = any(map(on_gpu, tensors))
        if there:
            self._refuse(func, args, kwargs, tensors)
            self.waits += func.__name__ in _READS
        if (device := kwargs.get("device")) is not None:
            kwargs["device"] = CPU
            there = _is_gpu(device)
        if there and kwargs.get("generator") is not None:
            raise RuntimeError(f"{func.__name__}: Expected a 'cuda' device type for generator but found 'cpu'")
        result = func(*args, **kwargs)
        mine = args[0] if args and isinstance(args[0], Tensor) else None
        return tree_map_only(Tensor, lambda found: found if found is mine else put(found, there), result)

    def _moved(self, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Tensor:
        value, *rest = args
        there = on_gpu(value)
        target = there
        if func in (Tensor.cpu, Tensor.cuda):
            target = func is Tensor.cuda
        elif func is Tensor.type_as or (rest and isinstance(rest[0], Tensor)):
            target = on_gpu(rest[0])
        elif rest and isinstance(rest[0], str | torch.device | int):
            target, rest[0] = _is_gpu(rest[0]), CPU
        elif kwargs.get("device") is not None:
            target, kwargs["device"] = _is_gpu(kwargs["device"]), CPU
        self.waits += there and not target and not kwargs.get("non_blocking", False)
        moved: Tensor = value.cpu() if func is Tensor.cuda else func(value, *rest, **kwargs)
        if moved is value and target != there:
            moved = value.clone()
        return moved if moved is value else put(moved, target)

    def _refuse(self, func: Callable[..., Any], args: Any, kwargs: dict[str, Any], tensors: list[Tensor]) -> None:
        name = func.__name__
        if name in _TO_NUMPY:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
        if name in _CARRIES or kwargs.get("device") is not None:
            return
        elsewhere = [one for one in tensors if not on_gpu(one) and (one.dim() > 0 or name in _STRICT)]
        if name in ("__getitem__", "__setitem__", "index_put_", "index_put") and on_gpu(args[0]):
            return  # indices may lie on the CPU, and what is written into a slice is copied
        if elsewhere:
            raise RuntimeError(
                f"{name}: Expected all tensors to be on the same device, but found at least two devices, cuda:0 and "
                f"cpu: {[('cuda' if on_gpu(one) else 'cpu', tuple(one.shape)) for one in tensors]}"
            )


@contextmanager
def pretended_gpu(monkeypatch: Any) -> Iterator[PretendedGpu]:
    """Inside, Lightning trains on a pretended GPU where it is told `accelerator: cpu`."""
    from pytorch_lightning.accelerators import CPUAccelerator
    from pytorch_lightning.strategies import SingleDeviceStrategy

    from reverie.training.module import AgentModule

    with monkeypatch.context() as patch:
        patch.setattr(CPUAccelerator, "setup_device", lambda self, device: None)
        patch.setattr(SingleDeviceStrategy, "model_to_device", lambda self: place(self.model))
        patch.setattr(SingleDeviceStrategy, "root_device", property(lambda self: GPU))
        patch.setattr(AgentModule, "device", property(lambda self: GPU))
        with PretendedGpu() as mode:
            yield mode

"""Devices, generators, and draws whose numbers depend on the generator alone, never on the target device."""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from toolkit.core.errors import argument_error, reject, require


def resolve_device(
    device: torch.device | str | int | None = None,
    *,
    like: Tensor | torch.nn.Module | Iterable[Tensor] | None = None,
) -> torch.device:
    """Turn what a caller said about the device into one that exists.

    Args:
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, the index of a CUDA device or a ``torch.device``.
            ``None`` means where ``like`` is, and without ``like`` the best there is: CUDA, else the CPU.
            Apple's ``mps`` has no float64, which the exact parts of the toolkit need, so it is only used when named.
        like: the inputs: a tensor, a module, or several tensors that must share one device.
            Without tensors (``None``, a module without parameters, an empty sequence) it says nothing.

    Returns:
        The device, CUDA with its index, so that it equals the ``.device`` of the tensors on it.

    Raises:
        ValueError: no such device here, or the tensors of ``like`` lie on several devices.
        TypeError: ``device`` or ``like`` is something else.
    """
    if device is None:
        found = _device_of(like)
        if found is not None:
            return found
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if isinstance(device, bool) or not isinstance(device, (torch.device, str, int)):
        reject("resolve_device", "device", "a torch.device, a name, an index or None", repr(device), kind=TypeError)
    expected = f"a device of this machine: {', '.join(available_devices())}"
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise argument_error("resolve_device", "device", expected, repr(str(device))) from error
    require(resolved.type != "meta", "resolve_device", "device", f"{expected} (meta holds no numbers)", "'meta'")
    if resolved.type == "cuda" and resolved.index is None:
        resolved = torch.device("cuda", torch.cuda.current_device())
    return resolved


def available_devices() -> list[str]:
    """Return the names of the devices of this machine, the best first."""
    names = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def resolve_generator(
    generator: torch.Generator | None = None,
    *,
    device: torch.device | str | int = "cpu",
    seed: int | None = None,
) -> torch.Generator:
    """Return the caller's generator, or a new one; the global generator is never used.

    Args:
        generator: returned as it is. ``None`` makes a new one.
        device: where a new generator lives. The CPU (default) gives the same numbers for every target device;
            a CUDA generator is faster for large draws on that device, with other numbers.
        seed: seed of a new generator, in [0, 2**63). ``None`` takes one from the operating system.

    Returns:
        A ``torch.Generator``.

    Raises:
        ValueError: both ``generator`` and ``seed`` are given, or the seed is out of range.
        TypeError: ``generator`` is not a ``torch.Generator`` or ``seed`` not an integer.
    """
    if generator is not None:
        if not isinstance(generator, torch.Generator):
            reject("resolve_generator", "generator", "a torch.Generator or None", repr(generator), kind=TypeError)
        require(seed is None, "resolve_generator", "seed", "None when a generator is given", seed)
        return generator
    new = torch.Generator(device=resolve_device(device))
    if seed is None:
        new.seed()
        return new
    if isinstance(seed, bool) or not isinstance(seed, int):
        reject("resolve_generator", "seed", "an integer or None", repr(seed), kind=TypeError)
    require(0 <= seed < 2**63, "resolve_generator", "seed", "0 <= seed < 2**63", seed)
    return new.manual_seed(seed)


def draw_uniform(
    shape: Sequence[int],
    *,
    generator: torch.Generator,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "..."]:
    """Draw from the uniform distribution on [0, 1).

    Args:
        shape: shape of the result.
        generator: draws on its own device, so the same generator gives the same numbers for every ``device``.
        device: where the result goes; ``None`` leaves it on the generator's device.
        dtype: a floating type; the numbers depend on it.

    Returns:
        A tensor of ``shape``.
    """
    drawn = torch.rand(tuple(shape), generator=generator, device=generator.device, dtype=dtype)
    return drawn.to(device or generator.device)


def draw_normal(
    shape: Sequence[int],
    *,
    generator: torch.Generator,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "..."]:
    """Draw from the standard normal distribution; arguments and result as :func:`draw_uniform`."""
    drawn = torch.randn(tuple(shape), generator=generator, device=generator.device, dtype=dtype)
    return drawn.to(device or generator.device)


def draw_integers(
    low: int,
    high: int,
    shape: Sequence[int],
    *,
    generator: torch.Generator,
    device: torch.device | str | None = None,
) -> Int[Tensor, "..."]:
    """Draw integers uniformly from low, …, high − 1; the other arguments as :func:`draw_uniform`.

    Raises:
        ValueError: the range is empty.
    """
    require(low < high, "draw_integers", "high", f"> low = {low}", high)
    drawn = torch.randint(low, high, tuple(shape), generator=generator, device=generator.device)
    return drawn.to(device or generator.device)


def draw_permutation(
    n: int, *, generator: torch.Generator, device: torch.device | str | None = None
) -> Int[Tensor, " n"]:
    """Draw a permutation of 0, …, n − 1; the other arguments as :func:`draw_uniform`."""
    return torch.randperm(n, generator=generator, device=generator.device).to(device or generator.device)


def _device_of(like: Tensor | torch.nn.Module | Iterable[Tensor] | None) -> torch.device | None:
    if like is None:
        return None
    if isinstance(like, Tensor):
        return like.device
    if isinstance(like, torch.nn.Module):
        tensors = [*like.parameters(), *like.buffers()]
    else:
        tensors = list(like) if isinstance(like, Iterable) else [like]
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            expected = "a tensor, a module or several tensors"
            reject("resolve_device", "like", expected, type(tensor).__name__, kind=TypeError)
    devices = {tensor.device for tensor in tensors}
    require(len(devices) <= 1, "resolve_device", "like", "one device", ", ".join(sorted(map(str, devices))))
    return devices.pop() if devices else None

"""Submissions that keep the rules and that break them, all as plain functions."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import torch


def copy(images, epsilon):
    return images


def brighten(images, epsilon):
    return images + epsilon


def far(images, epsilon):
    return images + 0.9


def draw(images, epsilon, generator):
    return images + epsilon * torch.randn(images.shape, generator=generator).sign()


def global_draw(images, epsilon):
    noise = torch.randn(images.shape) + random.random() + float(np.random.rand())
    return images + epsilon * noise.sign()


def shift_target(images, epsilon, targets):
    return images + epsilon * (targets % 2 * 2 - 1).view(-1, 1, 1, 1)


def mutate(images, epsilon):
    images.fill_(0.5)
    return images


def as_bytes(images, epsilon):
    return (images * 255).round().to(torch.uint8)


def as_numpy(images, epsilon):
    return images.numpy().astype(np.float64)


def as_dictionary(images, epsilon):
    """All but number 1, and two that nobody asked for."""
    wanted = {index: image for index, image in enumerate(images) if index != 1}
    return {**wanted, 1000: images[0], "x.png": images[0]}


def one_by_one(images, epsilon):
    yield from images


def nan_first(images, epsilon):
    images[0, 0, 0, 0] = float("nan")
    return images


def infinite(images, epsilon):
    return images / 0


def nothing(images, epsilon):
    return None


def words(images, epsilon):
    return "images"


def too_few(images, epsilon):
    return images[1:]


def too_many(images, epsilon):
    return images.repeat(1000, 1, 1, 1)


def too_many_channels(images, epsilon):
    return images.repeat(1, 3, 1, 1)


def larger(images, epsilon):
    return torch.nn.functional.interpolate(images, scale_factor=2, mode="nearest")


def complex_pixels(images, epsilon):
    return images.to(torch.complex64)


def raises(images, epsilon):
    raise RuntimeError("no luck\nat all")


def leaves(images, epsilon):
    sys.exit(0)


def recursion(images, epsilon):
    return recursion(images, epsilon)


def out_of_memory(images, epsilon):
    raise MemoryError


def loud(images, epsilon):
    print("x" * 3_000_000)
    os.write(1, b"y" * 1_000_000)
    os.write(2, b"z" * 1_000_000)
    return images


def exits(images, epsilon):
    os._exit(3)


def segfault(images, epsilon):
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(60)


def hangs(images, epsilon):
    while True:
        pass


def sleeps(images, epsilon):
    time.sleep(60)


def sleeps_after_two(images, epsilon):
    yield images[0] + epsilon
    yield images[1] + epsilon
    time.sleep(60)


def fails_after_two(images, epsilon):
    yield images[0]
    yield images[1]
    raise ValueError("the third is too hard")


def talks_rubbish(images, epsilon):
    """Write into every socket it can find."""
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, b"rubbish" * 100)
        except OSError:
            continue
    time.sleep(60)


def forks_and_returns(images, epsilon):
    """Let the child return too."""
    os.fork()
    return images


class LeavesChildren:
    """Start a child in the same and one in a new session, write down who they are, and sleep or exit."""

    def __init__(self, path, then="sleep"):
        self.path, self.then = path, then

    def __call__(self, images, epsilon):
        children = [subprocess.Popen(["sleep", "300"], start_new_session=new) for new in (False, True)]
        with open(self.path, "w") as file:
            file.write(" ".join(str(pid) for pid in [os.getpid(), *(child.pid for child in children)]))
        if self.then == "exit":
            os._exit(1)
        time.sleep(300)


def dark_or_bright(images):
    """Class 1 for images that are brighter than grey."""
    return (images.flatten(1).mean(1) > 0.5).long()


def always_zero(images):
    return [0] * len(images)


def random_label(images, generator):
    return torch.randint(0, 10, (len(images),), generator=generator)


def global_random_label(images):
    return torch.randint(0, 10, (len(images),)) * 0 + random.randrange(10)


def as_label_dictionary(images):
    """No label for number 0, one that is no number, one that is no class."""
    labels = {index: 0 for index in range(2, len(images))}
    return {**labels, 1: "cat", 2: "10", 3: 10**30}


def logits(images):
    return torch.zeros(len(images), 10)


def float_labels(images):
    return torch.zeros(len(images))


def bool_labels(images):
    return torch.ones(len(images), dtype=torch.bool)


def impossible_class(images):
    return torch.full((len(images),), -7)


def lazy(images):
    time.sleep(60)


def lazy_after_two(images):
    yield 0
    yield 0
    time.sleep(60)


def broken(images):
    raise OSError("no weights")

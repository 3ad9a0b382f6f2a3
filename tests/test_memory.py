"""Memory that really runs out: the system refuses it, and the step is the same."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from eyebright.memory import is_out_of_memory

CAPPED = """
import json, resource, sys
import torch
from torch import nn
from eyebright.distributed.ranks import Ranks
from eyebright.progress import SilentProgress
from eyebright.training.objective import CrossEntropy
from eyebright.training.plan import LoopPlan
from eyebright.training.step import Stepper

torch.set_num_threads(1)


class Batch:
    taught = None

    def __init__(self, images, targets):
        self.images, self.targets = images, targets

    def __len__(self):
        return len(self.images)

    def split(self, sizes):
        return [Batch(*part) for part in zip(self.images.split(sizes), self.targets.split(sizes))]


def step(megabytes):
    '''How many images went through at once, the loss, and the gradient of the first layer.'''
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4))
    batch = Batch(torch.rand(16, 3, 256, 256), torch.eye(4)[torch.arange(16) % 4])
    plan = LoopPlan(
        epochs=1, batches_per_epoch=1, samples_per_epoch=16, highest_lr=0.1, warmup=0, micro_batch=16
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    stepper = Stepper(model, CrossEntropy(), plan, Ranks(), SilentProgress())
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    if megabytes:
        resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20, resource.RLIM_INFINITY))
    loss, _ = stepper.add_gradients(batch, 16)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    return [stepper.micro_batch, loss, model[0].weight.grad.flatten().tolist()]


json.dump([step(megabytes) for megabytes in (400, 250, None)], sys.stdout)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="caps the address space as Linux does")
def test_when_the_system_refuses_memory_fewer_images_run_at_once_and_the_gradient_is_the_same() -> None:
    done = subprocess.run([sys.executable, "-c", CAPPED], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    little, least, plenty = json.loads(done.stdout)
    assert plenty[0] == 16
    assert least[0] <= little[0] < 16
    for capped in (little, least):
        assert capped[1] == pytest.approx(plenty[1], rel=1e-6)
        assert capped[2] == pytest.approx(plenty[2], rel=1e-4, abs=1e-6)


def test_what_a_gpu_and_its_libraries_say_when_memory_is_used_up_is_known() -> None:
    said = (
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "GET was unable to find an engine to execute this computation",
        "Unable to find a valid cuDNN algorithm to run convolution",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "CUDA error: out of memory",
    )
    assert all(is_out_of_memory(RuntimeError(words)) for words in said)
    assert not is_out_of_memory(RuntimeError("CUDA error: no kernel image is available for execution on the device"))

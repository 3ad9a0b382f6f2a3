"""Eyebright's command line with a GPU for each process that torchrun started: a real one, or one that is pretended."""

from contextlib import nullcontext
from importlib import import_module

import torch

from eyebright.cli.main import main

if __name__ == "__main__":
    with nullcontext() if torch.cuda.is_available() else import_module("conftest").pretended_gpu():
        main()

"""What made a result: machine, versions and date, as reports and bundles record them."""

from __future__ import annotations

import os
import platform
import sys
from datetime import datetime
from importlib import metadata

PACKAGES = ("eyebright", "torch", "numpy", "pillow", "simplejpeg", "eyebright-weights")


def list_versions() -> dict[str, str]:
    """Python's version and those of the packages that decide about results."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    versions["python"] = platform.python_version()
    return versions


def describe_machine() -> str:
    """Processor, cores, memory and a GPU in use, in words, as far as the system tells; no names, no addresses."""
    parts = [describe_processor(), f"{os.cpu_count() or 1} cores"]
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        parts.append(f"{memory / 2**30:.0f} GiB")
    except (ValueError, OSError, AttributeError):
        pass
    torch = sys.modules.get("torch")  # where it is not loaded, no GPU is in use
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        parts.append(torch.cuda.get_device_name())
    return ", ".join([*parts, f"{platform.system()}"])


def describe_processor() -> str:
    """Its name, as far as the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def now() -> str:
    """The local date and time, to the minute."""
    return datetime.now().strftime("%Y-%m-%d %H:%M")

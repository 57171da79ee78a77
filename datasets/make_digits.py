#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes datasets/digits.h5 from the copy of the UCI digits in Debian's python3-sklearn.

Rule of the split: sort the samples by label (keeping the file's order within a label) and take
every fifth of that list, the first included, as the test set. Both parts keep the file's order.
That gives 1,437 and 360 samples with every digit at one fifth, to within one sample.

    apt-get install python3-sklearn python3-h5py
    python3 datasets/make_digits.py datasets/digits.h5
"""
import gzip
import sys

import h5py
import numpy as np

SOURCE = "/usr/lib/python3/dist-packages/sklearn/datasets/data/digits.csv.gz"


def load():
    with gzip.open(SOURCE, "rt") as file:
        rows = np.loadtxt(file, delimiter=",")
    images = rows[:, :64].astype(np.uint8).reshape(-1, 8, 8, 1)
    labels = rows[:, 64].astype(np.uint8)
    assert images.shape == (1797, 8, 8, 1) and images.max() == 16 and labels.max() == 9
    return images, labels


def split(labels):
    by_label = np.argsort(labels, kind="stable")
    test = np.zeros(len(labels), dtype=bool)
    test[by_label[::5]] = True
    return ~test, test


def main(output):
    images, labels = load()
    train, test = split(labels)
    assert train.sum() == 1437 and test.sum() == 360
    with h5py.File(output, "w", libver="earliest", track_order=False) as file:
        for name, part in (("train", train), ("test", test)):
            for item, values in (("images", images), ("labels", labels)):
                file.create_dataset(f"{name}/{item}", data=values[part], track_times=False)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "datasets/digits.h5")

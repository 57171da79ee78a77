# SPDX-License-Identifier: Apache-2.0
"""Writes log_mel.txt: log-mel features of a made-up signal, by numpy's real FFT and matrix products. A case is a line
"rate window hop num_fft num_mels min_hz max_hz num_samples", then a line of numbers a frame. Sample i of the signal is
the linear congruential generator's i-th state over 2^32, minus 1/2, plus a tone.

    python3 tests/golden/make_log_mel.py tests/golden/log_mel.txt
"""
import sys

import numpy as np


def signal(count):
    state, out = 1, []
    for i in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        out.append(state / 2**32 - 0.5 + 0.25 * (1 if i % 20 < 10 else -1))
    return np.array(out, dtype=np.float32).astype(np.float64)


def log_mel(x, rate, window, hop, num_fft, num_mels, min_hz, max_hz):
    mel = lambda hz: 2595 * np.log10(1 + hz / 700)
    corners = 700 * (10 ** (np.linspace(mel(min_hz), mel(max_hz), num_mels + 2) / 2595) - 1)
    bins = np.arange(num_fft // 2 + 1) * rate / num_fft
    bank = np.zeros((len(bins), num_mels))
    for m in range(num_mels):
        up = (bins - corners[m]) / (corners[m + 1] - corners[m])
        down = (corners[m + 2] - bins) / (corners[m + 2] - corners[m + 1])
        bank[:, m] = np.maximum(0, np.minimum(up, down))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    if len(x) < window:
        x = np.concatenate([x, np.zeros(window - len(x))])
    frames = np.stack([x[b:b + window] * hann for b in range(0, len(x) - window + 1, hop)])
    power = np.abs(np.fft.rfft(frames, num_fft)) ** 2
    return np.log(np.maximum(power @ bank, 1e-10))


with open(sys.argv[1], "w") as out:
    for case in [(8000, 200, 80, 256, 40, 20, 4000, 500), (16000, 400, 160, 512, 23, 0, 7000, 1000),
                 (8000, 128, 64, 128, 12, 100, 3800, 90)]:
        out.write(" ".join(map(str, case)) + "\n")
        for row in log_mel(signal(case[-1]), *case[:-1]):
            out.write(" ".join(f"{v:.9g}" for v in row) + "\n")

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Weights hash of a model.safetensors, computed from its bytes: weights_hash.py FILE"""
import hashlib
import json
import struct
import sys

with open(sys.argv[1], "rb") as file:
    raw = file.read()
(length,) = struct.unpack("<Q", raw[:8])
header = json.loads(raw[8 : 8 + length])
header.pop("__metadata__", None)
data = raw[8 + length :]
digest = hashlib.sha256()
for name in sorted(header, key=lambda name: name.encode()):
    entry = header[name]
    begin, end = entry["data_offsets"]
    shape = ",".join(str(size) for size in entry["shape"])
    for text in (name, entry["dtype"], shape):
        digest.update(text.encode() + b"\0")
    digest.update(data[begin:end])
print(digest.hexdigest())

#!/usr/bin/env python3
"""An independent reader of records, written from docs/shard-format.md alone.

    read_shard.py FOLDER

Reads every HDF5 shard of a folder of pixels with h5py, decompresses its chunks without the HDF5
filter, and checks what the specification promises. Prints one line per shard. Other scripts read
records by its functions.
"""
import json
import os
import subprocess
import sys

import h5py
import numpy as np

try:
    import xxhash
except ImportError:
    xxhash = None
    print("not tried: checksums, for lack of python3-xxhash")


def text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def decompress(frame):
    return subprocess.run(["zstd", "-dcq"], input=frame, stdout=subprocess.PIPE, check=True).stdout


def read_about(folder):
    """dataset.json; its seal is checked where Python has the checksum."""
    with open(os.path.join(folder, "dataset.json"), "rb") as file:
        text = file.read()
    about = json.loads(text)
    sets = about.get("label_sets")
    assert about["format_version"] == 4 + (sets is not None) + any(s and type(s[-1]) is list for s in sets or [])
    seal = b'  "xxh3": "%s"\n}\n' % about["xxh3"].encode()
    assert len(seal) == 31 and text.endswith(seal), text[-31:]
    assert not xxhash or xxhash.xxh3_64_hexdigest(text[:-31]) == about["xxh3"]
    return about


def shards(folder, split):
    """(its entry in dataset.json, its path, the open file) of each shard."""
    for entry in read_about(folder)["splits"][split]["shards"]:
        path = os.path.join(folder, entry["file"])
        with h5py.File(path, "r") as file:
            yield entry, path, file


def stored(folder, split):
    """(label, pixels (C, H, W) or the bytes of a file) of each image."""
    for _, path, file in shards(folder, split):
        if "encoded" in file:
            offsets, encoded = file["offsets"][:], file["encoded"][:].tobytes()
            images = [encoded[a:b] for a, b in zip(offsets, offsets[1:])]
        else:
            images = read_images(path, file["images"])
        yield from zip(file["labels"][:].tolist(), images)


def image_sets(folder, split):
    """The classes of each image, 0, 1 or for unknown ones 2 (classes), of records with label sets."""
    about = read_about(folder)
    expected = np.zeros((len(about["label_sets"]), about["classes"]), np.uint8)
    for row, classes in zip(expected, about["label_sets"]):
        *classes, unknown = classes if classes and type(classes[-1]) is list else [*classes, []]
        assert sorted(set(classes)) == classes and sorted(set(unknown)) == unknown
        row[classes] = 1
        assert not row[unknown].any()
        row[unknown] = 2
    for _, path, file in shards(folder, split):
        sets = file["label_sets"]
        assert file.attrs["format_version"] == 1 + (expected == 2).any()
        assert sets.dtype == np.uint8 and np.array_equal(sets[:], expected), path
        yield from sets[:][file["labels"][:]]


def file_names(folder, split):
    """The name of each image's file, b"" if it is not known."""
    for entry, _, file in shards(folder, split):
        names = file["file_names"][:].tobytes() if "file_names" in file else b"\0" * entry["count"]
        found = names.split(b"\0")
        assert len(found) == entry["count"] + 1 and found.pop() == b""
        if xxhash and "file_names" in file:
            assert xxhash.xxh3_64_hexdigest(names) == text(file.attrs["file_names_xxh3"])
        yield from found


def read_images(path, dataset):
    """The data set (N, C, H, W) from its raw chunks."""
    images = np.empty(dataset.shape, np.uint8)
    step = dataset.chunks[0]
    frame_count = dataset.id.get_num_chunks()
    assert frame_count == -(-len(images) // step), (path, frame_count)
    assert frame_count >= 16 or step == 1, (path, frame_count)
    for i in range(frame_count):
        mask, frame = dataset.id.read_direct_chunk((i * step, 0, 0, 0))
        info = dataset.id.get_chunk_info(i)
        with open(path, "rb") as file:
            file.seek(info.byte_offset)
            assert file.read(info.size) == frame, (path, i)
        if not mask & 1:
            assert frame[:4] == b"\x28\xb5\x2f\xfd" and frame[4] & 4, "a zstd frame with checksum"
            frame = decompress(frame)
        chunk = np.frombuffer(frame, np.uint8).reshape(dataset.chunks)
        first, rest = i * step, len(images) - i * step
        images[first:first + step] = chunk[:rest]
        assert not chunk[max(rest, 0):].any() or rest >= step, "padding is zero"
    return images


def check_shard(about, split, index, entry, path, file):
    """The images of a shard of pixels."""
    assert os.path.getsize(path) == entry["bytes"], path
    attributes = dict(file.attrs)
    assert text(attributes["format"]) == "dn_dist image shard"
    assert attributes["format_version"] == 1
    assert text(attributes["dataset"]) == about["dataset"]
    assert text(attributes["split"]) == split
    assert attributes["shard_index"] == index
    assert attributes["shard_count"] == len(about["splits"][split]["shards"])
    assert attributes["count"] == entry["count"]
    assert list(attributes["mean"]) == about["mean"]
    assert list(attributes["std"]) == about["std"]
    names = [text(name) for name in file["class_names"][:]]
    assert names == about["class_names"], names
    labels = file["labels"][:]
    assert labels.dtype == np.uint16 and labels.max() < about["classes"]
    dataset = file["images"]
    shape = (len(labels), about["channels"], about["height"], about["width"])
    assert dataset.dtype == np.uint8 and dataset.shape == shape, dataset.shape
    assert dataset.chunks[1:] == shape[1:]
    print(f"{path}: {len(labels)} images, labels {np.bincount(labels).tolist()}")
    return read_images(path, dataset)


def main():
    folder = sys.argv[1]
    about = read_about(folder)
    for split, content in about["splits"].items():
        images = np.concatenate([check_shard(about, split, i, *shard)
                                 for i, shard in enumerate(shards(folder, split))])
        assert len(images) == content["count"]
        if split == "train":
            scaled = images.astype(np.float64) / 255
            assert np.allclose(scaled.mean((0, 2, 3)), about["mean"], rtol=1e-9)
            assert np.allclose(scaled.std((0, 2, 3)), about["std"], rtol=1e-9)


if __name__ == "__main__":
    main()

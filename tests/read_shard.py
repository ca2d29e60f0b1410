#!/usr/bin/env python3
"""An independent reader of the records, written from docs/shard-format.md alone.

Reads every HDF5 shard of a folder with h5py, decompresses its chunks without the HDF5 filter, and
checks what the specification promises. Prints one line per shard; exits with 77 and the reason
where h5py or a zstd decompressor is missing.

    read_shard.py FOLDER
"""
import json
import os
import shutil
import subprocess
import sys


def skip(reason):
    print("skipped:", reason)
    sys.exit(77)


try:
    import h5py
    import numpy as np
except ImportError as error:
    skip(f"{error} (Debian: python3-h5py, python3-numpy)")

try:
    import zstandard

    def decompress(frame):
        return zstandard.ZstdDecompressor().decompress(frame)
except ImportError:
    if not shutil.which("zstd"):
        skip("neither the Python module zstandard nor the command zstd is there")

    def decompress(frame):
        return subprocess.run(["zstd", "-dcq"], input=frame, stdout=subprocess.PIPE,
                              check=True).stdout


def text(value):
    return value.decode() if isinstance(value, bytes) else str(value)


def read_images(path, dataset):
    """The data set (N, C, H, W) from its raw chunks."""
    if not hasattr(dataset.id, "get_chunk_info"):
        skip("this h5py cannot read raw chunks")
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


def read_shard(folder, about, split, index):
    shards = about["splits"][split]["shards"]
    path = os.path.join(folder, shards[index]["file"])
    assert os.path.getsize(path) == shards[index]["bytes"], path
    with h5py.File(path, "r") as file:
        attributes = dict(file.attrs)
        assert text(attributes["format"]) == "dn_dist image shard"
        assert attributes["format_version"] == 1
        assert text(attributes["dataset"]) == about["dataset"]
        assert text(attributes["split"]) == split
        assert attributes["shard_index"] == index
        assert attributes["shard_count"] == len(shards)
        assert attributes["count"] == shards[index]["count"]
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
        images = read_images(path, dataset)
    print(f"{path}: {len(images)} images, labels {np.bincount(labels).tolist()}")
    return images, labels


def read_about(folder):
    """dataset.json; its seal is checked where Python has the checksum."""
    with open(os.path.join(folder, "dataset.json"), "rb") as file:
        text = file.read()
    about = json.loads(text)
    assert about["format_version"] == 4
    seal = b'  "xxh3": "%s"\n}\n' % about["xxh3"].encode()
    assert len(seal) == 31 and text.endswith(seal), text[-31:]
    try:
        import xxhash
        assert xxhash.xxh3_64_hexdigest(text[:-31]) == about["xxh3"]
    except ImportError:
        print("not tried: the seal, for lack of python3-xxhash")
    return about


def main():
    folder = sys.argv[1]
    about = read_about(folder)
    for split, content in about["splits"].items():
        parts = [read_shard(folder, about, split, i)[0] for i in range(len(content["shards"]))]
        images = np.concatenate(parts)
        assert len(images) == content["count"]
        if split == "train":
            scaled = images.astype(np.float64) / 255
            assert np.allclose(scaled.mean((0, 2, 3)), about["mean"], rtol=1e-9)
            assert np.allclose(scaled.std((0, 2, 3)), about["std"], rtol=1e-9)


if __name__ == "__main__":
    main()

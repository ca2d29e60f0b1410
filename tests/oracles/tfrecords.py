"""TFRecord files by Python's protobuf and crc32c, for tests/cli/tfrecord.sh.

    tfrecords.py make               writes sets as others write them into the current folder
    tfrecords.py read FOLDER        reads to-tfrecord's files in FOLDER by the records beside them
    tfrecords.py check SET FOLDER   compares the records of FOLDER with what `make` wrote as SET

tf_example_pb2 is what protoc makes of tf_example.proto, on PYTHONPATH.
"""
import glob
import gzip
import io
import json
import os
import struct
import sys

import crc32c
import numpy as np
from PIL import Image

from read_shard import file_names, read_about, stored
from tf_example_pb2 import Example


def masked(data):
    c = crc32c.crc32c(data)
    return ((c >> 15 | c << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frame(data):
    head = struct.pack("<Q", len(data))
    return head + struct.pack("<I", masked(head)) + data + struct.pack("<I", masked(data))


def records(path):
    """The data of each record, both checksums compared."""
    data = open(path, "rb").read()
    at = 0
    while at < len(data):
        head = data[at : at + 8]
        (size,) = struct.unpack("<Q", head)
        body = data[at + 12 : at + 12 + size]
        assert struct.unpack("<I", data[at + 8 : at + 12])[0] == masked(head), path
        assert struct.unpack("<I", data[at + 12 + size : at + 16 + size])[0] == masked(body), path
        yield body
        at += 16 + size


def example(**features):
    """Keys with __ for a slash."""
    e = Example()
    for key, value in features.items():
        feature = e.features.feature[key.replace("__", "/")]
        values = value if isinstance(value, list) else [value]
        if isinstance(values[0], float):
            feature.float_list.value.extend(values)
        elif isinstance(values[0], int):
            feature.int64_list.value.extend(values)
        else:
            feature.bytes_list.value.extend(
                v.encode() if isinstance(v, str) else v for v in values
            )
    return e.SerializeToString()


def write(path, examples, pack=False):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with (gzip.open if pack else open)(path, "wb") as stream:
        for e in examples:
            stream.write(frame(e))


def pixels(i, height, width, channels=3):
    return np.random.default_rng(i).integers(0, 256, (height, width, channels), np.uint8)


def encode(image, kind, **options):
    stream = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(stream, kind, **options)
    return stream.getvalue()


def encode_opaque(image):
    """A gray PNG with an alpha channel."""
    stream = io.BytesIO()
    Image.merge("LA", (Image.fromarray(image[:, :, 0]), Image.new("L", image.shape[1::-1], 255))).save(stream, "PNG")
    return stream.getvalue()


def lines(path, text):
    with open(path, "w") as stream:
        stream.writelines(f"{line}\n" for line in text)


# ---- what others write: (train, test), each a list of (label from 0, image array or bytes) ----

names = ["ant", "bee", "cat"]
FILES = {4: b"no\0name", 6: b"x" * 4096}  # what no shard takes


def slim():
    """PNG of one size, labels from 0, labels.txt with numbers."""
    return [[(i % 3, pixels(i + 100 * s, 8, 9)) for i in range(n)] for s, n in enumerate((40, 9))]


def imagenet():
    """JPEG of many sizes, labels from 1."""
    jpeg = lambda i: encode(pixels(i, 20 + i % 5, 30), "JPEG", quality=80 + i % 10)
    return [[(i % 3, jpeg(i + 100 * s)) for i in range(n)] for s, n in enumerate((30, 8))]


def tfds():
    """Gray PNG, with and without alpha, under the keys of TensorFlow Datasets, one class without an image."""
    return [[(i % 2, pixels(i + 50 * s, 6, 6, 1)) for i in range(n)] for s, n in enumerate((20, 5))]


def three():
    """PNG of train, test and val."""
    return [[(i % 3, pixels(i + 50 * s, 4, 4)) for i in range(n)] for s, n in enumerate((12, 6, 5))]


def raw(height, width):
    return [[(i % 3, pixels(i + 70 * s, height, width)) for i in range(n)] for s, n in enumerate((20, 4))]


def make():
    for s, (split, data) in enumerate(zip(("train", "test"), slim())):
        write(f"slim/cifar_{split}.tfrecord",
              [example(image__encoded=encode(x, "PNG"), image__format="png", image__class__label=y,
                       image__height=8, image__width=9) for y, x in data])
    lines("slim/labels.txt", [f"{i}:{name}" for i, name in enumerate(names)])

    for split, data in zip(("train", "validation"), imagenet()):
        for shard in range(2):
            write(f"imagenet/{split}-{shard:05d}-of-00002",
                  [example(image__height=1, image__width=1, image__colorspace="RGB", image__channels=3,
                           image__class__label=y + 1, image__class__synset=f"n{y}",
                           image__class__text=names[y], image__format="JPEG",
                           image__filename=FILES.get(i, f"\xff {i}.JPEG".encode("latin-1")),
                           image__object__bbox__xmin=[0.5, 0.25], image__encoded=x)
                   for i, (y, x) in list(enumerate(data))[shard::2]])

    for split, data in zip(("train", "test"), tfds()):
        write(f"tfds/digits-{split}.tfrecord-00000-of-00001",
              [example(id=f"{split}_{i}", image=encode_opaque(x) if i % 3 == 1 else encode(x, "PNG"), label=y)
               for i, (y, x) in enumerate(data)], pack=True)
    lines("tfds/label.labels.txt", names)

    for word, data in zip(("train", "test", "validation"), three()):
        write(f"three/set-{word}.tfrecord", [example(image=encode(x, "PNG"), label=y) for y, x in data])

    for name, (height, width) in (("raw", (5, 7)), ("large", (200, 210))):
        for split, data in zip(("train", "test"), raw(height, width)):
            write(f"{name}/{split}.tfrecords.gz",
                  [example(image_raw=x.tobytes(), label=y, height=height, width=width, depth=3)
                   for y, x in data], pack=True)

    write("small/all.tfrecord", [example(image=encode(pixels(i, 8, 8), "JPEG"), label=i % 2) for i in range(20)])
    write("drawn/all.tfrecord", [example(image__encoded=x, image__class__label=y)
                                 for y, x in imagenet()[0]])
    write("bad/labels", [example(image=encode(pixels(0, 4, 4), "PNG"), label=label)
                         for label in (0, [1, 2])])
    write("bad/no-image", [example(label=0)])
    write("bad/no-pixels", [example(label=0, image_raw=b"x" * 47, height=4, width=4, depth=3)])
    write("bad/undecodable", [example(label=0, image=x) for x in
                              (encode(pixels(0, 40, 40), "JPEG")[:300], *(x for _, x in imagenet()[0]))])
    write("bad/no-example", [b"\xff" * 9])
    write("bad/empty", [])
    for name in names:
        os.makedirs(f"source/{name}")
        for i in range(5):
            with open(f"source/{name}/{i}.jpg", "wb") as f:
                f.write(imagenet()[0][i][1])
    good = frame(example(image=encode(pixels(0, 4, 4), "PNG"), label=0))
    head = struct.pack("<Q", 1 << 40)
    for name, data in (("good", good), ("cut", good + good[:-3]), ("cut-head", good + good[:5]),
                       ("length", good + b"\x01" + good[1:]), ("data", good + good[:-9] + b"x" * 9),
                       ("absurd", good + head + struct.pack("<I", masked(head)) + bytes(4)),
                       ("odd \xff\n".encode("latin-1"), good[:5])):
        with open(os.path.join(b"bad", name if isinstance(name, bytes) else name.encode()), "wb") as f:
            f.write(data)
    with open("bad/cut.gz", "wb") as f:
        f.write(gzip.compress(good * 50)[:-20])
    with gzip.open("bad/bomb.gz", "wb") as f:
        for _ in range(256):
            f.write(bytes(1 << 20))
    head = struct.pack("<Q", 1 << 30)
    with gzip.open("bad/large.gz", "wb") as f:
        f.write(head + struct.pack("<I", masked(head)) + bytes(1 << 20))


# ---- reading ----

def images(folder, split):
    """(label, what is stored) of every image: an array (H, W, C) or bytes."""
    for y, x in stored(folder, split):
        yield y, x if isinstance(x, bytes) else x.transpose(1, 2, 0)


def decode(data):
    image = np.array(Image.open(io.BytesIO(data)))
    return image if image.ndim == 3 else image[:, :, None]


def same(stored, expected):
    if isinstance(stored, bytes) and not isinstance(expected, bytes):
        stored = decode(stored)  # raw pixels that are kept as PNG
    return stored == expected if isinstance(expected, bytes) else np.array_equal(stored, expected)


def check(name, folder):
    sets = {"slim": slim, "imagenet": imagenet, "tfds": tfds, "three": three, "raw": lambda: raw(5, 7),
            "large": lambda: raw(200, 210)}
    data = sets[name]()
    if name == "imagenet":  # two files
        for split in "train", "test":
            assert list(file_names(folder, split))[:3] == [b"\xff 0.JPEG", b"\xff 2.JPEG", b""]
        data = [d[0::2] + d[1::2] for d in data]
    for split, expected in zip(("train", "test", "val"), data):
        found = list(images(folder, split))
        assert [y for y, _ in found] == [y for y, _ in expected], (split, "labels")
        assert all(same(x, e) for (_, x), (_, e) in zip(found, expected)), (split, "images")
    if name in ("slim", "imagenet", "tfds"):
        assert read_about(folder)["class_names"] == names


def read(folder, tfrecords):
    manifest = read_about(folder)
    info = json.load(open(f"{tfrecords}/dataset_info.json"))
    assert open(f"{tfrecords}/labels.txt").read().splitlines() == [
        f"{i}:{name}" for i, name in enumerate(manifest["class_names"])]
    assert open(f"{tfrecords}/image.class.label.labels.txt").read().splitlines() == manifest["class_names"]
    for split in info["splits"]:
        files = sorted(glob.glob(f"{tfrecords}/{info['name']}-{split['name']}.tfrecord-*"))
        expected = images(folder, split["name"])
        own = file_names(folder, split["name"])
        assert int(split["numBytes"]) == sum(os.path.getsize(f) for f in files)
        assert len(files) == len(split["shardLengths"])
        for path, length in zip(files, split["shardLengths"]):
            found = list(records(path))
            assert len(found) == int(length), path
            for data in found:
                f = Example.FromString(data).features.feature
                y, x = next(expected)
                image = f["image/encoded"].bytes_list.value[0]
                assert f["image/class/label"].int64_list.value[:] == [y]
                assert f["image/filename"].bytes_list.value[:] == list(filter(None, [next(own)]))
                assert f["image/class/text"].bytes_list.value[0].decode() == manifest["class_names"][y]
                assert same(image if isinstance(x, bytes) else decode(image), x)
                picture = Image.open(io.BytesIO(image))
                assert f["image/format"].bytes_list.value[0].decode() == picture.format.lower()
                assert (f["image/width"].int64_list.value[0],
                        f["image/height"].int64_list.value[0]) == picture.size
        assert next(expected, None) is None


if __name__ == "__main__":
    {"make": make, "read": read, "check": check}[sys.argv[1]](*sys.argv[2:])

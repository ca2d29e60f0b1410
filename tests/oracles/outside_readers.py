"""Checks for cli/outside_readers.sh, in the folder of its files.

    outside_readers.py pictures     what the document's blocks made
    outside_readers.py filter       the zstd filter, by HDF5_PLUGIN_PATH
"""
import re
import subprocess
import sys

import h5py
import numpy
from PIL import Image


def pixels(path):
    return numpy.asarray(Image.open(path)).astype(int)


def pictures():
    shown = pixels("shown.png")
    own = pixels("own.png")
    assert shown.shape[:2] == own.shape[:2]
    shown = shown if shown.ndim == 3 else shown[:, :, None]
    assert abs(shown - own).mean() < 1

    dumped = []
    for line in open("dump"):
        if re.match(r" *\(7,0,\d+,\d+\): ", line):
            dumped += [int(x) for x in re.findall(r"\d+", line.split(":")[1])]
    dumped = numpy.array(dumped).reshape(28, 28)
    assert (pixels("pixels.png") == dumped[:, :, None]).all()
    with h5py.File("plain.h5") as plain:  # without the filter
        assert plain["images"].compression is None
        assert (plain["images"][7, 0] == dumped).all()


def zstd(content, *options):
    return subprocess.run(["zstd", "-qc", *options], input=content, stdout=subprocess.PIPE,
                          check=True).stdout


def is_refused(dataset):
    try:
        dataset[:]
    except OSError:
        return True
    return False


def written(values):
    """Each level is one of zstd's, and each chunk one frame with its size and a checksum."""
    with h5py.File("written.h5", "w") as file:
        for name, level in {"none": (), "1": (1,), "19": (19,), "0": (0,), "99": (99,),
                            "-5": (2**32 - 5,)}.items():
            dataset = file.create_dataset(name, data=values, chunks=(64, 16), compression=32015,
                                          compression_opts=level)
            file.flush()
            assert (dataset[:] == values).all(), name
            mask, frame = dataset.id.read_direct_chunk((64, 0))
            assert mask == 0 and frame[:4] == b"\x28\xb5\x2f\xfd"
            assert frame[4] & 4 and frame[4] & 0xE0, "its checksum and its size"
            assert zstd(frame, "-d") == values[64:128].tobytes()


def foreign(values):
    """Frames of others: without their size they are read, damaged ones are refused."""
    content = values[:64].tobytes()
    whole, unsized = zstd(content), zstd(content, "--no-check", "--no-content-size")
    frames = {"whole": whole, "unsized": unsized, "short": whole[:-9], "none": b"none",
              "twice": whole + whole, "flipped": whole[:99] + bytes([whole[99] ^ 1]) + whole[100:],
              "too large": b"\x28\xb5\x2f\xfd\xe0" + b"\xff" * 8 + whole[6:]}
    with h5py.File("foreign.h5", "w") as file:
        for name, frame in frames.items():
            dataset = file.create_dataset(name, (64, 16), "u1", chunks=(64, 16), compression=32015)
            dataset.id.write_direct_chunk((0, 0), frame)
    with h5py.File("foreign.h5") as file:
        assert (file["whole"][:] == values[:64]).all() and (file["unsized"][:] == values[:64]).all()
        for name in frames.keys() - {"whole", "unsized"}:
            assert is_refused(file[name]), name


def check_filter():
    draw = numpy.random.default_rng(1)
    values = (draw.integers(0, 256, (192, 16)) & draw.integers(0, 256, (192, 16))).astype("u1")
    written(values)
    foreign(values)


{"pictures": pictures, "filter": check_filter}[sys.argv[1]]()

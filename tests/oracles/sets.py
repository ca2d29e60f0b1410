"""Raw data sets as their authors publish them, small and made up, for cli/sets.sh; and the records
that create_records made of them, as h5py and PIL read them, by docs/shard-format.md alone.

    sets.py make FOLDER
    sets.py pixels RECORDS EXPECTED.npz SPLIT    images and labels, in their order
    sets.py encoded RECORDS SPLIT FILE...        these files to the byte, by class folder's order
    sets.py classes RECORDS NAME...
"""
import gzip
import io
import pathlib
import struct
import sys
import tarfile

import h5py
import numpy
import scipy.io
from PIL import Image

from read_shard import read_about, stored

SIDE = 32


def draw(seed, *shape):
    return numpy.random.default_rng(seed).integers(0, 256, shape).astype(numpy.uint8)


# ---- making ----

def make_idx(folder):
    """MNIST: 120 and 40 images; one file of each split gzipped."""
    folder.mkdir(parents=True)
    for name, split, count in ("train", "train", 120), ("t10k", "test", 40):
        images, labels = draw(count, count, 28, 28), draw(count + 1, count) % 10
        (folder / f"{name}-images-idx3-ubyte").write_bytes(
            struct.pack(">4I", 0x803, count, 28, 28) + images.tobytes())
        with gzip.open(folder / f"{name}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(struct.pack(">2I", 0x801, count) + labels.tobytes())
        numpy.savez(folder / split, images=images[:, None], labels=labels)


def save_mat(path, x, y, **options):
    scipy.io.savemat(path, {"X": x, "y": y}, **options)


def make_svhn(folder):
    """The parts in the types and packings that occur; then such as are refused."""
    folder.mkdir(parents=True)
    parts = {}
    for name, count, pack, kind in (("train", 60, False, numpy.uint8), ("test", 20, True, float),
                                    ("extra", 30, True, numpy.uint8)):
        images = draw(count, count, 3, SIDE, SIDE)
        digits = numpy.arange(count) * 7 % 10
        y = numpy.where(digits == 0, 10, digits).astype(kind)[:, None]
        save_mat(folder / f"{name}_32x32.mat", images.transpose(2, 3, 1, 0), y,
                 do_compression=pack)
        parts[name] = images, digits
    both = [numpy.concatenate(pair) for pair in zip(parts["train"], parts["extra"])]
    for name, (images, labels) in {**parts, "both": both}.items():
        numpy.savez(folder / name, images=images, labels=labels)
    x, y = draw(9, SIDE, SIDE, 3, 5), numpy.ones((5, 1), numpy.uint8)
    odd = {"gray": (x[:, :, 0], y), "double": (x.astype(float), y), "wide": (draw(9, 33, 32, 3, 5), y),
           "label0": (x, 0 * y), "label11": (x, 11 * y), "few": (x, y[:4]), "half": (x, y + 0.5),
           "many": (x, numpy.ones((6, 1)))}
    for name, (x_odd, y_odd) in odd.items():
        save_mat(folder / f"odd_{name}.mat", x_odd, y_odd)
    scipy.io.savemat(folder / "odd_no_x.mat", {"x": x, "y": y})
    scipy.io.savemat(folder / "odd_no_y.mat", {"X": x})
    scipy.io.savemat(folder / "odd_version4.mat", {"X": x[:, :, 0, 0], "y": y}, format="4")
    with h5py.File(folder / "odd_version7.mat", "w", userblock_size=512) as file:
        file["X"] = x
    with open(folder / "odd_version7.mat", "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def make_cifar100(folder):
    """The authors' sizes; the first 2000 records differ from zeros."""
    folder.mkdir(parents=True)
    for split, count, few in ("train", 50000, 2000), ("test", 10000, 2000):
        records = numpy.zeros((count, 2 + 3 * SIDE * SIDE), numpy.uint8)
        records[:few] = draw(count, few, records.shape[1])
        records[:, 1] = numpy.arange(count) % 100
        records[:, 0] = records[:, 1] * 3 % 20
        records[:few, 0] = records[:few, 0] % 20
        records.tofile(folder / f"{split}.bin")
        numpy.savez(folder.parent / f"cifar100_{split}", images=records[:, 2:].reshape(-1, 3, SIDE, SIDE)[:few],
                    labels=records[:few, 1])


def jpeg(seed, mode="RGB", size=64):
    shape = (size, size) if mode == "L" else (size, size, 3)
    file = io.BytesIO()
    Image.fromarray(draw(seed, *shape), mode).save(file, "JPEG")
    return file.getvalue()


def save(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def make_tiny(root):
    """Three classes, in wnids.txt not by code point; some images gray."""
    wnids = ["n03", "n01", "n02"]
    (root / "test" / "images").mkdir(parents=True)
    save(root / "test" / "images" / "test_0.JPEG", jpeg(1))
    save(root / "wnids.txt", "".join(f"{w}\n" for w in wnids).encode())
    save(root / "words.txt", b"n01\tone\nn99\tnone\n")
    lines = []
    for c, wnid in enumerate(wnids):
        save(root / "train" / wnid / f"{wnid}_boxes.txt", b"a\t0\t0\t1\t1\n")
        for i in range(12):
            save(root / "train" / wnid / "images" / f"{wnid}_{i}.JPEG",
                 jpeg(100 * c + i, "L" if i == 3 else "RGB"))
    for i in range(10):
        save(root / "val" / "images" / f"val_{i}.JPEG", jpeg(900 + i))
        lines.append(f"val_{i}.JPEG\t{wnids[i % 3]}\t0\t32\t44\t62\n")
    save(root / "val" / "val_annotations.txt", "".join(lines).encode())


def add(tar, name, content):
    about = tarfile.TarInfo(name)
    about.size = len(content)
    tar.addfile(about, io.BytesIO(content))


def make_imagenet(root):
    """The same images as class folders, as tar files with the devkit, and flat with lists. One name
    needs a header of its own in a tar file; the devkit's ids are not in the order of the classes."""
    classes = ["n04", "n01", "n03"]
    ids = {"n04": 2, "n01": 3, "n03": 1}
    tars, folders = root / "tars", root / "folders"
    tars.mkdir(parents=True)
    outer = tarfile.open(tars / "ILSVRC2012_img_train.tar", "w")
    for c, wnid in enumerate(classes):
        inner_bytes = io.BytesIO()
        inner = tarfile.open(fileobj=inner_bytes, mode="w", format=tarfile.PAX_FORMAT)
        for i in reversed(range(8)):
            long = "x" * 150 if i == 4 else ""
            content, name = jpeg(1000 * c + i, size=40 + i), f"{wnid}_{i}{long}.JPEG"
            add(inner, name, content)
            save(folders / "train" / wnid / name, content)
        inner.close()
        add(outer, f"{wnid}.tar", inner_bytes.getvalue())
    outer.close()
    truth, by_name, by_label = [], [], []
    with tarfile.open(tars / "ILSVRC2012_img_val.tar", "w") as val:
        for i in range(1, 10):
            wnid, name, content = classes[i * i % 3], f"ILSVRC2012_val_{i:08}.JPEG", jpeg(5000 + i)
            add(val, name, content)
            save(folders / "val" / wnid / name, content)
            save(root / "flat" / "val" / name, content)
            truth.append(f"{ids[wnid]}\n")
            by_name.append(f"val/{name} {wnid}\n")
            by_label.append(f"{name} {sorted(classes).index(wnid)}\r\n")
    (root / "flat" / "train").symlink_to(folders / "train")
    save(root / "by_name.txt", "".join(reversed(by_name)).encode())
    save(root / "by_label.txt", "".join(by_label).encode())
    kind = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object), ("num_children", object)]
    synsets = [(float(n), wnid, "a, b", 0.0) for wnid, n in ids.items()] + [(4.0, "n00", "all", 3.0)]
    data = root / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    scipy.io.savemat(data / "meta.mat", {"synsets": numpy.array(synsets, kind)[:, None]})
    save(data / "ILSVRC2012_validation_ground_truth.txt", "".join(truth).encode())
    with tarfile.open(tars / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as devkit:
        devkit.add(data.parent, data.parent.name)


def make(root):
    make_idx(root / "mnist" / "MNIST" / "raw")
    make_svhn(root / "svhn")
    make_cifar100(root / "cifar-100-binary")
    make_tiny(root / "tiny-imagenet-200")
    make_imagenet(root / "imagenet")


# ---- checking ----

def check_pixels(records, expected, split):
    expected = numpy.load(expected)
    labels, images = zip(*stored(records, split))
    assert (numpy.array(labels) == expected["labels"]).all(), records
    assert (numpy.array(images) == expected["images"]).all(), records


def check_encoded(records, split, *files):
    found = [content for _, content in stored(records, split)]
    expected = [pathlib.Path(name).read_bytes() for name in files]
    assert found == expected, (len(found), len(expected), [found.index(e) for e in expected if e in found])


def check_classes(records, *names):
    assert read_about(records)["class_names"] == list(names), records


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(pathlib.Path(sys.argv[2]))
    else:
        {"pixels": check_pixels, "encoded": check_encoded,
         "classes": check_classes}[sys.argv[1]](*sys.argv[2:])

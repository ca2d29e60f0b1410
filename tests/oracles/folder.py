"""Trees of class folders for cli/folder.sh, and what create_records made of them as h5py and PIL
read it, by docs/shard-format.md alone.

    folder.py make FOLDER
    folder.py check RECORDS SOURCE [TEST_SOURCE]      without the last the test split was drawn
    folder.py converted RECORDS SOURCE TEST_SOURCE SHORT_SIDE QUALITY ignore|apply
"""
import io
import os
import pathlib
import sys

import numpy
from PIL import Image, ImageOps

from read_shard import file_names, read_about, shards, text, xxhash

MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


def picture(seed, mode="RGB"):
    """Noise of a size of its own."""
    draw = numpy.random.default_rng(seed)
    channels = {"RGB": 3, "L": 1, "RGBA": 4, "CMYK": 4}[mode]
    values = draw.integers(0, 256, (20 + seed % 13, 30 + seed % 7, channels)).astype(numpy.uint8)
    return Image.fromarray(values[:, :, 0] if channels == 1 else values, mode)


def save(path, seed, mode="RGB", form="JPEG", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed, mode).save(path, form, **options)


def slopes(path, width, height, mode="RGB", form="JPEG", orientation=1, **options):
    """A picture that JPEG keeps well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = numpy.mgrid[:height, :width]
    values = numpy.stack([x * 255 // width, y * 255 // height, (x + y) * 127 // (width + height),
                          x * 0 + 99], axis=2)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(values.astype(numpy.uint8), "RGBA").convert(mode).save(
        path, form, exif=exif, **options)


def make(root):
    for i in range(1, 9):
        slopes(root / "sizes" / "train" / "turned" / f"{i}.jpg", 120 + i, 90, orientation=i)
    slopes(root / "sizes" / "train" / "turned" / "9.png", 130, 90, form="PNG", orientation=6)
    for i, size in enumerate([(300, 200), (201, 333), (64, 64), (65, 64), (65, 65), (1000, 30),
                              (90, 700), (1, 1)]):
        slopes(root / "sizes" / "train" / "sizes" / f"{i}.jpg", *size)
    slopes(root / "large.jpg", 640, 480)
    for mode, form in (("L", "JPEG"), ("CMYK", "JPEG"), ("RGBA", "PNG"), ("LA", "PNG"), ("P", "PNG")):
        slopes(root / "sizes" / "val" / "sizes" / f"{mode}.{form}", 150, 170, mode, form)

    mixed = root / "mixed"
    for i in range(20):
        save(mixed / "b" / f"{i}.jpg", i)
        save(mixed / "B" / f"{i}.png", 100 + i, "L", "PNG")
        save(mixed / "a, b" / f"{i}.txt", 200 + i, "RGBA", "PNG")
    save(mixed / "\u00c9t\u00e9" / "progressive", 300, progressive=True)
    save(mixed / "\u00c9t\u00e9" / "cmyk.JPEG", 301, "CMYK")
    save(mixed / "\u00c9t\u00e9" / "a" / "nested.png", 302, "RGB", "PNG")
    save(mixed / "\u00c9t\u00e9" / "line\nbreak.jpg", 303)
    os.rename(mixed / "b" / "7.jpg", os.fsencode(mixed / "b") + b"/\xff\xfe.jpg")
    # skipped: seven files
    (mixed / "b" / "notes.txt").write_text("no image")
    (mixed / "b" / "looks.jpg").write_text("GIF89a, or so")
    (mixed / "b" / ".hidden.jpg").write_bytes((mixed / "b" / "1.jpg").read_bytes())
    (mixed / ".cache").mkdir()
    (mixed / "readme.jpg").write_bytes((mixed / "b" / "1.jpg").read_bytes())
    os.mkfifo(mixed / "b" / "pipe.jpg")
    (mixed / "b" / "again").symlink_to(mixed / "b")
    # links are followed
    save(root / "elsewhere" / "c" / "x.jpg", 400)
    (mixed / "b" / "link.jpg").symlink_to(root / "elsewhere" / "c" / "x.jpg")
    (mixed / "c").symlink_to(root / "elsewhere" / "c")

    for split, classes in (("train", "xyz"), ("val", "xz")):
        for number, name in enumerate(classes):
            for i in range(5):
                save(root / "splits" / split / name / f"{i}.jpg", 500 + 10 * number + i)

    save(root / "bad" / "x" / "0.jpg", 600)
    whole = (root / "bad" / "x" / "0.jpg").read_bytes()
    for i in range(1, 9):
        save(root / "bad" / "x" / f"{i}.jpg", 600 + i)
    for name, content in {"arithmetic": whole.replace(b"\xff\xc0", b"\xff\xc9", 1), "empty": b"",
                          "short": whole[:len(whole) // 2], "undecodable": whole[:20] * 20}.items():
        (root / "bad" / "x" / f"{name}.jpg").write_bytes(content)
    save(root / "bad" / "y" / "0.jpg", 650)
    (root / "bad" / "x" / "to_nothing.jpg").symlink_to(root / "nothing")
    (root / "bad" / "x" / "to_itself").symlink_to("to_itself")


def expected(source):
    """The images of each class folder as torchvision finds them."""
    for name in sorted(os.listdir(source), key=os.fsencode):
        folder, found = os.path.join(source, name), []
        if name.startswith(".") or not os.path.isdir(folder):
            continue
        for root, folders, files in os.walk(folder, followlinks=True):
            folders[:] = sorted(f for f in folders if f != "again")
            for file in sorted(files, key=os.fsencode):
                path = os.path.join(root, file)
                if not file.startswith(".") and os.path.isfile(path):
                    content = pathlib.Path(path).read_bytes()
                    found += [content] if content.startswith(MAGIC) else []
        yield name, found


def read_split(folder, split):
    """(bytes, label) of its images."""
    about = read_about(folder)
    for index, (entry, path, shard) in enumerate(shards(folder, split)):
        assert set(entry) == {"file", "bytes", "xxh3", "count"}, entry
        attributes = shard.attrs
        assert text(attributes["format"]) == "dn_dist encoded image shard", attributes["format"]
        assert text(attributes["split"]) == split and attributes["shard_index"] == index
        assert attributes["count"] == entry["count"]
        assert attributes["shard_count"] == len(about["splits"][split]["shards"])
        assert "mean" not in attributes and "std" not in attributes
        assert [text(name) for name in shard["class_names"]] == about["class_names"]
        types = {name: (shard[name].dtype.str, shard[name].shape) for name in shard}
        types.pop("class_names")
        names, size = types.pop("file_names")
        assert names == "|u1" and len(size) == 1
        n, offsets, encoded = entry["count"], shard["offsets"][:], shard["encoded"]
        assert types == {"encoded": ("|u1", (offsets[-1],)), "offsets": ("<u8", (n + 1,)),
                         "sizes": ("<i4", (n, 2)), "xxh3": ("<u8", (n,)), "labels": ("<u2", (n,))}
        assert offsets[0] == 0 and encoded.chunks is None
        labels = shard["labels"][:]
        for i in range(n):
            content = encoded[offsets[i]:offsets[i + 1]].tobytes()
            image = Image.open(io.BytesIO(content))
            assert list(image.size) == list(shard["sizes"][i]), (path, i)
            if xxhash:
                assert xxhash.xxh3_64_intdigest(content) == shard["xxh3"][i]
            yield content, labels[i]
        if xxhash:
            assert xxhash.xxh3_64_hexdigest(labels.tobytes()) == text(attributes["labels_xxh3"])


def check(folder, source, test_source=None):
    about = read_about(folder)
    assert (about["height"], about["width"], about["channels"]) == (0, 0, 3)
    images = {split: list(read_split(folder, split)) for split in about["splits"]}
    root = os.fsencode(os.path.dirname(source) if test_source else source)
    for split in images:
        names = list(file_names(folder, split))
        assert len(set(names)) == len(names) == len(images[split])
        for name, (content, label) in zip(names, images[split]):
            assert pathlib.Path(os.fsdecode(os.path.join(root, name))).read_bytes() == content, name
            assert os.fsencode(about["class_names"][label]) in name.split(b"/")[:-1], name
    classes = dict(expected(source))
    assert list(classes) == about["class_names"], list(classes)
    if test_source:
        label = {name: i for i, name in enumerate(classes)}
        assert images["train"] == [(x, label[c]) for c in classes for x in classes[c]]
        tests = dict(expected(test_source))
        assert images["test"] == [(x, label[c]) for c in tests for x in tests[c]]
    for label, content in enumerate(classes.values()) if not test_source else ():
        train, test = ([x for x, y in images[split] if y == label] for split in ("train", "test"))
        assert sorted(train + test) == sorted(content), label
        assert train == [x for x in content if x in train], "the order of files"
        assert len(train) >= 1 and abs(len(test) - len(content) / 10) <= 1, (label, len(test))
    pixels = numpy.concatenate([numpy.asarray(Image.open(io.BytesIO(x)).convert("RGB")).reshape(-1, 3)
                                for x, _ in images["train"]]) / 255
    assert numpy.allclose(pixels.mean(0), about["mean"], rtol=1e-12)
    assert numpy.allclose(pixels.std(0), about["std"], rtol=1e-9)
    if xxhash:
        seed = 0
        for split in ("train", "test"):
            hashes = numpy.array([xxhash.xxh3_64_intdigest(x) for x, _ in images[split]], "<u8")
            labels = numpy.array([label for _, label in images[split]], "<u2")
            for part in (hashes, labels):
                seed = xxhash.xxh3_64_intdigest(part.tobytes(), seed)
        assert about["source"] == f"{seed:016x}", "the source's checksum"
    print(f"{folder}: {len(images['train'])} and {len(images['test'])} images are as expected")


def convert(content, side, quality, exif):
    """(PIL's pixels of what is to be stored, whether it has the file's own bytes)"""
    image = Image.open(io.BytesIO(content))
    form = image.format
    turned = exif == "apply" and image.getexif().get(0x0112, 1) != 1
    image = (ImageOps.exif_transpose(image) if turned else image).convert("RGB")
    width, height = image.size
    small = side and min(width, height) > side
    if small:
        image = image.resize((side, side * height // width) if width < height else
                             (side * width // height, side), Image.BILINEAR)
    if small or turned:
        made = io.BytesIO()
        image.save(made, form, quality=quality)
        image = Image.open(made).convert("RGB")
    return numpy.asarray(image).astype(int), not (small or turned)


def converted(folder, source, test_source, side, quality, exif):
    about = read_about(folder)
    originals, pixels = 0, []
    for split, root in (("train", source), ("test", test_source)):
        stored = [x for x, _ in read_split(folder, split)]
        contents = [x for _, content in expected(root) for x in content]
        assert len(stored) == len(contents)
        for found, content in zip(stored, contents):
            wanted, is_original = convert(content, int(side), int(quality), exif)
            image = Image.open(io.BytesIO(found))
            values = numpy.asarray(image.convert("RGB")).astype(int)
            assert values.shape == wanted.shape, (values.shape, wanted.shape)
            assert is_original == (found == content), "kept to the byte, or not"
            assert is_original or "progressive" not in image.info
            assert image.format == Image.open(io.BytesIO(content)).format
            difference = numpy.abs(values - wanted).mean()
            assert difference == 0 or (not is_original and difference < 1), difference
            originals += is_original
            if split == "train":
                pixels.append(values.reshape(-1, 3))
    pixels = numpy.concatenate(pixels) / 255
    assert numpy.allclose(pixels.mean(0), about["mean"], rtol=1e-12)
    assert numpy.allclose(pixels.std(0), about["std"], rtol=1e-9)
    print(f"{folder}: {originals} originals; {about.get('conversion')}")


if sys.argv[1] == "make":
    make(pathlib.Path(sys.argv[2]))
elif sys.argv[1] == "converted":
    converted(*sys.argv[2:])
else:
    check(*sys.argv[2:])

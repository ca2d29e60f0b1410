"""Checks for cli/inspect.sh: what create_records says, beside what h5py and PIL find.

    inspect_records.py info RECORDS                    RECORDS.json is info's
    inspect_records.py sheet RECORDS COUNT SIDE [CLASS]    sheet.png or class.png is inspect's
    inspect_records.py sample RECORDS INDEX            sample.png and facts are inspect's
    inspect_records.py forge RECORDS WHAT              changes a shard or dataset.json, and the checksums
"""
import io
import json
import os
import re
import sys

import h5py
import numpy
from PIL import Image

from read_shard import file_names, read_about, shards, stored, xxhash

GAP = 8


def pixels(content):
    return numpy.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def info(folder):
    with open(folder + ".json") as file:
        found = json.load(file)
    records = read_about(folder)
    for key in ("dataset", "source", "channels", "height", "width", "mean", "std"):
        assert found[key] == records[key], key
    assert [c["name"] for c in found["classes"]] == records["class_names"]
    for split in ("train", "test"):
        said, entries = found["splits"][split], records["splits"][split]["shards"]
        assert said["count"] == records["splits"][split]["count"]
        assert said["shards"] == len(entries)
        assert said["bytes"] == sum(shard["bytes"] for shard in entries)
        assert said["tfrecord_bytes"] == sum(s.get("tfrecord", {"bytes": 0})["bytes"] for s in entries)
        labels = numpy.concatenate([file["labels"][:] for _, _, file in shards(folder, split)])
        counts = numpy.bincount(labels, minlength=len(found["classes"]))
        assert [c[split] for c in found["classes"]] == counts.tolist()
        assert said["order"] == ("by class" if (numpy.diff(labels.astype(int)) >= 0).all() else "mixed")
        assert found["images"] == ("pixels" if records["height"] else "encoded")
        if records["height"]:
            assert "width" not in said
            continue
        files = [content for _, content in stored(folder, split)]
        sizes = [Image.open(io.BytesIO(content)).size for content in files]
        for key, values in {"width": [s[0] for s in sizes], "height": [s[1] for s in sizes],
                            "image_bytes": [len(content) for content in files]}.items():
            values.sort()
            assert said[key] == {"least": values[0], "median": values[(len(values) - 1) // 2],
                                 "greatest": values[-1]}, (key, said[key], values)


def sheet(folder, asked, side, name=None):
    """Each image stands in the middle of its place, with something written below it."""
    asked, side = int(asked), int(side)
    names = read_about(folder)["class_names"]
    shown = [i for i in stored(folder, "train") if name is None or names[i[0]] == name]
    count = min(asked, len(shown))
    shown = [shown[i * len(shown) // count] for i in range(count)]
    columns = int(numpy.ceil(numpy.sqrt(count)))
    picture = numpy.asarray(Image.open("class.png" if name else "sheet.png")).astype(int)
    pitch = (picture.shape[0] - GAP) // -(-count // columns)
    assert picture.shape[1] == GAP + columns * (side + GAP)
    for number, (_, content) in enumerate(shown):
        top, left = GAP + number // columns * pitch, GAP + number % columns * (side + GAP)
        expected = pixels(content)
        times = side // max(expected.shape)
        expected = expected.repeat(times, 0).repeat(times, 1)
        height, width = expected.shape[:2]
        place = picture[top:top + side, left:left + side]
        y, x = (side - height) // 2, (side - width) // 2
        assert abs(place[y:y + height, x:x + width] - expected).mean() < 1, number
        assert (place[:y] == 255).all() and (place[:, :x] == 255).all()
        words = picture[top + side:top + pitch - GAP, left:left + side]
        assert set(numpy.unique(words)) == {0, 255}


def sample(folder, index):
    label, content = list(stored(folder, "train"))[int(index)]
    with open("facts") as file:
        facts = dict(re.match(r"(\S+) +(.*)\n", line).groups() for line in file)
    picture = Image.open(io.BytesIO(content))
    assert facts["class"] == f"{label} {read_about(folder)['class_names'][label]}"
    assert facts["size"] == f"{picture.size[0]}x{picture.size[1]}, {picture.format}"
    name = list(file_names(folder, "train"))[int(index)]
    assert facts["file"].encode() == name and name.startswith(facts["class"].split()[1].encode() + b"/")
    assert facts["bytes"] == str(len(content))
    with open(facts["shard"].split(",")[0], "rb") as file:
        file.seek(int(facts["offset"]))
        assert file.read(len(content)) == content
    assert abs(numpy.asarray(Image.open("sample.png")).astype(int) - pixels(content)).mean() < 1


def forge_names(records, what):
    """Other file names, with the checksum of what stands there then."""
    names = records["file_names"][:].tobytes()
    forged = {"more": names + b"x\0", "fewer": names[:names[:-1].rindex(b"\0") + 1],
              "endless": names[:-1] + b"x", "long": names.replace(b"\0", 4096 * b"x" + b"\0", 1),
              "one": names[:1], "floats": names, "damaged": names[::-1]}.get(what)
    del records["file_names"]
    if forged:
        values = numpy.frombuffer(forged, numpy.uint8)
        records["file_names"] = values.astype(float) if what == "floats" else values
    if forged and what != "damaged":
        records.attrs["file_names_xxh3"] = numpy.array(
            xxhash.xxh3_64_hexdigest(forged).encode(), h5py.string_dtype("utf-8", 17))


def forge(folder, what):
    path = os.path.join(folder, "dataset.json")
    shard = read_about(folder)["splits"]["train"]["shards"][0]
    file = os.path.join(folder, shard["file"])
    with h5py.File(file, "r+") as records:
        if what == "size":
            records["sizes"][3] = (1, 1)
        elif what not in ("mean", "std"):
            forge_names(records, what)
    with open(file, "rb") as records:
        content = records.read()
    with open(path) as records:
        manifest = records.read()[:-31]
    manifest = manifest.replace(shard["xxh3"], xxhash.xxh3_64_hexdigest(content))
    manifest = manifest.replace(f'"bytes": {shard["bytes"]}', f'"bytes": {len(content)}')
    if what in ("mean", "std"):
        manifest = re.sub(rf'("{what}": \[\s*0\.)[1-9]', r"\g<1>0", manifest)
    with open(path, "w") as records:
        records.write(manifest + f'  "xxh3": "{xxhash.xxh3_64_hexdigest(manifest)}"\n}}\n')


{"info": info, "sheet": sheet, "sample": sample, "forge": forge}[sys.argv[1]](*sys.argv[2:])

"""Files of weights by readers that share no code with the programs (cli/weights.sh).

    check_weights.py pictures FOLDER [MODE [HEIGHT [WIDTH]]]   class folders of PNG files, RGB or grey (L)
    check_weights.py state MODEL CHANNELS CLASSES FILE [OPTION...]
        random weights for a model's written form, with torchvision's names, as safetensors;
        options: old (norm.1), F16, BF16, untracked, huge (infinite logits); spoilt: more, uneven
        (the head's tensors)
    check_weights.py logits FILE DATA PREDICTIONS LOGITS
        the net of FILE in PyTorch on the images of `predict --json`, which must have the same
        probabilities; LOGITS.npz keeps images and logits
    check_weights.py crops FILE DATA FOLDER SIZE CSV JSON
        eval's files, of ten crops of SIZE of FOLDER's images, are what PyTorch's logits amount to
    check_weights.py same FILE OTHER             FILE has OTHER's tensors, and is laid out as
                                                 safetensors' own writer does it
    check_weights.py frozen FILE OTHER PREFIX... all parameters differ but those
    check_weights.py onnx FILE LOGITS            onnxruntime comes to the same logits
    check_weights.py turned FILE SCRIPT          SCRIPT makes FILE's tensors of .pth files of them
    check_weights.py spoilt FILE OUT             one with an infinite momentum
    check_weights.py fewer FILE OUT              one that names two of its classes
    check_weights.py loads FILE                  the safetensors package reads it
"""
import json
import pathlib
import re
import struct
import sys

import numpy as np

SIDE = {1: 28, 3: 40}  # of the test's images, by channels
TOLERANCE = 1e-4  # of logits, as the exchange of weights is judged


# ---- safetensors: 8 bytes of length, JSON, data -----------------------------------------------


def read(path):
    data = pathlib.Path(path).read_bytes()
    length, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    about = header.pop("__metadata__", {})
    kinds = {"F32": "<f4", "I64": "<i8"}
    body = data[8 + length:]
    tensors = {}
    for name, t in header.items():
        begin, end = t["data_offsets"]
        tensors[name] = np.frombuffer(body[begin:end], kinds[t["dtype"]]).reshape(t["shape"])
    return tensors, about, header, length, len(body)


def as_bytes(x, dtype):
    if x.dtype == np.int64:
        return "I64", x.tobytes()
    if dtype == "BF16":
        return dtype, (x.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return dtype, x.astype({"F32": "<f4", "F16": "<f2"}[dtype]).tobytes()


def write(path, tensors, options):
    dtype = next((o for o in options if o in ("F16", "BF16")), "F32")
    header, body = {}, b""
    for name, x in tensors.items():
        kind, data = as_bytes(x, dtype)
        header[name] = {"dtype": kind, "shape": list(x.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + body)


# ---- nets -------------------------------------------------------------------------------------


def parse(model):
    spec = {"growth": "32", "bottleneck": "4", "compression": "0.5", "stem": "cifar",
            "stem-channels": "64", "last-transition": "0", "head-norm": "1", "head-pool": "0"}
    spec.update(pair.split("=") for pair in model.split(":"))
    blocks = [int(n) for n in spec["blocks"].split(",")]
    growth = [int(n) for n in spec["growth"].split(",")]
    return spec, blocks, growth * len(blocks) if len(growth) == 1 else growth


def shapes(model, channels, classes):
    """The tensors of a model: name and shape."""
    spec, blocks, growth = parse(model)
    out = {}

    def norm(name, n):
        for part in ("weight", "bias", "running_mean", "running_var"):
            out[f"{name}.{part}"] = (n,)
        out[f"{name}.num_batches_tracked"] = ()

    width, kernel = int(spec["stem-channels"]), 3 if spec["stem"] == "cifar" else 7
    out["features.conv0.weight"] = (width, channels, kernel, kernel)
    if spec["stem"] == "imagenet":
        norm("features.norm0", width)
    for b, (layers, k) in enumerate(zip(blocks, growth), 1):
        wide = int(spec["bottleneck"]) * k
        for l in range(1, layers + 1):
            name = f"features.denseblock{b}.denselayer{l}."
            norm(name + "norm1", width)
            out[name + "conv1.weight"] = (wide, width, 1, 1) if wide else (k, width, 3, 3)
            if wide:
                norm(name + "norm2", wide)
                out[name + "conv2.weight"] = (k, wide, 3, 3)
            width += k
        if b < len(blocks) or spec["last-transition"] == "1":
            halved = int(width * float(spec["compression"]))
            norm(f"features.transition{b}.norm", width)
            out[f"features.transition{b}.conv.weight"] = (halved, width, 1, 1)
            width = halved
    if spec["head-norm"] == "1":
        norm(f"features.norm{len(blocks) + 1}", width)
    if spec["head-pool"] != "0":  # of images of SIDE x SIDE, by a stem and transitions that halve
        halvings = {"cifar": 0, "7x7": 1, "imagenet": 2}[spec["stem"]] + len(blocks) - 1
        width *= ((SIDE[channels] >> halvings + int(spec["last-transition"])) // int(spec["head-pool"])) ** 2
    out["classifier.weight"], out["classifier.bias"] = (classes, width), (classes,)
    return out


def random_state(model, channels, classes, options):
    draw = np.random.default_rng(1)
    state = {}
    for name, shape in shapes(model, channels, classes).items():
        x = draw.standard_normal(shape).astype(np.float32)
        fan = int(np.prod(shape[1:])) or 1
        if name.endswith("num_batches_tracked"):
            if "untracked" in options:
                continue
            x = np.array(7)
        elif name.endswith("running_var"):
            x = x * x + np.float32(0.5)
        elif len(shape) > 1:
            x *= np.float32(fan ** -0.5)
        elif name.endswith("norm.weight") or re.search(r"norm\d\.weight$", name):
            x = 1 + x / 4
        if "old" in options:
            name = re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name)
        state[name] = x
    if "huge" in options:
        state["classifier.weight"] *= np.float32(1e38)
        state.update({k: 1000 * x for k, x in state.items() if re.match(r"features.norm\d.weight", k)})
    if "uneven" in options:
        state["classifier.bias"] = np.zeros(classes + 3, np.float32)
    if "more" in options:
        state["features.extra.weight"] = np.zeros(3, np.float32)
    return state


def run_torch(path, images):
    """The net of a file of dn_dist's, in PyTorch."""
    import torch
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))
    from densenet import load
    with torch.no_grad():
        return load(path)[0](torch.from_numpy(images)).numpy()


# ---- commands ---------------------------------------------------------------------------------


def pictures(folder, mode="RGB", height=40, width=40):
    from PIL import Image
    draw = np.random.default_rng(2)
    for c, name in enumerate(["ant", "bee", "cow, brown"]):
        (pathlib.Path(folder) / name).mkdir(parents=True)
        for i in range(4):
            x = draw.integers(0, 256, (int(height), int(width), 3)).astype(np.uint8) // 2 + 40 * c
            Image.fromarray(x.astype(np.uint8)).convert(mode).save(f"{folder}/{name}/{i}.png")


def photos(folder):
    """Pictures that cameras and scanners left for create_records to turn, shrink and window."""
    from PIL import Image
    draw = np.random.default_rng(3)
    exif = Image.Exif()
    for i in range(8):
        exif[0x0112] = 1 + i
        y, x = np.mgrid[:50 + i, :70]
        for c, name in enumerate(["ant", "bee"]):
            (pathlib.Path(folder) / name).mkdir(parents=True, exist_ok=True)
            noise = draw.integers(0, 1000, (50 + i, 70))
            level = ((x * 40 if c else y * 50) + noise).astype(np.uint16)
            Image.fromarray(level).save(f"{folder}/{name}/{i}.16.png", exif=exif)
            grey = Image.fromarray((level // 16).astype(np.uint8))
            grey.convert("RGB").save(f"{folder}/{name}/{i}.png", exif=exif)
            grey.convert("RGB").save(f"{folder}/{name}/{i}.jpg", exif=exif)


def agree(samples, predictions, folder):
    """eval --per-sample of all images of a folder, and predict --csv --top 1 of the folder"""
    import csv
    evaluated, predicted = ({r[name]: r for r in csv.DictReader(open(path))} for path, name in
                            ((samples, "file"), (predictions, "file")))
    assert len(evaluated) == 48 and len(predicted) == 48, (len(evaluated), len(predicted))
    for file, row in evaluated.items():
        other = predicted[f"{folder}/{file}"]
        assert other["class"] == row["predicted"], file
        assert abs(float(other["probability"]) - float(row["probability"])) < 1e-6, (file, other, row)


def state(model, channels, classes, path, *options):
    write(path, random_state(model, int(channels), int(classes), options), options)


def logits(path, data, predictions, out):
    from PIL import Image
    about = json.loads((pathlib.Path(data) / "dataset.json").read_text())
    found = json.loads(pathlib.Path(predictions).read_text())
    mode, side = "L" if about["channels"] == 1 else "RGB", SIDE[about["channels"]]
    images = np.stack([np.asarray(Image.open(f["file"]).convert(mode))
                       .reshape(side, side, -1).transpose(2, 0, 1) for f in found])
    images = normalised(images, about)
    expected = run_torch(path, images)
    np.savez(out, images=images, logits=expected)
    p = np.zeros_like(expected, np.float64)
    for i, f in enumerate(found):
        for top in f["top"]:
            assert top["name"] == about["class_names"][top["class"]]
            p[i, top["class"]] = top["probability"]
        assert [t["probability"] for t in f["top"]] == sorted(p[i], reverse=True)[:len(f["top"])]
    wanted = expected - expected.max(1, keepdims=True)
    wanted = wanted - np.log(np.exp(wanted).sum(1, keepdims=True))
    wide = wanted > np.log(1e-6)  # of less probable classes the text has too few digits
    error = np.abs(np.log(np.where(wide, p, 1)) - np.where(wide, wanted, 0)).max()
    assert error < TOLERANCE, f"{path}: found log-probabilities that differ by {error:.2g}"
    print(f"{path}: {len(found)} images, log-probabilities differ by at most {error:.1e}")


def normalised(pixels, about):
    mean, std = (np.float32(about[k]).reshape(-1, 1, 1) for k in ("mean", "std"))
    return (pixels.astype(np.float32) / 255 - mean) / std


def crops(path, data, folder, size, samples, result):
    import csv
    from PIL import Image
    about = json.loads((pathlib.Path(data) / "dataset.json").read_text())
    n, expected = int(size), {}
    for label, name in enumerate(about["class_names"]):
        for file in sorted(pathlib.Path(folder, name).glob("*.png")):
            x = normalised(np.asarray(Image.open(file)).transpose(2, 0, 1), about)
            end, middle = x.shape[1] - n, (x.shape[1] - n) // 2
            places = [(0, 0), (0, end), (end, 0), (end, end), (middle, middle)]
            ten = np.stack([x[:, r:r + n, c:c + n] for r, c in places])
            ten = np.concatenate([ten, ten[..., ::-1]])
            z = run_torch(path, np.ascontiguousarray(ten)).mean(0, dtype=np.float64)
            p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
            expected[f"test/{name}/{file.name}"] = label, p.argmax(), p.max(), -np.log(p[label])
    with open(samples, newline="") as file:
        rows = list(csv.DictReader(file))
    keys = "label", "predicted", "probability", "loss"
    assert sorted(row["file"] for row in rows) == sorted(expected), rows
    found = np.array([[float(row[key]) for key in keys] for row in rows])
    error = np.abs(found - np.array([expected[row["file"]] for row in rows])).max()
    assert error < TOLERANCE, f"{samples}: differs by {error:.2g}"
    said, classes = json.loads(pathlib.Path(result).read_text()), len(about["class_names"])
    right, p = found[:, 0] == found[:, 1], found[:, 2]
    bins = np.minimum((p * 15).astype(int), 14)
    calibration = sum(abs(right[bins == b].sum() - p[bins == b].sum()) for b in range(15))
    confusion = np.zeros((classes, classes), int)
    np.add.at(confusion, tuple(found[:, :2].astype(int).T), 1)
    assert said["crops"] == 10 and said["images"] == len(found)
    assert abs(said["top1"] - 100 * right.mean()) < 1e-6
    assert abs(said["loss"] - found[:, 3].mean()) < 1e-6
    assert abs(said["calibration_error"] - 100 * calibration / len(found)) < 1e-4
    cells = [[l, p, confusion[l, p]] for l, p in np.argwhere(confusion).tolist()]
    assert said["confusion_cells"] == cells
    for c, row in enumerate(said["classes"]):
        assert row["name"] == about["class_names"][c] and row["correct"] == confusion[c, c]
        predicted = confusion[:, c].sum()
        assert row["images"] == confusion[c].sum() and row["predicted"] == predicted
        for key, below in ("recall", row["images"]), ("precision", predicted), \
                ("f1", (row["images"] + predicted) / 2):
            wanted = 100 * confusion[c, c] / below if below else None
            assert row[key] == wanted or abs(row[key] - wanted) < 1e-6, (row, wanted)
    recalls = [row["recall"] for row in said["classes"] if row["images"]]
    f1 = [row["f1"] for row in said["classes"] if row["f1"] is not None]
    assert abs(said["balanced"] - np.mean(recalls)) < 1e-6
    assert abs(said["macro_f1"] - np.mean(f1)) < 1e-6
    print(f"{csv}: {len(found)} images of 10 crops differ by at most {error:.1e}")


def same(path, other):
    tensors, about, header, length, size = read(path)
    theirs = {re.sub(r"(norm|conv)\.(\d)", r"\1\2", k): v for k, v in read(other)[0].items()}
    assert set(theirs) <= set(tensors), set(theirs) - set(tensors)
    for name, x in theirs.items():
        same_bits = name.endswith("tracked") or x.tobytes() == tensors[name].tobytes()
        assert same_bits and x.shape == tensors[name].shape, name
    at = 0
    for t in header.values():  # in the order of the header: no holes, ...
        assert t["data_offsets"][0] == at
        at = t["data_offsets"][1]
    assert at == size and length % 8 == 0
    order = [(t["dtype"] != "I64", name) for name, t in header.items()]
    assert order == sorted(order), "wide elements first, then by name"
    assert {"model", "classes", "mean", "std", "format"} <= set(about)


def turned(path, script):
    import subprocess
    import torch
    ours = read(path)[0]
    state = {k: torch.from_numpy(v.copy()) for k, v in ours.items()}
    doubles = {"module." + k: v.double() if v.is_floating_point() else v for k, v in state.items()}
    for saved in (state, {"model": doubles, "epoch": 3}, {"state_dict": state}):
        torch.save(saved, "turned.pth")
        subprocess.run([sys.executable, script, "turned.pth", "turned.safetensors"], check=True)
        theirs, _, header, length, _ = read("turned.safetensors")
        assert list(header) == list(read(path)[2]) and length % 8 == 0
        assert all(theirs[k].tobytes() == v.tobytes() for k, v in ours.items())


def spread(grey, colour):
    one, three = (read(path)[0]["features.conv0.weight"] for path in (grey, colour))
    assert np.array_equal(three, np.repeat(one / np.float32(3), 3, 1))


def frozen(path, other, *prefixes):
    ours, theirs = read(path)[0], read(other)[0]
    for name, x in ours.items():
        if not re.search("running_|tracked", name):
            expected = name.startswith(prefixes)
            assert np.array_equal(x, theirs[name]) == expected, name


def onnx(path, kept):
    import onnx as package
    import onnxruntime
    package.checker.check_model(package.load(path), full_check=True)
    data = np.load(kept)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, len(data["images"])):  # the batch is free
        found, probabilities = session.run(None, {"images": data["images"][:count]})
        assert np.abs(probabilities.sum(1) - 1).max() < 1e-5
        assert np.abs(np.log(probabilities[:, :1] / probabilities) -
                      (found[:, :1] - found)).max() < TOLERANCE
        error = np.abs(found - data["logits"][:count]).max()
        assert error < TOLERANCE, f"{path}: found logits that differ by {error:.2g}"
    sides = session.get_inputs()[0].shape[2:]
    if sides == ["H", "W"]:
        larger = data["images"].repeat(3, 3)
        assert session.run(["logits"], {"images": larger})[0].shape == data["logits"].shape
    nodes = [n.op_type for n in package.load(path).graph.node]
    print(f"{path}: {len(nodes)} nodes, {nodes.count('BatchNormalization')} batch norms, "
          f"logits differ by at most {error:.1e}")


def spoilt(path, out):
    import h5py
    import xxhash
    pathlib.Path(out).write_bytes(pathlib.Path(path).read_bytes()[:-32])
    with h5py.File(out, "r+") as file:
        file["optimizer/momentum/classifier.bias"][0] = np.inf
    data = pathlib.Path(out).read_bytes()
    pathlib.Path(out).write_bytes(data + b"dn_dist XXH3-64 " + xxhash.xxh3_64_hexdigest(data).encode())


def fewer(path, out):
    data = pathlib.Path(path).read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:end])
    header["__metadata__"]["classes"] = json.dumps(json.loads(header["__metadata__"]["classes"])[:2])
    text = json.dumps(header).encode()
    pathlib.Path(out).write_bytes(struct.pack("<Q", len(text)) + text + data[end:])


def loads(path):
    import safetensors.numpy
    theirs, ours = safetensors.numpy.load_file(path), read(path)[0]
    assert theirs.keys() == ours.keys()
    assert all(np.array_equal(theirs[k], ours[k]) for k in ours)
    again = safetensors.numpy.save(theirs, read(path)[1])
    header = json.loads(again[8:8 + struct.unpack("<Q", again[:8])[0]])
    assert list(header)[1:] == list(read(path)[2]), "the package's own order"


globals()[sys.argv[1]](*sys.argv[2:])

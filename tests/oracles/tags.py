"""Pictures with any number of marks, and what `dn_dist eval` makes of them (e2e/multi_label.sh).

    tags.py make FOLDER            class folders for create_records --multi-label none
    tags.py eval FOLDER CSV JSON   eval's files of FOLDER/test agree with each other
    tags.py metrics RUN JSON       the run's metrics.jsonl and evaluation.json agree with eval's file
    tags.py onnx FOLDER CSV FILE   onnxruntime finds the probabilities of eval's CSV
    tags.py torch FOLDER CSV FILE  so does PyTorch, of safetensors, by scripts/densenet.py
    tags.py alike FOLDER           test images that all have the same classes
    tags.py many FOLDER            more images x classes than probabilities are kept
"""
import csv
import itertools
import json
import pathlib
import sys

import numpy
from PIL import Image

CLASSES = "blue", "green", "red"
SIDE = 16


def picture(draw, tags):
    """A bright square for each of the tags."""
    pixels = draw.integers(0, 120, (SIDE, SIDE, 3)).astype(numpy.uint8)
    for c, name in enumerate(CLASSES):
        if name in tags:
            pixels[5 * c:5 * c + 5, 5 * c:5 * c + 5, 2 - c] = 255
    return Image.fromarray(pixels)


def make(root):
    draw = numpy.random.default_rng(1)
    for split, most in (("train", 24), ("test", 8)):
        for count in range(len(CLASSES) + 1):
            for tags in itertools.combinations(CLASSES, count):
                folder = root / split / ("|".join(tags) or "none")
                folder.mkdir(parents=True)
                for i in range(most >> count):
                    picture(draw, tags).save(folder / f"{i}.png")
        for name, tags in ("?blue|green", ["blue", "green"]), ("?blue|?green|?red", ["red"]):
            folder = root / split / name
            folder.mkdir()
            for i in range(most >> 2):
                picture(draw, tags).save(folder / f"{i}.png")


def many(root):
    for split in "train", "test":
        for f in range(1100):
            folder = root / split / "|".join(f"{c}{f}" for c in "abcdefgh")
            folder.mkdir(parents=True)
            Image.new("L", (8, 8), f % 251).save(folder / "0.png")


def alike(root):
    """All have blue; one in four training images green as well."""
    draw = numpy.random.default_rng(2)
    for split, tags, count in ("train", ["blue"], 6), ("train", ["blue", "green"], 2), ("test", ["blue"], 4):
        folder = root / split / "|".join(tags)
        folder.mkdir(parents=True)
        for i in range(count):
            picture(draw, tags).save(folder / f"{i}.png")


def near(a, b):
    return abs(a - b) < 1e-6


def evaluated(root, samples, scores):
    samples, scores = list(csv.DictReader(open(samples))), json.load(open(scores))
    p = numpy.array([[float(s[f"p:{c}"]) for c in CLASSES] for s in samples])
    folders = [pathlib.PurePath(s["file"]).parent.name.split("|") for s in samples]
    has = numpy.array([[c in f for c in CLASSES] for f in folders])
    known = numpy.array([["?" + c not in f for c in CLASSES] for f in folders])
    told = p > 0.5
    assert not known[:, 0].all() and not known.any(1).all()
    assert len(samples) == scores["images"] == len(list((root / "test").rglob("*.png")))
    assert has.any(1).sum() < len(has) and (has.sum(1) > 1).any() and told.any()
    for s, labels, knows, predictions in zip(samples, has, known, told):
        marks = [f"{'?' * (not knows[c])}{c}" for c in range(len(CLASSES)) if labels[c] or not knows[c]]
        assert s["label"] == "|".join(marks) and s["probability"] == ""
        assert s["predicted"] == "|".join(map(str, predictions.nonzero()[0]))
    losses = -numpy.log(numpy.where(known, numpy.where(has, p, 1 - p), 1)).mean(1)
    assert numpy.allclose([float(s["loss"]) for s in samples], losses, atol=1e-6)
    assert near(scores["loss"], losses.mean())
    assert near(scores["top1"], 100 * ((told == has) | ~known).all(1).mean())
    assert scores["multi_label"] is True and scores["top5"] is None and scores["balanced"] is None
    assert "confusion_cells" not in scores
    areas, f1 = [], []
    for c, found in enumerate(scores["classes"]):
        both, predicted = (told & has)[:, c].sum(), (told & known)[:, c].sum()
        ours, others = p[has[:, c], c], p[(known & ~has)[:, c], c]
        area = numpy.mean((ours[:, None] > others) + (ours[:, None] == others) / 2)
        assert found["name"] == CLASSES[c] and found["images"] == len(ours)
        assert found["known"] == len(ours) + len(others) and found["predicted"] == predicted and found["correct"] == both
        assert near(found["recall"], 100 * both / len(ours)) and near(found["auroc"], area)
        areas.append(area)
        f1.append(200 * both / (len(ours) + predicted))
        assert near(found["f1"], f1[-1])
    assert near(scores["auroc"], numpy.mean(areas)) and near(scores["macro_f1"], numpy.mean(f1))
    bins = numpy.minimum((p * 15).astype(int), 14)
    gaps = numpy.bincount(bins[known], (p - has)[known], 15)
    assert near(scores["calibration_error"], 100 * numpy.abs(gaps).sum() / known.sum())


def recorded(run, scores):
    """The best epoch in metrics.jsonl has the AUROC of each class that eval finds; the worst samples have labels."""
    lines = [json.loads(line) for line in open(run / "metrics.jsonl")]
    best = next(line for line in lines if line["kind"] == "epoch" and line["epoch"] == lines[-1]["best_epoch"])
    expected = {c["name"]: c["auroc"] for c in json.load(open(scores))["classes"]}
    assert list(best["test_class_auroc"]) == list(CLASSES) and best["test_class_auroc"] == expected
    for sample in json.load(open(run / "evaluation.json"))["worst"]:
        folder = pathlib.PurePath(sample["file"]).parent.name.split("|")
        assert sample["label"] == [i for i, c in enumerate(CLASSES) if c in folder]
        assert sample["unknown"] == [i for i, c in enumerate(CLASSES) if "?" + c in folder]


def compare(root, samples, about, find):
    """find(images) are the probabilities; about has the mean and std of the channels."""
    samples = list(csv.DictReader(open(samples)))
    mean, std = (numpy.array(about[key], numpy.float32) for key in ("mean", "std"))
    pixels = numpy.stack([numpy.asarray(Image.open(root / s["file"])) for s in samples])
    images = ((pixels / numpy.float32(255) - mean) / std).transpose(0, 3, 1, 2)
    expected = [[float(s[f"p:{c}"]) for c in about["classes"]] for s in samples]
    assert len(about["label_sets"]) == 10 and all(s in about["label_sets"] for s in ([], [1, [0]], [[0, 1, 2]]))
    assert numpy.abs(find(numpy.ascontiguousarray(images)) - expected).max() < 1e-5


def onnx(root, samples, path):
    import onnxruntime
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    about = {key: json.loads(about[key]) for key in ("classes", "label_sets", "mean", "std")}
    compare(root, samples, about, lambda x: session.run(["probabilities"], {"images": x})[0])


def torch(root, samples, path):
    from torch import from_numpy, no_grad
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))
    from densenet import load
    net, about = load(path)
    with no_grad():
        compare(root, samples, about, lambda x: net(from_numpy(x)).sigmoid().numpy())


command, folder, *files = sys.argv[1:]
{"make": make, "eval": evaluated, "metrics": recorded, "onnx": onnx, "torch": torch, "alike": alike, "many": many}[command](pathlib.Path(folder), *files)

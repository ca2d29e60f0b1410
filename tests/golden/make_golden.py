"""Makes the golden files beside it: one training step of DenseNets in PyTorch.

    python3 make_golden.py                  (needs torch and numpy; only to remake the files)
    python3 make_golden.py --check          compares the files with what torch computes now
    python3 make_golden.py --search 100     tries seeds 1..100 (see below)

Weights and images are not stored: this script and tests/unit/test_golden.c both draw them from the
counter-based generator of include/dn/rng.h, which is written out again here in numpy. The values
are computed in float64, so that they are the truth; `float32_error` beside each says how far
PyTorch's own float32 result is from it, which is what the test's tolerances rest on.

A tensor is summarised by its L2 norm and 8 dot products with random signs: the root mean square of 8
such differences estimates the L2 norm of the whole difference.

A gradient jumps where a ReLU's input changes its sign, so one rounding error next to zero could
move a float32 gradient by a percent, in any program. Such cases are kept out, so that the
tolerances can be tight: batch norm biases are drawn away from zero, and each case's seed is one for
which no ReLU input of the net lies within MARGIN float32 errors of zero (the root mean square error
of its channel in PyTorch). --search finds such seeds.

Draws, all of the case's seed and stream SYNTHETIC: a = 0..P-1 the P parameters in state_dict order,
a = P the images, a = P + 1 the labels, a = P + 2 the signs (bit p of the first word of draw i is
the sign of element i in dot product p).
"""
import argparse
import json
import math
import pathlib

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

SYNTHETIC = 5  # DN_STREAM_SYNTHETIC
PROJECTIONS = 8
MARGIN = 5

# blocks, growth, bottleneck width / growth, compression, stem channels, ImageNet stem, norm and ReLU
# before the head, side of its pool's windows or 0;
# then size, batch, classes and seed: small, but with more than one pixel in the last map.
CASES = {
    "densenet121": (((6, 12, 24, 16), 32, 4, 0.5, 64, True), 64, 2, 1000, 37),
    "head-plain": (((2, 1), 6, 0, 0.5, 8, True, False), 48, 4, 5, 49),
    "head-pool": (((2, 2), 6, 0, 0.5, 8, False, True, 2), 11, 4, 5, 26),
    "label-sets": (((2, 2), 6, 4, 0.5, 8, False), 12, 4, 5, 197),
}

# How dn_dist calls those that are no known names.
FORMS = {
    "head-plain": "blocks=2,1:growth=6:bottleneck=0:stem=imagenet:stem-channels=8:head-norm=0",
    "head-pool": "blocks=2,2:growth=6:bottleneck=0:stem-channels=8:head-pool=2",
    "label-sets": "blocks=2,2:growth=6:stem-channels=8",
}

# Of the training loss; `share` is what dn_mix_draw gives with mixup at alpha 1, see test_golden.c.
WEIGHTS = [0.5, 2.0, 1.0, 0.25, 1.5]
SETS = [[0, 0, 0, 0, 0], [1, 0, 2, 1, 0], [0, 1, 0, 0, 0], [0, 1, 1, 0, 1], [1, 1, 1, 1, 2]]  # of each label; 2: unknown
LOSSES = {
    "head-plain": {"label_smoothing": 0.1, "class_weights": WEIGHTS},
    "head-pool": {"label_smoothing": 0.2, "class_weights": WEIGHTS, "mixup": 1.0, "share": 0.576923609},
    "label-sets": {"label_smoothing": 0.1, "class_weights": WEIGHTS, "mixup": 1.0, "share": 0.576923609, "label_sets": SETS},
}


class ReLU(nn.Module):
    inputs = []  # of all calls since it was last emptied

    def forward(self, x):
        ReLU.inputs.append(x.detach())
        return F.relu(x)


relu = ReLU()


class DenseLayer(nn.Module):
    def __init__(self, channels, growth, bottleneck):
        super().__init__()
        width = bottleneck * growth
        self.norm1 = nn.BatchNorm2d(channels)
        if bottleneck:
            self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, growth, 3, padding=1, bias=False)
        else:
            self.conv1 = nn.Conv2d(channels, growth, 3, padding=1, bias=False)
        self.bottleneck = bottleneck

    def forward(self, x):
        y = self.conv1(relu(self.norm1(x)))
        if self.bottleneck:
            y = self.conv2(relu(self.norm2(y)))
        return torch.cat([x, y], 1)


class Transition(nn.Module):
    def __init__(self, channels, out):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, out, 1, bias=False)

    def forward(self, x):
        return F.avg_pool2d(self.conv(relu(self.norm(x))), 2)


class DenseNet(nn.Module):
    """torchvision's structure and state_dict names, for any DenseNet, -B, -C or -BC."""

    def __init__(self, classes, size, blocks, growth, bottleneck, compression, channels, imagenet,
                 head_norm=True, head_pool=0):
        super().__init__()
        self.head_norm, self.head_pool = head_norm, head_pool
        parts = self.features = nn.Sequential()
        if imagenet:
            parts.add_module("conv0", nn.Conv2d(3, channels, 7, stride=2, padding=3, bias=False))
            parts.add_module("norm0", nn.BatchNorm2d(channels))
            parts.add_module("relu0", ReLU())
            parts.add_module("pool0", nn.MaxPool2d(3, stride=2, padding=1))
        else:
            parts.add_module("conv0", nn.Conv2d(3, channels, 3, padding=1, bias=False))
        for b, depth in enumerate(blocks, 1):
            block = nn.Sequential()
            for layer in range(1, depth + 1):
                block.add_module(f"denselayer{layer}", DenseLayer(channels, growth, bottleneck))
                channels += growth
            parts.add_module(f"denseblock{b}", block)
            if b < len(blocks):
                out = int(channels * compression)
                parts.add_module(f"transition{b}", Transition(channels, out))
                channels = out
        if head_norm:
            parts.add_module(f"norm{len(blocks) + 1}", nn.BatchNorm2d(channels))
        last = (size if not imagenet else size // 4) >> len(blocks) - 1
        cells = (last // head_pool) ** 2 if head_pool else 1
        self.classifier = nn.Linear(channels * cells, classes)

    def forward(self, x):
        x = self.features(x)
        x = relu(x) if self.head_norm else x
        x = F.avg_pool2d(x, self.head_pool or x.shape[2:])
        return self.classifier(x.flatten(1))


def philox(seed, stream, a, count):
    """First words of the draws (seed, stream, a, 0..count-1): dn_random of src/base/rng.c."""
    low = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    b = np.arange(count, dtype=np.uint64)
    c0, c1 = b & low, b >> shift
    c2 = np.full(count, a & 0xFFFFFFFF, np.uint64)
    c3 = np.full(count, (a >> 32 & 0xFFFF) | stream << 16, np.uint64)
    key0, key1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c2 = p1 >> shift ^ c1 ^ np.uint64(key0), p0 >> shift ^ c3 ^ np.uint64(key1)
        c1, c3 = p1 & low, p0 & low
        key0, key1 = key0 + 0x9E3779B9 & 0xFFFFFFFF, key1 + 0xBB67AE85 & 0xFFFFFFFF
    return c0.astype(np.uint32)


def uniform(shape, bound, seed, a):
    """dn_random_uniform: U[-bound, bound), float32."""
    word = philox(seed, SYNTHETIC, a, math.prod(shape)).astype(np.float64)
    return ((2 * (word * 2.0**-32) - 1) * bound).astype(np.float32).reshape(shape)


def draw_parameter(name, shape, seed, a):
    if len(shape) == 4:
        return uniform(shape, math.sqrt(6 / math.prod(shape[1:])), seed, a)
    if len(shape) == 2:
        return uniform(shape, 1 / math.sqrt(shape[1]), seed, a)
    if name.endswith("weight"):
        return np.float32(1) + uniform(shape, 0.5, seed, a)
    x = uniform(shape, 1.0, seed, a)
    return x if name.startswith("classifier") else np.copysign(np.float32(1), x) + x


def draw_inputs(net, size, batch, classes, seed):
    """Fills the net's parameters; returns images, labels and the sum of all absolute values."""
    parameters = list(net.named_parameters())
    total = 0.0
    for a, (name, parameter) in enumerate(parameters):
        values = draw_parameter(name, tuple(parameter.shape), seed, a).astype(np.float64)
        parameter.data = torch.from_numpy(values)
        total += float(np.abs(values).sum())
    images = uniform((batch, 3, size, size), 2.0, seed, len(parameters)).astype(np.float64)
    total += float(np.abs(images).sum())
    word = philox(seed, SYNTHETIC, len(parameters) + 1, batch).astype(np.uint64)
    labels = (word * np.uint64(classes) >> np.uint64(32)).astype(np.int64)
    return torch.from_numpy(images), torch.from_numpy(labels), total


def make_nets(model, seed):
    """The float64 net, its float32 copy, and draw_inputs' result."""
    spec, size, batch, classes, _ = CASES[model]
    net, single = (DenseNet(classes, size, *spec) for _ in range(2))
    net.double()
    inputs = draw_inputs(net, size, batch, classes, seed)
    single.load_state_dict({k: v.float() for k, v in net.state_dict().items()})
    share = LOSSES.get(model, {}).get("share", 1.0)
    return net, single, (rolled(inputs[0], share), *inputs[1:])


def kink_margin(net, single, images):
    """The least |ReLU input| in units of its channel's root mean square float32 error."""
    traces = []
    for each, x in ((net, images), (single, images.float())):
        ReLU.inputs = []
        with torch.no_grad():
            each.train()(x)
        traces.append(ReLU.inputs)
    ratios = []
    for exact, rounded in zip(*traces):
        error = (rounded.double() - exact).square().mean((0, 2, 3), keepdim=True).sqrt()
        ratios.append(float((exact.abs() / error).min()))
    return min(ratios)


def rolled(x, share):
    """Mixup as torchvision's: with the batch rolled by one."""
    return share * x + (1 - share) * x.roll(1, 0)


def training_loss(logits, labels, label_smoothing=0.0, class_weights=None, mixup=0.0, share=1.0,
                  label_sets=None):
    weight = None if class_weights is None else torch.tensor(class_weights, dtype=logits.dtype)
    if label_sets:
        sets = torch.tensor(label_sets)[labels]
        targets = rolled((sets == 1).to(logits.dtype), share)
        targets = (1 - label_smoothing) * targets + label_smoothing / 2
        known = (sets != 2) & (sets.roll(1, 0) != 2)
        return F.binary_cross_entropy_with_logits(logits, targets, weight=known.to(logits.dtype), pos_weight=weight)
    if mixup:
        labels = rolled(F.one_hot(labels, logits.shape[1]).to(logits.dtype), share)
    return F.cross_entropy(logits, labels, weight=weight, label_smoothing=label_smoothing)


def step(net, images, labels, settings):
    """One training step without the optimizer, then the same images in evaluation."""
    net.train()
    logits = net(images)
    loss = training_loss(logits, labels, **settings)
    loss.backward()
    net.eval()
    with torch.no_grad():
        evaluated = net(images)
        evaluated_loss = F.cross_entropy(evaluated, labels, reduction="sum")
    running = {k: v for k, v in net.state_dict().items() if "running" in k}
    gradients = {k: p.grad for k, p in net.named_parameters()}
    return {"logits": logits.detach(), "loss": loss.detach(), "eval_logits": evaluated,
            "eval_loss": evaluated_loss}, gradients, running


def summarise(name, exact, single, signs):
    x = exact.numpy().ravel()
    error = np.linalg.norm(single.double().numpy().ravel() - x) / max(np.linalg.norm(x), 1e-300)
    bits = signs[: x.size]
    projections = [float(np.where(bits >> p & 1, 1.0, -1.0) @ x) for p in range(PROJECTIONS)]
    return {"name": name, "shape": list(exact.shape), "norm": float(np.linalg.norm(x)),
            "projections": projections, "float32_error": float(error)}


def make_case(model):
    _, size, batch, classes, seed = CASES[model]
    net, single, (images, labels, total) = make_nets(model, seed)
    margin = kink_margin(net, single, images)
    assert margin >= MARGIN, f"{model}: margin {margin}, choose another seed with --search"
    net, single, _ = make_nets(model, seed)  # with fresh running statistics
    parameters = list(net.named_parameters())
    largest = max(p.numel() for _, p in parameters)
    signs = philox(seed, SYNTHETIC, len(parameters) + 2, largest)
    settings = LOSSES.get(model, {})
    outputs, gradients, running = step(net, images, labels, settings)
    outputs32, gradients32, running32 = step(single, images.float(), labels, settings)
    golden = {"model": FORMS.get(model, model), "torch": torch.__version__.split("+")[0], "seed": seed, "size": size,
              "batch": batch, "classes": classes, "kink_margin": margin,
              "parameters": sum(p.numel() for _, p in parameters), "inputs_abs_sum": total,
              "labels": labels.tolist()} | settings
    for key, value in outputs.items():
        difference = (outputs32[key].double() - value).abs().max() / value.abs().max()
        golden[key] = value.tolist()
        golden[key + "_float32_error"] = float(difference)
    golden["gradients"] = [summarise(k, g, gradients32[k], signs) for k, g in gradients.items()]
    golden["running"] = [summarise(k, r, running32[k], signs) for k, r in running.items()]
    return golden


def to_text(value, depth=0):
    """JSON with %.9g numbers and one tensor a line."""
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, dict):
        gap = "\n" if depth == 0 else ""
        pairs = (f"{json.dumps(k)}: {to_text(v, depth + 1)}" for k, v in value.items())
        return "{" + gap + ("," + (gap or " ")).join(pairs) + gap + "}"
    if isinstance(value, list):
        lines = value and isinstance(value[0], dict)
        return "[" + (",\n" if lines else ", ").join(to_text(v, depth + 1) for v in value) + "]"
    return json.dumps(value)


def report(golden):
    worst = {k: max(t["float32_error"] for t in golden[k]) for k in ("gradients", "running")}
    outputs = {k: v for k, v in golden.items() if k.endswith("_float32_error")}
    print(golden["model"], golden["parameters"], "loss", golden["loss"], "worst float32 errors:",
          {k: f"{v:.1e}" for k, v in (worst | outputs).items()})


def search(model, seeds):
    def margin(seed):
        net, single, (images, _, _) = make_nets(model, seed)
        return kink_margin(net, single, images), seed

    best = sorted(map(margin, range(1, seeds + 1)), reverse=True)[:5]
    print(model, ", ".join(f"seed {seed}: margin {margin:.3g}" for margin, seed in best))


def check(golden, path):
    """Fails where a summary of the file differs by more than the file's own digits."""
    old = json.loads(path.read_text())
    for part in ("gradients", "running"):
        for a, b in zip(old[part], golden[part], strict=True):
            assert a["name"] == b["name"] and a["shape"] == b["shape"], a["name"]
            difference = np.subtract(a["projections"], b["projections"])
            assert np.abs(difference).max() <= 1e-7 * b["norm"], a["name"]
    for key in ("logits", "loss", "eval_logits", "eval_loss"):
        assert np.allclose(old[key], golden[key], rtol=1e-7, atol=1e-8), key


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--check", action="store_true", help="compare, do not write")
    arguments.add_argument("--search", type=int, metavar="N", help="try N seeds, write nothing")
    arguments.add_argument("models", nargs="*", help="of the table; all")
    given = arguments.parse_args()
    for model in given.models or CASES:
        path = pathlib.Path(__file__).parent / f"{model}.json"
        if given.search:
            search(model, given.search)
            continue
        golden = make_case(model)
        report(golden)
        if given.check:
            check(golden, path)
        else:
            path.write_text(to_text(golden) + "\n")


if __name__ == "__main__":
    main()

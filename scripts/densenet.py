"""The net of a file that `dn_dist export RUN FILE.safetensors` wrote, in PyTorch; needs torch alone.

    from densenet import load
    net, about = load("mine.safetensors")    # net in evaluation mode; about["classes"], ["mean"], ["std"], ...
    logits = net(images)                     # (N, channels, height, width): (pixel / 255 - mean) / std
    p = logits.sigmoid() if "label_sets" in about else logits.softmax(1)

Its structure follows from the names and shapes of its tensors, which are torchvision's, but for the windows
of the head's pool, which the metadata's `model` tells.
"""
import json
import math
import re
from collections import OrderedDict

import torch
import torch.nn as nn
import torch.nn.functional as F


class DenseLayer(nn.Sequential):
    def forward(self, x):
        return torch.cat([x, super().forward(x)], 1)


def modules(state, prefix, *names):
    """Convolutions, and norms with a ReLU each, in this order, as far as the state has them."""
    made = OrderedDict()
    for name in names:
        weight = state.get(f"{prefix}{name}.weight")
        if weight is not None and weight.dim() == 4:
            out, channels, side, _ = weight.shape
            made[name] = nn.Conv2d(channels, out, side, stride=2 if side == 7 else 1, padding=side // 2, bias=False)
        elif weight is not None:
            made[name], made["relu" + name] = nn.BatchNorm2d(len(weight)), nn.ReLU()
    return made


class DenseNet(nn.Module):
    """head_pool: the side of the windows that the head pools, where it does not pool whole maps."""

    def __init__(self, state, head_pool=0):
        super().__init__()
        self.head_pool = head_pool
        parts = modules(state, "features.", "conv0", "norm0")
        if "norm0" in parts:
            parts["pool0"] = nn.MaxPool2d(3, stride=2, padding=1)
        block = 1
        while f"features.denseblock{block}.denselayer1.norm1.weight" in state:
            layers, prefix = OrderedDict(), f"features.denseblock{block}."
            while layer := modules(state, f"{prefix}denselayer{len(layers) + 1}.", "norm1", "conv1", "norm2", "conv2"):
                layers[f"denselayer{len(layers) + 1}"] = DenseLayer(layer)
            parts[f"denseblock{block}"] = nn.Sequential(layers)
            if transition := modules(state, f"features.transition{block}.", "norm", "conv"):
                parts[f"transition{block}"] = nn.Sequential(transition | {"pool": nn.AvgPool2d(2)})
            block += 1
        self.features = nn.Sequential(parts | modules(state, "features.", f"norm{block}"))
        classes, inputs = state["classifier.weight"].shape
        self.classifier = nn.Linear(inputs, classes)
        self.load_state_dict(state)

    def forward(self, x):
        x = self.features(x)
        return self.classifier(F.avg_pool2d(x, self.head_pool or x.shape[2:]).flatten(1))


def load(path):
    """(net, about) of a safetensors file of dn_dist; about is its metadata."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    about = header.pop("__metadata__", {})
    for key in "classes", "label_sets", "mean", "std":
        if key in about:
            about[key] = json.loads(about[key])
    types = {"F32": torch.float32, "I64": torch.int64}
    state = {name: torch.frombuffer(data, dtype=types[tensor["dtype"]], count=math.prod(tensor["shape"]),
                                    offset=begin + tensor["data_offsets"][0]).reshape(tensor["shape"])
             for name, tensor in header.items()}
    model = about.get("model", "").replace("densenet-course", "head-pool=2")
    pool = re.search(r"head-pool=(\d+)", model)
    return DenseNet(state, int(pool[1]) if pool else 0).eval(), about

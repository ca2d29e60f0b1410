"""Transforms by dn_dist, and by torchvision with the numbers that dn_dist drew.

    transforms.py TRANSFORM_DUMP FOLDER [--table] [STEP...]

Compares with torchvision's functions on tensors and on PIL images; prints the greatest mean absolute
difference of an image in 255ths, over several draws of each list (--table: of every list). The
named steps must be in some list.
"""
import pathlib
import subprocess
import sys

import numpy
import torch
from PIL import Image

try:
    import torchvision
except RuntimeError:  # its compiled operators are for another build of torch; none is needed
    for name in [n for n in sys.modules if n.startswith("torchvision")]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision
from torchvision.transforms import InterpolationMode as Mode
from torchvision.transforms import autoaugment
from torchvision.transforms import functional as v1

try:
    from torchvision.transforms import v2
    F = v2.functional
except ImportError:
    v2, F = None, v1

program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
OPERATIONS = list(autoaugment.TrivialAugmentWide()._augmentation_space(31))
NUMBERS_AN_OPERATION = 2  # that rand-augment draws


def size_of(image):
    return (image.height, image.width) if isinstance(image, Image.Image) else tuple(image.shape[-2:])


def colours_of(image):
    return len(image.getbands()) if isinstance(image, Image.Image) else len(image)


def options(step):
    """The parameters that were given by name."""
    return dict(word.split("=") for word in step.split(":") if "=" in word)


def warping(step, method="nearest", fill="0"):
    given = options(step)
    fill = given.get("fill", fill)
    return {"interpolation": Mode(given.get("interpolation", method)),
            "fill": None if fill == "none" else float(fill)}


def augment(image, step, d):
    """Operation d[0] of trivial-augment at magnitude d[1]."""
    given, operation = warping(step, fill="none"), OPERATIONS[int(d[0])]
    if v2 is None:
        magnitude = 255 * d[1] if operation == "Solarize" else d[1]
        return autoaugment._apply_op(image, operation, magnitude, **given)
    wide = v2.TrivialAugmentWide(**given)
    return wide._apply_image_or_video_transform(image, operation, d[1], given["interpolation"], wide._fill)


def check_magnitude(image, d, magnitude):
    """That rand-augment's operation d[0] has RandAugment's magnitude."""
    space = autoaugment.RandAugment()._augmentation_space(31, size_of(image))
    operation = list(space)[int(d[0])]
    magnitudes, signed = space[operation]
    expected = float(magnitudes[magnitude]) / (255 if operation == "Solarize" else 1) if magnitudes.ndim else 0
    found = abs(d[1]) if signed else d[1]
    if operation != OPERATIONS[int(d[0])] or abs(found - expected) > 1e-5 * abs(expected):
        raise SystemExit(f"{operation}: found magnitude {d[1]}, expected {expected}")


def apply(image, step, d):
    """One step with the numbers d that it drew."""
    name = step.split(":")[0]
    if name == "random-resized-crop":
        top, left, height, width = map(int, d[:4])
        size = [int(step.split(":")[1])] * 2
        return F.resized_crop(image, top, left, height, width, size, Mode.BILINEAR, antialias=True)
    if name == "resize":
        return F.resize(image, [int(step.split(":")[1])], Mode.BILINEAR, antialias=True)
    if name == "center-crop":
        return F.center_crop(image, [int(step.split(":")[1])] * 2)
    if name == "ten-crop":
        crop = int(options(step)["crop"])
        image = F.five_crop(image, [int(step.split(":")[1])] * 2)[crop % 5]
        return F.hflip(image) if crop >= 5 else image
    if name == "pad-crop":
        pad, (height, width) = int(step.split(":")[1]), size_of(image)
        image = F.pad(image, [pad] * 4, fill=float(options(step).get("fill", 0)))
        return F.crop(image, int(d[0]) + pad, int(d[1]) + pad, height, width)
    if name == "hflip":
        return F.hflip(image) if d[0] else image
    if name == "vflip":
        return F.vflip(image) if d[0] else image
    if name == "rotate":
        return F.rotate(image, d[0], **warping(step))
    if name == "affine":
        return F.affine(image, d[0], [int(d[1]), int(d[2])], d[3], [d[4], d[5]], **warping(step))
    if name == "perspective":
        height, width = size_of(image)
        start = [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]]
        end = [[int(d[i]), int(d[i + 1])] for i in range(0, 8, 2)]
        return F.perspective(image, start, end, **warping(step, "bilinear")) if d[8] else image
    if name == "gaussian-blur":
        return F.gaussian_blur(image, [int(step.split(":")[1])] * 2, [d[0], d[0]])
    if name == "color-jitter":
        adjust = [F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue]
        for i in map(int, d[4:8]):
            image = adjust[i](image, d[i]) if d[i] != (0 if i == 3 else 1) else image
        return image
    if name == "grayscale":
        return F.rgb_to_grayscale(image, num_output_channels=3) if d[0] and colours_of(image) == 3 else image
    if name == "trivial-augment":
        return augment(image, step, d)
    if name == "rand-augment":
        for i in range(int(options(step).get("num_ops", 2))):
            drawn = d[NUMBERS_AN_OPERATION * i:]
            check_magnitude(image, drawn, int(options(step).get("magnitude", 9)))
            image = augment(image, step, drawn)
        return image
    raise SystemExit(f"no rule for {step}")


def ours(steps, seed, position, path, shape):
    arguments = [",".join(steps), seed, position, path, *(shape if path.suffix == ".raw" else ())]
    done = subprocess.run([program, *map(str, arguments)], capture_output=True)
    if done.returncode != 0:
        raise SystemExit(f"{arguments}: {done.stderr.decode()}")
    head, _, rest = done.stdout.partition(b"= ")
    size, _, floats = rest.partition(b"\n")
    height, width = map(int, size.split())
    drawn = [[float(x) for x in line.split()[1:]] for line in head.decode().splitlines()]
    return drawn, numpy.frombuffer(floats, numpy.float32).reshape(-1, height, width) * 255


def theirs(image, steps, drawn):
    erased = []
    for step, d in zip(steps, drawn):
        if step.startswith("random-erasing"):
            erased += [(*map(int, d[:4]), float(options(step).get("value", 0)))] if d[4] else []
        else:
            image = apply(image, step, d)
    if isinstance(image, Image.Image):
        image = v1.pil_to_tensor(image)
    image = image.to(torch.float32) / 255
    for top, left, height, width, value in erased:
        image = F.erase(image, top, left, height, width, torch.tensor(value))
    return image.numpy() * 255


def picture(height, width, channels):
    """Smooth shapes with edges and some noise, as photographs have them."""
    y, x = numpy.mgrid[:height, :width]
    planes = [127 + 80 * numpy.sin(x / (7 + 3 * c)) * numpy.cos(y / (9 + c)) + 40 * ((x + y * (c + 1)) // 50 % 2)
              for c in range(channels)]
    noise = numpy.random.default_rng(height).normal(0, 6, (channels, height, width))
    return numpy.clip(numpy.stack(planes) + noise, 0, 255).astype(numpy.uint8)


lists = [
    "random-resized-crop:48", "random-resized-crop:48:scale=0.2-0.5:ratio=1-2,hflip", "random-resized-crop:96:0.1:0.3",
    "resize:40,center-crop:32", "ten-crop:40:crop=1", "ten-crop:48:crop=7",
    "resize:90", "vflip:p=1", "hflip:p=1,vflip:p=1", "pad-crop:4:fill=0,hflip",
    "hflip:p=1,pad-crop:5:fill=9,vflip:p=1,pad-crop:3:fill=200,color-jitter:0.3",
    "rotate:45", "rotate:30:interpolation=bilinear", "rotate:90-90:fill=77", "rotate:60:interpolation=bilinear:fill=90",
    "affine:20:translate=0.2:scale=0.7-1.4:shear=10", "affine:20:translate=0.1-0.3:shear=-10-10--20-20:fill=128",
    "affine:0:scale=0.5-2:interpolation=bilinear:fill=60", "perspective:p=1", "perspective:0.9:p=1:fill=100",
    "perspective:p=1:interpolation=nearest", "gaussian-blur:5", "gaussian-blur:23:sigma=0.1-2", "gaussian-blur:9:3",
    "color-jitter:0.4", "color-jitter:contrast=0.6", "color-jitter:saturation=0.8", "color-jitter:hue=0.5",
    "color-jitter:0.4:0.4:0.4:0.1", "color-jitter:brightness=0.2-3", "grayscale:p=1", "grayscale",
    "random-erasing:p=1", "hflip,random-erasing:p=1:scale=0.1-0.2:ratio=0.5-2:value=0.7",
    "random-resized-crop:40,color-jitter:0.4:0.4:0.4:0.1,hflip,grayscale:p=0.5,gaussian-blur:3,random-erasing",
    "color-jitter:0.3,resize:50,rotate:20,center-crop:40,vflip",
    "resize:28,center-crop:28,resize:56", "resize:32,resize:128,center-crop:96", "resize:80,random-resized-crop:48",
    "hflip:p=1,random-resized-crop:64,resize:96", "resize:70,center-crop:66,vflip,resize:40,center-crop:33,resize:50",
]
lists += [f"trivial-augment:interpolation={method}" for method in ("nearest", "bilinear")] + \
    ["trivial-augment:fill=99", "rand-augment", "rand-augment:num_ops=6:magnitude=30:interpolation=bilinear:fill=7",
     "rand-augment:num_ops=1:magnitude=17"]
untested = set(sys.argv[3:]) - {"--table"} - {step.split(":")[0] for text in lists for step in text.split(",")}
if untested:
    raise SystemExit(f"found no list with {', '.join(sorted(untested))}")


def has_pil_twin(text):
    """Whether torchvision itself gives tensors and PIL images about the same pixels: PIL cuts edges
    otherwise, and rounds colours after each of several adjustments."""
    return not any(word in text for word in ("bilinear", "affine", "perspective", "augment", ":0.4:0.4"))


def compare(path, image, text):
    """The greatest mean differences: of tensors, and of PIL images."""
    worst, steps = [0.0, 0.0], text.split(",")
    pil = Image.fromarray(image.transpose(1, 2, 0) if len(image) == 3 else image[0])
    starts = [torch.from_numpy(image)] + [pil] * has_pil_twin(text)
    for position in range(40 if "augment" in text else 4):
        drawn, found = ours(steps, 5, position, path, image.shape)
        for i, start in enumerate(starts):
            expected = theirs(start, steps, drawn)
            if found.shape != expected.shape:
                raise SystemExit(f"{text}: found {found.shape}, expected {expected.shape}")
            worst[i] = max(worst[i], float(numpy.abs(found - expected).mean()))
    return worst


failures = 0
for channels in (3, 1):
    for height, width in ((64, 64), (75, 100)):
        image, path = picture(height, width, channels), folder / f"{channels}-{height}.raw"
        image.tofile(path)
        for text in lists:
            # Without a size, or where every pixel is as near to two others.
            if height != width and ("resize:90" in text or "90-90" in text):
                continue
            worst = compare(path, image, text)
            line = f"{channels} x {height} x {width}: {worst[0]:.4f} (tensors), {worst[1]:.4f} (PIL)  {text}"
            if "--table" in sys.argv:
                print(line)
            if max(worst) >= 1:
                print("FAILED:", line)
                failures += 1
print(f"{len(lists)} lists, {failures} failures")
sys.exit(failures > 0)

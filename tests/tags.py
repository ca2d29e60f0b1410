"""A folder of class folders, for create_records --multi-label, of small pictures with any number of
marks: each class is a bright square of its own colour and place.

    tags.py FOLDER
"""
import itertools
import pathlib
import sys

import numpy
from PIL import Image

CLASSES = "red", "green", "blue"
SIDE = 16


def picture(draw, tags):
    pixels = draw.integers(0, 120, (SIDE, SIDE, 3)).astype(numpy.uint8)
    for c, name in enumerate(CLASSES):
        if name in tags:
            pixels[5 * c:5 * c + 5, 5 * c:5 * c + 5, c] = 255
    return Image.fromarray(pixels)


def main(root):
    draw = numpy.random.default_rng(1)
    for split, each in (("train", 24), ("test", 6)):
        for count in range(len(CLASSES) + 1):
            for tags in itertools.combinations(CLASSES, count):
                folder = root / split / ("|".join(tags) or "none")
                folder.mkdir(parents=True)
                for i in range(each >> count):  # none is the most frequent set
                    picture(draw, tags).save(folder / f"{i}.png")


main(pathlib.Path(sys.argv[1]))

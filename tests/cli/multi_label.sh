#!/usr/bin/env bash
# create_records FOLDER --multi-label: folders whose names are sets of classes, and what info,
# inspect, verify and h5py read of them.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
find_python PIL numpy h5py || skip "found no python3 with PIL, numpy and h5py (Debian: python3-h5py)"
cd "$tmp"
program=create_records
none="No Finding"

# pictures FOLDER SET COUNT...: makes grey pictures, each of another seed.
pictures() {
    "$python" - "$@" <<'END'
import pathlib, sys, zlib
import numpy
from PIL import Image
root, sets = sys.argv[1], sys.argv[2:]
for name, count in zip(sets[::2], sets[1::2]):
    folder = pathlib.Path(root, name)
    folder.mkdir(parents=True)
    for i in range(int(count)):
        draw = numpy.random.default_rng([i, zlib.crc32(str(folder).encode())])
        Image.fromarray(draw.integers(0, 256, (8, 9)).astype(numpy.uint8)).save(folder / f"{i}.png")
END
}
# about FOLDER EXPRESSION: prints it, of dataset.json as `d`.
about() { "$python" -c "import json; d = json.load(open('$1/dataset.json')); print($2)"; }
# sets RECORDS: the sets of its labels, with the classes' names.
sets() { about "$1" '" ".join("+".join(str(c) if type(c) is list else d["class_names"][c] for c in s) or "-" for s in d["label_sets"])'; }
# images_of RECORDS SPLIT: how many images have each class, and none, by h5py alone.
images_of() {
    "$python" - "$tests/oracles" "$@" <<'END'
import sys
sys.path.insert(0, sys.argv[1])
from read_shard import image_sets, read_about
rows = [row for row in image_sets(*sys.argv[2:])]
print(*(sum(row[c] == 1 for row in rows) for c in range(len(read_about(sys.argv[2])["class_names"]))),
      sum(not row.any() for row in rows))
END
}

pictures x/train "Effusion" 4 "Cardiomegaly|Effusion" 3 "Mass" 5 "$none" 9
pictures x/val "Mass" 2 "Mass|Cardiomegaly|Effusion" 1
pictures x/test "Effusion|Mass" 2 "$none" 3 "Effusion|Cardiomegaly" 1

accepted "train 21 in 2 shards, test 6 in 1, val 3 in 1" x --multi-label "$none" --out r --shards 2
[[ $(about r 'd["format_version"], d["class_names"]') == "5 ['Cardiomegaly', 'Effusion', 'Mass']" ]] || fail "r: classes"
[[ $(sets r) == "Cardiomegaly+Effusion Effusion Mass - Effusion+Mass Cardiomegaly+Effusion+Mass" ]] ||
    fail "r: found sets $(sets r)"
[[ $(images_of r train) == "3 7 5 9" && $(images_of r test) == "1 3 2 3" && $(images_of r val) == "1 1 3 0" ]] ||
    fail "r: found $(images_of r train), $(images_of r test) and $(images_of r val) images of the classes"
accepted "everything verified" verify r
accepted "r: x, 3 classes, 6 sets of them" info r
for line in "images without a class *9 *3 *0" "classes per image *0.714 *1.000 *1.667" "  Effusion *7 *3 *1"; do
    printed "^$line$" "info"
done
accepted '"without_class": 9' info r --json

# inspect
works inspect r --split test --sample 1
[[ $(grep ^class out) == $'class    1 Effusion\nclass    2 Mass' ]] || fail "the classes of an image" out
works inspect r --sample 20
[[ $(grep ^class out) == "class    none" ]] || fail "an image without a class" out
accepted "7 of the 21 train images" inspect r --class Effusion --png sheet.png

# The same command is done; with one class an image, which x/test does not have, other records
accepted "already complete" x --multi-label "$none" --out r --shards 2
refused "Effusion|Cardiomegaly: found a class that is not among" x --out r
accepted "already complete" x --multi-label "$none" --out r --shards 2
accepted "written" x/train --out plain
accepted "take --multi-label NONE" x/train --out plain2
accepted "written" x/train --out plain --multi-label "$none"
accepted "3 classes, 4 sets" info plain
accepted "already complete" x/train --out plain --multi-label "$none"
accepted "written" x/train --out plain
accepted "4 classes, encoded" info plain
printed "^  Cardiomegaly|Effusion " "records of one class an image"

# Stopped by a bad image, a conversion resumes with the option, and starts over without it, though the classes are the same
for split in train test; do
    pictures parts/$split A 3 B 3
done
last="parts/test/B/2.png"
cp -p $last good.png
dd if=/dev/zero of=$last bs=1 seek=40 count=20 conv=notrunc status=none
touch -r good.png $last
refused "B/2.png: not a sound PNG: " parts --out resumed --shards 3 --jobs 1 --multi-label "$none"
printed "shards are whole, and stay" "a stopped conversion"
refused "B/2.png: not a sound PNG: " parts --out resumed --shards 3 --jobs 1
! grep -q "continuing with the others" out || fail "records of one class an image from shards of sets" out
refused "B/2.png: not a sound PNG: " parts --out resumed --shards 3 --jobs 1 --multi-label "$none"
cp -p good.png $last
accepted "continuing with the others" parts --out resumed --shards 3 --multi-label "$none"
works parts --out whole --shards 3 --multi-label "$none"
diff -r resumed whole >out || fail "resumed records" out

# Draws, --limit, --like
pictures parts/train "A|B" 3
accepted "train 8 in 1 shards, test 1 in 1" parts/train --out drawn --multi-label "$none"
accepted "train 7 in 1 shards, test 1" x/train --multi-label "$none" --limit 2 --out limited
pictures tags A 1 "A|B" 1 "A|C" 1 "A|B|C" 1 "B|C" 1 "A|D" 1 "B|D" 1 "$none" 1 "A|B|D" 1 "E" 1
accepted "train 7 in 1 shards, test 3" tags --out tags-drawn --multi-label "$none" --val-fraction 0.3
! grep "one image a class" out || fail "sets with one image"
printed "warning: tags: [1-5] of 5 classes have no image in the test split" "sets with one image"
pictures march "Mass|Effusion" 2 "$none" 1
accepted "warning: march: 1 of 3 classes have no image in the test split" FOLDER --source march --like r --multi-label "$none"
[[ $(about data/march 'd["class_names"]') == "['Cardiomegaly', 'Effusion', 'Mass']" &&
    $(sets data/march) == "Effusion+Mass -" ]] || fail "--like: found $(sets data/march)"
mkdir parent && mv march parent/train
accepted "parent: 3 images" FOLDER --source parent --like r --multi-label "$none"
[[ $(sets data/parent) == "Effusion+Mass -" ]] || fail "--like, in a folder train: found $(sets data/parent)"
mv parent/train march
refused "found images with sets of classes, expected --multi-label NONE" march --like r --out no

# Classes that are unknown; the same images with other ones replace the records
pictures u/train "Mass" 4 "Edema|?Mass" 3 "?Edema|?Mass" 2 "$none" 5
pictures u/test "?Mass|Edema" 2 "Mass" 1
accepted "train 14 in 1 shards, test 3 in 1" u --multi-label "$none" --out u.records
[[ $(about u.records 'd["format_version"], d["label_sets"]') == "6 [[[0, 1]], [0, [1]], [1], []]" ]] ||
    fail "unknown classes: $(about u.records 'd["format_version"], d["label_sets"]')"
[[ $(images_of u.records train) == "3 4 5" && $(images_of u.records test) == "2 1 0" ]] || fail "unknown classes: images"
accepted "everything verified" verify u.records
works info u.records
printed "^images without a class *5 *0$" "images with unknown classes only, which are left out"
printed "^unknown classes per image *0.500 *0.667$" "info"
works inspect u.records --sample 3
[[ $(grep -E "^(class|unknown)" out) == $'class    0 Edema\nunknown  1 Mass' ]] || fail "inspect of unknown classes" out
accepted "3 of the 14 train images" inspect u.records --class Edema --png sheet.png
accepted "already complete" u --multi-label "$none" --out u.records
mv "u/train/?Edema|?Mass" "u/train/?Edema|Mass"
accepted "written" u --multi-label "$none" --out u.records
[[ $(sets u.records) == "Mass+[0] Edema+[1] Mass -" ]] || fail "other unknown classes: $(sets u.records)"
pictures u.march "?Edema|Mass" 2 "?Mass" 1
accepted "written" u.march --like u.records --multi-label "$none" --out u.like
[[ $(sets u.like) == "Mass+[0] [1]" ]] || fail "--like with unknown classes: $(sets u.like)"

# What is refused
refuse_folders() {
    rm -rf y
    pictures y "${@:2}"
    refused "$1" y --multi-label "$none" --out no
}
refuse_folders "y/A||B: found an empty name" A 2 B 2 "A||B" 2
refuse_folders "y/|A: found an empty name" A 2 B 2 "|A" 2
refuse_folders "y/?: found an empty name" A 2 B 2 "?" 2
refuse_folders "y/?$none: found \"$none\" beside other names" A 2 B 2 "?$none" 2
refuse_folders "y/A|?A: found the class \"A\" twice" B 2 "A|?A" 2
refuse_folders "y/B|?A: found a second folder of these classes" A 2 "B|?A" 2 "?A|B" 2
refuse_folders "y/A|$none: found \"$none\" beside other names" A 2 B 2 "A|$none" 2
refuse_folders "y/B|A: found a second folder of these classes" A 2 "A|B" 2 "B|A" 2
refuse_folders "found 1 classes in the names of 2 folders" A 2 "$none" 2
refuse_folders "y/C: found no image" A 2 B 2 C 0
pictures never A 9 "?B" 9
refused "class B: found no sound image" never --multi-label "$none" --out never.records
rm -rf y
pictures y/train A 2 B 2
pictures y/test A 2 "B|D" 2
accepted "warning: y: 1 of 3 classes have no image in the train split, and so are not learnt; the first is D" \
    y --multi-label "$none" --out other
pictures z A 2 "Mass|Nodule" 1
refused 'found the class "A", which is not among the 3 of r' z --like r --multi-label "$none" --out no
refused "found images with one class each, expected no --multi-label" z --like plain --multi-label "$none" --out no
refused "--classes: found it with --multi-label" x --classes Mass --multi-label "$none" --out no
refused "--tfrecords: found keep with --multi-label" x --tfrecords keep --multi-label "$none" --out no
refused "--multi-label: found 'A|B', expected the name of one folder" x --multi-label "A|B" --out no
refused "--multi-label: found an option" CIFAR10 --multi-label "$none"
refused "r: found images with sets of classes, expected one class each, as a TFRecord has" to-tfrecord r --out no
accepted 'found no folder "nothing"' x --multi-label nothing --out r2
[[ ! -e no ]] || fail "a refused command left a folder"

# A shard with other sets than dataset.json's
"$python" - r/x-train-00000-of-00002.h5 <<'END'
import sys, h5py
with h5py.File(sys.argv[1], "r+") as shard:
    assert shard["label_sets"].shape == (6, 3)
    shard["label_sets"][3] = 1
END
refused "found other label_sets than dataset.json says" info r
finish

#!/usr/bin/env bash
# create_records FOLDER: which folders are splits and classes in trees as people have them, files of
# other kinds, images in two splits or classes, PNGs of 16 bits, and --like.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
find_python PIL numpy h5py || skip "found no python3 with PIL, numpy and h5py (Debian: python3-h5py)"
cd "$tmp"
program=create_records
"$python" "$tests/oracles/folder.py" make "$tmp" || fail "the folders could not be made"
rm mixed/b/{.hidden.jpg,again,link.jpg,looks.jpg,notes.txt,pipe.jpg}

# pictures FOLDER CLASS...: ten of each.
pictures() {
    local folder=$1 class
    shift
    for class in "$@"; do
        mkdir -p "$folder/$class"
        cp "mixed/$class"/1?.* "$folder/$class"
    done
}
silent() { grep -q "warning: .*$2" out && fail "$1: a warning" out; true; }

# Splits, as they are called
for names in "Training Testing" "train DEV" "train valid" "training_set test_set" "TrainSet Validation-Set"; do
    read -r train judge <<<"$names"
    pictures "$train-$judge/$train" b B
    pictures "$train-$judge/$judge" b
    rm "$train-$judge/$train"/b/1?.jpg
    cp mixed/b/[0-6].jpg "$train-$judge/$train/b"
    accepted "2 classes, encoded images, train 17 in 1 shards, test 10 in 1; " FOLDER \
        --source "$train-$judge" --out "$train-$judge.records"
done
pictures Training-Testing/Valid B
rm Training-Testing/Valid/B/1[0-7].png
accepted "train 17 in 1 shards, test 10 in 1, val 2 in 1; " FOLDER --source Training-Testing --out three.records

# Those that are called as splits, and do not make any
pictures halves/test_set b B
pictures halves/Val b B
for arguments in "" "--limit 3"; do
    # shellcheck disable=SC2086
    refused "halves: found the folders Val and test_set, expected one of train or training to learn from, and one of" \
        FOLDER --source halves $arguments
done
accepted "2 classes" FOLDER --source halves --classes Val,test_set --out halves.records
pictures both b B
mkdir both/train both/Train both/test
for class in b B; do
    cp -r both/$class both/test/$class
    cp -r both/$class both/train/$class
    mv both/$class both/Train/$class
done
refused "both: found the folders train and Train, expected one for each split" FOLDER --source both
pictures vehicles b B
mv vehicles/b vehicles/Train
accepted "2 classes" FOLDER --source vehicles --out vehicles.records
silent "one class that is called as a split" ""

# Folders of images for classes
said_of_depth="the class folders hold no image themselves, but folders of images, as"
pictures deep/set1 b B
pictures deep/set2 b B
accepted "warning: deep: $said_of_depth set1/b; if these are the classes, call the folders above them train and test" \
    FOLDER --source deep --out deep.records
pictures inner/b B
pictures inner/B b
accepted "2 classes" FOLDER --source inner --out inner.records
silent "a class with one folder of images" themselves
cp mixed/b/1.jpg deep/set2
accepted "2 classes" FOLDER --source deep --out deep2.records
silent "a class with images and folders" themselves

# Fewer than two classes: a folder too high, or no class folders
pictures high/high b B
one="found one class folder"
refused "high: $one, high, expected 2 to 65535; it has folders (B, b): if they are the classes, or splits, take --source high/high" \
    FOLDER --source high
mkdir high/high/{c,d}
refused "it has folders (B, b, c, ...): if" FOLDER --source high
for split in train test; do pictures twofold/$split/$split b B; done
refused "twofold/train: $one, train, expected 2 to 65535; it has folders (B, b): if they are the classes, or splits, move them to twofold/train" \
    FOLDER --source twofold
pictures table b
refused "table: $one, b, which has no folders, expected 2 to 65535, or train and test that have them; how to sort" \
    FOLDER --source table
refused "--classes: found one class, expected 2 or more" FOLDER --source mixed --classes b
[[ -z $(ls -d data 2>/dev/null) ]] || fail "records of what was refused"

# Files of other kinds
pictures kinds b B
mkdir kinds/tiff
for i in 0 1 2; do printf 'II*\0' >"kinds/tiff/$i.tif"; done
touch kinds/tiff/.hidden
refused "kinds/tiff: found no image but 4 files, such as kinds/tiff/0.tif, expected at least one JPEG or PNG a class (1 of 3 folders have none); remove such folders or name the classes" \
    FOLDER --source kinds
cp mixed/b/[89].jpg kinds/tiff
accepted "kinds: 22 images, 4 other files skipped, such as kinds/tiff/0.tif, 0 bad images left out" FOLDER \
    --source kinds --out kinds.records
[[ $(grep "neither JPEG nor PNG" out) == "warning: kinds/tiff/0.tif: an image that is neither JPEG nor PNG; it and others like it are skipped; convert them to PNG first" ]] ||
    fail "images of other formats" out

# Images in two splits
pictures doubles/train b B
pictures doubles/test b B
for image in doubles/test/*/*; do printf x >>"$image"; done # after its end
accepted "written" FOLDER --source doubles --out doubles0.records
silent "no image in two splits" ""
cp mixed/b/1[5-7].jpg doubles/test/B
mkdir -p doubles/val/b
cp mixed/b/18.jpg doubles/val/b
accepted "warning: doubles: 4 validation or test images are identical to a training image, 3 of them with another class; the first is test/B/15.jpg, identical to train/b/15.jpg" \
    FOLDER --source doubles --out doubles.records --shards 3 --jobs 2
silent "no image in two classes of a split" "of one of another class"
cp mixed/b/1[23].jpg doubles/train/B
accepted "warning: doubles: 2 images are identical to one of another class; the first is train/b/12.jpg, identical to train/B/12.jpg" \
    FOLDER --source doubles --out twice.records --shards 3 --jobs 2

# PNGs of 16 bits that use fewer, some with a white spot
mkdir -p bits/{train,test}/{x,y}
"$python" - <<'PY' || fail "PNGs of 16 bits could not be made"
import random
from PIL import Image
for i, (split, most) in enumerate([("train", 4095), ("train", 16383), ("test", 65535)]):
    for c in "xy":
        values = random.Random(f"{i}{c}").choices(range(most + 1), k=259) + [65535 if c == "x" else most]
        pixels = b"".join(v.to_bytes(2, "little") for v in values)
        Image.frombytes("I;16", (20, 13), pixels).save(f"bits/{split}/{c}/{i}.png")
PY
accepted "warning: bits: 4 PNGs of 16 bits are dark, and only their high 8 bits are kept; --grey-window 0-4095 keeps the 12 bits of grey ones; the first is train/x/0.png" \
    FOLDER --source bits --out bits.records
refused "--grey-window: found '4095-0', expected LOW-HIGH with 0 <= LOW < HIGH <= 65535, such as 0-4095" \
    FOLDER --source bits --grey-window 4095-0
accepted "; written" FOLDER --source bits --out bits.records --grey-window 16-4095
silent "nothing dark" "of 16 bits"
accepted "; already complete" FOLDER --source bits --out bits.records --grey-window 16-4095
accepted "20x13, PNG" inspect bits.records --sample 1 --png window.png
"$python" - <<'PY' || fail "--grey-window: other pixels"
import json
from PIL import Image
assert json.load(open("bits.records/dataset.json"))["conversion"] == "grey 16-4095"
deep, found = Image.open("bits/train/x/1.png"), Image.open("window.png").convert("RGB")
for at in ((x, y) for x in range(20) for y in range(13)):
    level = (min(max(deep.getpixel(at), 16), 4095) - 16) * 255 / 4079
    assert found.getpixel(at) == (int(level + 0.5),) * 3, (at, deep.getpixel(at), found.getpixel(at))
PY
accepted "; written" FOLDER --source bits --out bits.records --grey-window 0-4095

# Pictures to score by the classes of other records
mkdir later later/tiff
cp mixed/b/[0-5].jpg later/tiff
accepted "3 classes, encoded images, test 6 in 1 shards; mean " FOLDER --source later --like kinds.records --out later.records
silent "one class" "of one of another class"
printed "^warning: later: 2 of 3 classes have no image in the test split, and so no score there; the first is B$" "classes that have no score"
accepted "already complete" FOLDER --source later --like kinds.records --out later.records
mkdir -p later-sorted && ln -s ../later later-sorted/train # as table_to_folders.py makes
accepted "later-sorted: 6 images" FOLDER --source later-sorted --like kinds.records --out later-sorted.records
"$python" - <<'PY' || fail "--like: the classes, mean or std"
import json
old, new = (json.load(open(f"{name}.records/dataset.json")) for name in ("kinds", "later"))
for key in ("class_names", "mean", "std"):
    assert new[key] == old[key], key
assert list(new["splits"]) == ["test"]
PY
accepted "everything verified" verify later.records
mkdir later/b && cp later/tiff/3.jpg later/b
accepted "warning: later: 1 images are identical to one of another class; the first is tiff/3.jpg, identical to b/3.jpg" \
    FOLDER --source later --like kinds.records --out later-two.records
rm -r later/b
accepted "tiff                                            6" info later.records
limited "$build/$program" info later.records --json >later.json || fail "info --json"
"$python" -c 'import json; assert list(json.load(open("later.json"))["splits"]) == ["test"]' || fail "the splits" later.json
accepted "class    2 tiff" inspect later.records --split test --sample 5
refused "later.records: found no train split, expected one" inspect later.records --sample 5
accepted "TFRecords written" to-tfrecord later.records
[[ -e later.records/later-test.tfrecord-00000-of-00001 ]] || fail "TFRecords of --like"
accepted "everything verified" verify later.records
accepted "test 6 in 3 shards" FOLDER --source later --like kinds.records --out later.records --shards 3
accepted "warning: --like kinds.records: its images were made otherwise (as they came) than these (short side 16, quality 90)" \
    FOLDER --source later --like kinds.records --out short.records --short-side 16
cp -r kinds renamed
mv renamed/tiff renamed/photo
mkdir moved
mv renamed moved/kinds
accepted "; written" FOLDER --source moved/kinds --out kinds.records # classes by other names alone
accepted "; already complete" FOLDER --source moved/kinds --out kinds.records
accepted "; written" FOLDER --source kinds --out kinds.records
accepted "; written" FOLDER --source kinds --out kinds2.records --val-fraction 0.5
accepted "; written" FOLDER --source later --like kinds2.records --out later.records # another mean
accepted "; written" FOLDER --source later --like kinds.records --out later.records
pictures later b
mv later/b later/hawk
refused "later/hawk: found a class that is not among the 3 of kinds.records" FOLDER --source later --like kinds.records
rm -r later/hawk later/tiff/*
refused "later: found 0 images for the test split, expected 1 to" FOLDER --source later --like kinds.records
refused "--classes: found it with --like" FOLDER --source later --like kinds.records --classes b,B
refused "--val-fraction: found it with --like" FOLDER --source later --like kinds.records --val-fraction 0.5
refused "nowhere/dataset.json: cannot read" FOLDER --source later --like nowhere
refused "--like: found an option of other commands" MNIST --like kinds.records

# In other than the alphabet's order
cp mixed/b/[0-5].jpg later/tiff
pictures later b
printf '%s\n' tiff B b >names
accepted "TFRecords written" to-tfrecord kinds.records --out tfrecords
accepted "3 classes" from-tfrecord tfrecords --class-names names --out turned.records
accepted "test 16 in 1 shards" FOLDER --source later --like turned.records --out turned-later.records
accepted "class    0 tiff" inspect turned-later.records --split test --sample 5
accepted "class    2 b" inspect turned-later.records --split test --sample 6

# What scores them
net=(--model densenet-bc-100-12 --batch-size 8 --epochs 1)
sizes=(--augment resize:16,center-crop:16 --eval-transform resize:16,center-crop:16)
program=dn_dist
works train --data kinds.records --out run "${net[@]}" "${sizes[@]}"
accepted "6 images: " eval run --data later.records
refused "later.records: found no train split, expected one" train --data later.records --out none "${net[@]}" "${sizes[@]}"
refused "--data: found no train split in later.records, expected one" plan --data later.records --batch-size 2
finish

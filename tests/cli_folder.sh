#!/usr/bin/env bash
# create_records FOLDER: classes and splits, what is passed over and what is refused, and what h5py
# and PIL read from the shards.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
find_python PIL numpy h5py || skip "found no python3 with PIL, numpy and h5py (Debian: python3-h5py)"
here=$(cd "$(dirname "$0")" && pwd)
cd "$tmp"
records=$build/create_records

# refused TEXT ARGUMENT...: the command fails with one last line that holds TEXT.
refused() {
    local text=$1 status=0
    shift
    limited "$records" FOLDER "$@" >out 2>&1 || status=$?
    ((status == 1)) || fail "FOLDER $*: found status $status, expected 1" out
    [[ $(tail -n 1 out) == "create_records: "*"$text"* ]] ||
        fail "FOLDER $*: expected a last line with \"$text\"" out
}

# accepted TEXT ARGUMENT...
accepted() {
    local text=$1
    shift
    limited "$records" FOLDER "$@" >out 2>&1 || fail "FOLDER $*: found status $?, expected 0" out
    grep -qF -- "$text" out || fail "FOLDER $*: expected \"$text\"" out
}

check() { limited "$python" "$here/folder.py" check "$@" >out 2>&1 || fail "check $*" out; }

# images OUT SPLIT: how many.
images() { "$python" -c 'import json, sys
print(json.load(open(sys.argv[1] + "/dataset.json"))["splits"][sys.argv[2]]["count"])' "$@"; }

"$python" "$here/folder.py" make "$tmp" || fail "the folders could not be made"

# Options
refused "found no --source"
refused "nowhere: cannot read: No such file" --source nowhere
refused '--val-fraction: found "1"' --source mixed --val-fraction 1
refused '--limit: found "0"' --source mixed --limit 0
refused '--on-bad-image: found "go"' --source mixed --on-bad-image go
refused 'found no class folder "bee" in mixed' --source mixed --classes b,bee
"$records" CIFAR10 --limit 3 >out 2>&1 && fail "CIFAR10 --limit: accepted"
grep -q -- "--limit: found it with CIFAR10, which does not take it" out ||
    fail "CIFAR10 --limit" out

# Odd files and names; a drawn test split; the same bytes on any number of threads
accepted "mixed: 66 images, 7 other files passed over, 0 bad images left out" --source mixed --jobs 2
[[ -f data/mixed/mixed-train-00000-of-00001.h5 ]] || fail "the default folder and names" out
grep -q "mixed/b/looks.jpg: by its content no JPEG and no PNG; passed over" out ||
    fail "a name that promises an image" out
check data/mixed mixed
accepted "already complete" --source mixed
accepted "5 classes, encoded images, train 59 in 4 shards, test 7 in 1" \
    --source mixed --out one --shards 4 --jobs 1
accepted "written" --source mixed --out two --shards 4 --jobs 2
diff -r one two || fail "other bytes on other threads"
check one mixed
verify() { limited "$records" verify "$1" >out 2>&1; }
verify one || fail "verify one" out
grep -q "one: mixed, 5 classes, encoded images, .*; everything verified" out || fail "verify's line" out
printf 'x' | dd of=two/mixed-train-00002-of-00004.h5 bs=1 seek=9000 conv=notrunc status=none
verify two && fail "verify: a changed byte is accepted"
grep -q "create_records: two/mixed-train-00002-of-00004.h5: image [0-9]* at byte [0-9]* is damaged: " out ||
    fail "verify: a changed byte" out

# Which images are drawn
accepted "written" --source mixed --out seed --seed 2
cmp -s data/mixed/mixed-test-00000-of-00001.h5 seed/mixed-test-00000-of-00001.h5 &&
    fail "--seed 2 draws as seed 1"
accepted "written" --source mixed --out half --val-fraction 0.5 --classes B,b
[[ $(images half train) == 20 && $(images half test) == 21 ]] || fail "--val-fraction 0.5" out
accepted "3 classes" --source mixed --out few --classes "B,b,Été" --limit 3
[[ $(($(images few train) + $(images few test))) == 9 ]] || fail "--limit 3" out

# Another source
cp -r mixed/b more
mkdir source
mv more source/b
refused "found records of other images or labels than those in mixed" \
    --source mixed --out half --classes B,b --seed 3 --val-fraction 0.5
refused "dataset.json: found mixed, expected source" --source source --out half
ln -s ../mixed elsewhere/mixed
accepted "already complete" --source elsewhere/mixed

# Splits
accepted "3 classes, encoded images, train 15 in 1 shards, test 10 in 1" --source splits --out s
check s splits/train splits/val
refused "--val-fraction: found the folder splits/val" --source splits --val-fraction 0.2
mv splits/val splits/test
accepted "already complete" --source splits --out s
mkdir splits/train/train
refused "splits/train/train: found no image" --source splits --out t
rmdir splits/train/train
cp -r splits/train/x splits/test/new
refused "splits/test/new: found a class that is not among those of the train split" --source splits
accepted "2 classes" --source splits --out t --classes x,z
mkdir alone
mv splits/train alone
accepted "3 classes, encoded images, train 13 in 1 shards, test 2 in 1" --source alone --out a
mv alone/train/y alone/train/train
accepted "train" --source alone/train --out b
mkdir single
for name in p q r; do
    mkdir -p "single/$name" && cp "alone/train/x/0.jpg" "single/$name"
done
refused "leaves one split of 3 images empty" --source single
accepted "found one image a class; the 2 that are drawn" --source single --val-fraction 0.5 --out d

# Class names
mkdir named
cp -r alone/train/x "named/$(printf 'a\xff')"
refused "found a class name that is no UTF-8" --source named
rm -r named/*
cp -r alone/train/x "named/$(printf 'a\nb')"
refused "named/a?b: found a class name that is no UTF-8 or has control characters" --source named
mkdir empty
refused "empty: found 0 class folders" --source empty

# Bad images: the first stops, or each is named and left out
refused "bad/x/arithmetic.jpg: found an arithmetic-coded JPEG, expected Huffman codes; --on-bad-image skip" \
    --source bad --out bad-records
[[ ! -e bad-records ]] || fail "a folder after a failure"
accepted "bad: 9 images, 0 other files passed over, 5 bad images left out" \
    --source bad --out bad-records --on-bad-image skip
for name in arithmetic empty short undecodable to_nothing; do
    grep -q "^warning: bad/x/$name.jpg: .*; left out" out || fail "$name.jpg is not named" out
done
truncate -s 70000000 bad/x/0.jpg
refused "bad/x/0.jpg: found 70000000 bytes, expected an image of 1 to 67108864" --source bad
rm bad/x/?.jpg
refused "bad: class x: found no sound image" --source bad --on-bad-image skip --out e
finish

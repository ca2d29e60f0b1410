#!/usr/bin/env bash
# create_records info, inspect and verify: what they say of encoded images and of pixels, beside what
# h5py and PIL find, and which image they blame.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
find_python PIL numpy h5py || skip "found no python3 with PIL, numpy and h5py (Debian: python3-h5py)"
records
cd "$tmp"
program=create_records
tool=$build/$program

check() { limited "$python" "$tests/oracles/inspect_records.py" "$@" >out 2>&1 || fail "$*" out; }

"$python" "$tests/oracles/folder.py" make "$tmp" || fail "the folders could not be made"
works FOLDER --source mixed --out one --shards 3 --jobs 2
ln -s "$data" pixels

# What they hold
works info one
printed "^one: mixed, 5 classes, encoded images" "info's first line"
limited "$tool" info one --json >one.json || fail "info --json"
check info one
works info pixels
grep -qE "^  Ankle boot +6000 +1000$" out || fail "info of pixels" out
limited "$tool" info pixels --json >pixels.json || fail "info --json"
check info pixels
refused "takes one folder" info
refused "--png: found an option of other commands, expected one of 'create_records info --help'" info one --png x.png
refused "nowhere/dataset.json: cannot read: No such file" info nowhere

# Pictures of them
works inspect one --png sheet.png --count 9 --size 64
check sheet one 9 64
works inspect one --png class.png --class b --split train --count 100
check sheet one 100 128 b
works inspect pixels --png pixels.png --count 16
works inspect one --png augmented.png --augment random-resized-crop:48,hflip --epoch 3 --count 4
cp augmented.png first.png
works inspect one --png augmented.png --augment random-resized-crop:48,hflip --epoch 3 --count 4
cmp -s augmented.png first.png || fail "the same epoch, another picture"
works inspect one --png augmented.png --augment random-resized-crop:48,hflip --epoch 4 --count 4
cmp -s augmented.png first.png && fail "another epoch, the same picture"
works inspect one --sample 5 --png sample.png
printed "^shard    one/mixed-train-00000-of-00003.h5, image 5$" "where sample 5 stands"
cp out facts
check sample one 5
for ((i = 0; i < 59; i++)); do
    limited "$tool" inspect one --sample $i || fail "sample $i" facts.all
done >facts.all
for name in 'Été/line?break.jpg' $'b/\xff\xfe.jpg'; do
    LC_ALL=C grep -qxF "file     $name" facts.all || fail "inspect: the file $name" facts.all
done
works inspect one --sample 5 --augment resize:16,center-crop:16 --png small.png
printed "^epoch    0, position" "the position of a sample"
refused "found no --png" inspect one
refused 'no class of one; did you mean '"'a, b'" inspect one --png x.png --class 'a, c'
refused "--sample: found 59, expected 0 to 58" inspect one --sample 59
refused "--sample: found it with --class" inspect one --sample 5 --class b
refused "--augment hflip: found encoded images, each of a size of its own" inspect one --png x.png --augment hflip
refused "nowhere/x.png: cannot write: no folder nowhere$" inspect one --png nowhere/x.png
for value in 0 1 2; do
    refused "--epoch: found it without --augment" inspect one --png x.png --epoch $value
    refused "--seed: found it without --augment" inspect one --png x.png --seed $value
done
for file in one/dataset.json one/mixed-train-00000-of-00003.h5 mixed/b/0.jpg; do
    cp $file kept
    refused "$file: found a file that is no PNG" inspect one --png $file --count 2
    refused "$file: found a file that is no PNG" inspect one --png $file --sample 5
    cmp -s $file kept || fail "inspect --png: $file is another"
done
: >empty.png
works inspect one --png empty.png --count 2
refused "--size: found it with --sample" inspect one --sample 1 --size 64
refused "smaller or fewer images" inspect pixels --png x.png --count 10000 --size 2048

# Which image is at fault
offset=$(sed -n 's/^offset *//p' facts)
works inspect one --sample 6
cp -r one hurt
for at in $offset $(sed -n 's/^offset *//p' out); do
    flip hurt/mixed-train-00000-of-00003.h5 $((at + 99))
    refused "hurt/mixed-train-00000-of-00003.h5: image 5 at byte $offset is damaged" verify hurt
done
flip hurt/mixed-train-00000-of-00003.h5 100
refused "hurt/mixed-train-00000-of-00003.h5: " info hurt
rm hurt/mixed-train-00002-of-00003.h5
refused "; this is the first of" verify hurt
printed "^warning: hurt/mixed-train-00002-of-00003.h5: cannot read: No such file" "a file that is missing"
if "$python" -c 'import xxhash' 2>/dev/null; then
    cp -r one hurt-size
    check forge hurt-size size
    refused "h5, image 3: found" verify hurt-size
    printed "pixels, expected 1x1 as sizes says" "a size that is not the image's"
    for what in mean std; do
        cp -r one hurt-$what
        check forge hurt-$what $what
        refused "hurt-$what/dataset.json: channel 0: found mean " verify hurt-$what
    done
    for case in "more|found more file names than the expected 19" \
        "fewer|file name 18: found 0 bytes and the end, expected at most 4095 and a zero" \
        "endless|file name 18: found" "long|file name 0: found 41" \
        "one|found 1 bytes of file names, expected 19 to 77824" \
        "floats|file_names is not a list of uint8" \
        "damaged|file_names is damaged: found bytes of checksum"; do
        rm -rf hurt-names
        cp -r one hurt-names
        check forge hurt-names "${case%%|*}"
        refused "hurt-names/mixed-train-00000-of-00003.h5: ${case#*|}" inspect hurt-names --sample 5
        refused "hurt-names/mixed-train-00000-of-00003.h5: ${case#*|}" verify hurt-names
        works inspect hurt-names --sample 25 # of another shard
    done
    cp -r one nameless
    check forge nameless none
    works inspect nameless --sample 5
    grep -q "^file" out && fail "a name in records without any" out
    works verify nameless
else
    untried "forged sizes and names, for lack of python3-xxhash"
fi

cp -rL pixels hurt-pixels
flip hurt-pixels/fashion_mnist-train-00001-of-00004.h5 1000000
refused "hurt-pixels/fashion_mnist-train-00001-of-00004.h5: found bytes of checksum" info hurt-pixels
flip hurt-pixels/fashion_mnist-train.tfrecord-00002-of-00004 1000000
refused "; this is the first of 2 faults" verify hurt-pixels
grep -qE "00001-of-00004.h5: the chunk at byte .* is damaged: .* \(images [0-9]+ to [0-9]+\)" out ||
    fail "the images of a damaged chunk" out
printed "^warning: .*tfrecord-00002-of-00004: record [0-9]* at byte" "a record"
works verify one

# Its progress on a terminal, of images that are slow to decode
if command -v script >/dev/null; then
    "$python" - <<'END'
import os
from PIL import Image
for name in "ab":
    os.makedirs(f"slow/{name}")
    for i in range(6):
        Image.new("L", (5000, 5000), 40 * i + ord(name) % 2).save(f"slow/{name}/{i}.png")
END
    works FOLDER --source slow --out slow.records
    limited script -qec "$tool verify slow.records --jobs 1" /dev/null >out </dev/null || fail "verify on a terminal" out
    grep -qE "verifying: \[#+\.*\] [0-9]+/12 images, " out || fail "the progress of verify" out
else
    untried "progress on a terminal: found no script (Debian: bsdutils)"
fi
finish

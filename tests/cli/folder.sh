#!/usr/bin/env bash
# create_records FOLDER: classes and splits, what is skipped and what is refused, and what h5py
# and PIL read from the shards.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
find_python PIL numpy h5py || skip "found no python3 with PIL, numpy and h5py (Debian: python3-h5py)"
cd "$tmp"
program=create_records
records=$build/$program

check() { limited "$python" "$tests/oracles/folder.py" check "$@" >out 2>&1 || fail "check $*" out; }

"$python" "$tests/oracles/folder.py" make "$tmp" || fail "the folders could not be made"

# Options
refused "found no --source" FOLDER
refused "nowhere: cannot read: No such file" FOLDER --source nowhere
# a source that cannot be named after its folder
(for ((i = 0; i < 20; i++)); do
    name=$(printf '%0250d' $i)
    mkdir "$name" && cd "$name"
done
mkdir pictures && limited "$records" FOLDER --source pictures) >out 2>&1 && fail "a path that is too long: accepted"
printed "^create_records: pictures: cannot read: File name too long$" "a path that is too long"
rm -r 000*
refused "--on-bad-image: found 'go'" FOLDER --source mixed --on-bad-image go
refused 'found no class "bee" in mixed' FOLDER --source mixed --classes b,bee
refused "--on-bad-image: found an option of other commands, expected one of 'create_records CIFAR10 --help'" CIFAR10 --on-bad-image skip

# A file that cannot be read is no bad image; root reads any, unless it gives that up
mkdir -p locked/a locked/b
cp mixed/b/{0,1,2,3,4,5,6,8,9}.jpg locked/a
cp locked/a/* locked/b
first=locked/a/0.jpg
chmod 000 "$first"
plainly=()
((EUID != 0)) || plainly=(setpriv --bounding-set=-dac_override,-dac_read_search)
if "${plainly[@]}" true 2>/dev/null && ! "${plainly[@]}" cat "$first" >/dev/null 2>&1; then
    for how in stop skip; do
        limited "${plainly[@]}" "$records" FOLDER --source locked --on-bad-image $how >out 2>&1 &&
            fail "an unreadable file: accepted with --on-bad-image $how"
        printed "^create_records: $first: cannot read: Permission denied" "an unreadable file with --on-bad-image $how"
    done
    printed "skip leaves out bad images, no unreadable files" "an unreadable file"
    # nor is a class, or a split, that cannot be reached none
    mkdir -p behind/there/b splits-behind/train
    chmod 644 "$first"
    cp -r locked/a splits-behind/train
    ln -s "$PWD/behind/there/b" locked/c
    ln -s "$PWD/behind/there/b" splits-behind/val
    chmod 000 behind
    for path in locked/c splits-behind/val; do
        limited "${plainly[@]}" "$records" FOLDER --source "${path%/*}" >out 2>&1 &&
            fail "$path, which cannot be reached: accepted"
        printed "^create_records: $path: cannot read: Permission denied" "$path, which cannot be reached"
    done
    chmod 755 behind
else
    untried "a file that cannot be read: this user reads any"
fi
rm -rf locked behind splits-behind data

# Odd files and names; a drawn test split; the same bytes on any number of threads
accepted "mixed: 66 images, 7 other files skipped, such as mixed/b/looks.jpg, 0 bad images left out" FOLDER --source mixed --jobs 2
[[ -f data/mixed/mixed-train-00000-of-00001.h5 ]] || fail "the default folder and names" out
printed "mixed/b/looks.jpg: its content is neither JPEG nor PNG; skipped" "a name that promises an image"
check data/mixed mixed
accepted "already complete" mixed
accepted "already complete" FOLDER --source mixed/ --level 9
refused "--source: found it beside the folder mixed/" mixed/ --source mixed
refused "--png: found an option of other commands, expected one of 'create_records mixed --help'" mixed --png x.png
for out in mixed/records ./mixed//b/../records/more; do
    refused "--out: found $out in mixed, whose folders are classes; name one outside" FOLDER --source mixed --out $out
done
accepted "5 classes, encoded images, train 59 in 4 shards, test 7 in 1" FOLDER \
    --source mixed --out one --shards 4 --jobs 1
accepted "written" FOLDER --source mixed --out two --shards 4 --jobs 2
diff -r one two || fail "other bytes on other threads"
check one mixed
accepted "; everything verified" verify one
printed "one: mixed, 5 classes, encoded images, " "verify's line"
put two/mixed-train-00002-of-00004.h5 9000 'x'
refused "two/mixed-train-00002-of-00004.h5: image +([0-9]) at byte +([0-9]) is damaged: " verify two

# Which images are drawn
accepted "written" FOLDER --source mixed --out seed --seed 2
cmp -s data/mixed/mixed-test-00000-of-00001.h5 seed/mixed-test-00000-of-00001.h5 &&
    fail "--seed 2 draws as seed 1"
accepted "train 20 in 1 shards, test 21 in 2" FOLDER --source mixed --out half --val-fraction 0.5 --classes B,b
accepted "2 classes" FOLDER --source mixed --out comma --classes 'b,a\, b'
grep -q '"a, b"' comma/dataset.json || fail "--classes: a name with a comma"
refused 'found no class "a" in mixed' FOLDER --source mixed --out comma2 --classes 'b,a, b'
accepted "train 8 in 1 shards, test 1 in 1" FOLDER --source mixed --out few --classes "B,b,Été" --limit 3

# Another source
cp -r mixed/b more
mkdir source
mv more source/b
refused "found records of other images or labels than this command makes of mixed" FOLDER \
    --source mixed --out half --classes B,b --seed 3 --val-fraction 0.5
refused "dataset.json: found mixed, expected source" FOLDER --source source --out half
ln -s ../mixed elsewhere/mixed
accepted "already complete" FOLDER --source elsewhere/mixed

# Splits
accepted "3 classes, encoded images, train 15 in 1 shards, test 10 in 1" FOLDER --source splits --out s
check s splits/train splits/val
refused "--val-fraction: found the folder splits/val" FOLDER --source splits --val-fraction 0.2
cp -r splits/val splits/valid
refused "splits: found the folders val and valid, expected one for each split" FOLDER --source splits --out s
mv splits/valid splits/more
ln -s nowhere splits/x
accepted "already complete" FOLDER --source splits --out s
printed "^warning: splits/more: skipped, as it is beside train" "a sibling of train"
[[ $(grep -c "^warning: splits/x: a dangling link; skipped" out) == 1 ]] || fail "a dangling link" out
rm -r splits/more splits/x
# both: val judges runs, and is a split of its own
cp -r splits/val splits/test
cp -r splits/val saved
rm -r splits/val/x splits/test/z/[1-4].jpg
accepted "train 15 in 1 shards, test 6 in 1, val 5 in 1; mean " FOLDER --source splits --out v
printed "^warning: splits: 1 of 3 classes have no image in the test split, and so no score there; the first is y$" "test's classes"
printed "^warning: splits: 2 of 3 classes have no image in the val split, .*; the first is x$" "val's classes"
accepted "already complete" FOLDER --source splits --out v
works verify v
works info v
grep -qE "^images +15 +6 +5$" out && grep -qE "^  z +5 +1 +5$" out || fail "info of three splits" out
accepted "sample   val 4 of 5" inspect v --split val --sample 4
refused "s: found no val split, expected one" inspect s --split val --sample 0
touch v/splits-val-00000-of-00002.h5
refused "splits-val-00000-of-00002.h5" FOLDER --source splits --out v --exif apply
rm v/splits-val-00000-of-00002.h5
accepted "val 5 in 1; mean " FOLDER --source splits --out v --exif apply --tfrecords keep
[[ -e v/splits-val.tfrecord-00000-of-00001 ]] || fail "TFRecords of the val split" out
works verify v
# pictures without labels, and a folder of such, are no split
for unlabelled in splits/test splits/test/pictures; do
    rm -r splits/test
    mkdir -p "$unlabelled"
    cp splits/val/z/*.jpg "$unlabelled"
    accepted "test 5 in 1" FOLDER --source splits --out unlabelled
    printed "^warning: splits/test: skipped, as it is beside train" "$unlabelled"
done
rm -r unlabelled
rm -r splits/test splits/val
mv saved splits/test
ln -s nowhere splits/train/nothing
accepted "already complete" FOLDER --source splits --out s
[[ $(grep -c "^warning: splits/train/nothing: a dangling link; skipped" out) == 1 ]] ||
    fail "a class that is a dangling link" out
rm splits/train/nothing
mkdir splits/train/{train,w}
refused "splits/train/train: found no image, expected at least one JPEG or PNG a class (2 of 5 folders have none); remove" \
    FOLDER --source splits --out t
rmdir splits/train/{train,w}
cp -r splits/train/x splits/test/new
cp -r splits/train/x splits/test/newer
refused "splits/test/new: found a class that is not among those of the train split (2 of 4 folders)" FOLDER --source splits
accepted "2 classes" FOLDER --source splits --out t --classes x,z
mkdir alone
mv splits/train alone
accepted "3 classes, encoded images, train 13 in 1 shards, test 2 in 1" FOLDER --source alone --out a
mv alone/train/y alone/train/train
accepted "train" FOLDER --source alone/train --out b
mkdir single
for name in p q r; do
    mkdir -p "single/$name" && cp "alone/train/x/0.jpg" "single/$name"
done
refused "leaves one split of 3 images empty" FOLDER --source single
accepted "found one image a class; the 2 that are drawn" FOLDER --source single --val-fraction 0.5 --out d

# Images that are converted
converted() {
    local out=$1
    shift
    limited "$python" "$tests/oracles/folder.py" converted "$out" sizes/train sizes/val "$@" >out 2>&1 ||
        fail "converted $out $*" out
}
refused "--quality: found it without --short-side or --exif apply" FOLDER --source sizes --quality 90
accepted "sizes: 22 images, 0 other files skipped, 0 bad images left out; 8 not turned as EXIF says" FOLDER \
    --source sizes --out s0
converted s0 0 0 ignore
accepted "written" FOLDER --source sizes --out s64 --short-side 64 --quality 80
converted s64 64 80 ignore
grep -q '"conversion": "short side 64, quality 80"' s64/dataset.json || fail "the conversion" s64/dataset.json
accepted "already complete" FOLDER --source sizes --out s64 --short-side 64 --quality 80
accepted "s64: replacing its images (short side 64, quality 80) by others (short side 64, quality 90)" \
    FOLDER --source sizes --out s64 --short-side=64
printed written "another quality"
converted s64 64 90 ignore
accepted "written" FOLDER --out s64 --short-side --source sizes
converted s64 256 90 ignore
mkfifo pipe
exec 7<>pipe 8>pipe 7<&- # nobody reads the output
status=0
limited "$records" FOLDER --source sizes --out unread >&8 2>err || status=$?
exec 8>&-
refusal "standard output: cannot write all of it" $status "output that nobody reads"
converted unread 0 0 ignore
accepted "; 8 turned as EXIF says" FOLDER --source sizes --out turned --exif apply
converted turned 0 95 apply
accepted "written" FOLDER --source sizes --out both --exif apply --short-side 70 --jobs 1
converted both 70 90 apply
works verify both

# Cut off, and resumed: the same bytes, nothing else
mkdir -p many/x many/y
for ((i = 0; i < 600; i++)); do
    ln "large.jpg" "many/x/$i.jpg" && ln "large.jpg" "many/y/$i.jpg"
done
rm many/x/10.jpg
head -c 9000 large.jpg >many/x/10.jpg # of the first shard
many=(FOLDER --source many --on-bad-image skip)
many() { accepted "many" "${many[@]}" --out "$1" --shards 50 --short-side 100; }
# cut SIGNAL OUT SHARD: sends it once the shard is there; the status. With many jobs the first shards
# would end with the last.
cut() {
    local status=0 told=0
    "$records" "${many[@]}" --out "$2" --shards 50 --short-side 100 --jobs 2 >cut-out 2>&1 &
    await $! test -e "$2/many-train-$3-of-00050.h5"
    kill -"$1" $! 2>/dev/null
    wait $! 2>/dev/null || status=$?
    [[ ! -e $2/dataset.json && -s $2/making.journal ]] || fail "$1: the conversion was not cut off" cut-out
    limited "$records" info "$2" >out 2>err || told=$?
    refusal "$2: found records that are not all made yet, expected dataset.json; give create_records the same command again" $told "info"
    return "$status"
}
many whole
# What a shell runs in the background ignores SIGINT, and continues to.
"$records" "${many[@]}" --out deaf --shards 50 --short-side 100 >out 2>&1 &
await $! test -e deaf/making.journal
kill -INT $! && wait $! || fail "SIGINT in the background" out
[[ ! -e whole/making.journal ]] || fail "the journal stays"
touch whole/making.journal # as a kill behind dataset.json leaves it
many whole
grep -q "already complete" out && [[ ! -e whole/making.journal ]] ||
    fail "the journal of complete records stays" out
status=0
cut KILL parts 00005 || status=$?
((status == 137)) || fail "KILL: status $status"
works "${many[@]}" --out over --shards 3 --short-side 100
cut KILL over 00003 || true # whole records, made anew
rm -r over
flip parts/making.journal $(($(stat -c %s parts/making.journal) - 40)) # in the hashes of the last shard's images
status=0
cut TERM parts 00012 || status=$?
((status == 75)) || fail "TERM: status $status" cut-out
grep -q "parts: [0-9]* of 56 shards are whole; continuing with the others" cut-out || fail "resuming" cut-out
grep -q "^warning: many/x/10.jpg: not sound, as an earlier attempt found; left out" cut-out ||
    fail "a bad image of a whole shard" cut-out
[[ $(tail -n 1 cut-out) == "create_records: parts: stopped by SIGTERM; the same command resumes" ]] ||
    fail "the line of a signal" cut-out
[[ -z $(find parts -name '*.partial') ]] || fail "left temporary files"
printf 'x' >>parts/making.journal
truncate -s -1 parts/many-train-00002-of-00050.h5
put parts/many-train-00001-of-00050.h5 2000 Z
touch parts/many-train-00049-of-00050.h5.partial
many parts
printed "shards are whole; continuing" "all was made anew"
diff -r whole parts || fail "other bytes after two interruptions"
rm -r parts
cut KILL parts 00005 || true
touch many/x/1.jpg
many parts
grep -q "continuing" out && fail "shards of a changed source are taken" out
diff -r whole parts || fail "other bytes of the same images"
rm -r parts
cut KILL parts 00005 || true
works "${many[@]}" --out parts --shards 50 --short-side 90
grep -q "continuing" out err && fail "shards of another --short-side are taken" out err
for delay in 0.05 0.1 0.2 0.4 0.8; do
    (timeout --foreground -s KILL "$delay" "$records" "${many[@]}" --out random --shards 50 \
        --short-side 100 || true) >/dev/null 2>&1
done
many random
diff -r whole random || fail "other bytes after random interruptions"

# Class names
mkdir named
cp -r alone/train/x "named/$(printf 'a\xff')"
refused "found a class name that is no UTF-8" FOLDER --source named
rm -r named/*
cp -r alone/train/x "named/$(printf 'a\nb')"
refused "named/a?b: found a class name that is no UTF-8 or has control characters" FOLDER --source named
rm -r named/*
cp -r alone/train/x "named/$(printf 'a\xc2\x9b2J')"
refused "has control characters" FOLDER --source named
LC_ALL=C grep -q $'\xc2\x9b' out && fail "a control character reaches the terminal" out
accepted "lo??ok: alone" FOLDER --source alone --out "$(printf 'lo\xc2\x9bok')"
accepted "lo??ok: alone" info "$(printf 'lo\xc2\x9bok')"
mkdir empty
refused "empty: found 0 class folders" FOLDER --source empty

# A limit of files' sizes holds for a shard in memory, too; HDF5 ends in peace
for limit in 1 8 20; do
    status=0
    (ulimit -f $limit && limited "$records" FOLDER --source alone/train --out limited --jobs 1) >limited-out 2>&1 || status=$?
    ((status == 1)) || fail "ulimit -f $limit: status $status" limited-out
    [[ $(tail -n 1 limited-out) == "create_records: "*": File too large" ]] || fail "ulimit -f $limit" limited-out
    [[ ! -e limited ]] || fail "ulimit -f $limit: something is left"
done

# Bad images: the first stops, or each is named and left out
refused "bad/x/arithmetic.jpg: found an arithmetic-coded JPEG, expected Huffman codes; --on-bad-image skip" FOLDER \
    --source bad --out bad-records
[[ ! -e bad-records ]] || fail "a folder after a failure"
accepted "bad: 10 images, 0 other files skipped, 6 bad images left out" FOLDER \
    --source bad --out bad-records --on-bad-image skip
for name in arithmetic empty short undecodable to_nothing; do
    printed "^warning: bad/x/$name.jpg: .*; left out" "$name.jpg is not named"
done
printed "^warning: bad/x/to_itself: .*; left out" "a link to itself is not named"
truncate -s 70000000 bad/x/0.jpg
refused "bad/x/0.jpg: found 70000000 bytes, expected an image of 1 to 67108864" FOLDER --source bad
rm bad/x/?.jpg
cp bad/x/short.jpg bad/y/0.jpg
refused "bad: found no sound image among the" FOLDER --source bad --on-bad-image skip --out e
mkdir -p dumb/{train,test}/{x,y}
cp alone/train/x/*.jpg dumb/train/x
cp splits/test/z/*.jpg dumb/test/x
cp splits/test/z/*.jpg dumb/test/y
cp bad/x/short.jpg dumb/train/x
cp bad/x/short.jpg dumb/test/x
cp bad/x/empty.jpg dumb/train/y
refused "dumb: class y: found no sound image" FOLDER --source dumb --on-bad-image skip --shards 1 --out e
cp alone/train/z/*.jpg dumb/train/y
accepted "3 bad images left out" FOLDER --source dumb --on-bad-image skip --out e
grep -q "validation or test images are identical" out && fail "bad images that were left out: told as doubles" out
finish

#!/usr/bin/env bash
# TFRecords both ways, against Python's protobuf and crc32c: files of other writers become records,
# those of create_records can be read, and damage is reported.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
find_python PIL numpy h5py crc32c google.protobuf && command -v protoc zstd >/dev/null ||
    skip "found no protoc, zstd or python3 with PIL, numpy, h5py, crc32c and protobuf" \
        "(Debian: python3-protobuf protobuf-compiler python3-crc32c)"
cd "$tmp"
program=create_records
records=$build/$program
export TMPDIR=$tmp PYTHONPATH=$tmp

python() { limited "$python" "$tests/oracles/tfrecords.py" "$@" >out 2>&1 || fail "tfrecords.py $*" out; }

# converted SET TEXT FILE...: from-tfrecord says TEXT, and the records are what `make` wrote.
converted() {
    local set=$1 text=$2
    shift 2
    accepted "$text" from-tfrecord "$@" --out "$set.records"
    python check "$set" "$set.records"
    accepted "everything verified" verify "$set.records"
}

protoc -I "$tests/oracles" --python_out="$tmp" tf_example.proto
python make

# What others write
converted slim "cifar, 3 classes, 3x8x9, train 40 in 4 shards, test 9 in 1" slim/*.tfrecord
grep -q "3 classes, labels from 0 on; names: slim/labels.txt" <("$records" from-tfrecord \
    slim/*.tfrecord --out slim.records) || fail "names of slim"
accepted "already complete" from-tfrecord slim/*.tfrecord --out slim.records
refused "found records of other images or labels" from-tfrecord slim/*_train.tfrecord \
    --out slim.records
accepted "written" from-tfrecord slim/*.tfrecord --out slim.one --jobs 1
diff -r slim.records slim.one || fail "other bytes on another number of threads"
converted imagenet "imagenet.records, 3 classes, encoded images, train 30 in 1 shards, test 8 in 1" \
    imagenet/*
"$records" from-tfrecord imagenet/* --out imagenet.records >out
printed "3 classes, labels from 1 on; names: image/class/text" "names of imagenet"
converted tfds "digits, 3 classes, 1x6x6, train 20 in 4 shards, test 5 in 1" tfds/*.tfrecord-*
grep -q "found no image to train on of 1 classes, as of cat" <("$records" from-tfrecord \
    tfds/*.tfrecord-* --out tfds.records 2>&1) || fail "a class without images"
converted raw "raw.records, 3 classes, 3x5x7, train 20 in 4 shards" raw/train* raw/test*
converted large "large.records, 3 classes, encoded images" large/train* large/test*
converted three "set, 3 classes, 3x4x4, train 12 in 4 shards, test 6 in 2, val 5 in 2" three/*
accepted "small.records, 2 classes, encoded images" from-tfrecord small/all.tfrecord --out small.records
accepted "already complete" from-tfrecord three/*-train* three/*-v* three/*-test* --out three.records
refused "found records of other images or labels" from-tfrecord three/*-t* --out three.records
accepted "train 12 in 4 shards, test 5 in 2;" from-tfrecord three/*-{train,val}* --out three.two
: >three/set-val.tfrecord
refused "three/set-val.tfrecord: found 0 sound records for the val split" from-tfrecord \
    three/set-{t*,val.*} --out three.none

# Options
accepted "train 27 in 1 shards, test 3 in 1" from-tfrecord drawn/all.tfrecord --out drawn.records
mkdir 'drawn[1]*' && cp drawn/all.tfrecord 'drawn[1]*'
accepted "train 27 in 1 shards, test 3 in 1" from-tfrecord 'drawn[1]*' --out odd.records
accepted "train 15 in 1 shards, test 15 in 1" from-tfrecord drawn/all.tfrecord --out half \
    --val-fraction 0.5 --seed 2
refused "nothing is to be drawn" from-tfrecord slim/*.tfrecord --val-fraction 0.5
printf 'x\ny\nz\n' >xyz.txt
accepted "names: xyz.txt" from-tfrecord imagenet/* --out xyz --class-names xyz.txt
{ printf '\xef\xbb\xbf' && sed s/y/other/ xyz.txt; } >other.txt # a mark that is no part of a name
accepted "names: other.txt" from-tfrecord imagenet/* --out xyz --class-names other.txt
grep -q '"other"' xyz/dataset.json && grep -q '"x"' xyz/dataset.json || fail "other class names: expected the records anew" xyz/dataset.json
refused "record 0 at byte 0: found label 0, expected 1 to 3 by xyz.txt" from-tfrecord \
    drawn/all.tfrecord --class-names xyz.txt --label-base 1
printf 'x\nx\n' >two.txt
refused "record 2 at byte" from-tfrecord drawn/all.tfrecord --class-names two.txt
refused "found label 2, expected 0 to 1 by two.txt" from-tfrecord drawn/all.tfrecord \
    --class-names two.txt
printf '\xef\xbb\xbfx\r\nx\r\ny\r\n' >twice.txt
accepted "names: twice.txt" from-tfrecord drawn/all.tfrecord --out twice --class-names twice.txt
grep -qzP '"x",\s+"x \(1\)",\s+"y"\s' twice/dataset.json || fail "a name twice" twice/dataset.json
printf '{"featuresDict": {"features": {"label": {"classLabel": {"numClasses": "2"}}}}}' \
    >drawn/features.json
refused "expected 0 to 1 by drawn/features.json" from-tfrecord drawn/all.tfrecord
rm drawn/features.json
printf 'a\xff\nb\nc\n' >odd.txt
refused "odd.txt: class name 0: found" from-tfrecord drawn/all.tfrecord --class-names odd.txt
printf 'a\tb\nb\nc\n' >odd.txt
refused "expected a UTF-8 text of 1 to 255 bytes without control characters" \
    from-tfrecord drawn/all.tfrecord --class-names odd.txt
: >drawn/f1-train
ln drawn/all.tfrecord drawn/f1-test
refused "drawn/f1-train: found 0 sound records for the train split" from-tfrecord drawn/f1-test drawn/f1-train
rm drawn/f1-train drawn/f1-test
refused "nowhere: cannot read" from-tfrecord drawn/all.tfrecord --class-names nowhere
refused "expected files to train on" from-tfrecord imagenet/validation*
refused "from-tfrecord takes files" from-tfrecord
ln drawn/all.tfrecord drawn/train.tfrecord
ln -s all.tfrecord drawn/test.tfrecord
refused "all.tfrecord: found it a second time, as drawn/all.tfrecord, expected each file once" \
    from-tfrecord drawn/all.tfrecord drawn/all.tfrecord
refused "expected each file once" from-tfrecord drawn/train.tfrecord drawn/test.tfrecord
rm drawn/train.tfrecord drawn/test.tfrecord
refused "--classes: found an option of other commands, expected one of 'create_records from-tfrecord" from-tfrecord drawn/all.tfrecord --classes a
TMPDIR=/nowhere refused "/nowhere/create_records." from-tfrecord raw/*

# Damage
echo "no TFRecord at all" >bad/text
at=$(stat -c %s bad/good)
for case in "labels|record 1 at byte $at: label: found 2 values, expected one of int64" \
    "no-image|record 0 at byte 0: found neither image/encoded nor image" \
    "no-pixels|record 0 at byte 0: found 47 bytes that are no JPEG and no PNG, and not the pixels of 4x4" \
    "undecodable|record 0 at byte 0: not a sound JPEG: Invalid JPEG file structure: missing SOS marker; --on-bad-image skip leaves" \
    "no-example|record 0 at byte 0: found 9 bytes that are no tf.train.Example" \
    "empty|found no records in the files" \
    "cut|cut short in record 1 at byte $at: found $((at - 19)) bytes of data, expected $((at - 16))" \
    "cut-head|cut short in record 1 at byte $at: found 5 bytes" \
    "length|record 1 at byte $at: the length has masked CRC32C" \
    "data|record 1 at byte $at: the data has masked CRC32C" \
    "absurd|cut short in record 1 at byte $at: found 0 bytes of data, expected 1099511627776" \
    "cut.gz|bad/cut.gz: unexpected end of file, after" \
    "bomb.gz|record 0 at byte 0: the length has masked CRC32C" \
    "text|; no TFRecord file, or packed other than by gzip" \
    "large.gz|record 0 at byte 0: found 1073741824 bytes of data, expected at most 68157440"; do
    refused "${case#*|}" from-tfrecord "bad/${case%%|*}"
    [[ $case =~ ^(length|data|cut.gz) ]] && grep -q "no TFRecord file" out && fail "${case%%|*} is one" out
    grep -q "^create_records: bad/${case%%|*}: " out || [[ $case == empty* ]] ||
        fail "${case%%|*} is not named" out
done
refused "?: cut short in record 0" from-tfrecord bad/odd*
for name in labels undecodable no-image; do
    refused "leaves such records out" from-tfrecord "bad/$name" --on-bad-image stop
done
accepted "3 bad records left out" from-tfrecord drawn/all.tfrecord bad/{labels,undecodable,no-image} \
    --out skipped --on-bad-image skip
for name in labels undecodable no-image; do
    printed "^warning: bad/$name: record . at byte .*; left out" "$name is not named"
done
refused "found no sound record" from-tfrecord bad/no-image --on-bad-image skip --out x
[[ ! -e x && ! -e data ]] || fail "a folder after a failure"

# What create_records writes: pixels and encoded, beside the records and elsewhere; and back
for set in slim imagenet three; do
    accepted "TFRecords written" to-tfrecord $set.records --out $set.tfrecords
    python read $set.records $set.tfrecords
    cp -r $set.records $set.kept
    accepted "TFRecords written" to-tfrecord $set.kept
    accepted "TFRecords already complete" to-tfrecord $set.kept
    python read $set.kept $set.kept
    accepted "everything verified" verify $set.kept
    accepted "written" from-tfrecord $set.tfrecords/*.tfrecord-* --out $set.back
    for shard in $set.records/*.h5; do
        cmp "$shard" "$set.back/${shard#*/}" || fail "$shard is not what comes back"
    done
done
cp -r slim.kept anew
accepted "written" from-tfrecord slim/*.tfrecord --out anew --level 7
[[ -z $(find anew -name '*.tfrecord-*') ]] || fail "TFRecords of replaced records stay: $(ls anew)"
refused "--out: found records in slim.kept" to-tfrecord imagenet.records --out slim.kept
refused "nowhere/dataset.json: cannot read" to-tfrecord nowhere

# What is there is not replaced: TFRecords of other records, and side files of others
stay() { # FILE: with other bytes it ends to-tfrecord, and stays
    cp -r slim.tfrecords there
    echo mine >"there/$1"
    refused "there/$1: found " to-tfrecord slim.records --out there
    printed "move it away, or name another --out" "to-tfrecord over $1"
    [[ $(cat "there/$1") == mine ]] || fail "to-tfrecord: $1 was replaced"
    rm "there/$1"
    accepted "TFRecords written" to-tfrecord slim.records --out there
    diff -r slim.tfrecords there || fail "to-tfrecord beside what is there"
    rm -r there
}
for file in labels.txt features.json dataset_info.json cifar-test.tfrecord-00000-of-00001; do
    stay $file
done
mkdir there
touch there/making.journal
refused "--out: found records that are being made in there" to-tfrecord slim.records --out there
rm -r there
touch -d 2001-01-01 slim.kept/labels.txt
accepted "TFRecords already complete" to-tfrecord slim.kept
[[ $(date -r slim.kept/labels.txt +%Y) == 2001 ]] || fail "to-tfrecord: an equal side file is written again"
cp -r slim.records mine
echo mine >mine/labels.txt
refused "mine/labels.txt: found other bytes" to-tfrecord mine
[[ -z $(compgen -G "mine/*.tfrecord-*") ]] || fail "to-tfrecord: TFRecords beside another's labels.txt"
rm -r mine
cp -r slim.records damaged
put damaged/cifar-train-00000-of-00004.h5 300 'x'
refused "damaged/cifar-train-00000-of-00004.h5: found bytes of checksum" \
    to-tfrecord damaged --out nothing
[[ ! -e nothing ]] || fail "to-tfrecord: a folder after a failure"
shard=imagenet.kept/imagenet.records-test.tfrecord-00000-of-00001
put $shard 300 'x'
refused "$shard: record 0 at byte 0: the data has masked CRC32C" verify imagenet.kept
cp slim.kept/cifar-test.tfrecord-00000-of-00001 slim.copy
"$python" - slim.kept/cifar-test.tfrecord-00000-of-00001 "$tests/oracles" <<'END'
import sys
sys.path.insert(0, sys.argv[2])
from tfrecords import Example, frame, records
data = list(records(sys.argv[1]))
e = Example.FromString(data[1])
e.features.feature["image/class/label"].int64_list.value[0] = 0
with open(sys.argv[1], "wb") as f:
    f.write(b"".join(map(frame, [data[0], e.SerializeToString(), *data[2:]])))
END
refused "record 1: found label 0, expected 1 as in HDF5" verify slim.kept
accepted "already complete" to-tfrecord slim.kept
cp slim.copy slim.kept/cifar-test.tfrecord-00000-of-00001
accepted "everything verified" verify slim.kept

# TFRecords that stand where the records are to be, or are named as theirs, stay
mkdir data
cp -r slim.tfrecords data/cifar
cp -r data/cifar kept
for files in data/cifar data/cifar/cifar-train.tfrecord-0000{0,1,2,3}-of-00004; do
    refused "found it in data/cifar, where the records are to be; name another --out" \
        from-tfrecord "$files"
done
refused "found it in kept/../data/cifar/" from-tfrecord data/cifar --out kept/../data/cifar/
ln -s "$tmp/data/cifar" links
refused "found it in data/cifar" from-tfrecord links --out data/cifar
refused "data/cifar: found cifar-t" from-tfrecord slim --out data/cifar
printed "which create_records did not note; move all of such names away, or name another --out" "TFRecords of such names"
diff -r kept data/cifar || fail "TFRecords of such names are not as they were"
refused "slim.kept, where the records are to be" from-tfrecord slim.kept --out slim.kept
accepted "everything verified" verify slim.kept
rm -r data

# --tfrecords of a folder
accepted "written" FOLDER --source source --out f
[[ -z $(compgen -G "f/*tfrecord*") ]] || fail "TFRecords of encoded images without being asked for"
accepted "already complete" FOLDER --source source --out f --tfrecords keep
python read f f
accepted "everything verified" verify f
accepted "already complete" FOLDER --source source --out f
accepted "written" FOLDER --source source --out f --tfrecords keep --shards 2
python read f f
accepted "written" FOLDER --source source --out f --tfrecords drop
[[ -z $(compgen -G "f/*.tfrecord-*") ]] || fail "--tfrecords drop: they are still there"
finish

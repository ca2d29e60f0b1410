#!/usr/bin/env bash
# create_records end to end: options, missing and damaged sources, a full disk, a read-only folder,
# verify, and an independent reader of the result. Needs no data set: a CIFAR-10 of nearly black
# images is made from sparse files. Full disks are tested if tmpfs can be mounted.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
cd "$tmp"
program=create_records
records=$build/$program

# black_cifar FOLDER: the authors' layout, with all labels 0 and all pixels 0 except one of each
# channel.
black_cifar() {
    mkdir -p "$1"
    local name offset
    for name in data_batch_{1..5} test_batch; do
        truncate -s 30730000 "$1/$name.bin"
    done
    for offset in 1 1025 2049; do
        put "$1/data_batch_1.bin" "$offset" '\x0b'
    done
}

# Options
accepted "--shards N" --help
accepted "--shards N" -h
accepted "Usage: create_records NAME"
options_of() { # WORD...: what its --help lists
    limited "$records" "$@" >out 2>&1 || fail "create_records $*: found status $?" out
    sed -nE 's/^  --(\[no-\])?([a-z-]+).*/--\2/p' out | xargs
}
[[ $(options_of info --help) == "--json --jobs --help --version" ]] || fail "info --help" out
[[ $(options_of --help list) == "--help --version" ]] || fail "--help list" out
[[ $(options_of SVHN -h) == "--source "*" --extra --download "* ]] || fail "SVHN -h" out
[[ $(options_of svhn -h) != *--on-bad-image* ]] || fail "svhn -h" out
[[ $(options_of FOLDER --help) == *" --on-bad-image "* ]] || fail "FOLDER --help" out
printed "^Usage: create_records FOLDER \[options\]" "FOLDER --help"
refused "did you mean 'verify'?" verfy --help
refused "did you mean 'verify'?" help verfy
[[ $(limited "$build/create_records" help info) == "$(limited "$build/create_records" info --help)" ]] || fail "help info"
accepted "create_records from-tfrecord FILES...|DIR  make records" help
accepted "create_records " --version
refused "found no data set's name; see --help" --jobs 1
refused 'found "STL", expected a folder or one of CIFAR10, CIFAR100, MNIST, FASHION_MNIST, SVHN,' STL
refused "--sorce: found an unknown option, expected one of 'create_records --help'; did you mean '--source'?" CIFAR10 --sorce=x
refused "FOLDER, list, info, inspect, verify, from-tfrecord, to-tfrecord; did you mean 'CIFAR10'?" CIFAR-10
refused "did you mean 'verify'?" verfy data
refused "takes one folder" verify ''
refused "--json: found 'maybe', expected true|yes|on|1 or false|no|off|0" info data --json=maybe
refused "takes one folder" verify
refused "found more words" CIFAR10 extra
refused "list takes no further word" list data

# Sources
refused "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz (md5 c32a1d4ab5d03f1284b67883e8d87530)" \
    CIFAR10
refused "nowhere: found no" CIFAR10 --source nowhere
: >file.gz
refused "file.gz: found a file, expected the folder that it is in" CIFAR10 --source file.gz
black_cifar damaged/cifar-10-batches-bin
truncate -s 30729999 damaged/cifar-10-batches-bin/data_batch_4.bin
refused "data_batch_4.bin: found 30729999 bytes, expected 30730000" CIFAR10 --source damaged
rm damaged/cifar-10-batches-bin/data_batch_4.bin
refused "data_batch_4.bin: cannot read: No such file" CIFAR10 --source damaged
black_cifar damaged/cifar-10-batches-bin
put damaged/cifar-10-batches-bin/data_batch_3.bin $((3073 * 1234)) '\x0b'
refused "data_batch_3.bin: record 1234 at byte 3792082: found label 11, expected 0 to 9" \
    CIFAR10 --source damaged
rm -r damaged
black_cifar damaged/cifar-10-batches-bin
truncate -s 1000 damaged/cifar-10-batches-bin/data_batch_1.bin
truncate -s 30730000 damaged/cifar-10-batches-bin/data_batch_1.bin
refused "damaged/cifar-10-batches-bin: channel 1: found a std of 0 (every pixel of the train split is 0)" \
    CIFAR10 --source damaged
[[ ! -e data ]] || fail "a folder after a failure"
rm -rf damaged
mkdir -p python/cifar-10-batches-py
touch python/cifar-10-batches-py/data_batch_{1..5}
refused "python/cifar-10-batches-py: found the Python version of CIFAR10, expected the binary one, cifar-10-batches-bin; get it" \
    CIFAR10 --source python
refused "python/cifar-10-batches-py: found the Python version" \
    CIFAR10 --source python/cifar-10-batches-py
rm -rf python

# The whole way, bare
black_cifar cifar-10-batches-bin
accepted "train 50000 in 4 shards, test 10000 in 1" CIFAR10
accepted "already complete" CIFAR10
accepted "written" CIFAR10 --out dropped --tfrecords drop
[[ -z $(compgen -G "dropped/*tfrecord*") ]] || fail "--tfrecords drop: found some"
accepted "everything verified" verify dropped
accepted "already complete" CIFAR10 --out dropped
[[ -z $(compgen -G "dropped/*tfrecord*") ]] || fail "complete records without TFRecords: found some"
accepted "already complete" CIFAR10 --out dropped --tfrecords keep
[[ -e data/cifar10/dataset_info.json ]] || fail "the TFRecords of pixels: no side files"
diff -r data/cifar10 dropped >out || fail "--tfrecords keep, afterwards: other files" out
rm -r dropped
mkdir elsewhere
(cd elsewhere && DN_SOURCE_DIR=.. limited "$records" CIFAR10 --shards 7 --level 1 >../out 2>&1) ||
    fail "a source in DN_SOURCE_DIR" out
[[ -f elsewhere/data/cifar10/cifar10-test-00001-of-00002.h5 ]] ||
    fail "7 train shards: expected 2 test shards"
refused "found CIFAR10, expected FASHION_MNIST" FASHION_MNIST --out data/cifar10
(cd elsewhere && limited "$records" CIFAR10 --out ../data/cifar10 >../out 2>&1) ||
    fail "complete records without a source" out
(cd elsewhere && limited "$records" CIFAR10 --out ../data/cifar10 --limit 5 >../out 2>&1) &&
    fail "other records than there are, without a source: accepted" out
accepted "CIFAR10        10 classes, train 50000, test 10000, 3x32x32, 170.1 MB" list
for line in "get      https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz" \
    "found    ./cifar-10-batches-bin" "records  data/cifar10: train 50000, test 10000"; do
    grep -qxF "    $line" out || fail "list: expected \"$line\"" out
done
flock --shared data/cifar10/making.lock "$records" CIFAR10 --shards 5 >out 2>&1 &&
    fail "two at once in one folder: accepted" out
printed "data/cifar10: another create_records is making records there" "two at once in one folder"

# Another source, even if only one byte differs, is refused with nothing changed
black_cifar other
put other/test_batch.bin 30729999 '\x0b'
cp -r data/cifar10 before
for option in "" "--shards 7" "--level 3"; do
    # shellcheck disable=SC2086
    refused "data/cifar10: found records of other images or labels than this command makes of other; name another --out" \
        CIFAR10 --source other --out data/cifar10 $option
done
diff -r before data/cifar10 || fail "another source changed the records"
rm -rf before other
accepted "everything verified" verify data/cifar10
put data/cifar10/cifar10-train.tfrecord-00002-of-00004 100000 '\x0b'
refused "cifar10-train.tfrecord-00002-of-00004: record" verify data/cifar10
rm -rf elsewhere

# Disks
if mkdir disk && mount -t tmpfs -o size=9m tmpfs disk 2>/dev/null; then
    trap 'umount "$tmp/disk"; rm -rf "$tmp"' EXIT
    refused "No space left on device" CIFAR10 --out disk/a --shards 40 --jobs 2 # room for two shards
    [[ ! -e disk/a/dataset.json ]] || fail "dataset.json on a full disk"
    mount -o remount,size=100m disk
    accepted "shards are whole; continuing with the others" CIFAR10 --out disk/a --shards 40
    accepted "everything verified" verify disk/a
    [[ $(find disk/a -type f | wc -l) == 101 ]] || fail "more files than 48 shards have"
    rm -rf disk/a
    mount -o remount,ro disk
    refused "Read-only file system" CIFAR10 --out disk/a
else
    untried "a full disk and a read-only one: this user cannot mount tmpfs"
fi
touch file
refused "file: found a file, expected a folder$" CIFAR10 --out file

# Fashion-MNIST
package=/usr/share/datasets/fashion-mnist
if [[ -d $package ]]; then
    mkdir fashion
    cp "$package"/*.gz fashion
    head -c 20000 "$package/train-labels-idx1-ubyte.gz" >fashion/train-labels-idx1-ubyte.gz
    refused "train-labels-idx1-ubyte.gz: unexpected end of file" \
        FASHION_MNIST --source fashion
    cp "$package/t10k-labels-idx1-ubyte.gz" fashion/train-labels-idx1-ubyte.gz
    refused "train-labels-idx1-ubyte.gz: found 10000 in word 1 of the header, expected 60000" \
        FASHION_MNIST --source fashion
    accepted "train 60000 in 2 shards, test 10000 in 1; mean 0.2860, std 0.3530" \
        FASHION_MNIST --out records --shards 2
    if find_python h5py numpy && command -v zstd >/dev/null; then
        limited "$python" "$tests/oracles/read_shard.py" records >out 2>&1 || fail "read_shard.py" out
    else
        untried "an independent reader, for lack of python3-h5py or zstd"
    fi
    if command -v script >/dev/null; then # the last to go on a narrow terminal
        for level in 6 10 15 19; do # until it takes long enough to be told
            rm -rf narrow
            printf -v quoted '%q ' "$records" FASHION_MNIST --out narrow --level $level
            limited script -qec "stty cols 30; $quoted" /dev/null >out </dev/null ||
                fail "create_records on a terminal" out
            ! grep -q "images/s, " out || break
        done
        grep -qE $'\r[0-9.]+ images/s, [0-9:]+ left\e\\[K' out ||
            fail "expected the rate and the time left on a narrow terminal" out
        rm -r narrow
    fi
else
    untried "Fashion-MNIST: Debian's package dataset-fashion-mnist is not installed"
fi
finish

#!/usr/bin/env bash
# The known data sets, from files that Python, scipy and tarfile made: what h5py reads from the
# records, the options that choose images, and files that are not as they should be.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
find_python PIL numpy h5py scipy ||
    skip "found no python3 with PIL, numpy, h5py and scipy (Debian: python3-scipy)"
cd "$tmp"
export TMPDIR=$tmp
program=create_records

check() { limited "$python" "$tests/oracles/sets.py" "$@" >out 2>&1 || fail "check $*" out; }

"$python" "$tests/oracles/sets.py" make "$tmp" >out 2>&1 || fail "the sets could not be made" out

# MNIST
raw=mnist/MNIST/raw
accepted "train 120 in 4 shards, test 40 in 2" MNIST --source mnist --out m
printed "found 120 images for the train split, the authors' files have 60000" "MNIST: a number of images that is not the authors'"
check pixels m $raw/train.npz train
check pixels m $raw/test.npz test
check classes m 0 1 2 3 4 5 6 7 8 9
accepted "everything verified" verify m
cp $raw/t10k-labels-idx1-ubyte.gz $raw/train-labels-idx1-ubyte.gz
refused "train-labels-idx1-ubyte.gz: found 40 in word 1 of the header, expected 120" MNIST --source mnist
put $raw/train-images-idx3-ubyte 4 '\x7f'
refused "train-images-idx3-ubyte: found 2130706552 images in a file of 94096 bytes" MNIST --source mnist
head -c 7 /dev/zero >$raw/train-images-idx3-ubyte
refused "train-images-idx3-ubyte: found 7 bytes, expected 8 or more" MNIST --source mnist

mkdir -p cifar/data_batch_2.bin
head -c 30730000 /dev/zero >cifar/data_batch_1.bin
refused "cifar/data_batch_2.bin: found a folder or a device, expected a file" CIFAR10 --source cifar
rm -r cifar

mkdir closed closed/MNIST
chmod 000 closed
plainly=()
((EUID != 0)) || plainly=(setpriv --bounding-set=-dac_override,-dac_read_search)
if "${plainly[@]}" true 2>/dev/null && ! "${plainly[@]}" ls closed >/dev/null 2>&1; then
    limited "${plainly[@]}" "$build/$program" MNIST --source closed >out 2>&1 && fail "an unreadable source: accepted"
    printed "^create_records: closed: cannot read: Permission denied" "an unreadable source"
else
    untried "an unreadable source: this user reads any"
fi
chmod 755 closed

# SVHN
accepted "train 60 in 4 shards, test 20 in 2" SVHN --source svhn --out s
printed "svhn/train_32x32.mat: found SHA-256 .*; not the authors' file" "SVHN: a digest"
check pixels s svhn/train.npz train
check pixels s svhn/test.npz test
accepted "train 90 in 4 shards" SVHN --source svhn --out x --extra
check pixels x svhn/both.npz train
refused "found records of other images or labels" SVHN --source svhn --out s --extra
refused "--extra: found an option of other commands, expected one of 'create_records MNIST --help'" MNIST --extra
mkdir odd
cp svhn/test_32x32.mat odd
odd() { # NAME TEXT: odd_NAME.mat in place of the train split
    cp "svhn/odd_$1.mat" odd/train_32x32.mat
    refused "odd/train_32x32.mat: $2" SVHN --source odd
}
odd gray "found X of another shape or type, expected uint8 (32, 32, 3, N)"
odd double "found X of another shape or type"
odd wide "found X of another shape or type"
odd label0 "found label 0 at index 0, expected 1 to 10"
odd label11 "found label 11 at index 0, expected 1 to 10"
odd half "found label -1 at index 0, expected 1 to 10"
odd few "found fewer numbers in y than the 5 images of X"
odd many "found more numbers in y than the 5 images of X"
odd no_x "found no X, expected uint8"
odd no_y "found fewer numbers in y"
odd version4 "found no Matlab file of version 5"
odd version7 "found no Matlab file of version 5"
for cut in 1000 40000 61000; do
    head -c $cut svhn/test_32x32.mat >odd/train_32x32.mat
    refused "odd/train_32x32.mat: the element at byte 128 is cut off$" SVHN --source odd
done

cp svhn/test_32x32.mat odd/train_32x32.mat
put odd/train_32x32.mat 20000 '\x55'
refused "odd/train_32x32.mat: the packed element that ends at byte" SVHN --source odd

# CIFAR-100
accepted "100 classes, 3x32x32, train 2000 in 4 shards, test 2000 in 4" CIFAR100 --limit 20 --out c
check pixels c cifar100_train.npz train
check pixels c cifar100_test.npz test
accepted "everything verified" verify c
accepted "TFRecords written" to-tfrecord c --out again
for file in c/*.tfrecord-*; do
    cmp "$file" "again/${file#c/}" || fail "CIFAR-100: other bytes from to-tfrecord in ${file#c/}"
done
accepted "cifar100, 100 classes, 3x32x32" from-tfrecord again/*.tfrecord-* --out back
check pixels back cifar100_train.npz train
check pixels back cifar100_test.npz test
accepted "everything verified" verify back
accepted "2 classes" CIFAR100 --classes worm,apple --out c2 --level 1
refused "CIFAR100: found one class, expected 2 or more" CIFAR100 --classes worm --out c1
check classes c2 apple worm
for state in written "already complete"; do # as many shards as images, where these are few
    accepted "train 2 in 2 shards, test 2 in 2" CIFAR100 --classes worm,apple --limit 1 --out c3
    printed "; $state$" "few images: expected $state"
done
refused 'found no class "worms" in CIFAR100; did you mean '"'worm'?" CIFAR100 --classes apple,worms

# Choosing images of pixels: what is drawn depends on the seed, and each class has its part
accepted "train 1600 in 4 shards, test 400 in 1" \
    CIFAR100 --limit 20 --val-fraction 0.2 --out v --level 1
grep -q "the test split is 400 images of the train split; the authors' 2000 test images are left out" \
    out || fail "--val-fraction's line" out
"$python" - >out 2>&1 <<'EOF' || fail "--val-fraction: what is drawn" out
import collections
import h5py
labels = h5py.File("v/cifar100-test-00000-of-00001.h5")["labels"][:]
assert set(collections.Counter(labels).values()) == {4}
EOF
refused "found records of other images" CIFAR100 --limit 20 --val-fraction 0.2 --out v --level 1 --seed 2
accepted "already complete" CIFAR100 --limit 20 --val-fraction 0.2 --out v --level 1 --jobs 1
put cifar-100-binary/train.bin $((3074 * 3 + 1)) '\x64'
refused "train.bin: record 3 at byte 9223: found label 100, expected 0 to 99" CIFAR100

# Tiny ImageNet: classes by code point, images to the byte, the validation split by its list
tiny=tiny-imagenet-200
accepted "3 classes, encoded images, train 36 in 1 shards, test 10 in 1" TINY_IMAGENET --out t
check classes t n01 n02 n03
# shellcheck disable=SC2046
check encoded t train $(printf '%s\n' $tiny/train/*/images/*.JPEG | LC_ALL=C sort)
val=$tiny/val/images/val_
check encoded t test "$val"{1,4,7}.JPEG "$val"{2,5,8}.JPEG "$val"{0,3,6,9}.JPEG
accepted "everything verified" verify t
accepted "2 classes, encoded images, train 24 in 1 shards, test 6" TINY_IMAGENET --classes n01,n02 --out t2
accepted "train 6 in 1 shards, test 6 in 1" TINY_IMAGENET --limit 2 --out t3
check encoded t3 test "$val"{1,4}.JPEG "$val"{2,5}.JPEG "$val"{0,3}.JPEG
accepted "train 27 in 1 shards, test 9 in 1" TINY_IMAGENET --val-fraction 0.25 --out t4
sed 's/n02/n05/' $tiny/val/val_annotations.txt >list
cp list $tiny/val/val_annotations.txt
refused 'val_annotations.txt: line 3: found the class "n05", which is not among those of the train split' \
    TINY_IMAGENET
printf 'val_0.JPEG n01\nval_1.JPEG\n' >$tiny/val/val_annotations.txt
refused "val_annotations.txt: line 2: found 1 words, expected 2" TINY_IMAGENET
: >$tiny/val/val_annotations.txt
refused "val_annotations.txt: found no line" TINY_IMAGENET
rm $tiny/val/val_annotations.txt $tiny/train/n01/images/*
refused "n01: found no image but 1 files, such as " TINY_IMAGENET

# ImageNet: the same records from folders, from tar files, and from flat files with each kind of list
accepted "3 classes, encoded images, train 24 in 1 shards, test 9 in 1" \
    IMAGENET --source imagenet/folders --out i
DN_SOURCE_DIR=imagenet/folders accepted "already complete" IMAGENET --out i
check classes i n01 n03 n04
# shellcheck disable=SC2046
check encoded i train $(printf '%s\n' imagenet/folders/train/*/*.JPEG | LC_ALL=C sort)
for split in train val; do
    refused "--out: found imagenet/folders/$split/records in imagenet/folders/$split, whose folders are classes" \
        IMAGENET --source imagenet/folders --out imagenet/folders/$split/records
done
accepted "already complete" IMAGENET --source imagenet/tars --out i
accepted "written" IMAGENET --source imagenet/tars --out tars
diff -r i tars || fail "other bytes from tar files"
limited "$build/$program" inspect tars --sample 0 >out 2>&1
printed "^file     train/n01/" "the name of a file in a tar file"
for list in by_name.txt by_label.txt ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt; do
    accepted "already complete" IMAGENET --source imagenet/flat --val-labels imagenet/$list --out i
    accepted "already complete" IMAGENET --source imagenet/tars --val-labels imagenet/$list --out i
done
refused "imagenet/flat: found no classes of the validation images: no folders, no ILSVRC2012_devkit_t12.tar.gz" \
    IMAGENET --source imagenet/flat
ln -s ../ILSVRC2012_devkit_t12 imagenet/flat
accepted "already complete" IMAGENET --source imagenet/flat --out i
accepted "2 classes, encoded images, train 4 in 1 shards, test 4 in 1" \
    IMAGENET --source imagenet/tars --classes n01,n04 --limit 2 --out i2
accepted "already complete" IMAGENET --source imagenet/flat --val-labels imagenet/by_label.txt --classes n01,n04 \
    --limit 2 --out i2
accepted "already complete" IMAGENET --source imagenet/folders --classes n01,n04 --limit 2 --out i2
accepted "train 18 in 1 shards, test 6 in 1" IMAGENET --source imagenet/tars --val-fraction 0.25 --out i3
accepted "already complete" IMAGENET --source imagenet/folders --val-fraction 0.25 --out i3
printf '9\n' >>imagenet/ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt
refused "meta.mat: found no synset of id 9 without children" IMAGENET --source imagenet/flat
echo "ILSVRC2012_val_00000010.JPEG n01" >>imagenet/by_name.txt
refused "ILSVRC2012_img_val.tar: found no ILSVRC2012_val_00000010.JPEG in it" \
    IMAGENET --source imagenet/tars --val-labels imagenet/by_name.txt
refused "flat/val/ILSVRC2012_val_00000010.JPEG: cannot read: No such file" \
    IMAGENET --source imagenet/flat --val-labels imagenet/by_name.txt
size=$(stat -c %s imagenet/tars/ILSVRC2012_img_train.tar)
mkdir cuts
for cut in 100 600 2000 $((size / 2)); do
    head -c "$cut" imagenet/tars/ILSVRC2012_img_train.tar >cuts/ILSVRC2012_img_train.tar
    refused "cuts/ILSVRC2012_img_train.tar: no *tar archive: " IMAGENET --source cuts
done
"$python" - cuts/ILSVRC2012_img_train.tar <<'END'
import sys, tarfile
with tarfile.open(sys.argv[1], "w", format=tarfile.PAX_FORMAT) as tar:
    entry = tarfile.TarInfo("n01.tar")
    entry.pax_headers = {"GNU.sparse.realsize": str(2**63 - 1)}
    tar.addfile(entry)
END
refused "cuts/ILSVRC2012_img_train.tar: found the entry n01.tar cut off" IMAGENET --source cuts
rm imagenet/tars/ILSVRC2012_img_val.tar
refused "found no validation images in val nor in ILSVRC2012_img_val.tar; --val-fraction takes them from train" \
    IMAGENET --source imagenet/tars
[[ -z $(compgen -G "$program.*") ]] || fail "the devkit's folder is left"
works list
sets=($(grep -oE '^[A-Z0-9_]+' out)) || true
((${#sets[@]} > 6)) || fail "list: found ${#sets[@]} data sets" out
sed -e ':a' -e '/\\$/{N;s/\\\n *//;ta' -e '}' "$tests"/cli/*.sh >joined
for set in "${sets[@]}"; do
    grep -qE "^ *(works|accepted \"[^\"]*\") $set( |\$)" joined || fail "found no test that converts $set"
done
finish

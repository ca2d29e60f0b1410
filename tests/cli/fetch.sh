#!/usr/bin/env bash
# create_records --download from a web server on loopback that breaks off, stalls, redirects, does
# not support ranges or sends something else.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
find_python PIL numpy h5py scipy ||
    skip "found no python3 with PIL, numpy, h5py and scipy (Debian: python3-scipy)"
cd "$tmp"
program=create_records
records=$build/$program

PYTHONPATH=$tests/oracles "$python" - >out 2>&1 <<'EOF' || fail "the files could not be made" out
import pathlib
import shutil
import sets
web = pathlib.Path("web")
sets.make_idx(web / "mnist")
sets.make_tiny(pathlib.Path("files/tiny-imagenet-200"))
shutil.make_archive("web/tiny-imagenet-200", "zip", "files")
shutil.make_archive("web/tiny", "gztar", "files")
shutil.make_archive("web/other", "zip", "web/mnist")
for path in list((web / "mnist").glob("*ubyte*")):
    name = path.name if path.suffix == ".gz" else path.name + ".gz"
    content = path.read_bytes()
    (web / name).write_bytes(content) # the reader looks at the content
EOF
"$python" "$tests/support/web.py" web log >port 2>server &
server=$!
trap 'kill "$server"; rm -rf "$tmp"' EXIT
await $server test -s port
url=http://127.0.0.1:$(cat port)
zip=tiny-imagenet-200.zip
sum=$(sha256sum "web/$zip" | cut -d ' ' -f 1)

# get STATUS TEXT ARGUMENT...: create_records TINY_IMAGENET --download, whose output contains TEXT.
get() {
    local expected=$1 text=$2 status=0
    shift 2
    : >log
    limited "$records" TINY_IMAGENET --download --out t "$@" >out 2>&1 || status=$?
    ((status == expected)) || fail "$*: found status $status, expected $expected" out
    grep -qF -- "$text" out || fail "$*: expected \"$text\"" out
    ((expected == 0)) || [[ $(tail -n 1 out) == "create_records: "* ]] || fail "$*: the last line" out
    ((expected == 0)) || [[ ! -e data/downloads/tiny_imagenet/$zip ]] || fail "$*: it is kept" out
}

# fresh: removes all downloads.
fresh() { rm -rf data t; }

requests() { wc -l <log; }

# Progress on a terminal
script -qec "$records TINY_IMAGENET --download --out t --url $url/slow/$zip --sha256 $sum" /dev/null \
    >out 2>&1 </dev/null || fail "a slow server, on a terminal" out
grep -qE "$zip \[#+\.*\] [0-9]+/[0-9]+ kB, .* left" out || fail "the bar of a transfer" out
fresh

# A whole file, what is there already, and the default folder
get 0 "train 36 in 1 shards, test 10 in 1" --url "$url/plain/$zip" --sha256 "$sum"
printed "tiny-imagenet-200.zip: 0.1 MB, of the expected checksum" "the checksum's line"
[[ -f data/downloads/tiny_imagenet/$zip && -d data/downloads/tiny_imagenet/tiny-imagenet-200/train ]] ||
    fail "the default folder"
[[ -z $(find . -name '*.partial') ]] || fail "temporary files"
get 0 "already complete" --url "$url/plain/$zip" --sha256 "$sum"
[[ $(requests) == 0 ]] || fail "a set that is there was got again" log
works TINY_IMAGENET --out t # from the default folder
rm -r data/downloads/tiny_imagenet/tiny-imagenet-200
get 0 "found it, so it is not downloaded again" --url "$url/plain/$zip" --sha256 "$sum"
[[ $(requests) == 0 && -d data/downloads/tiny_imagenet/tiny-imagenet-200 ]] ||
    fail "an archive that is there was not unpacked" log
fresh
get 0 "bytes without a known checksum (--sha256)" --url "$url/plain/tiny.tar.gz"

# Breaks in the middle: taken up where they were
fresh
get 0 "written" --url "$url/break/$zip" --sha256 "$sum"
(($(grep -c "bytes=" log) >= 5)) || fail "a server that breaks off: expected ranges" log
for how in once nolength moved stall busy; do
    fresh
    get 0 "written" --url "$url/$how/$zip" --sha256 "$sum" --timeout 2
done
fresh
get 1 "expected 0000" --url "$url/plain/$zip" --sha256 "${sum//?/0}"
[[ -z $(find data -type f) ]] || fail "a wrong checksum: something is left"

# No ranges: from the start
fresh
get 0 "written" --url "$url/norange/$zip" --sha256 "$sum"
[[ $(requests) == 3 ]] || fail "without ranges" log

# A run that was killed, or given up: the next one resumes
fresh
size=$(stat -c %s "web/$zip")
mkdir -p data/downloads/tiny_imagenet
partial=data/downloads/tiny_imagenet/$zip.partial
head -c 5000 "web/$zip" >"$partial"
get 0 "from where it broke off" --url "$url/plain/$zip" --sha256 "$sum"
[[ $(cat log) == "/plain/$zip bytes=5000-" ]] || fail "an earlier run's bytes" log
fresh
get 1 "given up after 4 tries that brought nothing" --url "$url/silent/$zip" --sha256 "$sum" --timeout 1
mkdir -p data/downloads/tiny_imagenet
head -c 5000 /dev/urandom >"$partial"
get 0 "written" --url "$url/plain/$zip" --sha256 "$sum"
[[ $(tail -n 1 log) == "/plain/$zip -" ]] || fail "an earlier run's bytes of another file" log
fresh
mkdir -p data/downloads/tiny_imagenet
head -c $((size + 9)) /dev/urandom >"$partial"
get 0 "written" --url "$url/plain/$zip" --sha256 "$sum"

# What is refused, each by one line
fresh
get 1 "returned error: 404" --url "$url/nowhere/$zip"
get 1 "redirect" --url "$url/loop/$zip"
get 1 "Protocol \"file\"" --url "$url/local/$zip"
get 1 "Protocol \"ftp\"" --url "$url/other/$zip"
get 1 "Protocol \"file\"" --url "file://$tmp/web/$zip"
get 1 "found the answer 302, expected 200 or 206" --url "$url/lost/$zip"
get 1 "found the answer 204, expected 200 or 206" --url "$url/nothing/$zip"
get 1 "found an empty file" --url "$url/empty/$zip"
get 1 "not a sound archive" --url "$url/page/$zip"
get 1 "resolve" --url "http://nowhere.invalid/$zip"
get 1 "connect" --url "http://127.0.0.1:1/$zip"
get 1 "not used" --url "$url/wrong/$zip" --sha256 "$sum"
get 1 "not a sound archive" --url "$url/wrong/$zip"
get 1 "found no tiny-imagenet-200/wnids.txt in it" --url "$url/plain/other.zip"
get 1 "--sha256: found 'abc', expected 64 hex digits" --url "$url/plain/$zip" --sha256 abc
get 1 "--sha256: found it without --url" --sha256 "$sum"
[[ -z $(find data -type f) ]] || fail "files of a failure are left: $(find data -type f)"
exec 8>"$partial"
flock 8
get 1 "another create_records is downloading it" --url "$url/plain/$zip"
exec 8>&-
rm "$partial"
refused "--url: found it without --download" TINY_IMAGENET --url "$url/plain/$zip"
for from in "" "--url $url/plain/"; do
    # shellcheck disable=SC2086
    refused "IMAGENET: its authors give the files to registered users only; get ILSVRC2012_img_train.tar" \
        IMAGENET --download $from
done
refused "--download: found an option of other commands, expected one of 'create_records FOLDER --help'" FOLDER --download

# A set of several files: the URL of their folder; a source of one's own; those that are there stay
mkdir own
accepted "train 120 in 4 shards" MNIST --download --url "$url/once/" --source own --out m
[[ $(find own -type f | wc -l) == 4 ]] || fail "MNIST's files"
rm own/t10k-images-idx3-ubyte.gz
: >log
works MNIST --download --url "$url/plain/" --source own --out m
[[ $(cat log) == "/plain/t10k-images-idx3-ubyte.gz -" ]] || fail "one file of MNIST is missing" log
refused "expected the URL of a folder, with '/' at its end: MNIST has 4 files" MNIST --download --url "$url/plain" --out m2
refused "pages/train-images-idx3-ubyte.gz: *; remove the file, and run --download again" MNIST --download --url "$url/page/" \
    --source pages --out m2

# Two at once: the second waits, and finds what the first got
fresh
: >log
folder=data/downloads/tiny_imagenet
mkdir -p $folder
exec 8>$folder/making.lock
flock 8
for i in 1 2; do
    limited "$records" TINY_IMAGENET --download --url "$url/plain/$zip" --sha256 "$sum" --out "t$i" >"out$i" 2>&1 8>&- &
    pids[i]=$!
done
for i in 1 2; do
    await "${pids[i]}" grep "waiting for another create_records" "out$i"
done
exec 8>&-
for i in 1 2; do
    wait "${pids[i]}" || fail "two at once: command $i" "out$i"
    grep -q "waiting for another create_records" "out$i" || fail "two at once: no line of it" "out$i"
done
[[ $(requests) == 1 ]] || fail "two at once: the archive was got twice" log

# A half set is no set to be got, and its message says what to do
half=half/cifar-10-batches-bin
mkdir -p $half
truncate -s 30730000 $half/data_batch_1.bin
refused "half/*; get it with --download" CIFAR10 --source half --out c
refused "half/*; remove what is in $half, then get it with --download" CIFAR10 --source half --download --out c
finish

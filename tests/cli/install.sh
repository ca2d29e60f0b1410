#!/usr/bin/env bash
# What is installed, and the .deb: programs that run from there, manual pages, completion, and
# Slurm scripts that find what they need, alone too.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
for tool in help2man man dpkg-shlibdeps file; do
    command -v $tool >/dev/null || skip "found no $tool (Debian: help2man, man-db, dpkg-dev, file)"
done
cd "$tmp"

cmake --install "$build" --prefix "$tmp/root/usr" >out 2>&1 || fail "cmake --install" out
(cd "$build" && cpack -G DEB -B "$tmp/deb") >out 2>&1 || fail "cpack" out
dpkg-deb -f deb/*.deb Depends >depends
for package in openmpi-bin libopenblas0-openmp libhdf5 libjpeg; do
    grep -q "$package" depends || fail "the package depends on no $package" depends
done
dpkg-deb -x deb/*.deb unpacked
diff <(cd root && find . -type f | sort) <(cd unpacked && find . -type f | sort) >out ||
    fail "other files in the package than installed" out

# Programs
[[ $(PKG_CONFIG_PATH=unpacked/usr/share/pkgconfig pkg-config --variable=slurmdir dn_dist) -ef \
    unpacked/usr/share/dn_dist/slurm ]] || fail "pkg-config: the folder of Slurm scripts"

# Documents: each link of one leads to another, and the list of pages has all
documents=unpacked/usr/share/doc/dn_dist
for document in $documents/*.md $documents/docs/*.md; do
    for path in $(grep -o "](\([^)#:]*\)[)#]" "$document" | tr -d '](#)'); do
        [[ -e $(dirname "$document")/$path ]] || fail "$document: found no $path"
    done
done
for document in $documents/docs/*.md; do
    grep -q "($(basename "$document"))" $documents/docs/README.md || [[ $document == */README.md ]] ||
        fail "docs/README.md does not list $document"
done
for program in dn_dist create_records; do
    PATH=/bin limited "unpacked/usr/bin/$program" --version >out 2>&1 || fail "$program --version" out
done
grep -qxF "$(realpath unpacked/usr/share/dn_dist/recipes)" <(unpacked/usr/bin/dn_dist recipes) ||
    fail "the package's recipes"
[[ -e unpacked/usr/lib/dn_dist/hdf5/libH5Zzstd.so ]] || fail "the package's HDF5 filter"
[[ -x unpacked/usr/share/dn_dist/scripts/pth_to_safetensors.py ]] || fail "the package's scripts"
limited unpacked/usr/bin/dn_dist bench --model fashion-mnist-tiny --batch-size 4 --steps 1 \
    --warmup 0 >out 2>&1 || fail "bench of the package" out

# Manual pages: one a command, and none with a warning
pages=root/usr/share/man/man1
limited "$build/dn_dist" --help | awk '/^commands:/ { on = 1; next } /^$/ { on = 0 } on { print $1 }' >commands
[[ -s commands ]] || fail "found no commands"
while read -r command; do
    [[ -s $pages/dn_dist-$command.1 ]] || fail "found no page of dn_dist $command"
    grep -q "^dn_dist-$command .- " "$pages/dn_dist-$command.1" || fail "the name of dn_dist-$command.1"
done <commands
for page in "$pages"/*.1; do
    LC_ALL=C.UTF-8 MANROFFSEQ= MANWIDTH=80 man --warnings=w -E UTF-8 -l -Tutf8 "$page" >out 2>error ||
        fail "$page" error
    ! grep -v "can't break line" error || fail "$page: warnings" error
    name=$(basename "$page" .1)
    grep -q "^$name(1) .* $name(1)$" out || fail "$page: expected $name(1) at its top" out
done
MANWIDTH=80 man -l "$pages/dn_dist-train.1" | col -b -x >page
grep -q -- "--virtual" page || fail "dn_dist-train.1: an option" page
for line in hflip:p=0.5 "rotate:degrees=D:interpolation=nearest:fill=0" densenet121; do
    grep -q "^ *$line$" page || fail "dn_dist-train.1: expected a line $line" page
done
grep -qx "SEE ALSO" page || fail "dn_dist-train.1: expected a section SEE ALSO" page
for program in dn_dist create_records; do
    MANWIDTH=80 man -l "$pages/$program.1" | col -b -x | sed -n '/^SYNOPSIS/,/^DESCRIPTION/p' >page
    diff <(sed '1d;$d;/^$/d;s/^ *//' page) <(limited "$build/$program" --help |
        awk 'NR > 1 && !/^ / { exit } { sub(/^(Usage:)? */, ""); print }') >out || fail "$program.1: usage" out
done

sections=$(man -l "$pages/dn_dist.1" | col -b | grep '^[A-Z]' | xargs)
[[ $sections == *"DESCRIPTION EXIT STATUS ENVIRONMENT"* ]] || fail "dn_dist.1: found $sections"

# Completion
mkdir -p runs/one
touch runs.ini "a file"
complete_words() { # WORD...: what may stand for the last one
    PATH=$tmp/root/usr/bin:$PATH bash -c 'compopt() { :; }
        source root/usr/share/bash-completion/completions/$1 && COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1)) && _$1 && echo "${COMPREPLY[*]}"' - "$@"
}
completes() { # EXPECTED WORD...
    local expected=$1
    shift
    [[ $(complete_words "$@") == "$expected" ]] ||
        fail "completing $*: found '$(complete_words "$@")', expected '$expected'"
}
completes train dn_dist tr
completes "--init --init-from" dn_dist train --ini
completes "cosine constant" dn_dist train --schedule co
completes cosine dn_dist train --schedule = cos
completes root dn_dist train --data ro
completes "densenet-course" dn_dist train --model densenet-c
completes fashion-mnist-tiny dn_dist info --recipe fash
completes runs.ini dn_dist train --recipe runs.
completes "runs runs.ini" dn_dist train --config run
completes "--no-nesterov" dn_dist train --no-n
completes "--no-once" dn_dist top --no
completes runs dn_dist top ru
completes "runs runs.ini" dn_dist predict --json ru
completes "a file" dn_dist eval --checkpoint a
completes "--help --version" dn_dist models ""
completes verify create_records ver
completes list create_records li
completes runs create_records ru
completes runs create_records verify ru
completes "runs runs.ini" create_records from-tfrecord ru
completes "--out --on-bad-image" create_records FOLDER --o
completes --out create_records CIFAR10 --o
completes "--out --on-bad-image" create_records --o
completes skip create_records FOLDER --on-bad-image sk

# Where zsh looks: below /usr Debian's folder, elsewhere the one of all
cmake --install "$build" --prefix "$tmp/local" >out 2>&1 || fail "cmake --install elsewhere" out
[[ -s root/usr/share/zsh/vendor-completions/_dn_dist && -s local/share/zsh/site-functions/_dn_dist ]] ||
    fail "completion of zsh: where it was installed"

# The same in zsh, typed into one: its line after a tab
zsh_line() { # TYPED: the line that becomes of it
    rm -f line
    PATH=$tmp/root/usr/bin:$PATH TYPED=$1 limited zsh -f >zsh-output 2>&1 <<'END'
zmodload zsh/zpty
zpty shell 'zsh -f -i'
zpty -w shell 'PROMPT=; fpath=($PWD/root/usr/share/zsh/vendor-completions $fpath)
    autoload -U compinit; compinit -u -D; unsetopt beep
    show() { print -r -- $BUFFER >line.partial; mv line.partial line }
    zle -N show; bindkey "^X" show; touch ready'
until [[ -e ready ]]; do zpty -r -t shell output; sleep 0.05; done
rm ready
zpty -w -n shell "$TYPED"$'\t\x18'
until [[ -e line ]]; do zpty -r -t shell output; sleep 0.05; done
zpty -d shell
END
    sed 's/ $//' line
}
becomes() { # EXPECTED TYPED
    local found
    found=$(zsh_line "$2") || true
    [[ $found == "$1" ]] || fail "zsh, completing $2: found '$found', expected '$1'" zsh-output
}
if command -v zsh >/dev/null; then
    becomes "dn_dist train" "dn_dist tr"
    becomes "dn_dist train --label-smoothing=" "dn_dist train --lab"
    becomes "dn_dist train --no-nesterov" "dn_dist train --no-n"
    becomes "dn_dist train --schedule cosine" "dn_dist train --schedule cos"
    becomes "dn_dist train --model=densenet-course" "dn_dist train --model=densenet-c"
    becomes "dn_dist info --recipe fashion-mnist-tiny" "dn_dist info --recipe fash"
    becomes "dn_dist train --recipe runs.ini" "dn_dist train --recipe runs."
    becomes "dn_dist train --data runs/" "dn_dist train --data ru"
    becomes "dn_dist top runs/" "dn_dist top ru"
    becomes "dn_dist eval --checkpoint a\ file" "dn_dist eval --checkpoint a"
    becomes "create_records verify" "create_records ver"
    becomes "create_records runs/" "create_records ru"
    becomes "create_records info runs/" "create_records info ru"
    becomes "create_records FOLDER --on-bad-image skip" "create_records FOLDER --on-bad-image sk"
else
    untried "completion in zsh: found no zsh"
fi

# Slurm scripts beside the programs, and a copy of their folder alone
cp -r root/usr/share/dn_dist/slurm copied
mkdir bin
for tool in scontrol srun; do
    printf '#!/bin/bash\n[[ $* != "show job"* ]] || echo " Command=$FOLDER/densenet121.sh --x /y"
[[ $* != "show hostnames"* ]] || echo here\n[[ $0 != */srun ]] || { echo "srun $*"; exit 0; }\n' >bin/$tool
    chmod +x bin/$tool
done
submit() { # FOLDER PATH
    env FOLDER="$1" PATH="$tmp/bin:$2:/usr/bin:/bin" SLURM_JOB_ID=1 SLURM_JOB_NUM_NODES=1 \
        SLURM_CPUS_ON_NODE=1 SLURM_JOB_NODELIST=here SLURM_NTASKS=1 SLURM_CPUS_PER_TASK=1 \
        SLURM_SUBMIT_DIR=/nowhere bash copied/densenet121.sh >out 2>&1
}
submit "$tmp/root/usr/share/dn_dist/slurm" /bin || fail "the installed Slurm script" out
grep -q "srun .* dn_dist train --model densenet121" out || fail "the installed Slurm script" out
submit "$tmp/copied" "$tmp/root/usr/bin" || fail "a copy of the Slurm scripts" out
grep -q "srun .* dn_dist train --model densenet121" out || fail "a copy of the Slurm scripts" out
! submit "$tmp/copied" /bin || fail "a copy without the program: accepted"
grep -q "dn_dist: expected in" out || fail "a copy without the program" out
finish

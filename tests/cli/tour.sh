#!/usr/bin/env bash
# Runs the commands of a new user's first hour, and compares their output with docs/tour.md or writes it.
#
#     tests/cli/tour.sh BUILD [--write]
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
raw=/usr/share/datasets/fashion-mnist
[[ -d $raw ]] || skip "Debian's package dataset-fashion-mnist is not installed"
find_python torch h5py || skip "found no python3 with torch and h5py"
[[ $("$build/dn_dist" --version) != *"kernels generic"* ]] ||
    skip "the weights are those of a processor with AVX2 or more"

# A home folder with a clone whose build folder is the one to test. More ranks than cores are allowed.
export HOME=$tmp/home LC_ALL=C.UTF-8 PATH=$tmp/home/.local/bin:$tmp/bin:$PATH
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe PRTE_MCA_hwloc_default_binding_policy=none
mkdir -p "$HOME/dn_dist" "$tmp/bin"
printf '#!/bin/sh\nexec %s "$@"\n' "$(command -v "$python")" >"$tmp/bin/python3"
chmod +x "$tmp/bin/python3"
cd "$HOME/dn_dist"
ln -s "$build" build
ln -s "$repo/slurm" "$repo/scripts" .
fresh=$tmp/tour.md
moments=0

# Replaces or drops what differs between machines and runs, such as which shard is made first.
normalise() {
    tr '\r' '\n' | awk '!/^[^ ]+-of-[0-9]+(\.h5)?: [0-9]+ images/ { print; cut = 0; next }
        !cut++ { print "..." }' | sed -E \
        -e '/^-{70,}$/,/^-{70,}$/d' \
        -e '/^rank  +host /d' -e '/^[0-9]+(-[0-9]+)?  +[^ ]+  +[0-9]+  +[0-9]+  .*(yes|no)  +[0-9]+$/d' \
        -e '/^warning: rank [0-9]/d' -e '/^ +a CPU quota grants /d' -e '/^epoch [0-9]+\/[0-9]+ step /d' \
        -e '/shards are whole/d' -e '/^[a-z ]+: [0-9]+\/[0-9]+ [a-z]+, .* left$/d' \
        -e "s|$HOME|/home/me|g; s|$repo|/home/me/dn_dist|g" \
        -e 's/[0-9.]+ images\/s/N images\/s/g' \
        -e 's/, ([0-9]+:)*[0-9]+:[0-9]{2}  weights/, M:SS  weights/' \
        -e 's/([0-9]+:)*[0-9]+:[0-9]{2} left/M:SS left/' \
        -e 's/kernels [a-z0-9_]+/kernels NAME/; s/Open MPI v[0-9.]+.*/Open MPI vN/' \
        -e 's/^sources [0-9a-f]{16}$/sources HASH/' \
        -e 's/x [0-9]+ threads/x N threads/' \
        -e 's/[0-9.]+ MB/N MB/g' \
        -e 's/process [0-9]+ on host [^ ]+/process PID on host NAME/' \
        -e 's/expected train, eval, .* or [a-z]+/expected train, eval, .../'
}

moment() { # TITLE, WORDS on standard input
    moments=$((moments + 1))
    printf '\n## %d. %s\n\n' $moments "$1"
    cat
    echo
}

# typed COMMAND [FILTER...]: runs it here, and prints it with its filtered output.
typed() {
    local command=$1 status=0
    shift
    sed '1s/^/    $ /; 2,$s/^/    > /' <<<"$command"
    eval "$command" >"$tmp/said" 2>&1 </dev/null || status=$?
    normalise <"$tmp/said" | "${@:-cat}" | sed 's/^/    /'
    ((status == 0)) || echo "    (exit status $status)"
}
first() { awk -v n="$1" 'NR <= n; END { if (NR > n) print "..." }'; }
last() { awk -v n="$1" '{ l[NR] = $0 }
    END { if (NR > n) print "..."; for (i = NR - n + 1; i <= NR; i++) if (i > 0) print l[i] }'; }
numbers() { first 8 | sed -E 's/ +[0-9]+([.][0-9]+)?/ N/g'; }
steps() { sed -E 's/checkpoint-[0-9]+/checkpoint-STEP/g; s/at step [0-9]+/at step STEP/'; }
ending() { steps | last 2; }
# started FOLDER COMMAND: starts a run in the background, and suspends it at its first checkpoint.
started() {
    echo "    \$ $2 &"
    eval "$2 >$tmp/job 2>&1 </dev/null &"
    job=$!
    until compgen -G "$1/checkpoint-*.h5" >"$tmp/found" || ! kill -0 $job 2>/dev/null; do
        sleep 0.001 # the run is short
    done
    kill -STOP -$job || true
}
# ends: resumes that run and waits for its end.
ends() {
    local status=0
    kill -CONT -$job 2>/dev/null || true
    wait $job 2>/dev/null || status=$?
    normalise <"$tmp/job" | grep "^dn_dist: stopped" | steps | sed 's/^/    /' || true
    echo "    (exit status of the run: $status)"
}
set -m

tour() {
    cat <<'END'
# A tour: what one types, and what comes back

A new user's commands and their output, mistakes included. `tests/cli/tour.sh` runs them and writes this page
(`tests/cli/tour.sh build --write`); as a test, it compares the output with this page. Placeholders replace what
differs between machines, such as N for a speed. The table of ranks and cores at the start of a run,
progress lines, warnings about shared cores and `mpirun`'s own lines are left out; `...` stands for other
omitted lines. Open MPI may start more ranks than there are cores, by `export
OMPI_MCA_rmaps_base_oversubscribe=1`, or for Open MPI 5 `export
PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe`.

The data set is 200 images of each class of Fashion-MNIST, so the whole tour takes seconds.
END

    # ---- to begin -------------------------------------------------------------------------------

    moment "Installing" <<'END'
After the build, install for the current user; `~/.local/bin` is on the `PATH`.
END
    typed 'cmake --install build --prefix ~/.local >install.log'
    typed 'ls ~/.local/bin ~/.local/share/dn_dist'
    typed 'dn_dist --version'

    moment "What is there to do?" <<'END'
Each command has `--help`; `dn_dist help COMMAND` prints the same.
END
    typed 'dn_dist' first 5
    typed 'dn_dist help eval' first 5

    moment "Starting at once" <<'END'
The default data set is CIFAR-10, which is not here yet.
END
    typed 'dn_dist train'

    moment "Which data sets are known" <<'END'
`found` marks the ones on this machine.
END
    typed 'create_records list' grep -A 2 ^FASHION_MNIST

    moment "The first records" <<'END'
Fashion-MNIST is in a Debian package. Lower case works, and a similar name is suggested.
END
    typed 'create_records fashion-mnist'
    typed 'create_records fashion_mnist --limit 200'
    typed 'create_records fashion_mnist --limit 200'
    typed 'create_records fashion_mnist --limit 100'

    moment "Looking at records" <<'END'
The PNG shows images with class and number, or with `--augment` as training sees them.
END
    typed 'create_records info data/fashion_mnist' grep -v bytes
    typed 'create_records inspect data/fashion_mnist'
    typed 'create_records inspect data/fashion_mnist --png sheet.png'
    typed 'create_records inspect data/fashion_mnist --sample 7' first 4
    typed 'create_records verify data/fashion_mnist'

    # ---- training -------------------------------------------------------------------------------

    moment "Typing errors" <<'END'
Each is rejected before anything is done.
END
    typed 'dn_dist trian'
    typed 'dn_dist train -lr 0.1'
    typed 'dn_dist train --optimizer Adam'

    moment "A misspelt model" <<'END'
Names are those of the papers and of torchvision; any other net has a written form.
END
    typed 'dn_dist train --model DenseNet-121'
    typed 'dn_dist models' first 4

    moment "Images that are too small" <<'END'
The stem and three transitions reduce 28 pixels to nothing.
END
    typed 'dn_dist train --model densenet121 --data data/fashion_mnist' last 1

    moment "A wrong data folder" <<'END'
The messages distinguish the parent of the right folder, the authors' files, and a missing folder.
END
    typed 'dn_dist train --data data'
    typed "dn_dist train --data $raw"
    typed 'dn_dist train --data data/fashion'

    moment "The first run" <<'END'
On a terminal, a status line shows the progress; in a file, there is a line every ten seconds.
END
    typed 'dn_dist train --model fashion-mnist-tiny --data data/fashion_mnist --epochs 2'
    typed 'ls runs/fashion-mnist-tiny'

    moment "The same again, and longer" <<'END'
The same command resumes a run; a finished run has nothing to do. The folder records its model and its
data.
END
    typed 'dn_dist train --model fashion-mnist-tiny --data data/fashion_mnist --epochs 2' last 1
    typed 'dn_dist train --out runs/fashion-mnist-tiny --epochs 3'

    moment "Other options in the same folder" <<'END'
Options that determine the network or the order of the images are fixed at the start of a run.
END
    typed 'dn_dist train --out runs/fashion-mnist-tiny --batch-size 64'
    typed 'mpirun -np 2 dn_dist train --out runs/fashion-mnist-tiny --epochs 4' grep dn_dist:

    moment "Options in a file" <<'END'
Its keys are the options.
END
    typed 'cat >job.ini <<EOF
model = fashion-mnist-tiny
data = data/fashion_mnist
virtual_ranks = 4
batch_size = 8
maximum_steps = 500
EOF'
    typed 'dn_dist train --config job.ini'
    typed 'sed -i s/maximum/max/ job.ini'

    moment "Several ranks" <<'END'
A global batch of four virtual ranks with 8 images each gives the same bits on one rank or four.
END
    typed 'dn_dist train --config job.ini --max-steps 20 --out runs/one' last 2
    typed 'mpirun -np 4 dn_dist train --config job.ini --max-steps 20 --out runs/four' last 2

    moment "A stopped job" <<'END'
Ctrl-C, `kill`, `scancel` and a time limit do the same: the state is saved, and status 75 says that the
same command resumes the run.
END
    typed 'dn_dist train --config job.ini --eval-every 0 --out runs/whole' last 2
    started runs/stopped 'dn_dist train --config job.ini --eval-every 0 --out runs/stopped --checkpoint-every 20'
    typed 'kill %1'
    ends
    typed 'dn_dist train --config job.ini --eval-every 0 --out runs/stopped' ending

    moment "A folder that is in use" <<'END'
A folder takes one run at a time.
END
    started runs/killed 'dn_dist train --config job.ini --eval-every 0 --out runs/killed --checkpoint-every 20'
    typed 'dn_dist train --config job.ini --eval-every 0 --out runs/killed'

    moment "A killed job, which resumes with another number of ranks" <<'END'
`kill -9` leaves no time to save; the newest checkpoint is at most 20 steps old. Resumed on two ranks, the
run ends with the same weights as the undisturbed one.
END
    typed 'kill -9 %1'
    ends
    typed 'mpirun -np 2 dn_dist train --config job.ini --eval-every 0 --out runs/killed' ending

    moment "A damaged checkpoint" <<'END'
The previous one is used.
END
    typed 'truncate -s 1000 runs/four/checkpoint-00000020.h5'
    typed 'dn_dist eval runs/four'
    typed 'truncate -s 1000 runs/fashion-mnist-tiny/checkpoint-00000186.h5'
    typed 'dn_dist train --out runs/fashion-mnist-tiny --epochs 3' last 3

    moment "A rate that is too high" <<'END'
A step that diverges changes nothing, and the state before it, from which any rate diverges, is not saved.
The run resumes from the previous checkpoint with a smaller rate.
END
    typed 'dn_dist train --model fashion-mnist-tiny --data data/fashion_mnist --epochs 1 --out runs/high' last 2
    typed 'dn_dist train --epochs 2 --lr 900 --out runs/high' last 1
    typed 'dn_dist top runs/high' first 2
    typed 'dn_dist train --epochs 2 --lr 0.05 --out runs/high' last 3

    moment "A folder that cannot be written, a disk that is full" <<'END'
`ulimit` emulates the full disk. Partial files are removed.
END
    typed 'dn_dist train --model fashion-mnist-tiny --data data/fashion_mnist --out /proc/run'
    typed '(ulimit -f 100; create_records fashion_mnist --jobs 1 --out data/whole)'
    typed 'ls data'
    typed 'dn_dist models >/dev/full'

    moment "Recipes" <<'END'
A recipe is a known run by name, or a file of your own; the command line overrides it. The run's folder has
the recipe's name unless `--out` gives another.
END
    typed 'dn_dist recipes' first 3
    typed 'dn_dist train --recipe fashion-mnist'
    typed 'dn_dist train --recipe fashion-mnist-tiny --data data/fashion_mnist --epochs 1 --out runs/recipe' last 3
    typed 'dn_dist train --recipe ./job.ini --max-steps 20' last 1
    typed 'dn_dist info --recipe cifar10-paper' last 4

    moment "Held-out images, and an early stop" <<'END'
A fifth of the training images is held out to judge the run; the test images are scored once, at its end.
END
    typed 'dn_dist train --model fashion-mnist-tiny --data data/fashion_mnist --val-fraction 0.2 \
  --early-stop 1 --epochs 40 --out runs/early' last 5

    # ---- what came of it ------------------------------------------------------------------------

    moment "How good is it?" <<'END'
`eval` of a run's folder scores its best checkpoint on the test images of its own data.
END
    typed 'dn_dist eval runs'
    typed 'dn_dist eval runs/early'
    typed 'dn_dist eval runs/early --per-class --per-sample samples.csv'
    typed 'head -n 3 samples.csv'

    moment "What is on a picture?" <<'END'
`predict` takes pictures, or folders of them.
END
    local number
    mkdir -p photos wardrobe/{bag,boot,shirt}
    for number in 4 2 25; do
        create_records inspect data/fashion_mnist --sample $number --png photos/$number.png >"$tmp/said"
    done
    typed 'dn_dist predict runs/early photos/4.png'
    typed 'dn_dist predict runs/early photos --top 1'
    head -c 200 photos/4.png >photos/broken.png
    typed 'dn_dist predict runs/early photos --top 1 --csv'
    typed 'dn_dist predict photos/4.png'

    moment "Averaged weights" <<'END'
`--ema` keeps a moving average of the weights, and scores both. The average judges the run, and `eval` uses it
by default.
END
    typed 'dn_dist train --model fashion-mnist-tiny --data data/fashion_mnist --ema 0.95 --epochs 1 --out runs/average' last 3
    typed 'dn_dist eval runs/average'
    typed 'dn_dist eval runs/average --weights trained'

    moment "Curves" <<'END'
One page shows loss, accuracy, speed and configurations; after `eval`, also the confusion matrix and the worst
samples.
END
    typed 'dn_dist report runs'
    typed 'dn_dist report runs/*' last 4
    typed "tail -n 1 runs/early/metrics.jsonl | sed -E 's/\"seconds\": [^,]*/\"seconds\": N/'"

    moment "Curves in a terminal, or in TensorBoard" <<'END'
`top` follows a run while it trains; for a finished run it shows how it ended, above its curves.
`--tensorboard` writes event files from that start on.
END
    typed 'dn_dist top runs/early' first 3
    typed 'dn_dist train --out runs/average --epochs 2 --tensorboard' last 1
    typed 'ls runs/average' sed 's/tfevents.*/tfevents.SECONDS.HOST/'

    moment "Into PyTorch" <<'END'
Names and shapes are torchvision's. PyTorch reads a safetensors file, or the checkpoint itself with h5py. A
safetensors file also has what `predict` needs.
END
    typed 'dn_dist export runs/early'
    typed 'dn_dist export runs/early net.pt'
    typed 'dn_dist export runs/early net.safetensors'
    typed 'dn_dist predict net.safetensors photos/4.png'
    typed "python3 -c '
import h5py, torch
model = h5py.File(\"runs/early/best.h5\")[\"model\"]
state = {name: torch.tensor(model[name][()]) for name in model}
print(len(state), state[\"classifier.weight\"].shape)'"

    moment "For ONNX Runtime" <<'END'
`--opset` takes 13 to 17.
END
    typed 'dn_dist export runs/early net.onnx --fold-batch-norm'

    # ---- one's own pictures ---------------------------------------------------------------------

    moment "One's own pictures" <<'END'
Make one folder per class.
END
    local class sample
    while read -r class sample; do
        create_records inspect data/fashion_mnist --sample "$sample" \
            --png "wardrobe/$class/$sample.png" >"$tmp/said"
    done < <(wardrobe)
    typed 'ls wardrobe'
    typed 'create_records wardrobe'
    typed 'dn_dist train --data data/wardrobe --model blocks=2,2:growth=8:stem=cifar --batch-size 8 \
  --epochs 2 --out runs/wardrobe'

    moment "A damaged picture among them" <<'END'
It ends the conversion with an error that names it; `--on-bad-image skip` names each damaged picture and
continues.
END
    typed 'head -c 200 photos/4.png >wardrobe/bag/new.png'
    typed 'create_records FOLDER --source wardrobe --out data/more' grep create_records:
    typed 'create_records FOLDER --source wardrobe --out data/more --on-bad-image skip'

    moment "Fine-tuning" <<'END'
`--init-from` takes the weights of a run, or of a safetensors file such as torchvision's, and a new head for other
classes.
END
    typed 'create_records fashion_mnist --limit 100 --classes "Sandal,Sneaker,Ankle boot" --out data/shoes'
    typed 'dn_dist train --data data/shoes --model fashion-mnist-tiny --init-from net.safetensor \
  --out runs/shoes'
    typed 'dn_dist train --data data/shoes --init-from net.safetensors \
  --freeze features.conv0 --epochs 1 --out runs/shoes'

    typed 'dn_dist train --data data/shoes --model densenet-bc-100-12 --init-from net.safetensors --out runs/other' grep dn_dist:

    moment "Data that were moved" <<'END'
A checkpoint records the data folder, and holds the class names itself.
END
    typed 'mv data/shoes shoes-2'
    typed 'dn_dist eval runs/shoes'
    typed 'dn_dist eval runs/shoes --data shoes-2'
    typed 'mv shoes-2 data/shoes'

    moment "TFRecords" <<'END'
Any records become TFRecords, and any TFRecords of images become records.
END
    typed 'create_records to-tfrecord data/shoes --out shoes'
    typed 'create_records from-tfrecord shoes --out data/again'

    # ---- larger ---------------------------------------------------------------------------------

    moment "How fast, and on a cluster?" <<'END'
`bench` times steps, and `plan` predicts their time on more nodes.
END
    typed 'dn_dist bench --model fashion-mnist-tiny --steps 2 --profile steps.json' numbers
    typed 'dn_dist plan --profile steps.json --nodes 4' first 1
    typed 'dn_dist plan --profile step.json'

    moment "Slurm" <<'END'
`slurm/train.sh` takes the options of `dn_dist train`; `densenet121.sh` sets the model.
END
    typed 'bash slurm/densenet121.sh'
}

# Samples of three classes that are pictures of a user's own: CLASS NUMBER.
wardrobe() {
    local number said
    for ((number = 100; number < 160; number++)); do
        said=$(create_records inspect data/fashion_mnist --sample $number | sed -n 's/^class  *[0-9]* //p')
        case $said in
        Bag) echo bag $number ;;
        "Ankle boot") echo boot $number ;;
        Shirt) echo shirt $number ;;
        esac
    done
}

tour >"$fresh"
if [[ ${2:-} == --write ]]; then
    cp "$fresh" "$repo/docs/tour.md"
elif ! diff -u "$repo/docs/tour.md" "$fresh" >"$tmp/diff"; then
    cat "$tmp/diff"
    fail "docs/tour.md: the output differs; 'tests/cli/tour.sh BUILD --write' regenerates it"
fi
finish

#!/usr/bin/env bash
# scripts/supervise.sh and a real run: after the loss of a host before the first checkpoint the
# final weights are those of an undisturbed run, with the virtual ranks of a recipe, or without a
# recipe with those of the first start. Each host is this one under another name.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
records
export tmp
trained=(train --data "$data" --eval-every 0 --threads 1 --max-steps 300)
printf '%s\n' 'model = fashion-mnist-tiny' 'batch-size = 4' >"$tmp/open.ini"
printf '%s\n' 'virtual-ranks = 8' | cat "$tmp/open.ini" - >"$tmp/closed.ini"

# The launcher: in the first start it kills a rank as soon as metrics.jsonl exists.
cat >"$tmp/launch" <<'END'
#!/usr/bin/env bash
shift 2 # --host LIST
mpirun --oversubscribe --bind-to none "$1" "$2" sh -c 'echo $$ >"$tmp/rank"; exec "$@"' rank "${@:3}" &
if mkdir "$tmp/started" 2>/dev/null; then
    until [[ -s $tmp/run/metrics.jsonl ]] || ! kill -0 $! 2>/dev/null; do sleep 0.01; done
    kill -KILL "$(<"$tmp/rank")"
fi
wait $!
END
chmod +x "$tmp/launch"

# resumes RECIPE VIRTUAL_RANKS: a run of 3 ranks resumes on 2 of them.
resumes() {
    rm -rf "$tmp/run" "$tmp/started"
    limited env DN_CHECK='test b !=' "$repo/scripts/supervise.sh" "$tmp/run" a:2,b:1 "$tmp/launch" -- \
        "$build/dn_dist" "${trained[@]}" --recipe "$tmp/$1" --out "$tmp/run" >"$tmp/log" 2>&1 ||
        fail "$1: status $?" "$tmp/log"
    grep -q '^supervise: 2 ranks on a:2' "$tmp/log" || fail "$1: expected a second start" "$tmp/log"
    on_ranks 2 "$build/dn_dist" "${trained[@]}" --recipe "$tmp/open.ini" --virtual-ranks "$2" \
        --out "$tmp/alone-$2" >"$tmp/alone" 2>&1 || fail "the run left alone" "$tmp/alone"
    [[ $(last_hash "$tmp/run") == $(last_hash "$tmp/alone-$2") ]] ||
        fail "$1: expected the weights of $2 virtual ranks" "$tmp/log"
}
resumes closed.ini 8
resumes open.ini 3

# Names of this host, which are not asked for over the network
cat >"$tmp/launch" <<'END'
#!/usr/bin/env bash
mkdir "$tmp/again" 2>/dev/null && exit 76 || exit 0
END
printf '#!/bin/sh\nexit 1\n' >"$tmp/ssh"
chmod +x "$tmp/ssh"
hosts=localhost:1,$(hostname):1,$(hostname -f):1
PATH=$tmp:$PATH limited "$repo/scripts/supervise.sh" "$tmp/none" "$hosts" "$tmp/launch" -- true >"$tmp/log" 2>&1 &&
    [[ $(grep -c "^supervise: 3 ranks on ${hosts//,/ }" "$tmp/log") == 2 ]] ||
    fail "names of this host: expected two starts on all" "$tmp/log"
finish

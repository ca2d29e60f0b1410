#!/usr/bin/env bash
# scripts/table_to_folders.py: class folders from a table, whose groups stay in one split.
source "$(dirname "${BASH_SOURCE[0]}")/../support/lib.sh"
cd "$tmp"

sort_images() { python3 "$repo/scripts/table_to_folders.py" "$@" >out 2>err; }
no_images() {
    sort_images "${@:2}" && fail "$*: expected a failure"
    [[ $(grep -vcE '^(usage:| )' err) == 1 && $(<err) == *$1* && ! -e bad ]] || fail "${*:2}: expected one line with '$1'" err
}
# groups_of FOLDER: its groups, in order.
groups_of() { find "$1" -type l -printf '%f\n' | cut -d- -f2 | sort -u; }

# 40 images of 12 groups, five labels
mkdir -p pictures/deep
echo "image,who,finding" >table.csv
for i in {1..40}; do
    file=deep/$((i % 12))-$i.png
    touch "pictures/$file"
    echo "$file,$((i % 12)),finding $((i % 5))" >>table.csv
done
columns=(--file image --label finding)
sort_images table.csv pictures sorted "${columns[@]}" --group who --val 0.25 --test 0.25 || fail "a table" err
[[ $(find sorted -type l | wc -l) == 40 && $(cat out) == "sorted: "*" of 3 groups"*" of 3 groups"* ]] ||
    fail "a table: expected 40 links, 3 groups in val and in test" out
[[ $(readlink -f sorted/*/*/*-5-17.png) == "$tmp/pictures/deep/5-17.png" ]] || fail "a link"
[[ -z $(for split in train val test; do groups_of sorted/$split; done | sort | uniq -d) ]] ||
    fail "a group in two splits"
sort_images table.csv pictures again "${columns[@]}" --group who --val 0.25 --test 0.25 || fail "again" err
diff -r <(cd sorted && find . | sort) <(cd again && find . | sort) || fail "the same command draws the same"

sort_images table.csv pictures folds "${columns[@]}" --group who --folds 5 || fail "folds" err
for fold in {0..4}; do
    [[ $(find folds/$fold -type l | wc -l) == 40 ]] || fail "fold $fold: expected 40 links"
    comm -12 <(groups_of folds/$fold/train) <(groups_of folds/$fold/test) >both
    [[ ! -s both ]] || fail "fold $fold: a group in two splits" both
done
[[ $(find folds/*/test -type l -printf '%f\n' | sort -u | wc -l) == 40 ]] ||
    fail "folds: expected each image in one test split"

# Classes of one image each are all in the train split, and common ones in all splits
(echo file,label && for i in {1..40}; do echo "deep/$((i % 12))-$i.png,$((i < 30 ? 0 : i))"; done) >rare.csv
for splits in "--val 0.1 --test 0.2" "--folds 5"; do
    # shellcheck disable=SC2086
    sort_images rare.csv pictures rare $splits || fail "rare classes" err
    grep -qE "^rare[/0-9]*: moved [0-9]+ groups to the train split" out || fail "rare classes: expected moved groups" out
    for test in $(find rare -name test); do
        [[ $(ls "$test" "${test%test}train" | sort -u | grep -c '^[0-9]') == 12 && $(ls "$test") == 0 ]] ||
            fail "rare classes: expected 12 in train and one in test" out
    done
    rm -r rare
done
printf 'file,label\ndeep/1-1.png,a\ndeep/2-2.png,b\n' >apart.csv
no_images "bad: found no group for test whose classes are in train too" apart.csv pictures bad --test 0.5
printf 'file,label\ndeep/1-1.png,a\ndeep/2-2.png,a|?b\n' >unknown.csv
sort_images unknown.csv pictures unknown --test 0.5 || fail "a class that is only unknown" err
[[ $(<out) != *moved* ]] || fail "a class that is only unknown: expected no moved group" out

# Sets of classes: as ChestX-ray14 writes them, and in columns as CheXpert does
cat >sets.csv <<'END'
Image Index,Finding Labels,Patient ID
deep/1-1.png,No Finding,1
deep/2-2.png,Effusion|Cardiomegaly,2
deep/3-3.png,Cardiomegaly|Effusion,3
END
sort_images sets.csv pictures sets --file "Image Index" --label "Finding Labels" --group "Patient ID" --test 0.3 ||
    fail "sets" err
[[ $(cd sets && find . -type l -printf '%h\n' | cut -d/ -f3 | sort | uniq -c | tr -s ' ') == \
    $' 2 Cardiomegaly|Effusion\n 1 No Finding' ]] || fail "sets: other folders"
cat >columns.csv <<'END'
Path,Edema,Mass
deep/1-1.png,1.0,
deep/2-2.png,0.0,0
deep/3-3.png,1,1.0
deep/4-4.png,-1.0,1
END
columns_of=(columns.csv pictures --file Path --label-columns Mass,Edema)
no_images "line 5: found -1.0 in Edema, expected 1, 0 or nothing" "${columns_of[@]:0:2}" bad "${columns_of[@]:2}"
for uncertain in 0 1; do
    sort_images "${columns_of[@]:0:2}" columns$uncertain "${columns_of[@]:2}" --uncertain $uncertain --none nothing ||
        fail "columns" err
done
[[ $(ls -m columns0/train) == "Edema, Edema|Mass, Mass, nothing" ]] || fail "columns: found $(ls -m columns0/train)"
[[ $(ls -m columns1/train) == "Edema, Edema|Mass, nothing" ]] || fail "columns: found $(ls -m columns1/train)"
printf 'Path,Edema,Mass\ndeep/1-1.png,-1,-1\n' >unsure.csv
sort_images unsure.csv pictures unsure --file Path --label-columns "Mass, Edema" --uncertain Edema || fail "unsure" err
[[ $(ls unsure/train) == Edema ]] || fail "unsure: found $(ls -m unsure/train)"
sort_images "${columns_of[@]:0:2}" masked "${columns_of[@]:2}" --uncertain masked --blank masked || fail "masked" err
[[ $(ls -m masked/train) == "?Edema|Mass, Edema|?Mass, Edema|Mass, No Finding" ]] || fail "masked: found $(ls -m masked/train)"
sort_images unsure.csv pictures some --file Path --label-columns Mass,Edema --uncertain Edema,masked || fail "some" err
[[ $(ls some/train) == "Edema|?Mass" ]] || fail "some masked: found $(ls -m some/train)"
no_images "found the columns Path, Edema, Mass, expected Lung" columns.csv pictures bad --file Path --label-columns Lung

# Names of classes lose their spaces, and an empty label is one with --none.
printf 'file,label\ndeep/1-1.png, Mass | Edema\ndeep/2-2.png,\n' >spaces.csv
sort_images spaces.csv pictures spaces --none nothing || fail "spaces" err
[[ $(ls -m spaces/train) == "Edema|Mass, nothing" ]] || fail "spaces: found $(ls -m spaces/train)"
no_images "line 3: found the label '', expected classes joined by '|', or No Finding alone, or --none NAME" \
    spaces.csv pictures bad
printf 'file,label\ndeep/1-1.png,Mass|No Finding\n' >beside.csv
no_images "line 2: found the label 'Mass|No Finding'" beside.csv pictures bad

# A given test split, with line ends of Windows, and groups that are a part of a path
(cd pictures && printf '%s\r\n' deep/1-*.png) >list
grouped=("${columns[@]}" --group-match '[0-9]+-')
sort_images table.csv pictures listed "${grouped[@]}" --test-list list --val 0.25 || fail "--test-list" err
[[ $(find listed/test -type l -printf '%f\n' | cut -d- -f2- | sort) == $(tr -d '\r' <list | cut -d/ -f2 | sort) ]] ||
    fail "--test-list: other images"
[[ $(groups_of listed/val | wc -l) == 3 && -z $(comm -12 <(groups_of listed/val) <(groups_of listed/train)) ]] ||
    fail "--group-match: expected 3 of the other 11 groups in val, and none in train as well"
head -n 1 list >short
no_images "short: found images of the group 1-, but not its deep/1-13.png" table.csv pictures bad "${grouped[@]}" --test-list short
(cat list && echo none.png) >long
no_images "long: found none.png, which is not in table.csv" table.csv pictures bad "${columns[@]}" --test-list long
no_images "line 2: found 'deep/1-1.png', expected a match of x+" table.csv pictures bad "${columns[@]}" \
    --group-match x+ --val 0.1

no_images "sorted: exists already" table.csv pictures sorted "${columns[@]}"
no_images "found the columns image, who, finding, expected file" table.csv pictures bad
no_images "line 2: found no file none/deep/1-1.png" table.csv none bad "${columns[@]}"
printf 'file,label\ndeep/1-1.png,a/b\n' >slash.csv
no_images "line 2: found the label 'a/b'" slash.csv pictures bad
printf 'file,label\ndeep/1-1.png\n' >short.csv
no_images "line 2: found an empty field" short.csv pictures bad
no_images "No such file" none.csv pictures bad
printf 'file,label\ndeep/1-1.png,a\n' >one.csv
no_images "found 1 groups" one.csv pictures bad --test 0.01
printf 'file,label\ndeep/1-1.png,a\ndeep/2-2.png,a\ndeep/3-3.png,a\n' >three.csv
no_images "found no group for test whose classes are in train too" three.csv pictures bad --folds 3 --val 0.6 --seed 4
no_images "--group: found no --val" table.csv pictures bad "${columns[@]}" --group who
no_images "leave no training images" table.csv pictures bad "${columns[@]}" --folds 2 --val 0.6
no_images "--label-columns: found Mass" columns.csv pictures bad --file Path --label-columns Mass,Edema --none Mass
no_images "--blank: found no --label-columns" columns.csv pictures bad --blank masked
no_images "--uncertain: found Edema" columns.csv pictures bad --file Path --label-columns Mass --uncertain Edema
no_images "--test, --test-list, --folds: expected one" table.csv pictures bad "${columns[@]}" --test-list list --test 0.1
finish

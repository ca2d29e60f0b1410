#!/usr/bin/env python3
"""Sorts images into the folders that `create_records FOLDER` reads, by a table of their labels.

    table_to_folders.py labels.csv images/ sorted/ --group patient --val 0.1 --test 0.2
    create_records FOLDER --source sorted --out data/mine

The table has a header. Each row names an image (a path below the folder of images) and its label. Images
of one group, such as those of a patient, come into one split. The train split gets further groups until it has all
classes of the splits that are drawn. OUT gets links: OUT/SPLIT/LABEL/NUMBER-NAME.

For `create_records --multi-label`, a label joins several classes with '|', or --label-columns names columns
that have 1 for the classes of an image, and 0 or nothing for others. If it is not known whether
the image has a class, the label has ?CLASS (masked): it counts neither in the loss nor in the scores.
"""
import argparse
import collections
import csv
import os
import random
import re
import sys

Row = collections.namedtuple("Row", "name path label group")


def names_in(text):
    return [name.strip() for name in text.split(",")]


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", help="CSV file with a header, UTF-8")
    parser.add_argument("images", help="folder of the images")
    parser.add_argument("out", help="folder to make")
    parser.add_argument("--file", default="file", metavar="COLUMN", help="column of the file's name [file]")
    parser.add_argument("--label", default="label", metavar="COLUMN", help="column of the label [label]")
    parser.add_argument("--label-columns", type=names_in, default=[], metavar="A,B",
                        help="columns of 1 and 0, one a class, instead of --label")
    parser.add_argument("--uncertain", type=names_in, metavar="A,B,X", help="-1 in --label-columns counts as 1 in the "
                        "columns A,B and as X in the others: 0, 1 or masked; A,B or X may be left out, X is then 0 "
                        "[-1 is refused]")
    parser.add_argument("--blank", choices=["0", "masked"], default="0", help="what an empty field of "
                        "--label-columns counts as [0]")
    parser.add_argument("--none", metavar="NAME", help="label of images with no class [No Finding]; with "
                        "--label also for empty fields, which are refused without it")
    parser.add_argument("--group", metavar="COLUMN", help="column of the group [each image is one]")
    parser.add_argument("--group-match", type=re.compile, default="(?s).+", metavar="REGEX", help="the group is what "
                        "this matches in --group or else in --file, such as 'patient[0-9]+' in a path [all]")
    parser.add_argument("--val", type=float, default=0, metavar="P", help="fraction of groups for validation, "
                        "with --test-list of the others [0]")
    parser.add_argument("--test", type=float, default=0, metavar="P", help="fraction of groups for the test [0]")
    parser.add_argument("--test-list", metavar="FILE", help="names of the test images, as in the table, one a line")
    parser.add_argument("--folds", type=int, metavar="K", help="K folders OUT/0, OUT/1, ... instead, whose test "
                        "splits have each group once, if others have its classes; not with --test")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the draw of groups [1]")
    o = parser.parse_args()
    if (o.folds is not None) + (o.test != 0) + (o.test_list is not None) > 1 or o.folds is not None and o.folds < 2:
        parser.error("--test, --test-list, --folds: expected one of them, and 2 or more folds")
    if not (0 <= o.val and 0 <= o.test and o.val + o.test + (1 / o.folds if o.folds else 0) < 1):
        parser.error("--val, --test, --folds: found fractions that leave no training images, expected a sum below 1")
    if o.uncertain and not o.label_columns:
        parser.error("--uncertain: found no --label-columns, whose -1 it is about")
    if o.group and not (o.folds or o.val or o.test or o.test_list):
        parser.error("--group: found no --val, --test, --test-list or --folds, whose splits it keeps apart")
    o.takes_empty = o.none is not None
    o.none = o.none or "No Finding"
    if o.none in o.label_columns:
        parser.error(f"--label-columns: found {o.none}, the label of images with no class, expected it to be left out")
    if o.blank == "masked" and not o.label_columns:
        parser.error("--blank: found no --label-columns, whose empty fields it is about")
    *o.ones, o.others = o.uncertain or ["0"]
    if o.others not in ("0", "1", "masked"):
        o.ones, o.others = o.uncertain, "0"
    if not set(o.ones) <= set(o.label_columns):
        parser.error(f"--uncertain: found {','.join(o.uncertain)}, expected some of --label-columns, then 0, 1 or masked")
    return o


def meaning_of(o, column, text):
    """0, 1 or masked; None of another text."""
    uncertain = None if o.uncertain is None else "1" if column in o.ones else o.others
    return {"": o.blank, "0": "0", "0.0": "0", "1": "1", "1.0": "1", "-1": uncertain, "-1.0": uncertain}.get(text)


def label_of(o, row, where):
    """The label of the row, the classes of a set in one order."""
    if not o.label_columns:
        if not row[o.label].strip() and o.takes_empty:
            return o.none
        parts = {part.strip() for part in row[o.label].split("|")}
        if "" in parts or len(parts) > 1 and o.none in parts:
            sys.exit(f"{where}: found the label '{row[o.label]}', expected classes joined by '|', or {o.none} alone"
                     + ", or --none NAME for empty labels" * (parts == {""}))
        return "|".join(sorted(parts))
    classes = []
    for column in sorted(o.label_columns):
        meaning = meaning_of(o, column, row[column].strip())
        if not meaning:
            sys.exit(f"{where}: found {row[column]} in {column}, expected 1, 0 or nothing, or -1 with --uncertain")
        if meaning != "0":
            classes.append(column if meaning == "1" else "?" + column)
    return "|".join(classes) or o.none


def rows_of(o):
    """The table's rows. Ends the program with a line at the first one that is unusable."""
    with open(o.table, newline="", encoding="utf-8-sig") as table:
        reader = csv.DictReader(table)
        wanted = [o.file] + (o.label_columns or [o.label]) + ([o.group] if o.group else [])
        for column in wanted:
            if column not in (reader.fieldnames or []):
                sys.exit(f"{o.table}: found the columns {', '.join(reader.fieldnames or [])}, expected {column}")
        rows = []
        for row in reader:
            where = f"{o.table}, line {reader.line_num}"
            if any(row[column] is None for column in wanted) or not row[o.group or o.file]:
                sys.exit(f"{where}: found an empty field, expected {', '.join(wanted)}")
            label = label_of(o, row, where)
            if "/" in label or label.startswith("."):
                sys.exit(f"{where}: found the label '{label}', expected the name of a folder")
            path = os.path.join(o.images, row[o.file])
            if not os.path.isfile(path):
                sys.exit(f"{where}: found no file {path}")
            group = o.group_match.search(row[o.group or o.file])
            if not group:
                sys.exit(f"{where}: found '{row[o.group or o.file]}', expected a match of {o.group_match.pattern}")
            rows.append(Row(row[o.file], path, label, group.group()))
    if not rows:
        sys.exit(f"{o.table}: found no rows")
    return rows


def listed_groups(o, rows):
    """The groups of the images in --test-list, which must have no other images."""
    if not o.test_list:
        return set()
    with open(o.test_list, encoding="utf-8-sig") as lines:
        names = {line.strip() for line in lines} - {""}
    unknown = names - {row.name for row in rows}
    if unknown:
        sys.exit(f"{o.test_list}: found {min(unknown)}, which is not in {o.table}")
    groups = {row.group for row in rows if row.name in names}
    missing = [row for row in rows if row.group in groups and row.name not in names]
    if missing:
        sys.exit(f"{o.test_list}: found images of the group {missing[0].group}, but not its {missing[0].name}")
    return groups


def complete_train(rows, split_of, listed, out):
    """Moves groups, except the listed, to the train split until it has their classes."""
    classes = {}
    for row in rows:
        known = (part for part in row.label.split("|") if not part.startswith("?"))
        classes.setdefault(row.group, set()).update(known)
    splits = set(split_of.values())
    trained = set().union(*(classes[group] for group, split in split_of.items() if split == "train"))
    moved = 0
    for group in classes:
        if group not in listed and not classes[group] <= trained:
            split_of[group] = "train"
            trained |= classes[group]
            moved += 1
    if moved:
        print(f"{out}: moved {moved} groups to the train split, which lacked classes of theirs")
    lost = splits - set(split_of.values())
    if lost:
        sys.exit(f"{out}: found no group for {min(lost)} whose classes are in train too")


def link(rows, split_of, out):
    counts = {}
    for number, row in enumerate(rows):
        split = split_of[row.group]
        folder = os.path.join(out, split, row.label)
        os.makedirs(folder, exist_ok=True)
        os.symlink(os.path.abspath(row.path), os.path.join(folder, f"{number:06}-{os.path.basename(row.path)}"))
        counts.setdefault(split, []).append(row.group)
    print(f"{out}:", ", ".join(f"{split} {len(of)} images of {len(set(of))} groups" for split, of in counts.items()))


def main():
    o = options()
    rows = rows_of(o)
    if os.path.exists(o.out):
        sys.exit(f"{o.out}: exists already, expected a new folder")
    listed = listed_groups(o, rows)
    groups = sorted({row.group for row in rows} - listed)
    random.Random(o.seed).shuffle(groups)
    n = len(groups)
    count = lambda fraction: max(1, round(fraction * n)) if fraction > 0 else 0
    if n < o.folds if o.folds else n <= count(o.val) + count(o.test):
        sys.exit(f"{o.table}: found {n} groups, expected one or more for each split")
    folders = {}
    for fold in range(o.folds or 1):
        first, end = (n * fold // o.folds, n * (fold + 1) // o.folds) if o.folds else (0, count(o.test))
        others = groups[:first] + groups[end:]
        validation = count(o.val)
        split_of = dict.fromkeys(listed, "test") | dict.fromkeys(groups[first:end], "test")
        split_of |= dict.fromkeys(others[:validation], "val") | dict.fromkeys(others[validation:], "train")
        folder = os.path.join(o.out, str(fold)) if o.folds else o.out
        complete_train(rows, split_of, listed, folder)
        folders[folder] = split_of
    for folder, split_of in folders.items():
        link(rows, split_of, folder)


try:
    main()
except (OSError, UnicodeDecodeError, re.error) as error:
    sys.exit(f"table_to_folders.py: {error}")

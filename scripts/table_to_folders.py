#!/usr/bin/env python3
"""Sorts images into the folders that `create_records FOLDER` reads, by a table of their labels.

    table_to_folders.py labels.csv images/ sorted/ --group patient --val 0.1 --test 0.2
    create_records FOLDER --source sorted --out data/mine

The table has a header. Each row names an image (a path below the folder of images) and its label. Images
of one group, such as those of a patient, come into one split. OUT gets links: OUT/SPLIT/LABEL/NUMBER-NAME.

For `create_records --multi-label`, a label joins several classes with '|', or --label-columns names columns
that have 1 for the classes of an image, and 0 or nothing for others.
"""
import argparse
import csv
import os
import random
import sys


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", help="CSV file with a header, UTF-8")
    parser.add_argument("images", help="folder of the images")
    parser.add_argument("out", help="folder to make")
    parser.add_argument("--file", default="file", metavar="COLUMN", help="column of the file's name [file]")
    parser.add_argument("--label", default="label", metavar="COLUMN", help="column of the label [label]")
    parser.add_argument("--label-columns", metavar="A,B", help="columns of 1 and 0, one a class, instead of --label")
    parser.add_argument("--uncertain", choices=["0", "1"], help="what -1 in them counts as [it is refused]")
    parser.add_argument("--none", default="No Finding", metavar="NAME", help="label of images with no class [No Finding]")
    parser.add_argument("--group", metavar="COLUMN", help="column of the group [each image is one]")
    parser.add_argument("--val", type=float, default=0, metavar="P", help="fraction of groups for validation [0]")
    parser.add_argument("--test", type=float, default=0, metavar="P", help="fraction of groups for the test [0]")
    parser.add_argument("--folds", type=int, metavar="K", help="K folders OUT/0, OUT/1, ... instead, whose test "
                        "splits have each group once; not with --test")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the draw of groups [1]")
    o = parser.parse_args()
    if o.folds is not None and (o.folds < 2 or o.test):
        parser.error("--folds: expected 2 or more, without --test")
    if not (0 <= o.val and 0 <= o.test and o.val + o.test + (1 / o.folds if o.folds else 0) < 1):
        parser.error("--val, --test, --folds: found fractions that leave no training images, expected a sum below 1")
    if o.uncertain and not o.label_columns:
        parser.error("--uncertain: found no --label-columns, whose -1 it is about")
    if o.group and not (o.folds or o.val or o.test):
        parser.error("--group: found no --val, --test or --folds, whose splits it keeps apart")
    return o


def label_of(o, row, where):
    """The label of the row, the classes of a set in one order."""
    if not o.label_columns:
        parts = set(row[o.label].split("|"))
        if len(parts) > 1 and not parts.isdisjoint({"", o.none}):
            sys.exit(f"{where}: found the label '{row[o.label]}', expected classes joined by '|', or {o.none} alone")
        return "|".join(sorted(parts))
    value_of = {"": 0, "0": 0, "0.0": 0, "1": 1, "1.0": 1}
    if o.uncertain:
        value_of["-1"] = value_of["-1.0"] = int(o.uncertain)
    columns = o.label_columns.split(",")
    for column in columns:
        if row[column] not in value_of:
            sys.exit(f"{where}: found {row[column]} in {column}, expected 1, 0 or nothing, or -1 with --uncertain")
    return "|".join(sorted(column for column in columns if value_of[row[column]])) or o.none


def rows_of(o):
    """(path, label, group) of each row. Ends the program with a line at the first one that is unusable."""
    with open(o.table, newline="", encoding="utf-8-sig") as table:
        reader = csv.DictReader(table)
        wanted = [o.file] + ([] if o.label_columns else [o.label]) + ([o.group] if o.group else [])
        for column in wanted + (o.label_columns.split(",") if o.label_columns else []):
            if column not in (reader.fieldnames or []):
                sys.exit(f"{o.table}: found the columns {', '.join(reader.fieldnames or [])}, expected {column}")
        rows = []
        for row in reader:
            where = f"{o.table}, line {reader.line_num}"
            if not all(row[column] for column in wanted):
                sys.exit(f"{where}: found an empty field, expected {', '.join(wanted)}")
            label = label_of(o, row, where)
            if "/" in label or label.startswith("."):
                sys.exit(f"{where}: found the label '{label}', expected the name of a folder")
            path = os.path.join(o.images, row[o.file])
            if not os.path.isfile(path):
                sys.exit(f"{where}: found no file {path}")
            rows.append((path, label, row[o.group] if o.group else path))
    if not rows:
        sys.exit(f"{o.table}: found no rows")
    return rows


def link(rows, split_of, out):
    counts = {}
    for number, (path, label, group) in enumerate(rows):
        folder = os.path.join(out, split_of[group], label)
        os.makedirs(folder, exist_ok=True)
        os.symlink(os.path.abspath(path), os.path.join(folder, f"{number:06}-{os.path.basename(path)}"))
        counts.setdefault(split_of[group], []).append(group)
    print(f"{out}:", ", ".join(f"{split} {len(of)} images of {len(set(of))} groups" for split, of in counts.items()))


def main():
    o = options()
    rows = rows_of(o)
    if os.path.exists(o.out):
        sys.exit(f"{o.out}: exists already, expected a new folder")
    groups = sorted({group for _, _, group in rows})
    random.Random(o.seed).shuffle(groups)
    n = len(groups)
    count = lambda fraction: max(1, round(fraction * n)) if fraction > 0 else 0
    if n < o.folds if o.folds else n <= count(o.val) + count(o.test):
        sys.exit(f"{o.table}: found {n} groups, expected one or more for each split")
    for fold in range(o.folds or 1):
        first, end = (n * fold // o.folds, n * (fold + 1) // o.folds) if o.folds else (0, count(o.test))
        others = groups[:first] + groups[end:]
        validation = count(o.val)
        split_of = dict.fromkeys(groups[first:end], "test") | dict.fromkeys(others[:validation], "val")
        split_of |= dict.fromkeys(others[validation:], "train")
        link(rows, split_of, os.path.join(o.out, str(fold)) if o.folds else o.out)


try:
    main()
except (OSError, UnicodeDecodeError) as error:
    sys.exit(f"table_to_folders.py: {error}")

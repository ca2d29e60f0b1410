#!/usr/bin/env bash
# Writes a manual page from --help by help2man, and corrects what that mistakes for running text:
# the lines of the usage, and lists of words. PROGRAM.h2m has the sections that --help lacks.
#
#   manual.sh HELP2MAN VERSION TITLE NAME PROGRAM [COMMAND]
set -euo pipefail
help2man=$1 version=$2 title=$3 name=$4
shift 4
further=$(dirname "${BASH_SOURCE[0]}")/$(basename "$1").h2m

# The lines of the usage, escaped for roff.
usage=$("$@" --help | awk 'NR > 1 && !/^ / { over = 1 }
    !over { sub(/^(Usage: |       )/, ""); print }' | sed 's/\\/\\e/g; s/-/\\-/g')

"$help2man" --no-info --no-discard-stderr --name="$title" --version-string="$version" \
    --include="$further" "$*" |
    USAGE=$usage awk -v name="$name" '
    function literal(on) {
        if (on != is_literal) print on ? ".RS\n.nf" : ".fi\n.RE"
        is_literal = on
    }
    BEGIN { is_long = ENVIRON["USAGE"] ~ /\n/ }
    # help2man writes the name in capitals with a space, justifies and hyphenates.
    sub(/^\.TH [^ ]+/, ".TH " name) { print $0 "\n.ad l\n.nh"; next }
    section == "NAME" && sub(/^.* \\- /, name " \\- ") { }
    sub(/^\.SS .Exit status:.$/, ".SH EXIT STATUS") { } # it knows Environment
    /^\.SH / {
        literal(0); in_list = 0
        section = $2; is_skipped = 0
        print
        if (section == "SYNOPSIS") { print ".nf\n" ENVIRON["USAGE"] "\n.fi"; is_skipped = 1 }
        if (section == "DESCRIPTION") is_skipped = is_long # the further lines of the usage
        next
    }
    is_skipped && /^\.(PP|SS)/ { is_skipped = 0 }
    is_skipped { next }
    # The steps of --augment, and the models, up to the next heading; a step may contain blanks.
    /^\.(PP|SS)/ { literal(0); in_list = 0 }
    /^(steps of .*|models)$/ { in_list = 1; print; next }
    in_list && /^\.IP/ { literal(1); next }
    is_literal && / / && !/^or / { print "    " $0; next }
    # An option that fills its column has only one blank before its text.
    before == ".TP" { $0 = parted($0) }
    { print; before = $0 }
    END { literal(0) }

    function parted(line) {
        if (match(line, /^\\fB[^ ]*\\fR [^ ]+ /))
            return substr(line, 1, RLENGTH - 1) "\n" substr(line, RLENGTH + 1)
        return line
    }'

#!/usr/bin/env bash
# Writes a shell's completion for a program, from the program's --help.
#
#   completion.sh bash|zsh PROGRAM
set -euo pipefail
shell=$1 program=$2 name=$(basename "$2")

# The first words: lines "  WORD  text" below "commands:" or "NAME", and "NAME WORD" of the usage.
words=$("$program" --help | awk -v name="$name" '
    $1 == name && $2 ~ /^[a-z]/ { print $2 }
    /^(commands:|NAME)/ { listing = 1; next }
    /^$/ { listing = 0 }
    listing && /^  [^ ]/ { print $1 }' | sort -u | xargs)

# @dir if the usage has a folder in place of the first word.
folders=$("$program" --help | sed -n "s/^ *$name DIR .*/@dir/p")

# The words with a --help of their own: the first words, and last "" for the program itself, which
# stands for all others.
commands() {
    tr ' ' '\n' <<<"$words"
    echo
}

# options COMMAND: lines "name<TAB>argument<TAB>description" from its --help, with "-" for no
# argument. An option that is listed as --[no-]NAME becomes two.
options() {
    "$program" ${1:+"$1"} --help | awk '
        function show(name, text) { print name "\t" (argument ? argument : "-") "\t" text }
        function flush() {
            if (sub(/\[no-\]/, "", option)) show("--no-" substr(option, 3), "off: " text)
            if (option) show(option, text)
            option = ""
        }
        /^  --/ {
            flush(); line = substr($0, 3); text = ""; argument = ""
            option = line; sub(/[ ,=].*/, "", option); rest = substr(line, length(option) + 1)
            if (rest ~ /^ [^ ]/) { argument = substr(rest, 2); sub(/ .*/, "", argument) }
            rest = substr(rest, length(argument) + 2); sub(/^ +/, "", rest); text = rest; next
        }
        option && /^ +[^ ]/ { sub(/^ +/, ""); text = text (text ? " " : "") $0; next }
        { flush() }
        END { flush() }'
}

# The completions of an option's argument: the words of "a|b", @dir, @file, @COMMAND if a command
# such as "models" lists them, or nothing.
values() { # OPTION ARGUMENT
    local list=${1#--}s
    [[ $2 != NAME ]] || [[ " $words " != *" $list "* ]] || echo "@$list"
    case $2 in
    DIR*) echo @dir ;;
    *\|FILE\|*) tr '|' ' ' <<<"${2/FILE/@file}" ;;
    FILE*) echo @file ;;
    *\|*) tr '|' ' ' <<<"$2" ;;
    esac
}

# The completions of a command's operands, by its usage: @dir for runs or records, @file, or "" for
# none.
positions() { # COMMAND
    local usage
    usage=$("$program" ${1:+"$1"} --help | sed -n "1s/^Usage: $name $1 *\(.*\)\[options\]\$/\1/Ip")
    case ${1:+$usage} in
    RUN* | DIR*) echo @dir ;;
    *[A-Z]*) echo @file ;;
    *) [[ -n $1 ]] || echo @file ;;
    esac
}

bash_completion() {
    printf '# Completion of %s in bash; written from its --help.\n_%s() {\n' "$name" "$name"
    printf '    local -A options values\n'
    local command option argument text list
    while read -r command; do
        printf '    options[%s]=%q\n' "${command:-.}" "$(options "$command" | cut -f1 | xargs)"
        list=$(positions "$command")
        printf '    values[%s]=%q\n' "${command:-.}" "$list"
        while IFS=$'\t' read -r option argument text; do
            list=$(values "$option" "$argument")
            [[ -z $list ]] || printf '    values[%s]=%q\n' "${command:-.}$option" "$list"
        done < <(options "$command")
    done < <(commands)
    cat <<END
    local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]}
    [[ \$before != '=' ]] || before=\${COMP_WORDS[COMP_CWORD-2]}
    [[ \$word != '=' ]] || { before=\${COMP_WORDS[COMP_CWORD-1]}; word=; }
    local command=\${COMP_WORDS[1]:-.} known list item
    [[ -n \${options[\$command]+set} ]] || command=.
    known=\${options[\$command]-}
    COMPREPLY=()
    if [[ \$before == --* && " \$known " == *" \$before "* && -n \${values[\$command\$before]+set} ]]; then
        list=\${values[\$command\$before]}
    elif [[ \$word == -* ]]; then
        list=\$known
    elif ((COMP_CWORD == 1)); then
        list='$words $folders'
    else
        list=\${values[\$command]-}
        list=\${list:-\$known}
    fi
    for item in \$list; do
        case \$item in
        @dir) _${name}_paths -d "\$word" ;;
        @file) _${name}_paths -f "\$word" ;;
        @*)
            mapfile -t COMPREPLY < <(compgen -W "\$("\${COMP_WORDS[0]}" "\${item#@}" 2>/dev/null |
                sed -n 's/^  \([^ ]*\) .*/\1/p' | sort -u)" -- "\$word")
            ((\${#COMPREPLY[@]} > 0)) || _${name}_paths -f "\$word"
            ;;
        "\$word"*) COMPREPLY+=("\$item") ;;
        esac
    done
}
_${name}_paths() {
    compopt -o filenames
    mapfile -t -O "\${#COMPREPLY[@]}" COMPREPLY < <(compgen "\$1" -- "\$2")
}
complete -F _$name $name
END
}

# The lines of _arguments for a command.
zsh_arguments() {
    local option argument text list
    while IFS=$'\t' read -r option argument text; do
        text=$(sed "s/'/'\\\\''/g; s/[]:[]/\\\\&/g" <<<"$text")
        list=$(values "$option" "$argument")
        case $list in
        @dir) list=_directories ;;
        *@file*) list=_files ;;
        @*) list="_${name}_list ${list#@}" ;;
        ?*) list="($list)" ;;
        esac
        if [[ $argument == - ]]; then
            printf "        '%s[%s]' \\\\\n" "$option" "$text"
        else
            printf "        '%s=[%s]:%s:%s' \\\\\n" "$option" "$text" "${argument//:/\\:}" "$list"
        fi
    done < <(options "$1")
    case $(positions "$1") in
    @dir) printf "        '*:folder:_directories'\n" ;;
    @file) printf "        '*:file:_files'\n" ;;
    *) printf "        '1: :'\n" ;; # the command itself: no further word
    esac
}

zsh_completion() {
    local command
    printf '#compdef %s\n# Completion of %s in zsh; written from its --help.\n' "$name" "$name"
    cat <<END
_${name}_list() { # OPTION-OF-COMPADD... COMMAND
    compadd "\${@[1,-2]}" -- \${(f)"\$(_call_program list "\$words[1] \$argv[-1]" 2>/dev/null |
        sed -n 's/^  \([^ ]*\) .*/\1/p')"} || _files
}
END
    printf 'if ((CURRENT == 2)) && [[ $words[2] != -* ]]; then\n    compadd -- %s\n    %s\n    return\nfi\n' \
        "$words" "${folders:+_directories}"
    printf 'case $words[2] in\n'
    while read -r command; do
        printf '%s)\n    _arguments \\\n' "${command:-*}"
        zsh_arguments "$command"
        printf '    ;;\n'
    done < <(commands)
    printf 'esac\n'
}

"${shell}_completion"

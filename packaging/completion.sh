#!/usr/bin/env bash
# Writes the completion of a program's words for a shell, from what the program's --help lists.
#
#   completion.sh bash|zsh PROGRAM
set -euo pipefail
shell=$1 program=$2 name=$(basename "$2")

# The first words: lines "  WORD  text" below "commands:" or "NAME", and "NAME WORD DIR" of the usage.
words() {
    "$program" --help | awk -v name="$name" '
        $1 == name && $2 ~ /^[a-z-]+$/ && $3 ~ /^[A-Z]/ { print $2 }
        /^(commands:|NAME)/ { listing = 1; next }
        /^$/ { listing = 0 }
        listing && /^  [^ ]/ { print $1 }' | sort -u
}

# Who has a --help of its own: the first words, and last "", the program, which stands for others.
commands() {
    words
    echo
}

# options COMMAND: lines "name<TAB>argument<TAB>description" of its --help.
options() {
    "$program" ${1:+"$1"} --help | awk '
        function flush() { if (option) print option "\t" argument "\t" text; option = "" }
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

# What may follow an option: words of "a|b", @dir, @file, or nothing that can be listed.
values() {
    case $1 in
    DIR*) echo @dir ;;
    *\|FILE\|*) tr '|' ' ' <<<"${1/FILE/@file}" ;;
    FILE*) echo @file ;;
    *\|*) tr '|' ' ' <<<"$1" ;;
    esac
}

bash_completion() {
    printf '# Completion of %s in bash; written from its --help.\n_%s() {\n' "$name" "$name"
    printf '    local -A options values\n'
    local command option argument text
    while read -r command; do
        printf '    options[%s]=%q\n' "${command:-.}" "$(options "$command" | cut -f1 | xargs)"
        while IFS=$'\t' read -r option argument text; do
            [[ -z $(values "$argument") ]] ||
                printf '    values[%s]=%q\n' "${command:-.}$option" "$(values "$argument")"
        done < <(options "$command" | sed 's/\t\t/\t-\t/')
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
        list='$(words | xargs)'
    else
        list=@file
    fi
    for item in \$list; do
        case \$item in
        @dir) compopt -o filenames && COMPREPLY+=(\$(compgen -d -- "\$word")) ;;
        @file) compopt -o filenames && COMPREPLY+=(\$(compgen -f -- "\$word")) ;;
        "\$word"*) COMPREPLY+=("\$item") ;;
        esac
    done
}
complete -F _$name $name
END
}

# _arguments' lines for a command.
zsh_arguments() {
    local option argument text list
    while IFS=$'\t' read -r option argument text; do
        text=$(sed "s/'/'\\\\''/g; s/[]:[]/\\\\&/g" <<<"$text")
        list=$(values "$argument")
        case $list in
        @dir) list=_directories ;;
        *@file*) list=_files ;;
        ?*) list="($list)" ;;
        esac
        if [[ $argument == - ]]; then
            printf "        '%s[%s]' \\\\\n" "$option" "$text"
        else
            printf "        '%s=[%s]:%s:%s' \\\\\n" "$option" "$text" "${argument//:/\\:}" "$list"
        fi
    done < <(options "$1" | sed 's/\t\t/\t-\t/')
    printf "        '*:file:_files'\n"
}

zsh_completion() {
    local command
    printf '#compdef %s\n# Completion of %s in zsh; written from its --help.\n' "$name" "$name"
    printf 'if ((CURRENT == 2)) && [[ $words[2] != -* ]]; then\n    compadd -- %s\n    return\nfi\n' \
        "$(words | xargs)"
    printf 'case $words[2] in\n'
    while read -r command; do
        printf '%s)\n    _arguments \\\n' "${command:-*}"
        zsh_arguments "$command"
        printf '    ;;\n'
    done < <(commands)
    printf 'esac\n'
}

"${shell}_completion"

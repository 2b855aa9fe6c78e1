# bash completion for claude-force, made by it. In ~/.bashrc: eval "$(claude-force completion bash)"

_claude_force() {
    local current=${COMP_WORDS[COMP_CWORD]} command= option= directory= expected= operands=0 word index
    local -a commands options
    COMPREPLY=()
    _claude_force_words ''
    for ((index = 1; index < COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        if [[ $word == '=' && -n $expected ]]; then
            continue # readline splits --option=value at the sign
        elif [[ $word == -* ]]; then
            option=$word
            _claude_force_expect "$command" "$option"
        elif [[ -n $expected ]]; then
            [[ $option == -C ]] && directory=${word/#\~/$HOME}
            [[ $expected == *+ ]] || expected=
        elif _claude_force_words "${command:+$command }$word"; then
            command=${command:+$command }$word
        else
            ((operands += 1))
        fi
    done
    [[ $current == '=' ]] && current=
    if [[ $current == -* ]]; then
        _claude_force_offer "${options[@]}"
    elif [[ -z $expected && ${#commands[@]} -gt 0 ]]; then
        _claude_force_offer "${commands[@]}"
    else
        [[ -n $expected ]] || _claude_force_expect "$command" "$operands"
        _claude_force_complete "${expected%+}"
    fi
}

_claude_force_complete() { # EXPECTED
    case $1 in
        files) ;; # readline's own, which comes where nothing is offered
        directories) compopt +o default -o dirnames 2>/dev/null ;;
        workflows | library) _claude_force_names "$1" ;; # or files, if no name fits
        '='*) _claude_force_offer ${1#=} ;;
        '' | text) _claude_force_offer ;;
        *) _claude_force_names "$1"; compopt +o default 2>/dev/null ;;
    esac
}

_claude_force_offer() { # WORD...
    local word
    compopt +o default 2>/dev/null
    for word in "$@"; do
        [[ $word == "$current"* ]] && COMPREPLY+=("$word")
    done
}

# Names come from files that others may have written: each is quoted, and nothing in one is ever expanded.
_claude_force_names() { # KIND
    local name quote= typed=${current//\\/}
    case $current in
        [\"\']*) quote=${current:0:1} typed=${current:1} ;;
    esac
    while IFS= read -r name; do
        [[ $name == "$typed"* ]] || continue
        if [[ -z $quote ]]; then
            printf -v name %q "$name"
        elif [[ $name == *[!A-Za-z0-9\ _.,:@%+/-]* ]]; then
            continue
        fi
        COMPREPLY+=("$name")
    done < <(claude-force ${directory:+-C "$directory"} completion --names "$1" 2>/dev/null)
}

complete -o default -F _claude_force claude-force


#compdef claude-force
# zsh completion for claude-force, made by it. In ~/.zshrc, after compinit: eval "$(claude-force completion zsh)"

_claude_force_names() { # KIND
    local -a names
    names=(${(f)"$(claude-force $claude_force_at completion --names $1 2>/dev/null)"})
    (( $#names )) && compadd -a names
    [[ $1 == (workflows|library) ]] && _files
}

_claude_force_step() { # FUNCTION SPECIFICATION...: complete the next word of a command that has others below it
    local below=$1 curcontext=$curcontext state line
    local -A opt_args
    shift
    _arguments -C $@ ':command:->word' '*::argument:->below' && return
    if [[ $state == word ]]; then
        _describe -t commands command claude_force_below
    elif [[ $state == below ]]; then
        [[ -n $opt_args[-C] ]] && claude_force_at=(-C ${${(Q)opt_args[-C]}/#\~/$HOME})
        _call_function - ${below}_$line[1]
    fi
}


# fish completion for claude-force, made by it. Save it as ~/.config/fish/completions/claude-force.fish

function __claude_force_at --argument-names command operand --description 'is this the command, and this its operand?'
    set -l found
    set -l operands 0
    set -l skip no
    for word in (commandline -opc)[2..]
        if test $skip = yes
            set skip no
        else if string match -q -- '-*' $word
            contains -- $word $__claude_force_valued; and set skip yes
        else if contains -- (string join ' ' -- $found $word) $__claude_force_commands
            set -a found $word
        else
            set operands (math $operands + 1)
        end
    end
    test "$found" = "$command"; and test -z "$operand" -o "$operand" = $operands
end

function __claude_force_names --argument-names kind --description 'the names of a kind, from the project at hand'
    set -l words (commandline -opc)
    set -l at
    if set -l place (contains -i -- -C $words)
        set at -C (string replace -r '^~' $HOME -- $words[(math $place + 1)])
    end
    claude-force $at completion --names $kind 2>/dev/null
end

complete -c claude-force -f
